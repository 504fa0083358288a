"""Results in columns, until somebody asks for single records.

A day of a wide dataset has hundreds of thousands of verdicts, of which a few are looked at: an object for each would
cost more than the verdicts did. A `Block` holds those of one analyzer, `Findings` the blocks of a run as a sequence
of `AnalyzerResult`s that are made when they are asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import isfinite
from typing import Any, overload

from monitoring_pipeline.analysis.result import FIELDS, AnalyzerResult
from monitoring_pipeline.store.database import to_json
from monitoring_pipeline.store.result_tables import ResultTable
from monitoring_pipeline.timegrid import to_micros


@dataclass(frozen=True)
class Block:
    """Results of one analyzer. `shared` are the fields that all have in common, `columns` the others, one list each."""

    shared: Mapping[str, Any]
    columns: Mapping[str, Sequence[Any]]
    details: Mapping[str, Sequence[object]]
    """By name, None where a result does not have it."""
    given: Mapping[str, object]
    """Details that all have in common; they come last."""

    def __len__(self) -> int:
        return len(self.columns["analysis_id"])

    def result(self, at: int) -> AnalyzerResult:
        """One of them."""
        details = {name: value for name, values in self.details.items() if (value := values[at]) is not None}
        fields = {name: values[at] for name, values in self.columns.items()}
        return AnalyzerResult(**self.shared, **fields, details={**details, **self.given})

    def of(self, places: Sequence[int]) -> Block:
        """Some of them, in this order."""
        return Block(self.shared, _picked(self.columns, places), _picked(self.details, places), self.given)

    def to_table(self) -> ResultTable:
        """The rows of the store, as `AnalyzerResult.to_row` would make them one by one."""
        shared, columns = dict(self.shared), dict(self.columns)
        shared["created"] = to_micros(shared["created"])
        shared["granularity"] = shared["granularity"].value
        shared["monitor_ids"] = to_json(list(shared["monitor_ids"]))
        moments = {bucket: to_micros(bucket) for bucket in set(columns["bucket"])}
        columns["bucket"] = [moments[bucket] for bucket in columns["bucket"]]
        columns["failure_type"] = [kind and kind.value for kind in columns["failure_type"]]
        columns["details"] = _texts(self.details, self.given, len(self))
        return ResultTable(shared, columns)

    @classmethod
    def joined(cls, blocks: Sequence[Block]) -> Block:
        """Blocks of one analyzer as one, by bucket, segment and column. What a block does not have is None."""
        first = blocks[0]
        columns, details = (
            _joined([getattr(block, part) for block in blocks], list(map(len, blocks)))
            for part in ("columns", "details")
        )
        whole = cls(first.shared, columns, details, first.given)
        names = zip(columns["bucket"], columns["segment"], columns["column"], strict=True)
        order = [place for *_, place in sorted((*name, place) for place, name in enumerate(names))]
        return whole if order == list(range(len(order))) else whole.of(order)

    @classmethod
    def made_of(cls, results: Sequence[AnalyzerResult]) -> Block:
        """A block of single results of one analyzer, in their order."""
        first = results[0]
        columns = {
            name: [getattr(one, name) for one in results]
            for name in FIELDS
            if name not in _SHARED and name != "details"
        }
        names = dict.fromkeys(name for one in results for name in one.details)
        details = {name: [one.details.get(name) for one in results] for name in names}
        return cls({name: getattr(first, name) for name in _SHARED}, columns, details, {})


_SHARED = (
    "run_id",
    "analyzer_id",
    "analyzer_version",
    "monitor_ids",
    "created",
    "granularity",
    "analyzer_type",
    "user_initiated_backfill",
)


class Findings(Sequence[AnalyzerResult]):
    """The results of blocks, one after the other. Equal to any sequence of the same results."""

    def __init__(self, blocks: Iterable[Block] = ()) -> None:
        self.blocks = tuple(block for block in blocks if len(block))

    def __len__(self) -> int:
        return sum(map(len, self.blocks))

    def __iter__(self) -> Iterator[AnalyzerResult]:
        return (block.result(at) for block in self.blocks for at in range(len(block)))

    @overload
    def __getitem__(self, index: int) -> AnalyzerResult: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[AnalyzerResult, ...]: ...

    def __getitem__(self, index: int | slice) -> AnalyzerResult | tuple[AnalyzerResult, ...]:
        places = range(len(self))[index]
        return self._at(places) if isinstance(places, int) else tuple(map(self._at, places))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(ours == theirs for ours, theirs in zip(self, other, strict=True))

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __repr__(self) -> str:
        return f"Findings({list(self)!r})"

    @property
    def anomalies(self) -> tuple[AnalyzerResult, ...]:
        """Those that are anomalies."""
        return tuple(self.only_anomalies())

    def only_anomalies(self) -> Findings:
        """Those that are anomalies, as findings."""
        return Findings(
            block.of([at for at, count in enumerate(block.columns["anomaly_count"]) if count])
            for block in self.blocks
        )

    @property
    def failures(self) -> int:
        """How many have no verdict."""
        kinds = chain.from_iterable(block.columns["failure_type"] for block in self.blocks)
        return sum(kind is not None for kind in kinds)

    def of_analyzers(self, names: Collection[str]) -> Findings:
        """Those of some analyzers."""
        return Findings(block for block in self.blocks if block.shared["analyzer_id"] in names)

    def among(self, analysis_ids: Collection[str]) -> Findings:
        """Those with one of these analysis ids."""
        if len(analysis_ids) >= len(self) and all(
            one in analysis_ids for block in self.blocks for one in block.columns["analysis_id"]
        ):
            return self
        return Findings(
            block.of([at for at, one in enumerate(block.columns["analysis_id"]) if one in analysis_ids])
            for block in self.blocks
        )

    def _at(self, place: int) -> AnalyzerResult:
        for block in self.blocks:
            if place < len(block):
                return block.result(place)
            place -= len(block)
        raise IndexError(place)


def _picked(columns: Mapping[str, Sequence[Any]], places: Sequence[int]) -> dict[str, Sequence[Any]]:
    return {name: [values[at] for at in places] for name, values in columns.items()}


def _joined(parts: Sequence[Mapping[str, Sequence[Any]]], sizes: Sequence[int]) -> dict[str, Sequence[Any]]:
    if len(parts) == 1:
        return dict(parts[0])
    names = dict.fromkeys(name for part in parts for name in part)
    return {
        name: list(
            chain.from_iterable(
                part[name] if name in part else [None] * size for part, size in zip(parts, sizes, strict=True)
            )
        )
        for name in names
    }


def _texts(details: Mapping[str, Sequence[object]], given: Mapping[str, object], count: int) -> list[str]:
    """Details as JSON, one text for each result; what occurs again and again is encoded once."""
    known: dict[tuple[type, object], str] = {}

    def encoded(value: object) -> str:
        kind = type(value)
        if isinstance(value, float) and isfinite(value):
            return float.__repr__(value)
        if kind not in (str, int, bool):
            return to_json(value)
        text = known.get((kind, value))
        if text is None:
            text = known[kind, value] = to_json(value)
        return text

    end = to_json(given)[1:]
    parts: list[list[str]] = []
    for name, values in details.items():
        start = f"{to_json(name)}:"
        parts.append(["" if value is None else f"{start}{encoded(value)}" for value in values])
    if not parts:
        return ["{" + end] * count
    between = "," if given else ""
    texts: list[str] = []
    for row in zip(*parts, strict=True):
        inner = ",".join(filter(None, row))
        texts.append("{" + inner + between + end if inner else "{" + end)
    return texts
