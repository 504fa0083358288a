"""The cells of a column in numpy: what `_kernels.c` computes where it could be compiled, and in which terms.

A cell is one column in one segment. Values arrive in chunks whose rows are grouped by cell; all cells share the work
that is done once per row. Nothing depends on how the rows are cut into chunks: numbers wait in a cell until a block
has come together, and counters are thinned out only after a fixed number of values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from monitoring_pipeline.profiling import kernels
from monitoring_pipeline.profiling.sketches import FrequentItems, Hll, Kll, frequent_items

REVISION = 3
"""Of the interface and of what is computed; a compiled engine of another revision is not used."""

Buffer = NDArray | pa.Buffer | bytes
"""Memory that is read where it lies."""

Offsets = NDArray[np.int32 | np.int64]
"""Where each of some texts begins in a buffer, and where the last one ends."""

Report = tuple[int, tuple[int | float | bytes | None, ...], float | None, tuple[float | None, ...]]
"""What a cell has seen: its number; what `REPORTED` names; distinct values while they are counted exactly; quantiles.

The quantiles are 5, 25, 50, 75, 90, 95 and 99.
"""

REPORTED = (
    "n",
    "n_null",
    "n_nan",
    "n_pos_inf",
    "n_neg_inf",
    "n_true",
    "m_n",
    "mean",
    "m2",
    "min",
    "max",
    "kll",
    "hll",
    "frequent_items",
)
"""The fields of a column profile that a cell knows; images of sketches it does not keep are None."""

_NUMBERS = frozenset({"double", "integer", "unsigned", "time"})
_WITH_ITEMS = frozenset({"integer", "unsigned", "boolean", "text"})
_KINDS = _NUMBERS | _WITH_ITEMS | {"hash", "null", "object"}
SHOWN = 128  # characters of a text that are told apart and shown as an item
_LONG = 1024  # bytes
_QUANTILES = tuple(percent / 100 for percent in (5, 25, 50, 75, 90, 95, 99))


class Cells:
    """One column in every segment, for values of one kind.

    `kind`: "double", "integer" (64 bits, signed), "unsigned", "time" (signed microseconds, without moments),
    "boolean", "text", "hash" (only distinct values are counted), "null" or "object" (only rows are counted).
    `kll_k`, `lg_k`: accuracy of quantiles and distinct values. `room`: how many values are counted on their own
    before the rare ones are dropped; 0: none. `block`: how many numbers are sketched together, a multiple of 4.
    """

    def __init__(self, kind: str, *, kll_k: int, lg_k: int, room: int, block: int) -> None:
        if kind not in _KINDS:
            raise ValueError(f"an unknown kind: {kind!r}")
        self._kind = kind
        self._kll_k, self._lg_k, self._room, self._block = kll_k, lg_k, room, block
        self._cells: dict[int, _Cell] = {}
        self._labels: dict[int, bytes] = {}

    def add(
        self,
        rows: int,
        values: Buffer | None,
        valid: Buffer | None,
        bit_offset: int,
        order: NDArray[np.int64] | None,
        bounds: NDArray[np.int64],
        cells: NDArray[np.int64],
        /,
    ) -> None:
        """Take a chunk of `rows` rows.

        `values`: (rows,) float64, int64 or uint64, as the kind demands, or a bitmap of booleans; None of nulls and
        objects. `valid`: a bitmap, None where nothing is missing; both bitmaps begin at `bit_offset`. `order`: rows,
        group by group; None where they already stand so. `bounds`: (groups + 1,), where in `order` each group starts;
        `cells`: (groups,), the cell of each.
        """
        groups = self._groups(rows, valid, bit_offset, order, bounds, cells)
        if self._kind == "boolean":
            for cell, truths in groups.split(groups.arrange(_bits(values, rows, bit_offset))):
                cell.add_truths(truths)
        elif values is None:
            return
        elif self._kind == "double":
            numbers = groups.arrange(np.frombuffer(values, np.float64))
            self._add_coupons(groups, kernels.coupons(kernels.murmur_words(kernels.canonical_bits(numbers))))
            for cell, found in groups.split(numbers):
                cell.add_doubles(found)
        else:
            bits = groups.arrange(np.frombuffer(values, np.uint64))
            self._add_coupons(groups, kernels.coupons(kernels.murmur_words(bits)))
            for cell, words in groups.split(bits):
                whole = words if self._kind == "unsigned" else words.view(np.int64)
                cell.numbers.add(whole.astype(np.float64))
                if self._room and self._kind in _WITH_ITEMS:
                    cell.counter.add(words)

    def add_texts(
        self,
        rows: int,
        codes: kernels.Codes | None,
        offsets: Offsets,
        text: NDArray[np.uint8],
        valid: Buffer | None,
        bit_offset: int,
        order: NDArray[np.int64] | None,
        bounds: NDArray[np.int64],
        cells: NDArray[np.int64],
        /,
    ) -> None:
        """Take a chunk of texts or byte strings.

        `offsets`: (texts + 1,), where in `text`, UTF-8, each text begins. `codes`: (rows,) places among the texts;
        None where there is one text a row. The rest is as in `add`.
        """
        groups = self._groups(rows, valid, bit_offset, order, bounds, cells)
        places = groups.arrange(np.arange(rows) if codes is None else codes)
        used, places = np.unique(places, return_inverse=True)
        starts, lengths = offsets[used].astype(np.int64), np.diff(offsets)[used].astype(np.int64)
        first, second = _hash_texts(starts, lengths, text)
        coupons = kernels.coupons((first, second))
        self._add_coupons(groups, coupons[places])
        if not self._room or self._kind != "text":
            return
        shown = {
            place: _shown(text[starts[place] : starts[place] + lengths[place]].tobytes())
            for place in np.flatnonzero(lengths > SHOWN).tolist()
        }
        for place, beginning in shown.items():
            at = np.zeros(1, np.int64), np.array([len(beginning)])
            first[place] = kernels.murmur_bytes(*at, np.frombuffer(beginning, np.uint8))[0][0]
        for cell, found in groups.split(first[places]):
            cell.counter.add(found)
        for place, key in enumerate(first.tolist()):
            if key not in self._labels:
                whole = text[starts[place] : starts[place] + lengths[place]]
                self._labels[key] = shown.get(place) or whole.tobytes()
        if len(self._labels) > 4 * self._room * len(self._cells):
            counted = {key for cell in self._cells.values() for key in cell.counter.keys.tolist()}
            self._labels = {key: label for key, label in self._labels.items() if key in counted}

    def finish(self) -> list[Report]:
        """What each cell has seen so far, by number; more may follow."""
        return [self._report(number, cell) for number, cell in sorted(self._cells.items())]

    def _groups(
        self,
        rows: int,
        valid: Buffer | None,
        bit_offset: int,
        order: NDArray[np.int64] | None,
        bounds: NDArray[np.int64],
        cells: NDArray[np.int64],
    ) -> _Groups:
        mask = None if valid is None else _bits(valid, rows, bit_offset)
        groups = _Groups(mask, order, bounds, [self._cell(number) for number in cells.tolist()])
        groups.count_rows()
        return groups

    def _cell(self, number: int) -> _Cell:
        cell = self._cells.get(number)
        if cell is None:
            cell = self._cells[number] = _Cell(
                _Numbers(self._kll_k, self._block, with_moments=self._kind != "time"),
                _Counter(self._room),
                Hll.of(np.zeros(0, np.uint32), lg_k=self._lg_k),
            )
        return cell

    def _add_coupons(self, groups: _Groups, coupons: NDArray[np.uint32]) -> None:
        for cell, found in groups.split(coupons):
            cell.hll = cell.hll.absorb(found)

    def _report(self, number: int, cell: _Cell) -> Report:
        moments, kll = cell.numbers.seen()
        is_number = self._kind in _NUMBERS
        extremes = (kll.minimum, kll.maximum) if kll.n else (None, None)
        items = self._items(cell)
        coupons = cell.hll.coupons if self._kind != "object" else None
        reported = (
            cell.rows,
            cell.nulls,
            cell.nans,
            cell.above,
            cell.below,
            cell.trues,
            *moments,
            *extremes,
            kll.to_image() if is_number else None,
            cell.hll.to_image() if self._kind != "object" else None,
            None if items is None else items.to_image(),
        )
        exactly = None if coupons is None else float(len(coupons))
        nothing: tuple[float | None, ...] = (None,) * len(_QUANTILES)
        return number, reported, exactly, tuple(kll.quantiles(_QUANTILES).tolist()) if kll.n else nothing

    def _items(self, cell: _Cell) -> FrequentItems | None:
        if not self._room or self._kind not in _WITH_ITEMS:
            return None
        if self._kind == "boolean":
            valid = cell.rows - cell.nulls
            counts = (("True", cell.trues), ("False", valid - cell.trues))
            return FrequentItems.of([item for item in counts if item[1]], total=valid) if valid else None
        if not cell.counter.total:
            return None
        keys, counts, offset = cell.counter.strongest()
        if self._kind == "text":
            texts = [self._labels[key].decode() for key in keys.tolist()]
        else:
            texts = [str(key) for key in (keys if self._kind == "unsigned" else keys.view(np.int64)).tolist()]
        pairs = zip(texts, counts.tolist(), strict=True)
        return FrequentItems.of(pairs, total=cell.counter.total, offset=offset)


def _bits(bitmap: Buffer | None, rows: int, bit_offset: int) -> NDArray[np.bool_]:
    """Arrow's bitmaps: the lowest bit comes first."""
    octets = np.frombuffer(bitmap or b"", np.uint8)
    return np.unpackbits(octets, bitorder="little")[bit_offset : bit_offset + rows].view(np.bool_)


