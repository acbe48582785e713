"""The process of one section: ``python -m gpu_sections.worker NAME DEVICE [--toy]``. Says all it finds in JSON lines.

It imports the section's module, says that it is ready, waits for a line, and only then touches the device.
"""

import argparse
import importlib
import os
import sys
import traceback

import torch

from gpu_sections.report import Report


def main() -> None:
    """Run one section."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("device")
    parser.add_argument("--toy", action="store_true")
    options = parser.parse_args()
    # Whatever a library prints goes to the standard error; the pipe to the driver is for JSON alone.
    stream = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    report = Report(stream, options.device, options.toy)
    module = importlib.import_module(f"gpu_sections.{options.name}")
    prepare = getattr(module, "prepare", None)
    prepared = () if prepare is None else (prepare(report),)
    if options.toy:
        torch.set_num_threads(1)  # small work beside others only waits for its threads
    report.say("ready", True)
    if not sys.stdin.readline():
        return
    try:
        module.run(report, *prepared)
    except Exception as error:
        report.failed("the section", error)
        traceback.print_exc()
    report.end()


if __name__ == "__main__":
    main()
