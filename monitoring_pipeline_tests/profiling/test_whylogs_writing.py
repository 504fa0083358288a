"""Profiles written for whylogs: read again by us, and by whylogs itself."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import venv
import zipfile
from datetime import datetime, timedelta, timezone
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.profiling import ColumnProfile, DatasetProfile, profile
from monitoring_pipeline.profiling.sketches import Hll
from monitoring_pipeline.profiling.whylogs import (
    read_whylogs,
    read_whylogs_file,
    write_whylogs,
    write_whylogs_zip,
)
from monitoring_pipeline_tests.profiling.whylogs_files import BUCKET, FOLDER, LEFT, mixed_profile, needs_files

EXACT = (
    "n",
    "n_null",
    "n_nan",
    "n_true",
    "t_bool",
    "t_integral",
    "t_string",
    "t_object",
    "m_n",
    "mean",
    "m2",
)


def again(written: DatasetProfile, segment: str = "") -> dict[str, ColumnProfile]:
    [found] = read_whylogs(write_whylogs(written, segment, dataset_timestamp=BUCKET), source="written")
    assert found.segment == segment
    assert found.rows == written.rows[segment]
    return dict(found.profile.columns[segment])


@pytest.mark.parametrize("segment", ["", LEFT, "side=right"])
def test_what_is_written_is_read_again(segment: str) -> None:
    written = mixed_profile()
    found = again(written, segment)
    assert set(found) == set(written.columns[segment])
    for name, column in written.columns[segment].items():
        other = found[name]
        if name not in ("float", "time"):  # NaN is missing for whylogs; times have no place on an axis there
            for scalar in EXACT:
                assert getattr(other, scalar) == getattr(column, scalar), (name, scalar)
            assert (other.min, other.max) == (column.min, column.max), name
            assert other.quantiles([0.25, 0.5]).tolist() == pytest.approx(
                column.quantiles([0.25, 0.5]).tolist(), nan_ok=True
            )
        assert other.hll == column.hll, name
        assert other.top_items(5) == column.top_items(5), name


def test_a_nan_counts_as_missing_for_whylogs() -> None:
    ours = profile(pa.table({"x": pa.array([1.0, math.nan, None, 3.0])})).columns[""]["x"]
    assert (ours.n, ours.n_null, ours.n_nan, ours.t_fractional) == (4, 1, 1, 3)
    theirs = again(DatasetProfile({"": 4}, {"": {"x": ours}}))["x"]
    assert (theirs.n, theirs.n_null, theirs.n_nan, theirs.t_fractional) == (4, 2, 1, 2)
    assert (theirs.m_n, theirs.mean) == (2, 2.0)
    # And what came from whylogs is written as it came.
    assert again(DatasetProfile({"": 4}, {"": {"x": theirs}}))["x"] == theirs


@given(
    st.lists(
        st.one_of(
            st.none(), st.floats(), st.sampled_from([math.nan, math.inf, -math.inf, 0.0, 5e-324, 1e308])
        ),
        max_size=80,
    )
)
def test_any_numbers_come_back_with_the_figures_of_whylogs(values: list[float | None]) -> None:
    ours = profile(pa.table({"x": pa.array(values, pa.float64())}))
    column, found = ours.columns[""]["x"], again(ours)["x"]
    assert found.n == column.n
    assert found.n_null == column.n_null + column.n_nan
    assert found.t_fractional == column.t_fractional - column.n_nan
    assert found.n_pos_inf + found.n_neg_inf == column.n_pos_inf + column.n_neg_inf
    assert (found.m_n, found.min, found.max) == (column.m_n, column.min, column.max)
    twice = again(DatasetProfile(ours.rows, {"": {"x": found}}))["x"]
    assert twice == found


@needs_files
@pytest.mark.parametrize("file", ["plain.bin", "small.bin", "row.bin", "seg2_0.bin", "merged.bin"])
def test_a_file_of_whylogs_survives_being_written_again(file: str) -> None:
    [original] = read_whylogs_file(FOLDER / file)
    assert original.dataset_timestamp is not None
    data = write_whylogs(
        original.profile,
        original.segment,
        dataset_timestamp=original.dataset_timestamp,
        creation_timestamp=original.creation_timestamp,
        metadata=original.metadata,
    )
    [copy] = read_whylogs(data, source="copy")
    assert copy == original


def test_the_same_profile_is_the_same_bytes() -> None:
    first, second = (write_whylogs_zip(mixed_profile(), dataset_timestamp=BUCKET) for _ in range(2))
    assert first == second


def test_a_zip_has_a_file_for_each_segment() -> None:
    data = write_whylogs_zip(mixed_profile(), dataset_timestamp=BUCKET, metadata={"whylogs.name": "nightly"})
    found = read_whylogs(data, source="written")
    assert {each.segment: each.rows for each in found} == dict(mixed_profile().rows)
    assert {each.dataset_timestamp for each in found} == {BUCKET}
    assert {each.metadata["whylogs.name"] for each in found} == {"nightly"}
    assert len(zipfile.ZipFile(BytesIO(data)).namelist()) == 3


def test_a_time_of_another_zone_is_the_same_moment() -> None:
    berlin = BUCKET.astimezone(timezone(timedelta(hours=1)))
    [found] = read_whylogs(write_whylogs(mixed_profile(), dataset_timestamp=berlin), source="written")
    assert found.dataset_timestamp == BUCKET


def test_a_segment_that_is_not_there_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no segment 'side=up'"):
        write_whylogs(mixed_profile(), "side=up", dataset_timestamp=BUCKET)


def test_a_time_without_a_zone_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no time zone"):
        write_whylogs(mixed_profile(), dataset_timestamp=datetime(2026, 3, 1))  # noqa: DTZ001


READER = """
import json, sys
from whylogs.core import DatasetProfileView
from whylogs.core.configs import SummaryConfig

