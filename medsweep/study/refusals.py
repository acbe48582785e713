"""What a sweep asks that no result of it could answer, refused before anything is trained."""

from collections.abc import Mapping, Sequence

from medsweep.analysis.study.contrasts import factorial_effects
from medsweep.data.source import DataSource
from medsweep.errors import UserError, nearest
from medsweep.metrics import REGION
from medsweep.study.arm_infos import arm_infos
from medsweep.study.chains import is_assessed
from medsweep.study.stages import Settings, StudySweep
from medsweep.sweep.accumulation import check_accumulation
from medsweep.sweep.arms import Arm
from medsweep.sweep.mechanism import check_mechanism
from medsweep.sweep.texture import check_texture
from medsweep.trainers.segmentation.networks import NETWORKS, no_layers
from medsweep.trainers.synthesis.pipelines import PIPELINES
from medsweep.yamlfile import Key

REAL_SLICES = {"exposure": "duplicate-real", "ceiling": "fresh-real"}
"""What an arm of the mechanism is made of, and nothing else."""


def refuse_data_factors(sweep: StudySweep) -> None:
    """Arms share their patients, so no factor or arm may change the data set.

    Raises:
        UserError: one does.
    """
    places: list[tuple[str, ...]] = [("factors", dotted) for dotted in sweep.file.factors]
    places += [("arms", name, dotted) for name, levels in sweep.file.arms.items() for dotted in levels]
    for place in places:
        dotted = place[-1]
        if dotted in ("data", "data.dataset", "data.root") or dotted.startswith("data.phantom"):
            text = f"{dotted} cannot differ between arms, which share their patients; write a sweep per dataset"
            raise sweep.error(place, text)


def refuse_what_cannot_be_told(sweep: StudySweep, compared: Sequence[Arm[Settings]], source: DataSource) -> None:
    """Refuse questions that the arms, the data or the machine cannot answer.

    Raises:
        UserError: with the place in the file.
    """
    _refuse_absent_regions(sweep, source)
    _refuse_bad_contrasts(sweep, compared)
    _refuse_empty_factorial(sweep, compared)
    check_mechanism(sweep, [arm.name for arm in compared])
    check_accumulation(sweep, [arm.name for arm in compared])
    _refuse_misnamed_levels(sweep, compared)
    check_texture(sweep, [arm.name for arm in compared])
    _refuse_misnamed_texture(sweep, compared)
    _refuse_cuda_without_gpus(sweep, compared)
    _refuse_flips(sweep, compared, source)
    _refuse_networks_without_layers(sweep, compared)
    _refuse_a_control_with_neighbours(sweep, compared)


def _refuse_a_control_with_neighbours(sweep: StudySweep, compared: Sequence[Arm[Settings]]) -> None:
    """The control's network judges pools, and an arm that sees less than it differs in more than its pool."""
    control = next(arm for arm in compared if arm.is_control)
    reach, dotted = control.settings.segment.neighbours, "segment.neighbours"
    pooled = next((arm.name for arm in compared if arm.settings.synthesise.count > 0), None)
    if reach > 0 and pooled is not None:
        place = sweep.place(("control", dotted), ("fixed", "segment", "neighbours"), ("control",))
        text = f"the control sees {reach} {dotted}, and the samples of {pooled!r} have none to see"
        raise sweep.error(place, f"{text}; set {dotted} to 0, or write a sweep of real slices alone")


def _refuse_networks_without_layers(sweep: StudySweep, compared: Sequence[Arm[Settings]]) -> None:
    """Pools are assessed in the features of the control's network, and a diagnosis reads those of the arm's own."""
    judged = [arm for arm in compared if arm.settings.synthesise.count > 0]
    looked_into = [arm for arm in judged if arm.settings.segment.snapshots > 0]
    if any(is_assessed(arm.settings) or arm.settings.segment.min_iou > 0 for arm in judged):
        looked_into += [arm for arm in compared if arm.is_control]
    for arm in looked_into:
        network, dotted = arm.settings.segment.network, "segment.network"
        if NETWORKS[network].layers is None:
            places = (
                ("arms", arm.name, dotted),
                ("control", dotted),
                ("factors", dotted),
                ("fixed", "segment", "network"),
            )
            raise sweep.error(sweep.place(*places, ("fixed",)), no_layers(network))


def _refuse_misnamed_levels(sweep: StudySweep, compared: Sequence[Arm[Settings]]) -> None:
    """Harm and shortfall are told in words that only hold for these arms at the dose of the explained one."""
    section = sweep.file.mechanism
    if section is None:
        return
    settings = {arm.name: arm.settings for arm in compared}
    explained = settings[section.explain]
    if explained.synthesise.count == 0:
        raise sweep.error(("mechanism", "explain"), f"{section.explain!r} has no synthetic samples to explain")
    for cell, arm in section.lattice.items():
        _require_same_dose(
            sweep, ("mechanism", "lattice", cell), (arm, section.explain), settings, "cells are compared"
        )
    for role, kind in REAL_SLICES.items():
        name = getattr(section, role)
        if name is None:
            continue
        kinds = [treatment.kind for treatment in settings[name].treat.treatments]
        if kinds != [kind] or settings[name].synthesise.count == 0:
            text = f"{role} must be an arm of {kind} slices alone, and {name!r} is not; give it treat.treatments: "
            raise sweep.error(("mechanism", role), f"{text}[{{kind: {kind}}}]")
        _require_same_dose(sweep, ("mechanism", role), (name, section.explain), settings, f"{role} is compared")


