"""The table of the pipelines that fill pools: ours, and those that installed packages bring along.

A package names its ``Pipeline`` by an entry point of the group ``medsweep.generators``. The entry point's name is what
``gan.pipeline`` takes, and the section of the sweep file is named like the stage of its family.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, cast

from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.plugins import brought_along
from medsweep.trainers.diffusion.family import DIFFUSION
from medsweep.trainers.generators import GeneratorFamily, Sampling, StepwiseGenerator, TrainedGenerator
from medsweep.trainers.stylegan2.family import STYLEGAN2
from medsweep.trainers.synthesis.recipe import Pipeline, images_for_real_masks, masks_then_images, pairs

GROUP: Final = "medsweep.generators"


def families_of(pipelines: Mapping[str, Pipeline]) -> dict[str, GeneratorFamily]:
    """The families that pipelines read, by the name of their stage.

    Raises:
        UserError: two of them have one name.
    """
    found: dict[str, GeneratorFamily] = {}
    for name, pipeline in pipelines.items():
        for family, _ in pipeline.generators.values():
            if found.setdefault(family.stage.name, family) is not family:
                text = f"pipeline {name!r} reads a generator family {family.stage.name!r}, and so is another called"
                raise UserError(f"{text}; rename the stage of one")
    return found


OURS: Final[dict[str, Pipeline]] = {
    "b-sg": Pipeline({"joint": (STYLEGAN2, "b-sg")}, pairs),
    "mc-sg": Pipeline({"mask": (STYLEGAN2, "m-sg"), "image": (STYLEGAN2, "c-sg")}, masks_then_images),
    "c-sg": Pipeline({"image": (STYLEGAN2, "c-sg")}, images_for_real_masks, paints_real_masks=True),
    "c-spade": Pipeline({"image": (STYLEGAN2, "c-spade")}, images_for_real_masks, paints_real_masks=True),
    "b-dm": Pipeline({"joint": (DIFFUSION, "b-dm")}, pairs),
    "c-dm": Pipeline({"image": (DIFFUSION, "c-dm")}, images_for_real_masks, paints_real_masks=True),
}

PIPELINES: Final[dict[str, Pipeline]] = OURS | brought_along(GROUP, Pipeline, "pipeline", OURS)
"""Every pipeline by the name that ``gan.pipeline`` takes."""

if TYPE_CHECKING:
    PipelineName: TypeAlias = str
else:
    PipelineName = Literal[tuple(PIPELINES)]

OUR_FAMILIES: Final[Mapping[str, GeneratorFamily]] = families_of(OURS)
"""The families of this project, whose sections every sweep file has."""

FAMILIES: Final[Mapping[str, GeneratorFamily]] = families_of(PIPELINES)
"""The families that some pipeline reads, by the name of their stage."""

ROLES: Final = frozenset(role for pipeline in PIPELINES.values() for role in pipeline.generators)


def load_generators(
    pipeline: Pipeline, inputs: Mapping[str, Path], slices: SliceSet, device: str, sampling: Sampling
) -> dict[str, TrainedGenerator]:
    """The trained generators of a pipeline by role; those that draw in steps do so as ``sampling`` says.

    Raises:
        UserError: a generator was fitted to other slices.
        AttributeError: the generator of a family that says ``stepwise`` has no ``with_sampling``.
    """
    generators = {role: family.load(inputs[role], device) for role, (family, _) in pipeline.generators.items()}
    prepared = (slices.resolution, len(slices.modalities), len(slices.classes))
    for role, generator in generators.items():
        if generator.fitted_to != prepared:
            raise UserError(
                f"the {role} generator was fitted to (pixels, modalities, classes) = {generator.fitted_to}, the "
                f"prepared slices have {prepared}; train it again on these slices"
            )
    return {
        role: cast(StepwiseGenerator, generators[role]).with_sampling(sampling) if family.stepwise else generators[role]
        for role, (family, _) in pipeline.generators.items()
    }
