"""The base of every configuration: frozen, strict, and complete.

A field that says *where* or *how fast* a trial runs, never *what* it computes, is annotated with ``NOT_IDENTITY``
and stays out of the digest. A field that says how much of an endless, reproducible sequence is made (the size of a
pool: sample i is the same in every size) is annotated with ``EXTENT`` and stays out of the lineage. A field that
came later than published results, whose default computes what was computed before it, is annotated with ``LATER`` and
stays out of the digest while it has its default::

    class UNetConfig(Config):
        steps: int = Field(default=2000, ge=1)
        loader_workers: Annotated[int, NOT_IDENTITY] = 2
        snapshots: Annotated[int, LATER] = 0
"""

from collections.abc import Collection
from enum import Enum
from typing import Any, ClassVar, Final, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema


class FieldRole(Enum):
    """What a config field means for the address of a trial."""

    NOT_IDENTITY = "may change without changing the result"
    EXTENT = "is the length of a sequence whose head does not depend on it"
    LATER = "changes nothing while it has its default, and came after results were published"


NOT_IDENTITY: Final = FieldRole.NOT_IDENTITY
EXTENT: Final = FieldRole.EXTENT
LATER: Final = FieldRole.LATER


def _no_truth(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("should be a whole number, not true or false")
    return value


NUMBER: Final = BeforeValidator(_no_truth)
"""Beside a ``Literal`` of numbers, which would take false for 0, since Python calls the two equal."""


class Config(BaseModel):
    """A frozen, strict value: unknown keys, wrong types, NaN and infinity are refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        validate_default=True,
    )

    identity_is_kept: ClassVar[bool] = False
    """Whether the identity of a value is worked out once only: for long lists of text that many trials share. Equal
    values must have the same text form, so no field of such a class may hold a number."""

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The JSON Schema, in which the docstring of each field describes it."""
        from medsweep.field_docs import meaning

        written = handler(schema)
        for name, field in handler.resolve_ref_schema(written).get("properties", {}).items():
            if text := meaning(cls, name):
                field["description"] = text
        return written

    @classmethod
    def fields_marked(cls, role: FieldRole) -> frozenset[str]:
        """Names of the fields annotated with ``role``."""
        return frozenset(name for name, field in cls.model_fields.items() if any(m is role for m in field.metadata))


def require_exhaustive(table: str, keys: Collection[str], values: Any) -> None:
    """Check, at import, that a table has an entry for each value of a ``Literal``, and no other.

    Raises:
        RuntimeError: a value was forgotten in the table, or in the ``Literal``.
    """
    if set(keys) != set(get_args(values)):
        raise RuntimeError(f"{table} has {sorted(keys)}, and the setting that it belongs to {sorted(get_args(values))}")
