"""Questions about any window of time: series of scalars at any granularity, and merged profiles.

A question names a window, what is excluded from it, columns, and segments, which may also be aggregates of those that
are stored. It is answered from the fewest blocks of the pyramid (`windows`), and from the segments themselves or from
the finer ones that they consist of (`aggregates`), as if the data had been profiled that way. All of an answer is one
reading transaction's view. What retention has taken away, and segments that nothing tells of, are said, never guessed.

Metrics, and everything else that people ask for, are one floor up: `monitoring_pipeline.telemetry`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.engine import Connection

from monitoring_pipeline.errors import StoreError, UsageError
from monitoring_pipeline.profiling.profile import ColumnProfile, DatasetProfile
from monitoring_pipeline.segments import OVERALL
from monitoring_pipeline.store import reading, schema
from monitoring_pipeline.store.aggregates import aggregates, names_of
from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef, numbers
from monitoring_pipeline.store.profiles import Series
from monitoring_pipeline.store.reading import Asked, Layout, Unknown
from monitoring_pipeline.store.schema import PROFILE_SCALARS
from monitoring_pipeline.store.windows import Plan, held, known_span, spans, within
from monitoring_pipeline.timegrid import Granularity, TimeRange, from_micros, to_micros

_COARSER: dict[Granularity, tuple[Granularity, ...]] = {
    Granularity.QUARTER_HOURLY: tuple(Granularity),
    Granularity.HOURLY: tuple(Granularity)[1:],
    Granularity.DAILY: (Granularity.DAILY, Granularity.WEEKLY, Granularity.MONTHLY),
    Granularity.WEEKLY: (Granularity.WEEKLY,),
    Granularity.MONTHLY: (Granularity.MONTHLY,),
}
"""Into what the buckets of a dataset can be put together: a month is no sum of weeks."""


@dataclass(frozen=True)
class Question:
    """What is asked for. `granularity` is the dataset's.

    A bucket belongs to the window, or to an excluded range, when it starts in it. `columns` None means every column,
    without the segments' own rows: ask for those with `DATASET_COLUMN`. `segments` None means all that are stored;
    a key that is not stored, such as "channel=web" where the data is segmented by channel and region, is an aggregate.
    `sketches` are those that merged profiles get, by component name (`kll.v1` for histograms alone); None is all.
    """

    window: TimeRange
    granularity: Granularity
    columns: Collection[str] | None = None
    segments: Collection[str] | None = None
    exclude: Sequence[TimeRange] = ()
    sketches: Collection[str] | None = None


@dataclass(frozen=True)
class SeriesAnswer:
    """A series, NaN where there is nothing or where it is not known; `notes` say what is not known, and why."""

    series: Series
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Merged:
    """The profile of a window: its `profile` has the segments that were asked for.

    `blocks` are how many blocks of each grain it was merged from; `notes` say what is missing, if that was allowed.
    """

    profile: DatasetProfile
    blocks: dict[str, int]
    notes: tuple[str, ...] = ()


def series(
    store: Store,
    ref: DatasetRef,
    scalars: Sequence[str],
    question: Question,
    *,
    by: Granularity | None = None,
) -> SeriesAnswer:
    """Scalars of profiles as matrices, one value for each bucket of the granularity `by`, the dataset's unless given.

    Buckets that overlap the window are on the axis; the value of one is that of all of it, save for what is excluded.
    Raises StoreError for an unknown scalar, UsageError for a granularity that the data cannot be put together in, or
    segments by columns that it is not segmented by.
    """
    _check_scalars(scalars)
    with store.read() as connection:
        return _scalars(connection, ref, scalars, question, _axis(connection, ref, question, by))


def totals(store: Store, ref: DatasetRef, scalars: Sequence[str], question: Question) -> SeriesAnswer:
    """Scalars of everything in the window together: a series of one value, at the window's start.

    Opens no sketch unless a scalar is asked for that only sketches tell. Raises what `series` raises.
    """
    _check_scalars(scalars)
    with store.read() as connection:
        return _scalars(connection, ref, scalars, question, _whole(connection, ref, question))


def merged(store: Store, ref: DatasetRef, question: Question, *, partial: bool = False) -> Merged:
    """One profile of everything in the window.

    Raises UsageError when some of it is not known, because retention has removed it and no block holds it without what
    lies outside the window; the message names a window that can be answered. With `partial`, what is known is merged
    and the rest is in the notes.
    """
    with store.read() as connection:
        axis = _whole(connection, ref, question)
        layout = _layout(connection, ref, question, axis)
        notes = _notes(question, axis, layout.unknown)
        if notes and not partial:
            raise UsageError(f"{notes[0]}; `partial` leaves it out")
        found = reading.profiles_of(connection, ref, layout, sketches=question.sketches)
    blocks: dict[str, int] = {}
    for piece in axis.plans[0].pieces:
        blocks[piece.grain] = blocks.get(piece.grain, 0) + 1
    return Merged(found.get(0, DatasetProfile()), blocks, notes)


def merged_buckets(
    store: Store, ref: DatasetRef, question: Question, *, by: Granularity
) -> tuple[NDArray[np.int64], dict[int, DatasetProfile], tuple[str, ...]]:
    """`merged` of each bucket of the granularity `by`: bucket starts, profiles by place among them, and notes.

    What is not known of a bucket is left out, and noted. For series of what only sketches and components tell.
    """
    with store.read() as connection:
        axis = _axis(connection, ref, question, by)
        layout = _layout(connection, ref, question, axis)
        found = reading.profiles_of(connection, ref, layout, sketches=question.sketches)
        return (
            axis.buckets,
            {at: one for at, one in found.items() if not axis.plans[at].lost},
            _notes(question, axis, layout.unknown),
        )


def plan(store: Store, ref: DatasetRef, question: Question) -> Plan:
    """From which blocks `merged` would answer, without reading them."""
    with store.read() as connection:
        return _whole(connection, ref, question).plans[0]


def segments_by(store: Store, ref: DatasetRef, names: Collection[str]) -> list[str]:
    """Keys of the segments by these columns, sorted: those that are stored, or that finer ones make up.

    Raises UsageError when the data is not segmented by these columns.
    """
    with store.read() as connection:
        stored = numbers(connection, ref, schema.segment).keys() - {OVERALL}
    wanted = {*names}
    _check_names(stored, wanted)
    return [*aggregates([key for key in stored if wanted <= {*names_of(key)}], wanted)]


@dataclass(frozen=True)
class _Axis:
    """Bucket starts (n,) int64 in microseconds, and what each is answered from."""

    buckets: NDArray[np.int64]
    plans: Sequence[Plan]


def _check_scalars(scalars: Sequence[str]) -> None:
    unknown = [name for name in scalars if name not in PROFILE_SCALARS]
    if unknown:
        raise StoreError(
            f"no scalar {', '.join(unknown)} in a profile; accepted: {', '.join(PROFILE_SCALARS)}"
        )


def _scalars(
    connection: Connection, ref: DatasetRef, scalars: Sequence[str], question: Question, axis: _Axis
) -> SeriesAnswer:
    layout = _layout(connection, ref, question, axis)
    values = reading.scalars_of(connection, ref, layout, scalars, n_targets=len(axis.plans))
    found = Series(values.keys, axis.buckets, values.scalars)
    return SeriesAnswer(_without_unknown(found, axis, layout.unknown), _notes(question, axis, layout.unknown))


def _axis(connection: Connection, ref: DatasetRef, question: Question, by: Granularity | None) -> _Axis:
    by = by or question.granularity
    accepted, window = _COARSER[question.granularity], question.window
    if by not in accepted:
        raise UsageError(
            f"{question.granularity} buckets cannot be put together into {by} ones; accepted: {', '.join(accepted)}"
        )
    window = _bounded(window, known_span(connection, ref), by)
    if window.start == window.end:
        return _Axis(np.zeros(0, np.int64), ())
    first, last = by.index(window.start), by.index(from_micros(to_micros(window.end) - 1))
    edges = by.start_array(np.arange(first, last + 2, dtype=np.int64))
    whole = TimeRange(from_micros(int(edges[0])), from_micros(int(edges[-1])))
    wanted = spans(whole, question.exclude)
    there = held(connection, ref, question.granularity, wanted, by=by)
    return _Axis(
        edges[:-1],
        [
            there.plan(within(wanted, range(start, end)))
            for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
        ],
    )


_LONGEST_AXIS = 100_000


def _bounded(window: TimeRange, known: range | None, by: Granularity) -> TimeRange:
    """The window; one that nobody would look at bucket by bucket ends where the data ends."""
    if by.index(window.end) - by.index(window.start) <= _LONGEST_AXIS:
        return window
    if known is None:
        return TimeRange(window.start, window.start)
    start = min(max(window.start, by.floor(from_micros(known.start))), window.end)
    end = by.shift(by.floor(from_micros(known.stop - 1)), 1)
    return TimeRange(start, max(start, min(window.end, end)))


def _whole(connection: Connection, ref: DatasetRef, question: Question) -> _Axis:
    wanted = spans(question.window, question.exclude)
    there = held(connection, ref, question.granularity, wanted)
    return _Axis(np.array([to_micros(question.window.start)], np.int64), [there.plan(wanted)])


def _layout(connection: Connection, ref: DatasetRef, question: Question, axis: _Axis) -> Layout:
    stored = numbers(connection, ref, schema.segment)
    asked = sorted(stored if question.segments is None else {*question.segments})
    for key in asked:
        if key not in stored and stored:
            try:
                _check_names(stored.keys() - {OVERALL}, {*names_of(key)})
            except ValueError as error:
                raise UsageError(str(error)) from None
    return reading.layout(connection, ref, Asked(asked, question.columns), axis.plans)


def _check_names(stored: Collection[str], names: Collection[str]) -> None:
    """Raise UsageError unless segments by these columns are stored or can be made out of finer ones."""
    kinds = sorted({names_of(key) for key in stored})
    if names and not any({*names} <= {*kind} for kind in kinds):
        told = "; ".join(", ".join(kind) for kind in kinds) or "nothing"
        raise UsageError(f"the data is not segmented by {', '.join(sorted(names))}; it is by: {told}")


def _without_unknown(found: Series, axis: _Axis, unknown: Collection[Unknown]) -> Series:
    """The series with NaN where something is lost or cannot be told."""
    lost = [at for at, one in enumerate(axis.plans) if one.lost]
    if not lost and not unknown:
        return found
    rows: dict[str, list[int]] = {}
    for row, (segment, _) in enumerate(found.keys):
        rows.setdefault(segment, []).append(row)
    for values in found.values.values():
        values[:, lost] = np.nan
        for one in unknown:
            values[rows.get(one.segment, []), one.target] = np.nan
    return found


def _notes(question: Question, axis: _Axis, unknown: Collection[Unknown]) -> tuple[str, ...]:
    notes: list[str] = []
    lost = sorted({point for one in axis.plans for point in one.lost})
    if lost:
        first, last = from_micros(lost[0]), from_micros(lost[-1])
        notes.append(
            f"retention has removed the profiles of {len(lost):,} of the buckets that were asked for, from "
            f"{_told(first)} to {_told(last)}, and the roll-ups that are left hold them only together with others; "
            + _advice(question, axis, first, last)
        )
    segments = sorted({one.segment for one in unknown})
    if segments:
        several = ", ".join(repr(key) for key in segments[:3]) + (", …" if len(segments) > 3 else "")
        notes.append(
            f"the segment {several} is not stored for all of this time, and what is does not tell it: finer segments "
            "do not hold all rows, or some were put together as (other); `segments` of dataset.yaml can name it"
        )
    return tuple(notes)


def _advice(question: Question, axis: _Axis, first: datetime, last: datetime) -> str:
    """A window around what is lost that whole days, weeks or months fill."""
    base, window = question.granularity, question.window
    end = base.shift(last, 1)
    months = (Granularity.MONTHLY.floor(first), _ceiling(Granularity.MONTHLY, end))
    if len(axis.plans) > 1:
        return "a coarser granularity may have them"
    start, stop = min(window.start, months[0]), max(window.end, months[1])
    return f"ask for whole months, such as from {_told(start)} to {_told(stop)}"


def _ceiling(granularity: Granularity, moment: datetime) -> datetime:
    floor = granularity.floor(moment)
    return floor if floor == moment else granularity.shift(floor, 1)


def _told(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}" if moment.hour == moment.minute == 0 else f"{moment:%Y-%m-%dT%H:%M}"


__all__ = [
    "ColumnProfile",
    "DatasetProfile",
    "Merged",
    "Question",
    "Series",
    "SeriesAnswer",
    "merged",
    "merged_buckets",
    "plan",
    "segments_by",
    "series",
    "totals",
]
