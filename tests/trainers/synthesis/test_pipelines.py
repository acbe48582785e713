from typing import Literal, get_args

import pytest

from medsweep.config import require_exhaustive
from medsweep.data.folds import Fold
from medsweep.study.stages import STAGES, Settings
from medsweep.trainers.synthesis.pipelines import FAMILIES, PIPELINES, PipelineName

GENERATORS = [
    pytest.param(family, variant, id=f"{name}, {role}")
    for name, pipeline in PIPELINES.items()
    for role, (family, variant) in pipeline.generators.items()
]


def test_every_pipeline_that_a_sweep_can_name_is_registered() -> None:
    assert list(PIPELINES) == list(get_args(PipelineName))


@pytest.mark.parametrize("table", [{"one": 1}, {"one": 1, "two": 2, "three": 3}])
def test_a_forgotten_entry_is_named_at_import(table: dict[str, int]) -> None:
    with pytest.raises(RuntimeError, match=r"TABLE has \['one'.*belongs to \['one', 'two'\]"):
        require_exhaustive("TABLE", table, Literal["one", "two"])


@pytest.mark.parametrize(("family", "variant"), GENERATORS)
def test_every_generator_of_a_pipeline_can_be_planned_from_its_section(family, variant) -> None:
    settings = Settings.model_construct(**{name: info.default for name, info in Settings.model_fields.items()})
    config = family.resolve(settings.of_family(family), variant, Fold(index=0, of=2), 3, 32)
    assert isinstance(config, family.stage.config)
    assert (config.label, config.fold.index, config.training_seed, config.side_px) == (variant, 0, 3, 32)
    assert family.stage.hours(config) > family.stage.gpu_hours(config) > 0


def test_families_are_stages_and_synthesis_is_sized_by_their_generators() -> None:
    assert all(STAGES[name] is family.stage for name, family in FAMILIES.items())
    assert STAGES["synthesise"].sized_by == {role for pipeline in PIPELINES.values() for role in pipeline.generators}
