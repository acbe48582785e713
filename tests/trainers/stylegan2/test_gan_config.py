import pytest
import torch
from pydantic import ValidationError
from torch.utils.flop_counter import FlopCounterMode

from medsweep.data.folds import Fold
from medsweep.identity import digest_of, identity
from medsweep.trainers.stylegan2.architecture import Architecture
from medsweep.trainers.stylegan2.config import GanConfig, GanSettings
from medsweep.trainers.stylegan2.cost import (
    GPU_SECONDS_PER_STEP,
    discriminator_macs,
    divides,
    flops_per_image,
    generator_macs,
    gpu_hours,
    hours,
    probe,
)
from medsweep.trainers.stylegan2.networks import Discriminator, Generator
from medsweep.trainers.stylegan2.resolve import resolve

FOLD = Fold(index=0, of=4)


def resolved(variant: str, resolution: int = 256, **settings: object) -> GanConfig:
    return resolve(GanSettings(**settings), variant, FOLD, 0, resolution)


def address(config: GanConfig) -> str:
    return digest_of("gan", 1, config, {})


@pytest.mark.parametrize(
    ("injection", "points"),
    [
        ("generator", ("generator",)),
        ("discriminator", ("d-blocks", "d-input")),
        ("full", ("d-blocks", "d-input", "generator")),
        (["generator", "d-input", "generator"], ("d-input", "generator")),
    ],
)
def test_injection_becomes_sorted_points(injection, points):
    assert resolved("c-sg", injection=injection).injection == points


@pytest.mark.parametrize("variant", ["b-sg", "m-sg"])
def test_injection_changes_only_what_has_a_condition(variant):
    assert address(resolved(variant, injection="full")) == address(resolved(variant, injection="generator"))
    assert address(resolved("c-sg", injection="full")) != address(resolved("c-sg", injection="generator"))


def test_mask_ratio_changes_only_what_emits_masks():
    assert address(resolved("c-sg", r1_gamma_mask_ratio=10.0)) == address(resolved("c-sg"))
    for variant in ("b-sg", "m-sg"):
        assert address(resolved(variant, r1_gamma_mask_ratio=10.0)) != address(resolved(variant))


def test_clip_changes_only_signed_distances():
    assert address(resolved("m-sg", mask_form="soft-one-hot", mask_clip_px=3.0)) == address(
        resolved("m-sg", mask_form="soft-one-hot")
    )
    assert address(resolved("m-sg", mask_clip_px=3.0)) != address(resolved("m-sg"))


def test_presets_follow_resolution_and_batch():
    config = resolved("b-sg", batch_size=16)
    assert config.r1_gamma == pytest.approx(0.82, abs=0.01)
    assert (config.mask_clip_px, config.ema_kimg, config.ema_ramp_up) == (16.0, 5.0, 0.05)
    assert resolved("b-sg", resolution=16).mask_clip_px == 2.0


@pytest.mark.parametrize(("resolution", "batch", "gamma"), [(256, 16, 0.82), (128, 32, 0.10), (512, 8, 6.6)])
def test_auto_takes_the_published_batch_of_one_gpu(resolution, batch, gamma):
    config = resolved("b-sg", resolution)
    assert (config.batch_size, config.mapping_layers, config.latent_dim, config.learning_rate) == (
        batch,
        2,
        512,
        0.0025,
    )
    assert (config.channel_base, config.channel_max) == (16384 if resolution < 512 else 32768, 512)
    assert config.r1_gamma == pytest.approx(gamma, rel=0.03)
    assert config.minibatch_std_group == 4


def test_paper256_is_the_published_setting():
    config = resolved("b-sg", preset="paper256")
    assert (config.batch_size, config.minibatch_std_group, config.mapping_layers) == (64, 8, 8)
    assert (config.channel_base, config.learning_rate, config.r1_gamma) == (16384, 0.0025, 1.0)
    assert (config.ema_kimg, config.ema_ramp_up, config.path_length_weight) == (20.0, 0.0, 2.0)


def test_a_preset_fills_only_what_is_left_open():
    config = resolved("b-sg", 32, preset="tiny", learning_rate=0.001, r1_gamma=0.0, batch_size=6)
    assert (config.learning_rate, config.r1_gamma, config.batch_size) == (0.001, 0.0, 6)
    assert (config.latent_dim, config.minibatch_std_group, config.path_length_weight) == (64, 3, 0.0)


def test_the_name_of_a_preset_is_not_part_of_the_trial():
    spelled_out = dict(resolved("m-sg", 32, preset="tiny"))
    given = {name: spelled_out[name] for name in GanSettings.model_fields if name not in ("preset", "injection")}
    assert address(resolved("m-sg", 32, **given)) == address(resolved("m-sg", 32, preset="tiny"))


