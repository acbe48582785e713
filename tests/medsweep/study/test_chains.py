"""How arms become chains: what is shared, what is left out, and what is refused before anything runs."""

import json
from collections import Counter
from pathlib import Path

import pytest

from helpers.micro import write_micro
from medsweep.errors import UserError
from medsweep.store.store import Store
from medsweep.study.chains import network_of
from medsweep.study.plan import plan_sweep
from medsweep.sweep.plan import Plan

FACTORS = "factors:\n  gan.pipeline: [b-sg, mc-sg]\n  synthesise.count: [4]\n"
REAL = "{treat.treatments: [{kind: duplicate-real}], synthesise.count: %s}"
FRESH = "{treat.treatments: [{kind: fresh-real}], synthesise.count: 4}"
HELD_OUT = "{gan.pipeline: c-sg, synthesise.masks: held-out, synthesise.count: 4}"


def planned(folder: Path, arms: dict[str, str], *changes: tuple[str, str]) -> Plan:
    text = "factors: {}\narms:\n" + "".join(f"  {name}: {levels}\n" for name, levels in arms.items())
    sweep = write_micro(folder, (FACTORS, text), *changes)
    return plan_sweep(sweep, Store.create(folder / "store")).plan


def counts(plan: Plan, stage: str) -> set[int]:
    return {trial.config.model_dump()["count"] for trial in plan.trials.values() if trial.stage == stage}


def stages(plan: Plan) -> Counter[str]:
    return Counter(trial.stage for trial in plan.trials.values())


def test_real_slices_need_no_generator_and_share_a_pool_over_counts_and_generators(tmp_path: Path) -> None:
    other = REAL.replace("{treat", "{gan.kimg: 0.064, treat")
    plan = planned(tmp_path, {"few": REAL % 4, "many": REAL % 9, "other": other % 4})
    assert stages(plan) == {"prepare": 1, "treat": 2, "embed": 2, "assess": 2, "segment": 6, "score": 6}
    assert counts(plan, "treat") == {9}
    assert plan.aliases == {"other": "few"}


def test_all_pools_of_a_fold_and_judge_are_compared_with_one_real_side(tmp_path: Path) -> None:
    one, other = "{gan.pipeline: b-sg, synthesise.count: 4}", "{gan.pipeline: mc-sg, synthesise.count: 4}"
    plan = planned(tmp_path, {"one": one, "other": other, "real": REAL % 4})
    assert (stages(plan)["assess"], stages(plan)["embed"]) == (6, 2)
    for trial in plan.trials.values():
        if trial.stage == "assess":
            real = plan.trials[trial.inputs["real"]]
            assert real.inputs == {"prepare": trial.inputs["prepare"], "judge": trial.inputs["judge"]}


def test_a_pool_of_a_diffusion_model_is_always_assessed_and_guided_without_training_anew(tmp_path: Path) -> None:
    arm = "{gan.pipeline: %s, synthesise.count: 4, assess.enabled: false%s}"
    plan = planned(tmp_path, {"gan": arm % ("c-sg", "")})
    assert stages(plan)["assess"] == 0
    plan = planned(tmp_path, {"plain": arm % ("c-dm", ""), "guided": arm % ("c-dm", ", synthesise.guidance: 2.0")})
    assert stages(plan)["diffusion"] == 2
    assert (stages(plan)["synthesise"], stages(plan)["assess"]) == (4, 4)


def test_real_slices_that_imitate_a_pool_need_its_generator(tmp_path: Path) -> None:
    both = "[{kind: duplicate-real}, {kind: match-spectrum, target: pool, measured: 2}]"
    plan = planned(tmp_path, {"like b-sg": f"{{treat.treatments: {both}, gan.pipeline: b-sg, synthesise.count: 4}}"})
    shared = {"prepare": 1, "gan": 2, "synthesise": 2, "treat": 2, "embed": 2, "assess": 2}
    assert stages(plan) == {**shared, "segment": 4, "score": 4}
    assert counts(plan, "treat") == {0}


@pytest.mark.parametrize(("mode", "made"), [("fixed-kept", 12), ("fixed-generated", 4)])
def test_only_a_filter_down_to_the_count_makes_more_than_the_count(tmp_path: Path, mode: str, made: int) -> None:
    levels = f"{{synthesise.count: 4, synthesise.headroom: 3.0, segment.min_iou: 0.5, segment.filter_mode: {mode}}}"
    plan = planned(tmp_path, {"filtered": levels})
    assert counts(plan, "synthesise") == {made}


