"""Digests as HTML for e-mail, and the charts in them."""

from __future__ import annotations

import math
import struct
import zlib

import numpy as np
import pytest

from monitoring_pipeline.alerting.formats.html_mail import html_mail
from monitoring_pipeline.alerting.formats.png import ALERT, BAND, HEIGHT, LINE, WIDTH, chart_png
from monitoring_pipeline.alerting.messages import Chart, message_of
from monitoring_pipeline_tests.alerting.hostile import NASTY, digest_of


def pixels(png: bytes) -> np.ndarray:
    """What a reader of the format sees: height × width × 3. Checks every checksum."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    chunks: dict[bytes, bytes] = {}
    place = 8
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        kind, data = png[place + 4 : place + 8], png[place + 8 : place + 8 + length]
        (checksum,) = struct.unpack(">I", png[place + 8 + length : place + 12 + length])
        assert checksum == zlib.crc32(kind + data)
        chunks[kind] = data
        place += 12 + length
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    assert struct.unpack(">IIBB", chunks[b"IHDR"][:10]) == (WIDTH, HEIGHT, 8, 2)
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(HEIGHT, 1 + WIDTH * 3)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(HEIGHT, WIDTH, 3)


def has(image: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (image == np.array(colour)).all(axis=2)


def test_a_chart_shows_line_band_and_alarm_where_they_are() -> None:
    flat = np.zeros(10)
    flat[9] = 10.0
    drawn = chart_png(flat, lower=np.full(10, 0.0), upper=np.full(10, 1.0), marks=[9])
    assert drawn is not None
    image = pixels(drawn)
    alarm_rows, alarm_columns = np.nonzero(has(image, ALERT))
    assert alarm_rows.mean() < HEIGHT / 4  # at the top
    assert alarm_columns.min() > WIDTH * 0.9  # at the right end
    assert np.nonzero(has(image, BAND))[0].min() > HEIGHT / 2  # what was expected lies low
    assert has(image, LINE)[:, : WIDTH // 2].any()


@pytest.mark.parametrize("values", [[], [math.nan] * 3, [math.inf], [1e308, -1e308]])
def test_nothing_to_draw_is_no_chart(values: list[float]) -> None:
    assert chart_png(np.array(values)) is None


@pytest.mark.parametrize(
    "values", [[5.0], [0.0, 0.0], [1.0, math.nan, 2.0], [math.nan, 3.0, math.nan], [1e-300, 1e300]]
)
def test_odd_series_can_be_drawn(values: list[float]) -> None:
    drawn = chart_png(
        np.array(values), upper=np.full(len(values), np.nan), lower=np.full(len(values), -np.inf)
    )
    assert drawn is not None
    assert has(pixels(drawn), LINE).any()


def test_nothing_in_a_digest_becomes_markup() -> None:
    page = html_mail(message_of(digest_of([NASTY, "<img src=x onerror=alert(1)>"], ["<b>"]))).html
    assert "<img" not in page
    assert "<b>EU" not in page
    assert "<script" not in page


def test_names_are_set_as_code_and_charts_refer_to_their_pictures() -> None:
    message = message_of(digest_of(["income"], [""]))
    chart = Chart("`income` nulls", (1.0, 2.0, 9.0), marks=(2,), caption='1 to 9 "%"')
    mail = html_mail(message, prefix="p", charts=[chart])
    (name,) = mail.pictures
    assert f'src="cid:{name}"' in mail.html
    assert "1 to 9 &#34;%&#34;" in mail.html
    assert ">income</code>" in mail.html


def test_a_chart_of_nothing_keeps_its_words() -> None:
    mail = html_mail(
        message_of(digest_of(["income"], [""])), charts=[Chart("t", (None, None), caption="no data")]
    )
    assert not mail.pictures
    assert "no data" in mail.html
    assert "cid:" not in mail.html
