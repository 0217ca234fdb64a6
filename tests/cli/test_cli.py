"""The funnel: whatever happens, one line on stderr, the right exit code and no traceback."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from forked import forks

from imgdb import __version__, schema

IMGDB = Path(sys.executable).with_name("imgdb")

# A command that does what the test says, in imgdb's own application.
COMMAND = """
import sys
from imgdb.cli.app import make_app, run_command
from imgdb import errors

@make_app().command()
def act():
    {}

sys.argv = ["imgdb", *sys.argv[1:], "act"]
run_command(make_app())
"""


def act(code, *options):
    return subprocess.run(
        [sys.executable, "-c", COMMAND.format(code), *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("code", "exit_code", "stderr"),
    [
        ("raise errors.ImgdbError('no luck; try again')", 1, "imgdb: no luck; try again\n"),
        ("raise errors.UsageError('no such thing')", 2, "imgdb: no such thing\n"),
        ("import typer; raise typer.Exit(3)", 3, ""),
        ("raise KeyboardInterrupt", 130, "imgdb: interrupted\n"),
        ("open('/nosuch')", 1, "imgdb: No such file or directory: /nosuch\n"),
        (
            "raise ValueError('odd')",
            1,
            "imgdb: unexpected ValueError: odd; `imgdb --debug ...` shows where it comes from\n",
        ),
        (
            "import psycopg; psycopg.connect('host=nosuch.invalid')",
            1,
            "imgdb: the connection to the database was lost: ",
        ),
    ],
)
def test_every_error_ends_in_one_line(code, exit_code, stderr):
    done = act(code)
    assert done.returncode == exit_code
    assert done.stderr.strip() == stderr.strip() or done.stderr.startswith(stderr.strip() or "\0")
    assert done.stderr.count("\n") == (1 if stderr else 0)


def test_debug_shows_where_an_error_comes_from():
    done = act("raise errors.ImgdbError('no luck')", "--debug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.endswith("imgdb: no luck\n")


@pytest.mark.parametrize("arguments", [["nosuch"], ["db", "nosuch"], ["db", "current", "--nosuch"]])
def test_wrong_usage_points_to_the_help(cli, arguments):
    result = cli(*arguments)
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.startswith("imgdb: No such ")
    assert result.stderr.endswith("--help`\n")
    assert result.stderr.count("\n") == 1


def test_a_wrong_choice_is_told_with_the_right_ones(cli):
    result = cli("query", "--hash", "md5", "--hex", "0" * 16)
    assert (result.code, result.stdout) == (2, "")
    assert "'--hash': 'md5' is not one of 'phash+dhash', 'phash', 'dhash'" in result.stderr


def test_without_a_command_the_help_is_shown(cli):
    assert cli().stderr.startswith("Usage: imgdb")
    assert cli("db").stderr.startswith("Usage: imgdb db")


def test_version(cli):
    assert cli("--version").stdout == f"imgdb {__version__}\n"


def test_the_package_is_the_command():
    def run(*arguments):
        command = [sys.executable, "-m", "imgdb", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    version = run("--version")
    assert (version.returncode, version.stdout) == (0, f"imgdb {__version__}\n")
    assert run("query", "--help").stdout.startswith("Usage: imgdb query ")
    assert run("query", "--nosuch").stderr == (
        "imgdb: No such option: --nosuch; see `imgdb query --help`\n"
    )


HELP = """
import sys
from typer.main import get_command
from imgdb.cli.app import make_app

app = make_app()

for name in ("", *get_command(app).commands):
    app([*filter(None, [name]), "--help"], standalone_mode=False)
"""


def test_help_imports_nothing_heavy():
    heavy = {"psycopg", "PIL", "numpy", "scipy", "alembic", "sqlalchemy", "rich", "imagehash"}
    code = f"{HELP}\nprint(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_reader_that_has_enough_hears_no_complaint():
    with subprocess.Popen(
        [IMGDB, "db", "script"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as run:
        assert run.stdout is not None and run.stderr is not None
        run.stdout.close()
        assert run.stderr.read() == b""
        run.wait(timeout=60)


EARLY = """
import sys
class Interrupts:
    def find_spec(self, name, path, target=None):
        if name == "imgdb.cli.options":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupts())
"""
DROPPED = """
import os, signal, sys, time
class Interrupts:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
class Drops:
    def find_spec(self, name, path, target=None):
        if name == "imgdb.cli.options":
            Interrupts()
            time.sleep(60)
