"""Section 7: several trials on one GPU, each in a process of its own with its share of the memory.

The processes are started with the section's own, so that their imports are over when its turn comes. All count whole
steps in one window of a clock that they share, after a warm-up; the device is idle at both ends of a count.
"""

import json
import time
from typing import Any

from gpu_sections.predictions import SHARE
from gpu_sections.processes import Process
from gpu_sections.report import Report

RUNS = {"tiny": (1, 2, 4, 8), "gan": (1, 2), "unet": (1, 2, 4)}
TOY_RUNS = {"tiny": (1, 2), "unet": (1,)}
WARM_UP, WINDOW = 0.5, 2.0
"""Seconds. Nine runs have to fit into the section."""
TOY_WARM_UP, TOY_WINDOW = 0.0, 0.3


class Child(Process):
    """A process that trains what it is told to and counts."""

    def __init__(self, device: str, toy: bool) -> None:
        super().__init__(
            "gpu_sections.share_child", [device, *(["--toy"] if toy else [])], forks=not device.startswith("cuda")
        )

    def hear(self) -> dict[str, Any]:
        """Wait for its answer to one order.

        Raises:
            RuntimeError: it died.
        """
        line = self.stdout.readline()
        if not line:
            raise RuntimeError(f"a sharing process died: {self.last_words()}")
        return json.loads(line)


def runs(report: Report) -> dict[str, tuple[int, ...]]:
    """How many processes train what."""
    return TOY_RUNS if report.toy else RUNS


def prepare(report: Report) -> list[Child]:
    """As many processes as the largest run needs, past their imports."""
    children = [Child(report.device, report.toy) for _ in range(max(max(counts) for counts in runs(report).values()))]
    for child in children:
        child.hear()
    return children


def run(report: Report, children: list[Child]) -> None:
    """What is smallest comes first, since sharing is for it."""
    try:
        for work, counts in runs(report).items():
            alone: float | None = None
            for count in counts:
                with report.part(f"{count} x {work}"):
                    rates = together(children[:count], work, report.toy)
                    alone = rates[0] if alone is None else alone
                    report.row(
                        "share",
                        {"work": work, "processes": count},
                        images_per_s=sum(rates),
                        times_one=sum(rates) / alone,
                        slow_down=alone * len(rates) / sum(rates),
                        predicted=SHARE[work].get(count),
                    )
    finally:
        for child in children:
            child.end()


def together(children: list[Child], work: str, toy: bool) -> list[float]:
    """Images per second of each process while all of them train."""
    ask(children, {"prepare": work, "share": 1 / len(children)})
    begin = time.monotonic() + (TOY_WARM_UP if toy else WARM_UP)
    window = {"begin": begin, "end": begin + (TOY_WINDOW if toy else WINDOW)}
    return [float(answer["images_per_s"]) for answer in ask(children, {"count": window})]


def ask(children: list[Child], order: dict[str, Any]) -> list[dict[str, Any]]:
    """Give all the same order, and wait for all answers before the first that failed is raised."""
    for child in children:
        child.tell(json.dumps(order))
    answers = [child.hear() for child in children]
    for answer in answers:
        if "error" in answer:
            raise RuntimeError(answer["error"])
    return answers
