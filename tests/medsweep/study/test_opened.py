"""The way in for Python, on the smallest sweep that goes the whole way."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import medsweep
from helpers.micro import write_micro
from medsweep.errors import UserError
from medsweep.store.store import Store
from medsweep.study.opened import OpenedSweep
from medsweep.study.session import open_sweep
from medsweep.trainers.segmentation.segmenter import Segmenter

HEAVY = ("torch", "ray", "pandas", "numpy", "scipy", "matplotlib", "pydantic", "wandb", "optuna", "monai", "nibabel")


@pytest.fixture(scope="module")
def opened(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> OpenedSweep:
    folder = tmp_path_factory.mktemp("opened")
    path, store = write_micro(folder), folder / "store"
    with pytest.raises(UserError, match="the data of micro are not prepared yet; medsweep run first"):
        medsweep.open(path, store=folder / "bare").results()
    shutil.copytree(finished / "store", store)
    for stage in ("segment", "score"):
        shutil.rmtree(store / stage)
    sweep = medsweep.open(path, store=store)
    with pytest.raises(UserError, match=r"is not there yet .*call run\(\) on the sweep, or type  medsweep run"):
        sweep.network("mc-sg count=4")
    assert sweep.run(runner="local", quiet=True).ok
    return sweep


def test_importing_the_package_imports_nothing_heavy() -> None:
    told = f"import medsweep, sys; print(sorted(set({HEAVY!r}) & set(sys.modules)), callable(medsweep.open))"
    ran = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert ran.stdout == "[] True\n"


def test_the_page_has_every_name() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "python.md").read_text()
    own = [name for kind in (OpenedSweep, Segmenter) for name in vars(kind) if not name.startswith("_")]
    assert [name for name in own if name not in ("open", "forward") and f"`.{name}" not in page] == []


def test_looking_makes_no_store(tmp_path: Path) -> None:
    sweep = medsweep.open(write_micro(tmp_path), store=tmp_path / "mistyped")
    assert repr(sweep).endswith("0 of 29 trials published>")
    again = open_sweep(tmp_path / "micro.yaml", tmp_path / "mistyped")
    assert f"there is no store {tmp_path / 'mistyped'} yet; medsweep run makes it" in again.remarks()
    assert [path.name for path in tmp_path.iterdir()] == ["micro.yaml"]


def test_a_sweep_tells_its_arms(opened: OpenedSweep) -> None:
    assert next(iter(opened.arms)) == opened.control
    assert {"gan.pipeline": "b-sg", "synthesise.count": 4} in opened.arms.values()
    assert (opened.folds, opened.seeds) == ((0, 1), (0,))
    assert repr(opened).startswith("<sweep micro: 3 arms, 2 replicates, ")


def test_results_are_the_table_of_the_command(opened: OpenedSweep) -> None:
    table = opened.results()
    assert set(table["arm"]) == set(opened.arms)
    assert set(table["status"]) <= {"ok", "missed", "empty-reference", "empty-both"}


def test_a_pool_is_pairs_and_their_scores(opened: OpenedSweep) -> None:
    images, masks, scores = opened.pool(_arm(opened), fold=1)
    assert (images.shape, masks.shape) == ((4, 2, 16, 16), (4, 16, 16))
    assert list(scores["sample"]) == [0, 1, 2, 3]
    assert {"iou"} < set(scores.columns)


def test_a_network_sees_what_the_sweep_scored(opened: OpenedSweep) -> None:
    slices, network = opened.slices(), opened.network(opened.control, fold=1)
    assert isinstance(network, torch.nn.Module)
    assert not network.training
    images = slices.image_rows(slice(0, 5))
    labels = network.predict(images)
    assert (labels.shape, labels.dtype) == ((5, 16, 16), np.uint8)
    np.testing.assert_array_equal(
        network.probabilities(torch.from_numpy(images).requires_grad_()).argmax(axis=1), labels
    )
    with pytest.raises(UserError, match=r"slices of shape \(5, 1, 16, 16\) are given.*reads \(N, 2, 16, 16\)"):
        network.predict(images[:, :1])


def test_a_report_is_written_where_it_is_asked_for(opened: OpenedSweep, tmp_path: Path) -> None:
    page = opened.report(tmp_path / "here")
    assert page == tmp_path / "here" / "report.html"
    assert page.stat().st_size > 10_000


def test_mistakes_are_named_with_what_to_do(opened: OpenedSweep) -> None:
    arm = _arm(opened)
    with pytest.raises(UserError, match=f"no arm of micro is called '{arm}x'; did you mean '{arm}'"):
        opened.pool(f"{arm}x")
    with pytest.raises(UserError, match="no fold 2 with seed 0; its folds are 0, 1, its seeds 0"):
        opened.pool(arm, fold=2)
    with pytest.raises(UserError, match="has no synthetic pairs"):
        opened.pool(opened.control)


def test_what_failed_says_how(opened: OpenedSweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "outcome", lambda *_: "diverged")
    with pytest.raises(UserError, match="was published as diverged; medsweep show "):
        opened.network(opened.control)


def _arm(opened: OpenedSweep) -> str:
    return next(name for name in opened.arms if name != opened.control)
