"""Enters and leaves a Ray, and says in one line if it could not; called as ``ray_entering.py [ADDRESS]``."""

import sys

from medsweep.errors import UserError
from medsweep.execution.ray_runner import RayRunner

if __name__ == "__main__":
    try:
        with RayRunner(sys.argv[1] if len(sys.argv) > 1 else None, cpus=1):
            sys.stdout.write("entered\n")
    except UserError as error:
        sys.exit(f"told: {error}")
