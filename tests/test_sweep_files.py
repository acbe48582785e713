"""Every sweep that is shipped can be read, and its arms and plan can be built."""

from pathlib import Path

import pytest

from medsweep.data.source import DataSource
from medsweep.study.chains import Chains
from medsweep.study.stages import SCHEMA, STAGES
from medsweep.sweep.arms import arms, replicates
from medsweep.sweep.load import load_sweep
from medsweep.sweep.plan import build, unread_factors

SWEEPS = sorted((Path(__file__).parents[1] / "sweeps").rglob("*.yaml"))


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_shipped_sweep_makes_a_plan(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MEDSWEEP_DATA", str(tmp_path))
    sweep = load_sweep(path, SCHEMA)
    every = arms(sweep)
    patients = tuple(f"p{number:03d}" for number in range(400))
    chains = Chains(every, DataSource("0" * 64, patients))
    plan = build(
        sweep.name,
        arms=every,
        replicates=replicates(sweep, [f"case-{number:02}" for number in range(24)]),
        stages=STAGES,
        expand=chains.expand,
        extras=lambda builder: chains.extras,
    )
    assert len(plan.arms) == len(every), plan.aliases
    assert unread_factors(plan, every, sweep.file.factors) == []
    read = set().union(*(plan.ancestry(leaf) for leaf in plan.leaves.values()))
    assert sum(plan.naive_counts().values()) > len(read)
    assert all(trial.hours > 0 for trial in plan.trials.values())


def test_names_of_sweeps_are_their_own() -> None:
    names = [path.read_text().split("\nsweep: ", 1)[1].split("\n")[0] for path in SWEEPS]
    assert len(names) == len(set(names)) >= 5
