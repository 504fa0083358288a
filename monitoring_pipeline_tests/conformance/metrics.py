"""Cases about metrics: read off profiles that are made of real rows."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from monitoring_pipeline.analysis.additions import of_profile
from monitoring_pipeline.config.dataset import ColumnRoles
from monitoring_pipeline.errors import UnknownMetricError, UsageError
from monitoring_pipeline.metrics import Metric, catalog, metric
from monitoring_pipeline.metrics.expressions import custom_metric
from monitoring_pipeline.metrics.metric import number as counted
from monitoring_pipeline.profiling import ColumnProfile, DatasetProfile, profile
from monitoring_pipeline.profiling.profile import DATASET_COLUMN
from monitoring_pipeline.profiling.sketches import FrequentItems
from monitoring_pipeline_tests.conformance.cases import Case, Json
from monitoring_pipeline_tests.conformance.comparing import Check, Unknown, check, compare, number
from monitoring_pipeline_tests.conformance.vocabulary import items_image, kll_image, values_of

_FIELDS = {
    "counts/n": "n",
    "counts/null": "n_null",
    "types/boolean": "t_bool",
    "types/integral": "t_integral",
    "types/fractional": "t_fractional",
    "types/string": "t_string",
    "types/object": "t_object",
    "distribution/mean": "mean",
    "distribution/m2": "m2",
}
"""Paths of the reference's profiles, and what holds the same here."""


def of_metric(case: Case) -> Iterator[Check]:
    """The value of one metric; a summary of a classification has no value, only that it can be made."""
    inputs = case.inputs
    if "tracked" in inputs:
        found = _performance(inputs["tracked"], str(case["metric"]).split()[0])
        name = str(case["metric"])
        yield from compare(case, {**found, "value": found.get(name), "no_exception": True})
        return
    yield from compare(
        case, {"value": value_of(str(case["metric"]), column_of(inputs)), "no_exception": True}
    )


def alias(case: Case) -> Iterator[Check]:
    """Whether a name is that of a metric."""
    try:
        name = metric(str(case.first("name", "metric", "alias"))).name
    except UnknownMetricError:
        name = None
    yield from compare(case, {"resolves": name is not None, "metric": name, "name": name})


def nullness(case: Case) -> Iterator[Check]:
    """Which metrics a record of predictions and outcomes has, and which not."""
    model = str(case["model"])
    found = {name.replace(".", "_"): value for name, value in _performance(case["tracked"], model).items()}
    # A record about the whole dataset is in no column; a record of the other kind of model has nothing of this one.
    told = {**found, "columnName": DATASET_COLUMN or None, model: found}
    for wanted, is_null in (("not_null", False), ("null", True)):
        for name in case.expected.get(wanted, []):
            value = told.get(name, Unknown("no such metric"))
            yield check(case, f"{wanted}: {name}", None if is_null else {"not_null": True}, value)
    known = {"not_null", "null"}
    yield from compare(case, {}, expected={k: v for k, v in case.expected.items() if k not in known})


def formula(case: Case) -> Iterator[Check]:
    """An expression over variables; null where one of them is not bound. `^` is the reference's power."""
    given = {**case.data, **case.inputs}
    text = str(next(given[name] for name in ("formula", "expression", "text") if name in given))
    bound = next((given[name] for name in ("variables", "bindings", "values") if name in given), None)
    variables = {name: number(value) for name, value in (bound or {}).items()}

    unbound: list[str] = []

    def find(name: str) -> Metric:
        if name not in variables:
            unbound.append(name)
            raise UnknownMetricError(f"{name} is not bound")
        return counted(name, "", level="column", needs=[name])

    try:
        made = custom_metric("formula", text.replace("^", "**"), find)
    except UsageError:
        if not unbound:
            raise
        yield from compare(case, {"value": None, "result": None})
        return
    value = float(made.formula({name: np.array(value) for name, value in variables.items()}))
    yield from compare(case, {"value": value, "result": value})


