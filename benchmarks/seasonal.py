"""Seasonal forecasts: do the batched fit and statsmodels agree, and what does a series cost with each?

Real series are daily metrics of the NYC taxi files (`--data`; only simulated ones where there are none), 90 days each.
statsmodels is asked twice: for values in units of their deviation, where its optimiser reaches the maximum, and for the
values as they are, as the reference platform does. Agreement means: forecasts within 1 % of the forecast's deviation,
and deviations within 1 %. Times are medians of CPU time with one thread, so that neither the number of cores nor what
else they do decides. `--quick` takes fewer series. Without statsmodels only the batched fit is timed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from monitoring_pipeline.analysis.algorithms.sarima import (
    Forecasts,
    Order,
    forecast_batch,
    forecast_statsmodels,
    is_statsmodels_installed,
)

Floats = NDArray[np.float64]

DATA = Path(__file__).parents[2] / "shared" / "data" / "nyc_taxi"
DAYS = 90
BATCH = 1000
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data", type=Path, default=DATA)
    arguments = parser.parse_args()
    if not ONE_THREAD.items() <= os.environ.items():
        # The libraries read this when they are imported, which has happened by now.
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ONE_THREAD})  # noqa: S606
    count = 15 if arguments.quick else 100
    kinds = {"simulated": simulated(count, seed=1)}
    files = sorted(arguments.data.glob("*.parquet"))
    if files:
        kinds["taxi"] = windows(daily_metrics(files), count, seed=0)
    figures: dict[str, object] = {"benchmark": "seasonal", "days": DAYS, "order": str(Order())}
    series = np.concatenate(list(kinds.values()))
    batched = timed_batch(np.resize(series, (BATCH, DAYS)))
    figures["batched_cpu_ms_per_series"] = round(batched, 4)
    if is_statsmodels_installed():
        for kind, values in kinds.items():
            figures[kind] = compared(values)
        milliseconds = timed_alone(series[:: len(series) // 15])
        figures["statsmodels_cpu_ms_per_series"] = round(milliseconds, 1)
        figures["ratio"] = round(milliseconds / batched)
    show(figures, kinds)
    print(json.dumps(figures))


def compared(series: Floats) -> dict[str, float]:
    """Shares of the series on which the engines agree, and the largest differences from statsmodels' maximum."""
    ours = forecast_batch(series, Order())
    best, plain = alone(series, scaled=True), alone(series, scaled=False)
    explained = DAYS - Order().lead
    return {
        "series": len(series),
        "agree": agreement(ours, best),
        "largest_forecast_difference": worst(np.abs(ours.mean - best.mean) / best.deviation),
        "largest_deviation_difference": worst(np.abs(ours.deviation / best.deviation - 1)),
        "agree_with_plain_values": agreement(ours, plain),
        "plain_values_below_the_maximum": share(explained * np.log(plain.deviation / ours.deviation) > 0.01),
    }


def agreement(ours: Forecasts, theirs: Forecasts) -> float:
    """Share of the series with the same forecast and deviation, to 1 % of the deviation."""
    mean = np.abs(ours.mean - theirs.mean) <= 0.01 * theirs.deviation
    return share(mean & (np.abs(ours.deviation / theirs.deviation - 1) <= 0.01))


def alone(series: Floats, *, scaled: bool) -> Forecasts:
    """Each series by statsmodels."""
    found = [forecast_statsmodels(values, Order(), scaled=scaled) for values in series]
    return Forecasts(
        np.concatenate([one.mean for one in found]), np.concatenate([one.deviation for one in found])
    )


def share(mask: NDArray[np.bool_]) -> float:
    return round(float(mask.mean()), 4)


def worst(differences: Floats) -> float:
    return float(f"{differences.max():.1e}")


def timed_batch(series: Floats) -> float:
    """CPU milliseconds per series of a batch, the median of nine."""
    taken = []
    for _ in range(9):
        began = time.process_time()
        forecast_batch(series, Order())
        taken.append(time.process_time() - began)
    return statistics.median(taken) * 1000 / len(series)


def timed_alone(series: Floats) -> float:
    """CPU milliseconds per series with statsmodels, values as they are, the median of the series."""
    taken = []
    for values in series:
        began = time.process_time()
        forecast_statsmodels(values, Order(), scaled=False)
        taken.append(time.process_time() - began)
    return statistics.median(taken) * 1000


def daily_metrics(files: list[Path]) -> Floats:
    """Rows, null ratios, means and sums of the numeric columns per day, (n_metrics, n_days); NaN where unknown."""
    trips = pa.concat_tables([pq.read_table(file) for file in files], promote_options="permissive")
    moments = pc.cast(trips["pickup_datetime"], pa.timestamp("us")).to_numpy()
    first = np.datetime64(files[0].stem + "-01")
    days = (moments.astype("datetime64[D]") - first).astype(np.int64)
    last = (np.datetime64(files[-1].stem, "M") + 1).astype("datetime64[D]")
    n_days = int((last - first).astype(np.int64))
    meant = (days >= 0) & (days < n_days)
    days = days[meant]
    rows = np.bincount(days, minlength=n_days).astype(np.float64)
    metrics = [rows]
    for name in trips.column_names:
        if pa.types.is_integer(trips[name].type) or pa.types.is_floating(trips[name].type):
            values = trips[name].to_numpy().astype(np.float64)[meant]
            known = ~np.isnan(values)
            counts = np.bincount(days[known], minlength=n_days)
            sums = np.bincount(days[known], weights=values[known], minlength=n_days)
            with np.errstate(invalid="ignore", divide="ignore"):
                metrics += [1 - counts / rows, sums / counts, sums]
    return np.array(metrics)


def windows(metrics: Floats, count: int, *, seed: int) -> Floats:
    """Random windows with at least ten distinct values and none missing, (count, 90)."""
    random = np.random.default_rng(seed)
    found: list[Floats] = []
    while len(found) < count:
        start = random.integers(metrics.shape[1] - DAYS)
        window = metrics[random.integers(len(metrics)), start : start + DAYS]
        if not np.isnan(window).any() and len(np.unique(window)) >= 10:
            found.append(window)
    return np.array(found)


def simulated(count: int, *, seed: int) -> Floats:
    """Series of the model with random coefficients and deviations from 0.001 to 10,000, (count, 90)."""
    random = np.random.default_rng(seed)
    phi, first, second = (
        random.uniform(*range_, count) for range_ in ((-0.3, 0.9), (-0.8, 0.2), (-0.6, 0.2))
    )
    unit = 10.0 ** random.uniform(-3, 4, count)
    shocks, before = random.normal(size=(300, count)), 200
    changes = np.zeros_like(shocks)
    for at in range(15, len(shocks)):
        changes[at] = (
            phi * changes[at - 1]
            + first * (changes[at - 7] - phi * changes[at - 8])
            + second * (changes[at - 14] - phi * changes[at - 15])
            + shocks[at]
        )
    values = np.empty((DAYS, count))
    values[:7] = random.normal(20, 5, size=(7, count))
    for at in range(7, DAYS):
        values[at] = values[at - 7] + changes[before + at]
    return np.ascontiguousarray((values * unit).T)


def show(figures: dict[str, object], kinds: dict[str, Floats]) -> None:
    table = Table("what", "figure")
    for name, value in figures.items():
        if name in kinds and isinstance(value, dict):
            for figure, number in value.items():
                table.add_row(f"{name}: {figure.replace('_', ' ')}", f"{number:g}")
        else:
            table.add_row(name.replace("_", " "), str(value))
    Console().print(table)


if __name__ == "__main__":
    main()
