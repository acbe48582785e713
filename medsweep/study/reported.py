"""All that a report is made of, before anything is computed; written anew, or shown as it lies there."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from medsweep.execution.driver import Failure
from medsweep.files import sha256_of
from medsweep.identity import identity
from medsweep.planning.cost import StageCost
from medsweep.store.manifest import DamagedError, Manifest
from medsweep.store.store import Store
from medsweep.study import made_report
from medsweep.study.stages import Settings, StudySweep
from medsweep.sweep.plan import Decision, Plan
from medsweep.tracking.mirror import Mirror

# A report needs twice as many packages as a plan, so they are imported where one is made.
if TYPE_CHECKING:
    from medsweep.analysis.report.page import Format
    from medsweep.analysis.stats.sequential import Look
    from medsweep.analysis.study.analyse import Analysis

READ: Final = (".json", ".parquet", ".png")
"""Ends of the names of files in the store that a report reads."""


@dataclass(frozen=True)
class Reported:
    """A sweep, the plan that its report tells of, and what the store says of the trials."""

    sweep: StudySweep
    plan: Plan[Settings]
    store: Store
    decisions: Mapping[str, Decision]
    failures: Sequence[Failure]
    costs: Sequence[StageCost]
    limits: Sequence[str]
    """What the report says among its limits."""
    look: "Look | None"
    formats: "Sequence[Format]"

    def write(self, folder: Path, *, ran: Mapping[str, int], command: str) -> "tuple[Analysis, Path]":
        """Write tables, statistics and report, and beside them what they were made from."""
        from medsweep.study.report import make_report, make_tables
        from medsweep.study.tables import write_tables

        made_from = self.made_from  # before anything is read, so that what changes meanwhile is seen by the next run
        made_report.forget(folder)
        tables = make_tables(self.sweep, self.plan, self.store)
        paths = write_tables(tables, folder)
        analysis, page = make_report(
            self.sweep,
            self.plan,
            self.store,
            tables,
            folder,
            stage_costs=self.costs,
            ran=ran,
            decisions=self.decisions,
            failures=self.failures,
            command=command,
            limits=self.limits,
            look=self.look,
            formats=self.formats,
        )
        made_report.keep(folder, made_from, page, paths, made_report.verdicts_of(analysis))
        return analysis, page

    def kept(self, folder: Path) -> made_report.MadeReport | None:
        """The report in ``folder``, if it would be written alike but for the hour and the command; else None."""
        return made_report.kept(folder, self.made_from)

    @cached_property
    def made_from(self) -> str | None:
        """Digest of all that the report shows, but the hour and the command; None where a file in the store is harmed.

        That is the sweep, its plan, what the store says of each trial, failures, costs, limits and the code.
        """
        plan = self.plan
        published: dict[str, Manifest] = {}
        for digest, manifest in self.store.look((trial.stage, each) for each, trial in plan.trials.items()).items():
            if isinstance(manifest, DamagedError) or self._is_harmed(manifest):
                return None
            published[digest] = manifest
        told = {
            "code": made_report.code(),
            "sweep": self.sweep.in_full(),
            "store": str(self.store),
            "arms": [(arm.name, identity(arm.settings), dict(arm.levels), arm.is_control) for arm in plan.arms],
            "leaves": [(arm, identity(at.cut), at.seed, leaf) for (arm, at), leaf in plan.leaves.items()],
            "trials": [(digest, trial.stage, dict(trial.inputs)) for digest, trial in plan.trials.items()],
            "extras": sorted(plan.extras),
            "aliases": dict(plan.aliases),
            "patients": plan.patients,
            "published": {digest: vars(manifest) for digest, manifest in published.items()},
            "decisions": {digest: (each.action, each.outcome) for digest, each in self.decisions.items()},
            "failures": [(each.trial.digest, each.label, each.outcome, each.message) for each in self.failures],
            "costs": [asdict(cost) for cost in self.costs],
            "limits": list(self.limits),
            "look": None if self.look is None else asdict(self.look),
            # the run of the report itself is written after the report, which does not tell of it
            "wandb": sorted(Mirror(self.store.root, self.sweep.name).runs("trial")),
            "formats": list(self.formats),
        }
        text = json.dumps(told, sort_keys=True, default=identity)
        return hashlib.sha256(text.encode()).hexdigest()

    def _is_harmed(self, manifest: Manifest) -> bool:
        """Whether a file of a trial that the report may read is gone or not what was published."""
        read = [name for name in manifest.files if name.endswith(READ)]
        folder = self.store.folder_with(manifest, READ)
        return any(not (folder / name).is_file() or sha256_of(folder / name) != manifest.files[name] for name in read)
