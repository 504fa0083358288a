"""Metrics of a dataset's own that its monitor document states, under `entitySchema.customMetrics`.

The reference platform's are a metric of one column, said of the dataset: a score that a service computes itself and
logs as a column. Ours may also be expressions, like those of `dataset.yaml`, and build on one another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from monitoring_pipeline.config.entity_schema import CustomMetric, EntitySchema
from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.metrics.catalog import NO_METRICS, metric
from monitoring_pipeline.metrics.expressions import check_name, custom_metrics, folded
from monitoring_pipeline.metrics.metric import Metric


def stated_metrics(
    schema: EntitySchema | None,
    own: Mapping[str, Metric] = NO_METRICS,
    *,
    problems: dict[str, str] | None = None,
) -> dict[str, Metric]:
    """All metrics of a dataset's own by folded name: `own`, those of `dataset.yaml`, and those that the schema states.

    One that makes no sense is left out; why is in `problems`, by the name it has in the document.
    """
    problems = {} if problems is None else problems
    found = dict(own)
    stated = schema.custom_metrics if schema else {}
    for name, one in stated.items():
        if one.expression is None:
            try:
                check_name(name, lambda other: metric(other, found))
                found[folded(name)] = _of_column(name, one)
            except UsageError as error:
                problems[name] = str(error)
    expressions = {name: one.expression for name, one in stated.items() if one.expression is not None}
    worked = custom_metrics(expressions, lambda name: metric(name, found), problems=problems)
    for name, one in worked.items():
        label = next((stated[key].label for key in expressions if folded(key) == name), None)
        found[name] = replace(one, description=label or one.description)
    return found


def _of_column(name: str, stated: CustomMetric) -> Metric:
    known = metric(stated.metric or "")
    if known.kind == "distribution" or known.source != "profile":
        raise UsageError(f"{known.name} is neither a number nor a text that a profile tells")
    if known.level == "column" and not stated.column:
        raise UsageError(f"{known.name} is a metric of a column, and no column is named")
    described = stated.label or (
        f"{known.description}; {stated.column}" if stated.column else known.description
    )
    column = stated.column if known.level == "column" else None
    text = f"{known.name} of {column}" if column else known.name
    return replace(known, name=name, level="dataset", description=described, column=column, expression=text)
