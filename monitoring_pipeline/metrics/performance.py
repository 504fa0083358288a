"""How good predictions were: metrics of a dataset that are read off its performance component, not off its scalars.

The formulas are those of the reference platform (`DruidClassificationMetrics.java`, `DruidRegressionMetrics.java`),
without its guards against division by zero: a share of nothing counts as 0 inside an average, and a metric without any
row to go by is missing. With two labels the positive one is judged: "1", else "True", else the first. With more labels
precision, recall, F1 and AUROC are averages over the labels. Where a positive label is named, it is judged against all
others, however many there are. Rows are counted by their weight.

Everything is an array over any number of batches at once (`Judgements`), and merges before it is divided: a week's
precision is that of all its rows together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.metrics.metric import Floats, Metric, number, share

COMPONENT: Final = "performance.v1"
"""The component of a dataset profile that tells these metrics."""


@dataclass(frozen=True, kw_only=True)
class Judgements:
    """Sums of some batches, each array with leading axes (…) over the batches, float64, by label where it says so.

    `labels` (n_labels,) are all there are in any batch. `pairs` (…, predicted, actual): weight of the rows; `agreed`
    (…): of those with equal labels; `worth` (…, predicted, actual): value, with one more row for those without a
    predicted label, the last. By actual label: `scores` (…, n_labels, n_cells), weight by score, ascending; `points`
    (…, n_labels, 5), the weight of the rows with a score, and their weighted scores, squared scores, and logarithms of
    the score and of its distance to 1; `tenths` (…, n_labels, 2, 10), weight and weighted scores by tenth of [0, 1].
    `hits` (…, 3, 10): weight, weighted scores and weight of the rows whose labels agree by tenth, over rows with a
    predicted label. `improper` (…): weight of scores outside [0, 1]. `errors` (…, 4): weight of the pairs of numbers,
    and weighted sums of the error, of its size and of its square. `counts` (…, 4): rows judged, rows that wait for
    their outcome, rows with a value, and that value. `positive` is the label that was named so, one of `labels`, if any.
    """

    labels: Sequence[str]
    pairs: Floats
    agreed: Floats
    worth: Floats
    scores: Floats
    points: Floats
    tenths: Floats
    hits: Floats
    improper: Floats
    errors: Floats
    counts: Floats
    positive: str | None = None


def complete(labels: Sequence[str], positive: str | None = None) -> list[str]:
    """Labels in the order in which one of them is the positive one; of yes and no, both, although one was never seen.

    The named positive label is always among them.
    """
    known = {*labels, positive} if positive else set(labels)
    for pair in ({"0", "1"}, {"False", "True"}):
        if known & pair:
            known |= pair
    return sorted(known, key=lambda label: (label != "1", label != "True", label))


def named_positive(labels: Sequence[str], named: Sequence[str]) -> str | None:
    """Which label is positive when it was named so: also yes and no for 1 and 0, which are their names beside numbers."""
    said = min((label for label in named if label), default=None)
    other = {"True": "1", "1": "True", "False": "0", "0": "False"}.get(said or "")
    return other if said not in labels and other in labels else said


def performance_scalars(found: Judgements) -> dict[str, Floats]:
    """Every number of `PERFORMANCE_SCALARS`, each (…), NaN where there is none. The labels are `complete`."""
    with np.errstate(invalid="ignore", divide="ignore"):
        chosen = _Chosen.of(found)
        return (
            _classification(found, chosen)
            | _scores(found, chosen)
            | _regression(found)
            | _value(found, chosen)
        )


@dataclass(frozen=True)
class _Chosen:
    """Which labels are judged: `binary` (…), `positive` (…, n_labels) one of them, `judged` (…, n_labels) 0 or 1."""

    binary: NDArray[np.bool_]
    positive: NDArray[np.bool_]
    judged: NDArray[np.bool_]

    @classmethod
    def of(cls, found: Judgements) -> _Chosen:
        there = (found.pairs.sum(axis=-1) + found.pairs.sum(axis=-2) + found.points[..., 0]) > 0
        if found.positive is not None:
            positive = np.broadcast_to(np.asarray(found.labels) == found.positive, there.shape)
            return cls(there.any(axis=-1), positive, positive)
        binary = there.sum(axis=-1) == 2
        positive = there & (np.cumsum(there, axis=-1) == 1)
        for no, yes in (("0", "1"), ("False", "True")):
            if yes in found.labels:
                pair = np.isin(np.asarray(found.labels), (no, yes))
                only = there.any(axis=-1) & ~(there & ~pair).any(axis=-1)
                binary |= only
                positive = np.where(only[..., None], np.asarray(found.labels) == yes, positive)
        # What is counted together as "(other)" is no label of its own.
        judged = there & (np.asarray(found.labels) != "(other)")
        return cls(binary, positive, np.where(binary[..., None], positive, judged))

    def average(self, values: Floats) -> Floats:
        """The mean of `values` (…, n_labels) over the labels that are judged."""
        return share(np.sum(np.where(self.judged, values, 0.0), axis=-1), self.judged.sum(axis=-1))


def _classification(found: Judgements, chosen: _Chosen) -> dict[str, Floats]:
    weight = found.pairs.sum(axis=(-1, -2))
    hit = np.diagonal(found.pairs, axis1=-2, axis2=-1)
    predicted, actual = found.pairs.sum(axis=-1), found.pairs.sum(axis=-2)
    precision, recall = _part(hit, predicted), _part(hit, actual)
    false_alarms = _part(predicted - hit, weight[..., None] - actual)
    f1 = _part(2 * precision * recall, precision + recall)
    averages = {"precision": precision, "recall": recall, "f1": f1, "fpr": false_alarms}
    there = weight > 0
    named = {name: np.where(there, chosen.average(values), np.nan) for name, values in averages.items()}
    return {"classification_accuracy": share(found.agreed, weight)} | {
        f"classification_{name}": values for name, values in named.items()
    }


def _scores(found: Judgements, chosen: _Chosen) -> dict[str, Floats]:
    # Area under the curve: how often a row of the label scores higher than one without it, ties counting half.
    own = found.scores
    others = own.sum(axis=-2, keepdims=True) - own
    below = np.cumsum(others, axis=-1) - others / 2
    pairs = own.sum(axis=-1) * others.sum(axis=-1)
    area = share(np.sum(own * below, axis=-1), pairs)
    judged = chosen.judged & (pairs > 0)
    auroc = share(np.sum(np.where(judged, area, 0.0), axis=-1), judged.sum(axis=-1))

    yes = np.where(chosen.positive[..., None], found.points, 0.0).sum(axis=-2)
    no = found.points.sum(axis=-2) - yes
    weight = yes[..., 0] + no[..., 0]
    fair = chosen.binary & (found.improper == 0)
    log_loss = np.where(fair, share(-yes[..., 3] - no[..., 4], weight), np.nan)
    brier = np.where(fair, share(yes[..., 0] - 2 * yes[..., 1] + yes[..., 2] + no[..., 2], weight), np.nan)
    return {
        "classification_auroc": auroc,
        "classification_log_loss": log_loss,
        "classification_brier": brier,
        "classification_ece": _calibration(found, chosen),
    }


def _calibration(found: Judgements, chosen: _Chosen) -> Floats:
    """Guo et al. 2017 (https://arxiv.org/abs/1706.04599), equation 3, over ten bins of equal width.

    Of yes-or-no outcomes the score is compared with the share of the positive label, of others, where the score is the
    confidence in the predicted label, with the share of right predictions.
    """
    both = found.tenths.sum(axis=-3)
    yes = np.where(chosen.positive[..., None, None], found.tenths, 0.0).sum(axis=-3)
    gaps = np.where(
        chosen.binary[..., None],
        both[..., 1, :] - yes[..., 0, :],
        found.hits[..., 1, :] - found.hits[..., 2, :],
    )
    weight = np.where(chosen.binary, both[..., 0, :].sum(axis=-1), found.hits[..., 0, :].sum(axis=-1))
    error = share(np.abs(gaps).sum(axis=-1), weight)
    return np.where(found.improper == 0, error, np.nan)


def _regression(found: Judgements) -> dict[str, Floats]:
    weight, error, size, square = (found.errors[..., at] for at in range(4))
    mse = share(square, weight)
    return {
        "regression_mse": mse,
        "regression_rmse": np.sqrt(mse),
        "regression_mae": share(size, weight),
        "regression_bias": share(error, weight),
    }


def _value(found: Judgements, chosen: _Chosen) -> dict[str, Floats]:
    rows, waiting, priced, value = (found.counts[..., at] for at in range(4))
    positive = chosen.positive
    by_actual = found.worth.sum(axis=-2)
    worth = found.worth[..., :-1, :]
    said = positive[..., :, None]
    so = positive[..., None, :]

    def summed(mask: NDArray[np.bool_], values: Floats, axes: tuple[int, ...]) -> Floats:
        return np.where(priced > 0, np.where(mask, values, 0.0).sum(axis=axes), np.nan)

    labelled = chosen.binary
    split = {
        "value_positive": summed(positive, by_actual, (-1,)),
        "value_negative": summed(~positive, by_actual, (-1,)),
        "value_true_positive": summed(said & so, worth, (-1, -2)),
        "value_false_positive": summed(said & ~so, worth, (-1, -2)),
        "value_false_negative": summed(~said & so, worth, (-1, -2)),
        "value_true_negative": summed(~said & ~so, worth, (-1, -2)),
    }
    seen = rows + waiting > 0
    return {
        "value_total": np.where(priced > 0, value, np.nan),
        "value_mean": share(value, priced),
        "outcome_count": np.where(seen, rows, np.nan),
        "outcome_ratio": share(rows, rows + waiting),
    } | {name: np.where(labelled, values, np.nan) for name, values in split.items()}


def _part(part: Floats, whole: Floats) -> Floats:
    """`part` / `whole`, 0 where the whole is nothing."""
    return np.divide(part, whole, out=np.zeros(np.broadcast_shapes(part.shape, whole.shape)), where=whole > 0)


_METRICS: Final[tuple[tuple[str, str, str, bool], ...]] = (
    ("classification.accuracy", "Share of predictions that came true", "share", False),
    (
        "classification.precision",
        "Share of what was predicted that came true, mean over labels",
        "share",
        False,
    ),
    ("classification.recall", "Share of what came true that was predicted, mean over labels", "share", False),
    ("classification.f1", "Harmonic mean of precision and recall, mean over labels", "share", False),
    (
        "classification.fpr",
        "Share of false alarms among what did not come true, mean over labels",
        "share",
        False,
    ),
    (
        "classification.auroc",
        "How often the score ranks a row that came true above one that did not; within 0.001 of the exact area",
        "share",
        False,
    ),
    (
        "classification.log_loss",
        "Mean negative log-likelihood of what came true, natural logarithm",
        "",
        False,
    ),
    ("classification.brier", "Mean squared distance of the score to what came true", "", False),
    (
        "classification.ece",
        "Expected calibration error: mean distance of score and outcome over ten bins",
        "share",
        False,
    ),
    ("regression.mse", "Mean squared error", "squared", False),
    ("regression.rmse", "Square root of the mean squared error", "of the target", False),
    ("regression.mae", "Mean absolute error", "of the target", False),
    ("regression.bias", "Mean error: prediction minus target", "of the target", False),
    ("value.total", "Value of all rows whose outcome is known", "of the value", True),
    ("value.mean", "Value per row whose outcome is known", "of the value", False),
    ("value.positive", "Value of the rows whose outcome is the positive label", "of the value", True),
    ("value.negative", "Value of the rows whose outcome is not the positive label", "of the value", True),
    ("value.true_positive", "Value of what was predicted and came true", "of the value", True),
    ("value.false_positive", "Value of what was predicted and did not come true", "of the value", True),
    ("value.false_negative", "Value of what came true without being predicted", "of the value", True),
    ("value.true_negative", "Value of what was not predicted and did not come true", "of the value", True),
    ("outcome.count", "Rows whose outcome is known", "rows", True),
    ("outcome.ratio", "Share of the predictions whose outcome is known", "share", False),
)

PERFORMANCE_SCALARS: Final = tuple(name.replace(".", "_") for name, *_ in _METRICS)
"""The numbers that the component tells, in place of columns of the store."""


def performance_metrics() -> list[Metric]:
    """Every metric of predictions against outcomes."""
    return [
        number(
            name,
            description,
            level="dataset",
            needs=(scalar,),
            unit=unit,
            additive=additive,
            sketch=COMPONENT,
        )
        for scalar, (name, description, unit, additive) in zip(PERFORMANCE_SCALARS, _METRICS, strict=True)
    ]
