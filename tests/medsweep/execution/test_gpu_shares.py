"""``gpus: auto``: one probe per shape, few shares, a cap on every process, and a ladder for trials that run out."""

import json
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from helpers.gpu_toy import CALLS, STAGES, TOTAL_MIB, ApplyConfig, FakeGpu, Settings, TrainConfig, expand
from helpers.micro import write_micro
from helpers.runner_contract import Notebook
from medsweep.data.config import PrepareConfig
from medsweep.data.folds import Fold
from medsweep.execution import gpu_memory
from medsweep.execution.driver import Summary, run_plan
from medsweep.execution.gpu_memory import SHARES, Gpu, Grant, allocator_share, next_grant, share_for
from medsweep.execution.memory_probe import measured, shape_of, sized, sizes_of
from medsweep.execution.runner import LocalRunner
from medsweep.execution.task import RunContext
from medsweep.planning.budget import Spent, require_within
from medsweep.store.store import Store
from medsweep.study.plan import plan_sweep
from medsweep.study.session import open_sweep
from medsweep.study.stages import STAGES as REAL
from medsweep.sweep.arms import Arm, Replicate
from medsweep.sweep.file import Resources
from medsweep.sweep.plan import Plan, build
from medsweep.trainers.treatments import TreatConfig

AUTO = {stage: Resources(gpus="auto") for stage in STAGES}


def settings_of(log: Path, apply: dict[str, Any] | None = None, **settings: Any) -> Settings:
    train = TrainConfig(log=str(log), **settings)
    return Settings(train=train, apply=None if apply is None else ApplyConfig(**apply))


def plan_of(log: Path, arms: dict[str, dict[str, Any]], seeds: int = 2) -> Plan:
    made = [
        Arm(name, {}, settings_of(log, **settings), is_control=not number)
        for number, (name, settings) in enumerate(arms.items())
    ]
    where = [Replicate(Fold(index=fold, of=2), seed) for fold in range(2) for seed in range(seeds)]
    return build("gpus", arms=made, replicates=where, stages=STAGES, expand=expand)


def run(plan: Plan, store: Path, notebook: Notebook | None = None, resources: Any = AUTO) -> Summary:
    context = RunContext(store=store, stages=STAGES, resources=resources, gpu=FakeGpu())
    return run_plan(plan, context, LocalRunner(), notebook or Notebook())


def hosts(plan: Plan, store: Path) -> list[tuple[float, float, int]]:
    """Size, share and parts of every published trial."""
    found = [Store(store).manifest(trial.stage, digest) for digest, trial in plan.trials.items()]
    return [(one.config["size_mib"], one.host["gpus"], one.host["micro_batches"]) for one in found]


def lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_one_probe_per_shape_then_every_process_is_capped_at_its_share(tmp_path: Path) -> None:
    log = tmp_path / "log"
    plan = plan_of(log, {"small": {"size_mib": 2000.0}, "large": {"size_mib": 15_000.0}})
    notebook = Notebook()
    assert run(plan, tmp_path / "store", notebook).ok
    assert Counter(hosts(plan, tmp_path / "store")) == {(2000.0, 0.125, 1): 4, (15_000.0, 0.5, 1): 4}
    assert Counter((one["steps"], one["cap"]) for one in lines(log)) == {
        (1, TOTAL_MIB): 2, (3, TOTAL_MIB / 8): 4, (3, TOTAL_MIB / 2): 4,
    }  # fmt: skip
    assert all(one["share"] == one["cap"] / TOTAL_MIB for one in lines(log)), "the stage is told what it holds"
    assert len(notebook.begun) == 10
    assert not list((tmp_path / "store").rglob("*.part"))
    assert not list((tmp_path / "store").rglob("lease.json"))


def test_every_trial_and_probe_gives_the_gpu_back_however_it_ends(tmp_path: Path) -> None:
    CALLS.clear()
    arms = {
        "fine": {"size_mib": 2000.0},
        "late": {"size_mib": 2000.0, "later_mib": 9e6},
        "broken": {"size_mib": 3000.0, "bug": True},
        "huge": {"size_mib": 60_000.0},
    }
    assert not run(plan_of(tmp_path / "log", arms, seeds=1), tmp_path / "store").ok
    begun = [call for call in CALLS if call.startswith("begin")]
    assert {"begin 0.125", "begin 0.25", "begin 1"} <= set(begun)
    held = "".join("B" if call.startswith("begin") else "R" for call in CALLS)
    assert held.replace("BBR", "").replace("BR", "") == "", "only a probe begins anew before it gives back"
    assert held.count("BB") == 1, "the huge step was tried whole and in two micro-batches"


