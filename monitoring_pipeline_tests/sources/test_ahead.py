"""Reading ahead changes when items are made, never which."""

from __future__ import annotations

import threading
from collections.abc import Generator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring_pipeline.sources.ahead import read_ahead


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "read-ahead"]


class Numbers:
    """Counts up, notes what it made, in which thread, and whether it was closed."""

    def __init__(self) -> None:
        self.made: list[int] = []
        self.threads: set[int] = set()
        self.closed = threading.Event()
        self.three = threading.Event()

    def items(self) -> Generator[int]:
        try:
            for number in range(1_000):
                self.made.append(number)
                self.threads.add(threading.get_ident())
                if number == 2:
                    self.three.set()
                yield number
        finally:
            self.closed.set()


@given(st.lists(st.integers(), max_size=20), st.integers(1, 3))
def test_the_same_items_come_in_the_same_order(items: list[int], ahead: int) -> None:
    assert list(read_ahead((item for item in items), ahead=ahead)) == items
    assert readers() == []


def test_items_are_made_elsewhere_and_no_more_than_asked_for() -> None:
    numbers = Numbers()
    ahead = read_ahead(numbers.items(), ahead=2)
    assert next(ahead) == 0
    assert numbers.three.wait(10)  # made without being asked for
    assert len(numbers.made) <= 3
    assert numbers.threads != {threading.get_ident()}
    ahead.close()
    assert len(numbers.made) <= 3


def test_an_exception_arrives_where_its_item_would_have() -> None:
    def items() -> Generator[int]:
        yield 1
        yield 2
        raise OSError("the disk is gone")

    ahead = read_ahead(items())
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(OSError, match="the disk is gone"):
        next(ahead)
    assert readers() == []


def test_closed_early_it_leaves_nothing_behind() -> None:
    numbers = Numbers()
    ahead = read_ahead(numbers.items())
    next(ahead)
    ahead.close()
    assert numbers.closed.is_set()
    assert readers() == []
    assert list(ahead) == []
