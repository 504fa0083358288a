"""What a profile file says, whoever wrote it."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from monitoring_pipeline.config.dataset import ColumnRoles
from monitoring_pipeline.errors import ProfileError
from monitoring_pipeline.metrics import catalog
from monitoring_pipeline.profile_file import describe_profile, read_profiles, write_profile
from monitoring_pipeline.profiling import DatasetProfile, profile
from monitoring_pipeline.profiling.performance import PERFORMANCE
from monitoring_pipeline.profiling.whylogs import write_whylogs, write_whylogs_zip
from monitoring_pipeline_tests.profiling.whylogs_files import FOLDER, needs_files, truth

BUCKET = datetime(2026, 3, 1, tzinfo=UTC)
TABLE = pa.table(
    {
        "score": pa.array([1.0, 2.0, 3.0, None]),
        "colour": ["red", "red", "blue", "red"],
        "nothing": pa.nulls(4),
    }
)


def whylogs_file(tmp_path: Path) -> Path:
    path = tmp_path / "whylogs.bin"
    path.write_bytes(write_whylogs(profile(TABLE), dataset_timestamp=BUCKET, metadata={"owner": "growth"}))
    return path


def own_file(tmp_path: Path) -> Path:
    path = tmp_path / "own.profile"
    path.write_bytes(profile(TABLE).to_bytes())
    return path


@pytest.mark.parametrize("file", [whylogs_file, own_file])
def test_metrics_are_those_of_the_catalog(file: object, tmp_path: Path) -> None:
    assert callable(file)
    columns = describe_profile(file(tmp_path))["columns"]
    score = columns["score"]
    assert (score["count"], score["count_null"], score["count_null_ratio"]) == (4, 1, 0.25)
    assert (score["mean"], score["stddev"], score["min"], score["max"]) == (2.0, 1.0, 1.0, 3.0)
    assert (score["median"], score["quantile_50"], score["inferred_data_type"]) == (2.0, 2.0, "FRACTIONAL")
    assert (score["count_integral"], score["unique_est"], score["frequent_items"]) == (0, 3, None)
    assert columns["colour"]["frequent_items"] == [["red", 3], ["blue", 1]]
    assert columns["colour"]["mean"] is None
    assert columns["nothing"]["inferred_data_type"] == "NULL"
    assert set(score) == {name for name, metric in catalog().items() if metric.level == "column"} - {
        "histogram"
    }


def test_a_whylogs_file_has_time_and_metadata(tmp_path: Path) -> None:
    found = describe_profile(whylogs_file(tmp_path))
    assert found["format"] == "whylogs"
    assert found["dataset_timestamp"] == "2026-03-01T00:00:00+00:00"
    assert found["metadata"] == {"owner": "growth"}
    assert (found["segment"], found["rows"]) == ({}, 4)


def test_a_profile_of_ours_has_no_time(tmp_path: Path) -> None:
    found = describe_profile(own_file(tmp_path))
    assert (found["format"], found["dataset_timestamp"], found["rows"]) == ("monitoring-pipeline", None, 4)


@pytest.mark.parametrize("kind", ["ours", "zip"])
def test_a_file_of_several_segments_lists_them(kind: str, tmp_path: Path) -> None:
    segmented = profile(TABLE, [["colour"]])
    path = tmp_path / "profile"
    data = segmented.to_bytes() if kind == "ours" else write_whylogs_zip(segmented, dataset_timestamp=BUCKET)
    path.write_bytes(data)
    found = describe_profile(path)["segments"]
    assert [each["segment"] for each in found] == [{}, {"colour": "blue"}, {"colour": "red"}]
    assert [each["rows"] for each in found] == [4, 1, 3]


@pytest.mark.parametrize("damage", [b"WHY1", b"MPdp", b"", b"something else"])
def test_a_damaged_file_is_an_error_with_its_name(damage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "upload.bin"
    path.write_bytes(damage)
    with pytest.raises(ProfileError, match=r"upload\.bin: "):
        describe_profile(path)


@needs_files
def test_everything_that_is_said_is_json() -> None:
    for path in FOLDER.glob("*.bin"):
        json.dumps(describe_profile(path), allow_nan=False)


@needs_files
def test_the_figures_are_those_of_whylogs() -> None:
    found, expected = describe_profile(FOLDER / "plain.bin"), truth()["plain.bin"]
    moment = datetime.fromisoformat(found["dataset_timestamp"])
    assert moment.timestamp() * 1000 == expected["dataset_timestamp"]
    for name, said in expected["columns"].items():
        column = found["columns"][name]
        assert column["count"] == said["counts/n"]
        assert column["count_null"] == said["counts/null"]
        assert column["count_string"] == said["types/string"]
        if said["distribution/n"] and math.isfinite(said["distribution/mean"]):
            assert column["mean"] == pytest.approx(said["distribution/mean"])
            assert column["stddev"] == pytest.approx(said["distribution/stddev"])
        if "frequent_items" in said:
            assert column["frequent_items"] == [
                [value, estimate] for value, estimate, *_ in said["frequent_items"]
            ]


@needs_files
def test_performance_is_told_where_there_is_some() -> None:
    assert "performance" not in describe_profile(FOLDER / "plain.bin")
    matrix = describe_profile(FOLDER / "cls.bin")["performance"]
    assert matrix["labels"] == ["cat", "dog", "emu"]
    assert matrix["confusion_matrix"] == [[156, 0, 0], [36, 216, 34], [0, 0, 158]]
    assert matrix["metrics"]["classification.accuracy"] == pytest.approx(truth()["cls.bin"]["accuracy"])
    regression = describe_profile(FOLDER / "reg.bin")["performance"]
    assert regression["rows"] == 500
    for name in ("mae", "mse", "rmse"):
        assert regression["metrics"][f"regression.{name}"] == pytest.approx(truth()["reg.bin"][name])
    assert "labels" not in regression


JUDGED = pa.table(
    {"said": ["a", "b", "b", "a"], "came": ["a", "b", "a", "a"], "colour": ["red", "red", "blue", "red"]}
)


def test_performance_is_told_of_our_own_files_for_each_segment(tmp_path: Path) -> None:
    path = tmp_path / "own.profile"
    write_profile(path, profile(JUDGED, [["colour"]], roles=ColumnRoles(prediction="said", target="came")))
    found = {tuple(one["segment"].values()): one["performance"] for one in describe_profile(path)["segments"]}
    assert {key: one["metrics"]["classification.accuracy"] for key, one in found.items()} == {
        (): 0.75, ("red",): 1.0, ("blue",): 0.0,
    }  # fmt: skip
    assert found[()]["labels"] == ["a", "b"]
    assert found[()]["confusion_matrix"] == [[2.0, 0.0], [1.0, 1.0]]
    assert found[()]["rows"] == 4


def test_warnings_are_told(tmp_path: Path) -> None:
    path = tmp_path / "own.profile"
    mixed = profile(pa.table({"x": [1]})).merge(profile(pa.table({"x": ["a"]})))
    write_profile(path, mixed)
    expected = ["column 'x': holds values of several types: 1 integral, 1 string"]
    assert describe_profile(path)["warnings"] == expected
    assert describe_profile(own_file(tmp_path))["warnings"] == []


def test_outliers_are_told_by_both_methods(tmp_path: Path) -> None:
    path = tmp_path / "own.profile"
    write_profile(path, profile(pa.table({"x": [*range(99), 10_000]})))
    told = describe_profile(path)["columns"]["x"]
    assert (told["outlier_count"], told["outlier_sigma_count"], told["outlier_ratio"]) == (1, 1, 0.01)


@pytest.mark.parametrize(
    ("damaged", "told"),
    [
        (DatasetProfile({"no tags": 1}, {"no tags": {}}), "'no tags' is not a segment"),
        (DatasetProfile({"": 1}, {"": {}}, components={"": {PERFORMANCE: b"short"}}), "performance: "),
    ],
)
def test_what_a_file_of_ours_claims_is_checked(damaged: DatasetProfile, told: str, tmp_path: Path) -> None:
    path = tmp_path / "upload.profile"
    path.write_bytes(damaged.to_bytes())
    with pytest.raises(ProfileError, match=rf"upload\.profile: .*{told}"):
        read_profiles(path)
