"""Timestamps of any spelling to microseconds since 1970 in UTC, vectorised; and dates found in a path.

Accepted: Arrow timestamps of any unit and zone (without a zone: UTC), dates, ISO-8601 text (`2026-01-31`,
`2026-01-31 05:06:07.5`, `…T05:06Z`, `…+02:00`, `/` instead of `-`), and numbers since 1970, as numbers or text:

- eight digits that spell a date from 1900 to 2199 (20260131) are that date;
- otherwise the unit follows from the magnitude: below 1e11 seconds, below 1e14 milliseconds, below 1e17
  microseconds, above that nanoseconds. So seconds reach the year 5138, and milliseconds begin in 1973.

Everything else, and every time outside the years 1 to 9999, counts as a bad timestamp.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from monitoring_pipeline.timegrid import parse_moment, to_micros

BAD = np.iinfo(np.int64).min
"""Marks a null or unreadable timestamp in an array of microseconds."""

_FIRST = to_micros(datetime(1, 1, 1, tzinfo=UTC))
_LAST = to_micros(datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC))
_PER_UNIT = {"s": 1_000_000, "ms": 1_000, "us": 1}
_ISO = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?)?"
_ZONE = r"(Z|[+-]\d{2}:?\d{2})$"
_NUMBER = r"^-?\d+(\.\d+)?$"


def micros_of(values: pa.Array) -> NDArray[np.int64]:
    """Microseconds since 1970 of each value, same length; `BAD` where there is none."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        return micros_of(values.cast(kind.value_type))
    if pa.types.is_timestamp(kind):
        return _scaled(_ints(values, pa.int64()), kind.unit)
    if pa.types.is_date32(kind):
        return _scaled(_ints(values.cast(pa.int32()), pa.int64()), "s", factor=86_400)
    if pa.types.is_date64(kind):
        return _scaled(_ints(values, pa.int64()), "ms")
    if pa.types.is_integer(kind):
        return _from_numbers(_ints(values.cast(pa.int64(), safe=False), pa.int64()))
    if pa.types.is_floating(kind):
        return _from_floats(values)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _from_text(values.cast(pa.string()))
    return np.full(len(values), BAD, dtype=np.int64)


def _ints(values: pa.Array, kind: pa.DataType) -> NDArray[np.int64]:
    """(n,) int64, `BAD` where null."""
    numbers = values.cast(kind) if pa.types.is_integer(values.type) else values.view(kind)
    if numbers.null_count:
        numbers = pc.fill_null(numbers, pa.scalar(BAD, pa.int64()))
    return np.asarray(numbers, dtype=np.int64)