def test_a_filter_and_its_random_control_share_all_but_the_u_net(tmp_path: Path) -> None:
    levels = "{synthesise.count: 4, segment.min_iou: 0.5, segment.filter_by: %s}"
    plan = planned(tmp_path, {"filtered": levels % "iou", "at random": levels % "random"})
    assert stages(plan)["assess"] == 2
    assert stages(plan)["segment"] == 6


def test_the_judge_of_the_pool_doubts_pixels_for_the_filter_and_its_control_alike(tmp_path: Path) -> None:
    plain = "{synthesise.count: 4}"
    levels = "{synthesise.count: 4, segment.max_pixel_loss: 1.25, segment.pixels_by: %s, segment.snapshots: 3}"
    arms = {"filtered": levels % "loss", "at random": levels % "random", "plain": plain}
    watched = ("seeds: 1", "seeds: 1, validation: 0.34")
    some = ("  resolution: 16", "  resolution: 16\n  patients: 1")
    for changes, judge in (((watched,), "segment"), ((watched, some), "judge")):
        plan = planned(tmp_path, arms, *changes)
        filtered = [trial for trial in plan.trials.values() if trial.stage == "segment" and "judge" in trial.inputs]
        assert len(filtered) == 4
        assert {plan.trials[trial.inputs["judge"]].stage for trial in filtered} == {judge}
        assert [*{"judge" in trial.inputs for trial in plan.trials.values() if trial.stage == "diagnose"}] == [False]


def test_the_control_of_a_gate_reads_the_gated_training(tmp_path: Path) -> None:
    levels = "{synthesise.count: 4, segment.mixing: fixed-exposure, segment.synthetic_gate: %s}"
    both = planned(tmp_path, {"gated": levels % "cosine", "at random": levels % "random"})
    alone = planned(tmp_path, {"at random": levels % "random"})
    assert stages(both)["segment"] == stages(alone)["segment"] == 6
    read = {trial.inputs["gated"] for trial in both.trials.values() if "gated" in trial.inputs}
    gated = {network_of(both, leaf).digest for (arm, _), leaf in both.leaves.items() if arm == "gated"}
    assert read == gated


@pytest.mark.parametrize("levels", [FRESH, HELD_OUT])
def test_patients_left_out_may_be_borrowed_where_there_are_any(tmp_path: Path, levels: str) -> None:
    some = ("  resolution: 16", "  resolution: 16\n  patients: 2")
    assert stages(planned(tmp_path, {"more": levels}, some))["segment"] == 4
    with pytest.raises(UserError, match=r"micro\.yaml:3: arm 'more': .*set data\.patients below"):
        planned(tmp_path, {"more": levels})
    every = ("  resolution: 16", "  resolution: 16\n  patients: 3")
    with pytest.raises(UserError, match=r"micro\.yaml:3: .* fold 0 has none beside the 3 in use"):
        planned(tmp_path, {"more": levels}, every)


SOME = ("  resolution: 16", "  resolution: 16\n  patients: 2")


def judges(plan: Plan) -> Counter[str]:
    """How many assessments each stage judges."""
    return Counter(
        plan.trials[trial.inputs["judge"]].stage for trial in plan.trials.values() if trial.stage == "assess"
    )


def test_patients_left_out_fit_the_judge_by_default_and_the_control_where_it_is_asked_for(tmp_path: Path) -> None:
    plain, asked = "{synthesise.count: 4}", ("fixed:\n", "fixed:\n  assess: {judge: control}\n")
    assert judges(planned(tmp_path, {"few": plain}, SOME)) == {"judge": 2}
    assert judges(planned(tmp_path, {"few": plain})) == {"segment": 2}
    assert judges(planned(tmp_path, {"few": plain}, SOME, asked)) == {"segment": 2}
    every = ("  resolution: 16", "  resolution: 16\n  patients: 3")
    assert judges(planned(tmp_path, {"few": plain}, every)) == {"segment": 2}


def test_two_judges_see_a_pool_of_a_generator_and_one_that_of_patients_left_out(tmp_path: Path) -> None:
    asked = ("fixed:\n", "fixed:\n  assess: {judge: both}\n")
    assert judges(planned(tmp_path, {"few": "{synthesise.count: 4}"}, SOME, asked)) == {"judge": 2, "segment": 2}
    assert judges(planned(tmp_path, {"few": FRESH}, SOME, asked)) == {"segment": 2}


