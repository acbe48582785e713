"""The smallest sweep that goes the whole way: real stages at 16 pixels, seconds per run."""

from pathlib import Path

MICRO = """\
sweep: micro
question: Does the whole way hold?
data:
  dataset: phantom
  phantom: {patients: 6, seed: 3, shape: [20, 18, 8], spacing_mm: [2.0, 2.0, 4.0]}
  resolution: 16
replicates: {folds: 2, seeds: 1}
control: {synthesise.count: 0}
factors:
  gan.pipeline: [b-sg, mc-sg]
  synthesise.count: [4]
fixed:
  gan: {kimg: 0.032, batch_size: 8, channel_base: 128, channel_max: 8, latent_dim: 8, path_length_weight: 0.0,
        report_every_steps: 2}
  segment: {steps: 12, batch_size: 4, channels: [4, 8], residual_units: 0, report_every_steps: 4}
analysis: {primary: dice, margin: 0.05}
"""

FACTORS = "factors:\n  gan.pipeline: [b-sg, mc-sg]\n  synthesise.count: [4]\n"
WITHOUT_GENERATORS = (FACTORS, "arms: {slow: {segment.learning_rate: 0.0005}}\n")
"""A change to two arms of real slices, a tenth of the work."""


def write_micro(folder: Path, *changes: tuple[str, str], name: str = "micro.yaml") -> Path:
    """Write the sweep with each (old, new) replaced; a text that is not there is an error of the test."""
    text = MICRO
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    path = folder / name
    path.write_text(text)
    return path
