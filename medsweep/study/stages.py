"""The pipeline: what a sweep may set of it, by section, and its stages by name. A new stage is entered here."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from pydantic import Field, ValidationError, create_model, field_validator, model_validator

from medsweep.analysis.table.reduction import AnalysisRules
from medsweep.config import Config
from medsweep.data import prepare
from medsweep.data.config import DataConfig, PrepareConfig
from medsweep.errors import UserError, nearest
from medsweep.metrics import SCORES
from medsweep.sweep.file import Schema, Sweep
from medsweep.trainers import treatments
from medsweep.trainers.assessment import config as assess_config
from medsweep.trainers.diagnosis import config as diagnose_config
from medsweep.trainers.diffusion.config import DiffusionSettings
from medsweep.trainers.generators import GeneratorFamily
from medsweep.trainers.scoring import config as score_config
from medsweep.trainers.segmentation import config as segment_config
from medsweep.trainers.segmentation.config import SegmentSettings, Unit
from medsweep.trainers.segmentation.networks import NETWORKS, OURS, SegmenterNetwork
from medsweep.trainers.stylegan2.config import GanSettings
from medsweep.trainers.synthesis import config as synthesis
from medsweep.trainers.synthesis import from_files
from medsweep.trainers.synthesis.pipelines import FAMILIES, OUR_FAMILIES, PIPELINES, ROLES, PipelineName
from medsweep.trial import Later, Stage
from medsweep.validation import explain


class DataSection(DataConfig):
    """``data:`` the dataset, its resolution, and how many training patients the study is allowed."""

    patients: int | None = Field(default=None, ge=1)
    """Training patients per fold. A smaller number is a part of a larger one; None takes all."""


class GanSection(GanSettings):
    """``gan:`` the generators of an arm."""

    pipeline: PipelineName = "mc-sg"
    """``b-sg``: one generator for pairs; ``mc-sg``: masks, then images; ``c-sg``: images for real training masks;
    ``c-spade``: the same with the generator of SPADE; ``b-dm`` and ``c-dm``: a diffusion model for pairs, or for images
    of real training masks; or the name of a pipeline that an installed package brings along."""


class SynthesiseSection(synthesis.SynthesiseSettings):
    """``synthesise:`` how much is made of what the generators learned."""

    count: int = Field(default=0, ge=0)
    """Synthetic patients or slices in the U-Net's training set; 0 is real data only."""
    unit: Unit = "slices"
    """What ``count`` counts; a synthetic patient has as many slices as a training patient on average."""
    folder: str | None = None
    """A folder of pairs made elsewhere, with its ``pool.yaml``, in place of generators. ``{fold}`` and ``{seed}`` in it
    are filled in; a relative one goes from the sweep file."""
    unknown_patients: bool = False
    """Whether ``folder`` may leave unknown whom its generator learned from; the report repeats it as a limit."""
    headroom: float = Field(default=2.0, ge=1)
    """With an IoU filter, samples made per sample asked for; an arm that still falls short ends as pool-dry."""

    @field_validator("folder")
    @classmethod
    def _names_fold_or_seed(cls, folder: str | None) -> str | None:
        for name in re.findall(r"\{(.*?)\}", folder or ""):
            if name not in ("fold", "seed"):
                raise ValueError(f"no {{{name}}} is filled in; {nearest(name, ('fold', 'seed'))}")
        return folder


class AssessSection(assess_config.AssessSettings):
    """``assess:`` scores of the pools."""

    enabled: bool = True
    """Whether pools are assessed that no filter needs scores of; those of diffusion models always are."""
    judge: Literal["control", "left-out", "both"] | None = None
    """Whose view masks are compared with: ``control``, its segmenter; ``left-out``, the same fitted on the training
    patients that the study leaves out, whom no generator has seen; ``both``: each of them. None takes ``left-out``
    where ``data.patients`` leaves any. Filters by IoU take ``control``, and so do pools of left-out patients' own
    slices (``fresh-real``, ``warp-real``) and of generators that began from another (``init_from``)."""