def _hash_texts(
    starts: NDArray[np.int64], lengths: NDArray[np.int64], text: NDArray[np.uint8]
) -> kernels.Hashes:
    """The vectorised hash costs as many steps as its longest string has blocks, so long ones go apart."""
    first, second = np.empty(len(starts), np.uint64), np.empty(len(starts), np.uint64)
    far = lengths > _LONG
    for chosen in (np.flatnonzero(~far), np.flatnonzero(far)):
        if len(chosen):
            first[chosen], second[chosen] = kernels.murmur_bytes(starts[chosen], lengths[chosen], text)
    return first, second


def _shown(text: bytes) -> bytes:
    return text.decode()[:SHOWN].encode()


class _Groups:
    """The rows of a chunk, grouped by cell, those without a value left out."""

    def __init__(
        self,
        valid: NDArray[np.bool_] | None,
        order: NDArray[np.int64] | None,
        bounds: NDArray[np.int64],
        cells: list[_Cell],
    ) -> None:
        self._order, self._cells, self._all = order, cells, bounds
        self._kept = valid if valid is None or order is None else valid[order]
        self._bounds = bounds if self._kept is None else kernels.true_before(self._kept, bounds)

    def arrange(self, array: NDArray) -> NDArray:
        """Row values, group by group."""
        array = array if self._order is None else array[self._order]
        return array if self._kept is None else array[self._kept]

    def split(self, arranged: NDArray) -> Iterator[tuple[_Cell, NDArray]]:
        """Each cell with its values."""
        for cell, (start, stop) in zip(self._cells, pairwise(self._bounds.tolist()), strict=True):
            yield cell, arranged[start:stop]

    def count_rows(self) -> None:
        """Count rows and nulls of each cell."""
        totals, present = np.diff(self._all).tolist(), np.diff(self._bounds).tolist()
        for cell, total, valid in zip(self._cells, totals, present, strict=True):
            cell.rows += total
            cell.nulls += total - valid


