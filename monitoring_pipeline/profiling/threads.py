"""Work on the items of a list that threads share."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from threading import Thread
from typing import TypeVar

_Item = TypeVar("_Item")


def side_by_side(work: Callable[[_Item], object], items: Collection[_Item], *, workers: int) -> None:
    """Do the work for every item, the first ones first; this thread and `workers` - 1 others take what is left.

    Returns when all have stopped. After an exception nothing new is begun, and the one of the earliest item is raised.
    """
    left = deque(enumerate(items))
    failed: dict[int, BaseException] = {}

    def take_part() -> None:
        while left and not failed:
            try:
                place, item = left.popleft()
            except IndexError:  # another thread was quicker
                return
            try:
                work(item)
            except BaseException as error:  # noqa: BLE001 - raised below, by the thread that asked
                failed[place] = error

    others = [Thread(target=take_part, name="profile") for _ in range(min(workers, len(items)) - 1)]
    for thread in others:
        thread.start()
    take_part()
    for thread in others:
        thread.join()
    if failed:
        raise failed[min(failed)]
