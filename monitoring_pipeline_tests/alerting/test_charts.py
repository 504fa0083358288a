"""Charts as SVG: small, whole, and harmless whatever the data says."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring_pipeline.alerting.formats.charts import (
    MOST_POINTS,
    Size,
    areas,
    bars,
    columns,
    text,
    timeline,
)
from monitoring_pipeline_tests.alerting.hostile import NASTY

SIZE = Size(100, 50)
COLOURS = ("grey", "blue")


def parsed(chart: str) -> ElementTree.Element:
    return ElementTree.fromstring(chart)  # noqa: S314 - made right here


def paths(chart: str) -> list[str]:
    return [one.get("d", "") for one in parsed(chart).iter("path")]


def test_a_line_breaks_where_there_is_no_value() -> None:
    chart = timeline(np.array([1.0, 2.0, np.nan, 2.0, 1.0]), COLOURS, "x", size=SIZE)
    assert [path.count("L") for path in paths(chart)] == [1, 1]


def test_a_value_alone_is_a_dot() -> None:
    chart = timeline(np.array([np.nan, 2.0, np.nan]), COLOURS, "x", size=SIZE)
    assert paths(chart) == []
    assert len([*parsed(chart).iter("circle")]) == 1


def test_the_band_is_open_where_there_is_no_bound() -> None:
    band = (np.full(2, -math.inf), np.array([3.0, np.nan]))
    chart = timeline(np.array([1.0, 2.0]), COLOURS, "x", size=SIZE, band=band, tint="green")
    (shape,) = [one for one in parsed(chart).iter("path") if one.get("style") == "fill:green"]
    assert shape.get("d", "").count("Z") == 1  # the second bucket had no bounds at all
    assert "V50.0" in shape.get("d", "")


def test_marks_are_at_their_values() -> None:
    chart = timeline(np.array([0.0, 1.0, 0.0]), COLOURS, "x", size=SIZE, marks=[1], alert="red")
    (mark,) = [*parsed(chart).iter("circle")]
    assert (mark.get("cx"), mark.get("style")) == ("50.0", "fill:red")


def test_amounts_are_bars_and_what_is_missing_is_marked() -> None:
    chart = columns(np.array([1.0, np.nan, 2.0]), COLOURS, "x", split=2, missing="red", size=SIZE)
    bars_drawn = [(one.get("height"), one.get("style")) for one in parsed(chart).iter("rect")]
    assert bars_drawn == [("25.0", "fill:grey"), ("4.0", "fill:red"), ("50.0", "fill:blue")]


def test_long_histories_are_thinned() -> None:
    values = np.arange(10_000, dtype=np.float64)
    assert (
        len([*parsed(columns(values, COLOURS, "x", split=0, missing="red", size=SIZE)).iter("rect")])
        <= MOST_POINTS
    )
    assert len(timeline(values, COLOURS, "x", size=SIZE, marks=range(10_000))) < 40_000


def test_texts_are_escaped_and_cut() -> None:
    chart = bars([(NASTY, (0.5,)), ("<" * 500, (1.0,))], ["red"], text(NASTY))
    assert "\x1b" not in chart
    assert len("".join(parsed(chart).itertext())) < 200
    assert bars([], ["red"]) == ""


@pytest.mark.parametrize("roomy", [True, False])
def test_bars_of_one_label_are_below_each_other(*, roomy: bool) -> None:
    chart = parsed(bars([("a", (0.5, 1.0)), ("b", (0.0, 0.25))], ["red", "blue"], roomy=roomy, width=100))
    rects = [*chart.iter("rect")]
    assert [one.get("width") for one in rects] == ["50.0", "100.0", "0.0", "25.0"]
    tops = [float(one.get("y", "")) for one in rects]
    assert tops == sorted(tops)


def test_areas_share_one_height() -> None:
    chart = areas([np.array([0.5, 0.5]), np.array([0.0, 1.0])], ["red", "blue"], "x", size=SIZE)
    assert "V25.0" in paths(chart)[0]
    assert "V0.0" in paths(chart)[1]


@given(st.lists(st.floats(), max_size=30), st.integers(0, 30))
def test_any_values_make_a_whole_chart(values: list[float], split: int) -> None:
    array = np.array(values, dtype=np.float64)
    for chart in (
        timeline(array, COLOURS, "x", size=SIZE, split=split, band=(array, array), marks=range(len(values))),
        columns(
            np.abs(np.where(np.isinf(array), np.nan, array)),
            COLOURS,
            "x",
            split=split,
            missing="r",
            size=SIZE,
        ),
    ):
        if chart:
            parsed(chart)
            assert "nan" not in chart
            assert "inf" not in chart