def told(view):
    columns = {}
    for name, column in view.get_columns().items():
        told = column.to_summary_dict(cfg=SummaryConfig())
        items = told.get("frequent_items/frequent_strings") or []
        told["frequent_items/frequent_strings"] = [[item.value, item.est] for item in items]
        columns[name] = told
    return {"columns": columns, "time": view.dataset_timestamp.timestamp(), "metadata": dict(view.metadata)}

views = [DatasetProfileView.read(path) for path in sys.argv[1:]]
found = [told(view) for view in views]
json.dump([*found, told(views[1].merge(views[2]))], sys.stdout)
"""


@pytest.fixture(scope="module")
def whylogs_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has whylogs 1.6.4, in an environment of its own: it needs other versions than we do."""
    home = tmp_path_factory.mktemp("whylogs")
    try:
        venv.create(home, with_pip=True)
        python = home / "bin" / "python"
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "--no-input", "whylogs==1.6.4"],
            check=True,
            capture_output=True,
            timeout=300,
        )
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"whylogs 1.6.4 cannot be installed for Python {sys.version_info[:2]}: {error}")
    return python


@pytest.fixture(scope="module")
def told(whylogs_python: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What whylogs says of our three segments, and of the two sides merged."""
    folder, paths = tmp_path_factory.mktemp("written"), []
    for number, segment in enumerate(("", LEFT, "side=right")):
        paths.append(folder / f"{number}.bin")
        paths[-1].write_bytes(
            write_whylogs(
                mixed_profile(), segment, dataset_timestamp=BUCKET, metadata={"whylogs.name": "ours"}
            )
        )
    done = subprocess.run([whylogs_python, "-c", READER, *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_whylogs_reads_our_counts_and_moments(told: list[dict[str, Any]]) -> None:
    for said, segment in zip(told, ("", LEFT, "side=right"), strict=False):
        ours = mixed_profile().columns[segment]
        assert set(said["columns"]) == set(ours)
        for name, column in ours.items():
            theirs = said["columns"][name]
            assert theirs["counts/n"] == column.n
            assert theirs["counts/null"] == column.n_null + column.n_nan
            assert theirs["counts/nan"] == column.n_nan
            assert theirs["counts/inf"] == column.n_pos_inf + column.n_neg_inf
            assert theirs["counts/true"] == column.n_true
            assert theirs["types/fractional"] == column.t_fractional - column.n_nan
            assert theirs["types/integral"] == column.t_integral
            assert theirs["types/string"] == column.t_string
            assert theirs["types/boolean"] == column.t_bool
            assert theirs["types/object"] == column.t_object
            if column.m_n:
                assert theirs["distribution/n"] == column.m_n
                assert theirs["distribution/mean"] == pytest.approx(column.mean)
                assert theirs["distribution/stddev"] == pytest.approx(math.sqrt(column.m2 / (column.m_n - 1)))
                assert (theirs["distribution/min"], theirs["distribution/max"]) == (column.min, column.max)


@pytest.mark.slow
def test_whylogs_reads_our_sketches(told: list[dict[str, Any]]) -> None:
    said, ours = told[0]["columns"], mixed_profile().columns[""]
    for name, column in ours.items():
        if column.hll is not None:
            estimate, _, _ = Hll.from_image(column.hll).distinct()
            assert said[name]["cardinality/est"] == pytest.approx(estimate, rel=1e-4), name
    integers = np.random.default_rng(7)
    integers.normal(100, 15, 4_000)
    values = np.sort(integers.integers(-50, 1_000_000, 4_000))
    median = said["integer"]["distribution/median"]
    assert abs(np.searchsorted(values, median) / 4_000 - 0.5) <= ours["integer"].rank_error + 1 / 4_000
    assert (said["integer"]["ints/min"], said["integer"]["ints/max"]) == (values[0], values[-1])
    expected = [[text, estimate] for text, estimate, _, _ in ours["text"].top_items(3)]
    assert said["text"]["frequent_items/frequent_strings"] == expected


@pytest.mark.slow
def test_whylogs_reads_time_segment_and_metadata(told: list[dict[str, Any]]) -> None:
    for said in told[:3]:
        assert said["time"] == BUCKET.timestamp()
        assert said["metadata"]["whylogs.name"] == "ours"
    assert told[1]["metadata"]["whylogs.tag.side"] == "left=&%"


@pytest.mark.slow
def test_whylogs_merges_our_segments_into_the_whole(told: list[dict[str, Any]]) -> None:
    whole, merged = told[0]["columns"], told[3]["columns"]
    for name, column in whole.items():
        for path in ("counts/n", "counts/null", "types/integral", "types/string", "distribution/n"):
            assert merged[name][path] == column[path]
        assert merged[name]["distribution/mean"] == pytest.approx(column["distribution/mean"])
        if "cardinality/est" in column:
            assert merged[name]["cardinality/est"] == pytest.approx(column["cardinality/est"], rel=1e-3)
