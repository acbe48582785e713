"""Generators that begin from published ones: how they are named, and what is refused when a sweep is planned."""

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from helpers.micro import write_micro
from medsweep.data.fitted_on import FITTED_ON
from medsweep.data.folds import Fold
from medsweep.errors import UserError
from medsweep.files import sha256_of
from medsweep.store.manifest import FORMAT, MANIFEST, Manifest
from medsweep.store.store import Store
from medsweep.study.generator_limits import generator_limits
from medsweep.study.grid_names import kinds_of_pictures
from medsweep.study.plan import plan_sweep
from medsweep.study.stages import Settings
from medsweep.sweep.plan import Plan
from medsweep.trainers.generation.intensity import IntensityRange
from medsweep.trainers.generators import GeneratorConfig
from medsweep.trainers.stylegan2.architecture import Architecture
from medsweep.trainers.stylegan2.config import GanSettings
from medsweep.trainers.stylegan2.resolve import resolve
from medsweep.trainers.stylegan2.sampler import CARD, WEIGHTS, GeneratorCard

DIGEST, PREPARED = "ab" * 32, "cd" * 32
GAN: dict[str, Any] = {"batch_size": 8, "channel_base": 128, "channel_max": 8, "latent_dim": 8}
SEED_3 = {"patients": 40, "seed": 3, "shape": [20, 18, 8], "spacing_mm": [2.0, 2.0, 4.0]}


def publish(
    root: Path, seen: list[str], prepared: dict[str, Any] | None = None, variant: Any = "b-sg", **settings: Any
) -> Path:
    """A published generator, and the slices that it learned from, as far as a plan looks at them."""
    config = resolve(GanSettings(**(GAN | settings)), variant, Fold(index=0, of=2), 0, 16)
    card = GeneratorCard(
        variant=variant,
        architecture=Architecture.of(config, 2, 3),
        modalities=2,
        classes=3,
        mask_form=config.mask_form,
        mask_clip_px=config.mask_clip_px,
        intensity=IntensityRange(),
    )
    files = {CARD: card.model_dump_json(), WEIGHTS: "weights", FITTED_ON: json.dumps(seen)}
    if prepared is not None:
        _trial(root / "prepare" / PREPARED, {"cohort.json": "{}"}, prepared, {})
    return _trial(root / "gan" / DIGEST, files, {}, {"prepare": PREPARED})


def _trial(folder: Path, texts: dict[str, str], config: dict[str, Any], inputs: dict[str, str]) -> Path:
    (folder / "output").mkdir(parents=True)
    for name, text in texts.items():
        (folder / "output" / name).write_text(text)
    hashes = {f"output/{name}": sha256_of(folder / "output" / name) for name in texts}
    none: dict[str, Any] = {"reads": {}, "metrics": {}, "host": {}, "versions": {}, "seconds": 1.0}
    manifest = Manifest(
        stage=folder.parent.name, version=1, digest=folder.name, config=config, inputs=inputs, outcome="complete",
        message="", estimated_hours=0.1, files=hashes, finished="2026-01-01T00:00:00", **none,
    )  # fmt: skip
    (folder / MANIFEST).write_text(json.dumps({"format": FORMAT, **asdict(manifest)}))
    return folder


def planned(folder: Path, said: str, pipelines: str = "[b-sg]", *changes: tuple[str, str]) -> Plan[Settings]:
    asked = ("  gan: {kimg", f"  gan: {{init_from: {said}, kimg")
    sweep = write_micro(folder, asked, ("[b-sg, mc-sg]", pipelines), *changes)
    return plan_sweep(sweep, Store.create(folder / "store")).plan


def generators(plan: Plan[Settings]) -> list[GeneratorConfig]:
    return [trial.config for trial in plan.trials.values() if isinstance(trial.config, GeneratorConfig)]


@pytest.mark.parametrize("said", [DIGEST[:12], "elsewhere/gan/" + DIGEST, f"elsewhere/gan/{DIGEST}/output"])
def test_a_generator_is_named_by_its_digest_or_its_folder(tmp_path: Path, said: str) -> None:
    publish(tmp_path / ("elsewhere" if "/" in said else "store"), ["someone"])
    found = [config.start for config in generators(planned(tmp_path, said))]
    assert {start and start.digest for start in found} == {DIGEST}
    assert found[0] is not None
    assert found[0].files.keys() == {WEIGHTS, CARD, FITTED_ON}
    assert found[0].fitted_on == ("someone",)