NEUTRAL = [
    ("c-sg", {"injection": "discriminator"}, {"injection_form": "affine"}),
    ("b-sg", {}, {"injection_form": "concat"}),
    ("c-sg", {"injection": "generator"}, {"discriminator_form": "projection"}),
    ("c-sg", {"injection": "generator"}, {"mismatch_weight": 0.5}),
    ("m-sg", {}, {"discriminator_form": "projection"}),
    ("b-sg", {}, {"condition_resize": "nearest"}),
    ("b-sg", {}, {"mismatch_weight": 0.5}),
    ("b-sg", {}, {"segmenter_weight": 0.5}),
    ("m-sg", {}, {"focal_frequency_weight": 0.5}),
    ("m-sg", {}, {"spectrum_weight": 0.5}),
    ("b-sg", {"r1_gamma": 0.0}, {"r1_every_steps": 8}),
    ("b-sg", {"r1_gamma": 0.0}, {"r1_gamma_mask_ratio": 10.0}),
    ("b-sg", {"path_length_weight": 0.0}, {"path_length_every_steps": 8}),
    ("b-sg", {}, {"ada_target": 0.5}),
    ("b-sg", {"augment": "ada-fixed"}, {"ada_kimg": 500.0}),
    ("b-sg", {"augment": "ada"}, {"ada_p": 0.1}),
]
READ = [
    ("c-sg", {"injection": "generator"}, {"injection_form": "affine"}),
    ("c-sg", {"injection": ["d-input"]}, {"discriminator_form": "projection"}),
    ("c-sg", {"injection": "discriminator"}, {"mismatch_weight": 0.5}),
    ("c-sg", {"injection": "generator"}, {"condition_resize": "nearest"}),
    ("c-sg", {"injection": "generator"}, {"segmenter_weight": 0.5}),
    ("b-sg", {}, {"focal_frequency_weight": 0.5}),
    ("c-sg", {}, {"spectrum_weight": 0.5}),
    ("b-sg", {}, {"r1_every_steps": 8}),
    ("b-sg", {}, {"path_length_every_steps": 8}),
    ("b-sg", {"augment": "ada"}, {"ada_target": 0.5}),
    ("b-sg", {"augment": "ada"}, {"ada_kimg": 500.0}),
    ("b-sg", {"augment": "ada-fixed"}, {"ada_p": 0.1}),
    ("m-sg", {}, {"lecam_weight": 1e-6}),
    ("m-sg", {}, {"noise": False}),
    ("m-sg", {}, {"mask_form": "soft-one-hot"}),
]


@pytest.mark.parametrize(("variant", "given", "change"), NEUTRAL)
def test_a_setting_that_is_not_read_does_not_make_a_new_trial(variant, given, change):
    assert address(resolved(variant, **(given | change))) == address(resolved(variant, **given))


@pytest.mark.parametrize(("variant", "given", "change"), READ)
def test_a_setting_that_is_read_makes_a_new_trial(variant, given, change):
    assert address(resolved(variant, **(given | change))) != address(resolved(variant, **given))


def test_total_steps_show_all_images():
    assert resolved("b-sg", kimg=0.1, batch_size=16).total_steps == 7


@pytest.mark.parametrize("resolution", [8, 48, 1024])
def test_resolution_must_be_a_power_of_two(resolution):
    with pytest.raises(ValidationError, match=f"power of two from 16 to 512, got {resolution}"):
        resolved("m-sg", resolution=resolution)


def test_impossible_settings_are_refused():
    with pytest.raises(ValidationError, match="batch_size 6 is no multiple of minibatch_std_group 4"):
        resolved("m-sg", batch_size=6, minibatch_std_group=4)
    with pytest.raises(ValidationError):
        GanSettings(injection=())
    with pytest.raises(ValidationError):
        GanSettings(learning_rate=0.0)


def test_price_agrees_with_the_published_arithmetic():
    """404, 77 and 1.7 GFLOP per image for 256/16384, 128/8192 and 32/2048 without masks."""
    for resolution, base, widest, gflop in ((256, 16384, 512, 404), (128, 8192, 256, 77), (32, 2048, 64, 1.7)):
        config = resolved("c-sg", resolution, channel_base=base, channel_max=widest, injection="generator")
        assert flops_per_image(config) / 1e9 == pytest.approx(gflop, rel=0.1)


def counted_macs(network: torch.nn.Module, *inputs: torch.Tensor) -> float:
    """Multiply-adds of the convolutions and matrix products that one forward pass really makes, per sample."""
    network.requires_grad_(False)
    with FlopCounterMode(display=False) as counter:
        network(*inputs)
    return counter.get_total_flops() / 2 / len(inputs[0])


@pytest.mark.parametrize("points", [(), ("generator",), ("d-blocks", "d-input"), ("d-blocks", "d-input", "generator")])
@pytest.mark.parametrize(("g_form", "d_form"), [("add", "concat"), ("concat", "concat"), ("affine", "projection")])
def test_counted_convolutions_agree_with_those_made(points, g_form, d_form):
    plan = Architecture(
        resolution=32, channels=2, condition_channels=24, points=points, injection_form=g_form,
        discriminator_form=d_form, latent_dim=4, mapping_layers=1, channel_base=512, channel_max=16,
        minibatch_std_group=2,
    )  # fmt: skip
    x, mask = torch.zeros(2, 2, 32, 32), torch.zeros(2, 24, 32, 32)
    made_g = counted_macs(Generator(plan), x[:, 0, 0, :4], mask)
    made_d = counted_macs(Discriminator(plan), x, mask)
    assert generator_macs(plan) == pytest.approx(made_g, rel=0.02)
    assert discriminator_macs(plan) == pytest.approx(made_d, rel=0.02)
    blind = plan.model_copy(update={"points": ()})
    more_g = made_g - counted_macs(Generator(blind), x[:, 0, 0, :4])
    more_d = made_d - counted_macs(Discriminator(blind), x)
    assert generator_macs(plan) - generator_macs(blind) == pytest.approx(more_g, rel=0.002)
    assert discriminator_macs(plan) - discriminator_macs(blind) == pytest.approx(more_d, rel=0.002)


