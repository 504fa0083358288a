"""Sketches of many series, opened at once.

What `distributions` opens one by one, for one series, is opened here with a few array operations for hundreds of
series: a day of a wide dataset compares hundreds of thousands of sketches. The values are the same. A damaged sketch
makes the whole run fail with a ProfileError; whoever wants to know which one it is opens them one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from monitoring_pipeline.analysis.baselines import Indices, Window
from monitoring_pipeline.analysis.verdicts import Floats
from monitoring_pipeline.errors import ProfileError
from monitoring_pipeline.profiling import engine
from monitoring_pipeline.profiling.extracting import Blobs
from monitoring_pipeline.profiling.sketches import FrequentItems, Kll
from monitoring_pipeline.profiling.sketches.kll import capacity

_KLL = np.dtype(
    [
        *((name, "u1") for name in ("preamble", "version", "family", "flags")),
        ("k", "<u2"),
        *((name, "u1") for name in ("width", "unused")),
        ("n", "<u8"),
        ("min_k", "<u2"),
        *((name, "u1") for name in ("height", "unused_too")),
    ]
)
"""The first bytes of a KLL image with more than one value."""

_ITEMS = np.dtype(
    [
        *((name, "u1") for name in ("preamble", "version", "family", "lg_map", "lg_current", "flags")),
        ("unused", "<u2"),
        ("count", "<u4"),
        ("unused_too", "<u4"),
        ("total", "<u8"),
        ("offset", "<u8"),
    ]
)
"""The first bytes of an image of frequent items that holds any."""


@dataclass(frozen=True)
class Images:
    """Sketches as bytes, with the series, a row number, and the bucket index that each belongs to, (n_sketches,)."""

    rows: Indices
    buckets: Indices
    images: Blobs

    @classmethod
    def of(cls, rows: Sequence[int] | Indices, buckets: Sequence[int] | Indices, images: Blobs) -> Self:
        """The same, sorted by row, then bucket."""
        of_rows, of_buckets = np.asarray(rows, dtype=np.int64), np.asarray(buckets, dtype=np.int64)
        order = np.lexsort((of_buckets, of_rows))
        return cls(of_rows[order], of_buckets[order], images.take(order))

    @classmethod
    def none(cls) -> Self:
        """No sketches."""
        return cls.of([], [], Blobs.of([]))

    def of_rows(self, first: int, last: int) -> Self:
        """Those of some rows, counted from the first of them, by bucket and row."""
        start, end = np.searchsorted(self.rows, [first, last]).tolist()
        rows, buckets = self.rows[start:end] - first, self.buckets[start:end]
        order = np.lexsort((rows, buckets))
        return type(self)(rows[order], buckets[order], self.images.take(order + start))

    def present(self, n_rows: int, window: Window) -> NDArray[np.bool_]:
        """Which bucket of each target's window has a sketch, (n_rows, n_targets, length) bool."""
        return ~np.isnan(gathered(self, np.ones(len(self.images)), n_rows, window))


def gathered(images: Images, values: Floats, n_rows: int, window: Window) -> Floats:
    """A number of each sketch, laid out by the windows that hold it: (n_rows, n_targets, length), else NaN."""
    if not window.length:
        return np.empty((n_rows, len(window.starts), 0))
    first, last = window.first, window.last
    grid = np.full((n_rows, last - first + 1), np.nan)
    inside = (images.buckets >= first) & (images.buckets <= last)
    grid[images.rows[inside], images.buckets[inside] - first] = values[inside]
    return window.gather(grid, first)