@pytest.mark.parametrize("fold", [0, 1])
def test_one_that_has_seen_a_tested_patient_is_refused(tmp_path: Path, fold: int) -> None:
    tested = {0: "phantom_0001", 1: "phantom_0002"}[fold]
    publish(tmp_path / "store", [tested])
    words = rf"micro.yaml:\d+: arm .*gan.init_from: .* learned from 1 patient.* fold {fold} tests, first '{tested}'"
    with pytest.raises(UserError, match=words) as caught:
        planned(tmp_path, DIGEST)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("phantom", "refused"), [(SEED_3, True), (SEED_3 | {"seed": 4}, False), (None, False)])
def test_a_name_is_no_proof_where_patients_were_made_up_otherwise(
    tmp_path: Path, phantom: dict[str, Any] | None, refused: bool
) -> None:
    publish(tmp_path / "store", ["phantom_0001"], {"dataset": "phantom", "phantom": phantom})
    if refused:
        with pytest.raises(UserError, match="first 'phantom_0001'"):
            planned(tmp_path, DIGEST)
    else:
        assert all(config.start and config.start.strangers for config in generators(planned(tmp_path, DIGEST)))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("0123456789abcdef", "no trial '0123456789abcdef' in the plan or in the store"),
        ("nowhere", "nowhere is no published trial; give a digest of this store"),
        (PREPARED, "prepare cdcdcdcdcdcdcdcd is no generator of it; give a complete trial of stage gan"),
        (f"{{c-sg: {DIGEST}}}", "no generator of this pipeline is called so; .*b-sg"),
        ("left-out", "left-out takes training patients that the study leaves out, and it uses all"),
        ("other.yaml:gone", "other.yaml has no arm 'gone'"),
        ("other.yaml:more", "other.yaml:more is not trained yet; run  medsweep run other.yaml"),
    ],
)
def test_what_is_no_generator_is_told_in_one_line(tmp_path: Path, said: str, words: str) -> None:
    publish(tmp_path / "store", ["someone"], {"dataset": "mine", "phantom": None})
    more = (
        "factors:\n  gan.pipeline: [b-sg, mc-sg]\n  synthesise.count: [4]\n",
        "arms: {more: {synthesise.count: 4}}\n",
    )
    write_micro(tmp_path, more, ("  gan: {", "  gan: {pipeline: b-sg, "), ("seed: 3", "seed: 4"), name="other.yaml")
    with pytest.raises(UserError, match=rf"micro.yaml:\d+: .*gan.init_from: .*{words}") as caught:
        planned(tmp_path, f"'{said}'" if "{" not in said else said)
    assert "\n" not in str(caught.value)


def test_each_difference_is_named(tmp_path: Path) -> None:
    publish(tmp_path / "store", ["someone"], latent_dim=16, mask_form="soft-one-hot")
    with pytest.raises(
        UserError, match=r"does not fit: .*mask_form soft-one-hot, here signed-distance.*latent_dim 16, here 8"
    ):
        planned(tmp_path, DIGEST)


def test_several_generators_get_one_each_by_variant(tmp_path: Path) -> None:
    publish(tmp_path / "store", ["someone"], variant="m-sg")
    found = generators(planned(tmp_path, f"{{m-sg: {DIGEST}}}", "[mc-sg]"))
    assert {(config.variant, config.start is not None) for config in found} == {("m-sg", True), ("c-sg", False)}
    with pytest.raises(UserError, match="does not fit: variant m-sg, here c-sg"):
        planned(tmp_path, DIGEST, "[mc-sg]")


def test_patients_left_out_train_the_first_generator_of_each_fold(tmp_path: Path) -> None:
    few = ("  resolution: 16", "  resolution: 16\n  patients: 2")
    plan = planned(tmp_path, "left-out", "[b-sg]", few)
    found = generators(plan)
    assert Counter(config.left_out for config in found) == {True: 2, False: 2}
    begun = [trial for trial in plan.trials.values() if trial.stage == "gan" and not trial.config.left_out]  # type: ignore[attr-defined]
    assert all(plan.trials[trial.inputs["start"]].config.left_out for trial in begun)  # type: ignore[attr-defined]
    judges = {trial.inputs["judge"] for trial in plan.trials.values() if trial.stage == "assess"}
    assert {plan.trials[judge].stage for judge in judges} == {"segment"}, "no judge of patients that a generator saw"


def test_another_sweep_of_the_store_gives_the_generator_of_its_arm(tmp_path: Path) -> None:
    more = (
        "factors:\n  gan.pipeline: [b-sg, mc-sg]\n  synthesise.count: [4]\n",
        "arms: {more: {synthesise.count: 4}}\n",
    )
    other = write_micro(
        tmp_path, more, ("  gan: {", "  gan: {pipeline: b-sg, "), ("seed: 3", "seed: 4"), name="other.yaml"
    )
    store = Store.create(tmp_path / "store")
    digests = [trial.digest for trial in plan_sweep(other, store).plan.trials.values() if trial.stage == "gan"]
    folder = publish(tmp_path / "made", ["phantom_0001"], {"dataset": "phantom", "phantom": SEED_3 | {"seed": 4}})
    manifest = json.loads((folder / MANIFEST).read_text()) | {"digest": digests[0]}
    (folder / MANIFEST).write_text(json.dumps(manifest))
    folder.parent.rename(store.root / "gan")
    (tmp_path / "made" / "prepare").rename(store.root / "prepare")
    (store.root / "gan" / DIGEST).rename(store.root / "gan" / digests[0])
    found = [config.start for config in generators(planned(tmp_path, "other.yaml:more"))]
    assert {start and start.digest for start in found} == {digests[0]}