def _scaled(numbers: NDArray[np.int64], unit: str, *, factor: int = 1) -> NDArray[np.int64]:
    missing = numbers == BAD
    if unit == "ns":
        micros = numbers // 1_000
    else:
        scale = _PER_UNIT[unit] * factor
        missing |= (numbers > _LAST // scale) | (numbers < _FIRST // scale)
        micros = np.where(missing, 0, numbers) * scale
    missing |= (micros < _FIRST) | (micros > _LAST)
    return np.where(missing, BAD, micros)


def _from_numbers(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    missing = numbers == BAD
    size = np.abs(np.where(missing, 0, numbers))
    result = np.full(len(numbers), BAD, dtype=np.int64)
    for unit, low, high in (
        ("s", 0, 10**11),
        ("ms", 10**11, 10**14),
        ("us", 10**14, 10**17),
        ("ns", 10**17, None),
    ):
        chosen = ~missing & (size >= low) & (True if high is None else size < high)
        if chosen.any():
            result[chosen] = _scaled(numbers[chosen], unit)
    spelled = ~missing & (numbers >= 19_000_101) & (numbers <= 21_991_231)
    if spelled.any():
        result[spelled] = _from_eight_digits(numbers[spelled], result[spelled])
    return result


def _from_eight_digits(numbers: NDArray[np.int64], otherwise: NDArray[np.int64]) -> NDArray[np.int64]:
    year, month, day = numbers // 10_000, numbers // 100 % 100, numbers % 100
    plausible = (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    months = (year - 1970) * 12 + np.where(plausible, month, 1) - 1
    days = months.astype("datetime64[M]").astype("datetime64[D]") + (np.where(plausible, day, 1) - 1)
    plausible &= days.astype("datetime64[M]").astype(np.int64) == months
    return np.where(plausible, days.astype("datetime64[us]").astype(np.int64), otherwise)


def _from_floats(values: pa.Array) -> NDArray[np.int64]:
    numbers = np.asarray(pc.fill_null(values.cast(pa.float64()), np.nan), dtype=np.float64)
    size = np.abs(numbers)
    unit = np.select([size < 1e11, size < 1e14, size < 1e17], [1e6, 1e3, 1.0], 1e-3)
    whole = np.isfinite(numbers) & (numbers == np.floor(numbers)) & (size < 2**53)
    micros = np.where(np.isfinite(numbers), numbers, 0.0) * unit
    inside = np.isfinite(numbers) & (micros >= _FIRST) & (micros <= _LAST)
    result = np.where(inside, np.where(inside, micros, 0.0).round().astype(np.int64), BAD)
    if whole.any():
        result[whole] = _from_numbers(numbers[whole].astype(np.int64))
    return result


def _from_text(values: pa.Array) -> NDArray[np.int64]:
    text = _call(
        "replace_substring", _call("utf8_trim_whitespace", values), pc.ReplaceSubstringOptions("/", "-")
    )
    result = np.full(len(text), BAD, dtype=np.int64)
    for pattern, parse in (
        (_ISO + "$", _parse_naive),
        (_ISO + _ZONE, _parse_zoned),
        (_NUMBER, _parse_number),
    ):
        matches = _call("match_substring_regex", text, pc.MatchSubstringOptions(pattern))
        chosen = np.asarray(pc.fill_null(matches, fill_value=False))
        if chosen.all() and len(chosen):
            return parse(text)
        if chosen.any():
            result[chosen] = parse(text.filter(pa.array(chosen)))
    rest = np.flatnonzero((result == BAD) & np.asarray(text.is_valid()))
    for index in rest.tolist():
        result[index] = _parse_one(text[index].as_py())
    return result


def _parse_naive(text: pa.Array) -> NDArray[np.int64]:
    return _cast_or_each(text, pa.timestamp("us"))


def _parse_zoned(text: pa.Array) -> NDArray[np.int64]:
    return _cast_or_each(text, pa.timestamp("us", tz="UTC"))


def _parse_number(text: pa.Array) -> NDArray[np.int64]:
    if np.asarray(_call("match_substring", text, pc.MatchSubstringOptions("."))).any():
        return _from_floats(text.cast(pa.float64()))
    try:
        return _from_numbers(_ints(text.cast(pa.int64()), pa.int64()))
    except pa.ArrowInvalid:
        return _from_floats(text.cast(pa.float64()))


def _cast_or_each(text: pa.Array, kind: pa.DataType) -> NDArray[np.int64]:
    try:
        return _scaled(_ints(text.cast(kind), pa.int64()), "us")
    except pa.ArrowInvalid:
        # One impossible date (2026-02-30) fails the whole cast, so that each value has to be tried by itself.
        return np.array([_parse_one(value) for value in text.to_pylist()], dtype=np.int64)


def _parse_one(text: str) -> int:
    try:
        return to_micros(parse_moment(text))
    except (ValueError, OverflowError):
        return BAD


def _call(function: str, values: pa.Array, options: pc.FunctionOptions | None = None) -> pa.Array:
    return pc.call_function(function, [values], options)


_DIRECTIVES = {
    "Y": r"\d{4}",
    "y": r"\d{2}",
    "m": r"\d{1,2}",
    "d": r"\d{1,2}",
    "H": r"\d{1,2}",
    "M": r"\d{1,2}",
    "S": r"\d{1,2}",
    "j": r"\d{1,3}",
    "b": r"[A-Za-z]{3}",
    "G": r"\d{4}",
    "V": r"\d{1,2}",
    "u": r"[1-7]",
}


@dataclass(frozen=True)
class PathDate:
    """Finds a date in a path: a `strptime` pattern such as `date=%Y-%m-%d/hour=%H`, searched anywhere, last match.

    >>> PathDate("%Y-%m").find("landing/2026-01/2026-02.parquet")
    datetime.datetime(2026, 2, 1, 0, 0, tzinfo=datetime.timezone.utc)
    """

    pattern: str

    def find(self, path: str) -> datetime | None:
        """The moment that the path spells, or None."""
        expression = re.sub(r"%([A-Za-z])", lambda match: _directive(match[1]), _escape(self.pattern))
        for match in reversed(list(re.finditer(rf"(?=(?<!\d)({expression})(?!\d))", path))):
            try:
                return datetime.strptime(match[1], self.pattern).replace(tzinfo=UTC)
            except ValueError:
                continue
        return None


def _escape(pattern: str) -> str:
    return re.sub(r"[^\w%/=-]", lambda match: re.escape(match[0]), pattern)


def _directive(letter: str) -> str:
    if letter not in _DIRECTIVES:
        known = " ".join(f"%{name}" for name in _DIRECTIVES)
        raise ValueError(f"%{letter} cannot be looked for in a path; known: {known}")
    return _DIRECTIVES[letter]
