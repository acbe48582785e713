"""Names that are no text: bytes of another encoding than UTF-8, as old archives leave behind."""

import os
from dataclasses import replace

from medsweep.data.dataset import Case, Finding, Listing


def printable(name: str) -> str:
    """``name`` with a backslash code for each byte that is no UTF-8."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def legible(listing: Listing) -> Listing:
    """``listing`` without the cases whose names no table could hold; an error says what to rename."""
    odd = {case.id: finding for case in listing.cases if (finding := _odd_name(case)) is not None}
    told = (
        replace(one, case=printable(one.case), file=printable(one.file), what=printable(one.what))
        for one in listing.findings
    )
    kept = tuple(case for case in listing.cases if case.id not in odd)
    return replace(listing, cases=kept, findings=(*told, *odd.values()))


def _odd_name(case: Case) -> Finding | None:
    for path in case.files:
        if (shown := printable(str(path))) != str(path):
            return Finding("error", printable(case.id), shown, "the name is not in UTF-8; rename the file or folder")
    return None
