"""A look at files nobody has described yet: what `monitor init` proposes, and why.

Only a bounded sample of rows is read, spread over the files, so that a folder of any size is described in seconds.
Every choice is a guess that the description's notes explain; the user edits the files that are made from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa

from monitoring_pipeline.config.descriptions import ColumnDescription, ColumnKind, DatasetDescription, Role
from monitoring_pipeline.sources.clock import clock_of_column, find_clock, words_of
from monitoring_pipeline.sources.listing import file_format
from monitoring_pipeline.sources.sample import Sample, files_of_one_kind

_ROLE_WORDS: dict[Role, frozenset[str]] = {
    "prediction": frozenset(
        ["prediction", "predicted", "predictions", "pred", "predict", "yhat", "forecast", "decision"]
    ),
    "score": frozenset(["score", "scores", "probability", "proba", "prob", "confidence"]),
    "target": frozenset(
        ["target", "label", "labels", "outcome", "converted", "actual", "truth", "y", "churned", "defaulted"]
    ),
    "weight": frozenset(["weight", "weights"]),
}
_ID_WORDS = frozenset(["id", "uuid", "guid", "key"])


def describe_file(
    path: str | Path, *, home: Path, timestamp: str | None = None, now: datetime | None = None
) -> DatasetDescription:
    """Describe a file, a folder or a glob of Parquet, CSV or JSON-lines files.

    `timestamp` names the column with the time of a row; otherwise one is chosen. Raises SourceError when nothing is
    there or nothing can be read, UsageError when there is no such column.
    """
    notes: list[str] = []
    files, pattern = files_of_one_kind(str(path), home, notes)
    sample = Sample.of(files)
    columns = tuple(_column(name, sample.table[name].combine_chunks()) for name in sample.table.column_names)
    if timestamp is None:
        clock = find_clock(sample, columns, files, now or datetime.now(UTC), notes)
    else:
        clock = clock_of_column(timestamp, sample, notes)
    roles = _roles(sample.table, columns, clock.timestamp, notes)
    segments = _segments(columns, roles, clock.timestamp)
    if segments:
        notes.append(f"few values, good for segments: {', '.join(names[0] for names in segments)}")
    return DatasetDescription(
        path=pattern,
        format=cast(str, file_format(files[0].path)),
        files=len(files),
        rows=sample.rows_in_all,
        sampled_rows=sample.table.num_rows,
        columns=columns,
        granularity=clock.granularity,
        rows_per_bucket=clock.rows_per_bucket,
        timestamp=clock.timestamp,
        date_in_path=clock.date_in_path,
        file_sequence=clock.file_sequence,
        start=clock.start,
        end=clock.end,
        fixed_start=clock.fixed_start,
        segments=segments,
        roles=roles,
        exclude=tuple(name for name in [roles.get("id")] if name),
        notes=tuple(notes),
    )


def _column(name: str, values: pa.Array) -> ColumnDescription:
    kind = _kind_of(values)
    nulls = values.null_count / len(values) if len(values) else 0.0
    try:
        counts = np.sort(np.asarray(values.drop_null().value_counts().field(1)))
    except (pa.ArrowException, TypeError):
        counts = np.array([len(values)])
    low = high = None
    if kind in ("number", "integer") and len(values) > values.null_count:
        numbers = np.asarray(values.drop_null().cast(pa.float64()))
        low, high = float(np.nanmin(numbers)), float(np.nanmax(numbers))
    rarest = float(counts[0]) / max(len(values), 1) if 0 < len(counts) <= 100 else 0.0
    return ColumnDescription(name, str(values.type), kind, len(counts), nulls, low, high, rarest)


def _kind_of(values: pa.Array) -> ColumnKind:
    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind):
        return "integer"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        numbers = np.asarray(values.drop_null().cast(pa.float64()))
        # Integers with nulls that went through pandas come back as floats.
        return (
            "integer"
            if len(numbers) and np.all(numbers == np.round(numbers)) and values.null_count
            else "number"
        )
    if pa.types.is_temporal(kind):
        return "timestamp"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "text"
    return "other"


def _roles(
    table: pa.Table, columns: Sequence[ColumnDescription], timestamp: str | None, notes: list[str]
) -> dict[Role, str]:
    """Roles by name; the target also by having the same values as the prediction."""
    roles: dict[Role, str] = {}
    for role, words in _ROLE_WORDS.items():
        for column in columns:
            if (
                column.name != timestamp
                and column.name not in roles.values()
                and words & {*words_of(column.name)}
            ):
                roles.setdefault(role, column.name)
    for column in columns:
        unique = column.distinct > 0.98 * (1 - column.null_share) * table.num_rows and table.num_rows > 100
        if unique and column.kind in ("text", "integer") and _ID_WORDS & {*words_of(column.name)}:
            roles.setdefault("id", column.name)
    prediction = roles.get("prediction")
    if prediction is not None and "target" not in roles:
        values = {*table[prediction].unique().drop_null().to_pylist()}
        twins = [
            column.name
            for column in columns
            if column.name not in roles.values()
            and column.distinct == len(values) <= 20
            and {*table[column.name].unique().drop_null().to_pylist()} == values
        ]
        if len(twins) == 1:
            roles["target"] = twins[0]
            notes.append(f"{twins[0]} has the values of {prediction}, so it is taken for the target")
    return roles


def _segments(
    columns: Sequence[ColumnDescription], roles: dict[Role, str], timestamp: str | None
) -> tuple[tuple[str, ...], ...]:
    """Columns with 2 to 20 values, none of them rarer than 1 %, hardly ever null; at most two, text first."""
    candidates = [
        column
        for column in columns
        if column.kind in ("text", "integer", "boolean")
        and 2 <= column.distinct <= 20
        and column.smallest_share >= 0.01
        and column.null_share <= 0.05
        and column.name not in roles.values()
        and column.name != timestamp
    ]
    candidates.sort(key=lambda column: ("text", "integer", "boolean").index(column.kind))
    return tuple((column.name,) for column in candidates[:2])
