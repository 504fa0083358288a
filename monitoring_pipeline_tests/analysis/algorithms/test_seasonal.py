from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring_pipeline.analysis.algorithms import forecasting, seasonal
from monitoring_pipeline.analysis.algorithms.sarima import Order, forecast_statsmodels
from monitoring_pipeline.analysis.algorithms.sarima_batch import forecast_batch
from monitoring_pipeline.analysis.draws import uniforms
from monitoring_pipeline.analysis.result import FailureType
from monitoring_pipeline.analysis.verdicts import Context, Floats, Verdicts
from monitoring_pipeline.config.analyzers import SeasonalConfig
from monitoring_pipeline.errors import AnalysisError
from monitoring_pipeline.timegrid import Granularity
from monitoring_pipeline_tests.analysis.algorithms.test_sarima import simulated
from monitoring_pipeline_tests.conformance.cases import ROOT, Case, cases_of

FIRST = Granularity.DAILY.index(datetime(2026, 1, 1, tzinfo=UTC))


def config_of(**given: object) -> SeasonalConfig:
    baseline = {"type": "TrailingWindow", "size": 90}
    return SeasonalConfig.model_validate({"metric": "mean", "stddevFactor": 3, "baseline": baseline, **given})


def context_of(
    n_series: int = 1,
    targets: range = range(90, 91),
    *,
    size: int = 90,
    first: int = FIRST,
    granularity: Granularity = Granularity.DAILY,
    **given: Any,
) -> Context:
    return Context(
        analyzer_id="taxi-mean",
        granularity=granularity,
        keys=tuple(("", f"column-{row}") for row in range(n_series)),
        targets=first + np.array(targets),
        baseline_starts=first + np.array(targets) - size,
        **given,
    )


def judge(config: SeasonalConfig, series: Floats, target: float, context: Context | None = None) -> Verdicts:
    """One target after each series (n_series, n_window)."""
    context = context or context_of(len(series), size=series.shape[1])
    return seasonal.evaluate(config, np.full((len(series), 1), target), series[:, None, :], context=context)


def walked(
    config: SeasonalConfig, values: Floats, targets: range, *, size: int = 60, **given: Any
) -> Verdicts:
    """Targets of `values` (n_series, n_buckets), each against the `size` values before it."""
    baseline = np.stack([values[:, at - size : at] for at in targets], axis=1)
    context = context_of(len(values), targets, size=size, **given)
    return seasonal.evaluate(config, values[:, targets], baseline, context=context)


def day(number: int) -> str:
    return Granularity.DAILY.start(FIRST + number).isoformat()


def event(start: int, end: int) -> dict[str, str]:
    return {"start": day(start), "end": day(end)}


# --- the reference ------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not ROOT.is_dir(), reason=f"no conformance vectors at {ROOT}")
@pytest.mark.parametrize("engine", [None, "batched", "statsmodels"])
@pytest.mark.parametrize("file", ["PyArimaFunctionTest", "test_arima_api", "test_pmdarima_func"])
def test_agrees_with_the_reference(file: str, engine: str | None) -> None:
    if engine == "statsmodels":
        pytest.importorskip("statsmodels")
    for case in cases_of(ROOT / "analysis" / f"{file}.json"):
        if case.kind != "arima":
            continue
        verdicts = of_case(case, **({"engine": engine} if engine else {}))
        tolerance = {"abs": case.get("tolerance"), "rel": case.get("tolerance_rel")}
        assert verdicts.columns["forecast"][0, 0] == pytest.approx(case.expected["value"], **tolerance)
        if "lower" in case.expected:
            assert verdicts.lower[0, 0] == pytest.approx(case.expected["lower"], **tolerance)
            assert verdicts.upper[0, 0] == pytest.approx(case.expected["upper"], **tolerance)
        assert verdicts.anomaly[0, 0]
        assert verdicts.columns["algorithm_mode"][0, 0] == (engine or "batched")


def of_case(case: Case, **params: str) -> Verdicts:
    ranges = [dict(zip(("start", "end"), one.split(":"), strict=True)) for one in case["eventPeriods"]]
    given = {name: str(value) for name, value in case["params"].items()}
    config = config_of(stddevFactor=case["stddevFactor"], stddevTimeRanges=ranges, params={**given, **params})
    first = Granularity.DAILY.index(datetime.fromtimestamp(case["timestamps"][0] / 1000, UTC))
    return judge(config, np.array([case["values"]]), case["actual"], context_of(first=first))