def _refuse_misnamed_texture(sweep: StudySweep, compared: Sequence[Arm[Settings]]) -> None:
    """All arms but the reals are told as one pool whose texture differs, at one dose and training."""
    section = sweep.file.texture
    if section is None:
        return
    settings = {arm.name: arm.settings for arm in compared}
    raw = settings[section.raw]
    if raw.synthesise.count == 0:
        raise sweep.error(("texture", "raw"), f"{section.raw!r} has no synthetic samples")
    for keys, name in section.places():
        kinds = [treatment.kind for treatment in settings[name].treat.treatments]
        if keys == ("new_real",) and kinds != ["fresh-real"]:
            text = f"must be an arm of fresh-real slices alone, and {name!r} is not"
            raise sweep.error(("texture", *keys), f"new_real {text}; give it treat.treatments: [{{kind: fresh-real}}]")
        if keys == ("blotched",) and (len(kinds) < 2 or kinds[0] != "fresh-real"):
            text = (
                f"blotched must be new real slices with another look, and {name!r} is not; give it treat.treatments: "
            )
            raise sweep.error(("texture", *keys), f"{text}[{{kind: fresh-real}}, {{kind: imitate, target: pool}}]")
        _require_same_dose(sweep, ("texture", *keys), (name, section.raw), settings, "texture is compared")


def _require_same_dose(
    sweep: StudySweep, place: Key, pair: tuple[str, str], settings: Mapping[str, Settings], compared: str
) -> None:
    """Refuse two arms that differ in more than what their pools are made of."""
    ours, theirs = pair
    if dose(settings[ours]) != dose(settings[theirs]):
        text = f"{ours!r} and {theirs!r} differ in synthesise.count or in segment"
        raise sweep.error(place, f"{text}; {compared} at the same dose and training")


def dose(settings: Settings) -> tuple[object, ...]:
    """How many samples the arm trains on and how, whatever a filter chose them by."""
    unfiltered = {"min_iou", "filter_mode", "filter_by", "max_pixel_loss", "pixels_by"}
    return settings.synthesise.count, settings.synthesise.unit, settings.segment.model_dump(exclude=unfiltered)


def _refuse_cuda_without_gpus(sweep: StudySweep, compared: Sequence[Arm[Settings]]) -> None:
    """Graphs and compiled phases need a CUDA device, which a GAN trial is only given where it asks for one."""
    asked = sweep.file.resources.get("gan")
    if asked is not None and asked.most_gpus > 0:
        return
    for field in ("cuda_graphs", "compiled"):
        arm = next((arm for arm in compared if getattr(arm.settings.gan, field)), None)
        if arm is not None:
            dotted = f"gan.{field}"
            place = sweep.place(("arms", arm.name, dotted), ("factors", dotted), ("fixed", "gan", field), ("fixed",))
            text = f"{dotted} needs a CUDA device, and GAN trials ask for none"
            raise sweep.error(place, f"{text}; set resources: {{gan: {{gpus: 1}}}}, or leave it off")


def _refuse_flips(sweep: StudySweep, compared: Sequence[Arm[Settings]], source: DataSource) -> None:
    """Generators may learn from mirrored slices only where somebody who knows the dataset said so."""
    if source.mirrored == "left-right":
        return
    for arm in compared:
        families = (family for family, _ in PIPELINES[arm.settings.gan.pipeline].generators.values())
        for family in families if arm.settings.synthesise.count > 0 else ():
            name = family.stage.name
            if getattr(getattr(arm.settings, name), "flip", False):
                dotted = f"{name}.flip"
                place = sweep.place(
                    ("arms", arm.name, dotted), ("factors", dotted), ("fixed", name, "flip"), ("fixed",)
                )
                raise sweep.error(
                    place,
                    f"{dotted} mirrors slices left to right, and dataset {sweep.base.data.dataset!r} does not declare "
                    "mirrored: left-right, or its slices are sagittal; leave flip out, or declare it in "
                    "medsweep.yaml or as data.mirrored if neither anatomy nor a class tells the sides apart",
                )


def _refuse_bad_contrasts(sweep: StudySweep, compared: Sequence[Arm[Settings]]) -> None:
    """Contrasts that could not be computed are refused before anything is trained for them."""
    names = [arm.name for arm in compared]
    for name, weights in sweep.analysis.contrasts.items():
        place = ("analysis", "contrasts", name)
        for arm in weights:
            if arm not in names:
                raise sweep.error(place, f"contrast {name!r}: no arm is called {arm!r}; {nearest(arm, names)}")
        if abs(sum(weights.values())) > 1e-9 or not any(weights.values()):
            total = sum(weights.values())
            raise sweep.error(place, f"contrast {name!r}: weights must add up to 0 and not all be 0, got {total:g}")


def _refuse_empty_factorial(sweep: StudySweep, compared: Sequence[Arm[Settings]]) -> None:
    """A factorial without an effect to test is refused before anything is trained for it."""
    if sweep.analysis.kind != "factorial":
        return
    try:
        factorial_effects(arm_infos(compared))
    except UserError as error:
        text = str(error).removeprefix("analysis.kind: factorial: ")
        raise sweep.error(("analysis", "kind"), f"kind: factorial: {text}; give factors two levels each") from None


def _refuse_absent_regions(sweep: StudySweep, source: DataSource) -> None:
    """A score of regions that the data set does not have would be found missing when all is trained."""
    primary = sweep.analysis.primary
    if primary.startswith(REGION) and not source.regions:
        text = f"primary: {primary} is of regions, and {sweep.base.data.dataset} has none"
        raise sweep.error(("analysis", "primary"), f"{text}; did you mean {primary.removeprefix(REGION)!r}?")
