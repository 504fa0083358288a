"""What people say about incidents: who hears of them from then on, and what it does to baselines and replays."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from monitoring_pipeline import pipeline, responses
from monitoring_pipeline.alerting.formats.text import render_text
from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.reanalysis import reanalyze
from monitoring_pipeline.replay import replay
from monitoring_pipeline.responses import IncidentState
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.store import results
from monitoring_pipeline.timegrid import from_micros
from monitoring_pipeline.workspace import Workspace
from monitoring_pipeline_tests import workspaces
from monitoring_pipeline_tests.workspaces import DOCUMENT, START

DAY = timedelta(days=1)
NULLS = "orders-nulls-analyzer"


def day(number: int) -> datetime:
    return START + number * DAY


def at(home: Path, number: int) -> Workspace:
    """The workspace on the morning after a day."""
    return Workspace(Settings(home=home, now=day(number + 1) + timedelta(hours=9)))


def make_workspace(home: Path) -> Path:
    """Ten days, each of which arrived when it was over."""
    workspaces.make_workspace(home, days=10)
    for number in range(10):
        write_day(home, number)
    return home


def write_day(
    home: Path, number: int, *, rows: int = 100, null_share: float = 0.0, on: int | None = None
) -> None:
    """A day's file, which arrives when the day is over, or on another one."""
    path = workspaces.write_day(home, number, rows=rows, null_share=null_share)
    arrived = day(number + 1 if on is None else on).timestamp()
    os.utime(path, (arrived, arrived))


