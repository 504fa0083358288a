"""Profiles under construction: one builder per column, in it one cell per segment.

A column usually holds values of one kind. Where it does not (objects of pandas, a type that changed between two
batches) each kind has cells of its own, and the profile is the merge of what they have seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.profiling import engine
from monitoring_pipeline.profiling.fallback import REPORTED, Cells, Report
from monitoring_pipeline.profiling.profile import ColumnProfile, merge_profiles
from monitoring_pipeline.profiling.sketches import native
from monitoring_pipeline.profiling.values import Kind, Values


@dataclass(frozen=True)
class CellSettings:
    """How a cell sketches: KLL k, numbers per block, HLL lg_k, and places in its counting map (0: no items)."""

    kll_k: int
    block: int
    hll_lg_k: int
    room: int


@dataclass(frozen=True, eq=False)
class Groups:
    """Rows grouped by cell: `order` puts them together (None: they are), `bounds` (cells + 1,) says where each starts.

    `cells`: (cells,) int64, which cell each group belongs to.
    """

    order: NDArray[np.int64] | None
    bounds: NDArray[np.int64]
    cells: NDArray[np.int64]

    @classmethod
    def whole(cls, rows: int, *, cell: int) -> Groups:
        """All rows in one cell."""
        return cls(None, np.array([0, rows], np.int64), np.array([cell], np.int64))

    @classmethod
    def by_code(cls, codes: NDArray[np.int64], cells: NDArray[np.int64]) -> Groups:
        """Rows by code, (n,) int64 places in `cells`; the rows of a group keep their order."""
        bounds = np.zeros(len(cells) + 1, np.int64)
        np.cumsum(np.bincount(codes, minlength=len(cells)), out=bounds[1:])
        narrow = codes.astype(np.uint16) if len(cells) <= 65_536 else codes
        if not np.any(narrow[1:] < narrow[:-1]):
            return cls(None, bounds, cells)
        return cls(np.argsort(narrow, kind="stable"), bounds, cells)


class ColumnBuilder:
    """One column in the overall segment and in all others, which have settings of their own."""

    def __init__(self, overall: CellSettings, segment: CellSettings) -> None:
        self._overall, self._segment = overall, segment
        self._cells: dict[tuple[str, Kind, CellSettings], Cells] = {}

    def update(self, values: Values, everywhere: Sequence[Groups]) -> None:
        """Take one chunk of values, whose rows the groups assign to cells; the first ones to the overall segment."""
        for place, groups in enumerate(everywhere):
            cells = self._cells_of(values, self._segment if place else self._overall)
            where = (values.valid, values.bit_offset, groups.order, groups.bounds, groups.cells)
            if values.texts is None:
                cells.add(values.rows, values.data, *where)
            else:
                cells.add_texts(values.rows, values.codes, values.texts.offsets, values.texts.data, *where)

    def profiles(self) -> Iterator[tuple[int, ColumnProfile]]:
        """What has been seen so far, by cell."""
        found: dict[int, list[ColumnProfile]] = {}
        for (_, kind, _), cells in self._cells.items():
            for report in cells.finish():
                number, profile = _profile(report, kind)
                found.setdefault(number, []).append(profile)
        for number, profiles in found.items():
            yield number, merge_profiles(profiles)

    def _cells_of(self, values: Values, settings: CellSettings) -> Cells:
        key = (values.store, values.kind, settings)
        cells = self._cells.get(key)
        if cells is None:
            cells = self._cells[key] = engine.Cells(
                values.store,
                kll_k=settings.kll_k,
                lg_k=settings.hll_lg_k,
                room=settings.room,
                block=settings.block,
            )
        return cells


def _profile(report: Report, kind: Kind) -> tuple[int, ColumnProfile]:
    number, reported, exactly, quantiles = report
    profile = ColumnProfile.__new__(ColumnProfile)
    # As `__init__` would, whose twenty calls of `object.__setattr__` cost more than the profile itself.
    fields = vars(profile)
    fields.update(_EMPTY)
    fields.update(zip(REPORTED, reported, strict=True))
    valid = fields[_TYPE_COUNTS[kind]] = profile.n - profile.n_null
    distinct: tuple[float | None, ...] = (exactly,) * 3
    if exactly is None and profile.hll is not None:
        distinct = tuple(min(bound, float(valid)) for bound in native.hll_estimate(profile.hll))
    fields["derived"] = (*distinct, *quantiles)  # so that nobody has to read the images again
    return number, profile


_EMPTY = dict(vars(ColumnProfile()))
_TYPE_COUNTS = {kind: f"t_{kind}" for kind in Kind}
