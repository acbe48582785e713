"""``benchmarks/gpu.py`` runs whole on a CPU, needs little, survives what dies, and draws the conclusions it says."""

import importlib
import json
import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "gpu.py"
CARRIED = {"torch", "numpy", "scipy", "pandas", "pyarrow", "matplotlib", "einops", "safetensors", "typing-extensions"}
CARRIED |= {"pydantic", "monai", "nibabel", "ruamel.yaml"}
NAMES = ("facts", "equal", "resume", "memory", "gan", "unet", "share", "assess", "fir", "graph")
PATHS = os.pathsep.join((str(ROOT / "benchmarks"), str(ROOT)))
ENVIRONMENT = {**os.environ, "PYTHONPATH": PATHS}

BLOCKED = """
import importlib, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
from gpu_sections.record import SECTIONS
for name in SECTIONS:
    importlib.import_module(f"gpu_sections.{name}")
import gpu_sections.share_child
import gpu_sections.assess_again
import medsweep.trainers.scoring.score
"""


@pytest.fixture
def sections(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a module of the script's package."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return lambda name: importlib.import_module(f"gpu_sections.{name}")


def test_every_section_imports_with_what_is_carried_alone() -> None:
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {item.replace("[", ">").split(">")[0].split("<")[0] for item in asked}
    assert {"ray", "optuna", "wandb"} <= names
    blocked = {name.lower().replace("-", "_") for name in names - CARRIED}
    code = f"BLOCKED = {blocked!r}\n{BLOCKED}"
    ended = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]


