"""Seasonal forecasts: does the default agree with statsmodels on values as they are, and what does a series cost?

Real series are daily metrics of the NYC taxi files (`--data`; only simulated ones where there are none), 90 days each, in
their own units; the units of the simulated ones range from 0.001 to 10,000. A forecast agrees with statsmodels' when it
differs by at most a thousandth of the width of its 95 % interval, and the widths do, too. `together` is the share that
the default fits in a batch, because it knows of them that they agree; statsmodels fits the others. For comparison, the
share on which the maximum of the likelihood agrees. Times are CPU time with one thread, so that neither the number of
cores nor what else they do decides. `--quick` takes fewer series. Without statsmodels only the batched fit is timed.
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

from monitoring_pipeline.analysis.algorithms.forecasting import Model, forecast
from monitoring_pipeline.analysis.algorithms.sarima import (
    Forecasts,
    Lagged,
    Order,
    forecast_statsmodels,
    is_statsmodels_installed,
)
from monitoring_pipeline.analysis.algorithms.sarima_batch import forecast_batch
from monitoring_pipeline.analysis.algorithms.sarima_maximum import forecast_maximum
from monitoring_pipeline.config.analyzers import SeasonalConfig

Floats = NDArray[np.float64]

DATA = Path(__file__).parents[2] / "shared" / "data" / "nyc_taxi"
DAYS = 90
BATCH = 1000
WIDTH = 3.92
SAME = 1e-3
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
    together = forecast_batch(series, Order()).agrees
    figures["batch_of_all_ms_per_series"] = round(timed_batch(np.resize(series, (BATCH, DAYS))), 3)
    batched = timed_batch(np.resize(series[together], (BATCH, DAYS)))
    figures["batch_of_those_that_agree_ms_per_series"] = round(batched, 3)
    if is_statsmodels_installed():
        taken: list[float] = []
        for kind, values in kinds.items():
            figures[kind] = compared(values, taken)
        figures["statsmodels_ms_per_series"] = round(statistics.median(taken), 1)
        figures["statsmodels_ms_per_series_of_the_others"] = round(
            statistics.fmean(one for one, known in zip(taken, together, strict=True) if not known), 1
        )
        figures["ratio"] = round(statistics.median(taken) / batched)
    show(figures, kinds)
    print(json.dumps(figures))


def compared(series: Floats, taken: list[float]) -> dict[str, float]:
    """Shares of the series on which the default agrees, and the largest differences where it fits in a batch.

    Adds the milliseconds that statsmodels takes for each to `taken`.
    """
    theirs = alone(series, taken)
    ours = forecast_batch(series, Order())
    trailing = {"type": "TrailingWindow", "size": DAYS}
    config = SeasonalConfig.model_validate({"metric": "mean", "baseline": trailing})
    default = forecast(config, Model.of(config, season=7), series, series)
    best, _ = forecast_maximum(Lagged.of(series, Order()))
    mean, deviation = differences(ours, theirs)
    return {
        "series": len(series),
        "together": share(ours.agrees),
        "largest_forecast_difference_of_those": worst(mean[ours.agrees]),
        "largest_width_difference_of_those": worst(deviation[ours.agrees]),
        "default_agrees": agreement(Forecasts(default.mean, default.deviation), theirs),
        "maximum_of_the_likelihood_agrees": agreement(best, theirs),
    }


def differences(ours: Forecasts, theirs: Forecasts) -> tuple[Floats, Floats]:
    """Of the forecasts, in widths of their interval, and of the widths."""
    mean = np.abs(ours.mean - theirs.mean) / (WIDTH * theirs.deviation)
    return mean, np.abs(ours.deviation / theirs.deviation - 1)


def agreement(ours: Forecasts, theirs: Forecasts) -> float:
    mean, deviation = differences(ours, theirs)
    return share((mean <= SAME) & (deviation <= SAME))


def alone(series: Floats, taken: list[float]) -> Forecasts:
    """Each series by statsmodels, as it is."""
    found = []
    for values in series:
        began = time.process_time()
        found.append(forecast_statsmodels(values, Order()))
        taken.append((time.process_time() - began) * 1000)
    return Forecasts(
        np.concatenate([one.mean for one in found]), np.concatenate([one.deviation for one in found])
    )


def share(mask: NDArray[np.bool_]) -> float:
    return round(float(mask.mean()), 4)


def worst(differences: Floats) -> float:
    return float(f"{differences.max():.1e}")


def timed_batch(series: Floats) -> float:
    """CPU milliseconds per series of a batch, the median of five."""
    taken = []
    for _ in range(5):
        began = time.process_time()
        forecast_batch(series, Order())
        taken.append(time.process_time() - began)
    return statistics.median(taken) * 1000 / len(series)


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
