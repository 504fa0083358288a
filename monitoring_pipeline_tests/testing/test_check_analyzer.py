from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from monitoring_pipeline.analysis.algorithms import BUILT_IN, registry
from monitoring_pipeline.analysis.healing import HEALING
from monitoring_pipeline.analysis.verdicts import Algorithm, Needs, Verdicts, no_failures
from monitoring_pipeline.config.analyzers import FixedConfig, parse_config
from monitoring_pipeline.testing import check_analyzer

WINDOW = {"type": "TrailingWindow", "size": 3}
CONFIGS: dict[str, list[dict[str, Any]]] = {
    "fixed": [{"metric": "mean", "upper": 12, "lower": 8}, {"metric": "mean", "upper": 8, "nConsecutive": 3}],
    "stddev": [
        {"metric": "mean", "factor": 2, "baseline": WINDOW},
        {"metric": "mean", "minBatchSize": 1, "baseline": WINDOW, "params": {"enableGrubb": "true"}},
        {"metric": "mean", "minBatchSize": 2, "baseline": WINDOW, "params": {"enableAlertsFilter": "true"}},
        {
            "metric": "mean",
            "minBatchSize": 2,
            "factor": 1,
            "baseline": WINDOW,
            "params": {"enableAnomalyReplacement": "true", "seed": "7"},
        },
    ],
    "seasonal": [{"metric": "mean", "baseline": {"type": "TrailingWindow", "size": 40}}],
    "diff": [
        {"metric": "mean", "mode": mode, "threshold": 1, "thresholdType": side, "baseline": WINDOW}
        for mode in ("abs", "pct")
        for side in (None, "upper", "lower")
    ],
    "drift": [
        {"metric": metric, "algorithm": algorithm, "threshold": 0.2, "baseline": WINDOW}
        for metric in ("histogram", "frequent_items")
        for algorithm in (
            "hellinger",
            "jensenshannon",
            "kl_divergence",
            "psi",
            "variation_distance",
            "chi_square",
        )
    ]
    + [
        {"metric": "histogram", "algorithm": algorithm, "baseline": WINDOW}
        for algorithm in ("ks_test", "wasserstein")
    ],
    "comparison": [
        {"metric": "mean", "operator": operator, **given}
        for operator in ("eq", "gt", "le")
        for given in ({"expected": "10"}, {"baseline": WINDOW})
    ],
    "list_comparison": [
        {"metric": "mean", "operator": operator, **given}
        for operator in ("in", "not_in")
        for given in ({"expected": [10, "EU"]}, {"baseline": WINDOW})
    ],
    "frequent_string_comparison": [
        {"operator": operator, "baseline": WINDOW}
        for operator in ("eq", "target_includes_all_baseline", "baseline_includes_all_target")
    ],
    "monotonic": [{"metric": "mean", "direction": direction} for direction in ("INCREASING", "DECREASING")],
    "column_list": [{"mode": "ON_ADD", "baseline": WINDOW}, {"baseline": WINDOW, "exclude": "*"}],
}
WINDOWS = {"stddev": (HEALING + 1) * 3, "seasonal": 40}
TOGETHER = {"seasonal"}


@pytest.mark.parametrize("name", sorted(registry().algorithms))
def test_every_registered_analyzer_keeps_the_contract(name: str) -> None:
    algorithm = registry().algorithms[name]
    assert name in CONFIGS or algorithm not in BUILT_IN, f"say here with which configs {name} is to be tested"
    for given in CONFIGS.get(name, [{"metric": "mean", "baseline": WINDOW}]):
        config = parse_config({"type": name, **given}, source="test")
        check_analyzer(algorithm, config, n_window=WINDOWS.get(name, 3), in_order=name in TOGETHER)


class Doubled:
    """An analyzer that keeps the contract."""

    name = "doubled"
    needs: Needs = "series"

    def evaluate(self, _config: object, target: np.ndarray, baseline: np.ndarray) -> Verdicts:
        bound = 2 * baseline[..., -1]
        return Verdicts(
            target > bound, target, np.full(target.shape, np.nan), bound, *no_failures(target.shape)
        )


class TellsOfMissing(Doubled):
    def evaluate(self, _config: object, target: np.ndarray, baseline: np.ndarray) -> Verdicts:
        found = super().evaluate(_config, target, baseline)
        return replace(found, anomaly=~(target < 5))


class Flat(Doubled):
    def evaluate(self, _config: object, target: np.ndarray, baseline: np.ndarray) -> Verdicts:
        return replace(super().evaluate(_config, target, baseline), upper=np.zeros(target.shape[0]))


class Changing(Doubled):
    def evaluate(self, _config: object, target: np.ndarray, baseline: np.ndarray) -> Verdicts:
        target += 1
        return super().evaluate(_config, target, baseline)


class Random(Doubled):
    def evaluate(self, _config: object, target: np.ndarray, baseline: np.ndarray) -> Verdicts:
        noise = np.random.default_rng().random(target.shape)
        return replace(super().evaluate(_config, target, baseline), value=noise)


class LooksAtOthers(Doubled):
    def evaluate(self, _config: object, target: np.ndarray, baseline: np.ndarray) -> Verdicts:
        found = super().evaluate(_config, target, baseline)
        mean = np.full(target.shape, np.nanmax(target) if target.size else np.nan)
        return replace(found, lower=mean)


class DependsOnOrder(Doubled):
    def evaluate(self, _config: object, target: np.ndarray, baseline: np.ndarray) -> Verdicts:
        place = np.arange(target.size, dtype=np.float64).reshape(target.shape)
        return replace(super().evaluate(_config, target, baseline), value=place)


class Unexplained(Doubled):
    def evaluate(self, _config: object, target: np.ndarray, baseline: np.ndarray) -> Verdicts:
        found = super().evaluate(_config, target, baseline)
        return replace(found, failure=np.full(target.shape, "broken", dtype=object))


class Silent(Doubled):
    def evaluate(self, *_: object) -> Any:
        return None


class Odd(Doubled):
    needs: Any = "everything"


CONFIG = FixedConfig(metric="mean")


def test_an_analyzer_of_ones_own_can_keep_the_contract() -> None:
    check_analyzer(Doubled(), CONFIG)


@pytest.mark.filterwarnings("ignore:All-NaN")
@pytest.mark.parametrize(
    ("algorithm", "complaint"),
    [
        (TellsOfMissing(), "a target that is missing is an anomaly"),
        (Flat(), r"upper has the shape \(5,\); it must be \(5, 4\)"),
        (Changing(), "the target was changed"),
        (Random(), "value is another one the second time"),
        (LooksAtOthers(), "lower is another one for a series alone"),
        (DependsOnOrder(), "value is another one in another order of the series"),
        (Unexplained(), "a failure must be a FailureType or None"),
        (Silent(), "gave NoneType instead of Verdicts"),
        (Odd(), "`needs` must be one of series, merged, distribution, items"),
    ],
)
def test_what_breaks_the_contract_is_named(algorithm: Algorithm, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        check_analyzer(algorithm, CONFIG)
