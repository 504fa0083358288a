"""The description of a dataset: strict, with every problem at once."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring_pipeline.config.dataset import (
    LARGEST_DESCRIPTION,
    ProfileSettings,
    load_dataset,
    parse_dataset,
)
from monitoring_pipeline.errors import DocumentError, Problem
from monitoring_pipeline.timegrid import Granularity

WHOLE = """\
id: lead-scoring
organisation: org-0
description: Scores of incoming leads
owner: team:growth
granularity: daily
start: 2026-01-01
source:
  type: files
  path: landing/lead-scoring/**/*.parquet
  format: parquet
  date_in_path: "date=%Y-%m-%d"
timestamp: created_at
outcomes:
  path: landing/lead-scoring-outcomes/**/*.parquet
  timestamp: decided_at
segments: [[region], [channel], [region, channel]]
columns: {id: lead_id, prediction: prediction, score: score, target: converted, weight: null}
exclude: [lead_id]
profile: {kll_k: 512, kll_k_segments: 200, hll_lg_k: 12, frequent_items: true, max_segments: 10000}
"""
LEAST: dict[str, Any] = {
    "id": "lead-scoring",
    "granularity": "daily",
    "source": {"path": "landing/*.csv"},
    "timestamp": "created_at",
}


def written(folder: Path, text: str) -> Path:
    path = folder / "dataset.yaml"
    path.write_text(text)
    return path


def problems_of(data: object) -> dict[str, Problem]:
    with pytest.raises(DocumentError) as refused:
        parse_dataset(data, source="dataset.yaml")
    return {problem.path: problem for problem in refused.value.problems}


def refused_text(folder: Path, text: str) -> list[Problem]:
    with pytest.raises(DocumentError) as refused:
        load_dataset(written(folder, text))
    return list(refused.value.problems)


def test_a_whole_description_loads(tmp_path: Path):
    spec = load_dataset(written(tmp_path, WHOLE))
    assert (spec.id, spec.organisation, spec.owner) == ("lead-scoring", "org-0", "team:growth")
    assert spec.granularity is Granularity.DAILY
    assert spec.start == datetime(2026, 1, 1, tzinfo=UTC)
    assert spec.source.path == ("landing/lead-scoring/**/*.parquet",)
    assert (spec.source.format, spec.source.date_in_path) == ("parquet", "date=%Y-%m-%d")
    assert spec.timestamp == "created_at"
    assert spec.outcomes is not None
    assert spec.outcomes.path == ("landing/lead-scoring-outcomes/**/*.parquet",)
    assert spec.outcomes.timestamp == "decided_at"
    assert spec.segments == (("region",), ("channel",), ("region", "channel"))
    assert (spec.columns.id, spec.columns.target, spec.columns.weight) == ("lead_id", "converted", None)
    assert spec.exclude == ("lead_id",)
    assert spec.profile == ProfileSettings()


def test_the_least_description_has_defaults():
    spec = parse_dataset(LEAST, source="")
    assert (spec.organisation, spec.owner, spec.start, spec.outcomes, spec.description) == (
        None,
        None,
        None,
        None,
        "",
    )
    assert (spec.source.type, spec.source.format, spec.segments, spec.exclude) == ("files", None, (), ())
    settings = spec.profile
    assert (settings.kll_k, settings.kll_k_segments, settings.hll_lg_k) == (512, 200, 12)
    assert (settings.frequent_items, settings.max_segments) == (True, 10_000)


def test_paths_may_be_a_list_and_segments_bare_names():
    spec = parse_dataset(
        {**LEAST, "source": {"path": ["a.csv", "s3://b/c.csv"]}, "segments": ["region", ["a", "b"]]},
        source="",
    )
    assert spec.source.path == ("a.csv", "s3://b/c.csv")
    assert spec.segments == (("region",), ("a", "b"))


PROFILES = {"id": "visits", "granularity": "daily", "source": {"path": "landing/*.bin", "format": "whylogs"}}


def test_profiles_of_whylogs_need_no_timestamp():
    spec = parse_dataset(PROFILES, source="")
    assert (spec.source.format, spec.source.profiles, spec.timestamp) == ("whylogs", True, None)
    assert not parse_dataset(LEAST, source="").source.profiles


def test_what_only_rows_have_is_refused_beside_profiles():
    mixed = {
        **PROFILES,
        "timestamp": "at",
        "outcomes": {"path": "b.csv"},
        "profile": {"kll_k": 512, "max_columns": 5},
    }
    assert set(problems_of(mixed)) == {"$.timestamp", "$.outcomes", "$.profile.kll_k"}


def test_outcomes_are_rows():
    assert "$.outcomes.format" in problems_of({**LEAST, "outcomes": {"path": "b.bin", "format": "whylogs"}})


def test_outcomes_use_the_timestamp_of_the_dataset_unless_told_otherwise():
    spec = parse_dataset({**LEAST, "outcomes": {"path": "b.csv"}}, source="")
    assert spec.outcomes is not None
    assert spec.outcomes.timestamp == "created_at"


@pytest.mark.parametrize(
    ("granularity", "start", "first"),
    [
        ("weekly", "2026-01-01", datetime(2025, 12, 29, tzinfo=UTC)),
        ("monthly", "2026-01-31T12:00:00Z", datetime(2026, 1, 1, tzinfo=UTC)),
        ("hourly", "2026-01-31T12:34:56+02:00", datetime(2026, 1, 31, 10, tzinfo=UTC)),
    ],
)
def test_start_is_the_bucket_that_holds_the_moment(granularity: str, start: str, first: datetime):
    assert parse_dataset({**LEAST, "granularity": granularity, "start": start}, source="").start == first


def test_every_problem_is_told_at_once():
    broken = {
        "id": "../etc",
        "granularity": "dayly",
        "source": {"path": [], "formt": "csv", "format": "xlsx"},
        "owner": "somebody",
        "profile": {"kll_k": 7, "hll_lg_k": 22, "max_segments": 0, "kll": 5},
        "columns": {"predicton": "p"},
        "segments": [[]],
        "timestamps": "created_at",
    }
    assert set(problems_of(broken)) == {
        "$.id",
        "$.granularity",
        "$.source.path",
        "$.source.formt",
        "$.source.format",
        "$.owner",
        "$.profile.kll_k",
        "$.profile.hll_lg_k",
        "$.profile.max_segments",
        "$.profile.kll",
        "$.columns.predicton",
        "$.segments[0]",
        "$.timestamps",
    }


@pytest.mark.parametrize(
    ("changes", "path", "near"),
    [
        ({"granularty": "daily"}, "$.granularty", "granularity"),
        ({"profile": {"kll": 5}}, "$.profile.kll", "kll_k"),
        ({"source": {"path": "a", "fromat": "csv"}}, "$.source.fromat", "format"),
        ({"columns": {"weigth": "w"}}, "$.columns.weigth", "weight"),
    ],
)
def test_an_unknown_key_names_the_likely_one(changes: dict[str, Any], path: str, near: str):
    wrong = problems_of({**LEAST, **changes})[path]
    assert "unknown key" in wrong.found
    assert f'did you mean "{near}"?' in wrong.accepted


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-a", "a b", "a\n", "ä", "a" * 101, "con:1", 7, None])
def test_ids_that_are_not_safe_as_names_of_folders(name: object):
    assert "$.id" in problems_of({**LEAST, "id": name})


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", fullmatch=True))
def test_ids_that_are_safe(name: str):
    assert parse_dataset({**LEAST, "id": name}, source="").id == name


@pytest.mark.parametrize("owner", ["a@example.com", "team:growth", "team:ml-platform"])
def test_owners(owner: str):
    assert parse_dataset({**LEAST, "owner": owner}, source="").owner == owner


def test_a_timestamp_or_a_date_in_the_path_is_needed():
    bare = {key: value for key, value in LEAST.items() if key != "timestamp"}
    assert list(problems_of(bare)) == ["$.timestamp"]
    dated = {**bare, "source": {"path": "a", "date_in_path": "%Y/%m/%d"}}
    assert parse_dataset(dated, source="").timestamp is None
    assert list(problems_of({**dated, "outcomes": {"path": "b"}})) == ["$.outcomes.timestamp"]


@pytest.mark.parametrize(
    ("granularity", "pattern", "enough"),
    [
        ("daily", "date=%Y-%m-%d", True),
        ("daily", "%Y/%m", False),
        ("monthly", "%Y/%m", True),
        ("hourly", "%Y-%m-%d", False),
        ("hourly", "%Y%m%d%H", True),
        ("weekly", "%G-W%V-%u", True),
        ("daily", "%d.%m", False),
        ("daily", "no directive", False),
        ("daily", "%Q", False),
        ("daily", "%y%m%d", True),
    ],
)
def test_a_date_in_the_path_tells_the_bucket(granularity: str, pattern: str, enough: bool):
    given_spec = {**LEAST, "granularity": granularity, "source": {"path": "a", "date_in_path": pattern}}
    if enough:
        parse_dataset(given_spec, source="")
    else:
        assert list(problems_of(given_spec)) == ["$.source.date_in_path"]


def test_segments_are_not_given_twice():
    assert list(problems_of({**LEAST, "segments": [["a", "b"], ["b", "a"]]})) == ["$.segments[1]"]
    assert list(problems_of({**LEAST, "segments": [["a", "a"]]})) == ["$.segments[0]"]


@pytest.mark.parametrize("changes", [{"timestamp": True}, {"exclude": [1]}, {"segments": [[2026]]}])
def test_yaml_values_that_are_no_names_ask_for_quotes(changes: dict[str, Any]):
    (wrong,) = problems_of({**LEAST, **changes}).values()
    assert wrong.accepted == "text, in quotes"


def test_passwords_in_urls_never_stand_in_a_problem():
    wrong = problems_of({**LEAST, "granularity": "s3://key:SECRET@bucket/x"})
    assert "SECRET" not in str(wrong["$.granularity"])


# --- files -------------------------------------------------------------------------------------------------------


def test_yaml_errors_have_line_and_column(tmp_path: Path):
    (wrong,) = refused_text(tmp_path, "id: a\nsource: {path: b\ntimestamp: c\n")
    assert wrong.path == "line 3, column 10"
    assert wrong.accepted == "YAML"


def test_a_key_given_twice_is_refused_where_it_stands(tmp_path: Path):
    wrong = refused_text(tmp_path, "id: a\nsource:\n  path: b\n  path: c\nid: d\n")
    assert [(problem.path, problem.found) for problem in wrong] == [
        ("line 5, column 1", 'the key "id" again'),
        ("line 4, column 3", 'the key "path" again'),
    ]


def test_anchors_that_could_explode_are_refused(tmp_path: Path):
    (wrong, *_) = refused_text(tmp_path, "a: &x [1]\nb: [*x, *x]\n")
    assert "anchor" in wrong.found


@pytest.mark.parametrize(
    "text", ["", "just text", "- a list", "--- \na: 1\n---\nb: 2\n", "a: !!python/object:os.system x", "\x00"]
)
def test_text_that_is_no_description(tmp_path: Path, text: str):
    assert refused_text(tmp_path, text)


def test_a_nesting_bomb_is_refused(tmp_path: Path):
    (wrong,) = refused_text(tmp_path, "[" * 5000 + "]" * 5000)
    assert "at most 64 levels" in wrong.accepted
    (wrong,) = refused_text(tmp_path, "a: " + "[" * 70 + "]" * 70)
    assert "at most 64 levels" in wrong.accepted


def test_a_file_that_cannot_be_read(tmp_path: Path):
    with pytest.raises(DocumentError, match="No such file"):
        load_dataset(tmp_path / "missing.yaml")
    path = tmp_path / "dataset.yaml"
    path.write_bytes(b"id: \xff")
    with pytest.raises(DocumentError, match="UTF-8"):
        load_dataset(path)
    path.write_bytes(b"#" * (LARGEST_DESCRIPTION + 1))
    with pytest.raises(DocumentError, match="at most 200,000 bytes"):
        load_dataset(path)


@pytest.mark.parametrize("date", ["2026-02-30", "2026-13-01T00:00:00"])
def test_a_date_that_does_not_exist(tmp_path: Path, date: str):
    assert refused_text(tmp_path, WHOLE.replace("2026-01-01", date))


@pytest.mark.parametrize(
    ("written_as", "label"), [("true", "True"), ("1", "1"), ("'1'", "1"), ("converted", "converted")]
)
def test_the_positive_label_is_the_text_that_profiles_call_it_by(
    written_as: str, label: str, tmp_path: Path
) -> None:
    text = WHOLE.replace("weight: null", f"weight: null, positive: {written_as}")
    assert load_dataset(written(tmp_path, text)).columns.positive == label


@pytest.mark.parametrize("written_as", ["''", "[a, b]", "0.5"])
def test_a_positive_label_that_is_none_is_refused(written_as: str, tmp_path: Path) -> None:
    text = WHOLE.replace("weight: null", f"weight: null, positive: {written_as}")
    assert [problem.path for problem in refused_text(tmp_path, text)] == ["$.columns.positive"]


def test_the_most_columns_are_ten_thousand_unless_said() -> None:
    assert ProfileSettings().max_columns == 10_000
    assert set(problems_of(LEAST | {"profile": {"max_columns": 0}})) == {"$.profile.max_columns"}
