"""All that a store holds, in a form in which two stores are equal when they say the same.

What must differ between two runs is left out or given a neutral name: row numbers, the moments at which something was
done (not those that data carries), and run ids, which become the verdicts that the run wrote. Nothing else is.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitoring_pipeline.store import schema
from monitoring_pipeline.store.database import Store, open_store, to_json

Dump = dict[str, Counter[tuple[object, ...]]]
"""Rows by table, each with how often it is there."""

MOMENTS = {
    "registered_at", "profiled_at", "superseded_at", "created", "updated", "evaluated_at", "written_at",
    "next_attempt", "opened", "failed_at", "made_at", "forgotten_at",
}  # fmt: skip
"""Columns that say when something was done."""

WHETHER = {
    "told_at", "claimed_until", "delivered_at", "resolved", "reopened_at", "acknowledged_at", "snoozed_until",
    "failing_since", "rested_at", "rests_until",
}  # fmt: skip
"""Moments of which only matters whether there is one."""

NUMBERS = {"pk", "revision", "result_id"}
"""Row numbers, which a death may skip; `revision` counts transactions; `result_id` is made from the run id."""

_NAMES = {"dataset": "dataset_id", "segment": "key", "column_name": "name", "digest": "dedup_key"}


def dump(url: str) -> Dump:
    """Everything in the store at a URL."""
    store = open_store(url, create=False)
    try:
        with store.read() as connection:
            return _dump(store, connection)
    finally:
        store.close()


def differences(expected: Dump, found: Dump, *, most: int = 5) -> list[str]:
    """What is missing and what is too much, in words; nothing when the two are equal."""
    lines: list[str] = []
    for table in sorted(expected.keys() | found.keys()):
        for words, rows in (
            ("is missing", expected[table] - found[table]),
            ("is too much", found[table] - expected[table]),
        ):
            lines += [
                f"{table}: {number} × {row} {words}" for row, number in sorted(rows.items(), key=repr)[:most]
            ]
            if len(rows) > most:
                lines.append(f"{table}: and {len(rows) - most} more rows of which one {words}")
    return lines


def _dump(store: Store, connection: Connection) -> Dump:
    tables = schema.metadata.tables
    names = {
        name: dict(connection.execute(sa.select(tables[name].c.pk, tables[name].c[column])).all())
        for name, column in _NAMES.items()
    }
    runs = _runs(connection)
    found: Dump = {}
    for table in schema.metadata.sorted_tables:
        kept = [column for column in table.columns if column.name not in MOMENTS | NUMBERS]
        rows = connection.execute(sa.select(*kept)).all()
        found[table.name] = Counter(
            tuple(_value(column, value, names, runs) for column, value in zip(kept, row, strict=True))
            for row in rows
        )
    return found


def _runs(connection: Connection) -> dict[object, str]:
    """For every run a name made from what it found."""
    table = schema.analyzer_result
    query = sa.select(table.c.run_id, table.c.analysis_id, table.c.state, table.c.profile_version)
    written: dict[object, list[str]] = {}
    for run_id, *what in connection.execute(query):
        written.setdefault(run_id, []).append(repr(what))
    return {
        run_id: f"run of {len(lines)} verdicts {hashlib.sha256(''.join(sorted(lines)).encode()).hexdigest()[:12]}"
        for run_id, lines in written.items()
    }


def _value(
    column: sa.Column[object],
    value: object,
    names: Mapping[str, Mapping[object, object]],
    runs: Mapping[object, str],
) -> object:
    for key in column.foreign_keys:
        return names[key.column.table.name][value]
    if column.name in WHETHER:
        return value is not None
    if column.name == "run_id":
        return runs.get(value, "a run without verdicts")
    if isinstance(column.type, sa.JSON):
        return to_json(_neutral(value, runs))
    return value


def _neutral(value: object, runs: Mapping[object, str]) -> object:
    if isinstance(value, Mapping):
        return {
            key: runs.get(item, "a run without verdicts") if key == "run_id" else _neutral(item, runs)
            for key, item in sorted(value.items())
            if key not in MOMENTS
        }
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_neutral(item, runs) for item in value]
    return value
