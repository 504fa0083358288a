"""`monitor document`, `presets` and `preview` as people use them; docs/monitors.md, command by command."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from monitoring_pipeline.cli import app
from monitoring_pipeline_tests.workspaces import DOCUMENT, make_workspace

GUIDE = Path(__file__).parents[2] / "docs" / "monitors.md"
VOLUME, NULLS, MONITOR = "orders-volume-analyzer", "orders-nulls-analyzer", "orders-volume-monitor"


def monitor(home: Path, *arguments: str, answer: str | None = None, **settings: str) -> Result:
    """The command in a workspace; an exception of any kind fails the test."""
    environment = {"MONITORING_HOME": str(home), "COLUMNS": "160", "MONITORING_AUTHOR": "ann", **settings}
    result = CliRunner().invoke(app, list(arguments), env=environment, input=answer)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def said(home: Path, *arguments: str, **given: str) -> str:
    """What a command that succeeds prints, its spaces made one."""
    result = monitor(home, *arguments, **given)
    assert result.exit_code == 0, result.stderr
    return " ".join(result.stdout.split())


def file_of(home: Path) -> Path:
    return home / "datasets" / "orders" / "monitors.json"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A workspace without data, its document laid out."""
    made = make_workspace(tmp_path / "data", days=0)
    file_of(made).write_text(json.dumps(DOCUMENT, indent=2) + "\n")
    return made


def commands(text: str) -> list[list[str]]:
    """The commands of a guide's shell blocks, as words."""
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    return [line.split() for block in blocks for line in block.splitlines() if line.strip()]


def test_every_command_of_the_guide_works_in_its_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = make_workspace(tmp_path / "data", days=40, few_rows_on=33)
    monkeypatch.chdir(tmp_path)
    listed = commands(GUIDE.read_text())
    assert len(listed) > 15
    for command, *words in listed:
        assert command == "monitor"
        target = words[words.index(">") + 1] if ">" in words else None
        result = monitor(home, *(words[: words.index(">")] if target else words))
        assert result.exit_code == 0, f"{' '.join(words)}: {result.stdout}{result.stderr}"
        if target:
            Path(target).write_text(result.stdout)
    assert json.loads(file_of(home).read_text()) == DOCUMENT


@pytest.mark.parametrize(
    "command",
    [
        *(
            ["document", name]
            for name in ("list", "show", "diff", "history", "rollback", "enable", "disable", "delete")
        ),
        *(["presets", name] for name in ("list", "show", "add")),
        ["preview"],
        ["apply"],
        ["schema"],
        ["validate"],
    ],
)
def test_every_help_has_an_example(tmp_path: Path, command: list[str]) -> None:
    help_text = said(tmp_path, *command, "--help")
    assert "Example" in help_text
    assert f"monitor {' '.join(command)}" in help_text


def test_a_monitor_is_shown_in_words(home: Path) -> None:
    shown = said(home, "document", "show", "orders", MONITOR)
    for words in (
        "tells slack",
        "severity 2 (medium)",
        "watches share of nulls of all columns",
        "against the 7 days before; needs 3 buckets",
        "anomaly below 50",
        f"next monitor preview orders --analyzer {VOLUME}",
    ):
        assert words in shown


def test_json_is_what_the_file_says(home: Path) -> None:
    assert json.loads(said(home, "document", "show", "orders", "--json")) == DOCUMENT
    assert json.loads(said(home, "document", "show", "orders", MONITOR, "--json")) == {
        "analyzers": DOCUMENT["analyzers"],
        "monitors": DOCUMENT["monitors"],
    }
    assert json.loads(said(home, "document", "show", "orders", NULLS, "--json")) == {
        "analyzers": [DOCUMENT["analyzers"][1]]
    }
    listed = json.loads(said(home, "document", "list", "--json"))["orders"]
    assert [one["id"] for one in listed["analyzers"]] == [VOLUME, NULLS]


def test_changes_show_in_history_and_diff_and_can_be_taken_back(home: Path) -> None:
    said(home, "apply")
    assert "orders/monitors: changed, version 2" in said(home, "document", "disable", "orders", NULLS)
    assert '+ "disabled": true,' in said(home, "document", "diff", "orders", "--from", "1", "--to", "2")
    assert "file is the same as store, version 2" in said(home, "document", "diff", "orders")

    found = json.loads(said(home, "document", "history", "orders", "--json"))
    assert [(one["version"], one["author"], one["origin"]) for one in found] == [
        (2, "ann", "file"),
        (1, "ann", "file"),
    ]
    assert "changed, version 3" in said(home, "document", "rollback", "orders", "--to", "1")
    assert json.loads(file_of(home).read_text()) == DOCUMENT
    assert json.loads(said(home, "document", "show", "orders", NULLS, "--version", "2", "--json"))[
        "analyzers"
    ][0]["disabled"]


def test_an_edit_by_hand_is_a_difference_until_it_is_applied(home: Path) -> None:
    said(home, "apply")
    file_of(home).write_text(file_of(home).read_text().replace('"lower": 50', '"lower": 60'))

    shown = said(home, "document", "diff", "orders")

    assert '- "lower": 50' in shown
    assert '+ "lower": 60' in shown
    assert "next monitor apply orders" in shown
    assert "orders/monitors: changed, version 2" in said(home, "apply", "orders")


