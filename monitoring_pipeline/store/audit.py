"""Who removed what, and when: entries that are only ever added."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitoring_pipeline.store import schema
from monitoring_pipeline.store.database import Store
from monitoring_pipeline.timegrid import from_micros, to_micros


@dataclass(frozen=True)
class AuditEntry:
    """One thing that somebody did. `details` are JSON."""

    organisation: str
    moment: datetime
    actor: str
    action: str
    details: Mapping[str, object]


def record(connection: Connection, entry: AuditEntry) -> None:
    """Write an entry, inside the transaction that does what it tells of."""
    connection.execute(
        sa.insert(schema.audit).values(
            organisation=entry.organisation,
            moment=to_micros(entry.moment),
            actor=entry.actor,
            action=entry.action,
            details=dict(entry.details),
        )
    )


def entries(store: Store, organisation: str, *, limit: int | None = None) -> list[AuditEntry]:
    """Entries of an organisation, newest first."""
    table = schema.audit
    query = (
        sa.select(table.c.organisation, table.c.moment, table.c.actor, table.c.action, table.c.details)
        .where(table.c.organisation == organisation)
        .order_by(table.c.moment.desc(), table.c.pk.desc())
        .limit(limit)
    )
    with store.read() as connection:
        return [
            AuditEntry(owner, from_micros(moment), actor, action, details)
            for owner, moment, actor, action, details in connection.execute(query)
        ]
