"""What a page is made of: tiles, cards and rows, and how their words and figures are made safe and short."""

from __future__ import annotations

import html
import math
import re
from dataclasses import dataclass

from markupsafe import Markup

from monitoring_pipeline.alerting.figures import (
    Unit,
    figure,
)

_LONGEST = 400


@dataclass(frozen=True)
class Row:
    """Cells of a table; `alert` marks the row."""

    cells: tuple[Markup | str, ...]
    alert: bool = False


@dataclass(frozen=True)
class Tile:
    """One big figure, what it is, and what to hold it against."""

    label: str
    value: str
    aside: str
    tone: str = ""


@dataclass(frozen=True)
class Card:
    """A chart with its words. `lines` are sentences; `badges` short words with their tone."""

    title: Markup
    badges: tuple[tuple[str, str], ...]
    lines: tuple[Markup, ...]
    chart: Markup
    axis: tuple[str, str] = ("", "")


def prose(words: str, *, most: int = _LONGEST) -> Markup:
    """A sentence, safe: escaped, cut, on one line, names in backticks set as code.

    >>> prose("`a<b` is gone")
    Markup('<code>a&lt;b</code> is gone')
    """
    clean = "".join(letter if letter.isprintable() else " " if letter.isspace() else "�" for letter in words)
    clean = clean if len(clean) <= most else clean[: most - 1] + "…"
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(clean)))  # noqa: S704 - escaped right here


def known_figure(value: float | None, unit: Unit = Unit.NUMBER) -> str:
    """A figure, or a dash where nothing is known."""
    return "–" if value is None or math.isnan(value) else figure(float(value), unit)


def lag_words(seconds: float) -> str:
    """A lag, short: data that was there before its bucket was over came at once."""
    return "–" if math.isnan(seconds) else figure(max(seconds, 0.0), Unit.SECONDS)


def distance(value: float) -> str:
    """A distance as it is read: three places are all that a sketch can tell.

    >>> distance(0.04567), distance(0.0001), distance(12.3)
    ('0.046', '< 0.001', '12.3')
    """
    if math.isnan(value):
        return "–"
    return figure(value) if value >= 1 else f"{value:.3f}" if value == 0 or value >= 0.0005 else "< 0.001"


def drawing(drawn: str) -> Markup:
    """A chart, which has escaped what it was given."""
    return Markup(drawn)  # noqa: S704 - charts escapes what it is given
