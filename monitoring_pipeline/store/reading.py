"""Reads planned windows: which rows of `profile` make up each series of each target, and what they say together.

A target is one value of an answer: a bucket of a series, or a whole window. What it is made of are rows of a few pieces
(`windows.Piece`) and of the segments that are asked for, or that those consist of (`aggregates`). Scalars that add up
are added up as arrays; what only sketches tell is read off merged sketches, a limited number of profiles at a time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.engine import Connection

from monitoring_pipeline.metrics.catalog import is_sketched, merge_scalars
from monitoring_pipeline.profiling.extracting import extract
from monitoring_pipeline.profiling.profile import (
    DATASET_COLUMN,
    HLL,
    KLL,
    ColumnProfile,
    DatasetProfile,
    components_from_bytes,
    merge_datasets,
)
from monitoring_pipeline.segments import OVERALL
from monitoring_pipeline.store import schema
from monitoring_pipeline.store.aggregates import Partition
from monitoring_pipeline.store.datasets import DatasetRef
from monitoring_pipeline.store.schema import PROFILE_SCALARS
from monitoring_pipeline.store.selection import Scope, chunks_of, key_conditions, scope_of
from monitoring_pipeline.store.windows import Plan, in_runs

PROFILES_AT_ONCE = 8_192
"""Profiles with sketches that are held in memory at a time; some 80 MB."""

_CELLS_AT_ONCE = 4_000_000
_N, _LATE = "n", "n_columns"
_MOMENTS = ("m_n", "mean", "m2")

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Parts = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Asked:
    """Segment keys, sorted, and columns; None: all of them."""

    segments: Sequence[str]
    columns: Collection[str] | None


@dataclass(frozen=True)
class Unknown:
    """A segment that nothing tells of in a target, given by its place."""

    target: int
    segment: str


@dataclass(frozen=True)
class Group:
    """Pieces of one grain that are read in the same segments.

    `starts` and `targets`: (n_pieces,), ascending microseconds and places. `parts`: by each segment that is asked for,
    the stored ones that make it up.
    """

    grain: str
    starts: Sequence[int]
    targets: Sequence[int]
    parts: Parts

    @property
    def sources(self) -> list[str]:
        """The stored segments, sorted."""
        return sorted({key for _, keys in self.parts for key in keys})


@dataclass(frozen=True)
class Layout:
    """What is read for an answer, and what cannot be."""

    asked: Asked
    groups: Sequence[Group]
    unknown: Sequence[Unknown]
    scope: Scope
    """Everything that is stored, with the columns that are asked for."""

    def of_segments(self, segments: Collection[str]) -> Layout:
        """The part of it for some of the segments that are asked for."""
        groups = [
            replace(group, parts=tuple(part for part in group.parts if part[0] in segments))
            for group in self.groups
        ]
        asked = replace(self.asked, segments=[key for key in self.asked.segments if key in segments])
        return replace(self, asked=asked, groups=[group for group in groups if group.parts])


@dataclass(frozen=True)
class Values:
    """Keys (segment, column), sorted, and scalars of each, (n_keys, n_targets) float64, NaN = missing."""

    keys: tuple[tuple[str, str], ...]
    scalars: dict[str, Floats]


def layout(connection: Connection, ref: DatasetRef, asked: Asked, plans: Sequence[Plan]) -> Layout:
    """Which rows answer what is asked, for targets with these plans."""
    scope = scope_of(connection, ref, columns=asked.columns, segments=None)
    by_grain: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for target, plan in enumerate(plans):
        for piece in plan.pieces:
            by_grain[piece.grain].append((piece.start, target))
    unknown: list[Unknown] = []
    groups: list[Group] = []
    if not asked.segments:
        return Layout(asked, groups, unknown, scope)
    for grain, pieces in sorted(by_grain.items()):
        starts = [start for start, _ in pieces]
        stored = _rows_of_segments(connection, ref, scope, grain, starts, {*asked.segments})
        doubtful = [start for start in starts if not _all_there(asked.segments, stored[start])]
        if doubtful:
            stored |= _rows_of_segments(connection, ref, scope, grain, doubtful, None)
        found: dict[Parts, list[tuple[int, int]]] = defaultdict(list)
        for start, target in pieces:
            partition = Partition(stored[start])
            parts = [(key, partition.parts_of(key)) for key in asked.segments]
            unknown += [Unknown(target, key) for key, keys in parts if keys is None]
            found[tuple((key, keys) for key, keys in parts if keys)].append((start, target))
        groups += [
            Group(grain, [start for start, _ in some], [target for _, target in some], parts)
            for parts, some in found.items()
            if parts
        ]
    return Layout(asked, groups, unknown, scope)


def scalars_of(
    connection: Connection, ref: DatasetRef, layout: Layout, scalars: Sequence[str], *, n_targets: int
) -> Values:
    """Scalars of every series that has any data, target by target."""
    names = list(dict.fromkeys([_N, *scalars, *(_MOMENTS if {"mean", "m2"} & {*scalars} else ())]))
    columns = sorted(layout.scope.columns.values())
    codes: list[Indices] = []
    rows: list[Floats] = []
    for group in layout.groups:
        for chunk in _fetched(connection, ref, layout.scope, group, names):
            table = np.array(chunk, np.float64)
            for code, chosen in _codes(table[:, :3].astype(np.int64), group, layout, columns, n_targets):
                codes.append(code)
                rows.append(table[chosen, 3:])
    if not codes:
        return Values((), {name: np.empty((0, n_targets)) for name in scalars})
    code, values = np.concatenate(codes), np.concatenate(rows)
    order = np.argsort(code, kind="stable")
    code, values = code[order], values[order]
    first = np.flatnonzero(np.append(True, code[1:] != code[:-1]))
    counts = np.diff(np.append(first, len(code)))
    cells = code[first]
    merged = values[first]
    several = np.flatnonzero(counts > 1)
    if len(several):
        own_rows = np.array([column == DATASET_COLUMN for column in columns])
        itself = own_rows[cells[several] // n_targets % len(columns)]
        merged[several] = _added_up(values, first[several], counts[several], names, itself=itself)
        if any(is_sketched(name) for name in scalars):
            _read_off_sketches(connection, ref, layout, columns, n_targets, cells, several, merged, names)
        if _LATE in scalars and itself.any():
            widths = _widths(connection, ref, layout)
            place = names.index(_LATE)
            for at in several[itself].tolist():
                cell = int(cells[at])
                segment = layout.asked.segments[cell // n_targets // len(columns)]
                merged[at, place] = len(widths.get((segment, cell % n_targets), ()))
    present = np.unique(cells // n_targets)
    row, at = np.searchsorted(present, cells // n_targets), cells % n_targets
    asked, width = layout.asked.segments, len(columns)
    keys = tuple((str(asked[pair // width]), columns[pair % width]) for pair in present.tolist())
    found: dict[str, Floats] = {}
    for name in scalars:
        matrix = np.full((len(keys), n_targets), np.nan)
        matrix[row, at] = merged[:, names.index(name)]
        found[name] = matrix
    return Values(keys, found)


def profiles_of(
    connection: Connection, ref: DatasetRef, layout: Layout, *, sketches: Collection[str] | None = None
) -> dict[int, DatasetProfile]:
    """The merged profile of every target that has any data, with the segments that are asked for.

    `sketches`: components that columns get; all unless given.
    """
    parts: dict[tuple[int, str], list[DatasetProfile]] = defaultdict(list)
    of_segments = replace(layout.scope, columns=_itself(layout.scope), all_columns=False)
    for group in layout.groups:
        asked = _users(group)
        targets = dict(zip(group.starts, group.targets, strict=True))
        for chunk in _fetched(connection, ref, of_segments, group, [_N], sketches=True):
            for segment, _, bucket, image, rows in chunk:
                own = components_from_bytes(image) if image is not None else {}
                for key in asked[layout.scope.segments[segment]]:
                    one = DatasetProfile({key: int(rows or 0)}, components={key: own} if own else {})
                    parts[targets[bucket], key].append(one)
    columns: dict[tuple[int, str], dict[str, ColumnProfile]] = defaultdict(dict)
    for key, column, target, profile in merged_columns(connection, ref, layout, sketches=sketches):
        columns[target, key][column] = profile
    found: dict[int, dict[str, DatasetProfile]] = defaultdict(dict)
    for target, key in sorted(parts):
        found[target][key] = merge_datasets(parts[target, key])
    return {
        target: DatasetProfile(
            {key: one.rows[key] for key, one in mine.items()},
            {key: dict(sorted(columns[target, key].items())) for key in mine},
            components={key: one.components[key] for key, one in mine.items() if key in one.components},
        )
        for target, mine in found.items()
    }


def merged_columns(
    connection: Connection,
    ref: DatasetRef,
    layout: Layout,
    *,
    only: Collection[int] | None = None,
    sketches: Collection[str] | None = None,
) -> Iterator[tuple[str, str, int, ColumnProfile]]:
    """Segment, column, target and profile of everything, in runs that fit in memory.

    Of the targets `only` and with these `sketches` (component names), if given.
    """
    columns = {pk: name for pk, name in layout.scope.columns.items() if name != DATASET_COLUMN}
    if only is not None:
        layout = replace(layout, groups=[one for group in layout.groups if (one := _of_targets(group, only))])
    deep = max(sum(len(group.starts) * len(group.sources) for group in layout.groups), 1)
    many = max(len(layout.asked.segments) * PROFILES_AT_ONCE // deep, 1)
    for first in range(0, len(layout.asked.segments), many):
        some = layout.of_segments({*layout.asked.segments[first : first + many]})
        deep = max(sum(len(group.starts) * len(group.sources) for group in some.groups), 1)
        wide = max(PROFILES_AT_ONCE // deep, 1)
        listed = sorted(columns)
        for at in range(0, len(listed), wide):
            chosen = {pk: columns[pk] for pk in listed[at : at + wide]}
            all_of_them = layout.scope.all_columns and len(chosen) == len(columns)
            scope = replace(layout.scope, columns=chosen, all_columns=all_of_them)
            yield from _merged_run(connection, ref, some, scope, sketches)


def _merged_run(
    connection: Connection, ref: DatasetRef, layout: Layout, scope: Scope, sketches: Collection[str] | None
) -> Iterator[tuple[str, str, int, ColumnProfile]]:
    from monitoring_pipeline.profiling.bulk_merging import merge_groups

    places: list[
        tuple[str, int, int, int, int]
    ] = []  # segment, column, target, piece, source: the order of merging
    rows: list[Sequence[Any]] = []
    for group in layout.groups:
        asked = _users(group)
        targets = dict(zip(group.starts, group.targets, strict=True))
        for chunk in _fetched(connection, ref, scope, group, PROFILE_SCALARS, sketches=True):
            for row in chunk:
                for key in asked[scope.segments[row[0]]]:
                    places.append((key, row[1], targets[row[2]], row[2], row[0]))
                    rows.append(row)
    if not rows:
        return
    order = sorted(range(len(rows)), key=places.__getitem__)
    places, rows = [places[at] for at in order], [rows[at] for at in order]
    ends = [at for at in range(1, len(places)) if places[at][:3] != places[at - 1][:3]] + [len(places)]
    numbers = np.array([row[4:] for row in rows], np.float64)
    merged = merge_groups(np.array(ends, np.int64), numbers, _opened([row[3] for row in rows], sketches))
    for end, profile in zip(ends, merged, strict=True):
        key, column, target, *_ = places[end - 1]
        yield key, scope.columns[column], target, profile


def _opened(sealed: Sequence[bytes | None], sketches: Collection[str] | None) -> list[Mapping[str, bytes]]:
    """Components of profiles by name; one kind of many at once is quicker than all of each."""
    if sketches is None:
        return [{} if one is None else components_from_bytes(one) for one in sealed]
    found: list[dict[str, bytes]] = [{} for _ in sealed]
    known = [at for at, one in enumerate(sealed) if one is not None]
    images = [one for one in sealed if one is not None]
    for name in sorted(sketches):
        places, parts = extract(images, name)
        for part, place in enumerate(places.tolist()):
            found[known[place]][name] = parts[part]
    return [*found]


def _fetched(
    connection: Connection,
    ref: DatasetRef,
    scope: Scope,
    group: Group,
    names: Sequence[str],
    *,
    sketches: bool = False,
) -> Iterator[Sequence[Sequence[Any]]]:
    """Segment, column, bucket, sketches if asked for, and scalars of a group's rows, some at a time."""
    table, sketch = schema.profile, schema.profile_sketch
    sources = {*group.sources}
    chosen = {pk: key for pk, key in scope.segments.items() if key in sources}
    some = replace(scope, segments=chosen, all_segments=False)
    if some.empty:
        return
    wanted: list[sa.ColumnElement[Any]] = [table.c.segment, table.c.column, table.c.bucket]
    wanted += [sketch.c.components] if sketches else []
    wanted += [table.c[name] for name in names]
    for starts in in_runs(group.starts):
        span = range(starts[0], starts[-1] + 1)
        query = sa.select(*wanted).where(*key_conditions(ref, table, some, span, starts, grain=group.grain))
        if sketches:
            same = [table.c[column.name] == sketch.c[column.name] for column in sketch.primary_key]
            query = query.select_from(table.outerjoin(sketch, sa.and_(*same)))
        yield from chunks_of(connection, query)


