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
from monitoring_pipeline.profiling.fallback import Report
from monitoring_pipeline.profiling.profile import ColumnProfile, merge_profiles
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
        narrow = codes.astype(np.uint16) if len(cells) <= 65_536 else codes
        bounds = np.zeros(len(cells) + 1, np.int64)
        np.cumsum(np.bincount(codes, minlength=len(cells)), out=bounds[1:])
        return cls(np.argsort(narrow, kind="stable"), bounds, cells)


class ColumnBuilder:
    """One column in the overall segment and in all others, which have settings of their own."""

    def __init__(self, overall: CellSettings, segment: CellSettings) -> None:
        self._overall, self._segment = overall, segment
        self._cells: dict[tuple[str, Kind, CellSettings], engine.Cells] = {}

    def update(self, values: Values, everywhere: Sequence[Groups]) -> None:
        """Take one chunk of values, whose rows the groups assign to cells; the first ones to the overall segment."""
        for place, groups in enumerate(everywhere):
            cells = self._cells_of(values, self._segment if place else self._overall)
            where = (values.valid, groups.order, groups.bounds, groups.cells)
            if values.hashed is None:
                cells.add(values.rows, values.data, *where)
            else:
                hashed = values.hashed
                cells.add_hashed(
                    values.rows,
                    values.codes,
                    hashed.coupons,
                    hashed.keys,
                    hashed.offsets,
                    hashed.text,
                    *where,
                )

    def profiles(self) -> Iterator[tuple[int, ColumnProfile]]:
        """What has been seen so far, by cell."""
        if len(self._cells) == 1:
            ((_, kind, _), cells), *_ = self._cells.items()
            yield from (_profile(report, kind) for report in cells.finish())
            return
        found: dict[int, list[ColumnProfile]] = {}
        for (_, kind, _), cells in self._cells.items():
            for report in cells.finish():
                number, profile = _profile(report, kind)
                found.setdefault(number, []).append(profile)
        for number, profiles in found.items():
            yield number, merge_profiles(profiles)

    def _cells_of(self, values: Values, settings: CellSettings) -> engine.Cells:
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


_TYPE_COUNTS = {kind: f"t_{kind}" for kind in Kind}


def _profile(report: Report, kind: Kind) -> tuple[int, ColumnProfile]:
    (
        number,
        n,
        n_null,
        n_nan,
        n_pos_inf,
        n_neg_inf,
        n_true,
        m_n,
        mean,
        m2,
        least,
        most,
        kll,
        hll,
        frequent_items,
        exactly,
        *quantiles,
    ) = report
    profile = ColumnProfile(
        n=n,
        n_null=n_null,
        n_nan=n_nan,
        n_pos_inf=n_pos_inf,
        n_neg_inf=n_neg_inf,
        n_true=n_true,
        m_n=m_n,
        mean=mean,
        m2=m2,
        min=least,
        max=most,
        kll=kll,
        hll=hll,
        frequent_items=frequent_items,
        **{_TYPE_COUNTS[kind]: n - n_null},
    )
    distinct: tuple[float | None, ...] = (exactly,) * 3
    if exactly is None and hll is not None:
        distinct = profile.distinct()
    vars(profile)["derived"] = (*distinct, *quantiles)  # so that nobody reads the images again
    return number, profile