def test_pools_of_a_fold_share_a_judge_that_trains_no_arm(tmp_path: Path) -> None:
    plan = planned(tmp_path, {"one": "{synthesise.count: 4}", "real": REAL % 4}, SOME)
    assert stages(plan)["judge"] == stages(plan)["embed"] == 2
    trained = {digest for trial in plan.trials.values() if trial.stage == "segment" for digest in trial.inputs.values()}
    assert "judge" not in {plan.trials[parent].stage for digest in trained for parent in plan.ancestry(digest)}


def test_a_filter_keeps_the_scores_of_the_reference_and_is_told_by_the_judge(tmp_path: Path) -> None:
    plan = planned(tmp_path, {"filtered": "{synthesise.count: 4, segment.min_iou: 0.5}"}, SOME)
    assert judges(plan) == {"judge": 2, "segment": 2}
    read = {trial.inputs["scores"] for trial in plan.trials.values() if "scores" in trial.inputs}
    assert {plan.trials[plan.trials[digest].inputs["judge"]].stage for digest in read} == {"segment"}


def test_slices_of_the_patients_left_out_are_judged_by_the_control(tmp_path: Path) -> None:
    assert judges(planned(tmp_path, {"fresh": FRESH, "held out": HELD_OUT}, SOME)) == {"segment": 2, "judge": 2}


def test_relabelled_pools_are_told_apart(tmp_path: Path) -> None:
    levels = "{treat.treatments: [{kind: relabel}], synthesise.count: 4}"
    plan = planned(tmp_path, {"plain": "{synthesise.count: 4}", "relabelled": levels})
    flags = [trial.config.model_dump()["relabelled"] for trial in plan.trials.values() if trial.stage == "assess"]
    assert sorted(flags) == [False, False, True, True]


def test_a_judge_fitted_on_nobody_is_refused_before_anything_runs(tmp_path: Path) -> None:
    asked = ("fixed:\n", "fixed:\n  assess: {judge: left-out}\n")
    with pytest.raises(UserError, match=r"assess\.judge left-out needs training patients .*; set data\.patients below"):
        planned(tmp_path, {"few": "{synthesise.count: 4}"}, asked)
    every = ("  resolution: 16", "  resolution: 16\n  patients: 3")
    with pytest.raises(UserError, match=r"fold 0 has none beside the 3 in use; set data\.patients below 3"):
        planned(tmp_path, {"few": "{synthesise.count: 4}"}, asked, every)


def test_more_unique_patients_than_there_are_is_refused_before_anything_runs(tmp_path: Path) -> None:
    levels = "{treat.treatments: [{kind: k-unique-real, patients: %d}], synthesise.count: 4}"
    assert stages(planned(tmp_path, {"few": levels % 3}))["treat"] == 2
    with pytest.raises(UserError, match=r"micro\.yaml:3: k-unique-real asks for 4 training patients, fold 0 has 3"):
        planned(tmp_path, {"few": levels % 4})


