"""What the store knows of a dataset, for everything that shows it: commands, pages, reports, notebooks, scripts.

Metrics by name as series at any granularity, the merged profile of any window, the columns that stand out, two windows
held against each other. A window is answered from the fewest roll-ups, a segment from finer ones where it is not stored
(`store.query` says how). Nothing here needs the data itself, and nothing writes.

    with Workspace() as workspace:
        metric_series(workspace, "orders", ["mean"], columns=["amount"], granularity=Granularity.WEEKLY).to_frame()
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.analysis.baselines import Window
from monitoring_pipeline.analysis.judgements import COMPONENT_SCALARS, component_scalars
from monitoring_pipeline.comparison import DEFAULT_THRESHOLD, ColumnComparison
from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.metrics import Metric, metric, stated_metrics
from monitoring_pipeline.profiling.profile import DATASET_COLUMN, KLL, ColumnProfile, DatasetProfile
from monitoring_pipeline.segments import OVERALL, segment_label
from monitoring_pipeline.store import query
from monitoring_pipeline.store.query import Merged, Question
from monitoring_pipeline.store.schema import PROFILE_SCALARS
from monitoring_pipeline.store.windows import known_span
from monitoring_pipeline.timegrid import EPOCH, Granularity, TimeRange, from_micros, to_micros

if TYPE_CHECKING:
    import pandas as pd

    from monitoring_pipeline.workspace import Workspace

Key = tuple[str, str]
"""Segment key, column name; the column of a metric of the whole dataset is ""."""

Array = NDArray[Any]

_ALONE = Window(np.zeros(1, np.int64), 1)


@dataclass(frozen=True)
class MetricSeries:
    """Metrics over time.

    `keys` (segment, column), sorted; `buckets` (n_buckets,) int64, bucket starts in microseconds since 1970; `values`
    by metric, (n_keys, n_buckets) float64, NaN = missing, or of a metric that is a text str, "" = missing. `notes` say
    what is missing because it is not known any more.
    """

    granularity: Granularity
    keys: tuple[Key, ...]
    buckets: NDArray[np.int64]
    values: Mapping[str, Array]
    notes: tuple[str, ...] = ()

    @property
    def starts(self) -> list[datetime]:
        """Bucket starts, UTC."""
        return [from_micros(one) for one in self.buckets.tolist()]

    def to_frame(self) -> pd.DataFrame:
        """A row for each key and bucket: `bucket` (UTC), `segment`, `column`, and the metrics; without empty rows."""
        import pandas as pd

        rows, width = len(self.keys), len(self.buckets)
        frame = pd.DataFrame(
            {
                "bucket": pd.to_datetime(np.tile(self.buckets, rows), unit="us", utc=True),
                "segment": pd.array([key[0] for key in self.keys for _ in range(width)], dtype="str"),
                "column": pd.array([key[1] for key in self.keys for _ in range(width)], dtype="str"),
                **{name: values.reshape(-1) for name, values in self.values.items()},
            }
        )
        there = [
            frame[name].ne("") if values.dtype.kind == "U" else frame[name].notna()
            for name, values in self.values.items()
        ]
        if not there:
            return frame
        return frame[np.logical_or.reduce(there)].reset_index(drop=True)


@dataclass(frozen=True)
class TopColumn:
    """A column and its value of the metric that was asked for."""

    column: str
    value: float


@dataclass(frozen=True)
class WindowComparison:
    """Two windows of one segment: their merged profiles, and `columns`, their columns against each other."""

    segment: str
    target_window: TimeRange
    baseline_window: TimeRange
    target: Merged = field(repr=False)
    baseline: Merged = field(repr=False)
    columns: ColumnComparison = field(repr=False)

    @property
    def rows(self) -> tuple[int, int]:
        """Rows of the target and of the baseline."""
        return self.target.profile.rows[self.segment], self.baseline.profile.rows[self.segment]

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not known of either."""
        return tuple(dict.fromkeys([*self.target.notes, *self.baseline.notes]))


def metric_series(
    workspace: Workspace,
    dataset_id: str,
    metrics: Sequence[str],
    *,
    window: TimeRange | None = None,
    granularity: Granularity | None = None,
    columns: Collection[str] | None = None,
    segments: Collection[str] | None = (OVERALL,),
    exclude: Sequence[TimeRange] = (),
) -> MetricSeries:
    """Metrics over time, by name, those of the dataset's own among them.

    `granularity`: of the values, not finer than the dataset's, which is meant unless given; a week is what all of its
    days say together, not their average. `window` None is all that there is. `columns` None is every column; metrics of
    the whole dataset have the column "". `segments`: keys, stored or made of finer ones, all data unless given; None is
    every stored one. `exclude`: buckets that start in one of these ranges do not count.

    Raises UnknownMetricError, and UsageError for a metric that is no number, or that profiles do not tell.
    """
    question = _question(workspace, dataset_id, window, columns=columns, segments=segments, exclude=exclude)
    by = granularity or question.granularity
    named = {one.name: one for one in (_metric(workspace, dataset_id, name) for name in metrics)}
    parts = [_read(workspace, dataset_id, chosen, question, by) for chosen in _by_where_they_stand(named)]
    return _side_by_side(parts, list(named), by)


