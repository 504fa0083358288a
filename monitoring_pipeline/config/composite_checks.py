"""What composite analyzers ask of the analyzers that they are about: that they exist, and that their verdicts meet.

A document may hold ten composite analyzers of two to ten analyzers each; each of these serves one of them only, and
none is composite itself (the rules of the reference platform). Verdicts are combined bucket by bucket and segment by
segment, so analyzers with other schedules or segments than their siblings rarely have anything to be combined with:
that is a warning.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

from monitoring_pipeline.config.analyzer_types import ConjunctionConfig, DisjunctionConfig
from monitoring_pipeline.config.problems import Step, json_path, near, shorten
from monitoring_pipeline.config.targets import WILDCARD, ColumnMatrix
from monitoring_pipeline.errors import Problem

if TYPE_CHECKING:
    from monitoring_pipeline.config.analyzers import Analyzer

At = tuple[Step, ...]
COMPOSITE = (ConjunctionConfig, DisjunctionConfig)
MOST_CHILDREN = 10
MOST_COMPOSITES = 10


class TargetFault(StrEnum):
    """Why a target matrix covers more than one column."""

    SINGLE_ENTRY = "several columns"
    WILDCARDS = "all columns"
    PREFIXES = "a group of columns"


def target_fault(matrix: ColumnMatrix) -> TargetFault | None:
    """Why the matrix may cover more than one column, None when it names one."""
    if len(matrix.include) > 1:
        return TargetFault.SINGLE_ENTRY
    if WILDCARD in matrix.include:
        return TargetFault.WILDCARDS
    if any(entry.lower().startswith(("group:", "weight")) for entry in (*matrix.include, *matrix.exclude)):
        return TargetFault.PREFIXES
    return None


def children_errors(children: Sequence[str], at: At) -> Iterator[Problem]:
    """Too few, too many or repeated ids in one list of analyzers."""
    if not 2 <= len(children) <= MOST_CHILDREN:
        yield Problem(json_path(at), shorten(children), f"2 to {MOST_CHILDREN} ids of analyzers")
    for name, count in Counter(children).items():
        if count > 1:
            yield Problem(json_path(at), f"{shorten(name)} {count} times", "each analyzer once")


def family_errors(
    analyzers: Mapping[int, Analyzer], *, known_ids: Collection[str] | None
) -> Iterator[Problem]:
    """Composite analyzers of a document that are about themselves, each other, nothing, or the same analyzers.

    `known_ids` are those of all analyzers, None when others could exist elsewhere.
    """
    composites = {place: one for place, one in analyzers.items() if isinstance(one.config, COMPOSITE)}
    names = {one.id for one in composites.values()}
    if len(composites) > MOST_COMPOSITES:
        yield Problem(
            json_path(("analyzers",)),
            f"{len(composites)} composite analyzers",
            f"at most {MOST_COMPOSITES} of the types conjunction and disjunction",
        )
    owners: dict[str, str] = {}
    for place, parent in composites.items():
        for number, child in enumerate(_children(parent)):
            path = json_path(("analyzers", place, "config", "analyzerIds", number))
            owner = owners.setdefault(child, parent.id)
            if child == parent.id:
                yield Problem(path, "the analyzer itself", "ids of other analyzers")
            elif child in names:
                yield Problem(
                    path,
                    f"the composite analyzer {shorten(child)}",
                    "ids of analyzers that are not composite",
                )
            elif owner != parent.id:
                yield Problem(
                    path,
                    f"{shorten(child)}, which {shorten(owner)} is about already",
                    "an analyzer that serves no other composite one; make a copy of it with an id of its own",
                )
            elif known_ids is not None and child not in known_ids:
                yield unknown_analyzer(path, child, known_ids)


def family_warnings(analyzers: Sequence[Analyzer]) -> Iterator[Problem]:
    """Analyzers whose verdicts will hardly meet those of their siblings, or meet where nobody expects it."""
    by_id = {one.id: (place, one) for place, one in enumerate(analyzers)}
    for parent in analyzers:
        family = [by_id[name] for name in _children(parent) if name in by_id]
        for place, child in family[1:]:
            yield from _apart(family[0][1], child, ("analyzers", place), parent.id)
        for place, child in family:
            at: At = ("analyzers", place)
            if parent.schedule is not None and child.schedule != parent.schedule:
                yield Problem(
                    json_path((*at, "schedule")),
                    f"another schedule than that of {shorten(parent.id)}",
                    "the same schedule; the two are combined where both run",
                )
            fault = (
                target_fault(child.target_matrix) if isinstance(child.target_matrix, ColumnMatrix) else None
            )
            if fault is not None and not isinstance(parent.target_matrix, ColumnMatrix):
                yield Problem(
                    json_path((*at, "targetMatrix")),
                    f"{fault} for {shorten(parent.id)}, which has no column targetMatrix of its own",
                    "one column, or a column targetMatrix on the composite analyzer; as it is, an anomaly of any "
                    "column counts",
                )


def unknown_analyzer(path: str, name: str, known_ids: Collection[str]) -> Problem:
    """A reference to an analyzer that does not exist."""
    meant = near(name, known_ids)
    accepted = f'the id of an analyzer of this document (did you mean "{meant}"?)' if meant else None
    return Problem(path, shorten(name), accepted or "the id of an analyzer of this document")


def _apart(one: Analyzer, other: Analyzer, at: At, parent: str) -> Iterator[Problem]:
    if _segments(one) != _segments(other):
        yield Problem(
            json_path((*at, "targetMatrix", "segments")),
            f"other segments than those of {shorten(one.id)}",
            f"the same segments for all analyzers of {shorten(parent)}; verdicts are combined within a segment",
        )
    if one.schedule != other.schedule:
        yield Problem(
            json_path((*at, "schedule")),
            f"another schedule than that of {shorten(one.id)}",
            f"the same schedule for all analyzers of {shorten(parent)}; verdicts are combined within a bucket",
        )


def _segments(analyzer: Analyzer) -> frozenset[str]:
    matrix = analyzer.target_matrix
    return frozenset(segment.key for segment in matrix.segments) if matrix is not None else frozenset()


def _children(analyzer: Analyzer) -> tuple[str, ...]:
    return analyzer.config.analyzer_ids if isinstance(analyzer.config, COMPOSITE) else ()
