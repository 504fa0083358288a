"""What is said of an incident after it was told: nobody cares, it goes on, somebody does, it is over; and of channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from monitoring_pipeline.alerting.escalation import channel_news, due
from monitoring_pipeline.config.channels import ChannelsFile, parse_channels
from monitoring_pipeline.store.backlogs import Backlog
from monitoring_pipeline.store.channel_states import ChannelState
from monitoring_pipeline.store.datasets import DatasetRef
from monitoring_pipeline.store.telling import Standing
from monitoring_pipeline_tests.alerting.builders import NOW, day

HOUR = timedelta(hours=1)
DATASET = DatasetRef(1, "org-0", "orders", NOW)
STANDING = Standing(
    dataset=DATASET,
    incident="i1",
    status="open",
    severity=1,
    start=day(0),
    end=day(1),
    told=NOW,
    heard_until=day(1),
    resolved=None,
    reopened=None,
    acknowledged=None,
    acknowledged_by=None,
    snoozed_until=None,
    verdict=None,
    channels=("console", "slack"),
    said=frozenset(),
)


def rules(**content: Any) -> ChannelsFile:
    channels = {name: {"type": "console"} for name in ("slack", "mail", "pager")}
    return parse_channels({"channels": channels, **content}, source="test")


TWO_STEPS = rules(escalation=[{"after": "PT30M", "to": ["mail"]}, {"after": "PT2H", "to": ["mail", "pager"]}])


def names(standing: Standing, given: ChannelsFile, now: datetime) -> list[tuple[str, ...]]:
    return [one.to for one in due(standing, given, now=now)]


def test_nobody_else_is_told_before_the_time_is_over() -> None:
    assert names(STANDING, TWO_STEPS, NOW + timedelta(minutes=29, seconds=59)) == []


def test_each_step_is_taken_when_its_time_has_come_and_once() -> None:
    (first,) = due(STANDING, TWO_STEPS, now=NOW + HOUR / 2)
    assert (first.to, first.reason) == (("mail",), "nobody has acknowledged this for 30 minutes")
    said = replace(STANDING, said=frozenset({first.name}))
    assert names(said, TWO_STEPS, NOW + HOUR) == []
    assert names(said, TWO_STEPS, NOW + 2 * HOUR) == [("mail", "pager")]


def test_after_a_long_silence_of_our_own_nobody_is_told_twice_at_once() -> None:
    assert names(STANDING, TWO_STEPS, NOW + 9 * HOUR) == [(), ("mail", "pager")]


@pytest.mark.parametrize(
    "change",
    [
        {"acknowledged": NOW + HOUR / 4},
        {"snoozed_until": NOW + 99 * HOUR},
        {"status": "resolved", "resolved": NOW},
        {"verdict": "expected"},
        {"severity": 2},
    ],
    ids=["acknowledged", "snoozed", "resolved", "expected", "another level"],
)
def test_what_somebody_cares_about_does_not_escalate(change: Mapping[str, Any]) -> None:
    assert names(replace(STANDING, **change), TWO_STEPS, NOW + 9 * HOUR) == []


def test_after_a_snooze_the_time_begins_anew() -> None:
    snoozed = replace(STANDING, snoozed_until=NOW + 5 * HOUR)
    assert names(snoozed, TWO_STEPS, NOW + 5 * HOUR) == []
    assert names(snoozed, TWO_STEPS, NOW + 5.5 * HOUR) == [("mail",)]


def test_an_incident_that_comes_back_escalates_again_though_it_was_acknowledged_before() -> None:
    (first,) = due(STANDING, TWO_STEPS, now=NOW + HOUR / 2)
    back = replace(
        STANDING,
        acknowledged=NOW + HOUR,
        reopened=NOW + 20 * HOUR,
        said=frozenset({first.name}),
    )
    assert names(back, TWO_STEPS, NOW + 20 * HOUR) == []
    assert names(back, TWO_STEPS, NOW + 20.5 * HOUR) == [("mail",)]


def test_an_incident_that_goes_on_counts_as_one_level_higher_and_is_told_there() -> None:
    given = rules(rise={"after": "P3D"}, routes={"critical": ["pager"]})
    medium = replace(STANDING, severity=2)
    assert names(replace(medium, end=day(2)), given, NOW) == []
    (risen,) = due(replace(medium, end=day(3)), given, now=NOW)
    assert (risen.to, risen.severity) == (("pager",), 1)
    assert risen.reason == "goes on for 3 days, and counts as critical from now on"
    assert names(replace(medium, end=day(4), said=frozenset({risen.name})), given, NOW) == []


def test_what_becomes_of_an_incident_is_said_once_where_it_was_told_and_somebody_wants_to_know() -> None:
    over = replace(STANDING, status="resolved", acknowledged=NOW, acknowledged_by="ada", resolved=NOW + HOUR)
    first, second = due(over, rules(), now=NOW + HOUR, followers=["slack", "pager"])
    assert [(one.reason, one.to) for one in (first, second)] == [
        ("acknowledged by ada", ("slack",)),
        ("resolved", ("slack",)),
    ]
    said = replace(over, said=frozenset({first.name, second.name}))
    assert due(said, rules(), now=NOW + HOUR, followers=["slack"]) == []
    again = replace(said, status="open", resolved=None, reopened=NOW + 2 * HOUR)
    assert [one.reason for one in due(again, rules(), now=NOW + 2 * HOUR, followers=["slack"])] == [
        "it is back"
    ]


def test_an_incident_that_goes_on_is_told_quietly_whenever_it_has_lasted_twice_as_long() -> None:
    heard, told = 1, list[int]()
    for length in range(1, 17):
        standing = replace(STANDING, end=day(length), heard_until=day(heard))
        if due(standing, rules(), now=NOW, threads=["slack"]):
            told.append(length)
            heard = length
    assert told == [2, 4, 8, 16]


def test_the_same_incident_and_rule_have_the_same_key_and_others_another() -> None:
    (one,) = due(STANDING, TWO_STEPS, now=NOW + HOUR / 2)
    (same,) = due(STANDING, TWO_STEPS, now=NOW + HOUR)
    (other,) = due(replace(STANDING, incident="i2"), TWO_STEPS, now=NOW + HOUR)
    keys = [due.dedup_key("orders") for due in (one, same, other)]
    assert keys[0] == keys[1] != keys[2]
    assert one.dedup_key("returns") != keys[0]


def state(name: str, **changes: Any) -> ChannelState:
    return replace(ChannelState(name, NOW, 3, None, "not available", None), **changes)


def backlog(name: str) -> Backlog:
    return Backlog(name, 3, 0, NOW, DATASET)


CHANNELS = ["console", "slack", "mail", "pager"]


def test_an_outage_is_told_after_its_time_through_the_first_other_channel_that_works() -> None:
    given = rules(outage={"after": "PT2H", "to": ["slack", "mail", "pager"]})
    states = {"slack": state("slack"), "mail": state("mail", failing_since=NOW + HOUR)}
    assert (
        channel_news(states, [backlog("slack")], given, channels=CHANNELS, now=NOW + 2 * HOUR - HOUR / 60)
        == []
    )
    (told,) = channel_news(states, [backlog("slack")], given, channels=CHANNELS, now=NOW + 2 * HOUR)
    assert (told.channel, told.to) == ("slack", ("console", "pager"))


def test_an_outage_is_told_once_and_its_end_as_well() -> None:
    (told,) = channel_news(
        {"slack": state("slack")}, [backlog("slack")], rules(), channels=CHANNELS, now=NOW + 2 * HOUR
    )
    known = state("slack", outage=told.key)
    late = NOW + 99 * HOUR
    assert channel_news({"slack": known}, [backlog("slack")], rules(), channels=CHANNELS, now=late) == []
    (over,) = channel_news(
        {"slack": replace(known, failing_since=None)}, [], rules(), channels=CHANNELS, now=late
    )
    assert over.is_over


def test_a_channel_that_has_refused_nothing_that_anybody_waits_for_is_no_outage() -> None:
    assert channel_news({"slack": state("slack")}, [], rules(), channels=CHANNELS, now=NOW + 99 * HOUR) == []
