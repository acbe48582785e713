"""Pictures of a mechanism: what falls where, and what is drawn of networks."""

import dataclasses
import math

import pandas as pd
import pytest
from matplotlib.figure import Figure

from helpers.lattice import ARMS, NAMES, diagnosis_of, law_pools, planted, profile_curves, score_table
from medsweep.analysis.figures.laws import Placed, _in_patients, draw_edges, draw_variety
from medsweep.analysis.figures.mechanism import draw_waterfalls, waterfalls
from medsweep.analysis.figures.networks import draw_auc, draw_influence, shown_arms
from medsweep.analysis.records import ArmInfo
from medsweep.analysis.study.analyse import analyse
from medsweep.analysis.study.mechanisms.why import WhyAsked
from medsweep.analysis.table.reduction import AnalysisRules
from medsweep.mechanism import Mechanism, at_dose
from medsweep.metrics import SCORES


def analysed(section=ARMS, names=NAMES, diagnosis=None, **settings):
    infos = [ArmInfo(name, {}, control=name == "real") for name in names]
    table = score_table(planted(labels=0.05), names=names, seeds=3, patients=8, **settings)
    if diagnosis is None:
        diagnosis = diagnosis_of(("gan", "new", "cell look", "cell all three"), opposed=("gan",), seeds=3)
    why = WhyAsked(section, diagnosis=diagnosis)
    return analyse(table, law_pools(("labels",), seeds=3), AnalysisRules(), arms=infos, why=why)


@pytest.fixture(scope="module")
def analysis():
    return analysed()


def test_a_waterfall_starts_and_ends_at_the_arms_and_every_step_hangs_on_the_last(analysis, tmp_path):
    data = pd.read_csv(draw_waterfalls(analysis, analysis.mechanism, tmp_path / "fall").csv)
    means = {one.arm: one.mean for one in analysis.primary.descriptions}
    assert list(dict.fromkeys(data["panel"])) == ["Ladder", "Lattice, Shapley shares"]
    for _, steps in data.groupby("panel"):
        assert steps["from"].iloc[0] == pytest.approx(means["new"])
        assert steps["to"].iloc[-1] == pytest.approx(means["gan"])
        assert steps["from"].tolist()[1:] == pytest.approx(steps["to"].tolist()[:-1])
        assert (steps["from"] - steps["to"]).tolist() == pytest.approx(steps["cost"].tolist())
    assert data["step"].tolist() == ["to images", "to gan", "labels", "look", "variety", "not reproduced"]


def test_whiskers_are_those_of_the_costs(analysis, tmp_path):
    data = pd.read_csv(draw_waterfalls(analysis, analysis.mechanism, tmp_path / "fall").csv).set_index("step")
    for cause, share in analysis.mechanism.costs.shares.items():
        assert data.loc[cause, ["low", "high"]].tolist() == pytest.approx([share.low, share.high])


def test_a_waterfall_of_distances_climbs(analysis, tmp_path):
    assert not SCORES["hd95_mm"].higher_is_better
    primary = dataclasses.replace(analysis.primary, metric=SCORES["hd95_mm"])
    climbing = dataclasses.replace(analysis, primary=primary)
    data = pd.read_csv(draw_waterfalls(climbing, analysis.mechanism, tmp_path / "climb").csv)
    assert (data["to"] - data["from"]).tolist() == pytest.approx(data["cost"].tolist())


def test_without_ladder_and_lattice_there_is_no_waterfall():
    bare = analysed(Mechanism(explain="gan", exposure="again"), ["real", "again", "gan"])
    assert waterfalls(bare.mechanism) == ()


