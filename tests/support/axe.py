"""What axe-core has against a page: IMGDB_TEST_AXE names axe.min.js, which is not here."""

import json
import os
from pathlib import Path

import pytest

AXE = os.environ.get("IMGDB_TEST_AXE", "")


def needs_axe():
    if not AXE:
        pytest.skip("IMGDB_TEST_AXE names no axe.min.js")


def violations(browser):
    """Return what axe has against the page that is shown."""
    browser.command("Runtime.evaluate", expression=Path(AXE).read_text("utf-8"))
    run = "axe.run().then((found) => JSON.stringify(found.violations))"
    answer = browser.command("Runtime.evaluate", expression=run, awaitPromise=True)
    found = json.loads(answer["result"]["value"])
    return [(one["id"], node["html"]) for one in found for node in one["nodes"]]
