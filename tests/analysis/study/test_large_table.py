"""A table of 20,000 patients and 10 arms stays below 2 GB, whatever is random in it."""

import resource
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from medsweep.analysis.study.analyse import analyse_table

PATIENTS, ARMS = 20_000, 10


def large_table(folds: int) -> pd.DataFrame:
    """Dice to two decimals, so that many scores tie; a dose per arm; a distance beside it."""
    rng = np.random.default_rng(0)
    level_P = rng.normal(0.8, 0.08, PATIENTS)
    patients = [f"case-{number:05}" for number in range(PATIENTS)]
    frames = []
    for arm in range(ARMS):
        dice_P = np.clip(level_P + 0.002 * arm + rng.normal(0, 0.02, PATIENTS), 0, 1).round(2)
        for metric, value_P in (("dice", dice_P), ("hd95_mm", 30 * (1 - dice_P))):
            frames.append(pd.DataFrame({"patient": patients, "value": value_P, "metric": metric, "arm": f"arm {arm}"}))
            frames[-1]["synthesise.count"] = 10 * arm
            frames[-1]["fold"] = np.arange(PATIENTS) % folds
    return pd.concat(frames, ignore_index=True)


@pytest.mark.slow
@pytest.mark.parametrize("folds", [1, 5])
def test_the_peak_of_memory_is_below_2_gb(folds):
    found = subprocess.run([sys.executable, __file__, str(folds)], capture_output=True, text=True, check=True)
    assert float(found.stdout) < 2.0


if __name__ == "__main__":
    analysed = analyse_table(large_table(int(sys.argv[1])), control="arm 0")
    assert analysed.primary.n == PATIENTS
    sys.stdout.write(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f}")
