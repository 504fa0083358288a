"""Whether a gate's duration fits the data: shorter than uploads usually take, or needlessly long."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from monitoring_pipeline.timegrid import EPOCH, Duration

SLACK = timedelta(hours=1)
"""How much longer than the usual lag a duration may be; analyses run once an hour."""


class Advice(StrEnum):
    """What to do about a `dataReadinessDuration` or a `batchCoolDownPeriod`."""

    SHORT = "SHORT"
    """Analyses begin before the data is there: make it longer."""
    FINE = "FINE"
    LONG = "LONG"
    """Analyses wait for nothing: it may be shorter."""


def advise(duration: Duration, lag: timedelta) -> Advice:
    """Hold a gate's duration against the usual lag of uploads.

    >>> [advise(Duration.parse(one), timedelta(minutes=90)).value for one in ("PT1H", "PT2H", "P1D")]
    ['SHORT', 'FINE', 'LONG']
    """
    waits = duration.after(EPOCH) - EPOCH
    if waits < lag:
        return Advice.SHORT
    return Advice.LONG if waits > lag + SLACK else Advice.FINE
