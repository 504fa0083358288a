"""Metrics that a monitor document states under `entitySchema.customMetrics`."""

from __future__ import annotations

import numpy as np
import pytest

from monitoring_pipeline.config.entity_schema import EntitySchema
from monitoring_pipeline.metrics import custom_metrics, metric, stated_metrics


def schema(**metrics: object) -> EntitySchema:
    return EntitySchema.model_validate({"customMetrics": metrics})


def test_a_metric_of_a_column_becomes_one_of_the_dataset() -> None:
    # The shape that the reference platform's clients send: label, column, builtinMetric (once: defaultMetric).
    stated = schema(
        precision_k_3={"label": "precision_k_3", "column": "precision_k_3", "defaultMetric": "mean"},
        Latency={"label": "Slow requests", "column": "seconds", "builtinMetric": "QUANTILE.95"},
    )
    found = stated_metrics(stated)
    assert {name: (one.level, one.column, one.needs) for name, one in found.items()} == {
        "precision_k_3": ("dataset", "precision_k_3", ("mean",)),
        "latency": ("dataset", "seconds", ("quantile_95",)),
    }
    assert metric("LATENCY", found).description == "Slow requests"


def test_a_built_in_metric_of_the_dataset_gets_a_second_name() -> None:
    found = stated_metrics(
        schema(quality={"label": "F1", "column": "", "builtinMetric": "classification.f1"})
    )
    assert (found["quality"].needs, found["quality"].column) == (("classification_f1",), None)


def test_expressions_build_on_all_the_others() -> None:
    own = custom_metrics({"known": "count - count_null"}, metric)
    stated = schema(
        known_share={"label": "Known", "expression": "known / count"},
        doubled="2 * late",
        late={"column": "delay", "builtinMetric": "mean"},
    )
    found = stated_metrics(stated, own)
    assert sorted(found) == ["doubled", "known", "known_share", "late"]
    assert found["known_share"].formula({"n": np.array([4.0]), "n_null": np.array([1.0])}).tolist() == [0.75]
    assert (found["known_share"].level, found["known_share"].description) == ("column", "Known")
    assert (found["doubled"].level, found["doubled"].column) == ("dataset", "delay")


@pytest.mark.parametrize(
    ("one", "message"),
    [
        ({"column": "x", "builtinMetric": "mena"}, "no metric is called 'mena'; near: mean"),
        ({"column": "x", "builtinMetric": "histogram"}, "neither a number nor a text"),
        ({"column": "x", "builtinMetric": "missingDatapoint"}, "neither a number nor a text"),
        ({"builtinMetric": "mean"}, "no column is named"),
        ("count +", "at character 8"),
        ("count + a + shape_row_count", "no metric is called 'a'"),
    ],
)
def test_what_makes_no_sense_is_left_out_and_told(one: object, message: str) -> None:
    problems: dict[str, str] = {}
    assert stated_metrics(schema(own=one), problems=problems) == {}
    assert message in problems["own"]


def test_a_name_is_taken_once() -> None:
    own = custom_metrics({"lead.quality": "mean"}, metric)
    problems: dict[str, str] = {}
    one = {"column": "x", "builtinMetric": "max"}
    found = stated_metrics(schema(MEAN=one, lead_quality=one, fine=one, Fine=one), own, problems=problems)
    assert sorted(found) == ["fine", "lead_quality"]
    assert found["lead_quality"].needs == ("mean",)
    assert sorted(problems) == ["Fine", "MEAN", "lead_quality"]
    assert all("there is a metric of that name already" in text for text in problems.values())


def test_metrics_of_different_columns_do_not_mix() -> None:
    problems: dict[str, str] = {}
    stated = schema(
        a={"column": "x", "builtinMetric": "mean"}, b={"column": "y", "builtinMetric": "mean"}, gap="a - b"
    )
    stated_metrics(stated, problems=problems)
    assert problems == {"gap": "metrics of different columns (a, b) cannot be mixed"}