SWAP = "treat.treatments: [{kind: swap-bands, low: real, high: pool}], synthesise.count: 4"


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        (f"{{gan.pipeline: mc-sg, {SWAP}}}", "needs the real slice of each mask"),
        (f"{{gan.pipeline: c-sg, synthesise.perturb: {{bias_px: 1.0}}, {SWAP}}}", r"remove synthesise\.perturb"),
    ],
)
def test_bands_are_swapped_with_the_real_slices_of_real_masks_alone(tmp_path: Path, levels: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        planned(tmp_path, {"swapped": levels})


def test_a_pool_of_real_masks_can_be_swapped(tmp_path: Path) -> None:
    assert stages(planned(tmp_path, {"swapped": f"{{gan.pipeline: c-sg, {SWAP}}}"}))["treat"] == 2


def test_arms_with_snapshots_and_a_pool_are_diagnosed(tmp_path: Path) -> None:
    levels = "{gan.pipeline: b-sg, synthesise.count: 4, segment.snapshots: %d}"
    watched = ("seeds: 1}", "seeds: 1, validation: 0.3}")
    arms = {"plain": levels % 0, "looked into": levels % 5, "real": "{synthesise.count: 0, segment.snapshots: 5}"}
    plan = planned(tmp_path, arms, watched)
    diagnoses = [trial for trial in plan.trials.values() if trial.stage == "diagnose"]
    assert len(diagnoses) == 2
    for trial in diagnoses:
        assert set(trial.inputs) == {"prepare", "network", "pool", "reference"}
        network = plan.trials[trial.inputs["network"]].config.model_dump()
        assert (network["snapshots"], network["count"]) == (5, 4)
    alone = [trial.config.model_dump() for trial in plan.trials.values() if trial.stage == "segment"]
    assert [network["snapshots"] for network in alone if network["count"] == 0] == [0, 0]


def test_snapshots_without_patients_to_watch_are_refused(tmp_path: Path) -> None:
    levels = "{gan.pipeline: b-sg, synthesise.count: 4, segment.snapshots: 5}"
    with pytest.raises(UserError, match=r"validation patients, got none; set replicates\.validation above 0"):
        planned(tmp_path, {"looked into": levels})


@pytest.mark.parametrize("treated", [True, False])
def test_blotched_slices_take_the_look_of_what_the_raw_arm_delivers(tmp_path: Path, treated: bool) -> None:
    """By the law of its pool, also where their own chain has the same generator."""
    blur = "{kind: blur, sigma_px: 1.0}"
    arms = {
        "raw": f"{HELD_OUT[:-1]}, treat.treatments: [{blur}]}}" if treated else HELD_OUT,
        "new": FRESH,
        "blotched": HELD_OUT[:-1]
        + ", treat.treatments: [{kind: fresh-real}, {kind: imitate, target: pool, measured: 4}]}",
    }
    texture = "texture: {raw: raw, new_real: new, blotched: blotched}\nfixed:\n"
    changes = ("fixed:\n", texture), ("resolution: 16\n", "resolution: 16\n  patients: 2\n")
    plan = planned(tmp_path, arms, *changes)
    pools = {
        arm: plan.trials[network_of(plan, leaf).inputs["pool"]]
        for (arm, replicate), leaf in plan.leaves.items()
        if arm in ("raw", "blotched") and replicate.fold == 0
    }
    assert pools["raw"].stage == ("treat" if treated else "synthesise")
    assert pools["blotched"].inputs["pool"] == pools["raw"].digest
    law = plan.trials[pools["blotched"].inputs["law"]]
    assert (law.stage, law.inputs["pool"]) == ("assess", pools["raw"].digest)


LATTICE = (
    "mechanism: {explain: synthetic, ceiling: new, lattice: {labels: labels, look: look, variety: variety, "
    "labels + look: both, labels + variety: few, look + variety: alike, all three: all}}\n"
)
LAWS = {"labels": "{kind: corrupt-labels, law: measured}", "look": "{kind: imitate, measured: 2, target: pool}"}


def lattice_arms() -> dict[str, str]:
    def cell(*kinds: str, unique: str = "") -> str:
        listed = ", ".join([f"{{kind: fresh-real{unique}}}", *(LAWS[kind] for kind in kinds)])
        return f"{{treat.treatments: [{listed}], synthesise.count: 4}}"

    few = ", unique: measured"
    return {
        "synthetic": "{gan.pipeline: b-sg, synthesise.count: 4, treat.treatments: [{kind: blur, sigma_px: 1.0}]}",
        "new": FRESH, "labels": cell("labels"), "look": cell("look"), "variety": cell(unique=few),
        "both": cell("look", "labels"), "few": cell("labels", unique=few), "alike": cell("look", unique=few),
        "all": cell("look", "labels", unique=few),
    }  # fmt: skip


ROOMY = (("patients: 6", "patients: 18"), ("  resolution: 16", "  resolution: 16\n  patients: 3"))
"""Nine patients may train, three do, and six are left out."""


def law_of(plan: Plan, arm: str) -> tuple[str, str]:
    """The assess trial whose law an arm's treat trial reads, and the pool that it is the law of."""
    network = plan.trials[plan.trials[plan.leaves_of(arm)[0]].inputs["network"]]
    treat = plan.trials[network.inputs["pool"]]
    assert treat.stage == "treat"
    return treat.inputs["law"], plan.trials[treat.inputs["law"]].inputs["pool"]


def delivered(plan: Plan, arm: str) -> str:
    return plan.trials[plan.trials[plan.leaves_of(arm)[0]].inputs["network"]].inputs["pool"]


def test_cells_of_a_lattice_take_laws_and_look_from_the_delivered_pool_of_the_explained_arm(tmp_path: Path) -> None:
    plan = planned(tmp_path, lattice_arms(), *ROOMY, ("replicates:", f"{LATTICE}replicates:"))
    explained = delivered(plan, "synthetic")
    for cell in ("labels", "look", "variety", "both", "few", "alike", "all"):
        assert law_of(plan, cell)[1] == explained, cell
    assert len({law_of(plan, cell)[0] for cell in ("labels", "look", "all")}) == 1
    look = plan.trials[delivered(plan, "look")]
    assert look.inputs["pool"] == explained
    assert "pool" not in plan.trials[delivered(plan, "labels")].inputs
    assert plan.trials[plan.trials[law_of(plan, "labels")[0]].inputs["judge"]].stage == "judge"


def test_outside_a_lattice_a_law_is_that_of_the_arms_own_pool_before_its_treatments(tmp_path: Path) -> None:
    spoiled = f"[{{kind: fresh-real}}, {LAWS['labels']}]"
    levels = f"{{gan.pipeline: b-sg, synthesise.count: 4, treat.treatments: {spoiled}}}"
    plan = planned(tmp_path, {"new": FRESH, "spoiled": levels}, *ROOMY)
    assert plan.trials[law_of(plan, "spoiled")[1]].stage == "synthesise"


def test_laws_that_no_assessment_can_tell_are_refused_before_anything_runs(tmp_path: Path) -> None:
    few = "{treat.treatments: [{kind: fresh-real, unique: measured}], synthesise.count: 4}"
    with pytest.raises(UserError, match=r"micro\.yaml:\d+: .*set data\.patients below"):
        planned(tmp_path, {"few": few})
    with pytest.raises(UserError, match=r"unique asks for 5 training patients that are left out, fold 0 has 1"):
        planned(tmp_path, {"few": few}, SOME)
    spoiled = f"{{treat.treatments: [{{kind: duplicate-real}}, {LAWS['labels']}], synthesise.count: 4}}"
    with pytest.raises(UserError, match=r"arm 'spoiled' asks for the label law .*set replicates\.validation"):
        planned(tmp_path, {"spoiled": spoiled})
    ids = [f"phantom_{number:04d}" for number in range(1, 7)]
    (tmp_path / "splits.json").write_text(json.dumps({"folds": [{"train": ids[:4], "test": ids[4:]}]}))
    cut = ("replicates: {folds: 2, seeds: 1}", "replicates: {scheme: file, file: splits.json, seeds: 1}")
    with pytest.raises(UserError, match=r"arm 'spoiled' asks .*name validation patients in replicates\.file"):
        planned(tmp_path, {"spoiled": spoiled}, cut)


def test_a_look_is_planted_in_slices_of_patients_left_out_alone(tmp_path: Path) -> None:
    arms = lattice_arms()
    arms["look"] = arms["look"].replace("fresh-real", "duplicate-real")
    with pytest.raises(UserError, match=r"micro\.yaml:\d+: arm 'look' gets the look .*begin its treatments with fresh"):
        planned(tmp_path, arms, *ROOMY, ("replicates:", f"{LATTICE}replicates:"))


@pytest.mark.parametrize(("validation", "other"), [(0.3, True), (0.0, False)])
def test_the_explained_pool_is_judged_twice_where_both_judges_have_unseen_slices(
    tmp_path: Path, validation: float, other: bool
) -> None:
    cut = ("replicates: {folds: 2", f"{LATTICE}replicates: {{validation: {validation}, folds: 2")
    roomy = (("patients: 6", "patients: 26"), ROOMY[1])
    plan = planned(tmp_path, lattice_arms(), *roomy, cut)
    law = plan.trials[law_of(plan, "labels")[0]]
    assert ("other" in law.inputs) == other
    if other:
        second = plan.trials[law.inputs["other"]]
        assert plan.trials[second.inputs["judge"]].stage == "segment"
        assert second.inputs["pool"] == law.inputs["pool"]
    others = [trial for trial in plan.trials.values() if trial.stage == "assess" and "other" in trial.inputs]
    assert {trial.inputs["pool"] for trial in others} <= {law.inputs["pool"], *map(pool_of_fold(plan), (0, 1))}


def pool_of_fold(plan: Plan):
    leaves = plan.leaves_of("synthetic")
    return lambda fold: plan.trials[plan.trials[leaves[fold]].inputs["network"]].inputs["pool"]
