"""Profiles under construction: one builder per column, in it one cell per segment.

Values arrive grouped: all cells of a column share the work that is done once per row or once per distinct string,
and each cell then takes its slice. Numbers wait in a cell until a whole block has come together, so that neither
moments nor quantiles depend on how the rows were cut into batches.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from monitoring_pipeline.profiling import kernels
from monitoring_pipeline.profiling.profile import FREQUENT_ITEMS, HLL, KLL, ColumnProfile
from monitoring_pipeline.profiling.sketches import FrequentItems, Hll, Kll, frequent_items
from monitoring_pipeline.profiling.values import Kind, Texts, Values

_LABELS_AT_LEAST = 262_144


@dataclass(frozen=True)
class CellSettings:
    """How a cell sketches: KLL k, values per block, HLL lg_k, and places in its counting map (0: no items)."""

    kll_k: int
    block: int
    hll_lg_k: int
    room: int


@dataclass(frozen=True, eq=False)
class Groups:
    """Rows grouped by cell: `order` puts them together (None: they are), `bounds` (cells + 1,) says where each starts.

    `cells`: which cell each group belongs to.
    """

    order: NDArray[np.int64] | None
    bounds: NDArray[np.int64]
    cells: tuple[int, ...]

    @classmethod
    def whole(cls, rows: int, *, cell: int) -> Groups:
        """All rows in one cell."""
        return cls(None, np.array([0, rows], np.int64), (cell,))

    @classmethod
    def by_code(cls, codes: NDArray[np.int64], cells: tuple[int, ...]) -> Groups:
        """Rows by code, (n,) int64 places in `cells`; the rows of a group keep their order."""
        narrow = codes.astype(np.uint16) if len(cells) <= 65_536 else codes
        counts = np.bincount(codes, minlength=len(cells))
        bounds = np.zeros(len(cells) + 1, np.int64)
        np.cumsum(counts, out=bounds[1:])
        return cls(np.argsort(narrow, kind="stable"), bounds, cells)

    def arrange(self, array: NDArray) -> NDArray:
        """Row values, group by group."""
        return array if self.order is None else array[self.order]


class ColumnBuilder:
    """One column in every segment."""

    def __init__(self) -> None:
        self._cells: dict[int, _Cell] = {}
        self._labels = _Labels()

    def update(self, values: Values, groups: Groups, settings: CellSettings) -> None:
        """Take one chunk of values, whose rows `groups` assigns to cells."""
        cells = [self._cell(number, settings) for number in groups.cells]
        kept = None if values.valid is None else groups.arrange(values.valid)
        bounds = groups.bounds if kept is None else kernels.true_before(kept, groups.bounds)
        totals, present = np.diff(groups.bounds).tolist(), np.diff(bounds).tolist()
        for cell, total, valid in zip(cells, totals, present, strict=True):
            cell.count(values.kind, total, valid)

        def arranged(array: NDArray) -> NDArray:
            array = groups.arrange(array)
            return array if kept is None else array[kept]

        if values.truths is not None:
            for cell, true, valid in zip(
                cells, kernels.true_by_group(arranged(values.truths), bounds).tolist(), present, strict=True
            ):
                cell.count_true(true, valid)
        if values.numbers is not None:
            _update_numbers(cells, arranged(values.numbers), bounds, times=values.times)
        if values.coupons is not None:
            for cell, found in zip(cells, _slices(arranged(values.coupons), bounds), strict=True):
                cell.hash(found)
        elif values.hashable and values.texts is None:
            for cell in cells:
                cell.hash(np.zeros(0, np.uint32))
        if values.integers is not None:
            for cell, found in zip(cells, _slices(arranged(values.integers), bounds), strict=True):
                cell.count_integers(found, unsigned=values.unsigned)
        if values.texts is not None and values.codes is not None:
            self._update_texts(cells, values.texts, arranged(values.codes), bounds, items=values.items)

    def profiles(self) -> dict[int, ColumnProfile]:
        """What has been seen so far, by cell."""
        return {number: cell.profile(self._labels) for number, cell in self._cells.items()}

    def _cell(self, number: int, settings: CellSettings) -> _Cell:
        cell = self._cells.get(number)
        if cell is None:
            cell = self._cells[number] = _Cell(settings)
        return cell

    def _update_texts(
        self,
        cells: list[_Cell],
        texts: Texts,
        codes: NDArray[np.int64],
        bounds: NDArray[np.int64],
        *,
        items: bool,
    ) -> None:
        used = np.zeros(len(texts.coupons), bool)
        for cell, mine in zip(cells, _slices(codes, bounds), strict=True):
            if len(mine) > len(texts.coupons):
                counts = np.bincount(mine, minlength=len(texts.coupons))
                distinct = np.flatnonzero(counts)
                counts = counts[distinct]
            else:
                distinct, counts = kernels.run_lengths(np.sort(mine))
            cell.hash(texts.coupons[distinct])
            if items and cell.settings.room:
                cell.texts.add(texts.keys[distinct], counts, len(mine))
                used[distinct] = True
        if used.any():
            places = np.flatnonzero(used)
            shown = texts.shown if len(places) == len(used) else texts.shown.take(pa.array(places))
            self._labels.add(texts.keys[places], shown)
            if self._labels.full:
                self._labels.prune([cell.texts.keys() for cell in self._cells.values()])


@dataclass(eq=False)
class _Cell:
    settings: CellSettings
    counts: dict[str, int] = field(default_factory=dict)
    numbers: _Numbers | None = None
    times: _Numbers | None = None
    hll: Hll | None = None
    truths: tuple[int, int] = (0, 0)  # how many were true, how many there were
    texts: _Counter = field(init=False)
    signed: _Counter = field(init=False)
    unsigned: _Counter = field(init=False)

    def __post_init__(self) -> None:
        self.texts, self.signed, self.unsigned = (_Counter(self.settings.room) for _ in range(3))

    def count(self, kind: Kind, total: int, valid: int) -> None:
        self.add(n=total, n_null=total - valid, **{f"t_{kind}": valid})

    def add(self, **amounts: int) -> None:
        for name, amount in amounts.items():
            self.counts[name] = self.counts.get(name, 0) + amount

    def count_true(self, true: int, valid: int) -> None:
        self.add(n_true=true)
        self.truths = self.truths[0] + true, self.truths[1] + valid
        # Booleans hash as the integers 0 and 1, as in DataSketches.
        seen = np.array([0] * (true < valid) + [1] * (true > 0), np.uint64)
        self.hash(kernels.coupons(kernels.murmur_words(seen)))

    def hash(self, coupons: NDArray[np.uint32]) -> None:
        if self.hll is None:
            self.hll = Hll.of(coupons, lg_k=self.settings.hll_lg_k)
        elif len(coupons):
            self.hll = self.hll.absorb(coupons)

    def count_integers(self, bits: NDArray[np.uint64], *, unsigned: bool) -> None:
        if self.settings.room and len(bits):
            distinct, counts = kernels.run_lengths(np.sort(bits))
            (self.unsigned if unsigned else self.signed).add(distinct, counts, len(bits))

    def add_numbers(self, values: NDArray[np.float64], *, times: bool) -> None:
        if times:
            self.times = self.times or _Numbers(self.settings, moments=False)
            self.times.add(values)
        else:
            self.numbers = self.numbers or _Numbers(self.settings, moments=True)
            self.numbers.add(values)

    def profile(self, labels: _Labels) -> ColumnProfile:
        """A snapshot; the cell can go on."""
        seen = [part.seen() for part in (self.numbers, self.times) if part is not None]
        kll = Kll.merge_all(sketch for _, sketch in seen)
        moments = next((moments for moments, _ in seen if moments[0]), (0, 0.0, 0.0))
        scalars: dict[str, float | None] = {
            **self.counts,
            **dict(zip(("m_n", "mean", "m2"), moments, strict=True)),
        }
        if kll is not None and kll.n:
            scalars |= {"min": kll.minimum, "max": kll.maximum}
        sketches = {KLL: kll, HLL: self.hll, FREQUENT_ITEMS: self._items(labels)}
        return ColumnProfile.from_parts(
            scalars, {name: sketch.to_image() for name, sketch in sketches.items() if sketch is not None}
        )

    def _items(self, labels: _Labels) -> FrequentItems | None:
        if not self.settings.room:
            return None
        parts: list[FrequentItems] = []
        true, valid = self.truths
        if valid:
            pairs = [(text, count) for text, count in (("True", true), ("False", valid - true)) if count]
            parts.append(FrequentItems.of(pairs, total=valid))
        for counter, is_unsigned in ((self.signed, False), (self.unsigned, True)):
            if counter.total:
                keys, counts, offset = counter.strongest()
                whole = keys if is_unsigned else keys.view(np.int64)
                pairs = zip(map(str, whole.tolist()), counts, strict=True)
                parts.append(FrequentItems.of(pairs, total=counter.total, offset=offset))
        if self.texts.total:
            keys, counts, offset = self.texts.strongest()
            pairs = zip(labels.find(keys), counts, strict=True)
            parts.append(FrequentItems.of(pairs, total=self.texts.total, offset=offset))
        return FrequentItems.merge_all(parts)


class _Numbers:
    """Finite numbers of a cell: moments and KLL, taken in blocks of a fixed number of consecutive values."""

    def __init__(self, settings: CellSettings, *, moments: bool) -> None:
        self._block = settings.block
        self._with_moments = moments
        self._kll = Kll.of(np.zeros(0), k=settings.kll_k)
        self._moments = (0, 0.0, 0.0)
        self._waiting: list[NDArray[np.float64]] = []
        self._count = 0

    def add(self, values: NDArray[np.float64]) -> None:
        self._waiting.append(values + 0.0)  # no −0.0, and no slice that keeps the whole chunk alive
        self._count += len(values)
        if self._count >= self._block:
            waiting = np.concatenate(self._waiting)
            whole = len(waiting) - len(waiting) % self._block
            for start in range(0, whole, self._block):
                self._moments, self._kll = self._with(waiting[start : start + self._block])
            self._waiting, self._count = [waiting[whole:].copy()], len(waiting) - whole

    def seen(self) -> tuple[tuple[int, float, float], Kll]:
        return self._with(np.concatenate(self._waiting)) if self._count else (self._moments, self._kll)

    def _with(self, block: NDArray[np.float64]) -> tuple[tuple[int, float, float], Kll]:
        moments = self._moments
        if self._with_moments:
            count, mean, m2 = moments
            block_mean, block_m2 = kernels.block_moments(block)
            moments = kernels.combine_moments([count, len(block)], [mean, block_mean], [m2, block_m2])
        return moments, self._kll.absorb(block)


class _Counter:
    """How often each key occurred, in a bounded map (Misra and Gries), exact while there is room for all."""

    def __init__(self, room: int) -> None:
        self.total = 0
        self._room = room
        self._offset = 0
        self._waiting: list[tuple[NDArray[np.uint64], NDArray[np.int64]]] = []
        self._size = 0

    def add(self, keys: NDArray[np.uint64], counts: NDArray[np.int64], total: int) -> None:
        self._waiting.append((keys.copy(), counts.copy()))
        self._size += len(keys)
        self.total += total
        if self._size > 4 * self._room:
            self._settle()

    def keys(self) -> NDArray[np.uint64]:
        self._settle()
        return self._waiting[0][0] if self._waiting else np.zeros(0, np.uint64)

    def strongest(self) -> tuple[NDArray[np.uint64], list[int], int]:
        """What fits into a stored sketch: keys, counts, and how much each count may be too low."""
        self._settle()
        keys, counts, cut = _shed(*self._waiting[0], room=frequent_items.ROOM)
        return keys, counts.tolist(), self._offset + cut

    def _settle(self) -> None:
        if not self._waiting:
            return
        keys, counts = (np.concatenate(part) for part in zip(*self._waiting, strict=True))
        if len(self._waiting) > 1:
            keys, counts = kernels.sum_by_key(keys, counts)
        keys, counts, cut = _shed(keys, counts, room=self._room)
        self._offset += cut
        self._waiting, self._size = [(keys, counts)], len(keys)


class _Labels:
    """What the keys of strings look like, for those that some cell still counts."""

    def __init__(self) -> None:
        self._keys: list[NDArray[np.uint64]] = []
        self._texts: list[pa.LargeStringArray] = []
        self._size = 0
        self._limit = _LABELS_AT_LEAST
        self._settled = False

    @property
    def full(self) -> bool:
        return self._size > self._limit

    def add(self, keys: NDArray[np.uint64], texts: pa.LargeStringArray) -> None:
        self._keys.append(keys)
        self._texts.append(texts)
        self._size += len(keys)
        self._settled = False

    def prune(self, counted: list[NDArray[np.uint64]]) -> None:
        alive, _ = kernels.run_lengths(np.sort(np.concatenate(counted)))
        self._settle()
        kept = np.flatnonzero(np.isin(self._keys[0], alive, assume_unique=True))
        self._keep(self._keys[0][kept], self._texts[0].take(pa.array(kept)))
        self._limit = max(_LABELS_AT_LEAST, 2 * self._size)

    def find(self, keys: NDArray[np.uint64]) -> list[str]:
        self._settle()
        return self._texts[0].take(pa.array(np.searchsorted(self._keys[0], keys))).to_pylist()

    def _settle(self) -> None:
        """One run of sorted distinct keys with their texts."""
        if self._settled:
            return
        keys = np.concatenate(self._keys)
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        first = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
        self._keep(keys[first], pa.concat_arrays(self._texts).take(pa.array(order[first])))

    def _keep(self, keys: NDArray[np.uint64], texts: pa.LargeStringArray) -> None:
        self._keys, self._texts, self._size, self._settled = [keys], [texts], len(keys), True


def _shed(
    keys: NDArray[np.uint64], counts: NDArray[np.int64], *, room: int
) -> tuple[NDArray[np.uint64], NDArray[np.int64], int]:
    kept, cut = kernels.heavy_hitters(counts, room)
    if not cut:
        return keys, counts, 0
    if len(kept):
        return keys[kept], counts[kept] - cut, cut
    return keys[:1], counts[:1], cut  # all alike; one stays as the witness that there was something


def _update_numbers(
    cells: list[_Cell], numbers: NDArray[np.float64], bounds: NDArray[np.int64], *, times: bool
) -> None:
    finite = np.isfinite(numbers)
    if not finite.all():
        odd = {"n_nan": np.isnan(numbers), "n_pos_inf": numbers == np.inf, "n_neg_inf": numbers == -np.inf}
        for name, mask in odd.items():
            for cell, count in zip(cells, kernels.true_by_group(mask, bounds).tolist(), strict=True):
                cell.add(**{name: count})
        bounds, numbers = kernels.true_before(finite, bounds), numbers[finite]
    for cell, found in zip(cells, _slices(numbers, bounds), strict=True):
        cell.add_numbers(found, times=times)


def _slices(array: NDArray, bounds: NDArray[np.int64]) -> list[NDArray]:
    if len(bounds) == 2:
        return [array]
    edges = bounds.tolist()
    return [array[start:stop] for start, stop in pairwise(edges)]
