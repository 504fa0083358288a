"""What analyzers would say about a past range of time: judged as a real run would judge it, and not stored.

The engine reads the store and hands back results; `pipeline.analyze_batch` writes them, `preview` does not. Schedules,
readiness and gates hold as in a run that somebody asked for, so the verdicts are those that `monitor run --from --to`
would store. An analyzer that goes on from its own stored anomalies (seasonal) reads them here as it would there; those
inside the range it works out anew, as after a change of its configuration.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from monitoring_pipeline.analysis.algorithms import registry
from monitoring_pipeline.analysis.engine import analyze, unable
from monitoring_pipeline.analysis.gates import BatchFacts, Gate, Waiting, decide
from monitoring_pipeline.analysis.jobs import find_algorithm
from monitoring_pipeline.analysis.planner import children_of
from monitoring_pipeline.analysis.result import AnalyzerResult
from monitoring_pipeline.analysis.verdicts import remembers
from monitoring_pipeline.config.analyzers import Analyzer
from monitoring_pipeline.config.document import Fragment, MonitorDocument, parse_document, parse_fragment
from monitoring_pipeline.errors import AnalysisError, UsageError
from monitoring_pipeline.store import profiles
from monitoring_pipeline.store.datasets import find_dataset
from monitoring_pipeline.timegrid import TimeRange
from monitoring_pipeline.workspace import Workspace

USUAL = 30
"""Buckets that are judged when no range is asked for: the newest ones."""


@dataclass(frozen=True)
class Tally:
    """What one analyzer came to: results, anomalies among them, results without a verdict, anomalies by column.

    Results about the dataset count under the column "".
    """

    analyzer_id: str
    results: int
    anomalies: int
    failures: int
    columns: Mapping[str, int]


@dataclass(frozen=True)
class Preview:
    """The verdicts of a range, and why there are not more of them."""

    dataset_id: str
    window: TimeRange
    results: tuple[AnalyzerResult, ...]
    waiting: tuple[Waiting, ...]
    notes: tuple[str, ...]
    analyzer_ids: tuple[str, ...]
    """Those that were asked for, in the order of the document."""

    @property
    def anomalies(self) -> tuple[AnalyzerResult, ...]:
        return tuple(result for result in self.results if result.is_anomaly)

    @property
    def tallies(self) -> tuple[Tally, ...]:
        """One for each analyzer that was asked for, in the order of the document."""
        return tuple(_tally(name, self.results) for name in self.analyzer_ids)

    def summary(self) -> list[str]:
        """What was not judged and why: one line for each analyzer and reason."""
        groups: dict[tuple[str, Gate], list[Waiting]] = {}
        for one in self.waiting:
            groups.setdefault((one.analyzer_id, one.gate), []).append(one)
        lines: list[str] = []
        for (analyzer_id, gate), group in groups.items():
            buckets = [one.bucket for one in group if one.bucket is not None]
            if len(buckets) > 1:
                what = f"{gate.value} on {len(buckets):,} buckets, {min(buckets):%Y-%m-%d %H:%M} to {max(buckets):%Y-%m-%d %H:%M}"
            else:
                what = group[0].reason + "".join(f" ({bucket:%Y-%m-%d %H:%M})" for bucket in buckets)
            lines.append(f"{analyzer_id}: {what}")
        return lines


def preview(
    workspace: Workspace,
    dataset_id: str,
    *,
    window: TimeRange | None = None,
    analyzer_ids: Collection[str] = (),
    document: MonitorDocument | None = None,
) -> Preview:
    """Judge a range of the dataset's past (its newest `USUAL` buckets unless given) with its analyzers, storing nothing.

    `analyzer_ids` picks some, which then run even when they are disabled; without any, all run that are not.
    `document` takes the place of the workspace's. Raises UsageError for analyzers that are not there and while nothing
    is profiled.
    """
    dataset = workspace.dataset(dataset_id)
    found = find_dataset(workspace.store, workspace.organisation(dataset_id), dataset_id)
    batches = profiles.batches(workspace.store, found) if found is not None else []
    if found is None or not batches:
        raise UsageError(f"nothing of {dataset_id} is profiled yet; `monitor profile {dataset_id}` does it")
    document = dataset.document if document is None else document
    asked = tuple(document.analyzer(name).id for name in dict.fromkeys(analyzer_ids))
    watched = _enabled(document, asked)
    facts = BatchFacts(
        {batch.bucket: batch.rows for batch in batches},
        {batch.bucket: batch.last_upload for batch in batches},
        min(batch.bucket for batch in batches),
    )
    granularity = document.granularity
    if window is None:
        end = granularity.shift(max(facts.rows), 1)
        window = TimeRange(granularity.shift(end, -USUAL), end)
    window = _cut(window, facts, workspace, watched)
    decision = decide(
        watched,
        facts=facts,
        calculated=(),
        now=workspace.now(),
        window=window,
        backfill=True,
        unable=unable(watched, metrics=dataset.metrics),
        metrics=dataset.metrics,
    )
    needed = {*asked, *(child for name in asked for child in children_of(watched.analyzer(name)))}
    analysis = analyze(
        workspace.store,
        found,
        watched,
        [due for due in decision.due if not asked or due.analyzer_id in needed],
        now=workspace.now(),
        run_id="preview",
        schema=workspace.entity_schema(dataset_id),
        metrics=dataset.metrics,
        backfill=True,
    )
    names = asked or tuple(analyzer.id for analyzer in watched.analyzers if not analyzer.disabled)
    shown = {*names}
    return Preview(
        dataset_id=dataset_id,
        window=window,
        results=tuple(result for result in analysis.results if result.analyzer_id in shown),
        waiting=tuple(wait for wait in decision.waiting if not asked or wait.analyzer_id in shown),
        notes=(*analysis.notes, *_remembering(watched, names)),
        analyzer_ids=names,
    )


def with_fragment(
    document: MonitorDocument, data: object, *, source: str
) -> tuple[MonitorDocument, tuple[str, ...]]:
    """The document with the analyzers of a fragment in it, and their ids. Raises DocumentError.

    `data` is a whole document of the dataset, `{"analyzers": […]}`, a list of analyzers, or one analyzer. Analyzers of
    the same id take the place of the document's.
    """
    if isinstance(data, Mapping) and "datasetId" in data:
        whole = parse_document(data, source=source).document
        if whole.dataset_id != document.dataset_id or whole.granularity != document.granularity:
            raise UsageError(
                f"{source} is about {whole.dataset_id} ({whole.granularity}); "
                f"accepted: a document of {document.dataset_id} ({document.granularity})"
            )
        return whole, tuple(analyzer.id for analyzer in whole.analyzers if not analyzer.disabled)
    fragment = _fragment(data, source=source)
    if not fragment.analyzers:
        raise UsageError(f"{source} holds no analyzer, and a monitor alone finds nothing")
    ids = {analyzer.id for analyzer in fragment.analyzers}
    kept = [analyzer for analyzer in document.analyzers if analyzer.id not in ids]
    merged = {**document.to_json(), "analyzers": [_json(one) for one in (*kept, *fragment.analyzers)]}
    parsed = parse_document(
        merged, source=f"{source}, put into the document of {document.dataset_id}"
    ).document
    return parsed, tuple(analyzer.id for analyzer in fragment.analyzers)


def _fragment(data: object, *, source: str) -> Fragment:
    if isinstance(data, list):
        data = {"analyzers": data}
    elif isinstance(data, Mapping) and not {"analyzers", "monitors"} & data.keys() and "config" in data:
        data = {"analyzers": [data]}
    return parse_fragment(data, source=source)


def _json(analyzer: Analyzer) -> dict[str, object]:
    return analyzer.model_dump(mode="json", by_alias=True, exclude_unset=True)


def _enabled(document: MonitorDocument, asked: Sequence[str]) -> MonitorDocument:
    """The document with what was asked for, and what that is about, switched on."""
    wanted = {*asked, *(child for name in asked for child in children_of(document.analyzer(name)))}
    if not any(analyzer.disabled and analyzer.id in wanted for analyzer in document.analyzers):
        return document
    switched = [_json(one) | ({"disabled": False} if one.id in wanted else {}) for one in document.analyzers]
    data = {**document.to_json(), "analyzers": switched}
    return parse_document(data, source=document.dataset_id).document


def _cut(window: TimeRange, facts: BatchFacts, workspace: Workspace, document: MonitorDocument) -> TimeRange:
    """The window, no earlier than the dataset's first bucket and no later than the present one."""
    granularity = document.granularity
    first = min(facts.rows)
    end = granularity.shift(granularity.floor(workspace.now()), 1)
    start = max(granularity.floor(window.start), first)
    if start >= min(window.end, end):
        raise UsageError(
            f"{document.dataset_id} has no bucket between {window.start:%Y-%m-%d %H:%M} and "
            f"{window.end:%Y-%m-%d %H:%M}; its data begins {first:%Y-%m-%d %H:%M}, "
            f"the newest is of {max(facts.rows):%Y-%m-%d %H:%M}"
        )
    return TimeRange(start, min(window.end, end))


def _remembering(document: MonitorDocument, names: Collection[str]) -> list[str]:
    """Which verdicts hang on what was stored before."""
    notes: list[str] = []
    for name in names:
        analyzer = document.analyzer(name)
        try:
            hangs = not children_of(analyzer) and remembers(find_algorithm(analyzer, registry()))
        except AnalysisError:
            continue
        if hangs:
            notes.append(
                f"analyzer {name}: what it replaced in stored results before this range counts here as in a real run"
            )
    return notes


def _tally(analyzer_id: str, results: Sequence[AnalyzerResult]) -> Tally:
    mine = [result for result in results if result.analyzer_id == analyzer_id]
    columns = Counter(result.column for result in mine if result.is_anomaly)
    return Tally(
        analyzer_id=analyzer_id,
        results=len(mine),
        anomalies=sum(result.is_anomaly for result in mine),
        failures=sum(result.failed for result in mine),
        columns=dict(columns.most_common()),
    )
