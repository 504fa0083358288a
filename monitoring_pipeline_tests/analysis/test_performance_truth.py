"""Every metric of predictions against outcomes, worked out from all rows with numpy, and what the profiles say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from monitoring_pipeline.analysis.baselines import Window
from monitoring_pipeline.analysis.judgements import component_scalars
from monitoring_pipeline.config.dataset import ColumnRoles
from monitoring_pipeline.metrics.performance import PERFORMANCE_SCALARS
from monitoring_pipeline.profiling import ColumnProfile, Profiler, profile
from monitoring_pipeline.profiling.performance import EMPTY, PERFORMANCE, Performance

ROWS = 4_000
ROLES = {"prediction": "said", "score": "score", "target": "came", "weight": "weight", "value": "worth"}


def told(parts: list[Performance]) -> dict[str, float]:
    """Every metric of the merged buckets."""
    days = {at: ColumnProfile(n=1, extra={PERFORMANCE: one.to_bytes()}) for at, one in enumerate(parts)}
    found = component_scalars(PERFORMANCE_SCALARS, days, Window(np.array([0]), len(parts)))
    return {name: float(values[0]) for name, values in found.items()}


def judged(columns: dict[str, Any], *, parts: int = 1, **roles: str) -> dict[str, float]:
    """The metrics of rows that came in so many buckets."""
    table, found = pa.table(columns), []
    given = ColumnRoles.model_validate(
        {role: name for role, name in ROLES.items() if name in columns} | roles
    )
    for rows in np.array_split(np.arange(table.num_rows), parts):
        one = profile(table.take(pa.array(rows)), roles=given).performance()
        assert one is not None
        found.append(one)
    return told(found)


def area(score: NDArray[Any], yes: NDArray[np.bool_], weight: NDArray[Any]) -> float:
    """Every pair of a positive and a negative row: the share in which the positive one scores higher, ties half."""
    higher = (score[yes, None] > score[None, ~yes]) + 0.5 * (score[yes, None] == score[None, ~yes])
    pairs = weight[yes, None] * weight[None, ~yes]
    return float((higher * pairs).sum() / pairs.sum())


def two_labels(seed: int) -> dict[str, NDArray[Any]]:
    random = np.random.default_rng(seed)
    score = random.beta(2, 4, ROWS).round(3)  # with three digits each score has a cell of its own
    return {
        "score": score,
        "came": random.random(ROWS) < score,
        "said": score > 0.4,
        "weight": random.integers(1, 4, ROWS).astype(np.float64),
        "worth": random.normal(10, 30, ROWS).round(2),
    }


@pytest.mark.parametrize("parts", [1, 7])
@pytest.mark.parametrize("labels", [(False, True), (0, 1), ("no", "yes"), ("a", "b")])
def test_two_labels(labels: tuple[Any, Any], parts: int) -> None:
    rows = two_labels(1)
    yes, said, score, weight, worth = (rows[name] for name in ("came", "said", "score", "weight", "worth"))
    named = {"positive": "yes"} if labels[0] == "no" else {"positive": "b"} if labels[0] == "a" else {}
    columns = rows | {name: np.array(labels)[rows[name].astype(int)] for name in ("came", "said")}
    found = judged(columns, parts=parts, **named)

    def mass(mask: NDArray[np.bool_]) -> float:
        return float(weight[mask].sum())

    hits, alarms, misses = mass(yes & said), mass(~yes & said), mass(yes & ~said)
    precision, recall = hits / (hits + alarms), hits / (hits + misses)
    tenth = np.minimum((score * 10 + 1e-9).astype(int), 9)
    gaps = [abs(((score - yes) * weight)[tenth == at].sum()) for at in range(10)]
    likely = np.where(yes, score, 1 - score).clip(np.finfo(float).eps, 1 - np.finfo(float).eps)
    expected = {
        "classification_accuracy": mass(yes == said) / mass(yes | ~yes),
        "classification_precision": precision,
        "classification_recall": recall,
        "classification_f1": 2 * precision * recall / (precision + recall),
        "classification_fpr": alarms / mass(~yes),
        "classification_auroc": area(score, yes, weight),
        "classification_log_loss": -np.average(np.log(likely), weights=weight),
        "classification_brier": np.average((score - yes) ** 2, weights=weight),
        "classification_ece": sum(gaps) / weight.sum(),
        "value_total": worth.sum(),
        "value_mean": worth.mean(),
        "value_positive": worth[yes].sum(),
        "value_negative": worth[~yes].sum(),
        "value_true_positive": worth[yes & said].sum(),
        "value_false_positive": worth[~yes & said].sum(),
        "value_false_negative": worth[yes & ~said].sum(),
        "value_true_negative": worth[~yes & ~said].sum(),
        "outcome_count": ROWS,
        "outcome_ratio": 1.0,
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-9), name


@pytest.mark.parametrize("parts", [1, 5])
@pytest.mark.parametrize("positive", [None, "emu"])
def test_many_labels_are_averaged_or_one_is_held_against_the_rest(positive: str | None, parts: int) -> None:
    random = np.random.default_rng(2)
    came = random.choice(["cat", "dog", "emu"], ROWS, p=[0.6, 0.3, 0.1])
    said = np.where(random.random(ROWS) < 0.7, came, random.choice(["cat", "dog", "emu"], ROWS))
    worth = random.normal(5, 1, ROWS)
    found = judged(
        {"came": came, "said": said, "worth": worth},
        parts=parts,
        **({"positive": positive} if positive else {}),
    )
    per_label: dict[str, list[float]] = {"precision": [], "recall": [], "f1": [], "fpr": []}
    for label in [positive] if positive else ["cat", "dog", "emu"]:
        yes, claimed = came == label, said == label
        precision, recall = yes[claimed].mean(), claimed[yes].mean()
        per_label["precision"].append(precision)
        per_label["recall"].append(recall)
        per_label["f1"].append(2 * precision * recall / (precision + recall))
        per_label["fpr"].append(claimed[~yes].mean())
    for name, values in per_label.items():
        assert found[f"classification_{name}"] == pytest.approx(np.mean(values)), name
    assert found["classification_accuracy"] == pytest.approx((came == said).mean())
    if positive:
        assert found["value_positive"] == pytest.approx(worth[came == positive].sum())
        both = (came != positive) & (said == positive)
        assert found["value_false_positive"] == pytest.approx(worth[both].sum())
    else:
        assert math.isnan(found["value_positive"])
    assert found["value_total"] == pytest.approx(worth.sum())


def test_a_score_of_one_label_against_the_rest() -> None:
    random = np.random.default_rng(8)
    score = random.random(ROWS).round(3)
    came = np.where(random.random(ROWS) < score, "fraud", random.choice(["fine", "late"], ROWS))
    found = judged({"came": came, "score": score}, parts=3, positive="fraud")
    yes = came == "fraud"
    assert found["classification_auroc"] == pytest.approx(area(score, yes, np.ones(ROWS)))
    assert found["classification_brier"] == pytest.approx(((score - yes) ** 2).mean())


@pytest.mark.parametrize("parts", [1, 6])
def test_numbers(parts: int) -> None:
    random = np.random.default_rng(3)
    came = random.lognormal(3, 1, ROWS)
    said = came * random.normal(1.1, 0.3, ROWS)
    weight = random.integers(1, 9, ROWS).astype(float)
    found = judged({"came": came, "said": said, "weight": weight}, parts=parts)
    error = said - came
    assert found["regression_mse"] == pytest.approx(np.average(error**2, weights=weight))
    assert found["regression_rmse"] == pytest.approx(math.sqrt(np.average(error**2, weights=weight)))
    assert found["regression_mae"] == pytest.approx(np.average(np.abs(error), weights=weight))
    assert found["regression_bias"] == pytest.approx(np.average(error, weights=weight))


@pytest.mark.parametrize("way", ["joined by id", "outcomes bring predictions along"])
def test_outcomes_that_arrive_later_give_the_metrics_of_rows_that_had_them(way: str) -> None:
    rows = {"id": np.arange(ROWS), **two_labels(4)}
    table = pa.table(rows)
    order = np.random.default_rng(5).permutation(ROWS)[: ROWS // 2]
    roles = ColumnRoles.model_validate({"id": "id", **ROLES})
    late = Profiler(roles=roles, late=True)
    if way == "joined by id":
        late.update(table.select(["id", "said", "score", "weight"]))
        outcomes = table.select(["id", "came", "worth"])
    else:
        late.update(table.select(["id"]))
        outcomes = table.drop(["id"])
    for places in np.array_split(order, 4):
        late.update(outcomes.take(pa.array(places)), adds_rows=False)
    found = late.finish().performance()
    assert found is not None
    expected = judged({name: values[order] for name, values in rows.items() if name != "id"})
    expected["outcome_ratio"] = 0.5 if way == "joined by id" else 1.0
    for name, value in told([found]).items():
        assert value == pytest.approx(expected[name], rel=1e-9, nan_ok=True), name


def test_a_day_without_the_positive_label_is_judged_by_it_all_the_same() -> None:
    found = judged({"came": ["no", "no"], "said": ["no", "yes"]}, positive="yes")
    assert (found["classification_fpr"], found["classification_accuracy"]) == (0.5, 0.5)
    assert found["classification_recall"] == 0


@pytest.mark.parametrize(("named", "labels"), [(True, (0, 1)), (1, (False, True)), ("yes", ("no", "yes"))])
def test_the_positive_label_may_be_named_as_it_is_written_in_yaml(
    named: Any, labels: tuple[Any, Any]
) -> None:
    columns = {"came": [labels[1], labels[0], labels[0]], "said": [labels[1], labels[1], labels[0]]}
    assert judged(columns, positive=named)["classification_precision"] == 0.5


def test_no_may_be_the_positive_label() -> None:
    columns = {"came": [True, False, False], "said": [True, True, False]}
    assert judged(columns, positive="False")["classification_recall"] == 0.5
    assert judged(columns)["classification_recall"] == 1


def test_the_positive_label_survives_bytes_and_merges() -> None:
    one = profile(
        pa.table({"came": ["a", "b"], "said": ["a", "a"]}),
        roles=ColumnRoles(prediction="said", target="came", positive="b"),
    ).performance()
    assert one is not None
    assert one.positive == "b"
    assert Performance.from_bytes(one.to_bytes()) == one
    assert one.merge(EMPTY).positive == EMPTY.merge(one).positive == "b"
