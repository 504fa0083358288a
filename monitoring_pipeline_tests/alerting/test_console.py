"""The console channel."""

from __future__ import annotations

import io

import pytest

from monitoring_pipeline.alerting.channels import Channel, ConsoleChannel
from monitoring_pipeline.alerting.formats.text import render_text
from monitoring_pipeline.errors import DeliveryError
from monitoring_pipeline_tests.alerting.hostile import digest_of

DIGEST = digest_of(["income", "age"], ["", "EU"])


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_file_gets_plain_text() -> None:
    stream = io.StringIO()
    assert ConsoleChannel(stream).send(DIGEST) == "printed"
    assert stream.getvalue().rstrip() == render_text(DIGEST).rstrip()


def test_a_terminal_gets_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    ConsoleChannel(stream).send(DIGEST)
    assert "\x1b[1;33mWARNING" in stream.getvalue()


def test_standard_output_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    channel = ConsoleChannel()
    channel.send(DIGEST)
    assert "lead-scoring: 4 medium severity issues" in capsys.readouterr().out
    assert isinstance(channel, Channel)


def test_a_stream_that_knows_few_letters_still_gets_the_message() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    ConsoleChannel(stream).send(DIGEST)
    stream.flush()
    assert b"nulls 14.1 %, expected 0?1.2 %" in raw.getvalue()


def test_a_closed_stream_is_a_failed_delivery() -> None:
    stream = io.StringIO()
    stream.close()
    with pytest.raises(DeliveryError, match="cannot print") as caught:
        ConsoleChannel(stream).send(DIGEST)
    assert not caught.value.permanent
