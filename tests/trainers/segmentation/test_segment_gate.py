"""The gate of the synthetic loss closes where synthetic labels oppose real ones, and its control has its weights."""

import numpy as np
import pytest
import torch
from torch import nn

from helpers.fake_trial import FakeTrial, drain
from medsweep.data.fitted_on import write_fitted_on
from medsweep.data.folds import Fold, split
from medsweep.data.slices import SliceSet
from medsweep.trainers.pool import Pool
from medsweep.trainers.segmentation import train
from medsweep.trainers.segmentation.config import SegmentConfig, SegmentSettings, resolve
from medsweep.trainers.segmentation.gate import WEIGHTS, CosineGate, ShuffledGate
from medsweep.trainers.segmentation.optimisation import make_loss

FOLD = Fold(index=0, of=4)
SYNTHETIC = np.tile([False, True], 8)


def config(seed=0, **settings) -> SegmentConfig:
    wanted = {"channels": (4, 8), "residual_units": 0, "batch_size": 8, "steps": 6, "mixing": "fixed-exposure"}
    given = SegmentSettings(**wanted | {"augment": "none"} | settings)
    return resolve(given, fold=FOLD, seed=seed, count=16, candidates=0, unit="slices", resolution=32)


def looked(wrong: float, looks: int = 6) -> float:
    """The weight after some looks at noisy batches in which this share of the synthetic labels is swapped."""
    draws = torch.Generator().manual_seed(0)
    network = nn.Conv2d(1, 2, 1)
    nn.init.zeros_(network.weight)
    nn.init.zeros_(network.bias)
    loss, gate = make_loss(config(), np.zeros(0, np.int64), torch.device("cpu")), CosineGate(6)
    for _ in range(looks):
        labels = torch.randint(0, 2, (16, 8, 8), generator=draws)
        images = labels[:, None] + torch.randn(16, 1, 8, 8, generator=draws)
        swapped = torch.rand(16, 8, 8, generator=draws) < wrong
        labels = torch.where(swapped & torch.from_numpy(SYNTHETIC)[:, None, None], 1 - labels, labels)
        gate.look(loss, [network(images)], labels, SYNTHETIC, list(network.parameters()))
    return gate.weight


def test_the_gate_is_open_where_both_ask_for_the_same_and_closed_where_they_oppose():
    assert looked(0.0) > 0.9
    assert looked(1.0) == 0.0


def test_before_the_first_look_the_gate_is_open():
    gate = CosineGate(3)
    assert [gate.use(number) for number in (1, 2, 3)] == [1.0, 1.0, 1.0]


@pytest.fixture
def trained(slices, tmp_path, monkeypatch):
    """Outputs of gated trainings by name; a look every second step."""
    monkeypatch.setattr(train, "EVERY", 2)
    data, pool = SliceSet.open(slices), tmp_path / "pool"
    rows = data.rows(split(data.patients, FOLD).train, foreground_only=True)[:16]
    # the masks of other slices
    Pool(images=data.image_rows(rows), masks=np.array(data.masks[rows[::-1]]), slices_per_patient=4).save(pool)
    write_fitted_on(pool, [])

    def run(name, inputs=None, **settings):
        trial = FakeTrial(tmp_path / name)
        reports = drain(train.run(config(**settings), {"prepare": slices, "pool": pool, **(inputs or {})}, trial))
        return trial.output, reports[-1].metrics

    return run


def test_the_control_has_the_weights_of_the_gated_training_in_another_order(trained, tmp_path):
    gated, _ = trained("gated", synthetic_gate="cosine", report_every_steps=1)
    used = np.load(gated / WEIGHTS)
    assert used[0] == 1
    assert len(set(used)) > 1
    assert ((used >= 0) & (used <= 1)).all()
    assert (used[1], used[3]) == (used[2], used[4])
    control, last = trained("control", {"gated": gated}, synthetic_gate="random", report_every_steps=1)
    asked = config(synthetic_gate="random")
    drawn = [ShuffledGate(asked, gated).use(number) for number in range(1, 7)]
    assert sorted(drawn) == pytest.approx(sorted(used))
    assert drawn != pytest.approx(used)
    assert last["synthetic_weight"] == pytest.approx(drawn[-1])
    assert not (control / WEIGHTS).exists()


def test_a_closed_gate_trains_as_a_weight_of_0_does(trained, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir()
    np.save(closed / WEIGHTS, np.zeros(6, np.float32))
    write_fitted_on(closed, [])
    files = [
        trained("gate", {"gated": closed}, synthetic_gate="random")[0],
        trained("weight", synthetic_weight=0.0)[0],
    ]
    assert len({(file / "network.safetensors").read_bytes() for file in files}) == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"mixing": "uniform"}, "needs real and synthetic samples in every batch, got mixing uniform"),
        ({"synthetic_weight": 0.5}, "sets the weight of the synthetic loss, so remove synthetic_weight"),
        ({"batch_size": 2}, "needs two real and two synthetic samples in every batch, got 2 of which 1 are synthetic"),
    ],
)
def test_a_gate_that_cannot_look_is_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        config(synthetic_gate="cosine", **settings)
