"""A small chart as PNG, for e-mail, whose readers show no SVG: a line, what was expected behind it, dots on anomalies.

Nothing but pixels: no text is drawn, so that no font is needed; what the chart shows stands in words beside it.
https://www.w3.org/TR/png-3/
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Colour = tuple[int, int, int]

WIDTH: Final = 720
HEIGHT: Final = 144
"""Pixels; shown at half the size, so that it is sharp on fine screens."""

LINE: Final[Colour] = (37, 99, 235)
BAND: Final[Colour] = (219, 234, 254)
ALERT: Final[Colour] = (220, 38, 38)

_MARGIN, _THICK, _DOT = 12.0, 2.0, 7.0


def chart_png(
    values: Floats, *, lower: Floats | None = None, upper: Floats | None = None, marks: Collection[int] = ()
) -> bytes | None:
    """Values over time, (n,) with gaps where they are NaN; None where there is nothing to draw.

    `lower` and `upper`, (n,): what was expected, open where they are NaN or infinite. `marks`: places that get a dot.
    """
    values = np.asarray(values, np.float64)
    n = len(values)
    none = np.full(n, np.nan)
    low, high = (none if one is None else np.where(np.isfinite(one), one, np.nan) for one in (lower, upper))
    known = np.concatenate([values, low, high])
    known = known[np.isfinite(known)]
    if not np.isfinite(values).any():
        return None
    bottom, top = float(known.min()), float(known.max())
    if top == bottom:
        bottom, top = bottom - (abs(bottom) or 1.0), top + (abs(top) or 1.0)
    if not np.isfinite(top - bottom):
        return None
    xs = np.linspace(_MARGIN, WIDTH - _MARGIN, n) if n > 1 else np.array([WIDTH / 2])

    def y_of(amounts: Floats) -> Floats:
        return HEIGHT - _MARGIN - (amounts - bottom) / (top - bottom) * (HEIGHT - 2 * _MARGIN)

    image = np.full((HEIGHT, WIDTH, 3), 255.0)
    _fill_band(image, xs, y_of(np.where(np.isfinite(high), high, np.nan)), y_of(low))
    ys = y_of(values)
    there = np.isfinite(ys)
    for at in range(n - 1):
        if there[at] and there[at + 1]:
            _stroke(image, (xs[at], ys[at]), (xs[at + 1], ys[at + 1]), _THICK, LINE)
    for at in range(n):
        alone = there[at] and not (at and there[at - 1]) and not (at + 1 < n and there[at + 1])
        if there[at] and (at in marks or alone):
            _stroke(image, (xs[at], ys[at]), (xs[at], ys[at]), _DOT, ALERT if at in marks else LINE)
    return _encoded(np.clip(np.rint(image), 0, 255).astype(np.uint8))


def _fill_band(image: NDArray[np.float64], xs: Floats, tops: Floats, bottoms: Floats) -> None:
    """Colour what lies between two lines, to the edge where there is only one of them."""
    if not (np.isfinite(tops) | np.isfinite(bottoms)).any():
        return
    half = (xs[1] - xs[0]) / 2 if len(xs) > 1 else WIDTH / 2
    for x, top, bottom in zip(xs, tops, bottoms, strict=True):
        if not (np.isfinite(top) or np.isfinite(bottom)):
            continue
        first = round(top) if np.isfinite(top) else 0
        last = round(bottom) + 1 if np.isfinite(bottom) else HEIGHT
        image[max(first, 0) : last, max(round(x - half), 0) : round(x + half)] = BAND


def _stroke(
    image: NDArray[np.float64],
    start: tuple[float, float],
    end: tuple[float, float],
    radius: float,
    colour: Colour,
) -> None:
    """A line with round ends, smoothed: how far a pixel lies inside of it is how much of the colour it gets."""
    left, right = sorted((start[0], end[0]))
    upper, lower = sorted((start[1], end[1]))
    x0, x1 = max(int(left - radius - 1), 0), min(int(right + radius + 2), WIDTH)
    y0, y1 = max(int(upper - radius - 1), 0), min(int(lower + radius + 2), HEIGHT)
    ys, xs = np.mgrid[y0:y1, x0:x1]
    dx, dy = end[0] - start[0], end[1] - start[1]
    along = ((xs - start[0]) * dx + (ys - start[1]) * dy) / ((dx * dx + dy * dy) or 1.0)
    along = np.clip(along, 0.0, 1.0)
    distance = np.hypot(xs - start[0] - along * dx, ys - start[1] - along * dy)
    share = np.clip(radius + 0.5 - distance, 0.0, 1.0)[..., None]
    image[y0:y1, x0:x1] = image[y0:y1, x0:x1] * (1 - share) + np.array(colour, np.float64) * share


def _encoded(pixels: NDArray[np.uint8]) -> bytes:
    height, width, _ = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)),
            chunk(b"IEND", b""),
        ]
    )
