"""What changed, in words with numbers."""

from __future__ import annotations

import pytest

from monitoring_pipeline.alerting.wording import sentence
from monitoring_pipeline.analysis.result import FailureType
from monitoring_pipeline.segments import segment_key
from monitoring_pipeline_tests.alerting.builders import analyzer, document, fixed, missing, result, row_count


def test_stddev_names_value_bounds_window_and_segment() -> None:
    known = document().analyzers[0]
    said = sentence(result(segment=segment_key({"region": "EU"})), analyzer=known)
    assert said == "`income` nulls 14.1 %, expected 0–1.2 % (last 14 days), segment region=EU"


def test_fixed_names_the_bound_that_a_person_set() -> None:
    said = sentence(fixed("age", metric="max", value=212.0, absolute_lower=0.0, absolute_upper=120.0))
    assert said == "`age` maximum 212, expected 0–120"


def test_counts_of_the_dataset_have_thousands_separators_and_no_column() -> None:
    assert sentence(row_count()) == "rows 120, expected at least 1,000"


def test_diff_in_percent_names_both_values_and_the_change() -> None:
    said = sentence(
        result(
            metric="mean",
            analyzer_type="diff",
            metric_value=54_200.0,
            diff_value=30.917,
            diff_threshold=10.0,
            diff_mode="pct",
            calculated_lower=37_260.0,
            calculated_upper=45_540.0,
            expected_baseline_count=7,
        )
    )
    assert said == "`income` mean 41,400 → 54,200 (+30.9 %), allowed ±10 % (baseline of 7 days)"


def test_diff_of_one_side_reads_the_baseline_back_from_its_bound() -> None:
    said = sentence(
        result(
            metric="count_null_ratio",
            analyzer_type="diff",
            metric_value=0.10,
            diff_value=0.07,
            diff_threshold=0.05,
            diff_mode="abs",
            threshold_type="upper",
            calculated_lower=None,
            calculated_upper=0.08,
            expected_baseline_count=7,
        )
    )
    assert (
        said
        == "`income` nulls 3 % → 10 % (+7 percentage points), allowed +5 percentage points (baseline of 7 days)"
    )


def test_diff_prefers_the_baseline_value_that_was_recorded() -> None:
    said = sentence(
        result(
            metric="mean",
            analyzer_type="diff",
            metric_value=5.0,
            diff_value=100.0,
            diff_threshold=20.0,
            diff_mode="pct",
            calculated_lower=0.0,
            calculated_upper=0.0,
            details={"baseline_value": 0.0},
            expected_baseline_count=1,
        )
    )
    assert said == "`income` mean 0 → 5, allowed ±20 % (baseline of 1 day)"


def test_drift_names_the_distance_and_its_threshold() -> None:
    said = sentence(
        result(
            metric="histogram",
            analyzer_type="drift",
            algorithm="hellinger",
            metric_value=None,
            calculated_lower=None,
            calculated_upper=None,
            drift_value=0.3112,
            drift_threshold=0.2,
            expected_baseline_count=0,
            reference_profile_id="prod-v1",
        )
    )
    assert (
        said == "`income` distribution drift 0.3112 (Hellinger), expected at most 0.2 (reference `prod-v1`)"
    )


def test_missing_data_names_the_bucket() -> None:
    assert sentence(missing()) == "no data for 2026-01-31"


def test_an_analyzer_without_a_number_says_what_it_saw_and_expected() -> None:
    said = sentence(
        result(
            "plan",
            metric="inferred_data_type",
            analyzer_type="comparison",
            metric_value=None,
            calculated_lower=None,
            calculated_upper=None,
            expected_baseline_count=0,
            details={"comparison_observed": "string", "comparison_expected": "integral"},
        )
    )
    assert said == "`plan` data type string, expected integral"


def test_an_unknown_kind_of_verdict_still_makes_a_sentence() -> None:
    said = sentence(
        result(
            analyzer_type="my_own",
            metric="zap_score",
            metric_value=None,
            calculated_lower=None,
            calculated_upper=None,
            expected_baseline_count=0,
        )
    )
    assert said == "`income` zap score is not as expected (`null-ratio-analyzer`, my_own)"


def test_a_failure_says_why_there_is_no_verdict() -> None:
    said = sentence(
        result(
            anomaly=False,
            failure_type=FailureType.INSUFFICIENT_BASELINE,
            failure_explanation="2 of 3 buckets",
        )
    )
    assert said == "no verdict on `income` nulls (InsufficientBaseline: 2 of 3 buckets)"


@pytest.mark.parametrize(
    ("baseline", "said"),
    [
        ({"type": "TrailingWindow", "size": 14, "offset": 7}, "14 days until 7 days before"),
        ({"type": "TimeRange", "range": {"start": "2026-01-01T00:00:00Z", "end": "2026-01-15T00:00:00Z"}},
         "2026-01-01 to 2026-01-14"),
        ({"type": "Reference", "profileId": "prod-v1"}, "reference `prod-v1`"),
        ({"type": "CurrentBatch", "datasetId": "training", "offset": 0}, "same time of dataset `training`"),
    ],
)  # fmt: skip
def test_a_known_analyzer_tells_its_baseline_exactly(baseline: dict[str, object], said: str) -> None:
    made = document(analyzers=[analyzer(type="stddev", metric="count_null_ratio", baseline=baseline)])
    assert f"({said})" in sentence(result(), analyzer=made.analyzers[0])


def test_a_hostile_column_name_cannot_leave_its_backticks() -> None:
    said = sentence(result("a`*b*\n<!channel>"))
    assert said.count("`") == 2
    assert "\n" not in said


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        ("monotonic", {"metric": "count", "metric_value": 3.0,
                       "details": {"newest_value": 1200.0, "direction": "DECREASING"}},
         "`income` values fell 3 times in a row of buckets to 1,200"),
        ("column_list", {"metric": "column_list", "metric_value": None, "column": "",
                         "details": {"column_list_removed": 2, "column_list_removed_sample": ["age", "city"]}},
         "2 columns gone: age, city"),
        ("frequent_string_comparison", {"metric": "frequent_items", "metric_value": None,
                                        "details": {"frequent_string_comparison_sample": ["September"]}},
         "not as in the baseline: September"),
        ("conjunction", {"metric": "conjunction", "metric_value": None,
                         "details": {"anomalous_analyzer_ids": ["nulls", "drift"]}},
         "nulls, drift found anomalies together"),
    ],
)  # fmt: skip
def test_verdicts_without_a_bound_are_told_in_words(kind: str, changes: dict[str, object], said: str) -> None:
    assert said in sentence(result(analyzer_type=kind, expected_baseline_count=0, **changes))
