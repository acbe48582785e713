"""Whose a case is: the patient above cases that are visits, frames or sides of one person."""

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from medsweep.data.dataset import Finding, Listing
from medsweep.data.layouts.description import PatientColumn
from medsweep.errors import UserError, nearest

PLACE = re.compile(
    r"(site|cent(er|re)|clinic|hospital|scanner|vendor|batch|cohort|dataset|task|fold|part|set)(?![a-z])", re.I
)
"""Beginnings of ids that are of no person, as a rule."""

MOST_VISITS = 10
"""Cases that one person has at most, as a rule."""


def with_patients(listing: Listing, rule: str | PatientColumn | None, root: Path) -> Listing:
    """``listing`` whose case ids, in findings too, are ``PATIENT/CASE``, as ``rule`` says.

    A case to which the rule gives no patient is an error finding and is not used.

    Raises:
        UserError: the table of the rule cannot be read, or ids hold a patient already.
    """
    ids = [case.id for case in listing.cases]
    if rule is None:
        return replace(listing, findings=(*listing.findings, *_look_like_visits(ids, root)))
    if already := next((id_ for id_ in ids if "/" in id_), None):
        raise UserError(
            f"the ids of {root} name the patient already, as in {already!r}; remove patient: from the description"
        )
    patient = _by_pattern(rule) if isinstance(rule, str) else _by_column(rule, root)
    owners = {id_: patient(id_) for id_ in dict.fromkeys([*ids, *(finding.case for finding in listing.findings)])}
    lost = [Finding("error", id_, str(root), _without(rule)) for id_ in ids if owners[id_] is None]

    def named(id_: str) -> str:
        return f"{owner}/{id_}" if (owner := owners.get(id_)) else id_

    return replace(
        listing,
        cases=tuple(replace(case, id=named(case.id)) for case in listing.cases if owners[case.id]),
        findings=(*(replace(finding, case=named(finding.case)) for finding in listing.findings), *lost),
        recognised=(*listing.recognised, *(file for case in listing.cases for file in case.files)),
    )


def _look_like_visits(ids: Sequence[str], root: Path) -> list[Finding]:
    """A warning where ids share beginnings with a number, as ``patient001_frame01`` and ``patient001_frame12`` do."""
    stems = Counter(
        stem for id_ in ids if re.search(r"\d", stem := re.split(r"[_-](?=[^_-]+$)", id_)[0]) and stem != id_
    )
    shared = [stem for stem, count in stems.items() if count > 1]
    many = sum(stems.values()) > max(len(stems), MOST_VISITS) * len(stems)
    if len(stems) < 2 or not shared or many or PLACE.match(shared[0]) or any("/" in id_ for id_ in ids):
        return []
    what = (
        f"{len(ids)} cases look like those of {len(stems)} patients ({shared[0]} has {stems[shared[0]]}); if they are, "
        "say so with patient: in medsweep.yaml, or one person is trained on and tested"
    )
    return [Finding("warning", "-", str(root), what)]


def _without(rule: str | PatientColumn) -> str:
    if isinstance(rule, str):
        return f"the id does not match patient: {rule!r}, so nothing tells whose case this is"
    row = f"no row with this id under {rule.case!r} and a name under {rule.patient!r}"
    return f"{rule.file} has {row}, so nothing tells whose case this is"


def _by_pattern(rule: str) -> Callable[[str], str | None]:
    before, after = (".*".join(map(re.escape, part.split("*"))) for part in rule.split("{patient}"))
    # The shortest name that fits, so that {patient}_* stops at the first underscore.
    expression = re.compile(before + "(?P<patient>[^/]+?)" + after)

    def patient(id_: str) -> str | None:
        match = expression.fullmatch(id_)
        return match["patient"] if match else None

    return patient


def _by_column(rule: PatientColumn, root: Path) -> Callable[[str], str | None]:
    path = root / rule.file
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        beside = (child.name for child in root.iterdir() if child.is_file())
        raise UserError(f"no file {path}, which patient names; {nearest(rule.file, beside)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}, which patient names, cannot be read as text ({error})") from None
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    rows = list(csv.DictReader(text.splitlines(), restval="", delimiter=delimiter))
    columns = list(rows[0]) if rows else []
    for name in (rule.case, rule.patient):
        if name not in columns:
            raise UserError(f"{path} has no column {name!r}; {nearest(name, columns)}")
    return _owners(((row[rule.case], row[rule.patient]) for row in rows), path).get


def _owners(pairs: Iterable[tuple[str, str]], path: Path) -> dict[str, str]:
    owners: dict[str, str] = {}
    for case, owner in ((case.strip(), owner.strip()) for case, owner in pairs):
        if "/" in owner:
            raise UserError(f"{path} gives {case!r} the patient {owner!r}; a patient's name holds no slash")
        if owner and owners.setdefault(case, owner) != owner:
            raise UserError(f"{path} gives {case!r} to {owners[case]!r} and to {owner!r}; a case is of one patient")
    return owners
