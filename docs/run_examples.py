"""Run the examples of the documentation and write what they print: `python docs/run_examples.py`.

A ```console block holds commands (`$ ...`), each followed by its output at 80 columns.
A ```sql block is run by psql, a ```python block by Python; a ```text block right below holds the
output. Below `<!-- function: NAME -->` and `<!-- table: NAME -->` stands what the catalog says of
them, up to `<!-- end -->`. The database of a page holds examples/images.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg

ROOT = Path(__file__).parents[1]
PAGES = (
    "README.md",
    "docs/sql.md",
    "docs/python.md",
    "docs/shop.md",
    "docs/moderation.md",
    "docs/data-engineer.md",
)

BLOCKS = re.compile(
    r"```console\n(?P<commands>.*?)```"
    r"|```(?P<language>sql|python)\n(?P<code>.*?)```\n(?P<text>\n```text\n.*?```\n)?"
    r"|<!-- (?P<kind>function|table): (?P<name>\w+) -->.*?<!-- end -->",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Runner:
    """Where examples run: the environment of commands, and the database of psql."""

    environment: Mapping[str, str]
    conninfo: str
    bindir: Path

    def page(self, text: str) -> str:
        """Return a page with what its examples print and the catalog says now."""
        return BLOCKS.sub(self._block, text)

    def _block(self, match: re.Match[str]) -> str:
        if (commands := match["commands"]) is not None:
            lines = [line for line in commands.splitlines() if line.startswith("$ ")]
            parts = [f"{line}\n{self.command(line[2:])}" for line in lines]
            return f"```console\n{''.join(parts)}```"
        if (name := match["name"]) is not None:
            said = _function if match["kind"] == "function" else _table
            with psycopg.connect(self.conninfo) as conn:
                return f"<!-- {match['kind']}: {name} -->\n{said(conn, name)}\n<!-- end -->"
        code, language = match["code"], match["language"]
        output = self.sql(code) if language == "sql" else self.python(code)
        shown = f"\n```text\n{output}```\n" if match["text"] else ""
        return f"```{language}\n{code}```\n{shown}"

    def command(self, command: str) -> str:
        """Run a command line on a terminal, and return what it prints there."""
        terminal, screen = os.openpty()
        place = [str(Path(sys.executable).parent), str(self.bindir), os.environ["PATH"]]
        settings = {"PATH": ":".join(place), "COLUMNS": "80", "TERM": "dumb", "PSQL_PAGER": "cat"}
        with subprocess.Popen(
            ["bash", "-c", f"set -o pipefail; {command}"],
            cwd=ROOT,
            env={**self.environment, **settings},
            stdin=subprocess.DEVNULL,
            stdout=screen,
            stderr=subprocess.PIPE,
            text=True,
        ) as running:
            os.close(screen)
            printed = _read_all(terminal)
            assert running.stderr is not None
            trouble = running.stderr.read()
        if running.returncode:
            raise RuntimeError(f"{command}\nexit code {running.returncode}\n{trouble}")
        return _tidy(printed)

    def sql(self, statements: str) -> str:
        """Run SQL by psql, and return what it prints."""
        psql = [self.bindir / "psql", self.conninfo, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-"]
        return self._piped(psql, statements)

    def python(self, code: str) -> str:
        """Run Python code, and return what it prints."""
        return self._piped([sys.executable, "-"], code)

    def _piped(self, program: list[str | Path], text: str) -> str:
        place = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            program,
            cwd=ROOT,
            env={**self.environment, "PATH": place},
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{text}\n{done.stderr}")
        return _tidy(done.stdout)


FUNCTION = """
    SELECT p.oid::regprocedure::text, p.prokind = 'p', pg_get_function_arguments(p.oid),
        pg_get_function_result(p.oid), obj_description(p.oid, 'pg_proc')
    FROM pg_proc AS p
    WHERE p.pronamespace = 'imgdb'::regnamespace AND p.proname = %s
"""
COLUMNS = """
    SELECT a.attname, format_type(a.atttypid, a.atttypmod), col_description(a.attrelid, a.attnum),
        obj_description(a.attrelid, 'pg_class')
    FROM pg_attribute AS a
    WHERE a.attrelid = format('imgdb.%%I', %s::text)::regclass AND a.attnum > 0
        AND NOT a.attisdropped
    ORDER BY a.attnum
"""
WIDE = 88


def _function(conn: psycopg.Connection, name: str) -> str:
    found = conn.execute(FUNCTION, (name,)).fetchone()
    if found is None:
        raise RuntimeError(f"there is no function imgdb.{name}")
    _, is_procedure, arguments, result, comment = found
    arguments = re.sub(r"\bIN ", "", arguments)
    call = f"imgdb.{name}({arguments})"
    if len(call) > WIDE:
        call = f"imgdb.{name}(\n    " + arguments.replace(", ", ",\n    ") + "\n)"
    head = f"CALL {call}" if is_procedure else call
    returns = "" if is_procedure else f"\nRETURNS {result}"
    return f"```text\n{head}{returns}\n```\n\n{comment}"


def _table(conn: psycopg.Connection, name: str) -> str:
    rows = conn.execute(COLUMNS, (name,)).fetchall()
    lines = [f"| `{column}` | `{kind}` | {comment} |" for column, kind, comment, _ in rows]
    return "\n".join([rows[0][3], "", "| column | type | meaning |", "| --- | --- | --- |", *lines])


def _read_all(terminal: int) -> str:
    parts = []
    while True:
        try:
            part = os.read(terminal, 1 << 16)
        except OSError:  # how Linux says that nobody has the screen open any more
            part = b""
        if not part:
            os.close(terminal)
            return b"".join(parts).decode()
        parts.append(part)


def _tidy(printed: str) -> str:
    lines = [line.rstrip() for line in printed.replace("\r\n", "\n").splitlines()]
    text = "\n".join(lines).strip("\n")
    return f"{text}\n" if text else ""


def main() -> None:
    from imgdb.database.embedded import find_bindir

    environment = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
    for name in PAGES:
        home = Path(tempfile.mkdtemp(prefix="imgdb-docs-", dir="/tmp"))
        home.chmod(0o711)
        environment["IMGDB_HOME"] = str(home / "home")
        imgdb = str(Path(sys.executable).with_name("imgdb"))

        def call(*arguments: str, program: str = imgdb) -> str:
            done = subprocess.run(
                [program, *arguments],
                cwd=ROOT,
                env=environment,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            return done.stdout.strip()

        try:
            call("db", "start")
            call("ingest", "examples/images")
            page = ROOT / name
            runner = Runner(environment, call("db", "url"), find_bindir())
            page.write_text(runner.page(page.read_text("utf-8")), "utf-8")
        finally:
            call("db", "stop")
            shutil.rmtree(home)


if __name__ == "__main__":
    main()
