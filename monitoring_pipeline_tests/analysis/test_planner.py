from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from monitoring_pipeline.analysis.planner import (
    Slice,
    candidate_columns,
    combine,
    needs_schema,
    targeted,
    targeted_segments,
)
from monitoring_pipeline.config.analyzers import Analyzer
from monitoring_pipeline.config.entity_schema import EntitySchema, WeightConfig
from monitoring_pipeline.timegrid import Granularity, TimeRange
from monitoring_pipeline_tests.analysis.documents import analyzer

KEYS = [("", ""), ("", "age"), ("", "city"), ("region=EU", ""), ("region=EU", "age"), ("region=US", "age")]


def of(**matrix: Any) -> Analyzer:
    return Analyzer.model_validate(analyzer(targetMatrix=matrix))


def chosen(
    one: Analyzer, *, schema: EntitySchema | None = None, weights: WeightConfig | None = None
) -> list[tuple[str, str]]:
    return [
        key
        for key, keep in zip(KEYS, targeted(one, KEYS, schema=schema, weights=weights), strict=True)
        if keep
    ]


def test_a_star_is_every_column_of_the_overall_segment() -> None:
    assert chosen(of(type="column", include=["*"])) == [("", "age"), ("", "city")]


def test_a_dataset_matrix_is_the_rows_of_the_segments_themselves() -> None:
    by_region = {"tags": [{"key": "region", "value": "*"}]}
    assert chosen(of(type="dataset", segments=[{"tags": []}, by_region])) == [("", ""), ("region=EU", "")]


def test_groups_need_a_schema() -> None:
    schema = EntitySchema.model_validate({"columns": {"city": {"discreteness": "discrete"}}})
    discrete = of(type="column", include=["group:discrete"])
    assert needs_schema(discrete)
    assert chosen(discrete, schema=schema) == [("", "city")]
    assert chosen(discrete) == []


def test_weights_of_a_segment_win_over_the_default() -> None:
    weights = WeightConfig.model_validate(
        {
            "defaultWeights": {"weights": {"age": 0.1}},
            "segmentWeights": [
                {"segment": {"tags": [{"key": "region", "value": "EU"}]}, "weights": {"age": 0.9}}
            ],
        }
    )
    everywhere = [{"tags": []}, {"tags": [{"key": "region", "value": "*"}]}]
    heavy = of(type="column", include=["weight>0.5"], segments=everywhere)
    assert chosen(heavy, weights=weights) == [("region=EU", "age")]


@pytest.mark.parametrize(
    ("include", "expected"),
    [(["age", "city"], {"age", "city"}), (["*"], None), (["age", "GROUP:input"], None)],
)
def test_only_columns_that_may_be_meant_are_read(include: list[str], expected: set[str] | None) -> None:
    assert candidate_columns(of(type="column", include=include)) == expected


def test_segments_are_chosen_from_those_there_are() -> None:
    excluded = of(
        type="column",
        include=["*"],
        segments=[{"tags": [{"key": "region", "value": "*"}]}],
        excludeSegments=[{"tags": [{"key": "region", "value": "US"}]}],
    )
    assert targeted_segments(excluded, ["", "region=EU", "region=US", "city=Bonn"]) == ("region=EU",)


def a_slice(
    first: int, last: int, *, columns: set[str] | None = None, scalars: tuple[str, ...] = ("n",)
) -> Slice:
    window = TimeRange(datetime(2026, 1, first, tzinfo=UTC), datetime(2026, 1, last, tzinfo=UTC))
    return Slice("d", ("",), None if columns is None else frozenset(columns), frozenset(scalars), window)


def test_neighbouring_slices_are_read_together() -> None:
    together = combine(
        [a_slice(8, 9, scalars=("n", "mean")), a_slice(1, 8, columns={"age"})], Granularity.DAILY
    )
    assert len(together) == 1
    assert together[0].covers(a_slice(1, 8, columns={"age"}))
    assert together[0].covers(a_slice(8, 9, scalars=("n", "mean")))


def test_slices_far_apart_and_rows_of_segments_stay_apart() -> None:
    assert len(combine([a_slice(1, 3), a_slice(20, 22)], Granularity.DAILY)) == 2
    assert len(combine([a_slice(1, 3), a_slice(1, 3, columns={""})], Granularity.DAILY)) == 2


def test_a_long_history_of_one_scalar_is_not_read_with_all_the_others() -> None:
    week = a_slice(24, 31, scalars=("n", "m_n", "mean", "m2", "min", "max"))
    history = replace(a_slice(1, 31), window=TimeRange(datetime(2025, 1, 1, tzinfo=UTC), week.window.end))
    assert len(combine([history, week], Granularity.DAILY)) == 2
