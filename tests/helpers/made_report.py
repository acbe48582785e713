"""Reports of simulated results, for the tests of the page, its exports and its behaviour in a browser."""

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

from helpers.simulated_results import eight_arms, simulate, simulate_pools
from medsweep.analysis.report.page import write_report
from medsweep.analysis.report.topic import MissingTrial, PlanRow, ReportContext, SamplePicture
from medsweep.analysis.study.analyse import Analysis, analyse
from medsweep.analysis.table.reduction import AnalysisRules

LEGEND = (("organ", "#e69f00"), ("vessel", "#009e73"))


def context(folder: Path, **changes: object) -> ReportContext:
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(folder / "grid.png")
    values = {
        "sweep": "counts",
        "question": "Does <b>more</b> help & why?",
        "dataset": "phantom, 8 patients, 32 px",
        "command": "medsweep run sweeps/counts.yaml --store store",
        "created": "2025-01-01T00:00:00+00:00",
        "versions": {"medsweep": "0.1.0", "scipy": "1.17.1"},
        "plan": (PlanRow("gan", 6, 14, 5, 1, 3.2),),
        "grids": (SamplePicture("mc-sg", "Left real, right synthetic.", folder / "grid.png", LEGEND),),
        "failures": (MissingTrial("segment 3fa2", "code error", "out of <memory>"),),
        "store": "my store",
        "limits": ("One data set.",),
    }
    return ReportContext(**{**values, **changes})


def eight_arm_analysis() -> Analysis:
    """Eight arms, four folds, two seeds, pools; one arm gains, one loses, one patient was missed, one run diverged."""
    arms = eight_arms()
    table = simulate(arms, {"b-sg, 32 patients": -0.05, "mc-sg, 16 patients": 0.03}, patients=12, folds=4)
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in table["digest"].unique()}
    table["digest"] = table["digest"].map(digests)
    missed = (table["arm"] == "b-sg, 16 patients") & (table["patient"] == "case-003")
    value = np.where(table["metric"] == "dice", 0.0, np.inf)
    table = table.assign(status=table["status"].mask(missed, "missed"), value=table["value"].mask(missed, value))
    lost = (table["arm"] == "mc-sg, 8 patients") & (table["patient"] == "case-007")
    table = table.assign(status=table["status"].mask(lost, "absent"), value=table["value"].mask(lost))
    plan = AnalysisRules(missing="complete-cases", post_hoc=("shaffer", "conover"))
    return analyse(table, simulate_pools(arms), plan, arms=arms, n_real=16)


def eight_arm_report(folder: Path) -> tuple[Analysis, Path]:
    analysis = eight_arm_analysis()
    known = context(folder, wandb_runs=frozenset(trial.run_id for trial in analysis.trials))
    return analysis, write_report(folder, analysis, known, formats=("html", "markdown", "latex"))
