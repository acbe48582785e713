"""The adaptation of p, against numbers worked out by hand."""

from itertools import pairwise

import pytest
import torch

from medsweep.trainers.stylegan2.augment.kinds import AdaController
from medsweep.trainers.training.checkpoint import load_state, save_state


def scores(positive: int, of: int = 10) -> torch.Tensor:
    """Scores with a given number above 0."""
    return torch.cat([torch.full((positive,), 2.5), torch.full((of - positive,), -0.1)])


def run(controller: AdaController, script: list[int], first_step: int = 1) -> list[float]:
    """p after each step of a scripted sequence of batches of 10."""
    path = []
    for step, positive in enumerate(script, start=first_step):
        controller.observe(scores(positive), step)
        path.append(round(float(controller.p), 6))
    return path


def test_p_follows_the_sign_of_r_minus_target():
    controller = AdaController(target=0.6, kimg_per_unit=0.1, batch_size=10, every_steps=2)  # strides of 0.2
    # r_t of the six intervals: 1, 0.7, 0.5, -1, -1, 0.7
    script = [10, 10, 9, 8, 9, 6, 0, 0, 0, 0, 10, 7]
    assert run(controller, script) == [0, 0.2, 0.2, 0.4, 0.4, 0.2, 0.2, 0, 0, 0, 0, 0.2]


def test_p_moves_by_one_in_its_kimg_and_no_further():
    controller = AdaController(target=0.6, kimg_per_unit=0.4, batch_size=10)
    path = run(controller, [10] * 60)
    assert path[39] == pytest.approx(1)  # 400 images
    assert path[35] == pytest.approx(0.9)
    assert max(path) == 1
    assert max(abs(b - a) for a, b in pairwise(path)) == pytest.approx(0.1)


def test_on_target_p_stays():
    controller = AdaController(target=0.5, kimg_per_unit=0.4, batch_size=8)
    controller.p.fill_(0.3)
    for step in range(1, 9):
        controller.observe(scores(6, of=8), step)  # mean sign 4 / 8
    assert float(controller.p) == pytest.approx(0.3)


def test_p_is_one_tensor_throughout():
    controller = AdaController(target=0.6, kimg_per_unit=0.1, batch_size=10)
    p = controller.p
    run(controller, [10] * 4)
    assert p is controller.p
    assert float(p) == pytest.approx(0.4)


def test_a_saved_controller_goes_on_in_the_middle_of_an_interval(tmp_path):
    script = [10, 7, 9, 10, 9, 10, 10, 9, 0, 10, 2, 10]
    whole, cut, resumed = (AdaController(target=0.6, kimg_per_unit=0.1, batch_size=10) for _ in range(3))
    path = run(whole, script)
    head = run(cut, script[:6])
    state = cut.state_dict()
    run(cut, [0] * 4, first_step=7)  # a state does not follow its controller
    save_state(tmp_path, state)
    resumed.load_state_dict(load_state(tmp_path))
    assert head + run(resumed, script[6:], first_step=7) == path