class Cuda:
    """Stands for ``torch.cuda``; writes down what is asked of it, and has ``free`` of 100 bytes left."""

    def __init__(self, free: int = 100) -> None:
        self.calls: list[str] = []
        self._free = free

    def mem_get_info(self) -> tuple[int, int]:
        return self._free, 100

    def is_available(self) -> bool:
        return True

    def get_device_properties(self, device: int) -> SimpleNamespace:
        return SimpleNamespace(total_memory=40_000 * 2**20)

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *given: self.calls.append(name)


def cuda(monkeypatch: pytest.MonkeyPatch, free: int = 100) -> Cuda:
    fake = Cuda(free)
    monkeypatch.setattr(torch, "cuda", fake)
    monkeypatch.setattr(gpu_memory.gc, "collect", lambda: fake.calls.append("collect"))
    return fake


def test_what_earlier_trials_left_is_gone_before_the_peak_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = cuda(monkeypatch)
    Gpu().begin(0.25)
    assert fake.calls == ["collect", "empty_cache", "set_per_process_memory_fraction", "reset_peak_memory_stats"]


def test_an_error_lets_go_of_the_tensors_of_the_trial_that_it_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[weakref.ref[torch.Tensor]] = []

    def stage() -> Iterator[None]:
        weights = torch.zeros(3)
        left.append(weakref.ref(weights))
        yield
        raise RuntimeError(f"CUDA out of memory with {len(weights)} weights")

    caught = None
    try:
        try:
            list(stage())
        except RuntimeError as error:
            raise KeyError("said otherwise") from error
    except KeyError as error:
        caught = error
    assert caught is not None
    assert left[0]() is not None
    cuda(monkeypatch)
    Gpu().release(caught)
    assert left[0]() is None


@pytest.mark.parametrize(("share", "free", "short"), [(0.5, 100, True), (1.0, 50, False), (1.0, 5, True)])
def test_memory_is_short_under_a_cap_or_where_little_is_free(
    monkeypatch: pytest.MonkeyPatch, share: float, free: int, short: bool
) -> None:
    cuda(monkeypatch, free)
    assert Gpu().is_short(share) == short


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    log = tmp_path / "log"
    run(plan_of(log, {"small": {"size_mib": 2000.0}}, seeds=1), tmp_path / "store")
    before = len(lines(log))
    run(plan_of(log, {"small": {"size_mib": 2000.0}}, seeds=3), tmp_path / "store")
    assert {one["steps"] for one in lines(log)[before:]} == {3}
    (kept,) = (tmp_path / "store" / "probes" / "train").iterdir()
    kept.write_text(kept.read_text()[:20])
    run(plan_of(log, {"small": {"size_mib": 2000.0}}, seeds=4), tmp_path / "store")
    assert Counter(one["steps"] for one in lines(log))[1] == 2, "a torn measurement is made again"


def test_a_step_that_fits_no_gpu_is_worked_in_parts_and_that_is_recorded(tmp_path: Path) -> None:
    plan = plan_of(tmp_path / "log", {"huge": {"size_mib": 100_000.0}}, seeds=1)
    assert run(plan, tmp_path / "store").ok
    assert set(hosts(plan, tmp_path / "store")) == {(100_000.0, 1.0, 4)}
    results = [Store(tmp_path / "store").output("train", digest) / "result.json" for digest in plan.trials]
    assert {json.loads(path.read_text()) for path in results} == {100_000.0}


def test_memory_that_no_probe_saw_climbs_the_ladder(tmp_path: Path) -> None:
    notebook = Notebook()
    plan = plan_of(tmp_path / "log", {"a": {"size_mib": 2000.0, "later_mib": 12_000.0}}, seeds=1)
    assert run(plan, tmp_path / "store", notebook).ok
    assert set(hosts(plan, tmp_path / "store")) == {(2000.0, 0.5, 1)}
    told = [note for note in notebook.notes if "ran out of memory" in note]
    assert [note.rsplit("with ", 1)[1] for note in told] == ["0.25 GPU", "0.5 GPU"] * 2, "without waiting for others"