@dataclass(frozen=True)
class Numbers:
    """Opened quantile sketches: `values` and `weights` of all, one sketch after the other, `ends` where each ends."""

    values: Floats
    weights: Floats
    ends: Indices
    low: Floats
    high: Floats
    n: Floats

    @classmethod
    def open(cls, images: Blobs) -> Self:
        """Open KLL images. Raises ProfileError when one is damaged."""
        lengths = images.sizes
        heads = images.heads(_KLL)
        usual = (lengths >= _KLL.itemsize) & (heads["family"] == 15) & (heads["flags"] & 5 == 0)
        if not usual.any():
            return cls._one_by_one(images)
        if not usual.all():  # those of one value or none are written in another way
            of = [np.flatnonzero(usual), np.flatnonzero(~usual)]
            many, few = (images.take(places) for places in of)
            return cls._interleaved([cls.open(many), cls._one_by_one(few)], np.concatenate(of))
        height = heads["height"].astype(np.int64)
        start = 20 + 4 * height + 16
        fits = (heads["preamble"] == 5) & (heads["version"] == 1) & (heads["width"] == 8) & (heads["k"] >= 8)
        fits &= (height >= 1) & (height <= 60) & (lengths >= start) & ((lengths - start) % 8 == 0)
        if not fits.all():
            raise _damaged("KLL")
        values = np.frombuffer(images.parts(start, lengths - start), "<f8").astype(np.float64, copy=False)
        ends = np.frombuffer(images.parts(start - 16, 16), "<f8").reshape(-1, 2)
        kept = (lengths - start) // 8
        sizes, free = _level_sizes(images, height, kept)
        room = _rooms(heads["k"], height)
        weights = np.exp2(np.arange(sizes.shape[1], dtype=np.float64))
        whole = (sizes >= 0).all(axis=1) & (free + kept == room) & (heads["min_k"] >= 8)
        whole &= (sizes @ weights == heads["n"]) & (heads["n"] >= 1) & (heads["n"] < 2**53)
        if not (whole & (ends[:, 0] <= ends[:, 1])).all() or np.isnan(values).any():
            raise _damaged("KLL")
        return cls(
            values,
            np.repeat(np.tile(weights, len(images)), sizes.ravel()),
            np.cumsum(kept),
            ends[:, 0],
            ends[:, 1],
            heads["n"].astype(np.float64),
        )

    @classmethod
    def _interleaved(cls, parts: Sequence[Numbers], places: Indices) -> Self:
        """The sketches of several parts, each at its place."""
        order = np.argsort(places)
        sizes = np.concatenate([np.diff(part.ends, prepend=0) for part in parts])
        starts, ends = (np.cumsum(sizes) - sizes)[order], np.cumsum(sizes[order])
        sizes = sizes[order]
        at = np.repeat(starts - (ends - sizes), sizes) + np.arange(sizes.sum())
        values, weights = (
            np.concatenate([getattr(part, name) for part in parts])[at] for name in ("values", "weights")
        )
        low, high, n = (
            np.concatenate([getattr(part, name) for part in parts])[order] for name in ("low", "high", "n")
        )
        return cls(values, weights, ends, low, high, n)

    @classmethod
    def _one_by_one(cls, images: Blobs) -> Self:
        opened = [Kll.from_image(image) for image in images]
        levels = [(float(2**at), level) for kll in opened for at, level in enumerate(kll.levels)]
        return cls(
            np.concatenate([np.empty(0), *(level for _, level in levels)]),
            np.concatenate([np.empty(0), *(np.full(len(level), weight) for weight, level in levels)]),
            np.cumsum([sum(map(len, kll.levels)) for kll in opened], dtype=np.int64),
            *(
                np.array([getattr(kll, name) for kll in opened], np.float64)
                for name in ("minimum", "maximum", "n")
            ),
        )


