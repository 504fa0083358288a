"""Work that threads share is done once for every item, and fails as if one thread had done it."""

from __future__ import annotations

import threading

import pytest

from monitoring_pipeline.profiling.threads import side_by_side


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_item_is_worked_on_once(workers: int) -> None:
    done: list[int] = []
    side_by_side(done.append, range(100), workers=workers)
    assert sorted(done) == list(range(100))


def test_one_worker_keeps_the_order_and_needs_no_thread() -> None:
    threads: list[int] = []
    side_by_side(lambda _: threads.append(threading.get_ident()), range(3), workers=1)
    assert threads == [threading.get_ident()] * 3


def test_several_work_at_the_same_time() -> None:
    meeting = threading.Barrier(2, timeout=10)
    side_by_side(lambda _: meeting.wait(), range(2), workers=2)


def test_no_items_are_no_work() -> None:
    side_by_side(lambda _: pytest.fail("there is nothing to do"), [], workers=4)


@pytest.mark.parametrize("workers", [1, 3])
def test_the_first_failure_is_raised_and_nothing_new_begins(workers: int) -> None:
    begun: list[int] = []

    def work(item: int) -> None:
        begun.append(item)
        raise ValueError(f"item {item}")

    with pytest.raises(ValueError, match="item 0"):
        side_by_side(work, range(100), workers=workers)
    assert len(begun) <= workers
    assert threading.active_count() == 1 or all(t.name != "profile" for t in threading.enumerate())
