"""The command line: typer commands, one module per group; no logic."""

import os
import signal
import sys


def main() -> None:
    """Load the commands and run one of them; Ctrl-C is as quiet at once as it is later on."""
    # Before numpy is loaded: the products of one picture are too small for threads.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        from imgdb.cli.app import run_command as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("imgdb: interrupted\n")
        sys.exit(128 + signal.SIGINT)


__all__ = ["main"]
