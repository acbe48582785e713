"""The treat stage: controls and repairs of a pool, as a list in which every treatment is a record with its function.

``run.run`` is the stage function. What happens to sample i depends on the config, on real training slices and on i
alone, so a treated pool keeps its nested prefixes.
"""

from medsweep.trainers.treatments.config import TreatConfig, TreatSettings, gpu_hours, hours, probe

__all__ = ["TreatConfig", "TreatSettings", "gpu_hours", "hours", "probe"]