def test_wrong_masks_for_d_are_paid_for():
    assert flops_per_image(resolved("c-sg", mismatch_weight=0.5)) > 1.1 * flops_per_image(resolved("c-sg"))


def test_real_pairs_for_g_and_a_penalty_on_generated_ones_are_paid_for():
    assert flops_per_image(resolved("c-sg", loss="relativistic")) > 1.1 * flops_per_image(resolved("c-sg"))


def test_the_logistic_loss_leaves_digests_as_they_were():
    config = resolved("b-sg", 32, preset="tiny")
    assert "loss" not in identity(config)
    assert identity(resolved("b-sg", 32, preset="tiny", loss="relativistic")) == identity(config) | {
        "loss": "relativistic"
    }


def test_an_adapted_p_needs_scores_with_a_sign():
    with pytest.raises(ValidationError, match=r"relativistic leaves free.*use ada-fixed or diffaugment"):
        GanSettings(loss="relativistic", augment="ada")


def test_price_grows_with_length():
    assert hours(resolved("b-sg", kimg=20.0)) == pytest.approx(2 * hours(resolved("b-sg", kimg=10.0)), rel=0.01)


def test_a_gpu_takes_hours_where_a_core_takes_months_and_small_steps_are_bound_by_their_launches():
    large = resolved("b-sg", resolution=256, preset="auto", batch_size=16, kimg=2000.0, path_length_weight=2.0)
    assert hours(large) > 1000
    assert 1 < gpu_hours(large) < 2
    assert gpu_hours(large.model_copy(update={"kimg": 1000.0})) == pytest.approx(gpu_hours(large) / 2, rel=0.01)
    small = resolved("b-sg", resolution=64, preset="tiny", kimg=20.0)
    assert gpu_hours(small) == small.total_steps * GPU_SECONDS_PER_STEP / 3600


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"batch_size": 32}, 8),
        ({"batch_size": 32, "minibatch_std_group": 1}, 32),
        ({"batch_size": 12, "minibatch_std_group": 6}, 2),
        ({"batch_size": 4, "minibatch_std_group": 8}, 1),
        ({"batch_size": 32, "mismatch_weight": 1.0, "segmenter_weight": 1.0, "augment": "ada"}, 8),
        ({"batch_size": 32, "lecam_weight": 1e-6}, 1),
        ({"batch_size": 32, "spectrum_weight": 0.1}, 1),
        ({"batch_size": 32, "focal_frequency_weight": 0.1}, 1),
    ],
)
def test_parts_are_whole_groups_and_there_are_none_where_a_term_looks_across(settings, parts):
    assert divides(resolved("c-sg", **settings)) == parts


@pytest.mark.parametrize(
    "settings",
    [
        {"kimg": 5.0, "report_every_steps": 7, "learning_rate": 0.01, "ema_kimg": 3.0, "ema_ramp_up": 0.5},
        {"r1_gamma": 7.0, "r1_every_steps": 8, "path_length_weight": 7.0, "path_length_every_steps": 8},
        {"r1_gamma_mask_ratio": 7.0, "mask_clip_px": 7.0},
        {"style_mixing": 0.0, "ada_target": 0.5, "ada_kimg": 7.0},
    ],
)
def test_a_probe_takes_no_notice_of_what_memory_does_not_depend_on(settings):
    assert probe(resolved("b-sg", augment="ada", **settings)) == probe(resolved("b-sg", augment="ada"))
    assert probe(resolve(GanSettings(), "b-sg", FOLD, 9, 256)) == probe(resolved("b-sg"))


@pytest.mark.parametrize(
    "settings",
    [
        {"batch_size": 8},
        {"resolution": 128},
        {"channel_base": 8192},
        {"latent_dim": 64},
        {"minibatch_std_group": 8},
        {"augment": "ada"},
        {"noise": False},
        {"injection": "generator"},
        {"injection_form": "concat"},
        {"discriminator_form": "projection"},
        {"r1_gamma": 0.0},
        {"path_length_weight": 0.0},
        {"mismatch_weight": 0.1},
        {"segmenter_weight": 0.1},
        {"lecam_weight": 0.1},
        {"spectrum_weight": 0.1},
        {"focal_frequency_weight": 0.1},
        {"loss": "relativistic"},
    ],
)
def test_a_probe_keeps_what_memory_depends_on(settings):
    assert probe(resolved("c-sg", **settings)) != probe(resolved("c-sg"))
    assert probe(resolved("c-sg")).fold == FOLD
