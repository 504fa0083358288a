"""Profiles: what is remembered of a column, and of a dataset with its segments, after the rows are gone.

Profiles are immutable and merge: an hour into a day, a day into a baseline, one machine's share into another's.
Counts add exactly; moments by Chan's formula; minimum and maximum exactly; sketches within their documented errors.
The empty profile is the identity. Nothing here reads data (`profiler`) or interprets numbers (`metrics`).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.profiling import data_warnings, kernels, wire
from monitoring_pipeline.profiling.data_warnings import DataWarning
from monitoring_pipeline.profiling.performance import PERFORMANCE, Performance, merge_performance
from monitoring_pipeline.profiling.sketches import FrequentItems, Hll, Kll
from monitoring_pipeline.segments import OVERALL

COUNTS: Final = (
    "n",
    "n_null",
    "n_nan",
    "n_pos_inf",
    "n_neg_inf",
    "n_true",
    "t_bool",
    "t_integral",
    "t_fractional",
    "t_string",
    "t_object",
)
MOMENTS: Final = ("m_n", "mean", "m2", "min", "max")
_QUANTILES: Final = (5, 25, 50, 75, 90, 95, 99)
DERIVED: Final = ("unique_est", "unique_lower", "unique_upper", *(f"quantile_{q}" for q in _QUANTILES))

SCALARS: Final[tuple[str, ...]] = (*COUNTS, "n_columns", *MOMENTS, *DERIVED)
"""The numbers kept for every profile, in the order of the store's columns.

