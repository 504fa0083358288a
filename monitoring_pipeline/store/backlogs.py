"""What is known of messages that were sent or wait: what channels were told before, and what they have not accepted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitoring_pipeline.store import schema
from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef
from monitoring_pipeline.store.digests import DIGEST, ESCALATION, Delivery
from monitoring_pipeline.timegrid import from_micros

_digest, _delivery, _dataset = schema.digest, schema.delivery, schema.dataset
_spoken = schema.digest_incident


@dataclass(frozen=True)
class Told:
    """What a channel was told of an incident: the receipt of the first message, the most severe level of all."""

    receipt: str
    severity: int | None


def told_before(store: Store, delivery: Delivery) -> dict[str, Told | None]:
    """For each incident that a message speaks of, what its channel has accepted about it before; None is nothing."""
    of_message = sa.select(_spoken.c.incident_id).where(_spoken.c.digest == delivery.message)
    query = (
        sa.select(_spoken.c.incident_id, _delivery.c.receipt, _digest.c.severity)
        .join(_digest, _digest.c.pk == _spoken.c.digest)
        .join(_delivery, _delivery.c.digest == _digest.c.pk)
        .where(_spoken.c.dataset == delivery.dataset, _spoken.c.incident_id.in_(of_message))
        .where(_delivery.c.channel == delivery.channel, _delivery.c.state == "delivered")
        .where(_digest.c.kind.in_([DIGEST, ESCALATION]), _digest.c.pk != delivery.message)
        .order_by(_delivery.c.delivered_at, _digest.c.pk)
    )
    with store.read() as connection:
        found: dict[str, Told | None] = dict.fromkeys(connection.execute(of_message).scalars())
        for incident, receipt, severity in connection.execute(query):
            before = found[incident]
            known = [one for one in (severity, before.severity if before else None) if one is not None]
            found[incident] = Told(before.receipt if before else receipt or "", min(known, default=None))
    return found


def receipts(store: Store, dedup_key: str) -> dict[str, str]:
    """What the channels answered that have accepted a message, by channel."""
    query = (
        sa.select(_delivery.c.channel, _delivery.c.receipt)
        .join(_digest, _digest.c.pk == _delivery.c.digest)
        .where(_digest.c.dedup_key == dedup_key, _delivery.c.state == "delivered")
    )
    with store.read() as connection:
        return {channel: receipt or "" for channel, receipt in connection.execute(query)}


@dataclass(frozen=True)
class Unsent:
    """Messages of a dataset that a channel has not accepted: how many, since when, and the most attempts on one."""

    channel: str
    given_up: bool
    number: int
    since: datetime
    attempts: int
    error: str | None


def unsent(store: Store, ref: DatasetRef) -> list[Unsent]:
    """What of a dataset's messages has not been accepted, by channel, and whether it waits or was given up."""
    query = (
        sa.select(
            _delivery.c.channel,
            _delivery.c.state,
            sa.func.count(),
            sa.func.min(_digest.c.created),
            sa.func.max(_delivery.c.attempts),
            sa.func.max(_delivery.c.error),
        )
        .join(_digest, _digest.c.pk == _delivery.c.digest)
        .where(_delivery.c.state.in_(["pending", "failed"]), _digest.c.dataset == ref.pk)
        .group_by(_delivery.c.channel, _delivery.c.state)
        .order_by(_delivery.c.channel, _delivery.c.state)
    )
    with store.read() as connection:
        return [
            Unsent(channel, state == "failed", number, from_micros(since), attempts, error)
            for channel, state, number, since, attempts, error in connection.execute(query)
        ]


def refused(store: Store) -> set[str]:
    """The ids of the datasets with messages that were tried and not accepted, of all organisations."""
    tried = (
        sa.select(_digest.c.dataset)
        .join(_delivery, _delivery.c.digest == _digest.c.pk)
        .where(_delivery.c.state.in_(["pending", "failed"]), _delivery.c.attempts > 0)
    )
    with store.read() as connection:
        return set(
            connection.execute(sa.select(_dataset.c.dataset_id).where(_dataset.c.pk.in_(tried))).scalars()
        )


@dataclass(frozen=True)
class Backlog:
    """What a channel has not accepted: how many messages wait and were given up, and the oldest one's dataset."""

    channel: str
    waiting: int
    given_up: int
    since: datetime
    dataset: DatasetRef


def backlogs(store: Store) -> list[Backlog]:
    """The channels with messages that they have not accepted, by name."""
    with store.read() as connection:
        return backlogs_in(connection)


def backlogs_in(connection: Connection) -> list[Backlog]:
    """The same inside a transaction."""
    number = sa.func.count()
    query = (
        sa.select(
            _delivery.c.channel,
            number.filter(_delivery.c.state == "pending"),
            number.filter(_delivery.c.state == "failed"),
            sa.func.min(_delivery.c.digest),
        )
        .where(_delivery.c.state.in_(["pending", "failed"]))
        .group_by(_delivery.c.channel)
        .order_by(_delivery.c.channel)
    )
    found: list[Backlog] = []
    for channel, waiting, given_up, oldest in connection.execute(query).all():
        created, *dataset = connection.execute(
            sa.select(
                _digest.c.created,
                _dataset.c.pk,
                _dataset.c.organisation,
                _dataset.c.dataset_id,
                _dataset.c.registered_at,
            )
            .join(_dataset, _dataset.c.pk == _digest.c.dataset)
            .where(_digest.c.pk == oldest)
        ).one()
        ref = DatasetRef(dataset[0], dataset[1], dataset[2], from_micros(dataset[3]))
        found.append(Backlog(channel, waiting, given_up, from_micros(created), ref))
    return found