@dataclass(eq=False)
class _Cell:
    numbers: _Numbers
    counter: _Counter
    hll: Hll
    rows: int = 0
    nulls: int = 0
    nans: int = 0
    above: int = 0
    below: int = 0
    trues: int = 0

    def add_truths(self, truths: NDArray[np.bool_]) -> None:
        true = int(np.count_nonzero(truths))
        self.trues += true
        # Booleans hash as the integers 0 and 1, as in DataSketches.
        seen = np.array([0] * (true < len(truths)) + [1] * (true > 0), np.uint64)
        self.hll = self.hll.absorb(kernels.coupons(kernels.murmur_words(seen)))

    def add_doubles(self, values: NDArray[np.float64]) -> None:
        finite = np.isfinite(values)
        if not finite.all():
            self.nans += int(np.count_nonzero(np.isnan(values)))
            self.above += int(np.count_nonzero(values == np.inf))
            self.below += int(np.count_nonzero(values == -np.inf))
            values = values[finite]
        self.numbers.add(values)


class _Numbers:
    """Finite numbers of a cell: moments and KLL, taken in blocks of a fixed number of consecutive values."""

    def __init__(self, k: int, block: int, *, with_moments: bool) -> None:
        self._block, self._with_moments = block, with_moments
        self._kll = Kll.of(np.zeros(0), k=k)
        self._moments = (0, 0.0, 0.0)
        self._waiting = np.zeros(0)

    def add(self, values: NDArray[np.float64]) -> None:
        waiting = np.concatenate([self._waiting, values + 0.0])  # no −0.0
        whole = len(waiting) - len(waiting) % self._block
        for start in range(0, whole, self._block):
            self._moments, self._kll = self._with(waiting[start : start + self._block])
        self._waiting = waiting[whole:]

    def seen(self) -> tuple[kernels.Moments, Kll]:
        return self._with(self._waiting) if len(self._waiting) else (self._moments, self._kll)

    def _with(self, block: NDArray[np.float64]) -> tuple[kernels.Moments, Kll]:
        moments = kernels.add_moments(self._moments, block) if self._with_moments else self._moments
        level = 0
        if len(block) == self._block:
            level = kernels.sampling_level(self._kll.n, k=self._kll.k, block=self._block)
        return moments, self._kll.absorb(block, level=level)


