"""Suggestions of Optuna: a pure function of the ``search:`` section and of what is known so far.

The study is built anew in memory each time, in the order in which its sampler heard of the results. Another version of
Optuna may suggest other points from the same results, which is why what was suggested is recorded (``record``).
"""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from medsweep.identity import derive_seed
from medsweep.search.cma import ask_cma
from medsweep.search.results import Result
from medsweep.sweep.space import Choices, Params, Range, SearchSection, Space, active
from medsweep.trial import COMPLETE, PrunedError

if TYPE_CHECKING:
    import optuna

GENERATIONS: Final = 5
"""Generations of NSGA-II among the suggestions; Optuna's own population of 50 would leave a short search random."""
SMALLEST_POPULATION: Final = 4


def ask(  # noqa: PLR0917
    section: SearchSection,
    space: Space,
    results: Sequence[Result],
    count: int,
    pending: Sequence[Params] = (),
    draw: int | str | None = None,
) -> list[Params]:
    """The next ``count`` points, given all results in the order in which they came.

    ``pending`` are points that were suggested and have no result yet. ``draw`` seeds the sampler and must differ from
    call to call; None takes the number of results.
    """
    if section.sampler == "cma-es":
        ranges = {dotted: domain for dotted, domain in space.items() if isinstance(domain, Range)}
        return ask_cma(section, ranges, results, count, _seed(section, len(results) if draw is None else draw))
    study = study_of(section, space, results, pending, draw)
    return [_sampled(study, space) for _ in range(count)]


def _sampled(study: "optuna.Study", space: Space) -> Params:
    """A point; fields that not every point has are drawn after the others, each by itself."""
    always = {dotted: domain for dotted, domain in space.items() if not domain.when}
    trial = study.ask(fixed_distributions=distributions_of(always))
    point: Params = {}
    for dotted, domain in space.items():
        if domain.is_active(point):
            point[dotted] = domain.decode(trial.params[dotted] if dotted in always else _drawn(trial, dotted, domain))
    return point


def _drawn(trial: "optuna.Trial", dotted: str, domain: Range | Choices) -> Any:
    if isinstance(domain, Choices):
        return trial.suggest_categorical(dotted, [domain.encode(value) for value in domain.values])
    if domain.whole:
        step = int(domain.step or 1)
        return trial.suggest_int(dotted, int(domain.low), int(domain.high), log=domain.log, step=step)
    return trial.suggest_float(dotted, domain.low, domain.high, log=domain.log, step=domain.step)


def study_of(
    section: SearchSection,
    space: Space,
    results: Sequence[Result],
    pending: Sequence[Params] = (),
    draw: int | str | None = None,
) -> "optuna.Study":
    """The study after ``results``, where ``pending`` points are still running."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    draw = len(results) if draw is None else draw
    sampler = _sampler(section, _seed(section, draw))
    study = optuna.create_study(directions=directions_of(section), sampler=sampler)
    has_generations = isinstance(sampler, optuna.samplers.NSGAIISampler)
    every, running = distributions_of(space), optuna.trial.TrialState.RUNNING
    known = [(result.params, *ending(result), dict(result.excess)) for result in results]
    for params, state, values, excess in (*known, *((params, running, None, {}) for params in pending)):
        study.add_trial(
            optuna.trial.create_trial(
                state=running if has_generations else state,
                values=None if has_generations else values,
                params=encoded(space, params),
                distributions={dotted: every[dotted] for dotted in active(space, params)},
                constraints=excess,
            )
        )
        if isinstance(sampler, optuna.samplers.NSGAIISampler):
            # A generation is given to trials while they run, and only to those.
            trial = study.get_trials(deepcopy=False)[-1]
            sampler.get_trial_generation(study, trial)
            if state != running:
                study.tell(trial.number, values, state=state)
    return study


def _seed(section: SearchSection, draw: int | str) -> int:
    return derive_seed("search", section.seed, draw) % 2**32


def directions_of(section: SearchSection) -> "list[optuna.study.StudyDirection]":
    """Which way each objective is better."""
    from optuna.study import StudyDirection

    american = {"maximise": StudyDirection.MAXIMIZE, "minimise": StudyDirection.MINIMIZE}
    return [american[objective.goal] for objective in section.objectives]


def ending(result: Result) -> "tuple[optuna.trial.TrialState, list[float] | None]":
    """State and values by which a sampler knows a result."""
    from optuna.trial import TrialState

    states = {COMPLETE: TrialState.COMPLETE, PrunedError.outcome: TrialState.PRUNED}
    return states.get(result.outcome, TrialState.FAIL), list(result.values) if result.outcome == COMPLETE else None


def encoded(space: Space, params: Params) -> Params:
    """A point in the form in which samplers know values."""
    return {dotted: domain.encode(params[dotted]) for dotted, domain in active(space, params).items()}


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


def ranking(section: SearchSection, space: Space, results: Sequence[Result]) -> list[int]:
    """Indices of the feasible results: the winner or the Pareto front first, then the others by the first objective."""
    sign, front = -1.0 if section.objectives[0].goal == "maximise" else 1.0, best_of(section, space, results)
    rest = [number for number, result in enumerate(results) if result.feasible and number not in front]
    return front + sorted(rest, key=lambda number: sign * results[number].values[0])


def _sampler(section: SearchSection, seed: int) -> "optuna.samplers.BaseSampler":
    import optuna

    if section.sampler in ("random", "cma-es"):  # the latter is asked elsewhere, and a study only ranks its results
        return optuna.samplers.RandomSampler(seed=seed)
    if section.sampler == "nsga2":
        population = max(SMALLEST_POPULATION, section.suggestions // GENERATIONS)
        return optuna.samplers.NSGAIISampler(population_size=population, seed=seed)
    if section.sampler == "gp":
        return optuna.samplers.GPSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(multivariate=True, constant_liar=True, seed=seed)


def distributions_of(space: Space) -> "dict[str, optuna.distributions.BaseDistribution]":
    """The searched fields as samplers know them."""
    return {dotted: _distribution(domain) for dotted, domain in space.items()}


def _distribution(domain: Range | Choices) -> "optuna.distributions.BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(domain, Choices):
        return CategoricalDistribution([domain.encode(value) for value in domain.values])
    if domain.whole:
        step = int(domain.step or 1)
        return IntDistribution(int(domain.low), int(domain.high), log=domain.log, step=step)
    return FloatDistribution(domain.low, domain.high, log=domain.log, step=domain.step)
