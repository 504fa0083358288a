"""Reading ahead: the next batch is made by another thread while somebody works on the one before."""

from __future__ import annotations

from collections.abc import Generator
from queue import SimpleQueue
from threading import Semaphore, Thread
from typing import TypeVar

_Item = TypeVar("_Item")


class _Failed:
    """What was raised instead of an item."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def read_ahead(items: Generator[_Item], *, ahead: int = 1) -> Generator[_Item]:
    """The same items in the same order, or the same exception, with up to `ahead` of them made before they are asked for.

    `items` runs in a thread of its own from the first item to its end, and is closed there. That thread is gone when
    this iterator is exhausted, raises, or is closed.
    """
    made: SimpleQueue[_Item | _Failed | None] = SimpleQueue()
    room = Semaphore(ahead)
    wanted = True

    def make() -> None:
        try:
            while True:
                room.acquire()
                if not wanted:
                    break
                made.put(next(items))
        except StopIteration:
            made.put(None)
        except BaseException as error:  # noqa: BLE001 - raised below, by whoever asked for the item
            made.put(_Failed(error))
        finally:
            items.close()

    thread = Thread(target=make, name="read-ahead", daemon=True)
    thread.start()
    try:
        while (item := made.get()) is not None:
            if isinstance(item, _Failed):
                raise item.error
            room.release()
            yield item
            del item  # so that the batch is gone before the next one is waited for
    finally:
        wanted = False
        room.release()
        thread.join()
