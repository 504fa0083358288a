"""Cases about one formula: distances, outliers, forecasts, healed baselines, bounds, and which values can be compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.analysis.algorithms import drift, registry
from monitoring_pipeline.analysis.distances import DISTANCES, wasserstein
from monitoring_pipeline.analysis.distributions import frequencies, histograms, steps
from monitoring_pipeline.analysis.engine import unable
from monitoring_pipeline.analysis.grubbs import without_outliers
from monitoring_pipeline.analysis.healing import Healing, heal
from monitoring_pipeline.analysis.verdicts import Context, binning_of, judge
from monitoring_pipeline.config.analyzers import StddevConfig
from monitoring_pipeline.metrics import metric
from monitoring_pipeline.timegrid import Granularity
from monitoring_pipeline_tests.conformance.calculations import side
from monitoring_pipeline_tests.conformance.cases import Case
from monitoring_pipeline_tests.conformance.comparing import Check, Unknown, compare, number
from monitoring_pipeline_tests.conformance.vocabulary import config_of, document_of, is_items, moment_of

NAN = float("nan")

_LONG = ("unique_lower", "unique_upper", "missingDatapoint", "secondsSinceLastUpload")
"""Metrics that are whole numbers in the reference; here every number is a double."""


def min_max(case: Case) -> Iterator[Check]:
    """Fixed bounds."""
    config = config_of({"type": "fixed", "lower": case["min"], "upper": case["max"]})
    algorithm = registry().find("fixed")
    assert algorithm is not None
    verdicts = judge(algorithm, config, np.array([[number(case["value"])]]), np.empty((1, 1, 0)), _context())
    yield from compare(case, {"alert": bool(verdicts.anomaly[0, 0])})


def distance(case: Case) -> Iterator[Check]:
    """A distance between two rows of probabilities."""
    p, q = (np.array([number(one) for one in case[name]]) for name in ("p1", "p2"))
    name = str(case["algorithm"])
    if name == "wasserstein":
        found = wasserstein(p, q, np.array([number(one) for one in case["positions"]]))
    else:
        found = DISTANCES[name](p, q)
    yield from compare(case, {"distance": float(found), "no_exception": bool(np.isfinite(found))})


def distance_sketch(case: Case) -> Iterator[Check]:
    """A distance between two sketches, over the bins that they share; both ways round."""
    sides = [side([case["a"]]), side([case["b"]])]
    of_items = is_items(case["a"]) or is_items(case["b"])
    config = config_of(
        {
            "type": "drift",
            "metric": "frequent_items" if of_items else "histogram",
            "algorithm": case["algorithm"],
        }
    )
    found: list[float] = []
    for baseline, target in (sides, sides[::-1]):
        positions = None
        if of_items:
            ours, theirs = frequencies(target, baseline)
        elif binning_of(drift, config) == "steps":
            ours, theirs, places = steps(target, baseline)
            positions = places[None]
        else:
            ours, theirs = histograms(target, baseline)
        verdicts = judge(drift, config, ours[None], theirs[None], _context(positions))
        found.append(float(verdicts.value[0, 0]))
    same = abs(found[0] - found[1]) <= max(float(case.get("tolerance", 0)), 1e-12) or found[0] != found[0]
    yield from compare(case, {"distance": found[0], "symmetric": same, "no_exception": True})


def grubb(case: Case) -> Iterator[Check]:
    """Grubbs' test, repeated until nothing is found."""
    given = {**case.data, **case.inputs}
    values = [number(one) for one in _numbers(given)]
    significance = number(given.get("significance", given.get("grubbSignificance", 0.95)))
    found = without_outliers(np.array(values), significance=significance)
    kept = [value for value in found.tolist() if not np.isnan(value)]
    removed = [value for value, now in zip(values, found.tolist(), strict=True) if np.isnan(now)]
    names: dict[str, object] = dict.fromkeys(
        ("remaining", "filtered", "kept", "result", "values", "output"), kept
    )
    alike = kept[0] if len(set(kept)) == 1 else Unknown("the values that remain differ")
    names |= dict.fromkeys(("every_item", "everyItem", "all", "all_equal", "every"), alike)
    names |= dict.fromkeys(("removed", "outliers"), removed)
    yield from compare(
        case,
        {
            **names,
            "outlier": removed[0] if removed else None,
            "is_outlier": bool(removed),
            "count": len(kept),
            "size": len(kept),
            "remaining_count": len(kept),
            "removed_count": len(removed),
        },
    )