def test_sweeps_that_begin_from_one_another_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gan.init_from: generators .* themselves \(micro.yaml from micro.yaml\)"):
        planned(tmp_path, "micro.yaml:control")
    write_micro(tmp_path, ("  gan: {", "  gan: {init_from: 'micro.yaml:control', "), name="other.yaml")
    with pytest.raises(
        UserError, match=r"\(micro.yaml from other.yaml from micro.yaml\); take init_from out"
    ) as caught:
        planned(tmp_path, "other.yaml:control")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("prepared", "told"),
    [
        (None, "No id of theirs is held out here. Their slices are not at hand, so a held-out patient with another id"),
        ({"dataset": "phantom", "phantom": SEED_3}, "No id of theirs is held out here. No mask of theirs is held out"),
        ({"dataset": "mine", "phantom": None}, "They are of another cohort. No mask of theirs is held out"),
    ],
)
def test_the_report_repeats_whom_a_generator_began_from(
    tmp_path: Path, prepared: dict[str, Any] | None, told: str
) -> None:
    publish(tmp_path / "store", ["someone", "another"], prepared)
    (line,) = generator_limits(planned(tmp_path, DIGEST))
    assert line.startswith(
        f"The generators of b-sg count=4 began from the generator {DIGEST[:16]}, which learned from 2 cases"
    )
    assert told in line


def test_the_report_repeats_that_patients_left_out_were_learned_from(tmp_path: Path) -> None:
    few = ("  resolution: 16", "  resolution: 16\n  patients: 2")
    (line,) = generator_limits(planned(tmp_path, "left-out", "[b-sg]", few))
    assert line.startswith(
        "The generators of b-sg count=4 began from ones that learned from training patients whom data.patients"
    )


def test_the_report_repeats_that_slices_were_mirrored(tmp_path: Path) -> None:
    allowed = ("  resolution: 16", "  resolution: 16\n  mirrored: left-right")
    (line,) = generator_limits(beside_plain(tmp_path, "turned: {gan.flip: true}", allowed))
    assert line.startswith("The generators of turned also learned from slices that were mirrored left to right.")


def test_the_report_tells_arms_of_one_pipeline_and_their_judges_apart(tmp_path: Path) -> None:
    few = ("  resolution: 16", "  resolution: 16\n  patients: 2")
    plan = beside_plain(tmp_path, "begun: {gan.init_from: left-out}", few)
    *_, line = generator_limits(plan)
    assert line.startswith("The judge of begun is the control's network, and that of plain one that was fitted on")
    assert set(kinds_of_pictures(plan).values()) == {"Real pairs", "b-sg, plain", "b-sg, begun"}
    alike = ("analysis:", "  assess: {judge: control}\nanalysis:")
    assert line not in generator_limits(beside_plain(tmp_path, "begun: {gan.init_from: left-out}", few, alike))


def beside_plain(folder: Path, arm: str, *changes: tuple[str, str]) -> Plan[Settings]:
    """The plan of an arm beside one whose B-SG is as usual."""
    factors = ("factors:\n  gan.pipeline: [b-sg, mc-sg]\n  synthesise.count: [4]\n", "")
    arms = (
        "control: {synthesise.count: 0}\n",
        f"control: real\narms: {{real: {{synthesise.count: 0}}, plain: {{}}, {arm}}}\n",
    )
    rest = ("fixed:\n  gan: {", "fixed:\n  synthesise: {count: 4}\n  gan: {pipeline: b-sg, ")
    return plan_sweep(write_micro(folder, factors, arms, rest, *changes), Store.create(folder / "store")).plan


def test_one_that_does_not_say_whom_it_saw_is_refused(tmp_path: Path) -> None:
    folder = publish(tmp_path / "store", ["someone"])
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["files"][f"output/{FITTED_ON}"]
    (folder / MANIFEST).write_text(json.dumps(manifest))
    (folder / "output" / FITTED_ON).unlink()
    words = rf"micro.yaml:\d+: .*gan.init_from: .* left no {FITTED_ON}, so nobody knows whose slices it saw"
    with pytest.raises(UserError, match=words):
        planned(tmp_path, DIGEST)
