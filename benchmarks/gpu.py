"""One run on one GPU, at most ten minutes: what is equal, what goes on, how fast each phase is, what follows.

    python benchmarks/gpu.py --out DIR [--only NAME ...] [--device cuda|cpu] [--toy] [--limit 540]

Ten sections (``gpu_sections/record.py``), most important first, each in a process of its own that is ended at its wall
limit. ``DIR/gpu.json`` and ``DIR/gpu.md`` are written anew after every section, ``DIR/kernels.json`` holds the kernels
that take most. The exit code is 0 where the sections equal, resume and memory, as far as they were asked for, ended and
failed no check. Needs torch 2.6, numpy, scipy, pandas, pyarrow, matplotlib, einops, safetensors, pydantic, monai,
nibabel and ruamel.yaml, no network and no data; medsweep itself need not be installed. ``--toy`` has small sizes, no
wall limits per section, and is for trying the script, on a CPU too; its numbers mean nothing.
"""

import argparse
import importlib
import signal
import sys
import time
from pathlib import Path

from gpu_sections.markdown import page
from gpu_sections.processes import ROOT
from gpu_sections.record import SECTIONS, Record, new_entry, new_record, passed, write, write_json
from gpu_sections.workers import Worker, worked

LEAST = 0.5
"""A section begins only where this share of its limit is left."""


def options_of(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), default=list(SECTIONS), metavar="NAME")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--toy", action="store_true")
    parser.add_argument("--limit", type=float, default=540.0, help="seconds for all of it")
    return parser.parse_args(arguments)


def keep(folder: Path, record: Record, kernels: dict[str, object]) -> None:
    """Write all that is known so far."""
    write_json(folder / "gpu.json", record)
    write(folder / "gpu.md", page(record))
    write_json(folder / "kernels.json", kernels)


def import_all(names: list[str]) -> None:
    """Import what the sections do, once for all of them."""
    sys.path.insert(1, str(ROOT))  # medsweep need not be installed
    for name in ("worker", "share_child", "assess_again", *names):
        importlib.import_module(f"gpu_sections.{name}")


def measure(options: argparse.Namespace) -> Record:
    """Run the sections in their order."""
    record, kernels = new_record(options.limit, options.device, options.toy), {}
    deadline = time.monotonic() + options.limit
    names = [name for name in SECTIONS if name in options.only]
    forks = options.device == "cpu"
    if forks:
        import_all(names)
    workers = {name: Worker(name, SECTIONS[name], options.device, options.toy, forks=forks) for name in names}
    try:
        for name in names:
            limit = options.limit if options.toy else SECTIONS[name].limit_s
            ready = workers[name].ready(deadline)
            left = deadline - time.monotonic()
            if left < (0 if options.toy else LEAST * limit):
                entry = new_entry("skipped", f"{max(0.0, left):.0f} s were left, it may take {limit:.0f} s")
            elif not ready:
                entry = new_entry("failed", f"it did not get ready: {workers[name].last_words()}")
            else:
                entry = worked(workers[name], min(limit, left), record["facts"], kernels)
            record["sections"][name] = entry
            workers[name].end()
            keep(options.out, record, kernels)
            print(f"{name}: {entry['state']}, {entry['seconds']:.1f} s", flush=True)
    finally:
        for worker in workers.values():
            worker.end()
    return record


def main(arguments: list[str] | None = None) -> int:
    """Run, and return the exit code."""
    options = options_of(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the workers are ended
    options.out.mkdir(parents=True, exist_ok=True)
    record = measure(options)
    print((options.out / "gpu.md").read_text())
    return 0 if passed(record) else 1


if __name__ == "__main__":
    sys.exit(main())
