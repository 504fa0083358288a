"""Two profiles held against each other: distances by scipy and by hand, noise by experiment."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats

import monitoring_pipeline as mp
from monitoring_pipeline.config.dataset import ProfileSettings
from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.notebook.comparison import Drift


def one(baseline: object, target: object, **options: object) -> Drift:
    sides = [mp.profile(pa.table({"x": values})) for values in (baseline, target)]
    (found,) = mp.compare(*sides, **options).drifts  # type: ignore[arg-type]
    return found


def test_numbers_are_compared_on_thirty_bins() -> None:
    # 0, 1 and 3 lie in bins of their own: the shares are (1/2, 1/2, 0) and (1/4, 1/4, 1/2).
    found = one([0.0, 1.0], [0.0, 1.0, 3.0, 3.0])
    assert found.kind == "number"
    assert found.hellinger == found.score == pytest.approx(math.sqrt(1 - 2 * math.sqrt(1 / 8)))
    middle = 2 * (0.5 * math.log(0.5 / 0.375) + 0.25 * math.log(0.25 / 0.375)) + 0.5 * math.log(2)
    assert found.jensenshannon == pytest.approx(math.sqrt(middle / 2))
    assert found.ks == pytest.approx(0.5)
    # The half that moved came from both values: (0.25 · 3 + 0.25 · 2) deviations of 0.5.
    assert found.wasserstein == pytest.approx(1.25 / 0.5)


def test_a_few_rows_have_the_statistic_of_the_test_exactly() -> None:
    random = np.random.default_rng(5)
    before, now = random.normal(0, 1, 150), random.normal(0.5, 2, 80)
    found = one(before, now)
    assert found.ks == pytest.approx(stats.ks_2samp(before, now).statistic)
    assert found.wasserstein == pytest.approx(stats.wasserstein_distance(before, now) / before.std())
    assert found.rank_error == 0


def test_many_rows_have_it_within_the_errors_of_both_sketches() -> None:
    random = np.random.default_rng(6)
    before, now = random.normal(0, 1, 60_000), random.normal(0.2, 1, 40_000)
    found = one(before, now)
    exact = stats.ks_2samp(before, now).statistic
    # Steps of the comparison hold up to 2/1,024 of a side.
    assert abs(found.ks - exact) <= found.rank_error + 2 / 1_024
    assert 0 < found.rank_error < 0.02


def test_categories_are_compared_on_their_values() -> None:
    found = one(["a", "a", "b", "b"], ["a", "b", "b", "b", None])
    expected = math.sqrt(((math.sqrt(0.5) - 0.5) ** 2 + (math.sqrt(0.5) - math.sqrt(0.75)) ** 2) / 2)
    assert (found.kind, found.score) == ("category", pytest.approx(expected))
    assert found.psi == pytest.approx(0.25 * math.log(2) + 0.25 * math.log(1.5))
    assert math.isnan(found.ks)
    assert math.isnan(found.rank_error)


def test_yes_and_no_are_categories() -> None:
    found = one([True, False], [True, True])
    assert (found.kind, found.score) == ("category", pytest.approx(math.sqrt(1 - math.sqrt(0.5))))


def test_what_moved_further_than_the_threshold_has_drifted() -> None:
    frame = pd.DataFrame({"same": [1.0, 2.0], "far": [1.0, 2.0], "near": ["a", "b"]})
    moved = pd.DataFrame({"same": [1.0, 2.0], "far": [8.0, 9.0], "near": ["a", "a"]})
    sides = mp.profile(frame), mp.profile(moved)
    assert mp.compare(*sides).drifted == ("far",)
    strict = mp.compare(*sides, threshold=0.1)
    assert strict.drifted == ("far", "near")
    told = strict.to_frame()
    assert told["column"].tolist() == ["far", "near", "same"]
    assert told["drifted"].tolist() == [True, True, False]
    assert repr(strict) == ("Comparison of 2 rows against a baseline of 2: 2 of 3 columns drifted: far, near")


def test_both_sides_of_the_figures_are_told() -> None:
    before = mp.profile(pa.table({"x": [1.0, 2.0, 3.0]}))
    now = mp.profile(pa.table({"x": pa.array([5.0, None])}))
    (told,) = mp.compare(before, now).to_frame().to_dict("records")
    assert (told["count_baseline"], told["count_target"]) == (3, 2)
    assert (told["count_null_ratio_baseline"], told["count_null_ratio_target"]) == (0, 0.5)
    assert (told["mean_baseline"], told["mean_target"]) == (2, 5)
    assert (told["unique_est_baseline"], told["unique_est_target"], told["unique_change"]) == (3, 1, -2)


def test_what_a_distance_does_not_tell_is_noted() -> None:
    before = mp.profile(pa.table({"gone": [1], "changed": ["1", "2"][:1], "empty": pa.nulls(1)}))
    now = mp.profile(pa.table({"new": [1], "changed": [1.0], "empty": pa.nulls(1)}))
    notes = {found.column: (found.note, found.drifted) for found in mp.compare(before, now).drifts}
    assert notes == {
        "gone": ("only in the baseline", False),
        "new": ("only in the target", False),
        "changed": ("was a category, is a number", True),
        "empty": ("no distribution in the baseline and the target", False),
    }


def test_a_segment_is_compared_with_itself() -> None:
    before = mp.profile(pd.DataFrame({"c": ["x", "y"], "n": [1.0, 5.0]}), segments=["c"])
    now = mp.profile(pd.DataFrame({"c": ["x", "y"], "n": [1.0, 9.0]}), segments=["c"])
    assert {one.column: one.score for one in mp.compare(before, now, segment="c=x").drifts}["n"] == 0
    assert mp.compare(before, now, segment={"c": "y"}).drifted == ("n",)
    with pytest.raises(UsageError, match="no segment 'c=z'"):
        mp.compare(before, now, segment="c=z")


@pytest.mark.parametrize("threshold", [-0.1, math.nan])
def test_a_threshold_that_is_no_distance_is_refused(threshold: float) -> None:
    found = mp.profile(pa.table({"x": [1]}))
    with pytest.raises(UsageError, match="a threshold is a distance, 0 or more"):
        mp.compare(found, found, threshold=threshold)


def test_only_profiles_are_compared() -> None:
    with pytest.raises(UsageError, match="found DataFrame"):
        mp.compare(pd.DataFrame(), pd.DataFrame())  # type: ignore[arg-type]


@pytest.mark.parametrize("kll_k", [200, 512])
@pytest.mark.parametrize("rows", [300, 40_000])
@pytest.mark.parametrize("shape", ["normal", "lognormal", "few", "categories"])
def test_noise_is_the_score_of_two_samples_of_one_distribution(shape: str, rows: int, kll_k: int) -> None:
    random = np.random.default_rng(11)
    draw = {
        "normal": lambda: random.normal(0, 1, rows),
        "lognormal": lambda: random.lognormal(0, 1, rows),
        "few": lambda: random.integers(0, 9, rows),
        "categories": lambda: random.choice(list("abcdefghij"), rows),
    }[shape]
    scores, noises = [], []
    for _ in range(5):
        sides = [mp.profile(pa.table({"x": draw()}), settings=ProfileSettings(kll_k=kll_k)) for _ in "pq"]
        (found,) = mp.compare(*sides).drifts
        scores.append(found.score)
        noises.append(found.noise)
    assert 0.5 < math.sqrt(np.mean(np.square(scores))) / np.mean(noises) < 1.6


def test_the_wasserstein_distance_is_nothing_between_equal_sides() -> None:
    found = one([1.0, 2.0, 2.0], [2.0, 1.0, 2.0])
    assert (found.score, found.ks, found.wasserstein, found.psi) == (0, 0, 0, 0)