sys.meta_path.insert(0, Drops())
"""
LATE = "import atexit, os, signal; atexit.register(os.kill, os.getpid(), signal.SIGINT)\n"


@pytest.mark.parametrize(
    ("when", "code", "said"),
    [
        (EARLY, 130, "imgdb: interrupted\n"),
        (DROPPED, 130, "imgdb: interrupted\n"),
        (LATE, 0, ""),
    ],
    ids=["early", "dropped", "late"],
)
def test_ctrl_c_at_any_moment_shows_no_traceback(when, code, said):
    program = when + "from imgdb.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "--version"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (code, said)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_output_that_cannot_be_written_is_an_error():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [IMGDB, "--version"], stdout=full, stderr=subprocess.PIPE, check=False, timeout=60
        )
    assert (done.returncode, done.stderr) == (1, b"imgdb: No space left on device\n")


@pytest.mark.parametrize(
    ("closed", "said"),
    [(">&-", ""), ("2>&-", "default\t0\t0\t0\t0\n"), ("<&- >&- 2>&-", "")],
)
def test_what_is_closed_counts_as_nowhere(database, closed, said):
    with psycopg.connect(database) as conn:
        conn.execute("SELECT imgdb._make_collection('default')")
    done = subprocess.run(
        f"{IMGDB} collections {closed}",
        shell=True, capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "IMGDB_DSN": database},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, said, "")


@pytest.mark.parametrize(
    "sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda sent: sent.name
)
def test_signals_end_a_command_that_waits(empty_database, sent):
    with psycopg.connect(empty_database, autocommit=True) as conn:
        conn.execute("SELECT pg_advisory_lock(%s)", (schema.UPGRADE_LOCK,))
        environment = {**os.environ, "IMGDB_DSN": empty_database}
        with forks().start(["db", "upgrade"], env=environment) as run:
            while conn.execute("SELECT FROM pg_locks WHERE NOT granted").fetchone() is None:
                assert run.poll() is None
            run.send_signal(sent)
            _, stderr = run.communicate(timeout=60)
            assert (run.returncode, stderr) == (128 + sent, "imgdb: interrupted\n")


# -- imgdb db ------------------------------------------------------------------------------------


def test_up_and_down(cli, empty_database):
    assert cli("db", "current", dsn=empty_database).stdout == "none\n"
    up = cli("db", "upgrade", dsn=empty_database)
    assert (up.code, up.stderr) == (0, f"imgdb: schema from none to {schema.head()}\n")
    again = cli("db", "upgrade", dsn=empty_database)
    assert (again.code, again.stderr) == (0, f"imgdb: schema at {schema.head()}\n")
    # Nothing was stored, so nothing is asked.
    down = cli("db", "downgrade", "base", dsn=empty_database)
    assert (down.code, down.stderr) == (0, f"imgdb: schema from {schema.head()} to none\n")


def store_a_hash(database):
    with psycopg.connect(database) as conn:
        conn.execute("CREATE TABLE public.product (photo bigint)")
        conn.execute("SELECT imgdb.track('public.product', 'photo', 'phash')")
        conn.execute("INSERT INTO public.product VALUES (1)")


def test_data_is_dropped_only_when_told(cli, database):
    store_a_hash(database)
    result = cli("db", "downgrade", "base", dsn=database)
    assert result.code == 2
    assert "--yes" in result.stderr
    assert cli("db", "current", dsn=database).stdout == f"{schema.head()}\n"
    assert cli("db", "downgrade", "base", "--yes", dsn=database).code == 0
    with psycopg.connect(database) as conn:
        # The user's table is as it was, and takes rows without imgdb.
        conn.execute("INSERT INTO public.product VALUES (2)")
        assert conn.execute("SELECT count(*) FROM public.product").fetchone() == (2,)


@pytest.mark.parametrize(("answer", "code"), [("n", 1), ("y", 0)])
def test_on_a_terminal_it_asks(database, answer, code):
    store_a_hash(database)
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [IMGDB, "--dsn", database, "db", "downgrade", "base"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as run:
        os.write(ours, f"{answer}\n".encode())
        stdout, stderr = run.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert (run.returncode, stdout.strip()) == (code, "")
    assert "drops data" in stderr


def test_a_users_own_object_stops_the_downgrade(cli, database):
    with psycopg.connect(database) as conn:
        conn.execute("CREATE VIEW public.mine AS SELECT imgdb.distance(1, 2)")
    result = cli("db", "downgrade", "base", "--yes", dsn=database)
    assert result.code == 1
    assert "view public.mine depends on function imgdb.distance" in result.stderr
    assert result.stderr.count("\n") == 1
    # Each revision is a step of its own; the last one drops what the view needs.
    assert cli("db", "current", dsn=database).stdout == f"{schema.revisions()[0]}\n"


def test_the_script_needs_no_database(cli):
    result = cli("db", "script", dsn="host=nosuch.invalid")
    assert result.code == 0
    assert "CREATE FUNCTION imgdb.distance" in result.stdout
