"""The block `privacy` of dataset.yaml: which rule holds for a column, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitoring_pipeline.config.dataset import load_dataset, parse_dataset
from monitoring_pipeline.config.privacy import PrivacySpec
from monitoring_pipeline.errors import DocumentError

DATASET = {"id": "d", "granularity": "daily", "source": {"path": "x.parquet"}, "timestamp": "at"}


def _rule(column: str, **privacy: object) -> str:
    return str(PrivacySpec.model_validate(privacy).rule(column))


def test_without_a_rule_everything_is_kept() -> None:
    assert _rule("x") == "frequent_items on, extremes exact"
    assert not PrivacySpec().used


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("off", "off"),
        (False, "off"),
        ("on", "on"),
        (True, "on"),
        ("Hashed", "hashed"),
        ({"at_least": 7}, "at_least 7"),
    ],
)
def test_on_and_off_are_read_as_words_and_as_yaml_reads_them(written: object, kept: str) -> None:
    assert _rule("x", columns={"x": {"frequent_items": written, "extremes": "exact"}}) == (
        f"frequent_items {kept}, extremes exact"
    )


def test_the_exact_name_comes_first_then_patterns_in_their_order_then_the_default() -> None:
    privacy = {
        "default": {"frequent_items": "off"},
        "columns": {
            "user_*": {"frequent_items": "hashed"},
            "*_id": {"frequent_items": {"at_least": 3}},
            "user_id": {"frequent_items": "on"},
        },
    }
    found = [_rule(name, **privacy).split(",")[0] for name in ("user_id", "user_xid", "order_id", "other")]
    assert found == [f"frequent_items {kept}" for kept in ("on", "hashed", "at_least 3", "off")]


def test_each_setting_is_looked_up_by_itself() -> None:
    privacy = {"default": {"extremes": "exact"}, "columns": {"x": {"frequent_items": "off"}}}
    assert _rule("x", **privacy) == "frequent_items off, extremes exact"


def test_numbers_are_masked_where_values_are_not_kept_unless_said_otherwise() -> None:
    assert _rule("x", columns={"x": {"frequent_items": "hashed"}}).endswith("extremes masked")


def test_a_pattern_stands_for_whole_names_and_its_other_characters_for_themselves() -> None:
    privacy = {"columns": {"a.b?": {"frequent_items": "off"}}}
    kept = [_rule(name, **privacy).split(",")[0].split()[-1] for name in ("a.bc", "axbc", "a.bcd")]
    assert kept == ["off", "on", "on"]


@pytest.mark.parametrize("written", ["sometimes", {"at_least": 1}, {"at_least": True}, {"least": 3}, 5])
def test_anything_else_is_refused_with_what_is_accepted(written: object) -> None:
    data = {**DATASET, "privacy": {"columns": {"x": {"frequent_items": written}}}}
    with pytest.raises(DocumentError, match=r"on, off, hashed, or \{at_least: k\}"):
        parse_dataset(data, source="dataset.yaml")


@pytest.mark.parametrize(
    "privacy",
    [
        {"columns": {"region": {"frequent_items": "hashed"}}},
        {"columns": {"reg*": {"extremes": "masked"}}},
        {"default": {"frequent_items": "off"}},
    ],
)
def test_segments_by_a_private_column_are_refused(privacy: dict[str, object]) -> None:
    data = {**DATASET, "segments": [["region"]], "privacy": privacy}
    with pytest.raises(DocumentError, match=r'\$\.segments\[0\]: found "region".*leave the segment out'):
        parse_dataset(data, source="dataset.yaml")


def test_a_segment_column_may_be_taken_out_of_the_default() -> None:
    privacy = {"default": {"frequent_items": "off"}, "columns": {"region": {"frequent_items": "on"}}}
    spec = parse_dataset({**DATASET, "segments": [["region"]], "privacy": privacy}, source="dataset.yaml")
    assert spec.privacy.rule("region").open


def test_the_file_is_read_back_as_it_is_stored(tmp_path: Path) -> None:
    path = tmp_path / "dataset.yaml"
    path.write_text(
        "id: d\ngranularity: daily\nsource: {path: x.parquet}\ntimestamp: at\n"
        "privacy:\n  default: {frequent_items: {at_least: 5}}\n  columns:\n"
        "    email: {frequent_items: off}\n    x: {frequent_items: on, extremes: masked}\n"
    )
    spec = load_dataset(path)
    stored = spec.model_dump(mode="json", exclude_unset=True)
    assert stored["privacy"] == {
        "default": {"frequent_items": {"at_least": 5}},
        "columns": {"email": {"frequent_items": "off"}, "x": {"frequent_items": "on", "extremes": "masked"}},
    }
    assert parse_dataset(stored, source="store") == spec
