"""Whose pool a measured law is read from, and what is refused of arms that ask for one."""

from collections.abc import Mapping, Sequence
from typing import Final

from medsweep.errors import UserError
from medsweep.mechanism import Mechanism
from medsweep.study.stages import Settings, StudySweep
from medsweep.sweep.arms import Arm, Replicate
from medsweep.texture import TextureArms
from medsweep.trainers.treatments import TreatSettings

PLAIN: Final = TreatSettings()
"""Nothing is done to a pool."""


def law_origins(mechanism: Mechanism | None, texture: TextureArms | None) -> dict[str, str]:
    """Arms that stand for the law of another arm's pool, each with that arm.

    Those are the arms of a mechanism's lattice, for the arm that is explained, and blotched slices, for ``raw``.
    """
    origins = {} if texture is None else {texture.blotched: texture.raw}
    return origins if mechanism is None else origins | dict.fromkeys(mechanism.lattice.values(), mechanism.explain)


def law_sources(arms: Sequence[Arm[Settings]], origins: Mapping[str, str]) -> Mapping[str, Settings]:
    """By name of each arm, the settings of the chain whose delivered pool it takes laws and look from.

    Those of ``law_origins`` take them from that arm, with all its treatments. Any other arm takes those of its own
    chain before its treatments.
    """
    settings = {arm.name: arm.settings for arm in arms}
    return {
        name: settings[origins[name]] if origins.get(name) in settings else untreated(own)
        for name, own in settings.items()
    }


def refuse_unmeasured_laws(
    sweep: StudySweep, compared: Sequence[Arm[Settings]], replicates: Sequence[Replicate]
) -> None:
    """Refuse arms that ask for a law which no assessment of the pool could tell, or plant it elsewhere.

    Raises:
        UserError: naming the arm and the reason.
    """
    origins = law_origins(sweep.file.mechanism, sweep.file.texture)
    sources = law_sources(compared, origins)
    validation = all(replicate.cut.has_validation for replicate in replicates)
    for arm in compared:
        source, laws = sources[arm.name], arm.settings.treat.laws
        if (laws or arm.name in origins) and _plants_a_look_elsewhere(arm.settings):
            place = sweep.place(("arms", arm.name), ("fixed", "treat"), ("arms",))
            text = (
                "gets the look of a pool by a rule that begins from slices of patients left out, and has none of them"
            )
            raise sweep.error(place, f"arm {arm.name!r} {text}; begin its treatments with fresh-real")
        if not laws or arm.settings.synthesise.count == 0:
            continue
        if "labels" in laws and source.treat.relabels:
            raise _refused(sweep, arm, "the masks of the pool are what a segmenter sees (relabel), so no misfit shows")
        judged_by_control = arm.settings.data.patients is None or source.assess.judge == "control"
        if "labels" in laws and judged_by_control and not validation:
            mend = (
                "name validation patients in replicates.file"
                if sweep.file.replicates.file
                else "set replicates.validation"
            )
            raise _refused(sweep, arm, f"no real slices are left that the judge has not seen; {mend}")


def _plants_a_look_elsewhere(settings: Settings) -> bool:
    """Whether the look of a pool goes to other real slices than those that its law is measured beside."""
    treat, leaves_out = settings.treat, settings.data.patients is not None
    lent = any(treatment.takes_left_out for treatment in treat.treatments)
    imitates = any(treatment.imitates_pool for treatment in treat.treatments)
    return imitates and treat.replaces_pool and leaves_out and not lent and settings.synthesise.count > 0


def _refused(sweep: StudySweep, arm: Arm[Settings], reason: str) -> UserError:
    place = sweep.place(("arms", arm.name), ("fixed", "treat"), ("arms",))
    return sweep.error(place, f"arm {arm.name!r} asks for the label law of a pool, which cannot be measured: {reason}")


def untreated(settings: Settings) -> Settings:
    """The same chain before its treatments."""
    return settings if settings.treat == PLAIN else settings.model_copy(update={"treat": PLAIN})
