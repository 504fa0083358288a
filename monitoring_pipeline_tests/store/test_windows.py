from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef
from monitoring_pipeline.store.query import Question, plan
from monitoring_pipeline.store.rollups import roll_up
from monitoring_pipeline.store.windows import Piece, Plan, fewest, spans
from monitoring_pipeline.timegrid import Granularity, TimeRange, from_micros, to_micros
from monitoring_pipeline_tests.store.stored_days import DAY, HOUR, MONDAY, some_profile, write

DAILY, HOURLY = Granularity.DAILY, Granularity.HOURLY


def _cheapest(points: list[int], wanted: list[range], pieces: list[Piece]) -> tuple[int, int]:
    """Lost points and pieces of the best plan, by trying every set of pieces."""
    mine = {point for point in points if any(point in span for span in wanted)}
    holds = {piece: {point for point in points if piece.start <= point < piece.end} for piece in pieces}
    usable = [piece for piece in pieces if holds[piece] and holds[piece] <= mine]
    best = (len(mine), 0)
    for many in range(len(usable) + 1):
        for chosen in combinations(usable, many):
            held = [point for piece in chosen for point in holds[piece]]
            if len(held) == len(set(held)):
                best = min(best, (len(mine) - len(held), many))
    return best


_points = st.lists(st.integers(0, 23), unique=True, max_size=7).map(sorted)
_span = st.tuples(st.integers(0, 23), st.integers(1, 12)).map(lambda one: (one[0], one[0] + one[1]))


@settings(max_examples=100)
@given(
    _points,
    st.lists(_span, min_size=1, max_size=3),
    st.lists(_span, max_size=5, unique=True),
    st.sets(st.integers(0, 23), max_size=9),
)
def test_no_other_choice_of_pieces_holds_more_or_is_smaller(
    points: list[int], wanted: list[tuple[int, int]], blocks: list[tuple[int, int]], retired: set[int]
) -> None:
    apart: list[range] = []
    for first, last in sorted(wanted):
        if not apart or first >= apart[-1].stop:
            apart.append(range(first, last))
    pieces = [Piece(start, end, "block") for start, end in blocks]
    pieces += [Piece(point, point + 1, "base") for point in points if point not in retired]
    found = fewest(points, apart, pieces)
    told = [point for piece in found.pieces for point in points if piece.start <= point < piece.end]
    asked = [point for point in points if any(point in span for span in apart)]
    assert sorted([*told, *found.lost]) == asked
    assert list(found.pieces) == sorted(found.pieces)
    assert (len(found.lost), len(found.pieces)) == _cheapest(points, apart, pieces)


def test_of_equally_many_pieces_the_finer_is_taken() -> None:
    block, bucket = Piece(0, 7, "week"), Piece(3, 4, "base")
    assert fewest([3], [range(10)], [block, bucket]).pieces == (bucket,)


@given(
    st.tuples(st.integers(0, 40), st.integers(0, 40)).map(sorted),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)).map(sorted), max_size=5),
)
def test_what_is_excluded_is_cut_out(window: list[int], exclude: list[list[int]]) -> None:
    def range_of(ends: list[int]) -> TimeRange:
        return TimeRange(from_micros(ends[0]), from_micros(ends[1]))

    found = spans(range_of(window), [range_of(one) for one in exclude])
    expected = [one for one in range(*window) if not any(first <= one < last for first, last in exclude)]
    assert [one for span in found for one in span] == expected
    assert all(before.stop <= after.start for before, after in pairwise(found))


def _counts(found: Plan) -> dict[str, int]:
    grains = [piece.grain for piece in found.pieces]
    return {grain: grains.count(grain) for grain in sorted({*grains})}


def _window(first: datetime, last: datetime) -> TimeRange:
    return TimeRange(first, last)


