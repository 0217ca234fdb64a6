"""A headless Chromium that pages are tried in, and that tells what they ask for and complain of."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
)
HOMES = (
    "HOME",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
)
PHONE = (390, 844)
DESKTOP = (1280, 860)


class Browser:
    """One page at a time, as a reader with a screen, a colour scheme, keys and fingers sees it."""

    def __init__(self, folder: Path) -> None:
        pytest.importorskip("selenium", reason="no selenium: pip install selenium")
        program = next(filter(None, map(shutil.which, PROGRAMS)), None)
        driver = shutil.which("chromedriver")
        if program is None or driver is None:
            pytest.skip("no Chromium with chromedriver: apt-get install chromium chromium-driver")
        from selenium import webdriver

        options = webdriver.ChromeOptions()
        options.binary_location = program
        # Chromium's own sandbox does not start for root.
        for argument in (*QUIET, *(["--no-sandbox"] if os.geteuid() == 0 else [])):
            options.add_argument(argument)
        options.add_argument(f"--user-data-dir={folder / 'profile'}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        # Nothing of the developer's is read, and nothing is left there.
        homes = {name: str(folder / name) for name in HOMES}
        service = webdriver.ChromeService(driver, env={**os.environ, **homes})
        self.driver = webdriver.Chrome(options=options, service=service)
        self.asked_for = "file:"

    def close(self) -> None:
        self.driver.quit()

    def open(
        self,
        page: Path,
        *,
        size: tuple[int, int] = DESKTOP,
        scheme: str = "light",
        motion: str = "no-preference",
    ) -> None:
        """Show a page."""
        self.open_address(page.as_uri(), size=size, scheme=scheme, motion=motion)

    def ask_only(self, origin: str) -> None:
        """Let pages ask a server, and no other one."""
        self.asked_for = origin + "/"

    def open_address(
        self,
        address: str,
        *,
        size: tuple[int, int] = DESKTOP,
        scheme: str = "light",
        motion: str = "no-preference",
    ) -> None:
        """Show the page of an address."""
        phone = size == PHONE
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=size[0],
            height=size[1],
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )
        self.command("Emulation.setTouchEmulationEnabled", enabled=phone)
        self.command(
            "Emulation.setEmulatedMedia",
            features=[
                {"name": "prefers-color-scheme", "value": scheme},
                {"name": "prefers-reduced-motion", "value": motion},
            ],
        )
        self.driver.get(address)

    def forget(self) -> None:
        """Forget what went before: what pages stored, wrote and asked for."""
        if self.driver.current_url.startswith(self.asked_for):
            self.run("localStorage.clear()")
        self.driver.get("about:blank")
        self.asked_for = "file:"
        self.complaints()
        self.requests()

    def command(self, name: str, **arguments: object) -> Any:
        """Send a command of the DevTools protocol."""
        return self.driver.execute_cdp_cmd(name, arguments)

    def run(self, script: str, *arguments: object) -> Any:
        """Run JavaScript in the page; `return` gives an answer."""
        return self.driver.execute_script(script, *arguments)

    def find(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def find_all(self, selector: str) -> list[Any]:
        return list(self.driver.find_elements("css selector", selector))

    def count(self, selector: str) -> int:
        return int(self.run("return document.querySelectorAll(arguments[0]).length", selector))

    def press(self, *keys: str) -> None:
        """Press keys one by one, wherever the focus is."""
        from selenium.webdriver import ActionChains

        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def wait(self, condition: Callable[[], object]) -> None:
        """Wait until something holds, as long as a slow machine may take."""
        from selenium.webdriver.support.wait import WebDriverWait

        WebDriverWait(self.driver, 60, 0.02).until(lambda _: condition())

    def brightness(self, selector: str) -> float:
        """Return the mean grey, 0 to 255, of what an element shows."""
        from PIL import Image, ImageStat

        content = self.find(selector).screenshot_as_png
        return float(ImageStat.Stat(Image.open(io.BytesIO(content)).convert("L")).mean[0])

    def complaints(self) -> list[str]:
        """Return what was written to the console since the last time."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Return the addresses asked for since the last time, but for those that hold data."""
        events = (
            json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")
        )
        addresses = (
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        )
        return [address for address in addresses if not address.startswith("data:")]


def slide(browser: Browser, value: int) -> None:
    """Move the slider of the page."""
    browser.run(
        "const slider = document.getElementById('limit'); slider.value = arguments[0];"
        "slider.dispatchEvent(new Event('input', { bubbles: true }))",
        value,
    )


def tap(browser: Browser, selector: str) -> None:
    """Tap on an element, scrolled to the middle of the screen."""
    box = browser.run(
        "const one = document.querySelector(arguments[0]); one.scrollIntoView({ block: 'center' });"
        "const box = one.getBoundingClientRect();"
        "return [box.x + box.width / 2, box.y + box.height / 2]",
        selector,
    )
    finger(browser, "touchStart", *box)
    finger(browser, "touchEnd")


def finger(browser: Browser, kind: str, *at: float) -> None:
    """Put a finger on the screen, move it, or take it off: touchStart, touchMove, touchEnd."""
    points = [{"x": at[0], "y": at[1]}] if at else []
    browser.command("Input.dispatchTouchEvent", type=kind, touchPoints=points)
