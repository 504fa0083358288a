"""Digests on the terminal, or in the log of whatever runs the pipeline."""

from __future__ import annotations

import sys
from typing import TextIO

from rich.console import Console
from rich.text import Text

from monitoring_pipeline.alerting.digests import Digest, Escalation
from monitoring_pipeline.alerting.formats.text import WIDTH, text_of
from monitoring_pipeline.alerting.messages import Message, message_of
from monitoring_pipeline.errors import DeliveryError

_COLOURS = {Escalation.CRITICAL: "bold red", Escalation.WARNING: "bold yellow", Escalation.INFO: "bold blue"}


class ConsoleChannel:
    """Prints digests to a stream (standard output unless given): in colour on a terminal, plain anywhere else."""

    def __init__(self, stream: TextIO | None = None, *, name: str = "console") -> None:
        self._stream = stream
        self._name = name

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    def __repr__(self) -> str:
        return "ConsoleChannel()"

    def send(self, digest: Digest, *, thread: str | None = None) -> str:
        """Print the digest. Raises DeliveryError when the stream is gone."""
        return self.say(message_of(digest), key=digest.dedup_key, thread=thread)

    def say(self, message: Message, *, key: str, thread: str | None = None) -> str:  # noqa: ARG002 - no threads here
        """Print any message."""
        stream = self._stream or sys.stdout
        text = _printable(text_of(message), stream.encoding)
        console = Console(file=stream, highlight=False, markup=False, emoji=False, width=WIDTH)
        problem = None
        try:
            console.print(_coloured(text, message.level), soft_wrap=True)
            stream.flush()
        except (OSError, ValueError) as error:
            problem = type(error).__name__
        if problem is not None:
            raise DeliveryError(f"cannot print to the console: {problem}")
        return "printed"


def _printable(text: str, encoding: str | None) -> str:
    """The text with what the stream cannot show replaced."""
    encoding = encoding or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


def _coloured(text: str, level: Escalation) -> Text:
    shown = Text(text)
    shown.stylize(_COLOURS[level], 0, len(level.value))
    shown.highlight_regex(r"`[^`\n]+`", "cyan")
    return shown