def test_a_quarter_of_days_is_three_months(store: Store, ref: DatasetRef) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    content = some_profile(0)
    for day in range(92):
        write(store, ref, start + day * DAY, content)
    roll_up(store, ref, DAILY, now=start + 92 * DAY)
    whole = Question(_window(start, start + 90 * DAY), DAILY)
    assert _counts(plan(store, ref, whole)) == {"month": 3}
    # From Monday the 5th: three weeks to the 25th, six days, February, March, two days of April.
    shifted = Question(_window(start + 4 * DAY, start + 92 * DAY), DAILY)
    assert _counts(plan(store, ref, shifted)) == {"base": 8, "week": 3, "month": 2}
    out = Question(
        _window(start, start + 90 * DAY), DAILY, exclude=[_window(start + 40 * DAY, start + 41 * DAY)]
    )
    found = plan(store, ref, out)
    assert found.lost == ()
    days = {
        day
        for piece in found.pieces
        for day in range(piece.start, piece.end, int(DAY / timedelta(microseconds=1)))
    }
    assert days == {to_micros(start + day * DAY) for day in range(90) if day != 40}


def test_a_stale_block_is_not_used(store: Store, ref: DatasetRef) -> None:
    for day in range(14):
        write(store, ref, MONDAY + day * DAY, some_profile(day))
    roll_up(store, ref, DAILY, now=MONDAY + 14 * DAY)
    question = Question(_window(MONDAY, MONDAY + 14 * DAY), DAILY)
    assert _counts(plan(store, ref, question)) == {"week": 2}
    write(store, ref, MONDAY + 3 * DAY, some_profile(99), fingerprint="second")
    assert _counts(plan(store, ref, question)) == {"base": 7, "week": 1}
    roll_up(store, ref, DAILY, now=MONDAY + 14 * DAY)
    assert _counts(plan(store, ref, question)) == {"week": 2}


def test_hours_are_told_by_days_and_the_ends_by_hours(store: Store, ref: DatasetRef) -> None:
    content = some_profile(0)
    for hour in range(24 * 3):
        write(store, ref, MONDAY + hour * HOUR, content)
    roll_up(store, ref, HOURLY, now=MONDAY + 3 * DAY)
    found = plan(store, ref, Question(_window(MONDAY + 22 * HOUR, MONDAY + 2 * DAY + HOUR), HOURLY))
    assert _counts(found) == {"base": 3, "day": 1}
    starts = np.array([piece.start for piece in found.pieces])
    assert (np.diff(starts) > 0).all()


def test_a_block_serves_a_window_that_starts_where_the_data_does(store: Store, ref: DatasetRef) -> None:
    for day in range(2, 7):
        write(store, ref, MONDAY + day * DAY, some_profile(day))
    roll_up(store, ref, DAILY, now=MONDAY + 7 * DAY)
    found = plan(store, ref, Question(_window(MONDAY + 2 * DAY, MONDAY + 30 * DAY), DAILY))
    assert _counts(found) == {"week": 1}


@pytest.mark.parametrize("granularity", [Granularity.WEEKLY, Granularity.MONTHLY])
def test_what_has_no_pyramid_is_read_bucket_by_bucket(
    store: Store, ref: DatasetRef, granularity: Granularity
) -> None:
    first = granularity.floor(MONDAY)
    for number in range(3):
        write(store, ref, granularity.shift(first, number), some_profile(number))
    window = _window(first, granularity.shift(first, 2))
    assert _counts(plan(store, ref, Question(window, granularity))) == {"base": 2}


def test_nothing_is_planned_where_nothing_is(store: Store, ref: DatasetRef) -> None:
    assert plan(store, ref, Question(TimeRange.always(), DAILY)) == Plan(())
    write(store, ref, MONDAY, some_profile(0))
    assert _counts(plan(store, ref, Question(TimeRange.always(), HOURLY))) == {"base": 1}
    assert plan(store, ref, Question(_window(MONDAY + DAY, MONDAY + 9 * DAY), DAILY)) == Plan(())