@dataclass(frozen=True)
class Texts:
    """Opened sketches of frequent items: `codes` (places in `names`, which ascend) and `counts` of all, one sketch
    after the other, `ends` where each ends; `shortfall` and `n` of each.
    """

    names: Sequence[str]
    codes: Indices
    counts: Floats
    ends: Indices
    shortfall: Floats
    n: Floats

    @classmethod
    def open(cls, images: Blobs) -> Self:
        """Open images of frequent items. Raises ProfileError when one is damaged."""
        lengths = images.sizes
        heads = images.heads(_ITEMS)
        empty = (lengths >= 8) & (heads["flags"] & 5 != 0)
        count, offset, total = (
            np.where(empty, 0, heads[name].astype(np.int64)) for name in ("count", "offset", "total")
        )
        fits = (heads["version"] == 1) & (heads["family"] == 10) & (offset <= total) & (total >> 53 == 0)
        fits &= empty | ((heads["preamble"] == 4) & (lengths >= 32 + 8 * count) & (offset >= 0))
        if not fits.all() or not count.any():
            return cls._one_by_one(images)
        begins = images.starts
        places = engine.text_places(images.data, begins + 32 + 8 * count, begins + lengths, count)
        if places is None:
            raise _damaged("frequent-items")
        counts = np.frombuffer(images.parts(np.where(empty, 0, 32), 8 * count), "<u8")
        if (counts > np.repeat(total, count).astype(np.uint64)).any():
            raise _damaged("frequent-items")
        starts, stops = (np.frombuffer(one, np.int64) for one in places)
        names, codes = _named(images.data, starts, stops)
        if names is None:
            return cls._one_by_one(images)
        return cls(
            names,
            codes,
            counts.astype(np.float64),
            np.cumsum(count),
            offset.astype(np.float64),
            total.astype(np.float64),
        )

    @classmethod
    def _one_by_one(cls, images: Blobs) -> Self:
        opened = [FrequentItems.from_image(image) for image in images]
        counts = [dict(one.counts) for one in opened]
        names = sorted({name for one in counts for name in one})
        number = {name: at for at, name in enumerate(names)}
        return cls(
            names,
            np.array([number[name] for one in counts for name in one], np.int64),
            np.array([count for one in counts for count in one.values()], np.float64),
            np.cumsum([len(one) for one in counts], dtype=np.int64),
            np.array([one.offset for one in opened], np.float64),
            np.array([one.total for one in opened], np.float64),
        )


def _damaged(kind: str) -> ProfileError:
    return ProfileError(f"a {kind} sketch that is damaged or of another kind")


def _level_sizes(images: Blobs, height: Indices, kept: Indices) -> tuple[Indices, Indices]:
    """Items on each level, (n_images, most levels), and free places before them, (n_images,)."""
    most = int(height.max(initial=1))
    sizes, free = np.zeros((len(images), most), np.int64), np.zeros(len(images), np.int64)
    for levels in np.unique(height).tolist():
        of = np.flatnonzero(height == levels)
        places = np.frombuffer(images.take(of).parts(20, 4 * levels), "<u4").reshape(-1, levels)
        bounds = np.concatenate(
            [places.astype(np.int64), (places[:, 0] + kept[of])[:, None]], axis=1, dtype=np.int64
        )
        sizes[of, :levels] = np.diff(bounds, axis=1)
        free[of] = bounds[:, 0]
    return sizes, free


def _rooms(k: NDArray[np.uint16], height: Indices) -> Indices:
    """Capacity of every sketch."""
    pairs = (k.astype(np.int64) << 8) | height
    kinds, of = np.unique(pairs, return_inverse=True)
    return np.array([capacity(kind >> 8, kind & 255) for kind in kinds.tolist()], np.int64)[of]


def _named(joined: NDArray[np.uint8], starts: Indices, stops: Indices) -> tuple[list[str] | None, Indices]:
    """Distinct texts, ascending, and which of them stands at each place; None when one is not UTF-8."""
    lengths = stops - starts
    bounds = np.zeros(len(starts) + 1, np.int64)
    np.cumsum(lengths, out=bounds[1:])
    column = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(),
        len(starts),
        [None, pa.py_buffer(bounds), pa.py_buffer(engine.gather(joined, starts, lengths))],
    )
    encoded = column.dictionary_encode()
    try:
        texts = [text.decode() for text in encoded.dictionary.to_pylist()]
    except UnicodeDecodeError:
        return None, np.zeros(0, np.int64)
    order = sorted(range(len(texts)), key=texts.__getitem__)
    rank = np.empty(len(texts), np.int64)
    rank[order] = np.arange(len(texts))
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return [texts[at] for at in order], rank[codes]
