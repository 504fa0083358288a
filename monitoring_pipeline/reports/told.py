"""What people heard of a period, and what they said: messages by channel, incidents acknowledged, false alarms marked."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa

from monitoring_pipeline.alerting.figures import Unit, figure, how_many, name
from monitoring_pipeline.store import schema
from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef
from monitoring_pipeline.timegrid import TimeRange, to_micros

_NAMED = 3
_MARKS = {"unhelpful": "marked as false alarms", "expected": "marked as expected"}


@dataclass(frozen=True)
class Told:
    """Messages that were recorded in the period, deliveries of them by channel and state, and what people said of the
    incidents of the period: how long each took to be acknowledged, and the titles of those that they marked.
    """

    messages: int = 0
    deliveries: Mapping[str, Mapping[str, int]] | None = None
    incidents: int = 0
    acknowledged: tuple[timedelta, ...] = ()
    marked: tuple[tuple[str, str], ...] = ()
    """Verdict and title."""

    @property
    def lines(self) -> tuple[str, ...]:
        """In words; nothing where nothing was told and nothing was said."""
        return (*self._sent(), *self._said())

    def _sent(self) -> list[str]:
        if not self.messages:
            return []
        states = self.deliveries or {}
        accepted = {one: count for one in sorted(states) if (count := states[one].get("delivered", 0))}
        where = ", ".join(f"{name(one)} {count:,}" for one, count in accepted.items())
        lines = [f"{how_many(self.messages, 'message')} for people; accepted by {where or 'no channel'}"]
        for state, words in (("failed", "given up"), ("pending", "still to be delivered")):
            left = {one: count for one in sorted(states) if (count := states[one].get(state, 0))}
            if left:
                lines.append(f"{words}: {', '.join(f'{name(one)} {count:,}' for one, count in left.items())}")
        return lines

    def _said(self) -> list[str]:
        lines: list[str] = []
        if self.incidents and (self.acknowledged or self.marked):
            lines.append(
                f"{len(self.acknowledged):,} of {how_many(self.incidents, 'incident')} acknowledged"
                + (f", half of them within {_length(self.acknowledged)}" if self.acknowledged else "")
            )
        for verdict, words in _MARKS.items():
            titles = [title for kind, title in self.marked if kind == verdict]
            if titles:
                more = f" and {len(titles) - _NAMED:,} more" if len(titles) > _NAMED else ""
                lines.append(f"{words}: {len(titles):,} ({'; '.join(titles[:_NAMED])}{more})")
        return lines


def told_of(store: Store, ref: DatasetRef, period: TimeRange) -> Told:
    """What was told in a period, and what has been said until now of the incidents that overlap it."""
    digest, delivery, incident = schema.digest, schema.delivery, schema.incident
    start, end = to_micros(period.start), to_micros(period.end)
    mine = (digest.c.dataset == ref.pk, digest.c.created >= start, digest.c.created < end)
    sent = (
        sa.select(delivery.c.channel, delivery.c.state, sa.func.count())
        .join(digest, digest.c.pk == delivery.c.digest)
        .where(*mine)
        .group_by(delivery.c.channel, delivery.c.state)
    )
    said = sa.select(
        incident.c.title, incident.c.opened, incident.c.acknowledged_at, incident.c.verdict
    ).where(
        incident.c.dataset == ref.pk,
        incident.c.status != "merged",
        incident.c.start_time < end,
        incident.c.end_time > start,
    )
    deliveries: dict[str, dict[str, int]] = {}
    with store.read() as connection:
        messages = connection.execute(
            sa.select(sa.func.count()).select_from(digest).where(*mine)
        ).scalar_one()
        for channel, state, count in connection.execute(sent):
            deliveries.setdefault(channel, {})[state] = count
        rows = connection.execute(said.order_by(incident.c.start_time, incident.c.incident_id)).all()
    return Told(
        messages=messages,
        deliveries=deliveries,
        incidents=len(rows),
        acknowledged=tuple(
            timedelta(microseconds=max(acknowledged - opened, 0))
            for _, opened, acknowledged, _ in rows
            if acknowledged is not None
        ),
        marked=tuple((verdict, title) for title, _, _, verdict in rows if verdict),
    )


def _length(waits: Sequence[timedelta]) -> str:
    return figure(statistics.median(one.total_seconds() for one in waits), Unit.SECONDS)