class OurSections(Config):
    """All that an arm may set, by section."""

    data: DataSection
    """The dataset, its slices, and how many training patients the study is allowed."""
    gan: GanSection = GanSection()
    """The generators: which ones make pairs, and how StyleGAN2 is trained."""
    diffusion: DiffusionSettings = DiffusionSettings()
    """The diffusion models, where ``gan.pipeline`` names one."""
    synthesise: SynthesiseSection = SynthesiseSection()
    """How much is made of what the generators learned."""
    treat: treatments.TreatSettings = treatments.TreatSettings()
    """What is done to a pool before the U-Net sees it."""
    assess: AssessSection = AssessSection()
    """How pools are scored."""
    segment: SegmentSettings = SegmentSettings()
    """The U-Net and its training."""

    @model_validator(mode="after")
    def _neighbours_are_real(self) -> Self:
        if self.segment.neighbours > 0 and self.synthesise.count > 0:
            raise ValueError(
                f"segment.neighbours ({self.segment.neighbours}) reads the slices beside each slice, and synthetic "
                "samples have none; set it to 0, or synthesise.count to 0"
            )
        return self

    @model_validator(mode="after")
    def _masks_are_real_where_they_must_be(self) -> Self:
        kinds = [treatment.kind for treatment in self.treat.treatments if treatment.needs_real_masks]
        if kinds and not self.treat.replaces_pool and self.synthesise.count > 0:
            if self.synthesise.folder is not None:
                raise ValueError(
                    f"treatment {kinds[0]!r} needs the real slice of each mask, and samples of synthesise.folder have "
                    "none; use gan.pipeline: c-sg"
                )
            if not PIPELINES[self.gan.pipeline].paints_real_masks:
                raise ValueError(
                    f"treatment {kinds[0]!r} needs the real slice of each mask, and gan.pipeline {self.gan.pipeline!r} "
                    "generates masks; use c-sg"
                )
            if not self.synthesise.perturb.changes_nothing:
                raise ValueError(f"treatment {kinds[0]!r} needs real masks as they are; remove synthesise.perturb")
        return self

    def network_options(self) -> dict[str, Any]:
        """Settings of the segmenter's own, of the section named like the network."""
        name = self.segment.network
        return {} if NETWORKS[name].settings is None else getattr(self, name).model_dump(mode="json")

    def of_family(self, family: GeneratorFamily) -> Config:
        """What the generators of a family are trained with: its own fields of the section named like its stage."""
        section = getattr(self, family.stage.name)
        return family.settings(**{name: getattr(section, name) for name in family.settings.model_fields})


def with_packages(
    ours: type[OurSections], families: Mapping[str, GeneratorFamily], networks: Mapping[str, SegmenterNetwork]
) -> type[OurSections]:
    """``ours`` with a section for each family that is not ours, named like its stage, and for each network's settings.

    Raises:
        UserError: there is such a section, settings are no ``Config`` or have no default, or a network sets a field of
            ``segment`` to what it cannot be.
    """
    brought = [
        ("generator family", "stage", name, family.settings)
        for name, family in families.items()
        if family is not OUR_FAMILIES.get(name)
    ]
    brought += [("network", "entry point", name, each.settings) for name, each in networks.items() if each.settings]
    for name, each in networks.items():
        if each is not OURS.get(name):
            _require_values(name, {**each.defaults, **each.recipe})
    more: dict[str, Any] = {}
    for what, named_by, name, settings in brought:
        if name in ours.model_fields or name in more:
            raise UserError(f"a {what} is called {name!r}, as a section of sweep files is; rename its {named_by}")
        if not (isinstance(settings, type) and issubclass(settings, Config)):
            raise UserError(f"the settings of the {what} {name!r} are no Config; derive them from it")
        try:
            more[name] = (settings, settings())
        except ValidationError as error:
            text = f"the settings of the {what} {name!r} must all have defaults"
            raise UserError(f"{text}: {explain(error, settings)[1]}") from None
    made: type[OurSections] = create_model("Settings", __base__=ours, __module__=__name__, __doc__=ours.__doc__, **more)
    return made


def _require_values(network: str, values: Mapping[str, Any]) -> None:
    """Refuse what a network sets fields of ``segment`` to, where they cannot have such values."""
    fields = {name: field for name, field in SegmentSettings.model_fields.items() if name in values}
    rules = create_model("Recipe", __base__=Config, **{name: (each.annotation, each) for name, each in fields.items()})  # type: ignore[call-overload]
    try:
        rules(**{name: values[name] for name in fields})
    except ValidationError as error:
        said = explain(error, rules)[1]
        raise UserError(f"network {network!r} sets fields of segment to what they cannot be: {said}") from None


def by_name(stages: Sequence[Stage]) -> dict[str, Stage]:
    """Stages by their names.

    Raises:
        UserError: two have one name.
    """
    names = Counter(stage.name for stage in stages)
    if twice := next((name for name, count in names.items() if count > 1), None):
        raise UserError(f"a generator family is called {twice!r}, as a stage is; rename its stage")
    return {stage.name: stage for stage in stages}


if TYPE_CHECKING:

    class Settings(OurSections):
        """All that an arm may set, by section, those of installed generators and networks included."""

