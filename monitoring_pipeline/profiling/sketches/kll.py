"""Quantiles: a KLL sketch of doubles that gives the same bytes for the same values, every time.

The native library draws from a generator seeded by the operating system, so two of its sketches of the same data
differ. This one draws its coins from the data (`kernels.halve`), so a bucket that is profiled again has the same
profile, and a merged baseline the same quantiles on every machine. Values arrive in blocks that are sorted and
compacted as a whole: fewer compactions than value by value, so errors stay below the ones Apache documents.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.errors import ProfileError
from monitoring_pipeline.profiling import kernels
from monitoring_pipeline.profiling.sketches import native

_FAMILY, _MIN_WIDTH, _MAX_LEVELS = 15, 8, 60
_EMPTY, _SORTED, _SINGLE = 1, 2, 4


@dataclass(frozen=True, eq=False)
class Kll:
    """A KLL sketch of doubles (Karnin, Lang and Liberty 2016, https://arxiv.org/abs/1603.05346).

    `levels`: sorted float64 arrays; an item of level h stands for 2**h values. `k` sets the accuracy, `min_k` is the
    lowest k among the merged sketches that had to forget something, `n` how many values were seen.
    """

    k: int
    min_k: int
    n: int
    minimum: float
    maximum: float
    levels: tuple[NDArray[np.float64], ...]

    @classmethod
    def of(cls, values: NDArray[np.float64], *, k: int) -> Self:
        """Sketch of finite values, an (n,) float64 array in any order."""
        return cls(k, k, 0, np.nan, np.nan, ()).absorb(values)

    def absorb(self, values: NDArray[np.float64], *, level: int = 0) -> Self:
        """This sketch with more finite values, of which one of each 2**level stands for all of them."""
        if len(values) == 0:
            return self
        n = self.n + len(values)
        extremes = float(np.fmin(self.minimum, values.min())), float(np.fmax(self.maximum, values.max()))
        if level:
            values = kernels.one_of_each(values, seen=self.n, level=level)
        levels = [*self.levels, *[np.zeros(0)] * (level + 1 - len(self.levels))]
        levels[level] = np.sort(np.concatenate([levels[level], values]))
        return type(self)(self.k, self.min_k, n, *extremes, _compacted(levels, k=self.k, n=n))

    @classmethod
    def merge_all(cls, sketches: Iterable[Self]) -> Self | None:
        """One sketch of everything, the same for every order; None of nothing."""
        parts = list(sketches)
        if len(parts) < 2:
            return parts[0] if parts else None
        k = max(part.k for part in parts)
        seen = [part for part in parts if part.n]
        if not seen:
            return cls(k, min(part.min_k for part in parts), 0, np.nan, np.nan, ())
        n = sum(part.n for part in seen)
        height = max(len(part.levels) for part in seen)
        levels = [
            np.sort(np.concatenate([part.levels[h] for part in seen if h < len(part.levels)]))
            for h in range(height)
        ]
        return cls(
            k,
            min([k, *(part.min_k for part in seen if len(part.levels) > 1)]),
            n,
            min(part.minimum for part in seen),
            max(part.maximum for part in seen),
            _compacted(levels, k=k, n=n),
        )

    def quantiles(self, ranks: Sequence[float]) -> NDArray[np.float64]:
        """The item at place ⌊rank · n⌋ of the sorted stream, for each rank in [0, 1]; NaN of an empty sketch.

        The rule of Apache `get_quantile` (exclusive), except that ranks 0 and 1 give the exact minimum and maximum.
        """
        at = np.asarray(ranks, np.float64)
        if self.n == 0:
            return np.full(at.shape, np.nan)
        items, above = self._cumulative()
        places = np.searchsorted(above, np.floor(at * self.n), side="right")
        found = items[np.minimum(places, len(items) - 1)]
        return np.where(at <= 0, self.minimum, np.where(at >= 1, self.maximum, found))

    def ranks(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """The share of values below each point (exclusive); NaN of an empty sketch."""
        if self.n == 0:
            return np.full(np.shape(points), np.nan)
        items, above = self._cumulative()
        below = np.concatenate(([0], above))
        return below[np.searchsorted(items, points, side="left")] / self.n

    @property
    def rank_error(self) -> float:
        """How far a rank may be off with 99 % confidence, as a share of n; 0 while every value is kept."""
        if len(self.levels) < 2:
            return 0.0
        return native.kll_rank_error(self.min_k)

    def to_image(self) -> bytes:
        """Apache image of a `kll_doubles_sketch` (`kll_sketch_impl.hpp`, serial version 1, or 2 for one item)."""
        if self.n == 0:
            return struct.pack("<BBBBHBB", 2, 1, _FAMILY, _EMPTY, self.k, _MIN_WIDTH, 0)
        if self.n == 1:
            head = struct.pack("<BBBBHBB", 2, 2, _FAMILY, _SINGLE | _SORTED, self.k, _MIN_WIDTH, 0)
            return head + struct.pack("<d", self.minimum)
        height = len(self.levels)
        kept = sum(map(len, self.levels))
        free = max(capacity(self.k, height) - kept, 0)
        places = np.cumsum([free, *map(len, self.levels[:-1])], dtype="<u4")
        return b"".join(
            [
                struct.pack("<BBBBHBB", 5, 1, _FAMILY, _SORTED, self.k, _MIN_WIDTH, 0),
                struct.pack("<QHBB", self.n, self.min_k, height, 0),
                places.tobytes(),
                struct.pack("<dd", self.minimum, self.maximum),
                *(level.astype("<f8", copy=False).tobytes() for level in self.levels),
            ]
        )

    @classmethod
    def from_image(cls, image: bytes) -> Self:
        """Read an Apache image of doubles. Raises ProfileError unless every part of it fits together."""
        damaged = ProfileError("a KLL sketch that is damaged or of another kind")
        if len(image) < 8:
            raise damaged
        preamble, version, family, flags, k, width, _ = struct.unpack_from("<BBBBHBB", image)
        if family != _FAMILY or width != _MIN_WIDTH or k < _MIN_WIDTH:
            raise damaged
        if flags & _EMPTY:
            return cls(k, k, 0, np.nan, np.nan, ())
        if flags & _SINGLE:
            if len(image) != 16 or version != 2:
                raise damaged
            items = np.frombuffer(image, "<f8", offset=8).astype(np.float64)
            if np.isnan(items[0]):
                raise damaged
            return cls(k, k, 1, float(items[0]), float(items[0]), (items,))
        if preamble != 5 or version != 1 or len(image) < 20:
            raise damaged
        n, min_k, height, _ = struct.unpack_from("<QHBB", image, 8)
        start = 20 + 4 * height + 16
        if not 1 <= height <= _MAX_LEVELS or len(image) < start or (len(image) - start) % 8:
            raise damaged
        places = np.frombuffer(image, "<u4", count=height, offset=20).astype(np.int64)
        minimum, maximum = struct.unpack_from("<dd", image, start - 16)
        items = np.frombuffer(image, "<f8", offset=start).astype(np.float64)
        sizes = np.diff(places, append=places[0] + len(items))
        weight = sum(size << level for level, size in enumerate(sizes.tolist()))
        if (sizes < 0).any() or places[0] + len(items) != capacity(k, height) or weight != n or n < 1:
            raise damaged
        if min_k < _MIN_WIDTH or n >> 62 or np.isnan(items).any() or not minimum <= maximum:
            raise damaged
        levels = np.split(items, (places - places[0])[1:])
        return cls(k, min_k, n, minimum, maximum, tuple(np.sort(level) for level in levels))

    def _cumulative(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        items = np.concatenate(self.levels)
        weights = np.repeat(np.int64(1) << np.arange(len(self.levels)), [len(level) for level in self.levels])
        order = np.argsort(items, kind="stable")
        return items[order], np.cumsum(weights[order])


def _compacted(levels: list[NDArray[np.float64]], *, k: int, n: int) -> tuple[NDArray[np.float64], ...]:
    """Halve the lowest level that is too full until everything fits into the capacity of a sketch of that height."""
    while sum(map(len, levels)) > capacity(k, len(levels)):
        height = len(levels)
        level = next(h for h in range(height) if len(levels[h]) >= _level_capacity(k, height, h))
        levels[level], risen = kernels.halve(levels[level], weight=n, level=level)
        if level + 1 == height:
            levels.append(risen)
        else:
            levels[level + 1] = np.sort(np.concatenate([levels[level + 1], risen]))
    return tuple(levels)


@lru_cache(maxsize=4096)
def capacity(k: int, height: int) -> int:
    """Places of a sketch with so many levels."""
    return sum(_level_capacity(k, height, level) for level in range(height))


@lru_cache(maxsize=65_536)
def _level_capacity(k: int, height: int, level: int) -> int:
    """k · (2/3)^depth, rounded as Apache rounds it (`kll_helper_impl.hpp`), at least 8."""
    depth = height - level - 1
    if depth <= 30:
        return max(_MIN_WIDTH, _two_thirds(k, depth))
    return max(_MIN_WIDTH, _two_thirds(_two_thirds(k, depth // 2), depth - depth // 2))


def _two_thirds(k: int, depth: int) -> int:
    return (((k << 1) << depth) // 3**depth + 1) >> 1
