"""Segment configs: what decides a trial, what does not, and what is refused."""

import pytest
from pydantic import ValidationError

from medsweep.data.folds import Fold
from medsweep.identity import canonical, digest_of
from medsweep.trainers.segmentation.config import (
    GPU_SECONDS_PER_STEP,
    SECONDS_BESIDE_TRAINING,
    SegmentConfig,
    SegmentSettings,
    gpu_hours,
    hours,
    resolve,
)

FOLD = Fold(index=0, of=4)


def resolved(count=0, candidates=20, unit="slices", **settings) -> SegmentConfig:
    return resolve(
        SegmentSettings(**settings), fold=FOLD, seed=1, count=count, candidates=candidates, unit=unit, resolution=32
    )


def digest(config: SegmentConfig) -> str:
    return digest_of("segment", 1, config, {})


def test_a_real_only_trial_is_shared_by_arms_that_differ_in_what_it_never_reads():
    arms = [resolved(), resolved(min_iou=0.5), resolved(mixing="fixed-exposure"), resolved(unit="patients")]
    assert len({digest(arm) for arm in arms}) == 1


def test_candidates_are_read_by_a_filter_alone():
    assert digest(resolved(8, candidates=30)) == digest(resolved(8, candidates=20))
    assert digest(resolved(8, candidates=30, min_iou=0.5)) != digest(resolved(8, candidates=20, min_iou=0.5))


def test_a_filter_of_what_was_generated_looks_at_the_count_alone():
    counted = resolved(8, candidates=30, min_iou=0.5, filter_mode="fixed-generated")
    assert counted.candidates == 8
    assert digest(counted) == digest(resolved(8, candidates=20, min_iou=0.5, filter_mode="fixed-generated"))
    with pytest.raises(ValidationError, match=r"candidates \(30\) must be count \(8\) under fixed-generated"):
        SegmentConfig(**(dict(counted) | {"candidates": 30}))


def test_how_to_filter_is_read_by_a_filter_alone():
    ways = [{"filter_mode": "fixed-generated"}, {"filter_by": "random"}]
    for count, settings in ((8, {}), (0, {"min_iou": 0.5})):
        arms = [resolved(count, **settings), *(resolved(count, **settings, **way) for way in ways)]
        assert len({digest(arm) for arm in arms}) == 1
    arms = [resolved(8, candidates=8, min_iou=0.5, **way) for way in [{}, *ways]]
    assert len({digest(arm) for arm in arms}) == 3


def test_the_same_fields_tell_synthetic_arms_apart():
    arms = [
        resolved(8),
        resolved(8, min_iou=0.5),
        resolved(8, mixing="fixed-exposure"),
        resolved(8, unit="patients"),
        resolved(9),
    ]
    assert len({digest(arm) for arm in arms}) == len(arms)


def test_report_interval_is_no_part_of_the_digest():
    assert digest(resolved(report_every_steps=10)) == digest(resolved(report_every_steps=20))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mixing": "fixed-exposure", "batch_size": 5}, "no whole number of a batch_size of 5; the nearest .* is 0.4"),
        ({"mixing": "fixed-exposure", "synthetic_share": 0.01}, "nearest share that fits is 0.0625"),
        ({"synthetic_share": 0.25}, "read by mixing fixed-exposure alone, got mixing uniform"),
        ({"snapshots": 4}, "Input should be 0, 3 or 5"),
        ({"channels": (4, 4, 4, 4, 4, 4, 4)}, "multiple of 64, got 32"),
        ({"candidates": 7, "min_iou": 0.5}, r"candidates \(7\) must be at least count \(8\)"),
        ({"batch_size": 1}, "greater than or equal to 2"),
        ({"residual_units": 1}, "Input should be 0 or 2"),
        ({"steps": 5, "warmup_steps": 5}, r"warmup_steps \(5\) must be below steps \(5\)"),
        ({"steps": 1, "mixing": "pretrain"}, "gives 0 of 1 steps to synthetic samples"),
        ({"mixing": "pretrain", "pretrain_share": 1.0}, "less than 1"),
        ({"network": "segresnet", "channels": (4, 8, 12)}, r"as \[4, 8, 16\], got segment.channels \[4, 8, 12\]"),
        ({"network": "attention-unet", "channels": (1, 8)}, "needs at least 2 channels"),
        ({"network": "swin-unetr", "channels": (16, 32, 64, 128)}, r"as \[12, 24, 48, 96, 192\], got"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        resolved(8, **settings)


def test_a_swin_transformer_needs_five_halvings():
    widths = {"network": "swin-unetr", "channels": (12, 24, 48, 96, 192)}
    assert resolved(**widths).resolution == 32
    with pytest.raises(ValidationError, match="multiple of 32, got 16"):
        resolve(SegmentSettings(**widths), fold=FOLD, seed=1, count=0, candidates=0, unit="slices", resolution=16)


def test_fields_that_a_trial_does_not_read_are_neutral():
    def same(first: SegmentConfig, second: SegmentConfig) -> bool:
        return digest(first) == digest(second)

    assert same(resolved(8, pretrain_share=0.2), resolved(8))
    assert same(resolved(0, mixing="pretrain", pretrain_share=0.2), resolved(0))
    assert not same(resolved(8, mixing="pretrain", pretrain_share=0.2), resolved(8, mixing="pretrain"))
    assert same(resolved(network="segresnet", residual_units=0), resolved(network="segresnet"))
    assert not same(resolved(residual_units=0), resolved())
    assert same(resolved(validate_every_steps=5), resolved())


def test_later_fields_leave_the_old_addresses_and_real_only_trials_alone():
    old = canonical(resolved(8, mixing="fixed-exposure"))
    assert "synthetic_share" not in old
    assert "snapshots" not in old
    assert digest(resolved(8, mixing="fixed-exposure", synthetic_share=0.25)) != digest(resolved(8))
    assert digest(resolved(8, snapshots=5)) != digest(resolved(8))
    assert digest(resolved(0, mixing="fixed-exposure", synthetic_share=0.25, snapshots=5)) == digest(resolved(0))


def test_validation_is_read_where_the_fold_has_some():
    watched = FOLD.model_copy(update={"validation": 0.2})
    given = SegmentSettings(validate_every_steps=5)
    found = resolve(given, fold=watched, seed=1, count=0, candidates=0, unit="slices", resolution=32)
    assert found.validate_every_steps == 5


def test_a_gpu_is_faster_and_its_small_steps_are_bound_by_their_launches():
    small = resolved(steps=2000, channels=(8, 16))
    large = small.model_copy(update={"channels": (64, 128, 256), "resolution": 512, "batch_size": 32})
    assert gpu_hours(small) == (SECONDS_BESIDE_TRAINING + 2000 * GPU_SECONDS_PER_STEP) / 3600
    assert gpu_hours(small) < gpu_hours(large) < hours(large) / 100


def test_hours_grow_with_steps_and_width():
    assert hours(resolved(steps=2000)) > 1.5 * hours(resolved(steps=1000))
    assert hours(resolved(channels=(32, 64))) > 1.5 * hours(resolved(channels=(8, 16)))
