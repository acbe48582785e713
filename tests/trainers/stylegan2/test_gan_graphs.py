"""The main phases as graphs: the bits of eager ones, recorded once per training and again after a checkpoint."""

import pytest
import torch

from helpers.fake_trial import FakeTrial, drain
from helpers.graph_tape import TapeRecorder
from medsweep.data.folds import Fold
from medsweep.errors import UserError
from medsweep.identity import canonical
from medsweep.trainers.generation.data import TrainingSet
from medsweep.trainers.generation.device import device_settings
from medsweep.trainers.segmentation.network import SegmenterArchitecture, build
from medsweep.trainers.stylegan2.config import WARM_UPS, GanConfig, GanSettings
from medsweep.trainers.stylegan2.cost import probe
from medsweep.trainers.stylegan2.learner import GanLearner
from medsweep.trainers.stylegan2.resolve import resolve
from medsweep.trainers.stylegan2.train import run, settings_of
from medsweep.trainers.training.checkpoint import load_state, save_state

TINY = {
    "batch_size": 4,
    "kimg": 0.02,
    "latent_dim": 8,
    "channel_base": 64,
    "channel_max": 8,
    "minibatch_std_group": 2,
    "path_length_weight": 2.0,
    "path_length_every_steps": 2,
    "r1_every_steps": 2,
    "report_every_steps": 100,
}
ADAPTED = {"augment": "ada", "ada_kimg": 0.05}
SPECTRA = {"lecam_weight": 1.0, "spectrum_weight": 1.0, "focal_frequency_weight": 1.0}
CASES = [
    ("b-sg", ADAPTED | SPECTRA),
    ("c-sg", {"segmenter_weight": 1.0, "mismatch_weight": 0.5, "discriminator_form": "projection"}),
    ("m-sg", {"style_mixing": 0.0, "augment": "none"}),
    ("b-sg", {"loss": "relativistic"}),
]
STEPS = 7


def tiny(variant: str, **settings: object) -> GanConfig:
    return resolve(GanSettings(**(TINY | settings)), variant, Fold(index=1, of=4), 5, 32)


def learner_of(slices, config: GanConfig, recorder: TapeRecorder | None = None) -> GanLearner:
    torch.set_num_threads(1)
    shape = SegmenterArchitecture(modalities=2, classes=3, channels=(4, 8), residual_units=0)
    segmenter = build(shape, seed=0).eval().requires_grad_(False) if config.segmenter_weight else None
    data = TrainingSet.load(config, slices, "cpu")
    return GanLearner(config, data, "cpu", segmenter=segmenter, recorder=recorder)


def steps(learner: GanLearner, first: int, last: int) -> list[dict[str, torch.Tensor]]:
    return [learner.step(number) for number in range(first, last + 1)]


def require_equal_bits(eager: GanLearner, graphed: GanLearner) -> None:
    for side in ("g", "d", "mean_g"):
        pairs = zip(
            getattr(eager.networks, side).parameters(), getattr(graphed.networks, side).parameters(), strict=True
        )
        assert all(torch.equal(one, other) for one, other in pairs), side
    assert torch.equal(eager.discriminator.p, graphed.discriminator.p)
    assert torch.equal(eager.batches.random.get_state(), graphed.batches.random.get_state())


@pytest.mark.parametrize(("variant", "settings"), CASES)
def test_replayed_main_phases_have_the_bits_of_eager_ones(slices, variant, settings):
    config, recorder = tiny(variant, **settings), TapeRecorder()
    eager, graphed = learner_of(slices, config), learner_of(slices, config, recorder)
    expected, found = steps(eager, 1, STEPS), steps(graphed, 1, STEPS)
    require_equal_bits(eager, graphed)
    for number, (one, other) in enumerate(zip(expected, found, strict=True), start=1):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one), number
    assert (recorder.aside_calls, recorder.recordings) == (2 * WARM_UPS, 2)  # G and D, and neither penalty
    assert recorder.replays == 2 * (STEPS - WARM_UPS)


def test_a_training_that_goes_on_from_a_checkpoint_is_recorded_anew(slices, tmp_path):
    config, recorder = tiny("b-sg", **ADAPTED, **SPECTRA), TapeRecorder()
    eager, graphed = learner_of(slices, config), learner_of(slices, config, recorder)
    steps(graphed, 1, STEPS)
    save_state(tmp_path, graphed.state_dict())
    steps(graphed, STEPS + 1, STEPS + 2)  # lost with whoever did them
    graphed.load_state_dict(load_state(tmp_path, "cpu"))
    steps(graphed, STEPS + 1, 2 * STEPS)
    steps(eager, 1, 2 * STEPS)
    require_equal_bits(eager, graphed)
    assert (recorder.aside_calls, recorder.recordings) == (4 * WARM_UPS, 4)


@pytest.mark.parametrize("field", ["cuda_graphs", "compiled"])
def test_what_only_cuda_has_is_refused_elsewhere_in_one_line(slices, tmp_path, field):
    with pytest.raises(UserError, match=rf"^gan\.{field}: true needs a CUDA device.*resources\.gan\.gpus") as caught:
        drain(run(tiny("m-sg", **{field: True}), {"prepare": slices}, FakeTrial(tmp_path)))
    assert "\n" not in str(caught.value)


def test_asking_for_speed_leaves_the_digest_alone():
    assert canonical(tiny("b-sg", cuda_graphs=True, compiled=True)) == canonical(tiny("b-sg"))


def test_a_probe_reaches_the_recording_and_a_replay_after_it():
    assert probe(tiny("b-sg", cuda_graphs=True)).total_steps == WARM_UPS + 2
    assert probe(tiny("b-sg")).total_steps == 2


@pytest.fixture
def gpu(monkeypatch) -> None:
    """What torch says of a GPU, where there is none."""

    class Properties:
        major, name, total_memory = 9, "H", 2**37

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Properties)


@pytest.mark.usefixtures("gpu")
def test_a_batch_that_had_to_be_cut_is_not_recorded_and_the_manifest_says_so(tmp_path):
    whole, cut = (FakeTrial(tmp_path, device="cuda", micro_batches=number) for number in (1, 2))
    config = tiny("b-sg", cuda_graphs=True)
    assert settings_of(config, whole).cuda_graphs
    assert whole.notes == []
    assert not settings_of(config, cut).cuda_graphs
    assert cut.notes == ["no CUDA graphs, since the batch is worked in 2 micro-batches to fit into memory"]
    assert not settings_of(tiny("b-sg"), cut).cuda_graphs
    assert len(cut.notes) == 1


@pytest.mark.usefixtures("gpu")
def test_the_settings_of_a_gpu_hold_what_was_asked_for():
    for compiled, graphs in ((False, False), (True, False), (False, True)):
        settings = device_settings("cuda", 64, compiled=compiled, cuda_graphs=graphs)
        assert (settings.compiled, settings.cuda_graphs) == (compiled, graphs)
