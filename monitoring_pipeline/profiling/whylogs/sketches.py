"""Sketches as whylogs stores them, and as Apache does, from bytes that nobody vouches for.

Everything is decoded here and by our own sketches, never by the native library, which trusts what it reads.

Layout: `kll_sketch_impl.hpp` of https://github.com/apache/datasketches-cpp. whylogs differs in one thing: its KLL of two values and more has a
preamble of six integers instead of five, the last of which is always 0.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from monitoring_pipeline.errors import ProfileError
from monitoring_pipeline.profiling.sketches import FrequentItems, Kll

_KLL_FAMILY, _KLL_HEADER = 15, 20
_APACHE, _WHYLOGS, _FEW = 5, 6, 2  # the KLL preamble, which is how many integers stand before the data
_PADDING = b"\0\0\0\0"
_SINGLE = 4

_MOST_ITEMS = 768

MOST_VALUES = 1 << 40
"""Values in one column of one file. Sums over very many files then still fit into what sketches count with."""


def kll_from_whylogs(image: bytes) -> Kll:
    """A KLL of doubles as whylogs or Apache writes it, or one of floats, as of whylogs 0.x, with its values as doubles.

    Infinite values, which ours never hold, are still in it (`without_infinities`).
    """
    if len(image) < 8 or image[2] != _KLL_FAMILY:
        raise ProfileError("a KLL sketch that is damaged or of another kind")
    if image[0] == _WHYLOGS:
        if image[_KLL_HEADER : _KLL_HEADER + 4] != _PADDING:
            raise ProfileError("a KLL sketch whose preamble is not one of whylogs")
        return _bounded(Kll.from_image(bytes([_APACHE]) + image[1:_KLL_HEADER] + image[_KLL_HEADER + 4 :]))
    try:
        found = Kll.from_image(image)
    except ProfileError:
        found = Kll.from_image(_doubles(image))
    return _bounded(found)


def kll_to_whylogs(image: bytes) -> bytes:
    """An Apache image of doubles with the preamble that whylogs reads."""
    if image[0] != _APACHE:
        return image
    return bytes([_WHYLOGS]) + image[1:_KLL_HEADER] + _PADDING + image[_KLL_HEADER:]


def without_infinities(kll: Kll) -> tuple[Kll, int, int]:
    """The sketch of the finite values, and about how many −∞ and +∞ there were.

    Exact while every value is kept. Where the least or greatest value was infinite, the extreme of those that the
    sketch still holds takes its place.
    """
    if kll.n == 0 or np.isfinite([kll.minimum, kll.maximum]).all():
        return kll, 0, 0
    negative = sum(int(np.isneginf(level).sum()) << height for height, level in enumerate(kll.levels))
    positive = sum(int(np.isposinf(level).sum()) << height for height, level in enumerate(kll.levels))
    levels = tuple(level[np.isfinite(level)] for level in kll.levels)
    items = np.concatenate(levels)
    if not len(items):
        return Kll(kll.k, kll.min_k, 0, np.nan, np.nan, ()), negative, positive
    finite = replace(
        kll,
        n=kll.n - negative - positive,
        minimum=kll.minimum if np.isfinite(kll.minimum) else float(items.min()),
        maximum=kll.maximum if np.isfinite(kll.maximum) else float(items.max()),
        levels=levels,
    )
    # Sketches that have lost the infinity itself still know that there was one.
    return finite, negative or int(kll.minimum == -np.inf), positive or int(kll.maximum == np.inf)


def items_from_whylogs(image: bytes) -> FrequentItems:
    """Frequent strings; at most as many as whylogs itself keeps."""
    found = FrequentItems.from_image(image)
    if found.total > MOST_VALUES:
        raise ProfileError(
            f"a frequent-items sketch of {found.total} values; at most {MOST_VALUES} are accepted"
        )
    if len(found.counts) > _MOST_ITEMS:
        return FrequentItems.of(found.counts, total=found.total, offset=found.offset)
    return found


def _bounded(kll: Kll) -> Kll:
    items = np.concatenate(kll.levels) if kll.levels else np.zeros(0)
    if len(items) and (items.min() < kll.minimum or items.max() > kll.maximum):
        raise ProfileError("a KLL sketch with values beyond its own extremes")
    if kll.n > MOST_VALUES:
        raise ProfileError(f"a KLL sketch of {kll.n} values; at most {MOST_VALUES} are accepted")
    return kll


def _doubles(image: bytes) -> bytes:
    """An image of floats as one of doubles; whether it is one of either is seen when it is read."""
    start = 8 if image[0] == _FEW or len(image) < _KLL_HEADER else _KLL_HEADER + 4 * image[18]
    if (image[0] == _FEW and not image[3] & _SINGLE) or len(image) < start or (len(image) - start) % 4:
        raise ProfileError("a KLL sketch that is damaged or of another kind")
    return image[:start] + np.frombuffer(image, "<f4", offset=start).astype("<f8").tobytes()