def _rows_of_segments(
    connection: Connection,
    ref: DatasetRef,
    scope: Scope,
    grain: str,
    starts: Sequence[int],
    segments: Collection[str] | None,
) -> dict[int, dict[str, int]]:
    """Rows of each stored segment, or of those given, by start of the block or bucket."""
    keys = {pk: key for pk, key in scope.segments.items() if segments is None or key in segments}
    found: dict[int, dict[str, int]] = {start: {} for start in starts}
    group = Group(grain, starts, starts, tuple((key, (key,)) for key in keys.values()))
    of_segments = replace(scope, columns=_itself(scope), all_columns=False)
    for chunk in _fetched(connection, ref, of_segments, group, [_N]):
        for segment, _, bucket, rows in chunk:
            found[bucket][keys[segment]] = int(rows or 0)
    return found


def _all_there(asked: Sequence[str], stored: Mapping[str, int]) -> bool:
    """Whether every segment tells of itself; all data with no rows may have been left to its segments."""
    return all(key in stored and (key != OVERALL or stored[key] > 0) for key in asked)


def _itself(scope: Scope) -> dict[int, str]:
    return {} if scope.dataset_column is None else {scope.dataset_column: DATASET_COLUMN}


def _users(group: Group) -> Mapping[str, Sequence[str]]:
    """By stored segment, the segments that are asked for and that it is part of."""
    found: dict[str, list[str]] = defaultdict(list)
    for key, sources in group.parts:
        for source in sources:
            found[source].append(key)
    return found


