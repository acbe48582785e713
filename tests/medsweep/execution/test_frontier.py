"""Which trial starts next: those of one input in a row, near their inputs, the urgent ones first."""

from pathlib import Path

from medsweep.execution.frontier import Frontier
from medsweep.execution.task import Task, TaskFile, read_task
from medsweep.sweep.file import Resources


def task(digest: str, *parents: str, tail: float = 1.0) -> Task:
    return Task(
        sweep="s", stage="t", digest=digest, config={}, inputs={f"in{i}": parent for i, parent in enumerate(parents)},
        input_stages={}, reads={}, label=digest, hours=1.0, tail_hours=tail, held=Resources(gpus=0.5),
    )  # fmt: skip


def test_trials_of_one_input_follow_each_other(tmp_path: Path) -> None:
    roots = [task("a", tail=2.0), task("b", tail=2.0)]
    frontier = Frontier([*roots, *(task(f"{root}{i}", root) for i in (1, 2) for root in ("a", "b"))])
    assert [frontier.start(), frontier.start()] == roots
    frontier.settle("a", "complete")
    frontier.settle("b", "complete")
    order = [started.digest for _ in range(4) if (started := frontier.start()) is not None]
    assert order == ["b1", "b2", "a1", "a2"]


def test_a_frontier_takes_tasks_that_come_later_and_so_does_the_file_of_tasks(tmp_path: Path) -> None:
    roots = [task("a", tail=2.0), task("b", tail=1.0)]
    frontier, lines = Frontier(roots), TaskFile(tmp_path, roots)
    assert frontier.start() == roots[0]
    later = [roots[1], task("a1", "a", tail=3.0), task("c", tail=4.0), task("d", "gone", tail=0.5)]
    frontier.add(later)
    assert [frontier.start(), frontier.start()] == [later[2], roots[1]], "b is there once, a1 waits for a"
    frontier.settle("a", "complete")
    frontier.add([task("a2", "a", tail=2.0)])
    assert [made.digest for _ in range(3) if (made := frontier.start())] == ["a1", "a2", "d"]
    assert frontier.start() is None
    places = [lines.place(each) for each in (*roots, *later)]
    assert [read_task(lines.path, place) for place in places] == [*roots, *later]
    assert len(lines.path.read_text().splitlines()) == 5


def test_a_free_place_is_given_to_the_trial_whose_inputs_are_near() -> None:
    roots = [task("a", tail=2.0), task("b", tail=2.0)]
    frontier = Frontier([*roots, *(task(f"{root}{i}", root) for root in ("a", "b") for i in (1, 2))])
    assert [frontier.start(), frontier.start()] == roots
    for root, node in (("a", "n1"), ("b", "n2")):
        frontier.ran_on(root, node)
        frontier.settle(root, "complete")
    order = [started.digest for near in ("n1", "n2", "n2", "n1") if (started := frontier.start(near=near))]
    assert order == ["a1", "b1", "b2", "a2"]


def test_nearness_never_goes_before_urgency() -> None:
    frontier = Frontier([task("a", tail=9.0), task("long", "a", tail=5.0), task("b", tail=9.0), task("near", "b")])
    for root, node in (("a", "n1"), ("b", "n2")):
        assert frontier.start()
        frontier.ran_on(root, node)
    for root in ("a", "b"):
        frontier.settle(root, "complete")
    first = frontier.start(near="n2")
    assert first is not None
    assert first.digest == "long"
