"""Which blocks of the pyramid tell what a window of time holds: the fewest that hold all of it and nothing else.

`fewest` decides, of plain numbers and without a database; `held` asks the store what there is. A bucket belongs to a
window, or to a range that is excluded from it, when it starts in it. A block serves only when it is clean and nothing
in it is outside the window: a month whose first half is before the first batch serves a window that starts in its
middle. Buckets that retention has taken away and that no such block holds are lost, and named.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitoring_pipeline.segments import OVERALL
from monitoring_pipeline.store import schema
from monitoring_pipeline.store.datasets import DatasetRef
from monitoring_pipeline.store.rollups import RETIRED, Level, clean_blocks, forgotten, levels
from monitoring_pipeline.store.schema import BASE_GRAIN
from monitoring_pipeline.store.selection import LISTED_BUCKETS, one_of
from monitoring_pipeline.timegrid import Granularity, TimeRange, from_micros, to_micros

_LONGEST_BLOCK = 31 * 86_400_000_000
_MANY_GAPS = 32
"""Beyond so many stretches without days, all buckets are asked for at once."""


@dataclass(frozen=True, order=True)
class Piece:
    """Profiles of one grain that can be read: a block, or a bucket of the base grain. Microseconds, `end` excluded."""

    start: int
    end: int
    grain: str


@dataclass(frozen=True)
class Plan:
    """What is read for a window: pieces that hold each of its batches once, ascending; batches that nothing holds."""

    pieces: tuple[Piece, ...]
    lost: tuple[int, ...] = ()


@dataclass(frozen=True)
class Held:
    """What a store holds around a window, ascending.

    `points` are moments, in microseconds, each of which stands for data: a bucket, or a day of which no part is asked
    for without the rest. `pieces` are what can be read.
    """

    points: Sequence[int]
    pieces: Sequence[Piece]

    def plan(self, wanted: Sequence[range]) -> Plan:
        """The fewest pieces for these spans, which are ascending and apart."""
        if not wanted:
            return Plan(())
        first, last = wanted[0].start, wanted[-1].stop
        near = _between(self.pieces, first - _LONGEST_BLOCK, last)
        low = bisect_left(self.points, first - _LONGEST_BLOCK)
        return fewest(self.points[low : bisect_left(self.points, last + _LONGEST_BLOCK)], wanted, near)


def fewest(points: Sequence[int], wanted: Sequence[range], pieces: Iterable[Piece]) -> Plan:
    """The fewest pieces that hold every wanted point once and no other point; as few as can be are lost.

    `points` and `wanted` are ascending, the spans apart. Of equally many the finer pieces are taken, which have been
    merged less often.
    """
    asked = [_is_in(wanted, point) for point in points]
    mine = [point for point, yes in zip(points, asked, strict=True) if yes]
    counted = [0, *accumulate(asked)]
    ending: dict[int, list[tuple[int, Piece]]] = {}
    for piece in sorted(pieces, key=lambda one: (one.end - one.start, one)):
        first, last = bisect_left(points, piece.start), bisect_left(points, piece.end)
        if first < last and counted[last] - counted[first] == last - first:
            ending.setdefault(counted[last], []).append((counted[first], piece))
    costs: list[tuple[int, int]] = [(0, 0)]
    steps: list[tuple[int, Piece | None]] = []
    for place in range(1, len(mine) + 1):
        lost, many = costs[place - 1]
        best: tuple[int, int] = (lost + 1, many)
        step: tuple[int, Piece | None] = (place - 1, None)
        for before, piece in ending.get(place, ()):
            lost, many = costs[before]
            if (lost, many + 1) < best:
                best, step = (lost, many + 1), (before, piece)
        costs.append(best)
        steps.append(step)
    chosen: list[Piece] = []
    missing: list[int] = []
    place = len(mine)
    while place:
        before, piece = steps[place - 1]
        if piece is None:
            missing.append(mine[place - 1])
        else:
            chosen.append(piece)
        place = before
    return Plan(tuple(reversed(chosen)), tuple(reversed(missing)))


def spans(window: TimeRange, exclude: Iterable[TimeRange] = ()) -> list[range]:
    """A window without what is excluded, as spans of microseconds, ascending and apart."""
    found: list[range] = []
    start, end = to_micros(window.start), to_micros(window.end)
    for first, last in sorted((to_micros(one.start), to_micros(one.end)) for one in exclude):
        if first > start:
            found.append(range(start, min(first, end)))
        start = max(start, last)
    found.append(range(start, end))
    return [one for one in found if len(one)]


def within(wanted: Iterable[range], span: range) -> list[range]:
    """The parts of spans that lie in another one."""
    cut = (range(max(one.start, span.start), min(one.stop, span.stop)) for one in wanted)
    return [one for one in cut if len(one)]


def held(
    connection: Connection,
    ref: DatasetRef,
    granularity: Granularity,
    wanted: Sequence[range],
    *,
    by: Granularity | None = None,
) -> Held:
    """What there is for these spans, and around them as far as blocks reach. `granularity` is the dataset's.

    `by`: the spans are going to be cut into buckets of that length, so that blocks that are longer do not serve.
    """
    known = known_span(connection, ref)
    wanted = [] if known is None else within(wanted, known)
    if not wanted or known is None:
        return Held((), ())
    floors = [level for level in levels(granularity) if by is None or _fits(level, by)]
    span = range(wanted[0].start, wanted[-1].stop)
    around = [level.covering(span) for level in floors]
    reach = range(
        min([span.start, *(one.start for one in around)]), max([span.stop, *(one.stop for one in around)])
    )
    pieces: list[Piece] = []
    whole: list[range] = []
    for level in floors:
        blocks = [start for start, batches in clean_blocks(connection, ref, level, reach).items() if batches]
        made = [Piece(start, level.end(start), level.grain) for start in sorted(blocks)]
        pieces += made
        if level.granularity is Granularity.DAILY and level.source == BASE_GRAIN:
            whole = [range(one.start, one.end) for one in made if not _is_cut(wanted, one)]
    points = _buckets(connection, ref, granularity, reach, whole)
    gone = forgotten(connection, ref, cause=RETIRED, span=reach)
    alone = [point for point in points if point not in gone]
    if alone:
        indices = granularity.index_array(np.array(alone, np.int64))
        ends = granularity.start_array(indices + 1).tolist()
        pieces += [Piece(start, end, BASE_GRAIN) for start, end in zip(alone, ends, strict=True)]
    return Held(sorted([*points, *(one.start for one in whole)]), sorted(pieces))


def known_span(connection: Connection, ref: DatasetRef) -> range | None:
    """From the first bucket that there is to the last one; None when there is none."""
    bucket = schema.batch.c.bucket
    # One at a time: asked for together, SQLite reads everything between them.
    ends = [
        connection.execute(sa.select(end(bucket)).where(schema.batch.c.dataset == ref.pk)).scalar_one()
        for end in (sa.func.min, sa.func.max)
    ]
    return None if ends[0] is None else range(ends[0], ends[1] + 1)


def _fits(level: Level, by: Granularity) -> bool:
    """Whether buckets of that length consist of whole blocks of a level."""
    return level.granularity is by or (
        level.granularity is Granularity.DAILY and by in (Granularity.WEEKLY, Granularity.MONTHLY)
    )


def _buckets(
    connection: Connection,
    ref: DatasetRef,
    granularity: Granularity,
    reach: range,
    whole: Sequence[range],
) -> list[int]:
    """Buckets that have data and are in none of the blocks `whole`, ascending, those with retired profiles as well.

    Every bucket that could be there is named in the query: going through the rows of all segments takes longer.
    """
    edges = [reach.start, *(edge for one in whole for edge in (one.start, one.stop)), reach.stop]
    gaps = [range(first, last) for first, last in list(pairwise(edges))[::2] if first < last]
    if len(gaps) > _MANY_GAPS:
        gaps = [reach]
    asked: list[int] = []
    for gap in gaps:
        first, last = granularity.index(from_micros(gap.start)), granularity.index(from_micros(gap.stop - 1))
        starts = granularity.start_array(np.arange(first, last + 1, dtype=np.int64))
        asked += starts[(starts >= gap.start) & (starts < gap.stop)].tolist()
    table, names = schema.batch, schema.segment
    overall = sa.select(names.c.pk).where(names.c.dataset == ref.pk, names.c.key == OVERALL).scalar_subquery()
    found: list[int] = []
    for some in in_runs(asked):
        query = sa.select(table.c.bucket).where(
            table.c.dataset == ref.pk, one_of(table.c.bucket, some), table.c.segment == overall
        )
        found += connection.execute(query).scalars()
    return [one for one in sorted(found) if not _is_in(whole, one)] if len(gaps) == 1 else sorted(found)


def in_runs(buckets: Sequence[int], size: int = LISTED_BUCKETS) -> Iterable[Sequence[int]]:
    """Buckets in runs of as many as one query may name."""
    return (buckets[first : first + size] for first in range(0, len(buckets), size))


def _is_in(spans: Sequence[range], point: int) -> bool:
    place = bisect_left(spans, point, key=lambda one: one.stop - 1)
    return place < len(spans) and point >= spans[place].start


def _is_cut(wanted: Sequence[range], piece: Piece) -> bool:
    """Whether some of a piece is wanted and some is not, as far as time goes."""
    parts = within(_near(wanted, piece), range(piece.start, piece.end))
    return bool(parts) and sum(map(len, parts)) < piece.end - piece.start


def _near(wanted: Sequence[range], piece: Piece) -> Sequence[range]:
    first = bisect_left(wanted, piece.start, key=lambda one: one.stop - 1)
    return wanted[first : bisect_left(wanted, piece.end, key=lambda one: one.start)]


def _between(pieces: Sequence[Piece], first: int, last: int) -> Collection[Piece]:
    return pieces[bisect_left(pieces, Piece(first, 0, "")) : bisect_left(pieces, Piece(last, 0, ""))]