def merged_profile(
    workspace: Workspace,
    dataset_id: str,
    *,
    window: TimeRange | None = None,
    columns: Collection[str] | None = None,
    segments: Collection[str] | None = (OVERALL,),
    exclude: Sequence[TimeRange] = (),
    partial: bool = False,
) -> Merged:
    """The profile of a window, as if all of its rows had been profiled at once: `profile`, `blocks`, `notes`.

    Raises UsageError when retention has removed some of it beyond what roll-ups tell, unless `partial`; see
    `metric_series` for what may be asked.
    """
    question = _question(workspace, dataset_id, window, columns=columns, segments=segments, exclude=exclude)
    return query.merged(workspace.store, workspace.ref(dataset_id), question, partial=partial)


def top_columns(
    workspace: Workspace,
    dataset_id: str,
    name: str,
    *,
    window: TimeRange | None = None,
    segment: str = OVERALL,
    exclude: Sequence[TimeRange] = (),
    count: int = 10,
    least: bool = False,
) -> list[TopColumn]:
    """The columns with the most of a metric over a window, or the least; those that have none are left out.

    Columns with the same value are in the order of their names. Raises UsageError for a metric of the whole dataset,
    or when some of the window is not known any more.
    """
    chosen = _metric(workspace, dataset_id, name)
    if chosen.level != "column" or chosen.kind != "number":
        raise UsageError(
            f"metric {chosen.name} is not a number of each column; `mean` and `count_null_ratio` are"
        )
    question = _question(workspace, dataset_id, window, columns=None, segments=[segment], exclude=exclude)
    found = _read(workspace, dataset_id, [chosen], question, None)
    if found.notes:
        raise UsageError(found.notes[0])
    values = found.values[chosen.name][:, 0] if len(found.buckets) else np.zeros(0)
    pairs = [
        TopColumn(column, float(value))
        for (_, column), value in zip(found.keys, values.tolist(), strict=True)
        if not np.isnan(value)
    ]
    return sorted(pairs, key=lambda one: (one.value if least else -one.value, one.column))[:count]


def compare_windows(
    workspace: Workspace,
    dataset_id: str,
    target: TimeRange,
    baseline: TimeRange | None = None,
    *,
    columns: Collection[str] | None = None,
    segment: str = OVERALL,
    exclude: Sequence[TimeRange] = (),
    threshold: float = DEFAULT_THRESHOLD,
    partial: bool = False,
) -> WindowComparison:
    """Hold a window against another one; against the time before it, as long as itself, unless one is given.

    Distances are those of an analyzer of the type `drift`, and of `monitoring_pipeline.compare`. Raises UsageError when
    a window has no data, or some of it is not known any more, unless `partial`.
    """
    before = baseline or _time_before(target)
    sides = [
        merged_profile(
            workspace,
            dataset_id,
            window=window,
            columns=columns,
            segments=[segment],
            exclude=exclude,
            partial=partial,
        )
        for window in (target, before)
    ]
    for side, window, what in zip(sides, (target, before), ("", " to compare with"), strict=True):
        if segment not in side.profile.rows:
            raise UsageError(f"{dataset_id} has no profiles of {segment_label(segment)} in {window}{what}")
    now, then = (side.profile.columns.get(segment, {}) for side in sides)
    return WindowComparison(
        segment, target, before, *sides, columns=ColumnComparison(then, now, float(threshold))
    )


def known_window(workspace: Workspace, dataset_id: str) -> TimeRange:
    """From the first bucket with data to the end of the last one; without length when there is none."""
    granularity, ref = workspace.dataset(dataset_id).spec.granularity, workspace.ref(dataset_id)
    with workspace.store.read() as connection:
        known = known_span(connection, ref)
    if known is None:
        return TimeRange(EPOCH, EPOCH)
    return TimeRange(from_micros(known.start), granularity.shift(from_micros(known.stop - 1), 1))


def newest(
    workspace: Workspace, dataset_id: str, buckets: int, granularity: Granularity | None = None
) -> TimeRange:
    """The last so many buckets up to the last with data, as far as there is any."""
    known = known_window(workspace, dataset_id)
    by = granularity or workspace.dataset(dataset_id).spec.granularity
    if known.start == known.end:
        return known
    last = by.floor(from_micros(to_micros(known.end) - 1))
    return TimeRange(max(known.start, by.shift(last, 1 - buckets)), known.end)


def segments_by(workspace: Workspace, dataset_id: str, names: Collection[str]) -> list[str]:
    """Keys of the segments by these columns, sorted, whether they are stored or made of finer ones."""
    return query.segments_by(workspace.store, workspace.ref(dataset_id), names)


