"""Inputs that are made for many series at once are those that are made for each alone."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring_pipeline.analysis.algorithms import registry
from monitoring_pipeline.analysis.images import Images, Numbers, Texts
from monitoring_pipeline.analysis.inputs import Inputs, sketch_inputs
from monitoring_pipeline.analysis.jobs import Job, resolve
from monitoring_pipeline.analysis.sketched import component_of, is_batched, sketched_inputs
from monitoring_pipeline.errors import ProfileError
from monitoring_pipeline.profiling import profile
from monitoring_pipeline.profiling.extracting import Blobs
from monitoring_pipeline.profiling.profile import ColumnProfile
from monitoring_pipeline.segments import OVERALL
from monitoring_pipeline_tests.analysis.documents import document
from monitoring_pipeline_tests.analysis.engine_runs import DAY, START

Histories = dict[tuple[str, str], dict[int, ColumnProfile]]

_NUMBERS = st.one_of(
    st.lists(st.floats(-1e6, 1e6), max_size=40),
    st.lists(st.sampled_from([5.0, 5.0, -0.0, 1e300, -1e300, 1e-300]), max_size=5),
    st.integers(1, 3000).map(lambda size: np.linspace(-1, 1, size).tolist()),
    st.none(),
)
_TEXTS = st.one_of(
    st.lists(st.sampled_from(["a", "b", "ü", "", "東京", "z" * 200]), max_size=30),
    st.integers(1, 3000).map(lambda size: [f"{number}" for number in range(size)]),
    st.none(),
)


def job_of(config: dict[str, Any], days: list[int], **more: Any) -> Job:
    [analyzer] = document({"config": config, **more}).analyzers
    buckets: list[datetime] = [START + day * DAY for day in days]
    return resolve(analyzer, buckets, granularity=document().granularity, algorithms=registry())


def histories_of(series: list[list[list[Any] | None]], kind: pa.DataType) -> Histories:
    first = job_of({"type": "drift", "metric": "histogram", "baseline": {"type": "TrailingWindow"}}, [0])
    start = int(first.targets[0])
    return {
        (OVERALL, f"column {number}"): {
            start + day: profile(pa.table({"x": pa.array(values, kind)})).columns[OVERALL]["x"]
            for day, values in enumerate(days)
            if values is not None
        }
        for number, days in enumerate(series)
    }


def images_of(histories: Histories, name: str) -> Images:
    found = [
        (row, at, one.components()[name])
        for row, history in enumerate(histories.values())
        for at, one in history.items()
        if name in one.components()
    ]
    rows, buckets = [row for row, _, _ in found], [at for _, at, _ in found]
    return Images.of(rows, buckets, Blobs.of([image for *_, image in found])).of_rows(0, len(histories))


def assert_same(job: Job, histories: Histories) -> None:
    alone = [sketch_inputs(job, key, history, history) for key, history in histories.items()]
    images = images_of(histories, component_of(job))
    counts = tuple(
        np.concatenate([getattr(one, f"{side}_profiles") for one in alone]) for side in ("target", "baseline")
    )
    pieces = list(sketched_inputs(job, [*histories], images, images, profiled=(counts[0], counts[1])))
    together = [part for piece in pieces for part in _apart(piece)]
    assert [one.keys for one in together] == [one.keys for one in alone]
    for ours, theirs in zip(together, alone, strict=True):
        for name in ("present", "target_count", "baseline_count", "target_profiles", "baseline_profiles"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)
        for name in ("target", "baseline"):
            _assert_equal(getattr(ours, name), getattr(theirs, name))


def _apart(inputs: Inputs) -> list[Inputs]:
    arrays = ("target", "baseline", "present", "target_count", "target_profiles")
    arrays += ("baseline_count", "baseline_profiles")
    return [
        Inputs(keys=(key,), **{name: getattr(inputs, name)[row : row + 1] for name in arrays})
        for row, key in enumerate(inputs.keys)
    ]


def _assert_equal(ours: np.ndarray, theirs: np.ndarray) -> None:
    if ours.dtype == object:
        for one, other in zip(ours.flat, theirs.flat, strict=True):
            assert one == other
        return
    width = theirs.shape[-1]
    np.testing.assert_array_equal(ours[..., :width], theirs)
    assert not ours[..., width:].any()


@pytest.mark.parametrize(
    ("metric", "values", "kind"),
    [("histogram", _NUMBERS, pa.float64()), ("frequent_items", _TEXTS, pa.string())],
)
@pytest.mark.parametrize("excluded", [[], [START + 2 * DAY]])
def test_distributions_of_many_series_are_those_of_each_alone(
    metric: str, values: st.SearchStrategy[Any], kind: pa.DataType, excluded: list[datetime]
) -> None:
    ranges = [{"start": day.isoformat(), "end": (day + DAY).isoformat()} for day in excluded]
    baseline = {"type": "TrailingWindow", "size": 3, "exclusionRanges": ranges}

    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.lists(values, min_size=6, max_size=6), min_size=1, max_size=3), st.integers(1, 2))
    def check(series: list[list[Any]], size: int) -> None:
        job = job_of({"type": "drift", "metric": metric, "baseline": baseline}, [1, 4, 5], targetSize=size)
        assert is_batched(job)
        assert_same(job, histories_of(series, kind))

    check()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(_TEXTS, min_size=4, max_size=4), min_size=1, max_size=3))
def test_items_of_many_series_are_those_of_each_alone(series: list[list[Any]]) -> None:
    config = {
        "type": "frequent_string_comparison",
        "metric": "frequent_items",
        "operator": "eq",
        "baseline": {"type": "TrailingWindow", "size": 2},
    }
    assert_same(job_of(config, [2, 3]), histories_of(series, pa.string()))


@pytest.mark.parametrize("kind", [Numbers, Texts])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_bytes_from_outside_are_refused_or_read_but_never_more(
    kind: type[Numbers] | type[Texts], data: st.DataObject
) -> None:
    column = pa.array([1.0, 2.0, 3.0] if kind is Numbers else ["a", "bc", "d"])
    found = profile(pa.table({"x": column})).columns[OVERALL]["x"]
    image = found.kll if kind is Numbers else found.frequent_items
    assert image is not None
    place = data.draw(st.integers(0, len(image) - 1))
    changed = image[:place] + bytes([data.draw(st.integers(0, 255))]) + image[place + 1 :]
    changed = changed[: data.draw(st.integers(0, len(image)))]
    try:
        opened = kind.open(Blobs.of([image, changed]))
    except ProfileError:
        return
    assert len(opened.ends) == 2
