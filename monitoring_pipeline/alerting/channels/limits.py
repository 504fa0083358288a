"""How long a channel may take, whatever the other side does, and silence about what libraries would log meanwhile."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

_silenced: set[int] = set()


class TooSlowError(Exception):
    """Nothing came in time."""


class _Silence(logging.Filter):
    """Drops what silenced threads log: addresses with tokens, bodies, answers."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.thread not in _silenced


_SILENCE = _Silence()


class _Call(Generic[T]):
    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self.answer: T | None = None
        self.error: BaseException | None = None

    def run(self) -> None:
        own = threading.get_ident()
        _silenced.add(own)
        try:
            self.answer = self._call()
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits
            self.error = error
        finally:
            _silenced.discard(own)


def within(seconds: float, call: Callable[[], T]) -> T:
    """What `call` returns or raises. Raises TooSlowError when it takes longer; it is then left to itself.

    Time limits of sockets start again with every byte, so that a server that sends one now and then could hold up a
    sender for hours. The libraries' own logs are silent meanwhile.
    """
    for name in ("apprise", "requests", "slack_sdk", "urllib3.connectionpool", "urllib3.connection"):
        logger = logging.getLogger(name)
        if _SILENCE not in logger.filters:
            logger.addFilter(_SILENCE)
    running = _Call(call)
    thread = threading.Thread(target=running.run, daemon=True, name="channel")
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TooSlowError
    if running.error is not None:
        raise running.error
    return running.answer  # pyright: ignore[reportReturnType] - None only where `call` returns it