def _question(
    workspace: Workspace,
    dataset_id: str,
    window: TimeRange | None,
    *,
    columns: Collection[str] | None,
    segments: Collection[str] | None,
    exclude: Sequence[TimeRange],
) -> Question:
    granularity = workspace.dataset(dataset_id).spec.granularity
    whole = window or known_window(workspace, dataset_id)
    return Question(whole, granularity, columns, segments, exclude)


def _time_before(window: TimeRange) -> TimeRange:
    try:
        return TimeRange(window.start - (window.end - window.start), window.start)
    except OverflowError:
        raise UsageError(
            f"there is no time before {window} that is as long; say what to compare with"
        ) from None


def _metric(workspace: Workspace, dataset_id: str, name: str) -> Metric:
    dataset = workspace.dataset(dataset_id)
    found = metric(name, stated_metrics(dataset.document.entity_schema, dataset.metrics))
    if found.kind == "distribution":
        raise UsageError(
            f"metric {found.name} is a distribution: take it from the merged profile of a window"
        )
    strange = sorted({*found.needs} - {*PROFILE_SCALARS} - COMPONENT_SCALARS)
    if strange:
        raise UsageError(
            f"metric {found.name} is not told by profiles alone (it needs {', '.join(strange)}); the results of "
            "analyzers have it: `monitor results`"
        )
    return found


def _by_where_they_stand(named: Mapping[str, Metric]) -> Iterable[list[Metric]]:
    """Metrics that are read off the same rows, together."""
    found: dict[tuple[str, str | None], list[Metric]] = {}
    for one in named.values():
        found.setdefault((one.level, one.column), []).append(one)
    return found.values()


def _read(
    workspace: Workspace,
    dataset_id: str,
    metrics: Sequence[Metric],
    question: Question,
    by: Granularity | None,
) -> MetricSeries:
    """Metrics that stand on the same rows; of the window as a whole when `by` is None."""
    store, ref, first = workspace.store, workspace.ref(dataset_id), metrics[0]
    columns = question.columns
    if first.level == "dataset":
        columns = [DATASET_COLUMN if first.column is None else first.column]
    asked = replace(question, columns=columns)
    needed = {"n", *(need for one in metrics for need in one.needs)}
    stored = sorted(needed - COMPONENT_SCALARS)
    answer = (
        query.totals(store, ref, stored, asked)
        if by is None
        else query.series(store, ref, stored, asked, by=by)
    )
    series = answer.series
    scalars: dict[str, Array] = dict(series.values)
    components = sorted(needed & COMPONENT_SCALARS)
    if components:
        numbers = replace(asked, sketches=[KLL])  # outliers are told by these; performance is no column's
        if by is None:
            found = {0: query.merged(store, ref, numbers, partial=True).profile}
        else:
            _, found, _ = query.merged_buckets(store, ref, numbers, by=by)
        told = _component_values(components, series.keys, found, len(series.buckets))
        there = ~np.isnan(series.values["n"])
        scalars |= {name: np.where(there, values, np.nan) for name, values in told.items()}
    with np.errstate(invalid="ignore", divide="ignore"):
        values = {one.name: np.asarray(one.formula(scalars)) for one in metrics}
    keys = series.keys
    if first.level == "dataset":
        keys = tuple((segment, DATASET_COLUMN) for segment, _ in keys)
    return MetricSeries(by or question.granularity, keys, series.buckets, values, answer.notes)


def _component_values(
    names: Sequence[str], keys: Sequence[Key], found: Mapping[int, DatasetProfile], n_buckets: int
) -> dict[str, Array]:
    """Scalars that sketches and components tell, (n_keys, n_buckets)."""
    values = {name: np.full((len(keys), n_buckets), np.nan) for name in names}
    for at, profile in found.items():
        for row, (segment, column) in enumerate(keys):
            if column == DATASET_COLUMN:
                one = ColumnProfile.from_parts({}, profile.components.get(segment, {}))
            elif (one := profile.columns.get(segment, {}).get(column)) is None:
                continue
            told = component_scalars(names, {0: one}, _ALONE)
            for name in names:
                values[name][row, at] = told[name][0]
    return values


def _side_by_side(parts: Sequence[MetricSeries], names: Sequence[str], by: Granularity) -> MetricSeries:
    """One series of all metrics, in the order in which they were asked for."""
    if len(parts) == 1:
        return parts[0]
    keys = tuple(sorted({key for part in parts for key in part.keys}))
    places = {key: row for row, key in enumerate(keys)}
    buckets = parts[0].buckets if parts else np.zeros(0, np.int64)
    values: dict[str, Array] = {}
    for part in parts:
        rows = [places[key] for key in part.keys]
        for name, own in part.values.items():
            empty: Any = "" if own.dtype.kind == "U" else np.nan
            values[name] = np.full((len(keys), len(buckets)), empty, own.dtype)
            values[name][rows] = own
    notes = tuple(dict.fromkeys(note for part in parts for note in part.notes))
    return MetricSeries(by, keys, buckets, {name: values[name] for name in names}, notes)
