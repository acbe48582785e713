import pytest
from pydantic import ValidationError

from medsweep.data.folds import Fold
from medsweep.identity import digest_of
from trainers.stylegan2.config import GanConfig, GanSettings, resolve
from trainers.stylegan2.cost import flops_per_image, hours

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
    assert address(resolved("m-sg", mask_form="one-hot", mask_clip_px=3.0)) == address(
        resolved("m-sg", mask_form="one-hot")
    )
    assert address(resolved("m-sg", mask_clip_px=3.0)) != address(resolved("m-sg"))


def test_presets_follow_resolution_and_batch():
    config = resolved("b-sg", batch_size=16)
    assert config.r1_gamma == pytest.approx(0.82, abs=0.01)
    assert (config.mask_clip_px, config.ema_kimg) == (16.0, 5.0)
    assert resolved("b-sg", resolution=16).mask_clip_px == 2.0


def test_total_steps_show_all_images():
    assert resolved("b-sg", kimg=0.1, batch_size=16).total_steps == 7


@pytest.mark.parametrize("resolution", [8, 48, 1024])
def test_resolution_must_be_a_power_of_two(resolution):
    with pytest.raises(ValidationError, match=f"power of two from 16 to 512, got {resolution}"):
        resolved("m-sg", resolution=resolution)


def test_impossible_settings_are_refused():
    with pytest.raises(ValidationError, match="batch_size 6 is no multiple of minibatch_std_group 4"):
        GanSettings(batch_size=6)
    with pytest.raises(ValidationError):
        GanSettings(injection=())
    with pytest.raises(ValidationError):
        GanSettings(learning_rate=0.0)


def test_price_agrees_with_the_published_arithmetic():
    """404, 77 and 1.7 GFLOP per image for 256/16384, 128/8192 and 32/2048 without masks."""
    for resolution, base, widest, gflop in ((256, 16384, 512, 404), (128, 8192, 256, 77), (32, 2048, 64, 1.7)):
        config = resolved("c-sg", resolution, channel_base=base, channel_max=widest, injection="generator")
        assert flops_per_image(config) / 1e9 == pytest.approx(gflop, rel=0.1)


def test_price_grows_with_length():
    assert hours(resolved("b-sg", kimg=20.0)) == pytest.approx(2 * hours(resolved("b-sg", kimg=10.0)), rel=0.01)
