"""The command line: typer commands, one module per group; no logic."""

import gc
import os
import signal
import sys


def main() -> None:
    """Load the commands and run one of them; Ctrl-C is as quiet at once as it is later on."""
    # Before numpy is loaded: the products of one picture are too small for threads.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.unraisablehook = _keep_interrupts
    _open_what_is_closed()
    try:
        from imgdb.cli.app import run_command as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("imgdb: interrupted\n")
        sys.exit(128 + signal.SIGINT)
    finally:
        # All is done. To look for cycles in all that is loaded takes a fifth of a short command.
        gc.freeze()


def _open_what_is_closed() -> None:
    """Let no connection come to stand where stdin, stdout or stderr should: `imgdb query >&-`."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            # The lowest number that is free, so that it is this one.
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


def _keep_interrupts(lost: "sys.UnraisableHookArgs") -> None:
    """Send Ctrl-C again where Python drops it: in a destructor or at the end of an import."""
    if lost.exc_type is KeyboardInterrupt:
        # A moment later: at once, it would be dropped in here.
        signal.signal(signal.SIGALRM, lambda number, frame: signal.raise_signal(signal.SIGINT))
        signal.setitimer(signal.ITIMER_REAL, 0.01)
    else:
        sys.__unraisablehook__(lost)


__all__ = ["main"]
