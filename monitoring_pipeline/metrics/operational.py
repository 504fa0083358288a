"""How a service runs: latency, throughput, errors, outliers; and how much arrived, when, of what.

Latency and error rate are metrics of whichever column holds them. What is told by a batch (`files`, `first_upload`,
`last_upload`, `seconds`), by counting other columns (`n_input`, `n_output`) or only by a quantile sketch (`outliers_*`)
is a scalar like those of the store, under the names given here; whoever reads a series provides it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Final

import numpy as np

from monitoring_pipeline.metrics.metric import Floats, Metric, elsewhere, number, share

BATCH_SCALARS: Final = ("files", "first_upload", "last_upload", "seconds")
"""Files that a bucket was made of, first and last upload in seconds since 1970, and the bucket's length in seconds."""

COLUMN_SUMS: Final = ("n_input", "n_output")
"""Values of all input columns, and of all output columns, of a segment."""

OUTLIER_SCALARS: Final = ("outliers_iqr", "outliers_sigma")
"""Shares of a column's numbers that lie far from the others, read off its quantile sketch."""


_of_column = partial(number, level="column")
_of_dataset = partial(number, level="dataset")


def operational_metrics() -> list[Metric]:
    """Every metric of a service."""
    return [*_service(), *_outliers(), *_arrivals(), *_names()]


def _service() -> Iterator[Metric]:
    for rank in (50, 95, 99):
        yield _of_column(
            f"latency.p{rank}",
            f"The latency that {rank} % of the requests stay below",
            needs=(f"quantile_{rank}",),
            unit="of the column",
        )
    yield _of_column(
        "error_rate",
        "The share of true values of a yes-or-no column (1 of 0 and 1), among those that are there",
        needs=("n_true", "t_bool", "m_n", "mean", "min", "max"),
        formula=_error_rate,
    )
    yield _of_dataset(
        "throughput",
        "Rows per second of the bucket",
        needs=("n", "seconds"),
        formula=lambda scalars: share(scalars["n"], scalars["seconds"]),
        unit="rows per second",
    )


def _outliers() -> Iterator[Metric]:
    """Tukey's fences (1977) and the z-score, both by the quartiles or moments of the very numbers that are judged."""
    within = "of their own bucket, within the rank error of the quantile sketch"
    for name, scalar, where in (
        ("outlier", "outliers_iqr", "outside [q25 − 1.5 · IQR, q75 + 1.5 · IQR]"),
        (
            "outlier_sigma",
            "outliers_sigma",
            "whose z-score is beyond ±3, so more than three standard deviations from the mean",
        ),
    ):
        yield _of_column(f"{name}_ratio", f"The share of numbers {where} {within}", needs=(scalar,))
        yield _of_column(
            f"{name}_count",
            f"How many numbers there are {where} {within}",
            needs=(scalar, "m_n"),
            formula=partial(_as_many, scalar),
            unit="values",
        )


def _arrivals() -> Iterator[Metric]:
    add_up = partial(_of_dataset, additive=True)
    for what in ("input", "output"):
        yield add_up(
            f"{what}.count",
            f"Values in the {what} columns, missing ones included, without those of late outcomes",
            needs=(f"n_{what}",),
            unit="values",
        )
    yield add_up("profile.count", "Files that the batch was made of", needs=("files",), unit="files")
    for which in ("first", "last"):
        yield _of_dataset(
            f"profile.{which}_ingestion_time",
            f"When the {which} data of the batch arrived, in seconds since 1970, UTC",
            needs=(f"{which}_upload",),
            unit="seconds since 1970",
        )


def _names() -> Iterator[Metric]:
    for name in ("column_list", "field_list"):
        yield elsewhere(
            name,
            "The names of the columns; for analyzers of the type column_list",
            level="dataset",
            where="is a list of columns: read the profile's columns, not its scalars",
        )


def _error_rate(scalars: Mapping[str, Floats]) -> Floats:
    """Of booleans the share of true ones; of numbers the mean, when none is below 0 or above 1."""
    flags = share(scalars["n_true"], scalars["t_bool"])
    numbers = np.asarray(scalars["mean"], np.float64)
    within = (np.asarray(scalars["min"]) >= 0) & (np.asarray(scalars["max"]) <= 1)
    counted = within & (np.asarray(scalars["m_n"]) > 0)
    return np.where(np.isnan(flags), np.where(counted, numbers, np.nan), flags)


def _as_many(scalar: str, scalars: Mapping[str, Floats]) -> Floats:
    """A share of the finite numbers as how many of them."""
    return np.rint(scalars[scalar] * scalars["m_n"])
