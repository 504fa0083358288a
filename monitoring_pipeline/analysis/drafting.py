"""An analyzer and its monitor from as little as a person has to say: what to measure, and perhaps on which columns.

What is left out follows from the metric: one that belongs to the dataset gets a dataset matrix, one that belongs to
columns gets all of them. A matrix of the wrong kind is mended, with a note; names that cannot be meant are refused.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from monitoring_pipeline.config.analyzers import Analyzer, parse_analyzer
from monitoring_pipeline.config.monitors import Monitor, parse_monitor, usual_offset
from monitoring_pipeline.config.targets import GROUPS, WILDCARD, unknown_tokens
from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.metrics import NO_METRICS, Metric, metric
from monitoring_pipeline.timegrid import Granularity


@dataclass(frozen=True)
class Draft:
    """An analyzer, the monitor that listens to it, and notes on what was mended."""

    analyzer: Analyzer
    monitor: Monitor
    notes: tuple[str, ...] = ()


def draft(
    monitor_id: str,
    config: Mapping[str, object],
    *,
    granularity: Granularity = Granularity.DAILY,
    target_matrix: Mapping[str, object] | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    columns: Collection[str] | None = None,
    actions: Sequence[Mapping[str, object]] = (),
    metrics: Mapping[str, Metric] = NO_METRICS,
    **settings: object,
) -> Draft:
    """Complete a `config` block into an analyzer `<monitor_id>-analyzer` and a monitor.

    `target_matrix`, or `include` and `exclude` alone, say what is looked at; `columns` are those that exist, where they
    are known; `settings` are further keys of the analyzer, such as `dataReadinessDuration`. Raises DocumentError for
    what no document may say, UnknownMetricError, and UsageError for a column or a group that does not exist.

    >>> made = draft("missing-data", {"type": "fixed", "metric": "missingDatapoint", "upper": 0})
    >>> made.analyzer.id, made.analyzer.target_matrix.type
    ('missing-data-analyzer', 'dataset')
    """
    _refuse_unknown((*include, *exclude), columns)
    level = metric(str(config["metric"]), metrics).level if config.get("metric") else "dataset"
    matrix: dict[str, Any] = dict(target_matrix or {})
    if include or exclude:
        matrix |= {"include": list(include) or [WILDCARD], "exclude": list(exclude)}
    notes: list[str] = []
    if matrix.get("type", level) != level:
        notes.append(
            f"{config['metric']} is a metric of {'columns' if level == 'column' else 'the dataset'}: the type of its "
            f"targetMatrix is {level} now, its segments are as they were"
        )
    matrix = {**matrix, "type": level}
    if level == "column":
        matrix.setdefault("include", [WILDCARD])
    else:
        matrix = {key: value for key, value in matrix.items() if key not in ("include", "exclude")}
    analyzer = {
        "id": f"{monitor_id}-analyzer",
        "schedule": {"type": "fixed", "cadence": str(granularity)},
        "targetMatrix": matrix,
        "config": dict(config),
        **settings,
    }
    monitor = {
        "id": monitor_id,
        "analyzerIds": [analyzer["id"]],
        "schedule": {"type": "immediate"},
        "mode": {"type": "DIGEST", "datasetTimestampOffset": str(usual_offset(granularity))},
        "actions": [dict(action) for action in actions],
    }
    source = f"monitor {monitor_id}"
    return Draft(parse_analyzer(analyzer, source=source), parse_monitor(monitor, source=source), tuple(notes))


def _refuse_unknown(tokens: Sequence[str], columns: Collection[str] | None) -> None:
    wrong = unknown_tokens(tokens)
    if wrong:
        groups = ", ".join(f"group:{group}" for group in GROUPS)
        raise UsageError(f"{', '.join(wrong)}: no such group of columns; accepted: {groups}, weight>0.5")
    if columns is None:
        return
    named = [one for one in tokens if one != WILDCARD and not one.lower().startswith(("group:", "weight"))]
    missing = [one for one in named if one not in columns]
    if missing:
        known = ", ".join(sorted(columns)[:20]) or "none"
        raise UsageError(f"{', '.join(missing)}: no such column; there are: {known}")