# --- bounds -------------------------------------------------------------------------------------------------------


def test_bounds_are_the_models_interval() -> None:
    series = simulated(5, 90, seed=1)
    expected = forecast_batch(series, Order())
    verdicts = judge(config_of(stddevFactor=100), series, 0.0)
    assert verdicts.lower[:, 0] == pytest.approx(expected.mean - 1.959964 * expected.deviation, rel=1e-6)
    assert verdicts.upper[:, 0] == pytest.approx(expected.mean + 1.959964 * expected.deviation, rel=1e-6)
    assert set(verdicts.columns["algorithm_mode"].ravel()) == {"batched"}


@pytest.mark.parametrize("given", [{"alpha": 0.3173}, {"params": {"alpha": "0.3173"}}])
def test_a_larger_alpha_gives_a_narrower_interval(given: dict[str, Any]) -> None:
    series = simulated(1, 90, seed=1)
    expected = forecast_batch(series, Order())
    verdicts = judge(config_of(stddevFactor=100, **given), series, 0.0)
    # Two thirds of a normal distribution lie within one deviation.
    assert verdicts.upper[0, 0] - verdicts.lower[0, 0] == pytest.approx(2 * expected.deviation[0], rel=1e-3)


def test_bounds_are_clamped_to_standard_deviations_of_the_baseline_around_the_forecast() -> None:
    series = simulated(1, 90, seed=1)
    verdicts = judge(config_of(stddevFactor=0.1), series, 0.0)
    forecast = verdicts.columns["forecast"][0, 0]
    assert verdicts.upper[0, 0] == pytest.approx(forecast + 0.1 * np.std(series, ddof=1))
    assert verdicts.lower[0, 0] == pytest.approx(forecast - 0.1 * np.std(series, ddof=1))


def test_a_forecast_far_outside_of_what_was_seen_gives_way_to_the_median() -> None:
    growing = 2.0 ** np.arange(40.0)[None]
    verdicts = judge(config_of(stddevFactor=0.05), growing, 0.0)
    assert verdicts.columns["algorithm_mode"][0, 0] == "median"
    assert "far outside" in verdicts.columns["model_note"][0, 0]


def test_static_thresholds_limit_the_bounds() -> None:
    series = simulated(1, 90, seed=1)
    free = judge(config_of(), series, 0.0)
    low, high = free.lower[0, 0] + 0.1, free.upper[0, 0] - 0.1
    verdicts = judge(config_of(minLowerThreshold=low, maxUpperThreshold=high), series, 0.0)
    assert (verdicts.lower[0, 0], verdicts.upper[0, 0]) == (low, high)
    crossed = judge(config_of(minLowerThreshold=5, maxUpperThreshold=1), series, 0.0)
    assert crossed.explanation[0, 0] == "minLowerThreshold 5 exceeds maxUpperThreshold 1"


@pytest.mark.parametrize(
    ("side", "high", "low"), [(None, True, True), ("upper", True, False), ("lower", False, True)]
)
def test_only_the_asked_side_alerts(side: str | None, high: bool, low: bool) -> None:
    series = simulated(1, 90, seed=1)
    config = config_of(thresholdType=side)
    assert judge(config, series, 1e9).anomaly[0, 0] == high
    assert judge(config, series, -1e9).anomaly[0, 0] == low


def test_any_change_of_a_constant_is_an_anomaly() -> None:
    series = np.full((1, 90), 0.1)
    assert not judge(config_of(), series, 0.1).anomaly[0, 0]
    assert judge(config_of(), series, 0.1 + 1e-9).anomaly[0, 0]


# --- what the model is trained on -----------------------------------------------------------------------------------


def test_missing_values_take_the_one_before() -> None:
    series = simulated(1, 90, seed=2)
    holes, filled = series.copy(), series.copy()
    holes[0, [40, 41]], filled[0, [40, 41]] = [np.nan, np.inf], series[0, 39]
    assert judge(config_of(), holes, 0.0).lower[0, 0] == judge(config_of(), filled, 0.0).lower[0, 0]


