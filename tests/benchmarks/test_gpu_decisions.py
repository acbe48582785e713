"""The rules by which ``benchmarks/gpu.py`` turns measurements into constants, on records that are written down here."""

import importlib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
Row = dict[str, Any]


@pytest.fixture
def decide(monkeypatch: pytest.MonkeyPatch) -> Any:
    """From sections with rows and checks to what follows, by the file or constant that it is about."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    module = importlib.import_module("gpu_sections.decisions")

    def then(name: str, checks: dict[str, list[Row]] | None = None, facts: Row | None = None, **rows: list[Row]) -> str:
        names = {*rows, *(checks or {})}
        sections = {
            section: {
                "state": "done",
                "rows": [one | {"setting": one.get("setting", {})} for one in rows.get(section, [])],
                "checks": (checks or {}).get(section, []),
            }
            for section in names
        }
        record = {"device": "cuda", "toy": False, "facts": facts or {}, "sections": sections}
        rule = next(rule for rule in module.RULES if rule.judge.__name__ == name)
        found = rule.judge(record)
        return "not measured" if found is None else found[1]

    return then


def gan(name: str, setting: str, ms: float, spread: float = 0.0, *, benchmark: bool = True, **more: Any) -> Row:
    told = {"gan": name, "setting": setting, "cudnn.benchmark": benchmark}
    return {"what": "gan", "setting": told, "ms": {"median": ms, "low": ms - spread, "high": ms + spread}, **more}


def check(name: str, value: float, ok: bool = True) -> Row:
    return {"name": name, "value": value, "ok": ok}


def test_every_place_that_a_rule_names_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    for rule in importlib.import_module("gpu_sections.decisions").RULES:
        places, _, names = rule.where.partition(": ")
        files = [ROOT / place for place in places.split(", ")]
        assert all(path.exists() for path in files), rule.where
        text = "".join(path.read_text() for path in files if path.is_file())
        missing = [name for name in names.split(", ") if name and name not in text]
        assert missing == [], rule.where


def test_an_empty_record_decides_nothing(decide: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("gpu_sections.decisions")
    record = {"device": "cpu", "toy": True, "facts": {}, "sections": {}}
    made = module.decisions(record)
    assert len(made) == len(module.RULES)
    assert {decision.measured for decision in made} == {"not measured", "no full run on a GPU"}


def test_bfloat16_needs_speed_and_right_numbers(decide: Any) -> None:
    rows = [gan("256 px b16", "tf32", 100), gan("256 px b16", "plan", 80)]
    right, wrong = [check("equal/b-sg/G/plan/relative", 0.01)], [check("equal/b-sg/G/plan/relative", 0.5, ok=False)]
    assert decide("half_precision", {"equal": right}, gan=rows) == "bfloat16 stays"
    assert decide("half_precision", {"equal": wrong}, gan=rows) == "half_from=None"
    slow = [gan("256 px b16", "tf32", 100), gan("256 px b16", "plan", 90)]
    assert decide("half_precision", {"equal": right}, gan=slow) == "half_from=None"
    assert decide("half_precision", gan=rows) == "not measured"


def test_a_difference_within_the_range_is_none(decide: Any) -> None:
    rows = [gan("256 px b16", "bf16 contiguous", 100), gan("256 px b16", "plan", 90)]
    noisy = [gan("256 px b16", "bf16 contiguous", 100, 6), gan("256 px b16", "plan", 90)]
    assert decide("layout", gan=rows) == "channels-last stays"
    assert decide("layout", gan=noisy) == "channels_last=False"


def test_the_filter_is_changed_only_where_it_weighs(decide: Any) -> None:
    def profile(share: float) -> list[Row]:
        return [{"what": "profile", "setting": {"gan": "256 px b16", "phase": "D"}, "depthwise_share": share}]

    def fir(way: str, ms: float) -> Row:
        told = {"type": "bf16", "layout": "channels-last", "done": "halve", "way": way}
        return {"what": "fir", "setting": told, "ms": {"median": ms}, "gradient_ms": ms, "second_ms": ms}

    ways = [fir("depthwise, as it is", 3.0), fir("separable", 1.0), fir("shifted", 2.0)]
    assert decide("depthwise", gan=profile(0.05), fir=ways) == "the filter stays"
    assert decide("depthwise", gan=profile(0.3), fir=ways) == "on a GPU take the fastest: halve: separable"


def test_penalties_keep_tf32_only_while_both_numbers_hold(decide: Any) -> None:
    def judged(r: float, c: float) -> dict[str, list[Row]]:
        return {"equal": [check("equal/b-sg/R1/tf32/relative", r), check("equal/b-sg/R1/tf32/cosine", c)]}

    assert decide("penalties", judged(0.01, 0.9999)) == "TF32 stays"
    assert decide("penalties", judged(0.06, 0.9999)) == "penalties without TF32"
    assert decide("penalties", judged(0.01, 0.99)) == "penalties without TF32"


def test_equal_bits_are_promised_only_if_all_repeats(decide: Any) -> None:
    def found(cost: float, *operations: str) -> list[Row]:
        return [{"what": "deterministic", "cost": cost, "operations": list(operations)}]

    assert decide("determinism", equal=found(0.02)).startswith("on")
    assert decide("determinism", equal=found(0.2)).startswith("off")
    assert decide("determinism", equal=found(0.02, "grid_sampler_2d_backward")).startswith("off")


def test_the_search_must_pay_back(decide: Any) -> None:
    def rows(gain_ms: float) -> list[Row]:
        off = gan("256 px b16", "plan", 40 + gain_ms, benchmark=False, warm_up_seconds=1.0)
        return [gan("256 px b16", "plan", 40, warm_up_seconds=10.0), off]

    assert decide("search", gan=rows(1.0)).startswith("on")
    assert decide("search", gan=rows(0.1)) == "off"
    assert decide("search", gan=rows(-1.0)) == "off"


def test_memory_constants_follow_the_measurement(decide: Any) -> None:
    def peak(on: float) -> list[Row]:
        told = [{"resolution": 256, "cudnn.benchmark": benchmark} for benchmark in (False, True)]
        return [
            {"what": "peak", "setting": told[0], "reserved_mib": 1000.0},
            {"what": "peak", "setting": told[1], "reserved_mib": on},
        ]

    assert decide("spare", memory=peak(1100.0)) == "SPARE stays"
    assert decide("spare", memory=peak(1300.0)) == "probe without it, or SPARE = 1.30"
    assert decide("context", memory=[{"what": "context", "context_mib": 500.0}]) == "CONTEXT_MIB = 600"


def test_prices_are_rates_of_the_large_and_launches_of_the_small(decide: Any) -> None:
    small = {"what": "profile", "setting": {"gan": "64 px tiny b8", "phase": "iteration"}, "launches": 1600.0}
    rows = [gan(name, "plan", 10, tflop_per_s=rate) for name, rate in (("128 px b32", 150.0), ("256 px b16", 170.0))]
    then = decide("prices", facts={"host us per launch": 8.0}, gan=[*rows, small])
    assert then == "GPU_FLOPS = 160e12, GPU_SECONDS_PER_STEP = 0.0128"


def test_lines_that_wait_are_named(decide: Any) -> None:
    rows = [{"what": "waits", "waits": count, "lines": [f"file.py:{count}"] * count} for count in (1, 3)]
    assert decide("waiting", equal=rows) == "mend file.py:3"
    assert decide("waiting", equal=rows[:1]) == "nothing to do"


@pytest.mark.parametrize(
    ("small", "large", "then"),
    [(3.0, 1.0, "below 128 px"), (1.2, 1.2, "everywhere"), (1.4, 1.05, "no graphs")],
)
def test_graphs_where_they_pay(decide: Any, small: float, large: float, then: str) -> None:
    rows = [
        {"what": "graph", "setting": {"gan": name, "phase": phase, "how": "graph"}, "times_eager": gain}
        for name, gain in (("64 px tiny b8", small), ("256 px b16", large))
        for phase in ("G", "D")
    ]
    assert decide("graphs", graph=rows).endswith(then)


def test_compiling_pays_after_some_steps_or_never(decide: Any) -> None:
    def row(eager: float) -> list[Row]:
        return [{"what": "graph", "compile_seconds": 30.0, "eager_ms": eager, "ms": {"median": 10.0}}]

    assert decide("compiling", graph=row(13.0)) == "main phases of trainings beyond 30,000 steps"
    assert decide("compiling", graph=row(9.0)) == "never"


def test_scoring_and_precision_of_the_unet(decide: Any) -> None:
    def step(name: str, ms: float) -> Row:
        return {"what": "unet", "setting": {"step": name}, "ms": {"median": ms}}

    def patient(seconds: float) -> Row:
        return {"what": "score", "setting": {"part": "all"}, "seconds": seconds}

    assert decide("unet_precision", unet=[step("as it is", 4.0), step("float32", 3.0)]) == "float32 with TF32"
    assert decide("unet_precision", unet=[step("as it is", 2.0), step("float32", 3.0)]) == "bfloat16 stays"
    assert decide("scoring", unet=[step("as it is", 4.0), patient(0.1)]) == "scoring as it is"
    assert "gpus: 0" in decide("scoring", unet=[step("as it is", 4.0), patient(0.6)])


def test_sharing_stops_where_throughput_stops(decide: Any) -> None:
    rows = [
        {"what": "share", "setting": {"work": "tiny", "processes": count}, "times_one": gain}
        for count, gain in ((1, 1.0), (2, 1.9), (4, 3.0), (8, 3.2))
    ]
    assert decide("sharing", share=rows).startswith("tiny at most 4 at once")


def test_a_step_and_a_sample_have_their_price(decide: Any) -> None:
    step = {"what": "unet", "setting": {"step": "as it is"}, "ms": {"median": 3.0}}
    assert decide("unet_price", unet=[step]) == "GPU_SECONDS_PER_STEP = 0.003"
    sample = {"what": "synthesise", "seconds_per_slice": 0.011}
    assert decide("slice_price", assess=[sample]) == "GPU_SECONDS_PER_SLICE = 0.011"


def test_checkpoints_and_exactness(decide: Any) -> None:
    def saved(seconds: float) -> list[Row]:
        return [{"what": "checkpoint", "seconds": seconds, "mb": 650.0}]

    def moved(value: float) -> list[Row]:
        return [{"what": "assess", "setting": {"what": "frechet", "products": "TF32"}, "relative": value}]

    assert decide("checkpoints", gan=saved(1.0)) == "CHECKPOINT_SECONDS = 60"
    assert decide("checkpoints", gan=saved(4.0)) == "CHECKPOINT_SECONDS = 120"
    assert decide("exactness", assess=moved(1e-2)) == "exact products are not optional"
    assert decide("exactness", assess=moved(1e-5)).startswith("exact products stay")


def test_the_warning_goes_only_when_all_three_passed(decide: Any) -> None:
    good = {name: [check("x", 0.0)] for name in ("equal", "resume", "memory")}
    assert decide("as_a_whole", good).endswith("the warning goes")
    assert decide("as_a_whole", {name: good[name] for name in ("equal", "resume")}).endswith("the warning stays")
    assert decide("as_a_whole", good | {"memory": [check("x", 9.0, ok=False)]}).endswith("the warning stays")
