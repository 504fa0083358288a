"""What makes an anomaly believable at one glance: its metric over the last buckets, what was expected, and what moved.

Small and bounded, so that a digest can carry it to every channel: numbers that are drawn as a picture, or as a line of
block characters where only text is shown. Pure; the numbers come from verdicts and profiles that the store already holds.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self, cast

import numpy as np

from monitoring_pipeline.alerting.figures import Unit, figure, figures, how_long, name
from monitoring_pipeline.alerting.wording import effective_bounds, metric_words, sentence, unit_of
from monitoring_pipeline.analysis.comparing import Pair
from monitoring_pipeline.analysis.result import AnalyzerResult
from monitoring_pipeline.config.analyzers import Analyzer
from monitoring_pipeline.timegrid import Granularity, parse_moment

POINTS = 28
"""Buckets that are shown, the last being the anomaly's own."""

ILLUSTRATED = 8
"""Anomalies of a digest that come with evidence, the worst first, one for each series."""

LEAST_NORMAL = 3
"""Normal buckets that it takes to say what a metric usually is."""

_MOVED = 3
_NOTICEABLE = 0.005


@dataclass(frozen=True)
class Evidence:
    """A metric up to an anomaly, bucket by bucket, oldest first; NaN where there is no value or no bound.

    `values`, `lower` and `upper` have one entry for each bucket from `start` on, `alarms` are the places of anomalies.
    Of drift the value is the distance. `sentence` says what the anomaly's own says and what the metric was before;
    `moved` are lines about what changed inside the data.
    """

    analysis_id: str
    title: str
    unit: Unit
    granularity: Granularity
    start: datetime
    values: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    alarms: tuple[int, ...]
    sentence: str
    moved: tuple[str, ...] = ()

    @property
    def known(self) -> int:
        """Buckets with a value."""
        return sum(math.isfinite(value) for value in self.values)

    def to_json(self) -> dict[str, object]:
        """As JSON values; NaN is null."""
        return {
            **self.__dict__,
            "unit": self.unit.value,
            "granularity": self.granularity.value,
            "start": self.start.isoformat(),
            "alarms": list(self.alarms),
            "moved": list(self.moved),
            **{key: _nulls(getattr(self, key)) for key in ("values", "lower", "upper")},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Self:
        """Inverse of `to_json`."""
        numbers = {
            key: tuple(math.nan if one is None else one for one in cast("Sequence[float | None]", data[key]))
            for key in ("values", "lower", "upper")
        }
        return cls(
            analysis_id=str(data["analysis_id"]),
            title=str(data["title"]),
            unit=Unit(str(data["unit"])),
            granularity=Granularity.parse(str(data["granularity"])),
            start=parse_moment(str(data["start"])),
            alarms=tuple(cast("Sequence[int]", data["alarms"])),
            sentence=str(data["sentence"]),
            moved=tuple(cast("Sequence[str]", data["moved"])),
            **numbers,
        )


def evidence_of(
    result: AnalyzerResult,
    history: Sequence[AnalyzerResult],
    *,
    analyzer: Analyzer | None = None,
    moved: Sequence[str] = (),
    outcomes: float | None = None,
) -> Evidence:
    """The evidence of one anomaly. `history` are verdicts on its series, its own or not, in any order.

    `outcomes` is how many known outcomes a metric of performance rests on.
    """
    granularity = result.granularity
    last = granularity.index(result.bucket)
    values, lower, upper = (np.full(POINTS, np.nan) for _ in range(3))
    alarms: set[int] = set()
    normal: list[float] = []
    for one in [*history, result]:
        place = granularity.index(one.bucket) - last + POINTS - 1
        if not 0 <= place < POINTS or one.failed:
            continue
        value = one.metric_value if one.drift_value is None else one.drift_value
        values[place] = math.nan if value is None else value
        lower[place], upper[place] = _bounds(one)
        if one.is_anomaly:
            alarms.add(place)
        elif value is not None and math.isfinite(value) and place < POINTS - 1:
            normal.append(value)
    first = int(np.argmax(np.isfinite(values))) if np.isfinite(values).any() else POINTS - 1
    before = statistics.median(normal) if len(normal) >= LEAST_NORMAL else None
    said = sentence(
        result,
        analyzer=analyzer,
        before=before if result.drift_value is None else None,
        outcomes=outcomes,
    )
    column = f"`{name(result.column)}` " if result.column else ""
    return Evidence(
        analysis_id=result.analysis_id,
        title=f"{column}{metric_words(result.metric)}" + (" drift" if result.drift_value is not None else ""),
        unit=Unit.NUMBER if result.drift_value is not None else unit_of(result.metric),
        granularity=granularity,
        start=granularity.start(last - POINTS + 1 + first),
        values=tuple(values[first:].tolist()),
        lower=tuple(lower[first:].tolist()),
        upper=tuple(upper[first:].tolist()),
        alarms=tuple(sorted(place - first for place in alarms)),
        sentence=said,
        moved=tuple(moved),
    )


def caption(evidence: Evidence) -> str:
    """What there is to see, in words; nothing where fewer than three buckets have a value, or all are the same."""
    known = [value for value in evidence.values if math.isfinite(value)]
    if len(known) < LEAST_NORMAL or min(known) == max(known):
        return ""
    least, most = figures((min(known), max(known)), evidence.unit)
    return f"{least} to {most} in {how_long(len(evidence.values), evidence.granularity)}"


def moved_categories(pair: Pair) -> list[str]:
    """The categories whose shares have moved most, before → after."""
    before, now = pair.baseline.shares, pair.target.shares
    order = np.argsort(-np.abs(now - before), kind="stable")[:_MOVED]
    parts = [
        f"{name(pair.labels[at])} {' → '.join(_shares(float(before[at]), float(now[at])))}"
        for at in order.tolist()
        if at < len(pair.labels) and abs(float(now[at] - before[at])) >= _NOTICEABLE
    ]
    return [f"share of {', '.join(parts)}"] if parts else []


def moved_quantiles(before: Sequence[float], now: Sequence[float]) -> list[str]:
    """The 5th percentile, the median and the 95th, before → after; each side (3,)."""
    if not all(map(math.isfinite, (*before, *now))):
        return []
    parts: list[str] = []
    for label, was, became in zip(("5th percentile", "median", "95th percentile"), before, now, strict=True):
        shown = figures((became, was)) if became != was else (figure(became),) * 2
        parts.append(f"{label} {shown[1]} → {shown[0]}" if became != was else f"{label} still {shown[0]}")
    return [", ".join(parts)] if tuple(before) != tuple(now) else []


def _shares(before: float, now: float) -> tuple[str, str]:
    shown = figures((now, before), Unit.RATIO)
    return shown[1], shown[0]


def _bounds(result: AnalyzerResult) -> tuple[float, float]:
    if result.drift_value is not None:
        return math.nan, math.nan if result.drift_threshold is None else result.drift_threshold
    lower, upper = effective_bounds(result)
    return math.nan if lower is None else lower, math.nan if upper is None else upper


def _nulls(values: Sequence[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]
