"""The report says with which commands one looks further."""

from pathlib import Path

from helpers.made_report import context, eight_arm_analysis
from medsweep.analysis.report.sections import trials_section
from medsweep.analysis.report.wrong import lost_trials


def test_trials_lead_to_show_log_and_samples(tmp_path: Path) -> None:
    analysis = eight_arm_analysis()
    told, trials = trials_section(analysis, context(tmp_path)).blocks
    (text,) = told.paragraphs
    assert "Type log in place of show for all that it reported." in text
    assert text.count("medsweep samples SWEEP --store 'my store'") == 1
    assert all(line.command.startswith("medsweep show ") for _, lines in trials.arms for line in lines if line.digest)
    (alone,) = trials_section(analysis, context(tmp_path, store="")).blocks[0].paragraphs
    assert "medsweep" not in alone


def test_lost_trials_lead_to_their_tracebacks(tmp_path: Path) -> None:
    assert "medsweep log DIGEST --store 'my store'" in lost_trials(context(tmp_path)).caption
    assert lost_trials(context(tmp_path, store="")).caption == "Trials without a result."
