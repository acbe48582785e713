"""From scores of cases to scores of patients, who are the unit of all statistics."""

import pandas as pd

from medsweep.data.folds import patient_of

UNDEFINED = ("empty-both", "empty-reference", "ignored")
WORST_LAST = (*UNDEFINED, "ok", "missed", "diverged", "absent")
"""The status of a patient is the last of those that its cases have."""

SUMS = ("n_ref", "n_pred", "tp", "fp", "fn", "volume_ref_ml", "volume_pred_ml")
MEANS = ("value", "boundary_bias_mm", "diagonal_mm")


def of_patients(cases: pd.DataFrame) -> pd.DataFrame:
    """A table of scores with one row for all cases of a patient, in the same order and with the same columns.

    A value is the mean over the cases whose reference holds the structure, so a distance is infinite where it is in one
    of them. Cases whose distances ignored voxels make unknown have no part in those. Counts and volumes are sums over
    these cases. The status is ``missed`` where one of them is. A patient none of whose cases holds the structure has no
    value. A table without several cases of a patient comes back as it is.
    """
    owners = cases["patient"].map(patient_of)
    if owners.equals(cases["patient"]):
        return cases
    rows = cases.assign(patient=owners)
    keys = ["dataset", "arm", "fold", "seed", "patient", "class", "metric"]
    defined = ~rows["status"].isin(UNDEFINED)
    any_defined = defined.groupby([rows[key] for key in keys]).transform("any")
    kept = rows[defined | ~any_defined]
    ranked = kept.assign(status=kept["status"].map(WORST_LAST.index))
    how = {name: "first" for name in rows.columns if name not in keys}
    how |= dict.fromkeys(MEANS, "mean") | {"status": "max"}
    groups = ranked.groupby(keys, sort=False)
    merged = groups.agg(how).assign(**{name: groups[name].sum(min_count=1) for name in SUMS}).reset_index()
    return merged.assign(status=[WORST_LAST[rank] for rank in merged["status"]])[list(cases.columns)]
