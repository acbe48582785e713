"""No option that nobody asks for: each is set by a sweep in ``sweeps/`` or explained by a page."""

import re
from pathlib import Path

from medsweep.study.stages import SCHEMA
from medsweep.sweep.file import Budget, FactorialDesign, Replicates, Resources, SweepFile
from medsweep.sweep.space import Constraint, Objective, Range, SearchSection, StoppingRule
from medsweep.trainers.treatments.config import KINDS
from medsweep.validation import dotted_fields

ROOT = Path(__file__).parents[1]
UNMENTIONED: set[str] = set()
"""Options that neither a sweep nor a page names; keep it short."""


def options() -> set[str]:
    """All fields that a sweep file may set, by name within their section."""
    sections = {
        "": SCHEMA.settings, "analysis.": SCHEMA.analysis, "file.": SweepFile, "budget.": Budget,
        "design.": FactorialDesign, "replicates.": Replicates, "resources.": Resources, "search.": SearchSection,
        "objective.": Objective, "constraint.": Constraint, "range.": Range, "early_stopping.": StoppingRule,
    }  # fmt: skip
    names = {prefix + name for prefix, model in sections.items() for name in dotted_fields(model)}
    names |= {f"treatment {kind}.{name}" for kind, model in KINDS.items() for name in model.model_fields}
    # Numbers of a range are whole where the field is; nobody writes it.
    return names - {"range.whole"}


def test_every_option_is_set_by_a_sweep_or_explained_by_a_page() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "sweeps").rglob("*.yaml")]
    words = set(re.findall(r"\w+", "\n".join(page.read_text() for page in pages)))
    assert {name for name in options() if re.split(r"\W+", name)[-1] not in words} == UNMENTIONED
