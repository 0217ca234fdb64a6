"""`query --show`: pictures in terminals that can draw them, and never a control code elsewhere."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading

import pytest
from library import add, shelf

SIXEL, KITTY = b"\x1bP", b"\x1b_G"

# What a terminal is asked: for its features, and whether it has kitty's protocol.
QUESTION = re.compile(rb"\x1b\[c|\x1b_Gi=(\d+)[^\x1b]*a=q[^\x1b]*\x1b\\")


class Terminal:
    """What a terminal can draw, told as it is asked."""

    def __init__(self, *, sixel: bool = False, kitty: bool = False) -> None:
        self.features, self.kitty = b"\x1b[?62;4c" if sixel else b"\x1b[?62c", kitty
        self._asked = b""

    def answers(self, written: bytes) -> bytes:
        """Return the answers to what was asked since the last time."""
        self._asked += written
        answers = []
        end = 0
        for question in QUESTION.finditer(self._asked):
            end = question.end()
            if question[1] is None:
                answers.append(self.features)
            elif self.kitty:
                answers.append(b"\x1b_Gi=%b;OK\x1b\\" % question[1])
        self._asked = self._asked[end:]
        return b"".join(answers)


RUN = "from imgdb.cli import main; main()"
WITHOUT_LIBRARY = f"import sys; sys.modules['textual_image'] = None; {RUN}"


@pytest.fixture
def folder(database, tmp_path):
    """Fill the database with a picture, its copy, two edits of it, and others; return where."""
    made = shelf(tmp_path / "shelf")
    add(database, *made.iterdir())
    return made


@pytest.fixture
def on_terminal(database, tmp_path):
    """Run a command on a terminal; return code, output and stderr."""

    def run(*args, terminal, code=RUN):
        ours, its = pty.openpty()
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 100, 1000, 1000))
        parts = []

        def read():
            while True:
                try:
                    parts.append(os.read(ours, 1 << 16))
                    os.write(ours, terminal.answers(parts[-1]))
                except OSError:  # the command has ended
                    return

        process = subprocess.Popen(
            [sys.executable, "-c", code, *args],
            stdin=its,
            stdout=its,
            stderr=subprocess.PIPE,
            env={**os.environ, "IMGDB_DSN": database, "TERM": "xterm-256color"},
        )
        os.close(its)
        reader = threading.Thread(target=read)
        reader.start()
        _, stderr = process.communicate(timeout=120)
        reader.join()
        os.close(ours)
        return process.returncode, b"".join(parts), stderr.decode()

    return run


@pytest.mark.parametrize(("able", "mark"), [("sixel", SIXEL), ("kitty", KITTY)])
def test_query_and_matches_are_drawn(folder, on_terminal, able, mark):
    lake = folder / "lake.png"
    (folder / "lake-soft.png").unlink()
    code, output, stderr = on_terminal("query", lake, "--show", terminal=Terminal(**{able: True}))
    assert (code, stderr) == (0, "")
    table, _, pictures = output.partition(b"query  ")
    assert b"lake-copy.png" in table
    for words in (b" same  ", b"lake-small.jpg", b"lake-soft.png: there is no such file"):
        assert words in pictures
    # The query, itself, its copy and the small one; in kitty's protocol an image is many messages.
    drawn = output.count(SIXEL) if mark is SIXEL else output.count(b",U=1,")
    assert drawn == 4


def test_a_terminal_that_cannot_draw(folder, on_terminal):
    code, output, stderr = on_terminal("query", folder / "lake.png", "--show", terminal=Terminal())
    assert (code, stderr.count("\n")) == (0, 1)
    assert "kitty" in stderr
    assert b"lake-copy.png" in output
    assert SIXEL not in output


def test_a_pipe_gets_the_data_alone(folder, database, cli):
    plain = cli("query", folder / "lake.png", dsn=database)
    shown = cli("query", folder / "lake.png", "--show", dsn=database)
    assert (shown.code, shown.stdout) == (0, plain.stdout)
    assert "\x1b" not in shown.stdout + shown.stderr
    assert (plain.stderr, shown.stderr.count("\n")) == ("", 1)


def test_the_extra_is_named_before_any_work(folder, on_terminal):
    code, output, stderr = on_terminal(
        "query", folder / "none.png", "--show", terminal=Terminal(), code=WITHOUT_LIBRARY
    )
    assert (code, output) == (2, b"")
    assert stderr == "imgdb: --show needs the package textual-image: pip install textual-image\n"
