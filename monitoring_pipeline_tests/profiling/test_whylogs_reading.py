"""Files of whylogs against what whylogs itself reports about them."""

from __future__ import annotations

import math
import zipfile
from datetime import UTC, datetime
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from monitoring_pipeline.errors import ProfileError
from monitoring_pipeline.metrics import metric
from monitoring_pipeline.profiling import ColumnProfile
from monitoring_pipeline.profiling.performance import SUMS
from monitoring_pipeline.profiling.sketches import Kll
from monitoring_pipeline.profiling.whylogs import WhylogsProfile, read_whylogs, read_whylogs_file
from monitoring_pipeline_tests.profiling.whylogs_files import FOLDER, columns_of, needs_files, truth

pytestmark = needs_files

FILES = sorted(file for file in truth() if "columns" in truth()[file].get("f", truth()[file]))
COLUMNS = [(file, column) for file in FILES for column in columns_of(file)]
QUANTILES = {"q_01": 0.01, "q_05": 0.05, "q_10": 0.1, "q_25": 0.25, "median": 0.5}
QUANTILES |= {"q_75": 0.75, "q_90": 0.9, "q_95": 0.95, "q_99": 0.99}
COUNTS = {"counts/n": "n", "counts/null": "n_null", "counts/nan": "n_nan", "counts/true": "n_true"}
TYPES = {"integral": "t_integral", "fractional": "t_fractional", "boolean": "t_bool", "string": "t_string"}
COUNTS |= {f"types/{ours}": name for ours, name in (TYPES | {"object": "t_object"}).items()}


@cache
def only(file: str) -> WhylogsProfile:
    [found] = read_whylogs_file(FOLDER / file)
    return found


def column_of(file: str, column: str) -> ColumnProfile:
    found = only(file)
    return found.profile.columns[found.segment][column]


def test_every_file_is_read() -> None:
    for path in FOLDER.glob("*.bin"):
        assert read_whylogs_file(path), path.name


@pytest.mark.parametrize("file", FILES)
def test_a_file_has_the_columns_that_whylogs_finds(file: str) -> None:
    found = only(file)
    assert set(found.profile.columns[found.segment]) == set(columns_of(file))
    assert found.rows == max(column["counts/n"] for column in columns_of(file).values())


@pytest.mark.parametrize(("file", "column"), COLUMNS)
def test_counts_are_those_of_whylogs(file: str, column: str) -> None:
    ours, theirs = column_of(file, column), columns_of(file)[column]
    for path, name in COUNTS.items():
        if path in theirs:
            assert getattr(ours, name) == theirs[path], path
    if not file.startswith("cls"):  # the older format does not count infinities
        assert ours.n_pos_inf + ours.n_neg_inf == theirs["counts/inf"]


@pytest.mark.parametrize(("file", "column"), COLUMNS)
def test_moments_are_those_of_whylogs_unless_infinities_spoiled_them(file: str, column: str) -> None:
    ours, theirs = column_of(file, column), columns_of(file)[column]
    if not theirs["distribution/n"] or not math.isfinite(theirs["distribution/mean"]):
        assert (ours.m_n, ours.scalars()["mean"], ours.scalars()["m2"]) == (0, None, None)
        return
    assert ours.m_n == theirs["distribution/n"]
    assert ours.mean == pytest.approx(theirs["distribution/mean"], rel=1e-15)
    spread = {"m_n": np.array([float(ours.m_n)]), "m2": np.array([ours.m2])}
    if ours.m_n > 1:  # of one value, whylogs says 0 and we say nothing
        assert metric("stddev").formula(spread)[0] == pytest.approx(theirs["distribution/stddev"], rel=1e-12)


@pytest.mark.parametrize(("file", "column"), COLUMNS)
def test_extremes_are_those_of_whylogs_unless_infinite(file: str, column: str) -> None:
    ours, theirs = column_of(file, column), columns_of(file)[column]
    for name, found in (("min", ours.min), ("max", ours.max)):
        expected = theirs[f"distribution/{name}"]
        if expected is None or math.isfinite(expected):
            assert found == expected, name
        else:
            assert found is None or math.isfinite(found)
    if ours.t_integral:
        assert (ours.min, ours.max) == (theirs["ints/min"], theirs["ints/max"])


