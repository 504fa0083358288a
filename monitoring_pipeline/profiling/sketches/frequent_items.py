"""The commonest values as text, with bounds on how often each occurred."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.errors import ProfileError
from monitoring_pipeline.profiling import kernels

LG_MAP = 10
ROOM = 3 << (LG_MAP - 2)  # an Apache map of 1,024 is three quarters full at most
_FAMILY = 10
_NOISE = 8


@dataclass(frozen=True)
class FrequentItems:
    """The commonest texts with bounds on how often each occurred (Misra and Gries 1982; Apache frequent strings).

    `counts`: texts and counts, the commonest first; `total`: how many values were seen; `offset`: how much a count may be too low. An
    item occurred between its count and count + offset times, any other at most offset times; with an offset of 0
    everything is exact. At most 768 items are kept, and those that are lost in the error (an eighth of the offset)
    not at all, except that a sketch which has seen something always names something: Apache takes one without items
    for empty.
    """

    counts: tuple[tuple[str, int], ...] = ()
    total: int = 0
    offset: int = 0

    @classmethod
    def of(cls, counts: Iterable[tuple[str, int]], *, total: int, offset: int = 0) -> Self:
        """Keep what there is room for. A text that comes more than once has its counts added."""
        sums: dict[str, int] = {}
        for text, count in counts:
            sums[text] = sums.get(text, 0) + count
        amounts = np.fromiter(sums.values(), np.int64, len(sums))
        return cls.of_distinct(list(sums), amounts, total=total, offset=offset)

    @classmethod
    def of_distinct(
        cls, texts: Sequence[str], amounts: NDArray[np.int64], *, total: int, offset: int = 0
    ) -> Self:
        """The same of texts that are all different, and how often each was counted, (n,)."""
        # Noise is dropped only while the error stays within half of what the map guarantees, total / 768.
        noise = max(min(offset // _NOISE, total // (2 * ROOM) - offset), 0)
        kept, cut = kernels.heavy_hitters(amounts, ROOM, at_most_noise=noise)
        if texts and not len(kept):
            # Nothing stands out. The first keeps its count, which stays a true lower bound.
            most = int(amounts.max())
            text = min(texts[place] for place in np.flatnonzero(amounts == most).tolist())
            return cls(((text, most),), total, offset + cut if len(texts) > 1 else offset)
        found = zip((amounts[kept] - cut).tolist(), map(texts.__getitem__, kept.tolist()), strict=True)
        ranked = sorted((-count, text) for count, text in found)
        return cls(tuple((text, -count) for count, text in ranked), total, offset + cut)

    @classmethod
    def merge_all(cls, sketches: Iterable[Self]) -> Self | None:
        """Counts added item by item, the same for every order; None of nothing."""
        parts = list(sketches)
        seen = [part for part in parts if part.total]
        if len(seen) < 2:
            return [*seen, *parts][0] if parts else None
        items = (item for part in seen for item in part.counts)
        return cls.of(items, total=sum(part.total for part in seen), offset=sum(part.offset for part in seen))

    def top(self, count: int) -> list[tuple[str, int, int, int]]:
        """The `count` commonest as (text, estimate, lower bound, upper bound); the estimate is the upper bound."""
        return [(text, low + self.offset, low, low + self.offset) for text, low in self.counts[:count]]

    def to_image(self) -> bytes:
        """Apache image of a `frequent_strings_sketch` (`frequent_items_sketch_impl.hpp`, serial version 1)."""
        if not self.counts:
            return struct.pack("<6BH", 1, 1, _FAMILY, LG_MAP, 3, 5, 0)
        lg_current = 3
        while (3 << lg_current) < 4 * len(self.counts):
            lg_current += 1
        head = struct.pack("<6BHII", 4, 1, _FAMILY, LG_MAP, lg_current, 0, 0, len(self.counts), 0)
        texts = [text.encode() for text, _ in self.counts]
        return b"".join(
            [
                head,
                struct.pack("<QQ", self.total, self.offset),
                np.array([count for _, count in self.counts], "<u8").tobytes(),
                *(len(text).to_bytes(4, "little") + text for text in texts),
            ]
        )

    @classmethod
    def from_image(cls, image: bytes) -> Self:
        """Read an Apache image of strings. Raises ProfileError unless every length in it fits."""
        damaged = ProfileError("a frequent-items sketch that is damaged or of another kind")
        if len(image) < 8 or image[1] != 1 or image[2] != _FAMILY:
            raise damaged
        if image[5] & 5:
            return cls()
        if image[0] != 4 or len(image) < 32:
            raise damaged
        count, _, total, offset = struct.unpack_from("<IIQQ", image, 8)
        at = 32 + 8 * count
        if at > len(image):
            raise damaged
        counts = struct.unpack_from(f"<{count}Q", image, 32)
        texts = []
        for _ in range(count):
            start = at + 4
            at = start + int.from_bytes(image[at:start], "little")
            if start > len(image) or at > len(image):
                raise damaged
            texts.append(image[start:at].decode(errors="replace"))
        if total >> 62 or offset > total or any(weight > total for weight in counts):
            raise damaged
        order = np.argsort(-np.array(counts, np.int64), kind="stable").tolist()
        return cls(tuple((texts[place], counts[place]) for place in order), total, offset)