def test_the_season_is_that_of_the_granularity_unless_it_is_given() -> None:
    series = simulated(1, 170, seed=3)
    seasons = {Granularity.DAILY: 7, Granularity.HOURLY: 24, Granularity.WEEKLY: 52, Granularity.MONTHLY: 12}
    for granularity, season in seasons.items():
        context = context_of(granularity=granularity, targets=range(170, 171), size=170, first=0)
        verdicts = judge(config_of(stddevFactor=100), series, 0.0, context)
        expected = forecast_batch(series, Order(season=season))
        assert verdicts.columns["forecast"][0, 0] == pytest.approx(expected.mean[0])
        assert verdicts.columns["model"] == f"(1,0,0)(2,1,0)[{season}]"
    verdicts = judge(config_of(params={"m": "5", "p": "2", "P": "1"}), series, 0.0)
    assert verdicts.columns["model"] == "(2,0,0)(1,1,0)[5]"


@pytest.mark.parametrize("length", [7, 10])
def test_buckets_of_time_ranges_are_cut_out_in_whole_seasons(length: int) -> None:
    series = simulated(1, 90, seed=4)
    odd = series.copy()
    odd[0, 50 : 50 + length] = 1e6
    verdicts = judge(config_of(stddevTimeRanges=[event(50, 50 + length)], stddevFactor=100), odd, 0.0)
    cut = 50 + length - 7 * -(-length // 7), 50 + length
    expected = forecast_batch(np.delete(series, np.s_[slice(*cut)], axis=1), Order())
    assert verdicts.columns["forecast"][0, 0] == pytest.approx(expected.mean[0])


def test_a_target_inside_a_time_range_is_compared_with_everything() -> None:
    series = simulated(1, 90, seed=4)
    inside = judge(config_of(stddevTimeRanges=[event(70, 100)]), series, 0.0)
    assert inside.columns["forecast"][0, 0] == judge(config_of(), series, 0.0).columns["forecast"][0, 0]


def test_the_forecast_goes_as_far_as_the_target_is_from_the_baseline() -> None:
    series = simulated(1, 90, seed=5)
    context = context_of(targets=range(92, 93), size=92)
    verdicts = judge(config_of(stddevFactor=100), series, 0.0, context)
    assert verdicts.columns["forecast"][0, 0] == pytest.approx(
        forecast_batch(series, Order(), steps=3).mean[0]
    )


# --- without a model ------------------------------------------------------------------------------------------------


def test_a_baseline_too_short_for_the_season_gives_bounds_around_the_median_and_says_so() -> None:
    series = simulated(1, 90, seed=6)
    verdicts = judge(config_of(stddevFactor=2), series, 0.0, context_of(granularity=Granularity.WEEKLY))
    centre, spread = np.median(series[0, -30:]), 2 * np.std(series[0])
    assert verdicts.lower[0, 0] == pytest.approx(centre - spread)
    assert verdicts.upper[0, 0] == pytest.approx(centre + spread)
    assert verdicts.columns["algorithm_mode"][0, 0] == "median"
    assert verdicts.columns["model_note"][0, 0] == (
        "median of the last 30 values instead of the model (1,0,0)(2,1,0)[52]: "
        "it needs 165 values to learn from, and there are 90"
    )
    assert verdicts.failure[0, 0] is None
    assert verdicts.anomaly[0, 0]


def test_a_moving_average_without_statsmodels_gives_bounds_around_the_median(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forecasting, "is_statsmodels_installed", lambda: False)
    verdicts = judge(config_of(params={"q": "1"}), simulated(1, 90, seed=6), 0.0)
    assert verdicts.columns["algorithm_mode"][0, 0] == "median"
    assert "statsmodels, which could fit it, is not installed" in verdicts.columns["model_note"][0, 0]
    with pytest.raises(AnalysisError, match=r"pip install 'monitoring-pipeline\[seasonal\]'"):
        judge(config_of(params={"engine": "statsmodels"}), simulated(1, 90, seed=6), 0.0)


def test_a_moving_average_is_fitted_by_statsmodels() -> None:
    pytest.importorskip("statsmodels")
    verdicts = judge(config_of(params={"q": "1"}), simulated(1, 45, seed=6), 0.0)
    assert verdicts.columns["algorithm_mode"][0, 0] == "statsmodels"
    assert verdicts.columns["model_note"][0, 0] == "fitted by statsmodels: it has a moving-average part"


def test_statsmodels_fits_those_series_alone_for_which_rounding_decides_about_its_answer() -> None:
    pytest.importorskip("statsmodels")
    series = simulated(2, 40, seed=6) * np.array([[1.0], [1e-5]])
    columns = judge(config_of(stddevFactor=100), series, 0.0).columns
    assert columns["algorithm_mode"][:, 0].tolist() == ["batched", "statsmodels"]
    assert columns["model_note"][:, 0].tolist() == [
        None,
        "fitted by statsmodels: rounding decides about statsmodels' answer",
    ]
    alone = forecast_statsmodels(series[1], Order())
    assert columns["forecast"][1, 0] == alone.mean[0]
    assert columns["forecast_deviation"][1, 0] == alone.deviation[0]


@pytest.mark.parametrize("engine", [None, "batched"])
def test_without_statsmodels_they_are_fitted_at_the_maximum_and_the_result_says_so(
    monkeypatch: pytest.MonkeyPatch, engine: str | None
) -> None:
    if engine is None:
        monkeypatch.setattr(forecasting, "is_statsmodels_installed", lambda: False)
    series = simulated(1, 90, seed=6) * 1e-5
    columns = judge(config_of(params={"engine": engine} if engine else {}), series, 0.0).columns
    assert columns["algorithm_mode"][0, 0] == "batched"
    assert columns["model_note"][0, 0] == (
        "the maximum of the likelihood: rounding decides about statsmodels' answer"
    )
    assert columns["forecast"][0, 0] == forecast_batch(series, Order()).mean[0]


@given(
    unit=st.sampled_from([1e-300, 1e-30, 1e-9, 1e-3, 1.0, 1e6, 1e30, 1e300]),
    kind=st.sampled_from(["noise", "constant", "steps", "spike", "line", "growth", "two values", "model"]),
    missing=st.floats(0, 0.7),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_whatever_the_baseline_there_is_a_verdict_or_a_reason(
    unit: float, kind: str, missing: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    at = np.arange(90.0)
    shapes = {
        "noise": random.normal(size=90),
        "constant": np.full(90, 3.0),
        "steps": np.floor(at / 13),
        "spike": (at == 40.0) * 1.0,
        "line": 2 * at,
        "growth": 1.1**at,
        "two values": random.integers(2, size=90) * 1.0,
        "model": simulated(1, 90, seed=seed)[0],
    }
    series = shapes[kind] * unit
    series[random.random(90) < missing] = np.nan
    verdicts = judge(config_of(params={"engine": "batched"}), series[None], 0.0)
    if (~np.isnan(series)).sum() < 30:
        assert verdicts.failure[0, 0] is FailureType.CALCULATION_EXCEPTION
        assert "at least 30 values" in verdicts.explanation[0, 0]
        return
    assert verdicts.failure[0, 0] is None
    assert verdicts.lower[0, 0] <= verdicts.upper[0, 0]
    engine = verdicts.columns["algorithm_mode"][0, 0]
    assert engine == "batched" or (engine == "median" and verdicts.columns["model_note"][0, 0])


@pytest.mark.parametrize("unit", [1e-200, 1e-12, 1e150])
def test_values_that_statsmodels_cannot_fit_have_bounds_too(unit: float) -> None:
    verdicts = judge(config_of(), simulated(1, 40, seed=6) * unit, 0.0)
    assert np.isfinite(verdicts.lower[0, 0])
    assert verdicts.lower[0, 0] <= verdicts.upper[0, 0]


def test_too_few_values_and_too_short_windows_are_failures() -> None:
    series = simulated(1, 90, seed=7)
    series[0, :61] = np.nan
    verdicts = judge(config_of(), series, 1e9)
    assert verdicts.explanation[0, 0] == (
        "Calculation requires at least 30 values in the baseline (minBatchSize); it has 29"
    )
    assert not verdicts.anomaly[0, 0]
    short = judge(config_of(minBatchSize=7), series[:, -29:], 1e9)
    assert short.failure[0, 0] is FailureType.CALCULATION_EXCEPTION
    assert "at least 30 buckets" in short.explanation[0, 0]


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({"p": "one"}, "params.p is 'one'"),
        ({"m": "1"}, "params.m"),
        ({"alpha": "2"}, "params.alpha"),
        ({"engine": "fast"}, "params.engine is 'fast'; accepted: auto, batched or statsmodels"),
    ],
)
def test_parameters_that_cannot_be_used_are_refused(params: dict[str, str], found: str) -> None:
    with pytest.raises(AnalysisError, match=found):
        judge(config_of(params=params), simulated(1, 90, seed=7), 0.0)


# --- replacement ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ranges", "share"), [([], 0.5), ([event(90, 91)], 0.8)])
def test_anomalies_are_replaced_with_the_documented_probability(
    ranges: list[dict[str, str]], share: float
) -> None:
    series = np.repeat(simulated(1, 90, seed=8), 2000, axis=0)
    columns = judge(config_of(stddevTimeRanges=ranges), series, 1e9).columns
    replaced = columns["seasonal_should_replace"].astype(bool)
    # Four standard errors of a share of 2,000 are at most 0.045.
    assert replaced.mean() == pytest.approx(share, abs=0.045)
    assert columns["seasonal_lambda_keep"][0, 0] == pytest.approx(1 - share)
    value = columns["seasonal_replacement"]
    lower, upper = columns["forecast_lower"], columns["forecast_upper"]
    assert (((value >= lower) & (value <= upper)) == replaced).all()
    place = ((value - lower) / (upper - lower))[replaced]
    # Uniform: mean 1/2, deviation 1/√12; four standard errors of the mean are below 0.04.
    assert place.mean() == pytest.approx(0.5, abs=0.04)
    assert place.std() == pytest.approx(12**-0.5, abs=0.02)


def test_the_draw_belongs_to_analyzer_segment_column_and_bucket() -> None:
    columns = judge(config_of(), simulated(1, 90, seed=8), 1e9).columns
    expected = uniforms("|taxi-mean", "", "column-0", str(FIRST + 90), count=2)
    assert columns["seasonal_draw"][0, 0] == expected[0]
    assert columns["seasonal_should_replace"][0, 0] == (expected[0] >= 0.5)


def test_what_is_no_anomaly_is_not_replaced() -> None:
    series = simulated(1, 90, seed=8)
    columns = judge(config_of(), series, float(series[0, -7])).columns
    assert columns["seasonal_should_replace"].tolist() == [[False]]
    assert np.isnan(columns["seasonal_draw"]).all()
    assert np.isnan(columns["seasonal_replacement"]).all()


def spiky(n_series: int = 12) -> Floats:
    values = simulated(n_series, 100, seed=9)
    values[:, 62] += 40
    values[:, 80] -= 30
    return values


def test_later_baselines_hold_the_replacement() -> None:
    values = spiky()
    verdicts = walked(config_of(), values, range(60, 100))
    spike = verdicts.columns["seasonal_replacement"][:, 2]
    assert 0 < np.isfinite(spike).sum() < len(spike)
    for row, replacement in enumerate(spike):
        series = values[row].copy()
        for at in (60, 61, 62):
            if np.isfinite(taken := verdicts.columns["seasonal_replacement"][row, at - 60]):
                series[at] = taken
        assert np.isnan(replacement) or series[62] == replacement
        alone = forecast_batch(series[None, 3:63], Order())
        assert verdicts.columns["forecast"][row, 3] == pytest.approx(alone.mean[0])


def test_a_bucket_judged_alone_gets_the_verdict_that_it_gets_among_others() -> None:
    values, targets = spiky(4), range(60, 100)
    config = config_of(params={"engine": "batched"})
    together = walked(config, values, targets)
    earlier: dict[tuple[tuple[str, str], int], dict[str, object]] = {}
    for at in targets:
        alone = walked(config, values, range(at, at + 1), earlier=earlier)
        for name in ("forecast", "calculated_lower", "calculated_upper", "seasonal_replacement"):
            ours, theirs = alone.columns[name][:, 0], together.columns[name][:, at - 60]
            assert np.array_equal(ours, theirs, equal_nan=True)
        assert np.array_equal(alone.anomaly[:, 0], together.anomaly[:, at - 60])
        for row in np.flatnonzero(alone.anomaly[:, 0]):
            found = alone.columns["seasonal_replacement"][row, 0]
            details = {"seasonal_replacement": float(found)} if np.isfinite(found) else {}
            earlier[("", f"column-{row}"), FIRST + at] = details


def test_a_judged_bucket_is_not_taken_from_memory() -> None:
    values = spiky(1)
    wrong: dict[Any, Any] = {(("", "column-0"), FIRST + 62): {"seasonal_replacement": -1e6}}
    fresh = walked(config_of(), values, range(60, 70))
    again = walked(config_of(), values, range(60, 70), earlier=wrong)
    assert np.array_equal(fresh.lower, again.lower)
    later = walked(config_of(), values, range(63, 70), earlier=wrong)
    assert (later.lower != fresh.lower[:, 3:]).all()


def test_another_datasets_baseline_keeps_its_own_values() -> None:
    baseline = {"type": "TrailingWindow", "size": 60, "datasetId": "another"}
    verdicts = walked(config_of(baseline=baseline), spiky(), range(60, 100))
    assert np.isnan(verdicts.columns["seasonal_draw"]).all()
