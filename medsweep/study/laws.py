"""Whose pool a measured law is read from, and what is refused of arms that ask for one."""

from collections.abc import Mapping, Sequence

from medsweep.errors import UserError
from medsweep.mechanism import Mechanism
from medsweep.study.stages import Settings, StudySweep
from medsweep.sweep.arms import Arm, Replicate
from medsweep.texture import TextureArms
from medsweep.trainers.treatments import TreatSettings


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
    """Refuse arms that ask for a law which no assessment of the pool could tell.

    Raises:
        UserError: naming the arm and the reason.
    """
    sources = law_sources(compared, law_origins(sweep.file.mechanism, sweep.file.texture))
    validation = all(replicate.cut.has_validation for replicate in replicates)
    for arm in compared:
        source, laws = sources[arm.name], arm.settings.treat.laws
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


def _refused(sweep: StudySweep, arm: Arm[Settings], reason: str) -> UserError:
    place = sweep.place(("arms", arm.name), ("fixed", "treat"), ("arms",))
    return sweep.error(place, f"arm {arm.name!r} asks for the label law of a pool, which cannot be measured: {reason}")


def untreated(settings: Settings) -> Settings:
    """The same chain before its treatments."""
    return settings.model_copy(update={"treat": TreatSettings()})
