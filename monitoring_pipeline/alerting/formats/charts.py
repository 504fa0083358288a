"""Small charts as SVG, for wherever HTML is shown: notebooks and reports.

Pure text, for inside of an HTML page: nothing is fetched and nothing runs. A colour is any CSS colour, so that a page
with a dark mode can give `var(--name)`. Texts from data are cleaned of control characters, cut and escaped here.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Collection, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.alerting.figures import Unit, figure, name

Floats = NDArray[np.float64]
_Place = Callable[[int, float], str]


class Size(NamedTuple):
    """Width and height of a chart in pixels."""

    width: int
    height: int


SMALL: Final = Size(180, 36)
MOST_POINTS: Final = 200
"""Points of a chart over time; neighbours are put together where there are more."""

_LINE, _ROOMY_LINE = 13, 28
_MARK, _POINT = 2.6, 1.7


def text(words: str, *, most: int = 80) -> str:
    """Any text, safe inside HTML: control characters replaced, cut, escaped.

    >>> text("<b>\\x1b")
    '&lt;b&gt;�'
    """
    clean = "".join(name(words[start : start + 80]) for start in range(0, min(len(words), most), 80))
    return html.escape(clean if len(words) <= most else clean[: most - 1] + "…")


def areas(series: Sequence[Floats], colours: Sequence[str], caption: str, *, size: Size = SMALL) -> str:
    """Steps over equal bins, (n_bins,) each, one series over the other. `caption` is the title, already safe."""
    highest = max(float(shares.max(initial=0.0)) for shares in series) or 1.0
    paths: list[str] = []
    for shares, colour in zip(series, colours, strict=True):
        width = size.width / len(shares)
        steps = "".join(
            f"V{size.height * (1 - share / highest):.1f}H{width * (at + 1):.1f}"
            for at, share in enumerate(shares.tolist())
        )
        paths.append(
            f'<path d="M0 {size.height}{steps}V{size.height}Z" style="fill:{colour};stroke:{colour}" '
            'fill-opacity="0.35"/>'
        )
    return svg("".join(paths), caption, size=size)


def bars(
    rows: Sequence[tuple[str, Sequence[float]]],
    colours: Sequence[str],
    caption: str = "",
    *,
    width: int = SMALL.width,
    roomy: bool = False,
) -> str:
    """Shares as bars with their labels, those of one label below each other; nothing of no rows.

    Labels stand on their bars, or, `roomy`, above them.
    """
    if not rows:
        return ""
    drawn: list[str] = []
    line, top = (_ROOMY_LINE, _LINE) if roomy else (_LINE, 0)
    thick = (line - top - (4 if roomy else 2)) / len(colours)
    for at, (label, shares) in enumerate(rows):
        for place, (share, colour) in enumerate(zip(shares, colours, strict=True)):
            y = at * line + top + place * thick
            length = width * min(max(share, 0.0), 1.0)
            drawn.append(
                f'<rect y="{y:.1f}" width="{length:.1f}" height="{thick:.1f}" style="fill:{colour}" '
                f'fill-opacity="{1 if roomy else 0.45}"/>'
            )
        told = f"{text(label, most=24)} {' → '.join(figure(share, Unit.RATIO) for share in shares)}"
        drawn.append(
            f'<text x="{0 if roomy else 2}" y="{at * line + _LINE - 4}" font-size="{11 if roomy else 10}" '
            f'fill="currentColor">{told}</text>'
        )
    return svg("".join(drawn), caption, size=Size(width, len(rows) * line))


def columns(
    values: Floats, colours: tuple[str, str], caption: str, *, split: int, missing: str, size: Size
) -> str:
    """Amounts over time, (n_buckets,) from 0 up: those before bucket `split` in the first colour, the others in the
    second. A bucket without a value is a short mark in the colour `missing`.
    """
    group = _group(len(values))
    split = round(split / group)
    shown = _thinned(values, group)
    highest = float(np.max(shown, initial=0.0, where=np.isfinite(shown))) or 1.0
    width = size.width / max(len(shown), 1)
    drawn: list[str] = []
    for at, value in enumerate(shown.tolist()):
        if not math.isfinite(value):
            y, height, colour = size.height - 4.0, 4.0, missing
        else:
            height = max(size.height * (value / highest), 0.6)
            y, colour = size.height - height, colours[at >= split]
        drawn.append(
            f'<rect x="{at * width:.1f}" y="{y:.1f}" width="{max(width * 0.82, 0.5):.1f}" '
            f'height="{height:.1f}" style="fill:{colour}"/>'
        )
    return svg("".join(drawn), caption, size=size)


def timeline(
    values: Floats,
    colours: tuple[str, str],
    caption: str,
    *,
    size: Size,
    split: int = 0,
    band: tuple[Floats, Floats] | None = None,
    marks: Collection[int] = (),
    alert: str = "currentColor",
    tint: str = "none",
) -> str:
    """Values over time, (n_buckets,) float64 with gaps where they are NaN: those before bucket `split` in the first
    colour, the others in the second. `band`: lower and upper bounds of what was expected, same shape, ±inf or NaN where
    there is none, filled with `tint`. `marks`: buckets that get a dot in the colour `alert`.
    """
    group = _group(len(values))
    shown = _thinned(values, group)
    bounds = [_thinned(np.where(np.isfinite(one), one, np.nan), group) for one in band or ()]
    known = np.concatenate([shown, *bounds])
    known = known[np.isfinite(known)]
    if not len(known):
        return ""
    low, high = float(known.min()), float(known.max())
    room = (high - low) * 0.08 if high > low else max(abs(high), 1.0) * 0.1
    low, high = low - room, high + room
    if not math.isfinite(high - low):
        return ""
    step = size.width / max(len(shown) - 1, 1)

    def at(place: int, value: float) -> str:
        return f"{place * step:.1f} {size.height * ((high - value) / (high - low)):.1f}"

    drawn = [_band(bounds[0], bounds[1], at, size, (low, high), tint)] if bounds else []
    at_split = round(split / group)
    if 0 < at_split < len(shown):
        x = (at_split - 0.5) * step
        drawn.append(
            f'<path d="M{x:.1f} 0V{size.height}" style="stroke:{colours[0]}" stroke-dasharray="2 3"/>'
        )
    before = range(min(at_split + 1, len(shown)) if at_split else 0)
    for places, colour in ((before, colours[0]), (range(at_split, len(shown)), colours[1])):
        for run in _runs(shown, places):
            if places is before and run.start == at_split:
                continue  # only where the next colour begins
            points = [at(place, float(shown[place])) for place in run]
            if len(points) == 1:
                x, y = points[0].split()
                drawn.append(f'<circle cx="{x}" cy="{y}" r="{_POINT}" style="fill:{colour}"/>')
            else:
                drawn.append(
                    f'<path d="M{"L".join(points)}" style="stroke:{colour}" fill="none" stroke-width="1.6" '
                    'stroke-linejoin="round" stroke-linecap="round"/>'
                )
    for place in sorted({mark // group for mark in marks}):
        if place < len(shown) and math.isfinite(shown[place]):
            x, y = at(place, float(shown[place])).split()
            drawn.append(f'<circle cx="{x}" cy="{y}" r="{_MARK}" style="fill:{alert}"/>')
    return svg("".join(drawn), caption, size=size)


def svg(inside: str, caption: str, *, size: Size) -> str:
    """The element itself. `caption`, already safe, is what a reader without eyes is told."""
    title = f"<title>{caption}</title>" if caption else ""
    shape = f'width="{size.width}" height="{size.height}" viewBox="0 0 {size.width} {size.height}"'
    return f'<svg {shape} role="img">{title}{inside}</svg>'


def _group(n: int) -> int:
    return max(1, math.ceil(n / MOST_POINTS))


def _thinned(values: Floats, group: int) -> Floats:
    """The mean of every `group` neighbours, as far as there are any."""
    if group == 1:
        return np.asarray(values, np.float64)
    padded = np.pad(values, (0, -len(values) % group), constant_values=np.nan).reshape(-1, group)
    present = ~np.isnan(padded)
    counts = present.sum(axis=1)
    with np.errstate(over="ignore"):
        sums = np.where(present, padded, 0.0).sum(axis=1)
    return np.divide(sums, counts, out=np.full(len(padded), np.nan), where=counts > 0)


def _runs(values: Floats, places: range) -> list[range]:
    """Unbroken runs of values."""
    found: list[range] = []
    start: int | None = None
    for place in [*places, None]:
        there = place is not None and math.isfinite(values[place])
        if there and start is None:
            start = place
        elif not there and start is not None:
            found.append(range(start, places.stop if place is None else place))
            start = None
    return found


def _band(lower: Floats, upper: Floats, at: _Place, size: Size, ends: tuple[float, float], tint: str) -> str:
    """Where values were expected, bucket by bucket; open towards a side that has no bound."""
    half = size.width / max(len(lower) - 1, 1) / 2
    drawn: list[str] = []
    for place, (low, high) in enumerate(zip(lower.tolist(), upper.tolist(), strict=True)):
        if math.isnan(low) and math.isnan(high):
            continue
        x, top = map(float, at(place, ends[1] if math.isnan(high) else high).split())
        bottom = float(at(place, ends[0] if math.isnan(low) else low).split()[1])
        left, right = max(x - half, 0.0), min(x + half, float(size.width))
        drawn.append(f"M{left:.1f} {top:.1f}H{right:.1f}V{bottom:.1f}H{left:.1f}Z")
    return f'<path d="{"".join(drawn)}" style="fill:{tint}"/>' if drawn else ""
