"""Suggestions of Optuna, asked and told in memory: a pure function of the section and of the results so far.

The study is built anew for every batch from what is known, in the order of the suggestions, so no journal is kept and
nothing depends on which trial ended first. Another version of Optuna may suggest other points from the same results.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from medsweep.identity import derive_seed
from medsweep.sweep.space import Choices, Params, Range, SearchSection, Space

if TYPE_CHECKING:
    import optuna

GENERATIONS: Final = 5
"""Generations of NSGA-II among the suggestions; Optuna's own population of 50 would leave a short search random."""
SMALLEST_POPULATION: Final = 4


@dataclass(frozen=True)
class Told:
    """What a point of the space came to."""

    params: Params
    state: Literal["complete", "failed", "pruned"]
    values: tuple[float, ...] = ()
    """One per objective, of a complete one."""
    excess: Mapping[str, float] = field(default_factory=dict)
    """Per constraint, how far it is exceeded; 0 or less is feasible."""

    @property
    def feasible(self) -> bool:
        """Whether it was measured and keeps all constraints."""
        return self.state == "complete" and all(each <= 0 for each in self.excess.values())


def ask(section: SearchSection, space: Space, told: Sequence[Told], count: int) -> list[Params]:
    """The next ``count`` points, given all results of earlier batches in the order of their suggestions."""
    study = study_of(section, space, told)
    kinds = {dotted: _distribution(domain) for dotted, domain in space.items()}
    return [
        {dotted: domain.read(raw[dotted]) for dotted, domain in space.items()}
        for raw in (study.ask(fixed_distributions=kinds).params for _ in range(count))
    ]


def study_of(section: SearchSection, space: Space, told: Sequence[Told]) -> "optuna.Study":
    """The study after ``told``, its sampler seeded by the number of results."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = _sampler(section, derive_seed("search", section.seed, len(told)) % 2**32)
    american = {"maximise": optuna.study.StudyDirection.MAXIMIZE, "minimise": optuna.study.StudyDirection.MINIMIZE}
    directions = [american[objective.goal] for objective in section.objectives]
    study = optuna.create_study(directions=directions, sampler=sampler)
    states = {
        "complete": optuna.trial.TrialState.COMPLETE,
        "failed": optuna.trial.TrialState.FAIL,
        "pruned": optuna.trial.TrialState.PRUNED,
    }
    kinds = {dotted: _distribution(domain) for dotted, domain in space.items()}
    later = isinstance(sampler, optuna.samplers.NSGAIISampler)
    for number, each in enumerate(told):
        values = list(each.values) if each.state == "complete" else None
        study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.RUNNING if later else states[each.state],
                values=None if later else values,
                params={dotted: domain.told(each.params[dotted]) for dotted, domain in space.items()},
                distributions=kinds,
                constraints=dict(each.excess),
            )
        )
        if isinstance(sampler, optuna.samplers.NSGAIISampler):
            # A generation is given to trials while they run, and only to those.
            sampler.get_trial_generation(study, study.get_trials(deepcopy=False)[-1])
            study.tell(number, values, state=states[each.state])
    return study


def importances(section: SearchSection, space: Space, told: Sequence[Told]) -> dict[str, float]:
    """Share of each field in what sets the best tenth apart, of the first objective, summing to 1.

    PED-ANOVA (Watanabe, Bansal and Hutter 2023), Optuna's default.
    """
    import optuna

    study = study_of(section, space, [each for each in told if each.state == "complete"])
    sign = -1.0 if section.objectives[0].goal == "maximise" else 1.0
    with warnings.catch_warnings():
        # It says that low values are sought, which the sign has seen to.
        warnings.filterwarnings("ignore", message="PedAnovaImportanceEvaluator computes", category=UserWarning)
        shares = optuna.importance.get_param_importances(study, target=lambda trial: sign * float(trial.values[0]))
    return {name: float(share) for name, share in shares.items()}


def best_of(section: SearchSection, space: Space, told: Sequence[Told]) -> list[int]:
    """Indices of the best feasible results: one, or with two objectives the Pareto front, in the order told."""
    feasible = [number for number, each in enumerate(told) if each.feasible]
    if not feasible:
        return []
    study = study_of(section, space, [told[number] for number in feasible])
    best = study.best_trials if len(section.objectives) > 1 else [study.best_trial]
    return sorted(feasible[trial.number] for trial in best)


def _sampler(section: SearchSection, seed: int) -> "optuna.samplers.BaseSampler":
    import optuna

    if section.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if section.sampler == "nsga2":
        population = max(SMALLEST_POPULATION, section.suggestions // GENERATIONS)
        return optuna.samplers.NSGAIISampler(population_size=population, seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(multivariate=True, constant_liar=True, seed=seed)


def _distribution(domain: Range | Choices) -> "optuna.distributions.BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(domain, Choices):
        return CategoricalDistribution([domain.told(value) for value in domain.values])
    if domain.whole:
        step = int(domain.step or 1)
        return IntDistribution(int(domain.low), int(domain.high), log=domain.log, step=step)
    return FloatDistribution(domain.low, domain.high, log=domain.log, step=domain.step)