def _of_targets(group: Group, targets: Collection[int]) -> Group | None:
    kept = [
        (start, target)
        for start, target in zip(group.starts, group.targets, strict=True)
        if target in targets
    ]
    if not kept:
        return None
    return replace(group, starts=[start for start, _ in kept], targets=[target for _, target in kept])


def _codes(
    keys: Indices, group: Group, layout: Layout, columns: Sequence[str], n_targets: int
) -> Iterator[tuple[Indices, Indices]]:
    """Which cell each row (segment, column, bucket) is part of, and which rows; several times where it is of several."""
    asked = {key: place for place, key in enumerate(layout.asked.segments)}
    users = _users(group)
    pks = np.array(sorted(layout.scope.segments), np.int64)
    lists = [[asked[key] for key in users.get(layout.scope.segments[pk], ())] for pk in pks.tolist()]
    rank = {name: place for place, name in enumerate(columns)}
    column_pks = np.array(sorted(layout.scope.columns), np.int64)
    ranks = np.array([rank[layout.scope.columns[pk]] for pk in column_pks.tolist()], np.int64)
    of_column = ranks[np.searchsorted(column_pks, keys[:, 1])]
    starts = np.array(group.starts, np.int64)
    of_target = np.array(group.targets, np.int64)[np.searchsorted(starts, keys[:, 2])]
    of_segment = np.searchsorted(pks, keys[:, 0])
    for layer in range(max(map(len, lists), default=0)):
        users_of = np.array([one[layer] if layer < len(one) else -1 for one in lists], np.int64)[of_segment]
        chosen = np.flatnonzero(users_of >= 0)
        pairs = users_of[chosen] * len(columns) + of_column[chosen]
        yield pairs * n_targets + of_target[chosen], chosen


