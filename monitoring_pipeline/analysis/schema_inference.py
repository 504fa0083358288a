"""What a column is, told from the types and the distinct values of its newest batch.

The rules are those of the metrics `inferred_data_type` and `discrete`, save that booleans are always discrete. A column
is an output when its name says so.
"""

from __future__ import annotations

import numpy as np

from monitoring_pipeline.config.entity_schema import DataType, Discreteness, EntitySchema
from monitoring_pipeline.metrics import metric
from monitoring_pipeline.profiling.profile import DATASET_COLUMN
from monitoring_pipeline.segments import OVERALL
from monitoring_pipeline.store.profiles import Series

SCALARS: tuple[str, ...] = tuple(
    sorted({"n", *metric("inferred_data_type").needs, *metric("discrete").needs})
)
"""Scalars that `infer_schema` reads off a series."""


def infer_schema(series: Series) -> EntitySchema:
    """Infer every column of the overall segment from the newest bucket of `series` in which it has data.

    `series` holds the scalars `SCALARS`.
    """
    found = [
        (row, column)
        for row, (segment, column) in enumerate(series.keys)
        if segment == OVERALL and column != DATASET_COLUMN and not np.isnan(series.values["n"][row]).all()
    ]
    rows = np.array([row for row, _ in found], dtype=np.int64)
    present = ~np.isnan(series.values["n"][rows])
    newest = present.shape[1] - 1 - present[:, ::-1].argmax(axis=1)
    counts = {name: values[rows, newest] for name, values in series.values.items()}
    types = metric("inferred_data_type").formula(counts)
    few = metric("discrete").formula(counts)
    columns = {
        column: {
            "dataType": (data_type := DataType(str(types[at]))),
            "discreteness": _discreteness(data_type, float(few[at])),
            "classifier": "output" if "output" in column.lower() else "input",
        }
        for at, (_, column) in enumerate(found)
    }
    return EntitySchema.model_validate({"columns": columns})


def _discreteness(data_type: DataType, few: float) -> Discreteness | None:
    if data_type is DataType.BOOL:
        return Discreteness.DISCRETE
    if np.isnan(few):
        return None
    return Discreteness.DISCRETE if few else Discreteness.CONTINUOUS