def test_a_shape_that_cannot_be_measured_fails_alone_and_by_name(tmp_path: Path) -> None:
    arms = {
        "fine": {"size_mib": 2000.0},
        "broken": {"size_mib": 3000.0, "bug": True},
        "endless": {"size_mib": 9e6},
        "simple": {"size_mib": 500.0},
    }
    plan = plan_of(tmp_path / "log", arms, seeds=1)
    summary = run(plan, tmp_path / "store")
    assert Counter(failure.outcome for failure in summary.failures) == {"error": 2, "out-of-memory": 2}
    assert all(failure.message.startswith("measuring its memory: ") for failure in summary.failures)
    assert summary.ran == {"train": 2, "simple": 2}
    assert summary.blocked == 0


def test_a_stage_of_unknown_memory_holds_a_whole_gpu(tmp_path: Path) -> None:
    plan = plan_of(tmp_path / "log", {"simple": {"size_mib": 500.0}}, seeds=1)
    assert run(plan, tmp_path / "store").ok
    assert set(hosts(plan, tmp_path / "store")) == {(500.0, 1.0, 1)}
    assert shape_of(STAGES["simple"], TrainConfig(size_mib=1.0), {}) is None


def test_the_price_and_the_timing_of_a_trial_are_of_the_device_that_it_holds(tmp_path: Path) -> None:
    plan = plan_of(tmp_path / "log", {"small": {"size_mib": 2000.0}}, seeds=1)
    for name, gpus, expected in (("gpu", "auto", (0.0001, "cuda")), ("cpu", 0.0, (0.001, "cpu"))):
        assert run(plan, tmp_path / name, resources={"train": Resources(gpus=gpus)}).ok  # type: ignore[arg-type]
        found = [Store(tmp_path / name).manifest("train", digest) for digest in plan.trials]
        assert {(one.estimated_hours, one.timed_on) for one in found} == {expected}


def treating(*treatments: dict[str, Any]) -> TreatConfig:
    told = {"treatments": treatments, "fold": {"index": 0, "of": 2}, "seed": 3}
    return TreatConfig.model_validate_json(json.dumps(told))


def test_auto_gives_no_gpu_to_what_computes_nothing_there(tmp_path: Path) -> None:
    auto, store = Resources(gpus="auto"), Store(tmp_path)
    for stage, config in (
        ("prepare", PrepareConfig.model_construct()),
        ("treat", treating({"kind": "noise", "sd": 0.1})),
    ):
        (held, micro_batches), shape = sized(auto, REAL[stage], config, {}, store)
        assert (held.gpus, micro_batches, shape) == (0.0, 1, "")
    relabelling = treating({"kind": "noise", "sd": 0.1}, {"kind": "relabel"}, {"kind": "blur", "sigma_px": 1.0})
    grant, shape = sized(auto, REAL["treat"], relabelling, {}, store)
    assert (grant.held.gpus, bool(shape)) == ("auto", True)
    assert shape == sized(auto, REAL["treat"], treating({"kind": "relabel"}), {}, store)[1]


def test_a_sweep_of_a_few_gpu_hours_is_priced_in_gpu_hours(tmp_path: Path) -> None:
    changes = (
        ("resolution: 16", "resolution: 256"),
        ("kimg: 0.032, batch_size: 8, channel_base: 128, channel_max: 8, latent_dim: 8", "kimg: 2000"),
        ("gan.pipeline: [b-sg, mc-sg]", "gan.pipeline: [b-sg]"),
        ("analysis:", "resources: {gan: {gpus: 1}, treat: {gpus: auto}}\nbudget: {gpu_hours: 50}\nanalysis:"),
    )
    session = open_sweep(write_micro(tmp_path, *changes), tmp_path / "store")
    found = session.forecast()
    require_within(session.sweep, found, Spent())
    gans = [price for digest, price in session.prices.items() if session.plan.trials[digest].stage == "gan"]
    assert len(gans) == 2
    assert all(0.5 < price.hours.middle < 3 for price in gans)
    assert found.gpu_hours.middle == pytest.approx(sum(price.hours.middle for price in gans))