def _added_up(
    values: Floats, first: Indices, counts: Indices, names: Sequence[str], *, itself: NDArray[np.bool_]
) -> Floats:
    """Scalars of several rows as those of all of them, (n_cells, n_names). `itself`: rows of segments themselves."""
    merged = np.full((len(first), len(names)), np.nan)
    # Together with others that have as many rows, so that nothing is padded beyond twice its length.
    sizes = np.ceil(np.log2(counts)).astype(np.int64)
    for size in np.unique(sizes).tolist():
        chosen = np.flatnonzero(sizes == size)
        step = max(_CELLS_AT_ONCE // (len(names) << size), 1)
        for at in range(0, len(chosen), step):
            some = chosen[at : at + step]
            within = np.arange(int(counts[some].max()))
            inside = within < counts[some][:, None]
            places = np.where(inside, first[some][:, None] + within, 0)
            table = {
                name: np.where(inside, values[places, column], np.nan) for column, name in enumerate(names)
            }
            told = merge_scalars(table)
            if _LATE in names:
                late = np.where(table[_N] > 0, table[_LATE], np.nan) == 0
                seen = table[_N] > 0
                always = (late == seen).all(axis=1) & (
                    seen.any(axis=1) | ((table[_LATE] == 0) == inside).all(axis=1)
                )
                told[_LATE] = np.where(itself[some], told[_LATE], np.where(always, 0.0, np.nan))
            merged[some] = np.stack([told[name] for name in names], axis=1)
    return merged


def _read_off_sketches(
    connection: Connection,
    ref: DatasetRef,
    layout: Layout,
    columns: Sequence[str],
    n_targets: int,
    cells: Indices,
    several: Indices,
    merged: Floats,
    names: Sequence[str],
) -> None:
    """Put what only sketches tell into the rows of `merged` that are made of several."""
    at_cell = {int(cell): at for cell, at in zip(cells[several].tolist(), several.tolist(), strict=True)}
    asked = {key: place for place, key in enumerate(layout.asked.segments)}
    rank = {name: place for place, name in enumerate(columns)}
    sketched = [(place, name) for place, name in enumerate(names) if is_sketched(name)]
    targets = {cell % n_targets for cell in at_cell}
    quantiles, distinct = (
        any(name.startswith(what) for _, name in sketched) for what in ("quantile_", "unique_")
    )
    kinds = [*([KLL] if quantiles else []), *([HLL] if distinct else [])]
    for key, column, target, profile in merged_columns(connection, ref, layout, only=targets, sketches=kinds):
        at = at_cell.get((asked[key] * len(columns) + rank[column]) * n_targets + target)
        if at is not None:
            told = profile.scalars()
            for place, name in sketched:
                value = told[name]
                merged[at, place] = np.nan if value is None else value


def _widths(connection: Connection, ref: DatasetRef, layout: Layout) -> dict[tuple[str, int], set[int]]:
    """The columns that rows came with, by segment that is asked for and target: of several buckets, all of any."""
    found: dict[tuple[str, int], set[int]] = defaultdict(set)
    scope = scope_of(connection, ref, columns=None, segments=None)
    for group in layout.groups:
        asked = _users(group)
        targets = dict(zip(group.starts, group.targets, strict=True))
        for chunk in _fetched(connection, ref, scope, group, [_LATE]):
            for segment, column, bucket, late in chunk:
                if late is None:
                    for key in asked[scope.segments[segment]]:
                        found[key, targets[bucket]].add(column)
    return found
