"""Suggestions of Optuna: a pure function of the ``search:`` section and of the results so far.

The study is built anew in memory for every batch, in the order of the suggestions, so no journal is kept and nothing
depends on which trial ended first. Another version of Optuna may suggest other points from the same results.
"""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from medsweep.identity import derive_seed
from medsweep.search.results import Result
from medsweep.sweep.space import Choices, Params, Range, SearchSection, Space
from medsweep.trial import COMPLETE, PrunedError

if TYPE_CHECKING:
    import optuna

GENERATIONS: Final = 5
"""Generations of NSGA-II among the suggestions; Optuna's own population of 50 would leave a short search random."""
SMALLEST_POPULATION: Final = 4


def ask(section: SearchSection, space: Space, results: Sequence[Result], count: int) -> list[Params]:
    """The next ``count`` points, given all results of earlier batches in the order of their suggestions."""
    study = study_of(section, space, results)
    distributions = {dotted: _distribution(domain) for dotted, domain in space.items()}
    sampled = [study.ask(fixed_distributions=distributions).params for _ in range(count)]
    return [{dotted: domain.decode(raw[dotted]) for dotted, domain in space.items()} for raw in sampled]


def study_of(section: SearchSection, space: Space, results: Sequence[Result]) -> "optuna.Study":
    """The study after ``results``, its sampler seeded by their number."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = _sampler(section, derive_seed("search", section.seed, len(results)) % 2**32)
    american = {"maximise": optuna.study.StudyDirection.MAXIMIZE, "minimise": optuna.study.StudyDirection.MINIMIZE}
    directions = [american[objective.goal] for objective in section.objectives]
    study = optuna.create_study(directions=directions, sampler=sampler)
    states = {COMPLETE: optuna.trial.TrialState.COMPLETE, PrunedError.outcome: optuna.trial.TrialState.PRUNED}
    distributions = {dotted: _distribution(domain) for dotted, domain in space.items()}
    has_generations = isinstance(sampler, optuna.samplers.NSGAIISampler)
    for number, result in enumerate(results):
        values = list(result.values) if result.outcome == COMPLETE else None
        state = states.get(result.outcome, optuna.trial.TrialState.FAIL)
        study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.RUNNING if has_generations else state,
                values=None if has_generations else values,
                params={dotted: domain.encode(result.params[dotted]) for dotted, domain in space.items()},
                distributions=distributions,
                constraints=dict(result.excess),
            )
        )
        if isinstance(sampler, optuna.samplers.NSGAIISampler):
            # A generation is given to trials while they run, and only to those.
            sampler.get_trial_generation(study, study.get_trials(deepcopy=False)[-1])
            study.tell(number, values, state=state)
    return study


def importances(section: SearchSection, space: Space, results: Sequence[Result]) -> dict[str, float]:
    """Share of each field in what sets the best tenth apart, of the first objective, summing to 1.

    PED-ANOVA (Watanabe, Bansal and Hutter 2023), Optuna's default.
    """
    import optuna

    study = study_of(section, space, [result for result in results if result.outcome == COMPLETE])
    sign = -1.0 if section.objectives[0].goal == "maximise" else 1.0
    with warnings.catch_warnings():
        # It says that low values are sought, which the sign has seen to.
        warnings.filterwarnings("ignore", message="PedAnovaImportanceEvaluator computes", category=UserWarning)
        shares = optuna.importance.get_param_importances(study, target=lambda trial: sign * float(trial.values[0]))
    return {name: float(share) for name, share in shares.items()}


def best_of(section: SearchSection, space: Space, results: Sequence[Result]) -> list[int]:
    """Indices of the best feasible results, in their order: one, or with two objectives the Pareto front."""
    feasible = [number for number, result in enumerate(results) if result.feasible]
    if not feasible:
        return []
    study = study_of(section, space, [results[number] for number in feasible])
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
        return CategoricalDistribution([domain.encode(value) for value in domain.values])
    if domain.whole:
        step = int(domain.step or 1)
        return IntDistribution(int(domain.low), int(domain.high), log=domain.log, step=step)
    return FloatDistribution(domain.low, domain.high, log=domain.log, step=domain.step)