def test_what_applies_a_network_is_measured_for_every_size_of_network(tmp_path: Path) -> None:
    arms = {
        f"{name} {count}": {"size_mib": size, "apply": {"count": count}}
        for name, size in (("small", 2000.0), ("large", 100_000.0))
        for count in (3, 5)
    }
    plan, store = plan_of(tmp_path / "log", arms), Store(tmp_path / "store")
    notebook = Notebook()
    assert run(plan, tmp_path / "store", notebook).ok
    found = Counter(
        (trial.inputs["model"], store.manifest("apply", digest).host["gpus"])
        for digest, trial in plan.trials.items()
        if trial.stage == "apply"
    )
    sizes = {digest: store.manifest("train", digest).config["size_mib"] for digest, _ in found}
    assert Counter((sizes[digest], gpus) for digest, gpus in found) == {(2000.0, 0.125): 4, (100_000.0, 0.5): 4}
    assert set(found.values()) == {2}
    assert len(list((tmp_path / "store" / "probes" / "apply").iterdir())) == 2
    assert len(notebook.begun) == len(plan.trials) + 4, "one probe for each size of either stage"


def test_the_real_stages_that_apply_networks_are_sized_by_them(tmp_path: Path) -> None:
    factors = ("gan.pipeline: [b-sg, mc-sg]", "gan.pipeline: [mc-sg]\n  gan.channel_max: [4, 8]")
    sweep = write_micro(tmp_path, factors, ("seeds: 1", "seeds: 2"))
    plan = plan_sweep(sweep, Store.create(tmp_path / "store")).plan
    shapes: dict[str, set[str | None]] = {}
    for trial in plan.trials.values():
        shape = shape_of(REAL[trial.stage], trial.config, sizes_of(trial, plan.trials, REAL))
        shapes.setdefault(trial.stage, set()).add(shape)
    assert shapes.pop("prepare") == {None}
    expected = {"gan": 4, "synthesise": 2, "embed": 1, "assess": 1, "segment": 2, "score": 2}
    assert {stage: len(found) for stage, found in shapes.items()} == expected


def test_fold_and_seed_are_no_part_of_a_shape_the_data_are_and_a_probe_is_its_own_probe(tmp_path: Path) -> None:
    stage, config, data = STAGES["train"], TrainConfig(size_mib=1.0), {"prepare": "0" * 64}
    shape = shape_of(stage, config, data)
    assert shape == shape_of(stage, config.model_copy(update={"fold": 3, "seed": 9, "steps": 7}), data)
    assert shape == shape_of(stage, stage.probe(config), data)  # type: ignore[misc]
    assert shape != shape_of(stage, config.model_copy(update={"batch_size": 16}), data)
    assert shape != shape_of(stage, config, {"prepare": "1" * 64})
    assert measured(Store(tmp_path), "train", shape or "") is None


@pytest.mark.parametrize(
    ("peak_mib", "share"),
    [(100.0, 0.125), (3900.0, 0.125), (4000.0, 0.125), (4001.0, 0.25), (8_500.0, 0.25), (17_636.0, 0.5), (9e9, 1.0)],
)
def test_a_share_holds_the_peak_its_spare_and_a_context(peak_mib: float, share: float) -> None:
    assert share_for(peak_mib, TOTAL_MIB) == share


def test_the_allocator_leaves_room_for_the_context_unless_it_has_the_whole_gpu() -> None:
    assert allocator_share(1.0, TOTAL_MIB) == 1.0
    for share in SHARES[:-1]:
        assert allocator_share(share, TOTAL_MIB) * TOTAL_MIB + 600.0 == pytest.approx(share * TOTAL_MIB)


def test_the_ladder_gives_larger_parts_of_a_gpu_then_smaller_parts_of_a_batch() -> None:
    stated, steps = Resources(gpus=0.3), []
    grant: Grant | None = Grant(stated, 1)
    while grant is not None and (grant := next_grant(grant, stated, most_micro_batches=6)) is not None:
        steps.append((grant.held.gpus, grant.micro_batches))
    assert steps == [(0.5, 1), (1.0, 1), (1.0, 2), (1.0, 4), (1.0, 6)]
    assert next_grant(Grant(Resources(), 1), Resources(), 6) is None
    once = next_grant(Grant(Resources(memory_gib=2), 1), Resources(memory_gib=2), 1)
    assert once is not None
    assert once.held.memory_gib == 4
    assert next_grant(once, Resources(memory_gib=2), 1) is None


@pytest.mark.parametrize("wrong", ["atuo", -1, True, [1]])
def test_a_number_of_gpus_that_is_none_is_refused_by_name(wrong: Any) -> None:
    with pytest.raises(ValueError, match="a number of GPUs from 0, or auto"):
        Resources(gpus=wrong)
