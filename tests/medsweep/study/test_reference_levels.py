"""Synthetic arms are held against real slices at their own dose and training, where the sweep has such arms."""

from pathlib import Path

from medsweep.store.store import Store
from medsweep.study.plan import plan_sweep
from medsweep.study.reference_levels import reference_levels

SWEEP = """\
sweep: levels
question: Why?
data:
  dataset: phantom
  phantom: {patients: 12, seed: 3, shape: [20, 18, 8], spacing_mm: [2.0, 2.0, 4.0]}
  resolution: 16
  patients: 3
replicates: {folds: 2, only: [0], seeds: 1}
control: real
arms:
  real: {synthesise.count: 0}
  again: {treat.treatments: [{kind: duplicate-real}]}
  again, more: {treat.treatments: [{kind: duplicate-real}], synthesise.count: 16}
  new: {treat.treatments: [{kind: fresh-real}]}
  new of two: {treat.treatments: [{kind: fresh-real, unique: 2}]}
  blurred: {treat.treatments: [{kind: fresh-real}, {kind: blur, sigma_px: 1.0}]}
  fake: {gan.pipeline: b-sg}
  fake, longer: {gan.pipeline: b-sg, segment.steps: 24}
  filtered: {gan.pipeline: b-sg, segment.min_iou: 0.5}
fixed:
  gan: {kimg: 0.032, batch_size: 8, channel_base: 128, channel_max: 8, latent_dim: 8, path_length_weight: 0.0}
  synthesise: {count: 8}
  segment: {steps: 12, batch_size: 4, channels: [4, 8], residual_units: 0}
analysis: {primary: dice, margin: 0.05}
"""


def test_arms_are_held_against_plain_real_slices_of_their_own_dose(tmp_path: Path) -> None:
    (tmp_path / "levels.yaml").write_text(SWEEP)
    arms = plan_sweep(tmp_path / "levels.yaml", Store.create(tmp_path / "store")).arms
    assert reference_levels(arms) == {
        f"{arm} against {meaning}": {arm: 1.0, level: -1.0}
        for arm in ("fake", "filtered")
        for meaning, level in (("the same real slices again", "again"), ("as many new real slices", "new"))
    }
    assert reference_levels([arm for arm in arms if arm.name not in ("again", "new")]) == {}