@pytest.mark.slow
def test_it_runs_whole_on_a_cpu(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--out", str(tmp_path), "--device", "cpu", "--toy", "--limit", "1700"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    record = json.loads((tmp_path / "gpu.json").read_text())
    states = {name: entry["state"] for name, entry in record["sections"].items()}
    errors = [entry["error"] for entry in record["sections"].values() if entry["error"]]
    assert states == dict.fromkeys(NAMES, "done"), errors
    failed = [check for entry in record["sections"].values() for check in entry["checks"] if not check["ok"]]
    assert failed == []
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert all(entry["rows"] for entry in record["sections"].values())
    assert "needs CUDA" in json.dumps(record["sections"]["memory"]["rows"])
    assert json.loads((tmp_path / "kernels.json").read_text())
    page = (tmp_path / "gpu.md").read_text()
    assert page.index("## Failed checks") < page.index("## facts") < page.index("## graph") < page.index("## Decisions")


STAND_IN = """
import os, time
def run(report):
    report.row("before", {"number": 1}, value=1.0)
    if DO == "die":
        os._exit(3)
    if DO == "hang":
        time.sleep(600)
    with report.part("one that fails"):
        if DO == "raise":
            raise ValueError("said why")
    report.check("after", 2.0, 1.0)
"""


@pytest.mark.parametrize(
    ("deed", "told"),
    [
        ("die", ("failed", "exit code 3", 0)),
        ("hang", ("timeout", "not done after", 0)),
        ("raise", ("failed", "one that fails: ValueError", 1)),
        ("end", ("done", "", 1)),
    ],
)
def test_a_section_may_die_alone_and_keeps_what_it_said(
    deed: str, told: tuple[str, str, int], tmp_path: Path, sections: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers, record = sections("workers"), sections("record")
    code = f"DO = {deed!r}\n{STAND_IN}"
    (tmp_path / "sitecustomize.py").write_text(
        f"import sys, types\nmodule = types.ModuleType('gpu_sections.stand_in')\nexec({code!r}, module.__dict__)\n"
        "sys.modules['gpu_sections.stand_in'] = module\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    worker = workers.Worker("stand_in", record.Section(5, ""), "cpu", toy=True)
    try:
        assert worker.ready(time.monotonic() + 1000)
        entry = workers.worked(worker, 600 if deed != "hang" else 1, {}, {})
    finally:
        worker.end()
    assert (entry["state"], len(entry["checks"])) == (told[0], told[2])
    assert told[1] in (entry["error"] or "")
    assert bool(told[1]) == bool(entry["error"])
    assert [row["value"] for row in entry["rows"]] == [1.0], "what came before is kept"


def test_what_is_not_finite_fails_its_check_and_can_be_written(sections: Any, tmp_path: Path) -> None:
    said: list[str] = []

    class Pipe:
        write = staticmethod(said.append)
        flush = staticmethod(lambda: None)

    report = sections("report").Report(Pipe(), "cpu", True)
    report.check("at most", float("nan"), 1.0)
    report.check("at least", float("nan"), 1.0, at_least=True)
    told = [json.loads(line)["checks"] for line in said]
    assert [(one["ok"], one["value"]) for one in told] == [(False, None)] * 2


def test_union_of_kernels_that_overlap(sections: Any) -> None:
    assert sections("timing").covered_us([(5, 9), (0, 4), (1, 2), (8, 12)]) == 11


def test_reads_of_values_are_counted_with_their_lines(sections: Any) -> None:
    import torch

    x = torch.ones(3)
    lines = sections("timing").waits(lambda: (x.sum().item(), x + 1, bool(x[0] > 0)), "cpu")
    assert len(lines) == 2
    assert all(line.startswith("tests/benchmarks/test_gpu_script.py:") for line in lines)


def test_depthwise_convolutions_are_told_from_others(sections: Any) -> None:
    import torch
    from torch.nn import functional

    x = torch.randn(2, 8, 16, 16, requires_grad=True)
    profiled = sections("timing").profiled
    deep = profiled(lambda: functional.conv2d(x, torch.randn(8, 1, 3, 3), groups=8).sum().backward(), "cpu")
    dense = profiled(lambda: functional.conv2d(x, torch.randn(8, 8, 3, 3)).sum().backward(), "cpu")
    thin = profiled(lambda: functional.conv2d(x[:, :1], torch.randn(8, 1, 3, 3)).sum().backward(), "cpu")
    assert deep.depthwise_ms > 0
    assert dense.depthwise_ms == thin.depthwise_ms == 0


def test_all_filters_are_the_same_filter_and_twice_differentiable(sections: Any) -> None:
    import torch

    filters = sections("filters")
    x = torch.randn(2, 3, 12, 12, dtype=torch.float32, requires_grad=True)
    for padding, stride in ((2, 1), (1, 1), (1, 2)):
        expected = filters.depthwise(x, padding, stride)
        for name, way in filters.FILTERS.items():
            assert torch.allclose(way(x, padding, stride), expected, atol=1e-6), name
    for name, way in filters.DOUBLINGS.items():
        assert torch.allclose(way(x), filters.double_depthwise(x), atol=1e-6), name


def test_more_micro_batches_until_it_fits_and_no_other_error_is_taken_for_memory(sections: Any) -> None:
    tried: list[int] = []

    def needs(parts: int, error: Exception) -> Any:
        def attempt(number: int) -> None:
            tried.append(number)
            if number < parts:
                raise error

        return attempt

    first_fit = sections("memory").first_fit
    assert first_fit(needs(6, RuntimeError("CUDA out of memory")), 6)[0] == 6
    assert tried == [1, 2, 4, 6]
    assert first_fit(needs(9, RuntimeError("CUDA out of memory")), 8)[0] is None
    assert len(first_fit(needs(4, RuntimeError("shapes do not fit")), 8)[1]) == 1


def test_what_is_compared_finds_one_wrong_weight(sections: Any) -> None:
    product, equal = sections("gan_product"), sections("equal")
    config = product.config_of("b-sg", 16, channel_base=64, channel_max=8, latent_dim=16, batch_size=4)
    reference = equal.outcomes(config, "cpu", equal.Precision(), only="D")["D"]
    same = equal.outcomes(config, "cpu", equal.Precision(), only="D")["D"]
    assert equal.relative(reference.gradient, same.gradient) == 0.0
    original = product.Gan.shake

    def shake(gan: Any, seed: int = 1) -> None:
        original(gan, seed)
        next(gan.networks.d.parameters()).data.view(-1)[0] += 0.5

    product.Gan.shake = shake
    try:
        other = equal.outcomes(config, "cpu", equal.Precision(), only="D")["D"]
    finally:
        product.Gan.shake = original
    assert equal.relative(reference.gradient, other.gradient) > 1e-4
