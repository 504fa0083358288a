"""Which stored segments make up one that is asked for: all regions of a channel, all of a partition for all data.

Every row belongs to exactly one segment of each set of columns that the data is segmented by. So segments by more
columns add up to those by fewer, as long as they hold all rows and none of them stands for several that were too many.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from functools import cached_property, lru_cache

from monitoring_pipeline.profiling.segmenting import OTHER
from monitoring_pipeline.segments import OVERALL, segment_key, segment_tags

Names = tuple[str, ...]
"""The columns that segments are made by, sorted."""


class Partition:
    """The segments that one block or bucket has: rows by segment key."""

    def __init__(self, rows: Mapping[str, int]) -> None:
        self._rows = rows

    def parts_of(self, key: str) -> tuple[str, ...] | None:
        """The segments that are together the one asked for: itself, finer ones, or none because it has no rows here.

        None when that cannot be told: the segments that could tell do not hold all rows, or some were put together.
        """
        if self._rows.get(key) or (key in self._rows and (key != OVERALL or not self._whole)):
            return (key,)
        names = names_of(key)
        if not self._whole or (names in self._kinds and self._is_full(names)):
            return ()
        return self._finer(names, key)

    def _finer(self, names: Names, key: str) -> tuple[str, ...] | None:
        finer = [kind for kind in self._kinds if {*names} < {*kind} and self._is_full(kind)]
        for kind in sorted(finer, key=lambda one: (len(self._kinds[one]), one)):
            if not names:
                return tuple(self._kinds[kind])
            if segment_key(dict.fromkeys(kind, OTHER)) not in self._rows:
                return tuple(self._grouped(kind, names).get(key, ()))
        return None

    @cached_property
    def _kinds(self) -> Mapping[Names, list[str]]:
        found: dict[Names, list[str]] = defaultdict(list)
        for key in sorted(self._rows.keys() - {OVERALL}):
            found[names_of(key)].append(key)
        return found

    @cached_property
    def _totals(self) -> Mapping[Names, int]:
        return {kind: sum(self._rows[key] for key in keys) for kind, keys in self._kinds.items()}

    @cached_property
    def _whole(self) -> int:
        """All rows; where only segments have any, those of the set of columns with the most."""
        return self._rows.get(OVERALL) or max(self._totals.values(), default=0)

    def _is_full(self, kind: Names) -> bool:
        return self._totals[kind] == self._whole

    def _grouped(self, kind: Names, names: Names) -> Mapping[str, list[str]]:
        place = (kind, names)
        if place not in self._groups:
            self._groups[place] = aggregates(self._kinds[kind], names)
        return self._groups[place]

    @cached_property
    def _groups(self) -> dict[tuple[Names, Names], Mapping[str, list[str]]]:
        return {}


def aggregates(keys: Collection[str], names: Collection[str]) -> dict[str, list[str]]:
    """Segments by more columns, grouped by fewer: finer keys by the key of what they are part of, both ascending.

    >>> aggregates(["channel=web&region=EU", "channel=web&region=US"], ["channel"])
    {'channel=web': ['channel=web&region=EU', 'channel=web&region=US']}
    """
    found: dict[str, list[str]] = defaultdict(list)
    for key in sorted(keys):
        tags = segment_tags(key)
        found[segment_key({name: tags[name] for name in names})].append(key)
    return dict(sorted(found.items()))


@lru_cache(maxsize=65_536)
def names_of(key: str) -> Names:
    """The columns that a segment is made by. Raises ValueError for a text that is no key."""
    return tuple(sorted(segment_tags(key)))
