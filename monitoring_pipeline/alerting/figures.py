"""Numbers, dates and names as people read them: `14.1 %`, `54,200`, `0–1.2 %`, `2026-01-31`, `14 days`.

Pure text, English, UTC. Digits are few but enough: a value and the bound that it broke never look equal, and nothing
that is not exactly 0 % or 100 % is printed as such. Names come from data and documents, so they are made harmless:
no control characters, no backticks, no endless length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from monitoring_pipeline.segments import segment_tags
from monitoring_pipeline.timegrid import Granularity

LONGEST_NAME = 80
"""Characters of a name that are shown; longer ones end in an ellipsis."""

_MOST_DIGITS = 15
_ENOUGH_DIGITS = 3


class Unit(StrEnum):
    """How a number is written. All but `NUMBER` cannot be negative."""

    NUMBER = "number"
    COUNT = "count"
    RATIO = "ratio"
    SECONDS = "seconds"


def figure(value: float, unit: Unit = Unit.NUMBER, *, digits: int = _ENOUGH_DIGITS) -> str:
    """One number with its unit.

    >>> figure(0.14118, Unit.RATIO), figure(54213.7), figure(1203, Unit.COUNT), figure(0.00012341)
    ('14.1 %', '54,214', '1,203', '0.0001234')
    >>> figure(93_600, Unit.SECONDS)
    '1 d 2 h'
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if unit is Unit.RATIO:
        return f"{_percent(value, digits)} %"
    if unit is Unit.SECONDS:
        return _length(value, digits)
    return _significant(value, digits + 1 if unit is Unit.NUMBER else digits)


def figures(values: Sequence[float], unit: Unit = Unit.NUMBER) -> tuple[str, ...]:
    """Several numbers, each as short as lets the first be told from the others.

    >>> figures([0.01204, 0.012], Unit.RATIO)
    ('1.204 %', '1.2 %')
    """
    for digits in range(_ENOUGH_DIGITS, _MOST_DIGITS):
        texts = tuple(figure(value, unit, digits=digits) for value in values)
        if all(text != texts[0] or value == values[0] for text, value in zip(texts, values, strict=True)):
            return texts
    return tuple(f"{value!r}" for value in values)


def between(lower: float | None, upper: float | None, unit: Unit, *, value: float) -> tuple[str, str]:
    """The value, and what was expected of it.

    >>> between(-0.004, 0.012, Unit.RATIO, value=0.141)
    ('14.1 %', '0–1.2 %')
    >>> between(1000, None, Unit.COUNT, value=12)
    ('12', 'at least 1,000')
    >>> between(-2, 3, Unit.NUMBER, value=9)
    ('9', '−2 to 3')
    """
    if lower is not None and unit is not Unit.NUMBER:
        lower = max(lower, 0.0)
    if upper is not None and unit is Unit.RATIO and value <= 1:
        upper = min(upper, 1.0)
    if lower is None and upper is None:
        return figure(value, unit), ""
    if lower is None or upper is None:
        bound = upper if lower is None else lower
        assert bound is not None  # noqa: S101 - one of them exists
        shown, text = figures((value, bound), unit)
        return shown, f"at most {text}" if lower is None else f"at least {text}"
    shown, low, high = figures((value, lower, upper), unit)
    if low == high:
        return shown, low
    if unit is Unit.SECONDS or low.startswith("−") or "e" in low:
        return shown, f"{low} to {high}"
    return shown, f"{low.removesuffix(' %')}–{high}"


def how_many(count: int, noun: str, plural: str | None = None) -> str:
    """A count with its noun.

    >>> how_many(1, "anomaly", "anomalies"), how_many(1200, "column")
    ('1 anomaly', '1,200 columns')
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def moment(bucket: datetime, granularity: Granularity) -> str:
    """A bucket by its start, as exact as its granularity: `2026-01`, `2026-01-31`, `2026-01-31 14:00`."""
    return bucket.strftime(_FORMATS.get(granularity, "%Y-%m-%d"))


def span(first: datetime, last: datetime, granularity: Granularity) -> str:
    """The buckets from `first` to `last`, both included: `2026-01-29 to 2026-01-31`."""
    start, end = moment(first, granularity), moment(last, granularity)
    if start == end:
        return start
    same_day = granularity in _CLOCK and start[:10] == end[:10]
    return f"{start} to {end[11:] if same_day else end}"


def how_long(buckets: int, granularity: Granularity) -> str:
    """A number of buckets as a length of time.

    >>> how_long(14, Granularity.DAILY), how_long(1, Granularity.HOURLY), how_long(168, Granularity.HOURLY)
    ('14 days', '1 hour', '7 days')
    """
    in_a_day = _IN_A_DAY.get(granularity, 0)
    if in_a_day and buckets >= 2 * in_a_day and buckets % in_a_day == 0:
        return how_many(buckets // in_a_day, "day")
    return how_many(buckets, _NOUNS[granularity])


def name(text: str) -> str:
    """A name from data or a document, safe to show anywhere and on one line.

    >>> name("a`b\\x1b[31m\\n<!channel>")
    "a'b�[31m <!channel>"
    """
    clean = "".join(letter if letter.isprintable() else " " if letter.isspace() else "�" for letter in text)
    clean = clean.replace("`", "'")
    return clean if len(clean) <= LONGEST_NAME else clean[: LONGEST_NAME - 1] + "…"


def segment_name(key: str) -> str:
    """A segment, safe to show: `region=EU`, or `all data`."""
    return name(", ".join(f"{tag}={value}" for tag, value in segment_tags(key).items())) or "all data"


_CLOCK = (Granularity.QUARTER_HOURLY, Granularity.HOURLY)
_FORMATS = {
    Granularity.MONTHLY: "%Y-%m",
    Granularity.HOURLY: "%Y-%m-%d %H:%M",
    Granularity.QUARTER_HOURLY: "%Y-%m-%d %H:%M",
}
_IN_A_DAY = {Granularity.QUARTER_HOURLY: 96, Granularity.HOURLY: 24}
_NOUNS = {
    Granularity.QUARTER_HOURLY: "quarter-hour",
    Granularity.HOURLY: "hour",
    Granularity.DAILY: "day",
    Granularity.WEEKLY: "week",
    Granularity.MONTHLY: "month",
}


def _significant(value: float, digits: int) -> str:
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if not -5 <= exponent < _MOST_DIGITS:
        return f"{value:.{digits - 1}e}".replace("-", "−")
    text = f"{value:,.{max(0, digits - 1 - exponent)}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text.replace("-", "−")


def _percent(ratio: float, digits: int) -> str:
    percent = ratio * 100
    if math.isinf(percent):
        return "∞" if percent > 0 else "−∞"
    for more in range(digits, _MOST_DIGITS):
        text = _significant(percent, more)
        if text != "100" or math.isclose(ratio, 1.0, rel_tol=1e-12):
            return text
    return "100"


def _length(seconds: float, digits: int) -> str:
    sign, rest = "−" if seconds < 0 else "", abs(seconds)
    if rest < 60:
        return f"{sign}{_significant(rest, digits)} s"
    parts: list[str] = []
    for size, letter in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        amount, rest = divmod(rest, size)
        if amount:
            parts.append(f"{amount:,.0f} {letter}")
    return sign + " ".join(parts[: max(2, digits - 1)])
