"""Split files: the patients of every fold as JSON, in a study's own form or in nnU-Net's.

Our form is ``{"patients": [...], "scheme": "...", "folds": [{"train": [...], "validation": [...], "test": [...]}]}``,
of which ``folds`` is read and the rest is for people. nnU-Net's ``splits_final.json`` is a list of
``{"train": [...], "val": [...]}`` (Isensee et al. 2021, DOI 10.1038/s41592-020-01008-z); its ``val`` is what a fold's
network never saw and is scored on, which is our test group.
"""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from medsweep.config import Config
from medsweep.data.folds import Split, require_known, spelled_out
from medsweep.data.layouts.dataset_json import without_twins
from medsweep.errors import UserError
from medsweep.validation import explain
from medsweep.yamlfile import read_text


class _Published(Config):
    patients: tuple[str, ...] = ()
    scheme: str = ""
    folds: tuple[dict[str, Any], ...]


def read_splits(path: Path, patients: Sequence[str]) -> tuple[Split, ...]:
    """The folds of a JSON file in file order. A patient that a fold does not name is not used in it.

    A name is that of a case, of a patient with all its cases, or of a case without its patient.

    Raises:
        UserError: no such file, no JSON of either form, an empty group, or an id that is unknown, named twice, or in
            two groups of a fold.
    """
    try:
        content = json.loads(read_text(path, "split", "*.json"), object_pairs_hook=partial(without_twins, path))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}: not valid JSON: {error.msg}") from None
    folds = _folds(path, content)
    if not folds:
        raise UserError(f"{path} has no fold; give at least one with patients in 'train' and 'test'")
    return tuple(_split(fold, f"{path}: fold {number}", patients) for number, fold in enumerate(folds))


def _folds(path: Path, content: Any) -> Sequence[Any]:
    if isinstance(content, list):
        return [_from_nnunet(fold, f"{path}: fold {number}") for number, fold in enumerate(content)]
    try:
        return _Published.model_validate_json(json.dumps(content)).folds
    except ValidationError as error:
        raise UserError(f"{path}: {explain(error, _Published)[1]}") from None


def _from_nnunet(fold: Any, where: str) -> dict[str, Any]:
    if not isinstance(fold, dict) or set(fold) != {"train", "val"}:
        keys = ", ".join(sorted(fold)) if isinstance(fold, dict) else type(fold).__name__
        raise UserError(f"{where} must have the keys train and val, as nnU-Net's list of folds does, got {keys}")
    return {"train": fold["train"], "test": fold["val"]}


def _split(fold: Any, where: str, patients: Sequence[str]) -> Split:
    try:
        groups = Split.model_validate_json(json.dumps(fold))
        groups = Split(**spelled_out(groups.groups, patients))
        require_known(groups, patients)
    except ValidationError as error:
        raise UserError(f"{where}: {explain(error, Split)[1]}") from None
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None
    return groups
