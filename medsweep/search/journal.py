"""A search as a journal of Optuna, so that its own tools, such as ``optuna-dashboard``, can show it.

Written anew from the record each time, and whole: a torn line in a journal would leave it unreadable for good. The same
record gives the same lines, so that a tool that follows the file finds new lines at its end.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from medsweep.search.record import Event, suggested
from medsweep.search.results import result_of
from medsweep.search.sampler import directions_of, distributions_of, encoded, ending
from medsweep.sweep.space import Params, SearchSection, Space, active

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.storages.journal import BaseJournalBackend


def journal_of(
    sweep: str, section: SearchSection, space: Space, events: Sequence[Event], points: Mapping[str, Params]
) -> str:
    """Text of the journal; ``points`` are those of the space by the name of their arm, and others are left out.

    An arm that is tried again is a new trial there, since Optuna's trials end once.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    backend = _Lines(events[0].at if events else "")
    storage = optuna.storages.JournalStorage(cast("BaseJournalBackend", backend))
    study, numbers, asked = storage.create_new_study(directions_of(section), sweep), dict[str, int](), 0
    for event in events:
        backend.at = event.at
        names = [event.arm]
        if event.kind == "asked":
            names = [suggested(asked + number) for number in range(len(event.points))]
            asked += len(names)
        if event.kind == "forgotten":
            numbers.pop(event.arm, None)
        for name in names:
            if name in points and name not in numbers:
                numbers[name] = storage.create_new_trial(study, _begun(name, space, points[name]))
        if event.kind == "told" and event.arm in points:
            _tell(storage, numbers[event.arm], section, event)
    return backend.text()


def _begun(name: str, space: Space, params: Params) -> Any:
    import optuna

    return optuna.trial.create_trial(
        state=optuna.trial.TrialState.RUNNING,
        params=encoded(space, params),
        distributions=distributions_of(active(space, params)),
        user_attrs={"arm": name},
    )


def _tell(storage: "BaseStorage", number: int, section: SearchSection, event: Event) -> None:
    import optuna

    result = result_of(section, event, {})
    if result is None or storage.get_trial(number).state.is_finished():
        return
    state, values = ending(result)
    constrained = optuna.trial.create_trial(state=state, values=values, constraints=dict(result.excess))
    for key, value in constrained.system_attrs.items():
        storage.set_trial_system_attr(number, key, value)
    for key, text in (("outcome", result.outcome), ("message", result.message)):
        storage.set_trial_user_attr(number, key, text)
    storage.set_trial_state_values(number, state, values)


class _Lines:
    """Journal in memory. What differs from call to call, times and the writer, is replaced by what the record says."""

    def __init__(self, at: str) -> None:
        self.at = at
        self._logs: list[dict[str, Any]] = []
        self._times: list[str] = []

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """Logs from a number on."""
        return self._logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Take logs, and the time of the event that they are about."""
        self._logs += logs
        self._times += [self.at] * len(logs)

    def text(self) -> str:
        """One log per line, as Optuna's file backend writes them."""
        rows = []
        for log, at in zip(self._logs, self._times, strict=True):
            known = {"worker_id": "medsweep", "datetime_start": at, "datetime_complete": at}
            row = {key: known.get(key, value) for key, value in log.items()}
            rows.append(json.dumps(row, separators=(",", ":")) + "\n")
        return "".join(rows)
