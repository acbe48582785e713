"""The notebooks run from their first cell to their last on the smallest sweep that goes the whole way."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from helpers.notebook import run_notebook

TUTORIAL = Path(__file__).parents[3] / "docs" / "tutorial"


@pytest.fixture(autouse=True)
def _no_window() -> None:
    plt.switch_backend("agg")
    yield
    plt.close("all")


def test_a_pool_and_its_network_are_looked_at(copy: Path) -> None:
    where = f"SWEEP, STORE = {str(copy / 'micro.yaml')!r}, {str(copy / 'store')!r}"
    names = run_notebook(TUTORIAL / "pool-and-network.ipynb", where)
    assert len(names["images"]) == len(names["masks"]) == 4
    assert len(plt.get_fignums()) >= 5
    np.testing.assert_allclose(names["chances"].sum(axis=1), 1, atol=1e-5)


def test_the_primary_picture_is_drawn_again(copy: Path) -> None:
    where = ", ".join(repr(str(copy / name)) for name in ("micro.yaml", "store", "results"))
    names = run_notebook(TUTORIAL / "primary-picture.ipynb", f"SWEEP, STORE, RESULTS = {where}")
    assert (copy / "results" / "forest-again.pdf").stat().st_size > 5000
    shown = names["forest"].set_index("arm")["difference"]
    # the mean over patients of what the table says is what the report draws
    np.testing.assert_allclose(names["differences"].mean()[shown.index], shown, atol=1e-9)


def test_every_notebook_has_a_test() -> None:
    text = Path(__file__).read_text()
    assert [path.name for path in TUTORIAL.glob("*.ipynb") if f'"{path.name}"' not in text] == []
