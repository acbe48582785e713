"""What is refused before anything is trained, since no result could answer it."""

from dataclasses import replace
from pathlib import Path

import pytest

from helpers.micro import write_micro
from medsweep.errors import UserError
from medsweep.store.store import Store
from medsweep.study.plan import plan_sweep
from medsweep.trainers.segmentation.networks import NETWORKS

FACTORS = "factors:\n  gan.pipeline: [b-sg, mc-sg]\n  synthesise.count: [4]\n"
ARMS = """factors: {}
arms:
  gan: {gan.pipeline: mc-sg, synthesise.count: 4}
  again: {treat.treatments: [{kind: duplicate-real}], synthesise.count: 4}
  twice: {treat.treatments: [{kind: duplicate-real}], synthesise.count: 8}
  few: {treat.treatments: [{kind: k-unique-real, patients: 1}], synthesise.count: 4}
  longer: {treat.treatments: [{kind: duplicate-real}], synthesise.count: 4, segment.steps: 24}
  blurred: {treat.treatments: [{kind: duplicate-real}, {kind: blur, sigma_px: 1.0}], synthesise.count: 4}
  filtered: {gan.pipeline: mc-sg, synthesise.count: 4, segment.min_iou: 0.1}
"""


def plan(folder: Path, section: str) -> None:
    sweep = write_micro(folder, (FACTORS, f"{ARMS}mechanism: {section}\n"))
    plan_sweep(sweep, Store.create(folder / "store"))


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("{explain: gan, exposure: few}", "exposure must be an arm of duplicate-real slices alone, and 'few' is not"),
        ("{explain: gan, exposure: blurred}", "exposure must be an arm of duplicate-real slices alone"),
        ("{explain: gan, ceiling: again}", "ceiling must be an arm of fresh-real slices alone, and 'again' is not"),
        ("{explain: gan, exposure: control}", "exposure must be an arm of duplicate-real slices alone"),
        ("{explain: gan, exposure: twice}", "'twice' and 'gan' differ in synthesise.count or in segment"),
        ("{explain: gan, exposure: longer}", "'longer' and 'gan' differ in synthesise.count or in segment"),
    ],
)
def test_reference_levels_are_what_the_report_calls_them(tmp_path: Path, section: str, words: str) -> None:
    with pytest.raises(UserError, match=rf"micro.yaml:\d+: {words}"):
        plan(tmp_path, section)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("{raw: gan, new_real: again, blotched: new}", "new_real must be an arm of fresh-real slices alone"),
        ("{raw: control, new_real: new, blotched: blotched}", "'control' has no synthetic samples"),
        ("{raw: gan, new_real: new, blotched: again}", "blotched must be new real slices with another look"),
        ("{raw: gan, new_real: new, blotched: blotched, mends: [twice]}", "'twice' and 'gan' differ in"),
        ("{raw: gan, new_real: new, blotched: blotched, mends: [gone]}", "no arm is called 'gone'"),
    ],
)
def test_arms_of_texture_are_what_the_report_calls_them(tmp_path: Path, section: str, words: str) -> None:
    more = """  new: {treat.treatments: [{kind: fresh-real}], synthesise.count: 4}
  blotched: {treat.treatments: [{kind: fresh-real}, {kind: blur, sigma_px: 1.0}], synthesise.count: 4}
"""
    sweep = write_micro(tmp_path, (FACTORS, f"{ARMS}{more}texture: {section}\n"))
    with pytest.raises(UserError, match=rf"micro.yaml:\d+: .*{words}"):
        plan_sweep(sweep, Store.create(tmp_path / "store"))


@pytest.mark.parametrize("explained", ["gan", "filtered"])
def test_a_level_at_the_same_dose_is_planned(tmp_path: Path, explained: str) -> None:
    plan(tmp_path, f"{{explain: {explained}, exposure: again}}")


@pytest.mark.parametrize("field", ["cuda_graphs", "compiled"])
def test_what_needs_a_cuda_device_is_refused_where_trials_get_none(tmp_path: Path, field: str) -> None:
    asked = ("  gan: {kimg", f"  gan: {{{field}: true, kimg")
    with pytest.raises(UserError, match=rf"micro.yaml:\d+: gan.{field} needs a CUDA device"):
        plan_sweep(write_micro(tmp_path, asked), Store.create(tmp_path / "store"))
    gpus = ("analysis: {primary", "resources: {gan: {gpus: 1}}\nanalysis: {primary")
    plan_sweep(write_micro(tmp_path, asked, gpus), Store.create(tmp_path / "other"))


@pytest.mark.parametrize(("section", "pipelines"), [("gan", "[b-sg, mc-sg]"), ("diffusion", "[b-dm, c-dm]")])
def test_mirrored_slices_are_refused_where_the_dataset_does_not_declare_them(
    tmp_path: Path, section: str, pipelines: str
) -> None:
    changes = [("[b-sg, mc-sg]", pipelines), ("  segment: {", f"  {section}: {{flip: true}}\n  segment: {{")]
    if section == "gan":
        changes[1] = ("  gan: {kimg", "  gan: {flip: true, kimg")
    with pytest.raises(
        UserError, match=rf"micro.yaml:\d+: {section}.flip .*'phantom' does not declare mirrored"
    ) as said:
        plan_sweep(write_micro(tmp_path, *changes), Store.create(tmp_path / "store"))
    assert "\n" not in str(said.value)
    declared = ("  resolution: 16", "  resolution: 16\n  mirrored: left-right")
    plan_sweep(write_micro(tmp_path, *changes, declared), Store.create(tmp_path / "store"))


@pytest.mark.parametrize(
    ("assessed", "more", "refused"),
    [("true", "", True), ("false", ", min_iou: 0.1", True), ("false", ", snapshots: 3", True), ("false", "", False)],
)
def test_what_looks_inside_a_network_without_layers_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, assessed: str, more: str, refused: bool
) -> None:
    monkeypatch.setitem(NETWORKS, "segresnet", replace(NETWORKS["segresnet"], layers=None))
    asked = ("  segment: {", f"  assess: {{enabled: {assessed}}}\n  segment: {{network: segresnet{more}, ")
    sweep = write_micro(tmp_path, asked)
    if not refused:
        plan_sweep(sweep, Store.create(tmp_path / "store"))
        return
    with pytest.raises(UserError, match=r"micro.yaml:\d+: .*segment.network segresnet names no layers"):
        plan_sweep(sweep, Store.create(tmp_path / "store"))


def test_a_pool_of_a_diffusion_model_needs_a_network_with_layers_whatever_is_assessed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(NETWORKS, "segresnet", replace(NETWORKS["segresnet"], layers=None))
    asked = ("  segment: {", "  assess: {enabled: false}\n  segment: {network: segresnet, ")
    with pytest.raises(UserError, match=r"names no layers.*pools of diffusion models, which are always assessed"):
        plan_sweep(write_micro(tmp_path, asked, ("[b-sg, mc-sg]", "[b-dm]")), Store.create(tmp_path / "store"))
