"""The program: it hears signals before it imports anything else, so that an early one ends it like any other."""

import sys

from medsweep.stop_signals import STOPPED_EXIT, hear_signals, leave
from medsweep.terminal import print_anything


def main() -> None:
    """Entry point of the ``medsweep`` command."""
    stop = hear_signals()
    print_anything()
    try:
        from medsweep.cli import app

        app()
    except SystemExit as ended:
        leave(int(ended.code or 0))
        raise
    except BaseException:
        if not stop.requested:
            raise
        sys.stderr.write("medsweep: stopped; run the same command to go on\n")
        leave(STOPPED_EXIT)
        sys.exit(STOPPED_EXIT)


if __name__ == "__main__":
    main()
