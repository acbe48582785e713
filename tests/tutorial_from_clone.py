"""Do the tutorial from a fresh clone with nothing but the commands of its pages, and print the times.

    python tests/tutorial_from_clone.py FOLDER

FOLDER must not exist yet. It gets the clone with an environment of its own, and a folder where the tutorial is typed.
This takes less than an hour on two idle cores.
"""

import argparse
import sys
from pathlib import Path

from helpers.tutorial import ROOT, CpuMeter, Spent, Step, do, environment, steps


def line(title: str, wall_s: float, cpu_s: float) -> str:
    return f"{title:100}{wall_s / 60:8.1f} min{cpu_s / 60:8.1f} CPU min"


def from_clone(folder: Path) -> list[Spent]:
    """Clone, install and do all steps below ``folder``. Each is printed when it is done."""
    meter = CpuMeter()
    typed = folder / "typed"
    typed.mkdir(parents=True)
    clone, commands = folder / "medsweep", folder / "medsweep" / ".venv" / "bin"
    spent = []
    todo = [(Step("sh", f"git clone --quiet {ROOT} {clone}"), folder), (Step("sh", "make .venv/.installed"), clone)]
    for step, where in [*todo, *((step, typed) for step in steps())]:
        spent.append(do(step, where, commands / "python", environment(commands), meter))
        sys.stdout.write(line(step.title, spent[-1].wall_s, spent[-1].cpu_s) + "\n")
        sys.stdout.flush()
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    spent = from_clone(parser.parse_args().folder.absolute())
    install, tutorial = spent[:2], spent[2:]
    for title, chosen in (
        ("clone and installation", install),
        ("the tutorial", tutorial),
        ("the tutorial without training", [one for one in tutorial if not one.step.trains]),
    ):
        sys.stdout.write(line(title, sum(one.wall_s for one in chosen), sum(one.cpu_s for one in chosen)) + "\n")


if __name__ == "__main__":
    main()