def live(home: Path, first: int, last: int) -> list[str]:
    """Run every morning after these days; returns what was told, with the day."""
    told: list[str] = []
    for number in range(first, last + 1):
        with at(home, number) as workspace:
            pipeline.profile_batch(workspace, "orders")
            pipeline.analyze_batch(workspace, "orders", [day(number)])
            digests = pipeline.notify(workspace, "orders").digests
            told += [f"{number}: " + "; ".join(one.title for one in digest.incidents) for digest in digests]
    return told


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Ten quiet days, the last of which is judged; the days after them do not exist yet."""
    made = make_workspace(tmp_path / "data")
    assert live(made, 9, 9) == []
    return made


@pytest.fixture
def workspace(home: Path) -> Iterator[Workspace]:
    """Day 10 has 40 % nulls in a column; it is the morning after."""
    write_day(home, 10, null_share=0.4)
    assert live(home, 10, 10) == ["10: `amount` nulls up"]
    with at(home, 10) as opened:
        yield opened


def only(workspace: Workspace) -> IncidentState:
    (state,) = responses.listed(workspace, ["orders"], status=None)
    return state


def bounds(workspace: Workspace, number: int) -> float:
    """The upper bound of nulls in `amount` on a day."""
    rows = results.results(workspace.store, workspace.ref("orders"), analyzer_ids=[NULLS])
    (found,) = [
        row["calculated_upper"]
        for row in rows
        if row["column"] == "amount" and from_micros(int(str(row["bucket"]))) == day(number)
    ]
    assert isinstance(found, float)
    return found


def test_an_incident_is_told_once_updated_quietly_and_told_again_when_it_comes_back(home: Path) -> None:
    for number in range(10, 17):
        write_day(home, number, rows=10 if number in (10, 11, 14, 15) else 100)
    assert live(home, 10, 16) == ["10: Rows down", "14: Rows down (came back)"]
    with at(home, 16) as workspace:
        found = only(workspace).incident
        assert (found.start, found.returned, found.end) == (day(10), day(14), day(16))
        assert found.status == "resolved"


def test_what_is_much_worse_than_what_was_told_is_told(home: Path) -> None:
    document: dict[str, Any] = json.loads(json.dumps(DOCUMENT))
    document["analyzers"][0]["config"] |= {"lower": None, "upper": 150}
    (home / "datasets" / "orders" / "monitors.json").write_text(json.dumps(document))
    for number, rows in ((10, 160), (11, 170), (12, 9_000)):
        write_day(home, number, rows=rows)
    assert live(home, 10, 12) == ["10: Rows up", "12: Rows up"]


def test_an_acknowledged_incident_is_quiet_until_it_comes_back(home: Path) -> None:
    for number in range(10, 16):
        write_day(home, number, rows=10 if number in (10, 11, 15) else 100)
    live(home, 10, 10)
    with at(home, 10) as workspace:
        state = responses.acknowledge(workspace, only(workspace), author="maria", note="export failed")
        assert (state.acknowledged_by, state.acknowledged_at) == ("maria", workspace.now())
        again = responses.acknowledge(workspace, state, author="tom")
        assert again.acknowledged_by == "maria"
        assert [(one.author, one.action, one.note) for one in responses.history(workspace, state)] == [
            ("maria", "acknowledge", "export failed"),
            ("tom", "acknowledge", None),
        ]
    assert live(home, 11, 15) == ["15: Rows down (came back)"]


def test_a_snoozed_incident_is_quiet_even_when_it_comes_back_and_only_until_then(home: Path) -> None:
    for number in range(10, 18):
        write_day(home, number, rows=10 if number in (10, 13, 17) else 100)
    live(home, 10, 10)
    with at(home, 10) as workspace:
        responses.snooze(workspace, only(workspace), day(15))
        with pytest.raises(UsageError, match="has passed"):
            responses.snooze(workspace, only(workspace), day(3))
    assert live(home, 11, 17) == ["17: Rows down (came back)"]


def test_what_is_more_severe_is_told_although_it_is_acknowledged(home: Path) -> None:
    document: dict[str, Any] = json.loads(json.dumps(DOCUMENT))
    worse = {"type": "fixed", "metric": "shape_row_count", "lower": 5}
    document["analyzers"].append(document["analyzers"][0] | {"id": "nearly-nothing", "config": worse})
    document["monitors"].append(
        document["monitors"][0] | {"id": "urgent", "analyzerIds": ["nearly-nothing"], "severity": 1}
    )
    (home / "datasets" / "orders" / "monitors.json").write_text(json.dumps(document))
    for number, rows in ((10, 10), (11, 9), (12, 3)):
        write_day(home, number, rows=rows)
    assert live(home, 10, 10) == ["10: Rows down"]
    with at(home, 10) as workspace:
        responses.acknowledge(workspace, only(workspace))
    assert live(home, 11, 12) == ["12: Rows down"]


@pytest.mark.parametrize("verdict", ["expected", "unhelpful"])
def test_a_series_that_is_expected_is_told_no_more_and_others_of_the_incident_are(
    home: Path, verdict: responses.Verdict
) -> None:
    for number in range(10, 15):
        write_day(home, number, rows=10 if number in (10, 11, 14) else 100)
    live(home, 10, 10)
    with at(home, 10) as workspace:
        state = responses.mark(workspace, only(workspace), verdict)
        assert state.verdict == verdict
    assert live(home, 11, 14) == []


def test_what_a_person_resolved_is_told_when_it_goes_on(home: Path) -> None:
    for number in (10, 11, 12):
        write_day(home, number, rows=10)
    live(home, 10, 10)
    with at(home, 10) as workspace:
        assert responses.resolve(workspace, only(workspace), note="reloaded").incident.status == "resolved"
        assert responses.listed(workspace, ["orders"]) == []
        responses.resolve(workspace, only(workspace))
        assert len(responses.history(workspace, only(workspace))) == 1
    assert live(home, 11, 12) == ["11: Rows down (came back)"]


def test_assigning_and_commenting_are_remembered(workspace: Workspace) -> None:
    state = responses.assign(workspace, only(workspace), "maria", author="tom", note="knows the export")
    state = responses.comment(workspace, state, "the vendor is informed", author="maria")
    assert state.assignee == "maria"
    told = [(one.author, one.action, one.note, one.details) for one in responses.history(workspace, state)]
    assert told == [
        ("tom", "assign", "knows the export", {"assignee": "maria"}),
        ("maria", "comment", "the vendor is informed", {}),
    ]
    with pytest.raises(UsageError, match="nobody is named"):
        responses.assign(workspace, state, " ")
    with pytest.raises(UsageError, match="empty"):
        responses.comment(workspace, state, "")
    with pytest.raises(UsageError, match="at most"):
        responses.comment(workspace, state, "x" * 3_000)


def test_an_incident_is_found_by_the_first_characters_of_its_id(workspace: Workspace) -> None:
    state = only(workspace)
    assert responses.find(workspace, state.short_id) == state
    assert responses.find(workspace, state.incident.id) == state
    with pytest.raises(UsageError, match="too short"):
        responses.find(workspace, "a")
    with pytest.raises(UsageError, match="no incident begins with"):
        responses.find(workspace, "zzzz")


def test_buckets_that_a_person_called_bad_leave_baselines_as_if_they_were_excluded(
    workspace: Workspace, tmp_path: Path
) -> None:
    responses.acknowledge(workspace, only(workspace))
    write_day(workspace.home, 11)
    live(workspace.home, 11, 11)

    document: dict[str, Any] = json.loads(json.dumps(DOCUMENT))
    baseline = document["analyzers"][1]["config"]["baseline"]
    baseline["exclusionRanges"] = [{"start": day(10).isoformat(), "end": day(11).isoformat()}]
    other = make_workspace(tmp_path / "other")
    (other / "datasets" / "orders" / "monitors.json").write_text(json.dumps(document))
    write_day(other, 10, null_share=0.4)
    write_day(other, 11)
    live(other, 10, 11)
    with at(other, 11) as excluded, at(workspace.home, 11) as called_bad:
        assert bounds(called_bad, 11) == bounds(excluded, 11)


def test_what_is_said_later_makes_stale_what_rested_on_it_and_replays_know_when_it_was_said(
    workspace: Workspace,
) -> None:
    home = workspace.home
    for number in (11, 12):
        write_day(home, number)
    live(home, 11, 12)
    with at(home, 13) as later:
        wide = bounds(later, 12)
        responses.acknowledge(later, only(later))
        stale = results.results(later.store, later.ref("orders"), stale_only=True)
        assert {from_micros(int(str(row["bucket"]))) for row in stale} == {day(11), day(12)}
    with at(home, 14) as later:
        reanalyze(later, "orders")
        assert bounds(later, 12) < wide
        replayed = replay(later, "orders")
        assert replayed.differences == ()
        assert replayed.verdicts > 10


def test_a_repaired_bucket_returns_to_the_baselines(workspace: Workspace) -> None:
    home = workspace.home
    responses.acknowledge(workspace, only(workspace))
    write_day(home, 11)
    live(home, 11, 11)
    write_day(home, 10, null_share=0.2, on=12)
    with at(home, 12) as later:
        assert responses.responses.bad_buckets(later.store, later.ref("orders"), at=later.now()) == {day(10)}
        pipeline.profile_batch(later, "orders")
        narrow = bounds(later, 11)
        assert responses.responses.bad_buckets(later.store, later.ref("orders"), at=later.now()) == set()
        reanalyze(later, "orders")
        assert bounds(later, 11) > narrow


def test_what_turns_out_to_be_expected_is_good_for_baselines(workspace: Workspace) -> None:
    responses.acknowledge(workspace, only(workspace))
    with at(workspace.home, 11) as later:
        responses.mark(later, only(later), "expected", note="a campaign")
        ref = later.ref("orders")
        assert responses.responses.bad_buckets(later.store, ref, at=workspace.now()) == {day(10)}
        assert responses.responses.bad_buckets(later.store, ref, at=later.now()) == set()


def test_an_incident_upstream_is_named_as_the_likely_cause(home: Path) -> None:
    below = home / "datasets" / "invoices"
    below.mkdir()
    description = (home / "datasets" / "orders" / "dataset.yaml").read_text()
    (below / "dataset.yaml").write_text(
        description.replace("id: orders", "id: invoices").replace("owner:", "upstream: [orders]\nowner:")
    )
    (below / "monitors.json").write_text(json.dumps(DOCUMENT | {"datasetId": "invoices"}))
    write_day(home, 10, rows=10)
    live(home, 10, 10)
    with at(home, 10) as workspace:
        pipeline.profile_batch(workspace, "invoices")
        pipeline.analyze_batch(workspace, "invoices", [day(10)])
        (digest,) = pipeline.notify(workspace, "invoices").digests
        (ours,) = responses.listed(workspace, ["invoices"])
        assert [one.likely_cause for one in digest.incidents] == ["orders: Rows down"]
        assert "likely cause: orders: Rows down" in render_text(digest)
        assert (ours.incident.likely_cause, only(workspace).incident.likely_cause) == (
            "orders: Rows down",
            None,
        )
