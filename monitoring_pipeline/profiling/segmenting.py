"""Which segment each row belongs to: the combinations of values of some columns that are really there.

A value is named by its text: booleans are True and False, a null is the empty text and never lost, whole doubles
read like integers (so that a column that pandas widened because of a gap keeps its segments). Beyond the limit the
smallest combinations of a chunk are counted together in a segment whose every tag is "(other)".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.profiling import kernels
from monitoring_pipeline.profiling.frames import Part
from monitoring_pipeline.profiling.sketches import Hll
from monitoring_pipeline.profiling.values import plain
from monitoring_pipeline.segments import segment_key

OTHER = "(other)"

Assignment = tuple[NDArray[np.int64], NDArray[np.int64]]
"""The segment of each row: places, (n,) int64, in an array of segment numbers."""


@dataclass(frozen=True, eq=False)
class Tags:
    """One column as segment values: `codes`, (n,) int64 places in `texts`, which are distinct."""

    codes: NDArray[np.int64]
    texts: tuple[str, ...]


@dataclass(eq=False)
class Segmentation:
    """The segments by one set of columns, at most `limit` of them; what no longer fits is folded."""

    names: tuple[str, ...]
    limit: int
    _known: dict[tuple[str, ...], int] = field(default_factory=dict)
    _other: int | None = None
    _folded: Hll = field(default_factory=lambda: Hll.of(np.zeros(0, np.uint32), lg_k=12))

    @property
    def folded(self) -> int:
        """How many segments were folded into the other one (an estimate beyond 384)."""
        return round(self._folded.distinct()[0])

    def assign(self, tags: Mapping[str, Tags], register: Callable[[str], int]) -> Assignment:
        """The segment of each row; `register` gives a segment's key its number."""
        values, rows = _combinations([tags[name] for name in self.names])
        counts = np.bincount(rows, minlength=len(values))
        fresh = [place for place, value in enumerate(values) if value not in self._known]
        fresh.sort(key=lambda place: (-counts[place], values[place]))
        room = max(self.limit - len(self._known), 0)
        for place in fresh[:room]:
            self._known[values[place]] = register(self._key(values[place]))
        if fresh[room:]:
            self._fold([values[place] for place in fresh[room:]])
            if self._other is None:
                self._other = register(self._key([OTHER] * len(self.names)))
        found = np.array([self._known.get(value, self._other) for value in values], np.int64)
        distinct, _ = kernels.run_lengths(np.sort(found))
        return np.searchsorted(distinct, found)[rows], distinct

    def _key(self, values: Sequence[str]) -> str:
        return segment_key(dict(zip(self.names, values, strict=True)))

    def _fold(self, values: Sequence[Sequence[str]]) -> None:
        keys = [self._key(value).encode() for value in values]
        ends = np.cumsum([0, *map(len, keys)])
        hashes = kernels.murmur_bytes(ends[:-1], np.diff(ends), np.frombuffer(b"".join(keys), np.uint8))
        self._folded = self._folded.absorb(kernels.coupons(hashes))


def read_tags(parts: Sequence[Part], rows: int, *, column: str) -> Tags:
    """Segment values of a column. Raises UsageError when its values cannot name a segment (lists, structs)."""
    texts: dict[str, int] = {"": 0}
    codes = np.zeros(rows, np.int64)
    for part in parts:
        array = plain(part.array)
        if pa.types.is_nested(array.type):
            raise UsageError(
                f"column {column!r} holds {array.type} and cannot name segments; use one of plain values"
            )
        encoded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
        places = np.array(
            [texts.setdefault(text, len(texts)) for text in _texts(encoded.dictionary)], np.int64
        )
        found = encoded.indices.fill_null(len(places)).to_numpy(zero_copy_only=False).astype(np.int64)
        codes[slice(None) if part.places is None else part.places] = np.append(places, 0)[found]
    return Tags(codes, tuple(texts))


def _texts(values: pa.Array) -> list[str]:
    kind = values.type
    if pa.types.is_boolean(kind):
        return ["" if value is None else str(value) for value in values.to_pylist()]
    if pa.types.is_null(kind):
        return [""] * len(values)
    raw = values.cast(pa.large_string() if not _is_bytes(kind) else pa.large_binary()).cast(pa.large_binary())
    return ["" if value is None else value.decode(errors="replace") for value in raw.to_pylist()]


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)


def _combinations(columns: Sequence[Tags]) -> tuple[list[tuple[str, ...]], NDArray[np.int64]]:
    """The combinations that occur, and which one each row has."""
    present, rows = kernels.dense_codes(columns[0].codes, len(columns[0].texts))
    values = [(columns[0].texts[place],) for place in present.tolist()]
    for column in columns[1:]:
        width = len(column.texts)
        present, rows = kernels.dense_codes(rows * width + column.codes, max(len(values) * width, 1))
        values = [
            (*values[before], column.texts[place])
            for before, place in zip((present // width).tolist(), (present % width).tolist(), strict=True)
        ]
    return values, rows
