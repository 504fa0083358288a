"""Profiles at hand: made of whatever holds rows, asked, merged, kept in files, shown."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import monitoring_pipeline as mp
from monitoring_pipeline.errors import ProfileError, SourceError, UsageError
from monitoring_pipeline.metrics import catalog
from monitoring_pipeline.profiling import profile as profiled
from monitoring_pipeline.profiling.whylogs import write_whylogs_zip

FRAME = pd.DataFrame(
    {
        "amount": [1.0, 2.0, 3.0, None, 10.0],
        "country": ["DE", "DE", "FR", None, "DE"],
        "paid": [True, False, True, True, True],
    }
)


class Streamed:
    """Rows behind the Arrow stream interface and nothing else, as polars has them."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


@pytest.fixture
def found() -> mp.Profile:
    return mp.profile(FRAME, segments=["country", ["country", "paid"]])


def test_the_package_offers_these_names() -> None:
    assert mp.__all__ == ["Comparison", "Profile", "compare", "from_file", "profile"]
    assert {*mp.__all__} <= {*dir(mp)}
    with pytest.raises(AttributeError, match="no attribute 'profiel'"):
        mp.profiel  # type: ignore[attr-defined]  # noqa: B018


def test_the_summary_has_a_row_for_each_segment_and_column(found: mp.Profile) -> None:
    summary = found.summary()
    assert len(summary) == 3 * len({*summary["segment"]}) == 3 * (1 + 3 + 4)
    rows = summary.set_index(["segment", "column"])
    assert rows.index.is_unique
    amount = rows.loc[("", "amount")]
    assert (amount["count"], amount["count_null"], amount["mean"], amount["max"]) == (5, 1, 4.0, 10.0)
    assert rows.loc[("country=DE", "amount"), "count"] == 3
    assert rows.loc[("", "country"), "frequent_items"] == [["DE", 3], ["FR", 1]]
    assert math.isnan(rows.loc[("", "country"), "mean"])


def test_the_summary_has_the_promised_types(found: mp.Profile) -> None:
    for frame in (found.summary(), mp.profile(pa.table({})).summary()):
        kinds = {name: str(kind) for name, kind in frame.dtypes.items()}
        texts = {"segment", "column", "inferred_data_type"}
        counts = {name for name, metric in catalog().items() if metric.additive and metric.unit == "values"}
        assert {name for name, kind in kinds.items() if kind == "str"} == texts
        assert {name for name, kind in kinds.items() if kind == "int64"} == counts & {*kinds}
        assert kinds["frequent_items"] == "object"
        assert {*kinds.values()} == {"str", "int64", "float64", "object"}


