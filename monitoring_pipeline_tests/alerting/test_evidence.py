"""What a digest shows beside its sentences: the last buckets, what was expected, what moved; bounded and harmless."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring_pipeline.alerting.digests import Digest, build_digests, illustrated
from monitoring_pipeline.alerting.evidence import (
    ILLUSTRATED,
    POINTS,
    Evidence,
    caption,
    evidence_of,
    moved_categories,
    moved_quantiles,
)
from monitoring_pipeline.alerting.formats.text import render_text
from monitoring_pipeline.alerting.messages import CHARTS_SHOWN, Chart, Facts, message_of
from monitoring_pipeline.analysis.comparing import Pair, Shares
from monitoring_pipeline_tests.alerting.builders import NOW, RUN, day, document, fixed, result

PAST = [result(bucket=day(-number), anomaly=False, metric_value=0.006) for number in range(1, 14)]


def test_the_sentence_says_what_the_metric_usually_was() -> None:
    found = evidence_of(result(), PAST)
    assert found.sentence == "`income` nulls 0.6 % → 14.1 %, expected 0–1.2 % (baseline of 14 days)"
    assert found.title == "`income` nulls"
    assert caption(found) == "0.6 % to 14.1 % in 14 days"
    assert found.values == (0.006,) * 13 + (0.141,)
    assert (found.start, found.alarms) == (day(-13), (13,))
    assert set(found.upper) == {0.012}


def test_with_fewer_than_three_normal_buckets_nothing_is_usual() -> None:
    found = evidence_of(result(), PAST[:2])
    assert found.sentence == "`income` nulls 14.1 %, expected 0–1.2 % (baseline of 14 days)"


def test_alarms_do_not_count_as_usual_and_gaps_stay_gaps() -> None:
    history = [*PAST[4:], *(result(bucket=day(-number), metric_value=0.5) for number in (1, 2))]
    found = evidence_of(result(), history)
    assert "0.6 % → 14.1 %" in found.sentence
    assert found.alarms == (11, 12, 13)
    assert [place for place, value in enumerate(found.values) if math.isnan(value)] == [9, 10]


def test_a_difference_says_both_values_once() -> None:
    changed = result(
        analyzer_type="diff",
        metric_value=0.14,
        calculated_lower=None,
        calculated_upper=None,
        diff_value=0.134,
        diff_threshold=0.05,
        diff_mode="abs",
        threshold_type=None,
        details={"baseline_value": 0.006},
    )
    assert evidence_of(changed, PAST).sentence == (
        "`income` nulls 0.6 % → 14 % (+13.4 percentage points), allowed ±5 percentage points (baseline of 14 days)"
    )


def test_drift_shows_its_distance_and_what_moved() -> None:
    drifted = result(
        analyzer_type="drift",
        metric="frequent_items",
        algorithm="hellinger",
        drift_value=0.31,
        drift_threshold=0.2,
    )
    found = evidence_of(drifted, [], moved=["share of basic 31 % → 55 %"])
    assert found.sentence == (
        "`income` distribution drift 0.31 (Hellinger), expected at most 0.2 (baseline of 14 days)"
    )
    assert (found.values, found.upper) == ((0.31,), (0.2,))
    digest = illustrated(
        build_digests(document(), [drifted], now=NOW, run_id=RUN)[0], {found.analysis_id: found}
    )
    assert "share of basic 31 % → 55 %" in render_text(digest)


def test_performance_says_on_how_many_outcomes_it_rests() -> None:
    worse = fixed("", metric="classification.accuracy", value=0.72, calculated_lower=0.85)
    assert (
        evidence_of(worse, [], outcomes=1203).sentence
        == "accuracy 72 %, expected at least 85 %, on 1,203 outcomes"
    )


def test_the_categories_that_moved_most_are_named_with_their_shares() -> None:
    pair = Pair(
        Shares(np.array([0.426, 0.48, 0.094, 0.0]), 1000, 0),
        Shares(np.array([0.0, 0.395, 0.097, 0.508]), 500, 0),
        labels=("mobile", "desktop", "tablet", "smart`phone\n"),
    )
    assert moved_categories(pair) == [
        "share of smart'phone  0 % → 50.8 %, mobile 42.6 % → 0 %, desktop 48 % → 39.5 %"
    ]


def test_the_quantiles_are_named_before_and_after() -> None:
    assert moved_quantiles((1.0, 2.0, 9.0), (100.0, 200.0, 9.0)) == [
        "5th percentile 1 → 100, median 2 → 200, 95th percentile still 9"
    ]
    assert moved_quantiles((1.0, 2.0, math.nan), (1.0, 2.0, 3.0)) == []
    assert moved_quantiles((1.0, 2.0, 3.0), (1.0, 2.0, 3.0)) == []


@settings(max_examples=40)
@given(
    values=st.lists(st.floats(), min_size=1, max_size=40),
    column=st.text(max_size=300),
    segment=st.sampled_from(["", "a=1&b=\x1b[31m", "größe=😀"]),
)
def test_any_numbers_and_any_names_make_evidence_that_survives_json_and_can_be_shown(
    values: list[float], column: str, segment: str
) -> None:
    history = [
        result(column, day(-number), segment=segment, anomaly=False, metric_value=value)
        for number, value in enumerate(values[1:], start=1)
    ]
    one = result(column, segment=segment, metric_value=values[0])
    found = evidence_of(one, history)
    assert len(found.values) == len(found.lower) == len(found.upper) <= POINTS
    again = Evidence.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False)))
    assert again.to_json() == found.to_json()
    (digest,) = build_digests(document(), [one], now=NOW, run_id=RUN)
    shown = render_text(illustrated(digest, {found.analysis_id: found}))
    assert len(shown) < 5_000
    assert "\x1b" not in shown


def test_a_digest_of_ten_thousand_anomalies_stays_small_and_survives_json() -> None:
    results = [
        result(f"c{number % 500}", day(-(number % 20)), segment=f"region={number // 10_000}😀{number % 7}")
        for number in range(10_000)
    ]
    (digest,) = build_digests(document(), results, now=NOW, run_id=RUN)
    shown = [*(one.worst for one in digest.incidents), *digest.sample]
    by_id = {one.analysis_id: one for one in results}
    known = {one.analysis_id: evidence_of(by_id[one.analysis_id], PAST) for one in shown}

    digest = illustrated(digest, known)
    message = message_of(digest)

    assert len(digest.evidence) == ILLUSTRATED
    assert sum(isinstance(block, Chart) for block in message.blocks) <= CHARTS_SHOWN
    assert len(json.dumps(digest.to_json())) < 260_000
    assert len(render_text(digest)) < 20_000
    assert Digest.from_json(json.loads(json.dumps(digest.to_json()))).to_json() == digest.to_json()


def test_a_digest_that_was_recorded_before_there_was_evidence_can_still_be_read() -> None:
    (digest,) = build_digests(document(), [result()], now=NOW, run_id=RUN)
    recorded = {
        key: value for key, value in digest.to_json().items() if key not in ("evidence", "normal_columns")
    }
    assert Digest.from_json(json.loads(json.dumps(recorded))) == digest


@pytest.mark.parametrize(("count", "words"), [(17, "17 other columns"), (1, "1 other column")])
def test_a_message_says_how_much_is_normal(count: int, words: str) -> None:
    from dataclasses import replace

    (digest,) = build_digests(document(), [result()], now=NOW, run_id=RUN)
    facts = message_of(replace(digest, normal_columns=count)).blocks[0]
    assert isinstance(facts, Facts)
    assert ("normal", words) in facts.facts
