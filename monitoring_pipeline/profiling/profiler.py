"""From rows to profiles, in one streaming pass, for all columns and all segments at once."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from monitoring_pipeline.config.dataset import ColumnRoles, ProfileSettings
from monitoring_pipeline.errors import SourceError, UsageError
from monitoring_pipeline.profiling import data_warnings, frames, kernels
from monitoring_pipeline.profiling.builders import CellSettings, ColumnBuilder, Groups
from monitoring_pipeline.profiling.data_warnings import DataWarning
from monitoring_pipeline.profiling.frames import Frame, Part
from monitoring_pipeline.profiling.judging import Judge
from monitoring_pipeline.profiling.performance import PERFORMANCE
from monitoring_pipeline.profiling.privacy import Privacy
from monitoring_pipeline.profiling.profile import ColumnProfile, DatasetProfile
from monitoring_pipeline.profiling.segmenting import Assignment, Segmentation, Tags, read_tags
from monitoring_pipeline.profiling.sketches import frequent_items
from monitoring_pipeline.profiling.threads import side_by_side
from monitoring_pipeline.profiling.values import read_values
from monitoring_pipeline.segments import OVERALL

if TYPE_CHECKING:
    import pandas as pd

_CHUNK_ROWS = 131_072  # a chunk's distinct strings then fit into the processor's cache
_SEGMENTED_CHUNK_ROWS = 1_048_576  # each segment costs something per chunk and column, so chunks are larger
_CHUNK_BYTES = 1 << 26
_BLOCK, _SEGMENT_BLOCK = 8_192, 2_048  # numbers that wait in a cell before they are sketched
_WORTH_THREADS = 262_144  # values; fewer are profiled before threads have started
_WORTH_THREADS_AT_LAST = 256  # cells of columns in segments; fewer are summed up before threads have started
_SPARE = 16  # a map counts this many times what is stored of it, and errs that much less
_SEGMENT_SPARE = 4


class Profiler:
    """Profiles batches of rows as they come.

    `segments`: sets of columns whose combinations of values are profiled each on their own, besides all rows
    together. `exclude`: columns that are not profiled; they may still name segments. The answer does not depend on
    how the rows are cut into batches: counts, extremes and moments to the last bit, sketches within their errors
    (and while everything fits, they are exact).

    A column may be missing from some batches; it counts where it is. A batch that lacks a segment column has null
    there, except that one which adds no rows is then not part of those segments.

    `workers`: how many columns are profiled at the same time, where there is enough to do; default: as many as there
    are processors, at most 4. It changes nothing but the time.

    `roles`: which columns are predictions and outcomes, so that the profile also tells how they compare. `late`: the
    outcomes come in batches that add no rows, and are found by the id of the row. `privacy`: what must not be
    remembered of columns.
    """

    def __init__(
        self,
        segments: Sequence[Sequence[str]] = (),
        *,
        settings: ProfileSettings | None = None,
        exclude: Collection[str] = (),
        workers: int | None = None,
        roles: ColumnRoles | None = None,
        late: bool = False,
        privacy: Privacy | None = None,
    ) -> None:
        settings = settings or ProfileSettings()
        self._workers = min(os.cpu_count() or 1, 4) if workers is None else max(workers, 1)
        room = frequent_items.ROOM if settings.frequent_items else 0
        self._overall = CellSettings(settings.kll_k, _BLOCK, settings.hll_lg_k, room * _SPARE)
        self._segment = CellSettings(
            settings.kll_k_segments, _SEGMENT_BLOCK, settings.hll_lg_k, room * _SEGMENT_SPARE
        )
        names = dict.fromkeys(tuple(sorted(set(names))) for names in segments)
        self._segmentations = [Segmentation(columns, settings.max_segments) for columns in names if columns]
        self._exclude = frozenset(exclude)
        self._privacy, self._late = privacy, late
        self._judge = Judge(roles, late=late) if roles is not None and roles.judged else None
        # What only finds the row or the segment of an outcome is not profiled twice.
        found_by = {roles.id} if late and roles is not None and roles.id else set[str]()
        self._finding = frozenset(found_by.union(*names))
        self._numbers = {OVERALL: 0}  # segments by key
        self._rows = [0]  # of each segment
        self._columns: dict[str, ColumnBuilder] = {}
        self._seconds: dict[str, float] = {}  # that each column took last time
        self._of_rows: set[str] = set()  # columns that rows came with, and not only outcomes
        self._chunks = 0
        self._most_columns = settings.max_columns
        self._left_out: dict[str, None] = {}  # columns beyond it, in their order
        self._warned: set[DataWarning] = set()
        self._chunk_rows = _SEGMENTED_CHUNK_ROWS if self._segmentations else _CHUNK_ROWS
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = self._waiting_bytes = 0
        self._waiting_adds_rows = True

    def update(self, data: pa.Table | pa.RecordBatch | pd.DataFrame, *, adds_rows: bool = True) -> None:
        """Take more rows. `adds_rows=False`: they only add columns to rows that were or will be counted elsewhere.

        Raises UsageError when `data` is of another type, SourceError when two of its columns have one name or a
        column holds what cannot be profiled, with its name and chunk.
        """
        if frames.is_pandas(data):
            # Taken at once, because the caller may change a frame in place afterwards.
            self._flush()
            for frame in frames.pandas_frames(data, max_rows=self._chunk_rows):
                self._profile(frame, adds_rows=adds_rows)
            return
        if not isinstance(data, (pa.Table, pa.RecordBatch)):
            accepted = "a pyarrow Table or RecordBatch, or a pandas DataFrame"
            raise UsageError(f"a profile is made of {accepted}: found {type(data).__name__}")
        for batch in frames.record_batches(data, max_rows=self._chunk_rows):
            if self._waiting and (
                adds_rows != self._waiting_adds_rows
                or batch.schema != self._waiting[0].schema
                # Joining batches copies them, which large ones are not worth.
                or batch.num_rows >= self._chunk_rows // 2
            ):
                self._flush()
            self._waiting_adds_rows = adds_rows
            self._waiting.append(batch)
            self._waiting_rows += batch.num_rows
            self._waiting_bytes += batch.nbytes
            if self._waiting_rows >= self._chunk_rows // 2 or self._waiting_bytes >= _CHUNK_BYTES:
                self._flush()

    def finish(self) -> DatasetProfile:
        """The profile of everything so far; more may follow."""
        self._flush()
        keys = list(self._numbers)
        columns: dict[str, dict[str, ColumnProfile]] = {key: {} for key in keys}
        finished: dict[str, list[tuple[int, ColumnProfile]]] = {name: [] for name in self._columns}

        def finish_column(name: str) -> None:
            profiles = self._columns[name].profiles()
            if self._privacy is not None:
                profiles = ((number, self._privacy.column(name, one)) for number, one in profiles)
            finished[name].extend(profiles)

        many = len(keys) * len(finished) >= _WORTH_THREADS_AT_LAST
        side_by_side(finish_column, self._by_cost(finished), workers=self._workers if many else 1)
        for name, found in finished.items():
            for number, one in found:
                columns[keys[number]][name] = one if name in self._of_rows else one.marked_late()
        folded = sum(segmentation.folded for segmentation in self._segmentations)
        judged = {} if self._judge is None else self._judge.finish()
        if self._privacy is not None:
            judged = {number: self._privacy.performance(one) for number, one in judged.items()}
        components = {keys[number]: {PERFORMANCE: one.to_bytes()} for number, one in judged.items()}
        warned = {*self._warned}
        if self._privacy is not None and self._columns and not self._late:
            warned |= self._privacy.unknown({*self._columns, *self._left_out, *self._exclude})
        if self._left_out:
            warned.add(data_warnings.too_many_columns(self._left_out, self._most_columns))
        recorded = tuple(sorted(warned))
        return DatasetProfile(dict(zip(keys, self._rows, strict=True)), columns, folded, components, recorded)

    def _flush(self) -> None:
        if self._waiting:
            batches, self._waiting, self._waiting_rows, self._waiting_bytes = self._waiting, [], 0, 0
            self._profile(frames.arrow_frame(batches), adds_rows=self._waiting_adds_rows)

    def _profile(self, frame: Frame, *, adds_rows: bool) -> None:
        self._chunks += 1
        assigned = self._assign(frame, adds_rows=adds_rows)
        everywhere = _groups(frame.rows, assigned)
        if adds_rows:
            for groups in everywhere:
                for number, rows in zip(groups.cells.tolist(), np.diff(groups.bounds).tolist(), strict=True):
                    self._rows[number] += rows
        if self._judge is not None:
            self._judge.update(frame, assigned, adds_rows=adds_rows)
        skipped = self._exclude if adds_rows else self._exclude | self._finding
        names = [name for name in frame.columns if name not in skipped]
        self._of_rows.update(names if adds_rows else ())
        room = self._most_columns - len(self._columns)
        fresh = [name for name in names if name not in self._columns]
        self._columns |= {name: ColumnBuilder(self._overall, self._segment) for name in fresh[:room]}
        if fresh[room:]:
            self._left_out |= dict.fromkeys(fresh[room:])
            names = [name for name in names if name in self._columns]
        profile_column = partial(self._profile_column, frame, everywhere, assigned)
        much = frame.rows * len(names) * len(everywhere) >= _WORTH_THREADS
        side_by_side(profile_column, self._by_cost(names), workers=self._workers if much else 1)

    def _by_cost(self, names: Iterable[str]) -> list[str]:
        """The costliest first, so that no thread is left with one when the others are done."""
        return sorted(names, key=lambda name: -self._seconds.get(name, 0.0))

    def _profile_column(
        self, frame: Frame, everywhere: list[Groups], assigned: list[Assignment], name: str
    ) -> None:
        start = time.perf_counter()
        for part in frame.columns[name]:
            groups = everywhere if part.places is None else _groups_at(part.places, assigned)
            try:
                values = read_values(part.array, kind=part.kind)
                self._columns[name].update(values, groups)
            except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
                place = (
                    f"column {name!r} of type {part.array.type}, chunk {self._chunks} of {frame.rows:,} rows"
                )
                if self._privacy is not None:  # the error may quote values
                    raise SourceError(f"{place}: cannot be profiled: {type(error).__name__}") from None
                raise SourceError(f"{place}: cannot be profiled: {error}") from error
            if values.only_counted is not None:
                self._warned.add(data_warnings.only_counted(name, values.only_counted))
        self._seconds[name] = time.perf_counter() - start

    def _assign(self, frame: Frame, *, adds_rows: bool) -> list[Assignment]:
        """For each segmentation that applies, which segment each row is in."""
        tags: dict[str, Tags] = {}
        assigned: list[Assignment] = []
        for segmentation in self._segmentations:
            if not adds_rows and not all(name in frame.columns for name in segmentation.names):
                continue
            for name in segmentation.names:
                if name not in tags:
                    parts = frame.columns.get(name, (Part(pa.nulls(frame.rows)),))
                    tags[name] = read_tags(parts, frame.rows, column=name)
            assigned.append(segmentation.assign(tags, self._register))
        return assigned

    def _register(self, key: str) -> int:
        number = self._numbers.setdefault(key, len(self._rows))
        if number == len(self._rows):
            self._rows.append(0)
        return number


def _groups(rows: int, assigned: Sequence[Assignment]) -> list[Groups]:
    return [Groups.whole(rows, cell=0), *(Groups.by_code(codes, cells) for codes, cells in assigned)]


def _groups_at(places: NDArray[np.int64], assigned: Sequence[Assignment]) -> list[Groups]:
    """The groups of some rows only."""
    narrowed: list[Assignment] = []
    for codes, cells in assigned:
        present, rows = kernels.dense_codes(codes[places], len(cells))
        narrowed.append((rows, cells[present]))
    return _groups(len(places), narrowed)


def profile(
    data: pa.Table | pa.RecordBatch | pd.DataFrame,
    segments: Sequence[Sequence[str]] = (),
    *,
    settings: ProfileSettings | None = None,
    exclude: Collection[str] = (),
    workers: int | None = None,
    roles: ColumnRoles | None = None,
) -> DatasetProfile:
    """Profile one batch at once; see `Profiler`."""
    profiler = Profiler(segments, settings=settings, exclude=exclude, workers=workers, roles=roles)
    profiler.update(data)
    return profiler.finish()