def test_pictures_of_networks_hold_the_means_of_the_record(analysis, tmp_path):
    study = analysis.mechanism
    # cells of the lattice but all three are left out, so are arms that were not diagnosed
    assert shown_arms(study) == ["gan", "new", "cell all three"]
    influence = pd.read_csv(draw_influence(study, tmp_path / "influence").csv)
    found = {(one.arm, one.when, one.quantity, one.group, one.source): one.estimate for one in study.network}
    assert set(influence["source"]) == {"pool", "held-out again"}
    for row in influence.itertuples():
        estimate = found[row.arm, str(row.percent), "influence", "all", row.source]
        assert (row.influence, row.low, row.high) == pytest.approx((estimate.value, estimate.low, estimate.high))
    auc = pd.read_csv(draw_auc(study, tmp_path / "auc").csv)
    assert auc["level"].unique().tolist() == ["encoder 1", "bottleneck", "head"]
    assert auc[auc["source"] == "train"]["arm"].unique().tolist() == ["gan"]
    for row in auc.itertuples():
        assert row.auc == pytest.approx(found[row.arm, "100", "domain_auc", row.level, row.source].value)


def test_edges_hold_the_means_over_folds_of_reals_and_of_each_pool(tmp_path):
    edges = profile_curves()["edges"]
    data = pd.read_csv(draw_edges(edges, "gan", tmp_path / "edges").csv)
    assert data["source"].unique().tolist() == ["real", "gan", "new"]
    assert data["modality"].unique().tolist() == ["t1", "t2"]
    values = data[data["modality"] == "t2"].set_index(["source", "distance_px"])["intensity"]
    assert values["real", 0.5] == pytest.approx(30 * (0.5 + math.tanh(0.5)))
    # masks of the explained arm are too large, so its edge lies further in
    assert values["gan", 1.5] == pytest.approx(values["real", 0.5])
    assert values["new", 1.5] == pytest.approx(values["real", 1.5])


def test_variety_holds_the_curve_and_places_pools_on_it_and_by_their_cost(tmp_path):
    placed = [Placed("gan", 2.0, 0.05, 6.5), Placed("new", 5.0, 0.0, 15.0), Placed("cell look", 4.0, 0.01)]
    curve = profile_curves()["variety"]
    data = pd.read_csv(draw_variety(curve, placed, "gan", tmp_path / "variety", cost="Dice below new").csv)
    real = data[data["arm"] == "real"].set_index("patients")
    assert real["vendi"].tolist() == pytest.approx([4.5, 7.5, 16.5])
    assert real.loc[2, ["low", "high"]].tolist() == [6, 9]
    on_curve = data[(data["panel"] == "curve") & (data["arm"] != "real")]
    assert on_curve["arm"].tolist() == ["gan", "new"]
    costs = data[data["panel"] == "cost"].set_index("arm")
    assert costs["patients"].to_dict() == {"gan": 2.0, "new": 5.0, "cell look": 4.0}
    assert costs["cost"].to_dict() == {"gan": 0.05, "new": 0.0, "cell look": 0.01}
    alone = pd.read_csv(draw_variety(None, placed, "gan", tmp_path / "alone", cost="Dice below new").csv)
    assert set(alone["panel"]) == {"cost"}


def test_lower_doses_have_levels_and_lines_of_their_own(tmp_path):
    section = ARMS.model_copy(update={"doses": (8, 16)})
    lower = [at_dose(arm, 8) for arm in ("gan", "again", "new", "images")]
    diagnosis = diagnosis_of(("gan", "gan, 8"), opposed=("gan",), seeds=3)
    found = analysed(section, [*NAMES, *lower], diagnosis=diagnosis).mechanism
    weights = {test.name: dict(test.weights) for test in found.tests["lower"]}
    assert weights == {
        "harm at 8": {"again, 8": 1, "gan, 8": -1},
        "shortfall at 8": {"new, 8": 1, "gan, 8": -1},
        "net cost at 8": {"real": 1, "gan, 8": -1},
    }
    assert shown_arms(found) == ["gan", "gan, 8"]
    # a family of its own: what is told of the last dose is as it was without any other
    alone = analysed(names=[*NAMES, *lower], diagnosis=diagnosis).mechanism
    assert found.costs.levels == alone.costs.levels


def test_arms_that_are_as_varied_as_each_other_have_numbers_at_their_axis():
    axes = Figure().subplots()
    axes.plot([6.9, 7.0], [0, 1])
    _in_patients(axes)
    assert axes.get_xticks().tolist() == [5, 8]
