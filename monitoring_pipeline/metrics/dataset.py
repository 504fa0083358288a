"""Metrics of a whole dataset: off its dataset-level row, or off when its data arrived."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.metrics.metric import Floats, Formula, Metric


def dataset_metrics() -> list[Metric]:
    """Every dataset metric."""
    return [
        _of_rows("shape_row_count", "Rows", _rows, ("n",), unit="rows", additive=True),
        _of_rows("shape_column_count", "Columns", _columns, ("n_columns",), unit="columns", additive=False),
        _of_rows(
            "column_row_count_sum",
            "Values that the rows have room for: rows times columns",
            _cells,
            ("n", "n_columns"),
            unit="values",
            additive=True,
        ),
        _of_batches("missingDatapoint", "batches", "1 when a bucket that should have data has none, else 0"),
        _of_batches("secondsSinceLastUpload", "seconds", "Whole seconds since data last arrived"),
    ]


def _of_rows(
    name: str, description: str, formula: Formula, needs: tuple[str, ...], *, unit: str, additive: bool
) -> Metric:
    return Metric(
        name=name,
        level="dataset",
        unit=unit,
        kind="number",
        additive=additive,
        needs=needs,
        formula=formula,
        description=description,
    )


def _of_batches(name: str, unit: str, description: str) -> Metric:
    def formula(scalars: Mapping[str, NDArray]) -> NDArray:  # noqa: ARG001
        raise UsageError(f"metric {name} comes from when batches arrived, not from the scalars of a profile")

    return Metric(
        name=name,
        level="dataset",
        unit=unit,
        kind="number",
        additive=False,
        needs=(),
        formula=formula,
        description=description,
        source="batch",
    )


def _rows(scalars: Mapping[str, Floats]) -> Floats:
    return np.asarray(scalars["n"], np.float64)


def _columns(scalars: Mapping[str, Floats]) -> Floats:
    return np.asarray(scalars["n_columns"], np.float64)


def _cells(scalars: Mapping[str, Floats]) -> Floats:
    return _rows(scalars) * _columns(scalars)
