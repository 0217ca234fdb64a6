"""The shells' scripts, and where a shell finds one."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from imgdb.cli.completion import SHELLS
from imgdb.errors import UsageError


def shell_script(shell: str) -> str:
    """Return the script that has a shell complete imgdb's command lines."""
    return (resources.files(__package__) / f"imgdb.{shell}").read_text("utf-8")


def install(shell: str) -> tuple[Path, Path | None]:
    """Write a shell's script to where it looks for it.

    bash and zsh look nowhere by themselves: a line at the end of their file of settings, the second
    path that is returned, reads it. Doing it twice changes nothing.
    """
    if shell == "fish":
        place = _folder("XDG_CONFIG_HOME", ".config") / "fish/completions/imgdb.fish"
    else:
        place = _folder("XDG_DATA_HOME", ".local/share") / f"imgdb/completion.{shell}"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(shell_script(shell), "utf-8")
    if shell == "fish":
        return place, None
    settings = Path.home() / ".bashrc" if shell == "bash" else _folder("ZDOTDIR", "") / ".zshrc"
    _read_from(settings, place)
    return place, settings


def current_shell() -> str:
    """Return the shell that runs us; raise UsageError where there is none that is known."""
    import shellingham

    try:
        shell, _ = shellingham.detect_shell()
    except (shellingham.ShellDetectionFailure, OSError):
        shell = ""
    if shell not in SHELLS:
        raise UsageError(
            f"cannot install completion for {shell or 'an unknown shell'}; "
            f"imgdb --show-completion prints it for {', '.join(SHELLS)}"
        )
    return str(shell)


def _read_from(settings: Path, place: Path) -> None:
    """Add a line to a shell's settings, unless it is there."""
    quoted = "'" + str(place).replace("'", "'\\''") + "'"
    line = f"[ ! -r {quoted} ] || . {quoted}  # completion of imgdb"
    try:
        there = settings.read_text("utf-8", errors="surrogateescape")
    except FileNotFoundError:
        there = ""
    if line not in there.splitlines():
        gap = "" if there.endswith("\n") or not there else "\n"
        with settings.open("a", encoding="utf-8") as file:
            file.write(f"{gap}{line}\n")


def _folder(variable: str, usual: str) -> Path:
    return Path(os.environ.get(variable) or Path.home() / usual)
