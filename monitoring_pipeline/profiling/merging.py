"""The profile of a bucket out of profiles that were made elsewhere, of rows that nobody has any more.

Segments are kept as they came. All data, and the segments that a dataset names, are merged out of finer segments
where a file has none of their own: of several kinds of segments that could tell, those that hold the most rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from monitoring_pipeline.config.dataset import ProfileSettings
from monitoring_pipeline.profiling import data_warnings
from monitoring_pipeline.profiling.data_warnings import DataWarning
from monitoring_pipeline.profiling.performance import PERFORMANCE
from monitoring_pipeline.profiling.privacy import Privacy
from monitoring_pipeline.profiling.profile import ColumnProfile, DatasetProfile, merge_datasets
from monitoring_pipeline.profiling.segmenting import OTHER
from monitoring_pipeline.segments import segment_key, segment_tags

Names = tuple[str, ...]
"""The columns that segments are made by, sorted; none of them: all data."""

_HELD = 64  # profiles of one segment that wait to be merged: many at once are quicker and truer


class ProfileMerger:
    """Merges profiles as they come, each of one file.

    `segments`: sets of columns; of each, and of all data, there is a profile at the end if the files can tell it.
    `exclude`: columns that are left out. Of `settings`, those that limit what is kept are heeded; how precise the
    sketches are was decided where they were made. `positive`: the label that predictions are judged by. `privacy`:
    what must not be remembered of columns.

    Where some files have a segment of their own and others only finer ones, both add up; unless they tell of the
    same rows (all counts and extremes are equal), which then count once. Profiles without columns, as whylogs writes
    for performance alone, add no rows to those of others.
    """

    def __init__(
        self,
        segments: Sequence[Sequence[str]] = (),
        *,
        settings: ProfileSettings | None = None,
        exclude: Collection[str] = (),
        positive: str | None = None,
        privacy: Privacy | None = None,
    ) -> None:
        self._wanted = dict.fromkeys(tuple(sorted(names)) for names in ((), *segments))
        self._settings = settings or ProfileSettings()
        self._exclude = frozenset(exclude)
        self._positive, self._privacy = positive, privacy
        self._columns: dict[str, None] = {}
        self._left_out: dict[str, None] = {}
        self._held: dict[tuple[frozenset[Names], str], list[DatasetProfile]] = defaultdict(list)

    def update(self, profile: DatasetProfile) -> None:
        """Take the profile of one more file."""
        kinds = frozenset(names_of(key) for key in profile.rows)
        for key in sorted(profile.rows):
            held, columns = self._held[kinds, key], profile.columns.get(key, {})
            part = _only(profile, key, self._kept(columns))
            held.append(part if columns else replace(part, rows={key: 0}))
            if len(held) > _HELD:
                held[:] = [merge_datasets(held)]

    def finish(self) -> DatasetProfile:
        """The profile of everything so far; more may follow."""
        held = {place: merge_datasets(parts) for place, parts in self._held.items()}
        by_key: dict[str, list[DatasetProfile]] = defaultdict(list)
        for (_, key), part in held.items():
            by_key[key].append(part)
        merged = {key: merge_datasets(parts) for key, parts in by_key.items()}
        warned: set[DataWarning] = set()
        added: dict[str, list[DatasetProfile]] = defaultdict(list)
        for names in self._wanted:
            finer = {place: part for place, part in held.items() if names not in place[0]}
            rolled = _rolled_up(finer, names)
            for key, part in rolled.items():
                if key not in merged or not _of_the_same_rows(merged[key], part, key):
                    added[key].append(part)
            if names and not rolled and all(names_of(key) != names for key in merged):
                warned.add(data_warnings.missing_segments(names))
        for key, parts in added.items():
            merged[key] = merge_datasets([*parts, *([merged[key]] if key in merged else [])])
        if self._left_out:
            warned.add(data_warnings.too_many_columns(self._left_out, self._settings.max_columns))
        folded = _fold(merged, self._settings.max_segments)
        whole = _side_by_side(merged, self._positive)
        if self._privacy is not None:
            whole = _kept_back(whole, self._privacy)
            warned |= self._privacy.unknown({*self._columns, *self._left_out, *self._exclude})
        return replace(whole, folded_segments=folded, recorded=tuple(sorted(warned)))

    def _kept(self, columns: Mapping[str, ColumnProfile]) -> dict[str, ColumnProfile]:
        """The columns that are wanted, as far as there is room, without what must not be remembered of them."""
        kept: dict[str, ColumnProfile] = {}
        for name in sorted(columns.keys() - self._exclude):
            if name not in self._columns and len(self._columns) >= self._settings.max_columns:
                self._left_out[name] = None
                continue
            self._columns[name] = None
            column = columns[name]
            kept[name] = column if self._settings.frequent_items else replace(column, frequent_items=None)
        return kept


def _kept_back(whole: DatasetProfile, privacy: Privacy) -> DatasetProfile:
    columns = {
        key: {name: privacy.column(name, column) for name, column in table.items()}
        for key, table in whole.columns.items()
    }
    components = {
        key: {**own, PERFORMANCE: privacy.performance(found).to_bytes()}
        if (found := whole.performance(key)) is not None
        else own
        for key, own in whole.components.items()
    }
    return replace(whole, columns=columns, components=components)


def rows_in(profile: DatasetProfile) -> int:
    """How many rows a profile tells of: those of all data, else of the segments by whichever columns hold the most."""
    if "" in profile.rows:
        return profile.rows[""]
    rows: dict[Names, int] = defaultdict(int)
    for key, count in profile.rows.items():
        rows[names_of(key)] += count
    return max(rows.values(), default=0)


def names_of(key: str) -> Names:
    """The columns that a segment is made by."""
    return tuple(sorted(segment_tags(key)))


def _only(
    profile: DatasetProfile, key: str, columns: Mapping[str, ColumnProfile], *, named: str | None = None
) -> DatasetProfile:
    """One segment of a profile on its own, by another name if one is given."""
    name = key if named is None else named
    own = profile.components.get(key)
    return DatasetProfile(
        {name: profile.rows[key]}, {name: columns}, components={} if own is None else {name: own}
    )


def _renamed(part: DatasetProfile, key: str, named: str) -> DatasetProfile:
    return _only(part, key, part.columns.get(key, {}), named=named)


def _rolled_up(
    held: Mapping[tuple[frozenset[Names], str], DatasetProfile], names: Names
) -> dict[str, DatasetProfile]:
    """Segments by `names`, each by itself, out of segments by these and more columns; none where there are none."""
    finer: dict[Names, list[tuple[str, DatasetProfile]]] = defaultdict(list)
    for (_, key), part in held.items():
        if {*names} < {*names_of(key)}:
            finer[names_of(key)].append((key, part))
    if not finer:
        return {}
    rows = {kind: sum(part.rows[key] for key, part in parts) for kind, parts in finer.items()}
    best = min(finer, key=lambda kind: (-rows[kind], len(kind), kind))
    groups: dict[str, list[DatasetProfile]] = defaultdict(list)
    for key, part in finer[best]:
        tags = segment_tags(key)
        coarse = segment_key({name: tags[name] for name in names})
        groups[coarse].append(_renamed(part, key, coarse))
    return {key: merge_datasets(parts) for key, parts in groups.items()}


def _of_the_same_rows(one: DatasetProfile, other: DatasetProfile, key: str) -> bool:
    def told(profile: DatasetProfile) -> dict[str, tuple[float | None, ...]]:
        columns = profile.columns.get(key, {})
        return {name: (found.n, found.n_null, found.min, found.max) for name, found in columns.items()}

    return one.rows[key] == other.rows[key] and told(one) == told(other)


def _fold(merged: dict[str, DatasetProfile], limit: int) -> int:
    """Put the smallest segments beyond the limit together, by each set of columns; how many these were."""
    kinds: dict[Names, list[str]] = defaultdict(list)
    for key in merged:
        kinds[names_of(key)].append(key)
    folded = 0
    for names, keys in kinds.items():
        if len(keys) <= limit:
            continue
        other = segment_key(dict.fromkeys(names, OTHER))
        keys.sort(key=lambda key: (key == other, -merged[key].rows[key], key))
        small = [(key, merged.pop(key)) for key in keys[limit:]]
        merged[other] = merge_datasets(_renamed(part, key, other) for key, part in small)
        folded += len(small)
    return folded


def _side_by_side(parts: Mapping[str, DatasetProfile], positive: str | None) -> DatasetProfile:
    """One profile of segments that are each by themselves."""
    return DatasetProfile(
        {key: _rows(parts[key], key) for key in sorted(parts)},
        {key: parts[key].columns.get(key, {}) for key in sorted(parts)},
        components={
            key: _judged_by(parts[key], key, positive) for key in sorted(parts) if parts[key].components
        },
    )


def _rows(part: DatasetProfile, key: str) -> int:
    performance = None if part.rows[key] else part.performance(key)
    return part.rows[key] if performance is None else int(performance.total("rows"))


def _judged_by(part: DatasetProfile, key: str, positive: str | None) -> Mapping[str, bytes]:
    performance = part.performance(key)
    if performance is None or not positive:
        return part.components[key]
    return {**part.components[key], PERFORMANCE: replace(performance, positive=positive).to_bytes()}


def merged_by_segment(parts: Iterable[DatasetProfile]) -> DatasetProfile:
    """The same as `merge_datasets` of profiles that have one segment each, however many they are."""
    by_key: dict[str, list[DatasetProfile]] = defaultdict(list)
    for part in parts:
        for key in part.rows:
            by_key[key].append(_renamed(part, key, key))
    return _side_by_side({key: merge_datasets(found) for key, found in by_key.items()}, None)
