"""How the channels are: which ones have refused messages, since when, and until when they are left alone.

A channel without a row, or with one that says nothing, works. All functions but the first run inside a transaction,
together with the note about the message that the channel has accepted or refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitoring_pipeline.store import schema
from monitoring_pipeline.store.database import Store, insert
from monitoring_pipeline.timegrid import from_micros, to_micros

LONGEST_REST = timedelta(days=1)
"""A channel is left alone for so long at most, whatever it asks for."""

SKEW = timedelta(minutes=15)
"""A rest that began so far in the future was set by a clock that was wrong, and does not count."""

_state = schema.channel_state


@dataclass(frozen=True)
class ChannelState:
    """A channel that is failing, or was until now: `outage` is the key of the message that told of it, if one did.

    `failures` counts those since it last worked.
    """

    channel: str
    failing_since: datetime | None
    failures: int
    rests_until: datetime | None
    error: str | None
    outage: str | None


def channel_states(store: Store) -> dict[str, ChannelState]:
    """The channels that have ever failed, by name."""
    with store.read() as connection:
        return channel_states_in(connection)


def channel_states_in(connection: Connection) -> dict[str, ChannelState]:
    """The same inside a transaction."""
    return {
        row["channel"]: ChannelState(
            channel=row["channel"],
            failing_since=None if row["failing_since"] is None else from_micros(row["failing_since"]),
            failures=row["failures"],
            rests_until=None if row["rests_until"] is None else from_micros(row["rests_until"]),
            error=row["error"],
            outage=row["outage"],
        )
        for row in connection.execute(sa.select(_state).order_by(_state.c.channel)).mappings()
    }


def resting_in(connection: Connection, *, now: datetime) -> set[str]:
    """Channels that are left alone now."""
    resting = (_state.c.rests_until > to_micros(now), _state.c.rested_at <= to_micros(now + SKEW))
    return set(connection.execute(sa.select(_state.c.channel).where(*resting)).scalars())


def works_in(connection: Connection, channel: sa.ScalarSelect[str]) -> None:
    """Note that a channel has accepted a message."""
    ill = sa.or_(_state.c.failing_since.is_not(None), _state.c.rests_until.is_not(None))
    connection.execute(
        sa.update(_state)
        .where(_state.c.channel == channel, ill)
        .values(failing_since=None, failures=0, rests_until=None, error=None)
    )


def fails_in(
    connection: Connection,
    channel: sa.ScalarSelect[str],
    *,
    error: str,
    rests_until: datetime | None,
    now: datetime,
) -> None:
    """Note that a channel has refused a message, and until when it is left alone."""
    rest = None if rests_until is None else min(to_micros(rests_until), to_micros(now + LONGEST_REST))
    name = connection.execute(sa.select(channel)).scalar_one()
    statement = insert(connection, _state).values(
        channel=name,
        failing_since=to_micros(now),
        failures=1,
        rested_at=to_micros(now),
        rests_until=rest,
        error=error,
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["channel"],
            set_={
                "failing_since": sa.func.coalesce(_state.c.failing_since, statement.excluded.failing_since),
                "failures": _state.c.failures + 1,
                "rested_at": statement.excluded.rested_at,
                "rests_until": statement.excluded.rests_until,
                "error": statement.excluded.error,
            },
        )
    )


def told_in(connection: Connection, channel: str, *, outage: str | None) -> None:
    """Note which message tells of the channel's outage; None when it is over and that was told too."""
    connection.execute(sa.update(_state).where(_state.c.channel == channel).values(outage=outage))
