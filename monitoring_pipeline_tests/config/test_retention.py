from __future__ import annotations

import pytest

from monitoring_pipeline.config.dataset import parse_dataset
from monitoring_pipeline.config.retention import RetentionSpec, parse_retention, retention_of
from monitoring_pipeline.errors import DocumentError
from monitoring_pipeline.timegrid import Duration, Granularity

DATASET = {"id": "orders", "source": {"path": "x.parquet"}, "timestamp": "t"}


def _parsed(retention: object, granularity: str = "hourly") -> RetentionSpec:
    return parse_dataset(
        DATASET | {"granularity": granularity, "retention": retention}, source="test"
    ).retention


def _problems(retention: object, granularity: str = "hourly") -> dict[str, str]:
    with pytest.raises(DocumentError) as caught:
        _parsed(retention, granularity)
    return {problem.path: problem.accepted for problem in caught.value.problems}


def test_everything_is_kept_unless_somebody_says_otherwise_save_for_what_was_replaced() -> None:
    kept = parse_dataset(DATASET | {"granularity": "daily"}, source="test").retention
    assert (kept.base, kept.daily, kept.weekly, kept.monthly, kept.results) == (None,) * 5
    assert str(kept.superseded) == "P90D"


def test_durations_and_for_ever_are_read_in_any_case() -> None:
    kept = _parsed(
        {"base": "P35D", "daily": "p2y", "weekly": "Forever", "monthly": "for ever", "results": "P2Y"}
    )
    assert kept.base == Duration.parse("P35D")
    assert kept.daily == kept.results == Duration.parse("P2Y")
    assert kept.weekly is kept.monthly is None


@pytest.mark.parametrize("value", ["35 days", 35, "P35", True, "", ["P1D"]])
def test_anything_else_is_refused_with_what_is_accepted(value: object) -> None:
    assert "P35D" in _problems({"base": value})["$.retention.base"]


def test_an_unknown_key_is_refused() -> None:
    assert "$.retention.hourly" in _problems({"hourly": "P35D"})


def test_what_takes_the_place_of_something_is_kept_as_long() -> None:
    assert set(_problems({"base": "P2Y", "daily": "P1Y"})) == {"$.retention.daily"}
    assert set(_problems({"base": "P1Y", "weekly": "P6M"}, "daily")) == {"$.retention.weekly"}
    assert _parsed({"base": "P1M", "daily": "P1M"}).daily == Duration(months=1)


@pytest.mark.parametrize("granularity", ["weekly", "monthly"])
def test_profiles_that_nothing_can_take_the_place_of_are_kept(granularity: str) -> None:
    assert "monitor delete" in _problems({"base": "P5Y"}, granularity)["$.retention.base"]
    assert _parsed({"results": "P5Y"}, granularity).results == Duration(months=60)


def test_the_days_of_daily_data_are_its_base() -> None:
    assert "base" in _problems({"daily": "P1Y"}, "daily")["$.retention.daily"]


def test_a_dataset_says_more_than_the_workspace() -> None:
    default = parse_retention(
        {"base": "P35D", "daily": "P2Y", "results": "P1Y"}, source="MONITORING_RETENTION"
    )
    own = RetentionSpec.model_validate({"base": "P7D"})
    found = retention_of(own, default, Granularity.HOURLY)
    assert [str(one) for one in (found.base, found.daily, found.results)] == ["P7D", "P24M", "P12M"]
    assert str(retention_of(RetentionSpec(), default, Granularity.DAILY).base) == "P24M"
    weekly = retention_of(RetentionSpec(), default, Granularity.WEEKLY)
    assert (weekly.base, weekly.daily, str(weekly.results)) == (None, None, "P12M")


def test_a_workspace_default_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(DocumentError, match="MONITORING_RETENTION"):
        parse_retention({"base": "long"}, source="MONITORING_RETENTION")