@pytest.mark.parametrize(("file", "column"), COLUMNS)
def test_quantiles_are_within_the_rank_error_of_those_of_whylogs(file: str, column: str) -> None:
    ours, theirs = column_of(file, column), columns_of(file)[column]
    if ours.kll is None:
        return
    kll = Kll.from_image(ours.kll)
    error = ours.rank_error + 2 / kll.n  # 2: an infinity that is left out, and how ranks are rounded
    for name, rank in QUANTILES.items():
        value = theirs[f"distribution/{name}"]
        if not math.isfinite(value):
            continue
        below, upto = kll.ranks(np.array([value, np.nextafter(value, np.inf)]))
        assert below - error <= rank <= upto + error, name
        assert ours.quantiles([max(rank - error, 0)])[0] <= value <= ours.quantiles([min(rank + error, 1)])[0]


@pytest.mark.parametrize(("file", "column"), COLUMNS)
def test_distinct_values_are_within_the_errors_of_both_estimators(file: str, column: str) -> None:
    ours, theirs = column_of(file, column), columns_of(file)[column]
    expected = theirs["cardinality/est"]
    estimate, lower, upper = ours.distinct()
    assert lower <= estimate <= upper
    if expected < 100:
        assert estimate == pytest.approx(expected, abs=1e-4)
    elif file == "merged.bin":  # whylogs estimates merged sketches as we do all
        assert estimate == pytest.approx(min(expected, ours.n - ours.n_null), rel=1e-12)
    else:
        assert abs(estimate / min(expected, ours.n - ours.n_null) - 1) < 3 * (1.04 + 0.83) / 64


@pytest.mark.parametrize(("file", "column"), COLUMNS)
def test_frequent_items_have_the_estimates_and_bounds_of_whylogs(file: str, column: str) -> None:
    ours, theirs = column_of(file, column), columns_of(file)[column]
    expected = [tuple(item) for item in theirs.get("frequent_items", [])]
    # whylogs lists, up to 20 of them, what surely occurred more often than the sketch may be wrong.
    found = [item for item in ours.top_items(1_000) if item[2] > item[3] - item[2]]
    assert set(expected) <= set(found)
    assert [item[1] for item in expected] == [item[1] for item in found[:20]]
    assert (ours.frequent_items is None) == ("frequent_items" not in theirs)


@pytest.mark.parametrize("file", FILES)
def test_times_are_read_in_utc(file: str) -> None:
    expected = truth()[file].get("f", truth()[file])
    found = only(file)
    assert found.dataset_timestamp is not None
    assert found.dataset_timestamp.timestamp() * 1000 == expected["dataset_timestamp"]
    assert found.dataset_timestamp.tzinfo is UTC
    assert found.creation_timestamp is not None
    assert abs(found.creation_timestamp.timestamp() * 1000 - expected["creation_timestamp"]) <= 1


@pytest.mark.parametrize("file", [file for file in FILES if file != "cls.bin"])
def test_metadata_is_that_of_whylogs(file: str) -> None:
    expected = truth()[file]["metadata"]
    found = only(file).metadata
    for name in ("whylabs.traceId", "whylogs.version"):
        assert found[name] == expected[name]


@pytest.mark.parametrize(
    ("file", "segment"),
    [
        ("plain.bin", ""),
        ("seg1_0.bin", "seg=A"),
        ("seg1_1.bin", "seg=B"),
        ("seg2_0.bin", "seg=A&seg2=x"),
        ("seg2_0_v0.bin", "seg=A&seg2=x"),
        ("segkv.bin", "region=eu&tier=gold"),
        ("clsseg_0.bin", "seg=A"),
    ],
)
def test_the_segment_is_in_the_file(file: str, segment: str) -> None:
    found = only(file)
    assert found.segment == segment
    assert list(found.profile.rows) == [segment]


def test_the_older_format_says_the_same_of_a_segment() -> None:
    new, old = only("seg2_0.bin"), only("seg2_0_v0.bin")
    assert set(old.profile.columns[old.segment]) == set(new.profile.columns[new.segment])
    for name, column in new.profile.columns[new.segment].items():
        other = old.profile.columns[old.segment][name]
        for scalar in (
            "n",
            "n_null",
            "n_true",
            "t_integral",
            "t_fractional",
            "t_string",
            "mean",
            "min",
            "max",
        ):
            assert getattr(other, scalar) == getattr(column, scalar), (name, scalar)
        assert (other.distinct()[0], other.top_items(5)) == (
            pytest.approx(column.distinct()[0], nan_ok=True),
            column.top_items(5),
        )