def test_delete_asks_and_takes_no_silence_for_an_answer(home: Path) -> None:
    before = file_of(home).read_bytes()

    assert "nothing was deleted" in said(home, "document", "delete", "orders", MONITOR, answer="n\n")
    silent = monitor(home, "document", "delete", "orders", MONITOR)
    assert (silent.exit_code, "--yes" in silent.stderr) == (2, True)
    assert file_of(home).read_bytes() == before

    done = said(home, "document", "delete", "orders", MONITOR, answer="y\n")
    assert f"still judged, and nobody is told: {VOLUME}, {NULLS}" in done
    assert json.loads(file_of(home).read_text())["monitors"] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["document", "show", "orders", "orders-volume-monitr"], "did you mean"),
        (["document", "show", "orders", "--version", "7"], "none was ever applied"),
        (["document", "rollback", "orders", "--to", "7"], "none was ever applied"),
        (["document", "delete", "orders", VOLUME, NULLS, "--yes"], "would be left without analyzers"),
        (["document", "enable", "order", VOLUME], "did you mean 'orders'"),
        (["presets", "add", "orders", "row-cuont"], "did you mean 'row-count'"),
        (["presets", "add", "orders", "row-count"], "monitor profile orders"),
        (["preview", "orders"], "monitor profile orders"),
        (["preview", "orders", "--file", "nothing.json"], "No such file"),
    ],
)
def test_a_mistake_is_one_message_and_exits_with_two(home: Path, words: list[str], message: str) -> None:
    result = monitor(home, *words)
    assert (result.exit_code, message in " ".join(result.stderr.split())) == (2, True), result.stderr
    assert "Traceback" not in result.stderr


def test_presets_are_added_once_and_clashes_are_refused(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=10)
    monitor(home, "profile", "orders")

    first = said(home, "presets", "add", "orders", "row-count", "--channel", "slack")
    again = said(home, "presets", "add", "orders", "row-count")
    twice = said(home, "presets", "add", "orders", "row-count", "--suffix", "strict")

    assert "added analyzer row-count-analyzer" in first
    assert "monitor row-count-monitor, left as it is orders/monitors: unchanged" in again
    assert "added monitor row-count-monitor-strict" in twice
    written = json.loads(file_of(home).read_text())
    assert written["monitors"][1]["actions"] == [{"type": "global", "target": "slack"}]
    strict = ["row-count-analyzer-strict", "few-rows-again-analyzer-strict"]
    assert sorted(written["monitors"][2]["analyzerIds"], reverse=True) == strict

    (analyzer,) = (one for one in written["analyzers"] if one["id"] == "row-count-analyzer")
    analyzer["config"] = {"type": "fixed", "metric": "shape_row_count", "lower": 1}
    file_of(home).write_text(json.dumps(written))
    refused = monitor(home, "presets", "add", "orders", "row-count")
    assert refused.exit_code == 2
    assert "something else by the same id" in refused.stderr


def test_a_preset_with_nothing_to_watch_says_what_it_needs(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=3)
    monitor(home, "profile", "orders")
    refused = monitor(home, "presets", "add", "orders", "classification-performance")
    assert refused.exit_code == 2
    assert "target" in refused.stderr


def test_a_preview_counts_by_analyzer_and_column_and_stores_nothing(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=12, few_rows_on=8, nulls_on=10)
    monitor(home, "profile", "orders")

    shown = said(home, "preview", "orders")
    found = json.loads(said(home, "preview", "orders", "--json"))

    assert "nothing was stored" in shown
    assert "expected" in shown  # a narrow terminal folds the sentence itself
    assert {one["id"]: one["anomaliesByColumn"] for one in found["analyzers"]} == {
        VOLUME: {"": 1},
        NULLS: {"amount": 1},
    }
    assert not found["stored"]
    assert said(home, "results", "orders", "--all").startswith("orders: nothing to show")


PLUG_IN = """
from monitoring_pipeline.config.analyzers import CustomConfig
from pydantic import Field

name = "doubled"
needs = "series"

class Config(CustomConfig):
    times: float = Field(default=2, gt=1, description="How many times.")

def evaluate(config, target, baseline):
    raise NotImplementedError
"""


def test_schema_and_validate_know_the_analyzers_of_the_workspace(home: Path) -> None:
    (home / "analyzers").mkdir()
    (home / "analyzers" / "doubled.py").write_text(PLUG_IN)
    document = json.loads(json.dumps(DOCUMENT))
    document["analyzers"][0]["config"] = {"type": "doubled", "metric": "shape_row_count", "times": 0.5}
    file_of(home).write_text(json.dumps(document))
    allowed = {"MONITORING_WORKSPACE_ANALYZERS": "true"}

    assert "PlugIn_doubled" in json.loads(said(home, "schema", **allowed))["$defs"]
    assert "PlugIn_doubled" not in json.loads(said(home, "schema"))["$defs"]
    refused = monitor(home, "validate", **allowed)
    assert refused.exit_code == 2
    assert "$.analyzers[0].config.times" in refused.stderr
    assert "$.analyzers[0].config.type" in monitor(home, "validate").stderr


def test_the_installed_command_does_the_same(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "monitoring_pipeline.cli", "document", "disable", "orders", NULLS],
        env={**os.environ, "MONITORING_HOME": str(home), "MONITORING_AUTHOR": "ann"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "orders/monitors: changed, version 2" in done.stdout
    assert json.loads(file_of(home).read_text())["analyzers"][1]["disabled"] is True