def test_columns_and_segments_are_asked_by_name(found: mp.Profile) -> None:
    assert found.rows == 5
    assert found.columns == ("amount", "country", "paid")
    assert list(found) == ["amount", "country", "paid"]
    assert "amount" in found
    assert found["amount"].mean == 4.0
    assert found["amount", "country=DE"] == found["amount", {"country": "DE"}]
    assert found["amount", "paid=True&country=FR"].n == 1


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("amuont", "no column is called 'amuont'; near: 'amount'"),
        (("amount", "country=XX"), "no segment 'country=XX'; there are: 'country=DE'"),
        (("amount", "nonsense"), "'nonsense' is not a segment such as"),
    ],
)
def test_what_is_not_there_is_told(found: mp.Profile, asked: str | tuple[str, str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        found[asked]


@pytest.mark.parametrize("form", [pa.Table.from_pandas, lambda frame: Streamed(pa.Table.from_pandas(frame))])
def test_the_form_of_the_data_leaves_no_trace(form: object, found: mp.Profile) -> None:
    assert callable(form)
    assert mp.profile(form(FRAME), segments=["country", ["country", "paid"]]) == found


def test_files_are_profiled_in_a_stream(tmp_path: Path, found: mp.Profile) -> None:
    pq.write_table(pa.Table.from_pandas(FRAME[:3]), tmp_path / "a.parquet")
    pq.write_table(pa.Table.from_pandas(FRAME[3:]), tmp_path / "b.parquet")
    FRAME.to_csv(tmp_path / "c.csv", index=False)
    FRAME.to_json(tmp_path / "d.jsonl", orient="records", lines=True)
    segments = ["country", ["country", "paid"]]
    assert mp.profile(tmp_path / "*.parquet", segments=segments) == found
    for name in ("c.csv", "d.jsonl"):
        one = mp.profile(str(tmp_path / name))
        assert (one.rows, one["amount"].mean, one["paid"].n_true, one["country"].n_null) == (5, 4.0, 4, 1)


def test_a_relative_path_is_that_of_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq.write_table(pa.table({"x": [1]}), tmp_path / "x.parquet")
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "inside")
    assert mp.profile("../x.parquet").rows == 1


def test_lines_that_are_no_records_and_repeated_columns_are_warned_about(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,a,b\n1,2,3\n4,5,6,7,8\n", encoding="utf-8")
    found = mp.profile(tmp_path / "x.csv")
    assert [warning.kind for warning in found.warnings] == ["repeated_column", "unreadable"]
    assert repr(found) == "Profile of 1 row, 2 columns (a, b), 2 warnings"


def test_what_cannot_be_read_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no Parquet, CSV or JSON-lines file in .*nowhere"):
        mp.profile(tmp_path / "nowhere")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(SourceError, match=r"broken\.parquet cannot be read: "):
        mp.profile(tmp_path / "broken.parquet")
    with pytest.raises(UsageError, match=r"a frame of pandas or polars.*found list"):
        mp.profile([1, 2, 3])  # type: ignore[arg-type]


def test_a_merge_is_the_profile_of_all_rows(found: mp.Profile) -> None:
    segments = ["country", ["country", "paid"]]
    parts = [mp.profile(FRAME[at : at + 1], segments=segments) for at in range(5)]
    merged = parts[0].merge(parts[1]).merge(parts[2]).merge(parts[3]).merge(parts[4])
    pd.testing.assert_frame_equal(
        merged.summary().sort_values(["segment", "column"], ignore_index=True),
        found.summary().sort_values(["segment", "column"], ignore_index=True),
    )


def test_a_file_gives_the_profile_back(found: mp.Profile, tmp_path: Path) -> None:
    path = tmp_path / "kept.profile"
    for profile in (mp.profile(pa.table({"x": [1]})), found):
        profile.to_file(path)
        assert mp.from_file(path) == mp.Profile.from_file(str(path)) == profile
    assert [file.name for file in tmp_path.iterdir()] == ["kept.profile"]


def test_a_file_that_cannot_be_written_leaves_the_old_one(
    found: mp.Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kept.profile"
    found.to_file(path)
    before = path.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ProfileError, match=r"kept\.profile cannot be written: No space left on device"):
        mp.profile(pa.table({"x": [1]})).to_file(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["kept.profile"]


def test_a_zip_of_whylogs_is_one_profile_with_its_segments(tmp_path: Path) -> None:
    bucket = datetime(2026, 3, 1, tzinfo=UTC)
    path = tmp_path / "whylogs.zip"
    path.write_bytes(write_whylogs_zip(profiled(FRAME, [["country"]]), dataset_timestamp=bucket))
    found = mp.from_file(path)
    assert (found.rows, found.dataset_timestamp) == (5, bucket)
    assert found.segments == ("country=", "country=DE", "country=FR")
    assert found["amount", "country=DE"].n == 3


def test_predictions_are_held_against_outcomes() -> None:
    frame = pd.DataFrame({"guess": ["a", "b", "b"], "truth": ["a", "b", "a"], "country": ["DE", "DE", "FR"]})
    roles = {"prediction": "guess", "target": "truth"}
    told = mp.profile(frame, segments=["country"], roles=roles).performance().set_index("segment")
    assert told["classification.accuracy"].to_dict() == {
        "": pytest.approx(2 / 3),
        "country=DE": 1.0,
        "country=FR": 0.0,
    }
    assert mp.profile(frame).performance().empty


class Page(HTMLParser):
    """Tags and texts of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, _attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.open.append(tag)

    def handle_startendtag(self, tag: str, _attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


KNOWN_TAGS = {
    *("div", "table", "thead", "tbody", "tr", "th", "td", "b", "span"),
    *("svg", "path", "rect", "text", "title"),
}


def page_of(shown: mp.Profile | mp.Comparison) -> Page:
    page = Page()
    page.feed(shown._repr_html_())
    page.close()
    assert not page.open
    assert {*page.tags} <= KNOWN_TAGS
    return page


def test_texts_of_the_data_are_escaped() -> None:
    evil = "<script>alert(1)</script>\"'&\x1b[31m"
    frame = pd.DataFrame({evil: [evil, evil, "fine"], "n": [1.0, 2.0, 3.0]})
    found = mp.profile(frame, segments=[evil])
    for shown in (found, mp.compare(found, found)):
        page = page_of(shown)
        assert any("<script>alert(1)</script>" in text for text in page.texts)
        assert "\x1b" not in "".join(page.texts)


def test_a_page_is_bounded_however_many_columns_there_are() -> None:
    wide = pa.table({f"column {at}" + "x" * 500: [float(at), 1.0] for at in range(2_000)})
    found = mp.profile(wide)
    for shown in (found, mp.compare(found, found)):
        assert len(shown._repr_html_()) < 300_000
        assert "… 1,900 more columns" in page_of(shown).texts
        assert len(repr(shown)) < 6_000


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame(),
        pd.DataFrame({"x": []}),
        pd.DataFrame({"x": [None, None]}),
        pd.DataFrame({"x": [7.0, 7.0]}),
        pd.DataFrame({"x": [math.inf, -math.inf]}),
        pd.DataFrame({"x": [1e308, -1e308]}),
        pd.DataFrame({"x": [5e-324, 0.0]}),
        pd.DataFrame({"x": [2**63, 2**63 + 4096]}),
        pd.DataFrame({"x": ["", " ", "\U0001f600"]}),
        pd.DataFrame({"x": pd.to_datetime(["2026-01-01", "2026-01-02"])}),
        pd.DataFrame({"x": [[1], {"a": 2}]}),
    ],
)
def test_anything_can_be_shown_and_compared(frame: pd.DataFrame) -> None:
    found = mp.profile(frame)
    page_of(found)
    comparison = mp.compare(found, found)
    page_of(comparison)
    assert comparison.drifted == ()
    assert len(comparison.to_frame()) == len(found.columns)
    assert len(found.summary()) == len(found.columns) if found.rows else True
    assert np.isnan(comparison.to_frame()["score"]).all() or (comparison.to_frame()["score"] == 0).all()