def test_merged_segments_are_the_profile_of_all_data() -> None:
    whole = only("plain.bin").profile.columns[""]
    halves = [only(f"seg1_{number}.bin") for number in (0, 1)]
    for name, column in whole.items():
        merged = halves[0].profile.columns["seg=A"][name].merge(halves[1].profile.columns["seg=B"][name])
        assert merged.n == column.n
        assert merged.n_null == column.n_null
        assert merged.distinct()[0] == pytest.approx(column.distinct()[0], nan_ok=True)
        if column.m_n:
            assert merged.mean == pytest.approx(column.mean, rel=1e-12)


def test_a_confusion_matrix_is_that_of_whylogs() -> None:
    found, expected = only("cls.bin").performance, truth()["cls.bin"]
    assert found is not None
    assert list(found.labels) == expected["labels"]
    sums = {f"{i},{j}": row for (i, j), row in zip(found.pairs.tolist(), found.sums, strict=True)}
    assert {key: row[SUMS.index("weight")] for key, row in sums.items()} == expected["n"]
    for key, mean in expected["mean"].items():
        row = sums[key]
        assert row[SUMS.index("score")] / row[SUMS.index("scored")] == pytest.approx(mean, rel=1e-12)
    right = found.sums[:, SUMS.index("agreed")].sum() / found.sums[:, SUMS.index("weight")].sum()
    assert right == pytest.approx(expected["accuracy"])
    # Predictions in rows: 36 cats were taken for dogs, no dog for a cat.
    assert expected["ct"]["dog|cat"] == sums["1,0"][SUMS.index("weight")]
    assert found.mass.sum() == pytest.approx(found.total("rows")) == 600
    tenths = found.sums[:, SUMS.index("score_0") :].sum(axis=1)
    assert tenths.tolist() == pytest.approx(found.sums[:, SUMS.index("score")].tolist(), rel=1e-9)


def test_labels_without_scores_have_none() -> None:
    found = only("clsseg_0.bin").performance
    assert found is not None
    assert found.total("rows") == 310
    assert not found.sums[:, SUMS.index("scored")].any()
    assert not len(found.cells)


def test_regression_sums_give_the_errors_that_whylogs_gives() -> None:
    profile, expected = only("reg.bin"), truth()["reg.bin"]
    found = profile.performance
    assert found is not None
    n = found.total("errors")
    assert n == found.total("rows") == profile.rows == expected["count"]
    assert found.total("absolute_error") / n == pytest.approx(expected["mae"], rel=1e-12)
    assert found.total("squared_error") / n == pytest.approx(expected["mse"], rel=1e-12)
    assert math.sqrt(found.total("squared_error") / n) == pytest.approx(expected["rmse"], rel=1e-12)


def test_a_zip_holds_a_profile_for_each_segment(tmp_path: Path) -> None:
    path = tmp_path / "upload.bin"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("seg1_0.bin", "seg1_1.bin", "reg.bin"):
            archive.write(FOLDER / name, f"folder/{name}")
    assert [found.segment for found in read_whylogs_file(path)] == ["seg=A", "seg=B", ""]


def test_a_zip_in_a_zip_is_refused() -> None:
    inner, outer = BytesIO(), BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.write(FOLDER / "row.bin", "row.bin")
    with zipfile.ZipFile(outer, "w") as archive:
        archive.writestr("inner.zip", inner.getvalue())
    with pytest.raises(ProfileError, match=r"upload\.bin: file 'inner\.zip' in the zip: another zip"):
        read_whylogs(outer.getvalue(), source="upload.bin")


def test_several_older_messages_may_share_a_file_and_one_may_lack_its_length() -> None:
    several = b"".join((FOLDER / name).read_bytes() for name in ("reg.bin", "clsseg_0.bin"))
    assert [found.segment for found in read_whylogs(several, source="x")] == ["", "seg=A"]
    bare = (FOLDER / "reg.bin").read_bytes()[1:]
    [found] = read_whylogs(bare, source="x")
    assert found.rows == 500
    assert found.dataset_timestamp == datetime(2024, 3, 5, 12, 30, tzinfo=UTC)
