"""How a service runs: latency, throughput, errors, outliers; and how much arrived, when, of what.

Latency and error rate are metrics of whichever column holds them. What is told by a batch (`files`, `first_upload`,
`last_upload`, `seconds`), by counting other columns (`n_input`, `n_output`) or only by a quantile sketch (`outliers_*`)
is a scalar like those of the store, under the names given here; whoever reads a series provides it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.metrics.metric import Floats, Formula, Metric, share

BATCH_SCALARS: Final = ("files", "first_upload", "last_upload", "seconds")
"""Files that a bucket was made of, first and last upload in seconds since 1970, and the bucket's length in seconds."""

COLUMN_SUMS: Final = ("n_input", "n_output")
"""Values of all input columns, and of all output columns, of a segment."""

OUTLIER_SCALARS: Final = ("outliers_iqr", "outliers_sigma")
"""Shares of a column's numbers that lie far from the others, read off its quantile sketch."""


def operational_metrics() -> list[Metric]:
    """Every metric of a service."""
    latency = [
        _metric(
            f"latency.p{rank}",
            "column",
            f"The latency that {rank} % of the requests stay below",
            _scalar(f"quantile_{rank}"),
            (f"quantile_{rank}",),
            unit="of the column",
        )
        for rank in (50, 95, 99)
    ]
    return [
        *latency,
        _metric(
            "error_rate",
            "column",
            "The share of true values of a yes-or-no column (1 of 0 and 1), among those that are there",
            _error_rate,
            ("n_true", "t_bool", "m_n", "mean", "min", "max"),
        ),
        _metric(
            "outlier_ratio",
            "column",
            "The share of numbers outside [q25 − 1.5 · IQR, q75 + 1.5 · IQR] of their own bucket, "
            "within the rank error of the quantile sketch",
            _scalar("outliers_iqr"),
            ("outliers_iqr",),
        ),
        _metric(
            "outlier_sigma_ratio",
            "column",
            "The share of numbers more than three standard deviations from the mean of their own bucket, "
            "within the rank error of the quantile sketch",
            _scalar("outliers_sigma"),
            ("outliers_sigma",),
        ),
        _metric(
            "throughput",
            "dataset",
            "Rows per second of the bucket",
            lambda scalars: share(scalars["n"], scalars["seconds"]),
            ("n", "seconds"),
            unit="rows per second",
        ),
        _metric(
            "input.count",
            "dataset",
            "Values in the input columns, missing ones included",
            _scalar("n_input"),
            ("n_input",),
            unit="values",
            additive=True,
        ),
        _metric(
            "output.count",
            "dataset",
            "Values in the output columns, missing ones included",
            _scalar("n_output"),
            ("n_output",),
            unit="values",
            additive=True,
        ),
        _metric(
            "profile.count",
            "dataset",
            "Files that the batch was made of",
            _scalar("files"),
            ("files",),
            unit="files",
            additive=True,
        ),
        _metric(
            "profile.first_ingestion_time",
            "dataset",
            "When the first data of the batch arrived, in seconds since 1970, UTC",
            _scalar("first_upload"),
            ("first_upload",),
            unit="seconds since 1970",
        ),
        _metric(
            "profile.last_ingestion_time",
            "dataset",
            "When the last data of the batch arrived, in seconds since 1970, UTC",
            _scalar("last_upload"),
            ("last_upload",),
            unit="seconds since 1970",
        ),
        *(
            Metric(
                name=name,
                level="dataset",
                unit="",
                kind="distribution",
                additive=False,
                needs=(),
                formula=_names(name),
                description="The names of the columns; for analyzers of the type column_list",
            )
            for name in ("column_list", "field_list")
        ),
    ]


def _metric(
    name: str,
    level: Literal["column", "dataset"],
    description: str,
    formula: Formula,
    needs: tuple[str, ...],
    *,
    unit: str = "share",
    additive: bool = False,
) -> Metric:
    return Metric(
        name=name,
        level=level,
        unit=unit,
        kind="number",
        additive=additive,
        needs=needs,
        formula=formula,
        description=description,
    )


def _scalar(name: str) -> Formula:
    return lambda scalars: np.asarray(scalars[name], np.float64)


def _names(name: str) -> Formula:
    def formula(scalars: Mapping[str, NDArray]) -> NDArray:  # noqa: ARG001
        raise UsageError(f"metric {name} is a list of columns: read the profile's columns, not its scalars")

    return formula


def _error_rate(scalars: Mapping[str, Floats]) -> Floats:
    """Of booleans the share of true ones; of numbers the mean, when none is below 0 or above 1."""
    flags = share(scalars["n_true"], scalars["t_bool"])
    numbers = np.asarray(scalars["mean"], np.float64)
    within = (np.asarray(scalars["min"]) >= 0) & (np.asarray(scalars["max"]) <= 1)
    counted = within & (np.asarray(scalars["m_n"]) > 0)
    return np.where(np.isnan(flags), np.where(counted, numbers, np.nan), flags)