`n` all values, nulls included; `n_null`; `n_nan`, `n_pos_inf`, `n_neg_inf` (counted under t_fractional too);
`n_true`; `t_*` values that are not null, by type; `n_columns` of a whole dataset, and 0 of a column that came with
outcomes only, which a dataset does not count; `m_n`, `mean`, `m2` number, mean and sum of squared deviations of finite
numbers; `min`, `max` of finite numbers, or of times in microseconds since 1970; `unique_*` estimate and bounds at two standard errors; `quantile_*` (exclusive).
"""

DATASET_COLUMN: Final = ""
"""The name under which the store keeps the dataset-level row of a segment (`DatasetProfile.dataset_scalars`)."""

KLL, HLL, FREQUENT_ITEMS = "kll.v1", "hll.v1", "frequent_items.v1"

LATE: Final = "late.v1"
"""Component without content, of a column that came with outcomes only and that the rows did not have."""

PRIVACY: Final = "privacy.v1"
"""Component of a column of which something was kept back: what was, as `profiling.privacy` spells it."""

_KNOWN = frozenset({KLL, HLL, FREQUENT_ITEMS})

_COLUMN_MAGIC, _DATASET_MAGIC, _SEGMENT_MAGIC = b"MPcp", b"MPdp", b"MPsp"
COMPONENTS_MAGIC: Final = b"MPcm"
_COLUMN_LIMIT, _SEGMENT_LIMIT, _DATASET_LIMIT = 1 << 28, 1 << 30, 1 << 40
COMPONENTS_LIMIT: Final = _COLUMN_LIMIT
"""Bytes that the components of one profile may have."""
_FIELDS = struct.Struct(
    f"<{len(COUNTS) + 1}Q2dB2d"
)  # counts and m_n; mean, m2; whether there are extremes; they


@dataclass(frozen=True, kw_only=True)
class ColumnProfile:
    """One column of one batch, or of many batches merged. `ColumnProfile()` is the profile of nothing.

    Counts are ints (see `SCALARS`); `min` and `max` are None where there is nothing to order. `kll`, `hll` and
    `frequent_items` are Apache images, None where the type of the values has no such sketch. `extra` holds
    components of other releases, carried along untouched; what a merge cannot keep true, it drops: an extra
    component survives only when everything else that is merged is empty.
    """

    n: int = 0
    n_null: int = 0
    n_nan: int = 0
    n_pos_inf: int = 0
    n_neg_inf: int = 0
    n_true: int = 0
    t_bool: int = 0
    t_integral: int = 0
    t_fractional: int = 0
    t_string: int = 0
    t_object: int = 0
    m_n: int = 0
    mean: float = 0.0
    m2: float = 0.0
    min: float | None = None
    max: float | None = None
    kll: bytes | None = field(default=None, repr=False)
    hll: bytes | None = field(default=None, repr=False)
    frequent_items: bytes | None = field(default=None, repr=False)
    extra: Mapping[str, bytes] = field(default_factory=dict, repr=False, hash=False)

    def merge(self, other: ColumnProfile) -> ColumnProfile:
        """The profile of both together."""
        return merge_profiles([self, other])

    def scalars(self) -> dict[str, float | None]:
        """Every number of `SCALARS`; None where there is none (and where it does not fit into a double)."""
        found: dict[str, float | None] = {name: getattr(self, name) for name in COUNTS}
        found["n_columns"] = 0 if self.late else None
        found["m_n"] = self.m_n
        found["mean"] = self.mean if self.m_n else None
        found["m2"] = self.m2 if self.m_n and math.isfinite(self.m2) else None
        found["min"], found["max"] = self.min, self.max
        found.update(zip(DERIVED, self.derived, strict=True))
        return found

    @property
    def late(self) -> bool:
        """Whether the column came with outcomes only."""
        return LATE in self.extra

    def marked_late(self) -> ColumnProfile:
        """The same profile, of a column that came with outcomes only."""
        marked = replace(self, extra={**self.extra, LATE: b""})
        vars(marked)["derived"] = self.derived  # so that nobody has to read the images again
        return marked

    @cached_property
    def derived(self) -> tuple[float | None, ...]:
        """The numbers of `DERIVED`, read from the sketches once. Whoever makes the sketches may hand them over."""
        numbers = (*self.distinct(), *self.quantiles([q / 100 for q in _QUANTILES]).tolist())
        return tuple(None if math.isnan(number) else number for number in numbers)

    @property
    def types(self) -> list[tuple[str, int]]:
        """The types that its values have, and how many have each."""
        return [(name[2:], count) for name in COUNTS if name[:2] == "t_" and (count := getattr(self, name))]

    def components(self) -> dict[str, bytes]:
        """The sketches by name and version, and whatever else is carried along."""
        named = {KLL: self.kll, HLL: self.hll, FREQUENT_ITEMS: self.frequent_items}
        return {name: image for name, image in named.items() if image is not None} | dict(self.extra)

    @classmethod
    def from_parts(
        cls, scalars: Mapping[str, float | None], components: Mapping[str, bytes]
    ) -> ColumnProfile:
        """Rebuild a profile from its numbers and components, without loss.

        `scalars` needs the counts and moments of `SCALARS`; missing, None and NaN mean that there is none. What
        sketches give is read from them again.
        """
        numbers = {name: _number(scalars.get(name)) for name in (*COUNTS, *MOMENTS)}
        m_n = int(numbers["m_n"] or 0)
        m2 = numbers["m2"]
        return cls(
            **{name: int(numbers[name] or 0) for name in COUNTS},
            m_n=m_n,
            mean=numbers["mean"] or 0.0,
            m2=(math.inf if m_n else 0.0) if m2 is None else m2,
            min=numbers["min"],
            max=numbers["max"],
            kll=components.get(KLL),
            hll=components.get(HLL),
            frequent_items=components.get(FREQUENT_ITEMS),
            extra={name: data for name, data in components.items() if name not in _KNOWN},
        )

    def to_bytes(self) -> bytes:
        """The whole profile, compressed and sealed."""
        return wire.seal(_COLUMN_MAGIC, self._record())

    @classmethod
    def from_bytes(cls, data: bytes) -> ColumnProfile:
        """Inverse of `to_bytes`. Raises ProfileError that names what is wrong."""
        body = wire.unseal(_COLUMN_MAGIC, data, what="column profile", limit=_COLUMN_LIMIT)
        return cls._from_record(body)

    def quantiles(self, ranks: Sequence[float]) -> NDArray[np.float64]:
        """Values at ranks in [0, 1], same shape; NaN where there are none. Within `rank_error`."""
        kll = self._kll()
        return np.full(np.shape(ranks), np.nan) if kll is None else kll.quantiles(ranks)

    def histogram(self, edges: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
        """Shares of the values below the first edge, in each [edge, next edge), and from the last edge on.

        `edges`: (m,), strictly ascending. Returns (m + 1,) that sums to 1, or NaN where there are no values. The
        convention of Apache `get_pmf`. Raises UsageError when the edges do not ascend.
        """
        points = np.asarray(edges, np.float64)
        if points.ndim != 1 or np.isnan(points).any() or (np.diff(points) <= 0).any():
            raise UsageError(f"histogram edges must ascend strictly: found {points.tolist()}")
        kll = self._kll()
        if kll is None or not kll.n:
            return np.full(len(points) + 1, np.nan)
        return np.diff(np.concatenate(([0.0], kll.ranks(points), [1.0])))

    @property
    def rank_error(self) -> float:
        """How far ranks of `quantiles` and `histogram` may be off, as a share, with 99 % confidence; 0: exact."""
        kll = self._kll()
        return 0.0 if kll is None else kll.rank_error

    def distinct(self) -> tuple[float, float, float]:
        """Distinct values: estimate, lower, upper bound (two standard errors); NaN where they are not tracked.

        Never more than there are values that are not null.
        """
        if self.hll is None:
            return math.nan, math.nan, math.nan
        most = float(self.n - self.n_null)
        estimate, lower, upper = Hll.from_image(self.hll).distinct()
        return min(estimate, most), min(lower, most), min(upper, most)

    def top_items(self, count: int) -> list[tuple[str, int, int, int]]:
        """The commonest values as (text, estimate, lower bound, upper bound), commonest first."""
        return (
            FrequentItems.from_image(self.frequent_items).top(count)
            if self.frequent_items is not None
            else []
        )

    def _kll(self) -> Kll | None:
        return None if self.kll is None else Kll.from_image(self.kll)

    def _record(self) -> bytes:
        extremes = self.min is not None and self.max is not None
        fields = _FIELDS.pack(
            *(getattr(self, name) for name in COUNTS),
            self.m_n,
            self.mean,
            self.m2,
            extremes,
            self.min or 0.0,
            self.max or 0.0,
        )
        return fields + wire.pack_components(self.components())

    @classmethod
    def _from_record(cls, record: bytes) -> ColumnProfile:
        reader = wire.Reader(record, what="column profile")
        *counts, m_n, mean, m2, extremes, least, most = reader.fields(_FIELDS)
        components = wire.unpack_components(reader)
        reader.finish()
        numbers = dict(zip(COUNTS, counts, strict=True)) | {"m_n": m_n, "mean": mean, "m2": m2}
        return cls.from_parts(numbers | ({"min": least, "max": most} if extremes else {}), components)


def merge_profiles(profiles: Iterable[ColumnProfile]) -> ColumnProfile:
    """One profile of everything. The order does not matter; many at once are quicker and truer than one by one."""
    parts = list(profiles)
    if len(parts) == 1:
        return parts[0]
    seen = [part for part in parts if part.n]
    m_n, mean, m2 = kernels.combine_moments(
        [part.m_n for part in parts], [part.mean for part in parts], [part.m2 for part in parts]
    )
    kll = Kll.merge_all(Kll.from_image(part.kll) for part in parts if part.kll is not None)
    hll = Hll.merge_all(Hll.from_image(part.hll) for part in parts if part.hll is not None)
    items = FrequentItems.merge_all(
        FrequentItems.from_image(part.frequent_items) for part in parts if part.frequent_items is not None
    )
    extra = dict(seen[0].extra) if len(seen) == 1 else {}
    extra.pop(LATE, None)
    extra |= merged_privacy(part.extra for part in seen or parts)
    if parts and all(part.late for part in seen or parts):
        extra[LATE] = b""
    return ColumnProfile(
        **{name: sum(getattr(part, name) for part in parts) for name in COUNTS},
        m_n=m_n,
        mean=mean,
        m2=m2,
        min=min((part.min for part in parts if part.min is not None), default=None),
        max=max((part.max for part in parts if part.max is not None), default=None),
        kll=None if kll is None else kll.to_image(),
        hll=None if hll is None else hll.to_image(),
        frequent_items=None if items is None else items.to_image(),
        extra=extra,
    )


def merged_privacy(parts: Iterable[Mapping[str, bytes]]) -> dict[str, bytes]:
    """What was kept back of several profiles together, as a component: all that was, one by one; nothing of open ones.

    Takes their components. A profile of which nothing was kept back counts as "open" beside others.
    """
    found = [one.get(PRIVACY) for one in parts]
    if not any(found):
        return {}
    return {PRIVACY: b"\n".join(sorted({line for one in found for line in (one or b"open").split(b"\n")}))}


def components_to_bytes(components: Mapping[str, bytes]) -> bytes:
    """Components of one profile as one sealed byte string, each compressed on its own."""
    return wire.seal_parts(COMPONENTS_MAGIC, components)


def components_from_bytes(data: bytes) -> dict[str, bytes]:
    """Inverse of `components_to_bytes`. Raises ProfileError that names what is wrong."""
    return wire.unseal_parts(COMPONENTS_MAGIC, data, what="profile components", limit=COMPONENTS_LIMIT)


def component_from_bytes(data: bytes, name: str) -> bytes | None:
    """One component of a profile out of all of them as bytes, None when it has none of that name.

    Raises ProfileError that names what is wrong.
    """
    return wire.unseal_part(
        COMPONENTS_MAGIC, data, name.encode(), what="profile components", limit=COMPONENTS_LIMIT
    )


@dataclass(frozen=True)
class DatasetProfile:
    """A dataset's batch: rows and column profiles of each segment, the overall segment "" among them.

    `rows`: by segment key; `columns`: by segment key and column name; `folded_segments`: how many segments were
    counted together under "(other)" because there were too many (after a merge: at least so many). `components`: by
    segment key, what is known of its rows beyond their columns, such as the performance of predictions, by name and
    version. `recorded`: warnings that only the data could tell; `warnings` are all.
    """

    rows: Mapping[str, int] = field(default_factory=dict)
    columns: Mapping[str, Mapping[str, ColumnProfile]] = field(default_factory=dict)
    folded_segments: int = 0
    components: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict, repr=False)
    recorded: tuple[DataWarning, ...] = ()

    @property
    def warnings(self) -> tuple[DataWarning, ...]:
        """What could not be taken as it was, in all segments together, by kind and column."""
        found = {*self.recorded}
        for columns in [self.columns[OVERALL]] if OVERALL in self.columns else self.columns.values():
            found |= {
                data_warnings.mixed_types(name, counts)
                for name, column in columns.items()
                if len(counts := column.types) > 1
            }
        if self.folded_segments:
            found.add(data_warnings.too_many_segments(self.folded_segments))
        return tuple(sorted(found))

    def merge(self, other: DatasetProfile) -> DatasetProfile:
        """The profile of both together."""
        return merge_datasets([self, other])

    def dataset_scalars(self, segment: str) -> dict[str, float | None]:
        """The dataset-level row of a segment: its rows as `n`, the columns that they have as `n_columns`, no more."""
        known: dict[str, float | None] = dict.fromkeys(SCALARS)
        width = sum(not column.late for column in self.columns.get(segment, {}).values())
        return known | {"n": self.rows[segment], "n_columns": width}

    def performance(self, segment: str = OVERALL) -> Performance | None:
        """Predictions against outcomes in a segment; None where there are none. Raises ProfileError when damaged."""
        image = self.components.get(segment, {}).get(PERFORMANCE)
        return None if image is None else Performance.from_bytes(image)

    def to_bytes(self) -> bytes:
        """The whole profile, sealed; each segment is compressed on its own."""
        parts = [struct.pack("<QI", self.folded_segments, len(self.rows))]
        for key in sorted(self.rows):
            columns = self.columns.get(key, {})
            records = [
                wire.chunk(name.encode()) + wire.chunk(columns[name]._record()) for name in sorted(columns)
            ]
            own = self.components.get(key)
            records += [wire.pack_components(own)] if own else []
            body = struct.pack("<QI", self.rows[key], len(columns)) + b"".join(records)
            parts += [wire.chunk(key.encode()), wire.chunk(wire.seal(_SEGMENT_MAGIC, body))]
        if self.recorded:
            parts.append(data_warnings.pack(self.recorded))
        return wire.seal(_DATASET_MAGIC, b"".join(parts), compress=False)

    @classmethod
    def from_bytes(cls, data: bytes) -> DatasetProfile:
        """Inverse of `to_bytes`. Raises ProfileError that names what is wrong."""
        what = "dataset profile"
        reader = wire.Reader(wire.unseal(_DATASET_MAGIC, data, what=what, limit=_DATASET_LIMIT), what=what)
        folded, rows, columns, components = reader.long(), {}, {}, {}
        for _ in range(reader.number()):
            key = reader.text()
            what_segment = f"{what}, segment {key!r}"
            body = wire.unseal(_SEGMENT_MAGIC, reader.chunk(), what=what_segment, limit=_SEGMENT_LIMIT)
            inner = wire.Reader(body, what=what_segment)
            rows[key] = inner.long()
            columns[key] = {
                inner.text(): ColumnProfile._from_record(inner.chunk()) for _ in range(inner.number())
            }
            if inner.left:
                components[key] = wire.unpack_components(inner)
            inner.finish()
        recorded = data_warnings.unpack(reader) if reader.left else ()
        reader.finish()
        return cls(rows, columns, folded, components, recorded)


def merge_datasets(profiles: Iterable[DatasetProfile]) -> DatasetProfile:
    """One dataset profile of everything: segments and columns by name, each where it is present."""
    parts = list(profiles)
    keys = sorted({key for part in parts for key in part.rows})
    columns: dict[str, dict[str, ColumnProfile]] = {}
    for key in keys:
        tables = [part.columns.get(key, {}) for part in parts]
        names = dict.fromkeys(name for table in tables for name in table)
        columns[key] = {
            name: merge_profiles(table[name] for table in tables if name in table) for name in names
        }
    rows = {key: sum(part.rows.get(key, 0) for part in parts) for key in keys}
    folded = max((part.folded_segments for part in parts), default=0)
    components = {key: found for key in keys if (found := _merged_components(parts, key))}
    recorded = tuple(sorted({warning for part in parts for warning in part.recorded}))
    return DatasetProfile(rows, columns, folded, components, recorded)


def _merged_components(parts: Sequence[DatasetProfile], key: str) -> dict[str, bytes]:
    """What is known merges; of what is not, only that of the one part with any rows stays true."""
    seen = [part for part in parts if part.rows.get(key)]
    merged = dict(seen[0].components.get(key, {})) if len(seen) == 1 else {}
    performances = [found for part in parts if (found := part.performance(key)) is not None]
    return merged | ({PERFORMANCE: merge_performance(performances).to_bytes()} if performances else {})


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value
