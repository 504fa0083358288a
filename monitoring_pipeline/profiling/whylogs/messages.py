"""What a whylogs message holds, whatever its format, before anything is made of it; and the limits of what is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from monitoring_pipeline.errors import ProfileError
from monitoring_pipeline.profiling.whylogs.protobuf import Value, entry, text

MOST_COLUMNS: Final = 20_000
MOST_LABELS: Final = 256  # as many as whylogs allows
LONGEST_NAME: Final = 4_096
_MOST_ENTRIES: Final = 1_000
_LONGEST_METADATA: Final = 65_536

COUNTS: Final = ("n", "null", "nan", "inf", "true")
TYPES: Final = ("integral", "fractional", "boolean", "string", "object", "tensor")
KLL, MEAN, M2 = "distribution/kll", "distribution/mean", "distribution/m2"
HLL, ITEMS = "cardinality/hll", "frequent_items/frequent_strings"
INTS_MIN, INTS_MAX = "ints/min", "ints/max"

WHOLE: Final = frozenset({*(f"counts/{name}" for name in COUNTS), *(f"types/{name}" for name in TYPES)})
"""Paths of components that are whole numbers."""
REAL: Final = frozenset({MEAN, M2})
"""Paths of components that are doubles. Besides these and the sketches, nothing is read."""


@dataclass(frozen=True, kw_only=True)
class Components:
    """What is known of one column, each by its path, and only what is present."""

    whole: dict[str, int] = field(default_factory=dict)
    real: dict[str, float] = field(default_factory=dict)
    sketches: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class ScoreCell:
    """The scores in one cell of a confusion matrix: number, mean, sum of squared deviations, and a sketch if any."""

    n: int = 0
    mean: float = 0.0
    m2: float = 0.0
    kll: bytes | None = None


@dataclass(frozen=True)
class Model:
    """What is known of a model. `cells`, one for each predicted and, within it, each true label; `regression`: number
    of predictions, then the sums of absolute differences, of differences (prediction − true value) and of their
    squares; empty where there are none."""

    labels: tuple[str, ...] = ()
    cells: tuple[ScoreCell, ...] = ()
    regression: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Message:
    """One profile as it stands in a file. Times in milliseconds since 1970, 0 where there is none."""

    columns: Mapping[str, Components]
    dataset_time: int = 0
    creation_time: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)
    segment: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    model: Model | None = None


def put_text(into: dict[str, str], message: Value) -> None:
    """One entry of a map of texts."""
    key, value = entry(message)
    name = "" if key is None else text(key, limit=LONGEST_NAME)
    into[name] = "" if value is None else text(value, limit=_LONGEST_METADATA)
    if len(into) > _MOST_ENTRIES:
        raise ProfileError(f"more than {_MOST_ENTRIES} tags or metadata entries")


def column_name(key: Value | None, *, others: int) -> str:
    """The name of one more column."""
    name = "" if key is None else text(key, limit=LONGEST_NAME)
    if not name:
        raise ProfileError("a column without a name")
    if others >= MOST_COLUMNS:
        raise ProfileError(f"more than {MOST_COLUMNS} columns")
    return name