else:
    Settings = with_packages(OurSections, FAMILIES, NETWORKS)


SEGMENT: Final = Later("medsweep.trainers.segmentation.train", "run")

STAGES: Final[Mapping[str, Stage]] = by_name(
    (
        Stage(name="prepare", version=3, config=PrepareConfig, run=prepare.run, hours=prepare.hours, guessed_mib=200),
        *(family.stage for family in FAMILIES.values()),
        Stage(
            name="synthesise",
            version=5,
            config=synthesis.SynthesiseConfig,
            run=Later("medsweep.trainers.synthesis.synthesise", "run"),
            hours=synthesis.hours,
            gpu_hours=synthesis.gpu_hours,
            probe=synthesis.probe,
            sized_by=ROLES,
            guessed_mib=50,
        ),
        Stage(
            name="import",
            version=1,
            config=from_files.ImportConfig,
            run=from_files.run,
            hours=from_files.hours,
            guessed_mib=50,
        ),
        Stage(
            name="treat",
            version=6,
            config=treatments.TreatConfig,
            run=Later("medsweep.trainers.treatments.run", "run"),
            hours=treatments.hours,
            gpu_hours=treatments.gpu_hours,
            probe=treatments.probe,
            sized_by=frozenset({"reference"}),
            guessed_mib=50,
        ),
        Stage(
            name="judge",
            version=1,
            config=segment_config.JudgeConfig,
            run=SEGMENT,
            hours=segment_config.hours,
            gpu_hours=segment_config.gpu_hours,
            probe=segment_config.probe,
            guessed_mib=5,
            length="segment.steps",
        ),
        Stage(
            name="embed",
            version=8,
            config=assess_config.EmbedConfig,
            run=Later("medsweep.trainers.assessment.assess", "embed"),
            hours=assess_config.embed_hours,
            gpu_hours=assess_config.embed_gpu_hours,
            probe=assess_config.embed_probe,
            sized_by=frozenset({"judge"}),
            guessed_mib=5,
        ),
        Stage(
            name="assess",
            version=14,
            config=assess_config.AssessConfig,
            run=Later("medsweep.trainers.assessment.assess", "run"),
            hours=assess_config.hours,
            gpu_hours=assess_config.gpu_hours,
            probe=assess_config.probe,
            sized_by=frozenset({"judge"}),
        ),
        Stage(
            name="profile",
            version=2,
            config=assess_config.AssessConfig,
            run=Later("medsweep.trainers.assessment.profile", "run"),
            hours=assess_config.hours,
            gpu_hours=assess_config.gpu_hours,
            probe=assess_config.probe,
            sized_by=frozenset({"judge"}),
            guessed_mib=1,
        ),
        Stage(
            name="segment",
            version=4,
            config=segment_config.SegmentConfig,
            run=SEGMENT,
            hours=segment_config.hours,
            gpu_hours=segment_config.gpu_hours,
            probe=segment_config.probe,
            reads_prefix=frozenset({"pool", "scores"}),
            guessed_mib=5,
            length="segment.steps",
            of_arm=True,
        ),
        Stage(
            name="diagnose",
            version=4,
            config=diagnose_config.DiagnoseConfig,
            run=Later("medsweep.trainers.diagnosis.diagnose", "run"),
            hours=diagnose_config.hours,
            gpu_hours=diagnose_config.gpu_hours,
            probe=diagnose_config.probe,
            sized_by=frozenset({"network", "reference"}),
            reads_prefix=frozenset({"pool", "scores"}),
            guessed_mib=0.1,
            of_arm=True,
        ),
        Stage(
            name="score",
            version=3,
            config=score_config.ScoreConfig,
            run=Later("medsweep.trainers.scoring.score", "run"),
            hours=score_config.hours,
            gpu_hours=score_config.gpu_hours,
            probe=score_config.probe,
            sized_by=frozenset({"network"}),
            of_arm=True,
        ),
    )
)


class AnalysisSection(AnalysisRules):
    """``analysis:`` the rules, on a metric that score measures."""

    primary: str = Field(default="dice", json_schema_extra={"enum": list(SCORES)})
    """The one metric that carries verdicts; every other is exploratory."""

    @field_validator("primary")
    @classmethod
    def _is_measured(cls, primary: str) -> str:
        if primary not in SCORES:
            raise ValueError(f"no score of a segmentation is called so; {nearest(primary, SCORES)}")
        return primary


SCHEMA: Final = Schema(settings=Settings, stages=tuple(STAGES), analysis=AnalysisSection)

StudySweep = Sweep[Settings, AnalysisSection]
"""A sweep of this pipeline."""
