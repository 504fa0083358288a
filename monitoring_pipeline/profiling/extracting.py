"""Byte strings of many profiles that lie one after the other, and one component out of many sealed ones.

A list of hundreds of thousands of `bytes` costs more to walk through than what they say does to work out. What is
opened here is what `profile.component_from_bytes` opens one by one, and what it refuses is refused in its words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.profiling import engine
from monitoring_pipeline.profiling.profile import COMPONENTS_LIMIT, COMPONENTS_MAGIC, component_from_bytes

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Blobs:
    """Byte strings as places in `data` (m,) uint8: `starts` and `sizes`, (n,) int64 each. They may lie in any order."""

    data: NDArray[np.uint8]
    starts: Indices
    sizes: Indices

    @classmethod
    def of(cls, parts: Sequence[bytes]) -> Self:
        """The same byte strings, put together."""
        sizes = np.fromiter(map(len, parts), np.int64, len(parts))
        return cls(np.frombuffer(b"".join(parts), np.uint8), np.cumsum(sizes) - sizes, sizes)

    @classmethod
    def joined(cls, several: Sequence[Blobs]) -> Self:
        """Those of several, one after the other."""
        if not several:
            return cls.of([])
        moved = np.cumsum([0, *(len(one.data) for one in several[:-1])])
        return cls(
            np.concatenate([one.data for one in several]),
            np.concatenate([one.starts + by for one, by in zip(several, moved.tolist(), strict=True)]),
            np.concatenate([one.sizes for one in several]),
        )

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, place: int) -> bytes:
        start = int(self.starts[place])
        return self.data[start : start + int(self.sizes[place])].tobytes()

    def take(self, places: Indices | NDArray[np.bool_] | slice) -> Self:
        """Some of them, in this order."""
        return type(self)(self.data, self.starts[places], self.sizes[places])

    def parts(self, first: Indices | int, sizes: Indices | int) -> bytes:
        """A part of each, from its place `first` on, one after the other. Each part must be within its byte string."""
        starts = self.starts + first
        sizes = np.broadcast_to(np.asarray(sizes, np.int64), starts.shape)
        return engine.gather(self.data, starts, np.ascontiguousarray(sizes))

    def heads(self, layout: np.dtype) -> NDArray:
        """The first fields of each, zeros behind the end of a short one."""
        size = layout.itemsize
        if (self.sizes >= size).all():
            return np.frombuffer(self.parts(0, size), layout)
        return np.frombuffer(
            b"".join([self[at][:size].ljust(size, b"\0") for at in range(len(self))]), layout
        )


def extract(sealed: Sequence[bytes], name: str) -> tuple[Indices, Blobs]:
    """The component `name` out of the sealed components of many profiles: places of those that have it, and it.

    Raises ProfileError that names what is wrong with the first that is damaged.
    """
    joined, sizes, odd = engine.find_components(sealed, COMPONENTS_MAGIC, name.encode(), COMPONENTS_LIMIT)
    found = np.frombuffer(sizes, np.int64)
    if not odd:
        there = np.flatnonzero(found >= 0)
        found = found[there]
        return there, Blobs(np.frombuffer(joined, np.uint8), np.cumsum(found) - found, found)
    opened = [component_from_bytes(sealed[place], name) for place in odd]
    found = found.copy()
    found[odd] = -1
    usual = np.flatnonzero(found >= 0)
    sizes_of = found[usual]
    whole = Blobs.joined(
        [
            Blobs(np.frombuffer(joined, np.uint8), np.cumsum(sizes_of) - sizes_of, sizes_of),
            Blobs.of([one for one in opened if one is not None]),
        ]
    )
    places = np.concatenate(
        [usual, np.array([at for at, one in zip(odd, opened, strict=True) if one is not None], np.int64)]
    )
    order = np.argsort(places)
    return places[order], whole.take(order)