@dataclass(eq=False)
class _Counter:
    """How often each key occurred, in a bounded map (Misra and Gries), exact while there is room for all.

    Whether there is room is asked after every third of it, so that the answer does not depend on the chunks.
    """

    room: int
    total: int = 0
    offset: int = 0
    keys: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def add(self, found: NDArray[np.uint64]) -> None:
        keys, counts = self._with(found)
        if len(keys) <= self.room:
            self.keys, self.counts = keys, counts
            self.total += len(found)
            return
        stride = max(self.room // 3, 1)
        while len(found):
            taken = stride - self.total % stride
            self.keys, self.counts = self._with(found[:taken])
            self.total += len(found[:taken])
            found = found[taken:]
            if self.total % stride == 0 and len(self.keys) > self.room:
                self.keys, self.counts, cut = _shed(self.keys, self.counts, keep=self.room // 2)
                self.offset += cut

    def strongest(self) -> tuple[NDArray[np.uint64], NDArray[np.int64], int]:
        """What fits into a stored sketch: keys, counts, and how much each count may be too low."""
        keys, counts, cut = _shed(self.keys, self.counts, keep=frequent_items.ROOM)
        return keys, counts, self.offset + cut

    def _with(self, found: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        counts = np.concatenate([self.counts, np.ones(len(found), np.int64)])
        return kernels.sum_by_key(np.concatenate([self.keys, found]), counts)


def _shed(
    keys: NDArray[np.uint64], counts: NDArray[np.int64], *, keep: int
) -> tuple[NDArray[np.uint64], NDArray[np.int64], int]:
    """Keep at most `keep` counters; where all are alike, the smallest key, as the witness that there was something."""
    kept, cut = kernels.heavy_hitters(counts, keep)
    if not cut:
        return keys, counts, 0
    if len(kept):
        return keys[kept], counts[kept] - cut, cut
    return keys[:1], counts[:1], cut
