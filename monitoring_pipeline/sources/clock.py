"""How rows find their bucket in files nobody has described yet: a column, a date in the path, or numbered files."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from monitoring_pipeline.config.descriptions import ColumnDescription
from monitoring_pipeline.errors import SourceError, UsageError
from monitoring_pipeline.sources.listing import FoundFile
from monitoring_pipeline.sources.sample import Sample
from monitoring_pipeline.sources.timestamps import BAD, PathDate, micros_of
from monitoring_pipeline.timegrid import Granularity, from_micros, to_micros

_PATH_DATES = (
    "date=%Y-%m-%d/hour=%H",
    "dt=%Y-%m-%d/hour=%H",
    "year=%Y/month=%m/day=%d/hour=%H",
    "%Y/%m/%d/%H",
    "%Y-%m-%dT%H",
    "%Y-%m-%d-%H",
    "date=%Y-%m-%d",
    "dt=%Y-%m-%d",
    "year=%Y/month=%m/day=%d",
    "%Y/%m/%d",
    "%Y-%m-%d",
    "%Y_%m_%d",
    "%Y%m%d",
    "year=%Y/month=%m",
    "%Y-%m",
    "%Y_%m",
)
"""Spellings of dates in paths, the most exact first."""

_TIME_WORD = re.compile(
    "at|ts|time|timestamp|datetime|date|day|created|event|occurred|recorded|observed|requests?|requested|pickup"
)
_LATER_WORD = re.compile("updated|modified|deleted|dropoff|end|ended|finished|last|birth|expiry|expires|due")

_ROWS_FOR_A_BUCKET = 50
"""Rows below which the metrics of a bucket say little."""


@dataclass(frozen=True)
class Clock:
    """How rows find their bucket; the fields are those of `DatasetDescription`."""

    granularity: Granularity
    rows_per_bucket: float
    timestamp: str | None = None
    date_in_path: str | None = None
    file_sequence: bool = False
    start: datetime | None = None
    end: datetime | None = None
    fixed_start: bool = False


def find_clock(
    sample: Sample,
    columns: Sequence[ColumnDescription],
    files: Sequence[FoundFile],
    now: datetime,
    notes: list[str],
) -> Clock:
    """Choose, and say why in `notes`. Raises SourceError when nothing tells the time of a row."""
    rated = [(_rating(column, sample.table[column.name].combine_chunks()), column.name) for column in columns]
    best = max(rated, key=lambda item: item[0], default=(0.0, ""))
    if best[0] > 0:
        return _by_column(best[1], sample, notes)
    dated = _by_path(files, sample, notes)
    return dated or _by_sequence(files, sample, now, notes)


def _rating(column: ColumnDescription, values: pa.Array) -> float:
    """How much a column looks like the time of its rows; 0: not at all."""
    words = words_of(column.name)
    named = 2.0 * any(map(_TIME_WORD.fullmatch, words)) - 1.5 * any(map(_LATER_WORD.fullmatch, words))
    if column.kind not in ("timestamp", "text", "integer") or (column.kind != "timestamp" and named <= 0):
        return 0.0
    micros = micros_of(values)
    known = micros[micros != BAD]
    if not len(known) or len(known) < 0.9 * len(micros) or len(np.unique(known)) < 2:
        return 0.0
    plausible = (known > to_micros(datetime(1990, 1, 1, tzinfo=UTC))) & (
        known < to_micros(datetime(2100, 1, 1, tzinfo=UTC))
    )
    if plausible.mean() < 0.98:
        return 0.0
    rising = float(np.mean(known[1:] >= known[:-1]))
    return max((3.0 if column.kind == "timestamp" else 1.0) + named + 2.0 * rising, 0.1)


def clock_of_column(name: str, sample: Sample, notes: list[str]) -> Clock:
    """The clock that a chosen column gives. Raises UsageError when there is no such column, or no time in it."""
    names = sample.table.column_names
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names)}"
        raise UsageError(f"the data has no column {name!r}; {hint}")
    if not (micros_of(sample.table[name].combine_chunks()) != BAD).any():
        raise UsageError(
            f"the column {name!r} holds no times; accepted: timestamps, dates, ISO texts, epochs"
        )
    return _by_column(name, sample, notes)


def _by_column(name: str, sample: Sample, notes: list[str]) -> Clock:
    micros = micros_of(sample.table[name].combine_chunks())
    known = np.sort(micros[micros != BAD])
    low, high = np.quantile(known, [0.001, 0.999], method="nearest").tolist()
    # A few wrong clocks (1970, 2099) must not stretch the span.
    margin = max((high - low) // 10, _LENGTH[Granularity.DAILY])
    usual = known[(known >= low - margin) & (known <= high + margin)]
    stray = len(known) - len(usual)
    granularity, rows = _granularity(usual, sample.rows_in_all)
    notes.append(
        f"{name} is taken for the time of a row; {rows:,.0f} rows a bucket, so the data is {granularity}"
    )
    if stray:
        notes.append(f"{stray} of {len(known):,} times in {name} lie far from all others")
    start, end = (granularity.floor(from_micros(micro)) for micro in (usual[0], usual[-1]))
    return Clock(granularity, rows, timestamp=name, start=start, end=end, fixed_start=bool(stray))


def _granularity(micros: NDArray[np.int64], rows_in_all: int) -> tuple[Granularity, float]:
    """The finest granularity whose buckets have enough rows, and rows per bucket."""
    span = max(int(micros[-1] - micros[0]), 1)
    choice, rows = Granularity.MONTHLY, float(rows_in_all)
    for granularity in (Granularity.MONTHLY, Granularity.WEEKLY, Granularity.DAILY, Granularity.HOURLY):
        if granularity is Granularity.HOURLY and not np.any(micros % _LENGTH[Granularity.DAILY]):
            break
        buckets = span / _LENGTH[granularity] + 1
        if rows_in_all / buckets < _ROWS_FOR_A_BUCKET and granularity is not Granularity.MONTHLY:
            break
        choice, rows = granularity, rows_in_all / buckets
    return choice, rows


def _by_path(files: Sequence[FoundFile], sample: Sample, notes: list[str]) -> Clock | None:
    for pattern in _PATH_DATES:
        moments = [PathDate(pattern).find(file.path) for file in files]
        dates = [moment for moment in moments if moment is not None]
        if len(dates) < 0.9 * len(files) or (len(files) > 1 and len({*dates}) < 2):
            continue
        granularity = Granularity.MONTHLY
        if "%H" in pattern:
            granularity = Granularity.HOURLY
        elif "%d" in pattern:
            granularity = Granularity.DAILY
        buckets = {granularity.floor(date) for date in dates}
        notes.append(
            f"no column tells the time; the paths carry a date, {pattern}, so the data is {granularity}"
        )
        return Clock(
            granularity,
            sample.rows_in_all / len(buckets),
            date_in_path=pattern,
            start=min(buckets),
            end=max(buckets),
        )
    return None


def _by_sequence(files: Sequence[FoundFile], sample: Sample, now: datetime, notes: list[str]) -> Clock:
    """Numbered files as one daily bucket each, the last of them yesterday's."""
    numbers = [
        int(found[-1]) for file in files if (found := re.findall(r"\d+", file.path.rpartition("/")[2]))
    ]
    highest = max(numbers, default=-1)
    if len(numbers) < len(files) or highest > 100_000:
        raise SourceError(
            f"{files[0].path}: no column, path or file number tells the time of a row; "
            "name the timestamp column in dataset.yaml, or put a date into the path"
        )
    today = Granularity.DAILY.floor(now)
    start = today - timedelta(days=highest + 1)
    notes.append(
        "no column or path tells the time; each numbered file is taken for one day, "
        f"number 0 for {start:%Y-%m-%d}: set start in dataset.yaml to the true one"
    )
    end = start + timedelta(days=highest)
    rows = sample.rows_in_all / len(files)
    return Clock(Granularity.DAILY, rows, file_sequence=True, start=start, end=end, fixed_start=True)


_LENGTH = {
    Granularity.HOURLY: 3_600_000_000,
    Granularity.DAILY: 86_400_000_000,
    Granularity.WEEKLY: 604_800_000_000,
    Granularity.MONTHLY: 2_629_800_000_000,
}
"""Microseconds; a month on average."""


def words_of(name: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return [word for word in re.split(r"[^A-Za-z0-9]+", spaced.lower()) if word]
