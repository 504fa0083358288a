"""Metrics of a whole dataset: off its dataset-level row, or off when its data arrived.

The columns of a bucket are those that its rows came with: outcomes that arrive days later add none, so that a bucket
is as wide on the day it is analysed as ever after.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from monitoring_pipeline.metrics.metric import Floats, Metric, elsewhere, number

_number = partial(number, level="dataset")
_of_arrival = partial(
    elsewhere,
    level="dataset",
    where="comes from when batches arrived, not from the scalars of a profile",
    kind="number",
    source="batch",
)


def dataset_metrics() -> list[Metric]:
    """Every dataset metric."""
    return [
        _number("shape_row_count", "Rows", needs=("n",), unit="rows", additive=True),
        _number(
            "shape_column_count",
            "Columns that the rows came with, without those of late outcomes",
            needs=("n_columns",),
            unit="columns",
        ),
        _number(
            "column_row_count_sum",
            "Values that the rows have room for: rows times columns",
            needs=("n", "n_columns"),
            formula=_cells,
            unit="values",
            additive=True,
        ),
        _of_arrival(
            "missingDatapoint", "1 when a bucket that should have data has none, else 0", unit="batches"
        ),
        _of_arrival("secondsSinceLastUpload", "Whole seconds since data last arrived", unit="seconds"),
    ]


def _cells(scalars: Mapping[str, Floats]) -> Floats:
    return np.asarray(scalars["n"], np.float64) * np.asarray(scalars["n_columns"], np.float64)
