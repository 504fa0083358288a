"""Reports that have gone to channels, so that none goes there twice."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from monitoring_pipeline.store import schema
from monitoring_pipeline.store.database import Store, insert
from monitoring_pipeline.timegrid import from_micros, to_micros

_table = schema.report_sent


def sent_at(store: Store, report: str, channel: str) -> datetime | None:
    """When a report went to a channel; None when it has not."""
    query = sa.select(_table.c.moment).where(_table.c.report == report, _table.c.channel == channel)
    with store.read() as connection:
        moment = connection.execute(query).scalar_one_or_none()
    return None if moment is None else from_micros(moment)


def note_sent(store: Store, report: str, channel: str, *, receipt: str, now: datetime) -> None:
    """Note that a channel has accepted a report, with what it answered; the last time counts."""
    with store.begin() as connection:
        values = {"moment": to_micros(now), "receipt": receipt}
        statement = insert(connection, _table).values(report=report, channel=channel, **values)
        connection.execute(statement.on_conflict_do_update(index_elements=["report", "channel"], set_=values))
