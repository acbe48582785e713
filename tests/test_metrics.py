"""Every metric has a record, a row in the docs, and a function that says what it computes."""

import ast
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from medsweep.metric_record import Metric, Question
from medsweep.metrics import METRICS, SCORES, STRUCTURE_METRICS, record_of, shown_in, without_record
from medsweep.pool_metrics import POOLS
from medsweep.sweep.space import BETTER
from medsweep.trainers.measures.structures import METRICS as COMPUTED
from tools import metrics_page

ROOT = Path(__file__).parents[1]


def documented_functions() -> set[str]:
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "trainers").rglob("*.py"))
    functions = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    return {function.name for function in functions if ast.get_docstring(function)}


def test_the_docs_page_says_what_the_records_say():
    text = metrics_page.page().read_text(encoding="utf-8")
    assert text == metrics_page.written(text), "run: python tools/metrics_page.py"
    for name in METRICS:
        assert text.count(f"\n| `{name}` |") + text.count(f"\n| **`{name}`** |") == 1


def test_every_record_names_a_function_with_a_docstring_and_says_what_it_is():
    known = documented_functions()
    assert {metric.name: metric.computed_by for metric in METRICS.values() if metric.computed_by not in known} == {}
    for metric in METRICS.values():
        assert metric.meaning.endswith(".")
        assert metric.title
        assert metric.range


def test_scores_of_structures_are_those_that_the_trainers_compute():
    assert tuple(COMPUTED) == STRUCTURE_METRICS
    assert list(SCORES) == [*STRUCTURE_METRICS, *(f"region_{name}" for name in STRUCTURE_METRICS)]


def test_scores_have_a_direction_and_a_worst_value():
    for metric in SCORES.values():
        assert "scores" in metric.shown
        assert metric.worst == (0.0 if metric.higher_is_better else math.inf)
        assert metric.direction in ("higher", "lower")
    assert not any("scores" in metric.shown for metric in POOLS.values())


def test_a_search_optimises_the_scores_of_classes_and_the_hours():
    assert list(BETTER) == ["dice", "hd95_mm", "assd_mm", "surface_dice", "hours"]
    assert [BETTER[name] for name in ("dice", "hd95_mm")] == ["maximise", "minimise"]


def test_tables_of_the_report_show_their_metrics_in_this_order():
    assert shown_in("fidelity")[:2] == ("frechet", "frechet_floor")
    assert shown_in("misfit")[-1] == "spoiled_auc"
    asked = [set(shown_in(question)) for question in get_args(Question)]
    assert sum(map(len, asked)) == len(set.union(*asked)), "a metric answers one question"
    assert shown_in("exposure")[-1] == "synthetic_slices_seen"
    assert shown_in("filters")[0] == "generated"


@pytest.mark.parametrize("name", ["class_1/empty", "class_12/largest_share"])
def test_metrics_of_a_class_share_a_record(name):
    record = record_of(name)
    assert isinstance(record, Metric)
    assert record.name == f"class_K/{name.partition('/')[2]}"


def test_names_without_a_record_are_told_once():
    assert without_record(["dice", "gloss", "class_1/gloss", "gloss", "frechet"]) == ("gloss", "class_1/gloss")


NEW_RECORD = """
    _score("jaccard", "Jaccard", "Intersection over union of prediction and reference.", "Jaccard 1912"),
)

STRUCTURE_METRICS"""
NEW_FUNCTION = """def jaccard(counts: Counts) -> float:
    \"\"\"|A and B| / |A or B| (Jaccard 1912).\"\"\"
    return counts.tp / (counts.n_ref + counts.n_pred - counts.tp)


def hd95_mm("""
USE = """
import numpy as np, pandas as pd
from medsweep.analysis.study.analyse import analyse_table
from medsweep.metrics import SCORES
from medsweep.sweep.space import BETTER
from medsweep.trainers.measures.structures import score

square = np.zeros((2, 8, 8), dtype=bool)
square[:, 2:6, 2:6] = True
scores = score(square, np.roll(square, 2, axis=1), (1.0, 1.0, 1.0)).values
assert scores["jaccard"] == 16 / 48, scores
assert score(square, np.zeros_like(square), (1.0, 1.0, 1.0)).values["jaccard"] == 0
assert BETTER["jaccard"] == "maximise" and SCORES["region_jaccard"].title == "Jaccard of regions"
rows = [(arm, f"case-{i}", metric, 0.5 + 0.01 * i) for arm in "ab" for i in range(6) for metric in ("dice", "jaccard")]
analysis = analyse_table(pd.DataFrame(rows, columns=["arm", "patient", "metric", "value"]), control="a")
assert [study.metric.title for study in analysis.secondary] == ["Jaccard"]
"""


def test_a_new_metric_of_segmentations_touches_two_files(tmp_path):
    for folder in ("medsweep", "trainers", "analysis", "tools", "docs"):
        shutil.copytree(ROOT / folder, tmp_path / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    edits = {
        "medsweep/metrics.py": [("\n)\n\nSTRUCTURE_METRICS", NEW_RECORD)],
        "trainers/measures/structures.py": [
            ("def hd95_mm(", NEW_FUNCTION),
            ('    "hd95_mm": lambda', '    "jaccard": lambda pair: jaccard(pair.counts),\n    "hd95_mm": lambda'),
        ],
    }
    for name, changes in edits.items():
        text = (tmp_path / name).read_text(encoding="utf-8")
        for before, after in changes:
            assert text.count(before) == 1
            text = text.replace(before, after)
        (tmp_path / name).write_text(text, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for command in (["-c", USE], ["tools/metrics_page.py"]):
        ended = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stderr
    (page,) = (tmp_path / "docs").rglob("metrics.md")
    assert "| **`region_jaccard`** |" in page.read_text(encoding="utf-8")