def _numbers(given: Mapping[str, Any]) -> list[Any]:
    """The one list of a case, whatever it calls it: numbers, or [timestamp, number] pairs."""
    lists = [value for name, value in given.items() if isinstance(value, list) and name != "checks"]
    if len(lists) != 1:
        raise KeyError("one list of values")
    return [one[1] if isinstance(one, list) else one for one in lists[0]]


def arima(case: Case) -> Iterator[Check]:
    """A seasonal forecast and its bounds."""
    params = {name: str(value) for name, value in (case.get("params") or {}).items()}
    ranges = [
        dict(zip(("start", "end"), one.split(":"), strict=True)) for one in case.get("eventPeriods", [])
    ]
    config = config_of(
        {
            "type": "seasonal",
            "stddevTimeRanges": ranges,
            "stddevFactor": case.get("stddevFactor", 1.0),
            "minBatchSize": 1,
            "params": params,
        }
    )
    grid = Granularity.parse(case.get("granularity", "daily"))
    values = np.array([number(one) for one in case["values"]])
    first = grid.index(moment_of(case["timestamps"][0]))
    algorithm = registry().find("seasonal")
    assert algorithm is not None
    earlier = {
        (("", "column"), grid.index(moment_of(prior["ts"]))): {"seasonal_replacement": prior["replacement"]}
        for prior in case.get("priors", [])
        if prior.get("shouldReplace")
    }
    context = Context(
        analyzer_id="analyzer",
        granularity=grid,
        keys=(("", "column"),),
        targets=np.array([first + len(values)]),
        baseline_starts=np.array([first]),
        earlier=earlier,
    )
    actual = number(case.get("actual"))
    verdicts = judge(algorithm, config, np.array([[actual]]), values[None, None], context)
    forecast = _column(verdicts.columns["forecast"])
    lower, upper = float(verdicts.lower[0, 0]), float(verdicts.upper[0, 0])
    alert = int(verdicts.anomaly[0, 0])
    yield from compare(
        case, {"value": forecast, "lower": lower, "upper": upper, "alertCount": alert, "alert_status": alert}
    )


def replay(case: Case) -> Iterator[Check]:
    """A series walked in order, anomalies replaced on the way."""
    series = np.array([number(value) for _, value in case["series"]])
    config = config_of(case["analyzer"], buckets=len(series))
    assert isinstance(config, StddevConfig)
    healing = Healing.of(config.params)
    draws = (case.get("java_random") or {}).get("mean_of_10_uniforms")
    # Every earlier value is baseline there, and each replacement takes the next of the given draws.
    values = np.concatenate([np.full(len(series), NAN), series])[None, None]
    taken: dict[int, float] = {}

    def draw(where: NDArray[np.bool_], at: int) -> NDArray[np.float64]:
        if where.any():
            taken[at] = float(draws[len(taken)]) if draws else 0.5
        return np.full(where.shape, taken.get(at, NAN))

    healed = heal(config, healing, values, window=len(series), lag=0, draw=draw)[0, 0, len(series) :]
    replaced = int((~np.isclose(healed, series, rtol=0, atol=0, equal_nan=True)).sum())
    yield from compare(case, {"non_null_replacement_values": replaced})


def calculation_type(case: Case) -> Iterator[Check]:
    """Which type of value an analyzer judges; null for one that cannot run."""
    document = document_of([case["analyzer"]], granularity=case.get("granularity", "daily"))
    [analyzer] = document.analyzers
    value_type = None
    if not unable(document):
        judged = metric(str(analyzer.metric))
        value_type = {"number": "double", "text": "string"}.get(judged.kind, judged.kind)
        value_type = "long" if judged.name in _LONG else value_type
    config = analyzer.config.model_dump(mode="json", by_alias=True)
    yield from compare(case, {**config, "value_type": value_type})


def _context(positions: NDArray[np.float64] | None = None) -> Context:
    return Context(
        analyzer_id="analyzer",
        granularity=Granularity.DAILY,
        keys=(("", "column"),),
        targets=np.array([0]),
        positions=positions,
    )


def _column(column: Any) -> float:
    return float(column[0, 0]) if isinstance(column, np.ndarray) else float(column)
