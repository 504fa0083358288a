"""`monitor incidents` and `monitor incident`: every command of docs/incidents.md, on a real incident."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from monitoring_pipeline import pipeline
from monitoring_pipeline.cli import app
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.workspace import Workspace
from monitoring_pipeline_tests.workspaces import make_workspace

DOCS = Path(__file__).parents[2] / "docs" / "incidents.md"
EXAMPLE = "3f2a81c0"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with one open incident: the last day has few rows."""
    made = make_workspace(tmp_path / "data", days=10, few_rows_on=9)
    with Workspace(Settings(home=made)) as workspace:
        pipeline.profile_batch(workspace, "orders")
        pipeline.analyze_batch(workspace, "orders")
        pipeline.notify(workspace, "orders")
    monkeypatch.setenv("MONITORING_HOME", str(made))
    return made


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def identity() -> str:
    (found,) = json.loads(invoke("incidents", "--all", "--json").output)
    return found["id"].removeprefix("incident-")[:8]


def test_every_command_of_the_documentation_works(home: Path) -> None:
    commands = re.findall(r"^monitor (incidents?\b.*?)(?:  +#.*)?$", DOCS.read_text(), re.MULTILINE)
    assert len(commands) == 9
    name = identity()
    for command in commands:
        result = invoke(*(name if part == EXAMPLE else part for part in shlex.split(command)))
        assert result.exit_code == 0, (command, result.output)
    shown = json.loads(invoke("incident", "show", name, "--json").output)
    assert [event["action"] for event in shown["history"]] == [
        "acknowledge", "assign", "snooze", "comment", "expected", "unhelpful", "resolve",
    ]  # fmt: skip
    assert (shown["assignee"], shown["verdict"], shown["status"]) == ("maria", "unhelpful", "resolved")
    assert "no open incidents" in invoke("incidents").output


def test_an_incident_is_a_line_with_what_people_said(home: Path) -> None:
    invoke("incident", "ack", identity(), "--author", "tom", "--note", "looking")
    assert "orders: Rows down  (open, acknowledged by tom)" in invoke("incidents").output
    assert "tom  acknowledge: looking" in invoke("incident", "show", identity()).output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ack", "ffffffff-no"], "no incident begins with"),
        (["ack", "x"], "too short"),
        (["snooze", "ffffffff", "--until", "tomorrow"], "is no moment"),
    ],
)
def test_mistakes_are_told_in_one_message(home: Path, arguments: list[str], said: str) -> None:
    result = invoke("incident", *arguments)
    assert (result.exit_code, said in result.output) == (2, True), result.output
