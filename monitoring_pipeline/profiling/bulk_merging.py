"""Many merges at once: the hours of a day, column by column, for a thousand columns.

Gives the profiles, to the last bit, that `merge_profiles` makes of each group of profiles on its own. What costs most
there, opening sketches one by one, is done here for all of them together and with no object in between.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from monitoring_pipeline.errors import ProfileError
from monitoring_pipeline.profiling import engine, kernels
from monitoring_pipeline.profiling.profile import (
    COUNTS,
    DERIVED,
    FREQUENT_ITEMS,
    HLL,
    KLL,
    PRIVACY,
    SCALARS,
    ColumnProfile,
    merge_profiles,
    merged_privacy,
)
from monitoring_pipeline.profiling.sketches import FrequentItems, Hll, Kll
from monitoring_pipeline.profiling.sketches.kll import capacity

_USUAL = frozenset({KLL, HLL, FREQUENT_ITEMS, PRIVACY})
_COUNTS = [SCALARS.index(name) for name in COUNTS]
_PLACE = {name: place for place, name in enumerate(SCALARS)}
_RANKS = [int(name.rpartition("_")[2]) / 100 for name in DERIVED if name.startswith("quantile_")]

_KLL_HEAD = struct.Struct("<BBBBHBBQHBB")
_HLL_START = bytes((10, 1, 7))
_HLL_DATA, _MOST_REGISTER = 40, 63
_ITEMS_HEAD = struct.Struct("<BBBBBBHIIQQ")


def merge_groups(
    ends: NDArray[np.int64], numbers: NDArray[np.float64], components: Sequence[Mapping[str, bytes]]
) -> list[ColumnProfile]:
    """Merge groups of profiles that lie side by side; one profile for each group, in their order.

    `ends` (n_groups,): where each group ends, ascending, none empty. `numbers` (n_profiles, len(SCALARS)): the scalars
    of each profile, NaN = none. `components`: the sketches of each, by name. Raises ProfileError for a damaged sketch.
    """
    bounds = [0, *ends.tolist()]
    spans = list(pairwise(bounds))
    usual = [
        last - first > 1 and all(_USUAL.issuperset(one) for one in components[first:last])
        for first, last in spans
    ]
    found: list[ColumnProfile | None] = [
        None if known else _one_by_one(numbers[first:last], components[first:last])
        for (first, last), known in zip(spans, usual, strict=True)
    ]
    merged = _Merged(spans, numbers, components, [at for at, known in enumerate(usual) if known])
    for at in merged.places:
        found[at] = merged.profile(at)
    return [one for one in found if one is not None]


def _one_by_one(numbers: NDArray[np.float64], components: Sequence[Mapping[str, bytes]]) -> ColumnProfile:
    rows = (dict(zip(SCALARS, row, strict=True)) for row in numbers.tolist())
    return merge_profiles(
        ColumnProfile.from_parts(row, own) for row, own in zip(rows, components, strict=True)
    )


class _Merged:
    """What is known of each group that can be merged here: `places` are their numbers."""

    def __init__(
        self,
        spans: Sequence[tuple[int, int]],
        numbers: NDArray[np.float64],
        components: Sequence[Mapping[str, bytes]],
        places: Sequence[int],
    ) -> None:
        self.places = places
        self._spans = spans
        starts = np.array([first for first, _ in spans], np.int64)
        filled = np.nan_to_num(numbers[:, _COUNTS], nan=0.0)
        self._counts = np.add.reduceat(filled, starts, axis=0) if len(starts) else filled
        self._least, self._most = (
            getattr(np, way).reduceat(numbers[:, _PLACE[name]], starts) if len(starts) else np.zeros(0)
            for way, name in (("fmin", "min"), ("fmax", "max"))
        )
        m_n = np.nan_to_num(numbers[:, _PLACE["m_n"]], nan=0.0)
        m2 = numbers[:, _PLACE["m2"]]
        self._m_n = m_n.astype(np.int64).tolist()
        self._mean = np.nan_to_num(numbers[:, _PLACE["mean"]], nan=0.0).tolist()
        # A second moment that did not fit into a double was kept as none.
        self._m2 = np.where(np.isnan(m2), np.where(m_n > 0, np.inf, 0.0), m2).tolist()
        self._kll = {at: _merged_kll(self._images(components, at, KLL)) for at in places}
        self._hll = {at: _merged_hll(self._images(components, at, HLL)) for at in places}
        self._items = _merged_items({at: self._images(components, at, FREQUENT_ITEMS) for at in places})
        self._extra = {at: self._kept_back(numbers, components, at) for at in places}

    def profile(self, at: int) -> ColumnProfile:
        """The profile of one group."""
        first, last = self._spans[at]
        counts = dict(zip(COUNTS, map(int, self._counts[at].tolist()), strict=True))
        m_n, mean, m2 = kernels.combine_moments(
            self._m_n[first:last], self._mean[first:last], self._m2[first:last]
        )
        kll, hll, items = self._kll[at], self._hll[at], self._items[at]
        found = ColumnProfile(
            **counts,
            m_n=m_n,
            mean=mean,
            m2=m2,
            min=_number(self._least[at]),
            max=_number(self._most[at]),
            kll=None if kll is None else kll.to_image(),
            hll=None if hll is None else hll.to_image(),
            frequent_items=None if items is None else items.to_image(),
            extra=self._extra[at],
        )
        # Handed over, so that nobody has to read the images again.
        vars(found)["derived"] = _derived(kll, hll, most=float(found.n - found.n_null))
        return found

    def _images(self, components: Sequence[Mapping[str, bytes]], at: int, name: str) -> list[bytes]:
        first, last = self._spans[at]
        return [own[name] for own in components[first:last] if name in own]

    def _kept_back(
        self, numbers: NDArray[np.float64], components: Sequence[Mapping[str, bytes]], at: int
    ) -> dict[str, bytes]:
        first, last = self._spans[at]
        parts = components[first:last]
        if not any(PRIVACY in own for own in parts):
            return {}
        rows = np.nan_to_num(numbers[first:last, _PLACE["n"]]) > 0
        seen = [own for own, some in zip(parts, rows.tolist(), strict=True) if some]
        return merged_privacy(seen or parts)


def _derived(kll: Kll | None, hll: Hll | None, *, most: float) -> tuple[float | None, ...]:
    distinct = (math.nan,) * 3 if hll is None else tuple(min(one, most) for one in hll.distinct())
    quantiles = [math.nan] * len(_RANKS) if kll is None else kll.quantiles(_RANKS).tolist()
    return tuple(_number(one) for one in (*distinct, *quantiles))


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _merged_kll(images: Sequence[bytes]) -> Kll | None:
    if len(images) < 2:
        return Kll.from_image(images[0]) if images else None
    opened = [_open_kll(image) for image in images]
    if np.isnan(np.concatenate([level for one in opened for level in one.levels] or [np.zeros(0)])).any():
        raise ProfileError("a KLL sketch that is damaged or of another kind")
    return Kll.merge_all(opened)


def _open_kll(image: bytes) -> Kll:
    """A sketch that is about to be merged: its levels are in no order, and nobody has looked for NaN in them."""
    if len(image) < 44 or image[0] != 5 or image[3] & 5:
        return Kll.from_image(image)
    _, version, family, _, k, width, _, n, min_k, height, _ = _KLL_HEAD.unpack_from(image)
    start = 20 + 4 * height + 16
    damaged = version != 1 or family != 15 or width != 8 or min(k, min_k) < 8 or not 1 <= height <= 60
    if damaged or len(image) < start or (len(image) - start) % 8:
        return Kll.from_image(image)  # which says what is wrong
    kept = (len(image) - start) // 8
    places = [*struct.unpack_from(f"<{height}I", image, 20), 0]
    places[-1] = places[0] + kept
    sizes = [after - before for before, after in pairwise(places)]
    weight = sum(size << level for level, size in enumerate(sizes))
    least, most = struct.unpack_from("<dd", image, start - 16)
    if min(sizes) < 0 or places[-1] != capacity(k, height) or weight != n or n >> 62 or not least <= most:
        return Kll.from_image(image)
    items = np.frombuffer(image, "<f8", offset=start).astype(np.float64, copy=False)
    levels = tuple(items[before - places[0] : after - places[0]] for before, after in pairwise(places))
    return Kll(k, min_k, n, least, most, levels)


def _merged_hll(images: Sequence[bytes]) -> Hll | None:
    if len(images) < 2:
        return Hll.from_image(images[0]) if images else None
    size, lg_k = len(images[0]), images[0][3]
    if size == _HLL_DATA + (1 << lg_k) and all(
        len(image) == size and image[:3] == _HLL_START and image[3] == lg_k and image[7] & 15 == 10
        for image in images
    ):
        registers = np.frombuffer(b"".join(images), np.uint8).reshape(len(images), size)
        merged = registers[:, _HLL_DATA:].max(axis=0)
        if 4 <= lg_k <= 21 and merged.max() <= _MOST_REGISTER:
            return Hll(lg_k, None, merged)
    return Hll.merge_all(Hll.from_image(image) for image in images)


def _merged_items(groups: Mapping[int, Sequence[bytes]]) -> dict[int, FrequentItems | None]:
    """Sketches of frequent items merged group by group. Texts are counted as bytes, each with its length before it."""
    found: dict[int, FrequentItems | None] = {}
    counted: dict[int, list[tuple[int, int, int]]] = {}  # items, total, offset of each image
    for at, images in groups.items():
        heads = [_items_head(image) for image in images]
        known = [head for head in heads if head is not None]
        if len(known) < max(len(heads), 2) or any(not total for _, total, _ in known):
            found[at] = FrequentItems.merge_all(FrequentItems.from_image(image) for image in images)
        else:
            counted[at] = known
    if not counted:
        return found
    sizes = np.array([count for heads in counted.values() for count, _, _ in heads], np.int64)
    images = [image for at in counted for image in groups[at]]
    texts = [image[32 + 8 * count :] for image, count in zip(images, sizes.tolist(), strict=True)]
    joined = b"".join(texts)
    offsets = _text_places(joined, np.array([len(one) for one in texts], np.int64), sizes)
    if offsets is None:  # one of them is damaged, or says more than it should
        return found | {
            at: FrequentItems.merge_all(FrequentItems.from_image(image) for image in groups[at])
            for at in counted
        }
    column = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(offsets) - 1, [None, pa.py_buffer(offsets), pa.py_buffer(joined)]
    )
    first = 0
    for at, heads in counted.items():
        n_items = sum(count for count, _, _ in heads)
        merged = _counted_items(column.slice(first, n_items), groups[at], heads)
        if merged is None:
            merged = FrequentItems.merge_all(FrequentItems.from_image(image) for image in groups[at])
        found[at] = merged
        first += n_items
    return found


def _items_head(image: bytes) -> tuple[int, int, int] | None:
    """Items, total and offset of an image with items; None of one that is empty or not as it should be."""
    if len(image) < 32:
        return None
    preamble, version, family, _, _, flags, _, count, _, total, offset = _ITEMS_HEAD.unpack_from(image)
    as_it_should = preamble == 4 and version == 1 and family == 10 and not flags & 5 and count
    return (
        (count, total, offset)
        if as_it_should and len(image) >= 32 + 8 * count and not total >> 53 and offset <= total
        else None
    )


def _text_places(
    joined: bytes, lengths: NDArray[np.int64], counts: NDArray[np.int64]
) -> NDArray[np.int64] | None:
    """Where each text starts, its length included, and at last where all end; None unless nothing is between them.

    `lengths` and `counts`: bytes and texts of each image, (n_images,).
    """
    ends = np.cumsum(lengths)
    found = engine.text_places(np.frombuffer(joined, np.uint8), ends - lengths, ends, counts)
    if found is None:
        return None
    starts, stops = (np.frombuffer(one, np.int64) for one in found)
    offsets = np.append(starts - 4, len(joined))
    return offsets if offsets[0] == 0 and (stops == offsets[1:]).all() else None


def _counted_items(
    texts: pa.LargeBinaryArray, images: Sequence[bytes], heads: Sequence[tuple[int, int, int]]
) -> FrequentItems | None:
    """One sketch of everything; None when that needs a closer look."""
    raw = b"".join([image[32 : 32 + 8 * count] for image, (count, _, _) in zip(images, heads, strict=True)])
    weights = np.frombuffer(raw, "<u8")
    totals = np.repeat([total for _, total, _ in heads], [count for count, _, _ in heads])
    total = sum(one for _, one, _ in heads)
    if total >> 53 or (weights > totals.astype(np.uint64)).any():
        return None
    encoded = texts.dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    amounts = np.bincount(codes, weights=weights.astype(np.float64)).astype(np.int64)
    try:
        names = [text[4:].decode() for text in encoded.dictionary.to_pylist()]
    except UnicodeDecodeError:
        return None
    offset = sum(offset for _, _, offset in heads)
    return FrequentItems.of_distinct(names, amounts, total=total, offset=offset)