def frequent_items_summary(case: Case) -> Iterator[Check]:
    """A frequent-items image can be read; what it holds, commonest first."""
    image = base64.b64decode(case.inputs["frequent_strings_b64"])
    sketch = FrequentItems.from_image(image)
    items = [{"value": text, "estimate": estimate} for text, estimate, _, _ in sketch.top(1000)]
    counts = {text: estimate for text, estimate, _, _ in sketch.top(1000)}
    found = {"items": items, "counts": counts, "size": len(items), "total": sketch.total}
    yield from compare(case, {**found, "no_exception": True})


def column_of(inputs: Json) -> ColumnProfile:
    """The profile of a column, out of the values that it was fed, or of parts of one."""
    sketch = inputs if "sketch" in inputs else inputs.get("histogram") or inputs.get("distribution/kll") or {}
    items = inputs.get("frequent_items") or inputs.get("frequent_items/frequent_strings")
    for fed in ("variance_tracker_updates", "updates", "values"):
        if fed in inputs:
            return _fed(values_of(inputs[fed]), k=inputs.get("k"))
    if "updates" in sketch:
        return _fed(values_of(sketch["updates"]), k=sketch.get("k"))
    counts = {ours: number(inputs[path]) for path, ours in _FIELDS.items() if inputs.get(path) is not None}
    if "m2" in counts or "mean" in counts:
        counts.setdefault("m_n", counts.get("n", 0.0))
    images = {
        **({"kll.v1": kll_image(sketch)} if "kll_b64" in sketch else {}),
        **({"frequent_items.v1": items_image(items)} if items else {}),
    }
    if items and "n" not in counts:
        counts["n"] = counts["t_string"] = float(FrequentItems.from_image(images["frequent_items.v1"]).total)
    if not counts and not images:
        raise KeyError(f"updates, values, a sketch, or any of {', '.join(_FIELDS)}")
    return ColumnProfile.from_parts(counts, images)


def value_of(name: str, column: ColumnProfile) -> float | str | None:
    """A metric of one column's profile. Raises UnknownMetricError."""
    found = metric(name)
    scalars = {
        one: np.array(number(value)) for one, value in {**column.scalars(), **_extra(column, name)}.items()
    }
    value = found.formula({one: scalars[one] for one in found.needs})
    return str(value) if found.kind == "text" else float(value)


def _extra(column: ColumnProfile, name: str) -> Mapping[str, float]:
    return of_profile(metric(name).needs, column)


def _fed(values: list[Any], *, k: int | None) -> ColumnProfile:
    del k  # how exact the reference's sketch was; ours is at least as exact for as many values
    texts = all(isinstance(value, str) and value not in ("NaN", "Infinity") for value in values)
    fed = values if texts else [value if value is None else number(value) for value in values]
    return profile(pa.table({"column": pa.array(fed)})).columns[""]["column"]


def _performance(tracked: list[Json], model: str) -> dict[str, float | None]:
    """Every metric of a model out of rows of predictions and outcomes, null where there is none."""
    names = {
        "prediction": ("predictionField", "predict", "prediction"),
        "target": ("targetField", "target", "actual"),
        "score": ("scoreField", "score"),
    }
    rows = [{role: _given(row, keys) for role, keys in names.items()} for row in tracked]
    is_regression = model == "regression"
    table = pa.table(
        {
            role: pa.array([_cell(row[role], is_number=is_regression or role == "score") for row in rows])
            for role in names
            if any(row[role] is not None for row in rows) and not (is_regression and role == "score")
        }
    )
    roles = ColumnRoles.model_validate({role: role for role in table.column_names})
    judged = profile(table, roles=roles)
    return _dataset_values(judged)


def _dataset_values(judged: DatasetProfile) -> dict[str, float | None]:
    whole = ColumnProfile.from_parts(judged.dataset_scalars(""), judged.components.get("", {}))
    found: dict[str, float | None] = {}
    for one in catalog().values():
        if one.level == "dataset" and one.name.startswith(("classification.", "regression.")):
            scalars = {name: np.array(value) for name, value in of_profile(one.needs, whole).items()}
            value = float(one.formula(scalars)) if set(one.needs) <= scalars.keys() else float("nan")
            found[one.name] = None if np.isnan(value) else value
    return found


def _given(row: Json, keys: tuple[str, ...]) -> Any:
    return next((row[key] for key in keys if row.get(key) is not None), None)


def _cell(value: Any, *, is_number: bool) -> Any:
    return value if value is None else number(value) if is_number else str(value)
