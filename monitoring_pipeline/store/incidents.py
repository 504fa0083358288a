"""Incidents as they stand: one row each, overwritten as it grows, with when it was opened, updated and resolved."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Literal, cast

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.store import schema
from monitoring_pipeline.store.database import Store, insert
from monitoring_pipeline.store.datasets import DatasetRef
from monitoring_pipeline.timegrid import TimeRange, from_micros, parse_moment, to_micros

Status = Literal["open", "resolved", "merged"]

_table = schema.incident
_NEEDED = ("id", "title", "severity", "status", "start", "end")
_MOMENTS = ("opened", "updated", "resolved", "reopened_at", "acknowledged_at", "snoozed_until")
_SAID = ("acknowledged_by", "assignee", "verdict", "quiet_severity", "muted")


def save_incidents(
    store: Store,
    ref: DatasetRef,
    records: Sequence[Mapping[str, object]],
    *,
    now: datetime,
    merged: Collection[str] = (),
) -> None:
    """Write incidents (JSON with `id`, `title`, `severity`, `status`, `start` and `end`) in one transaction.

    An incident that is known keeps the moment at which it was opened, and one that is resolved the moment at which it
    was first found so. `merged` are the ids of known incidents that have become part of others; they stay, as `merged`.
    """
    if not records and not merged:
        return
    with store.begin() as connection:
        save_in(connection, ref, records, merged, now=now)


def incidents(
    store: Store,
    ref: DatasetRef,
    *,
    status: Status | None = None,
    window: TimeRange | None = None,
    limit: int | None = None,
) -> list[dict[str, object]]:
    """Incidents as they were saved, newest start first, with what became of them and what people said of them.

    Beside the content come the moments `opened`, `updated`, `resolved`, `reopened_at`, `acknowledged_at` and
    `snoozed_until` (ISO-8601 or None), and `acknowledged_by`, `assignee`, `verdict` ("expected", "unhelpful" or None),
    `quiet_severity` (the severity up to which nobody is told again) and `muted` (series of which nobody is told, as
    [analyzer, column, segment]). `status` None means open and resolved; `window` those that overlap it.
    """
    with store.read() as connection:
        return incidents_in(connection, ref, status=status, window=window, limit=limit)


def incidents_in(
    connection: Connection,
    ref: DatasetRef,
    *,
    status: Status | None = None,
    window: TimeRange | None = None,
    limit: int | None = None,
    ids: Collection[str] | None = None,
) -> list[dict[str, object]]:
    """`incidents` inside a transaction; `ids` chooses some by name."""
    query = (
        sa.select(_table.c.content, _table.c.status, *(_table.c[name] for name in (*_MOMENTS, *_SAID)))
        .where(_table.c.dataset == ref.pk)
        .order_by(_table.c.start_time.desc(), _table.c.incident_id)
        .limit(limit)
    )
    query = query.where(_table.c.status != "merged" if status is None else _table.c.status == status)
    if ids is not None:
        query = query.where(_table.c.incident_id.in_(ids))
    if window is not None:
        query = query.where(
            _table.c.start_time < to_micros(window.end), _table.c.end_time > to_micros(window.start)
        )
    return [_record(row._asdict()) for row in connection.execute(query)]


def save_in(
    connection: Connection,
    ref: DatasetRef,
    records: Sequence[Mapping[str, object]],
    merged: Collection[str],
    *,
    now: datetime,
    reopened: Collection[str] = (),
) -> None:
    """`save_incidents` inside a transaction. `reopened` are the ids of those that were over and have come back."""
    rows = [_row(ref, record, now=now) for record in records]
    if rows:
        statement = insert(connection, _table)
        new = statement.excluded
        changed = {name: new[name] for name in ("status", "severity", "title", "start_time", "end_time")}
        # An incident that has not changed at all keeps its times too, so that saving it again changes nothing.
        statement = statement.on_conflict_do_update(
            index_elements=["dataset", "incident_id"],
            set_={
                **changed,
                "content": new.content,
                "updated": new.updated,
                "resolved": sa.case(
                    (new.resolved.is_(None), sa.null()),
                    else_=sa.func.coalesce(_table.c.resolved, new.resolved),
                ),
            },
            where=sa.cast(_table.c.content, sa.Text()) != sa.cast(new.content, sa.Text()),
        )
        connection.execute(statement, rows)
    if reopened:
        connection.execute(
            sa.update(_table)
            .where(_table.c.dataset == ref.pk, _table.c.incident_id.in_(reopened))
            .values(reopened_at=to_micros(now))
        )
    if merged:
        connection.execute(
            sa.update(_table)
            .where(_table.c.dataset == ref.pk, _table.c.incident_id.in_(merged), _table.c.status != "merged")
            .values(status="merged", updated=to_micros(now))
        )


def _row(ref: DatasetRef, record: Mapping[str, object], *, now: datetime) -> dict[str, object]:
    missing = [name for name in _NEEDED if name not in record]
    if missing:
        raise StoreError(f"an incident needs {', '.join(missing)}")
    moment = to_micros(now)
    return {
        "dataset": ref.pk,
        "incident_id": record["id"],
        "status": record["status"],
        "severity": record["severity"],
        "title": record["title"],
        "start_time": to_micros(parse_moment(str(record["start"]))),
        "end_time": to_micros(parse_moment(str(record["end"]))),
        "opened": moment,
        "updated": moment,
        "resolved": moment if record["status"] == "resolved" else None,
        "content": record,
    }


def _record(row: Mapping[str, object]) -> dict[str, object]:
    content = cast("Mapping[str, object]", row["content"])
    moments = {name: _iso(cast("int | None", row[name])) for name in _MOMENTS}
    return {**content, "status": row["status"], **moments, **{name: row[name] for name in _SAID}}


def _iso(moment: int | None) -> str | None:
    return None if moment is None else from_micros(moment).isoformat()
