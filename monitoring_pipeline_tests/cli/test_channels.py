"""`monitor channels`: the list, and a real test message."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner, Result

from monitoring_pipeline.cli import app
from monitoring_pipeline_tests.alerting.fake_servers import fake_server
from monitoring_pipeline_tests.alerting.fake_slack import Answer


def monitor(home: Path, *arguments: str, **environ: str) -> Result:
    environment: dict[str, str] = {"MONITORING_HOME": str(home), "COLUMNS": "200", **environ}
    environment |= {"MONITORING_SLACK_TOKEN": "", "MONITORING_SLACK_WEBHOOK": ""}
    result = CliRunner().invoke(app, list(arguments), env=environment)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert "hush7" not in result.output
    return result


def write(home: Path, port: int = 9) -> None:
    (home / "channels.yaml").write_text(
        "channels:\n"
        f"  pager: {{type: pagerduty, routing_key_env: PAGER_KEY, url: 'http://127.0.0.1:{port}/enqueue'}}\n"
        "  hook: {type: webhook, url_env: HOOK_URL, allow_http: true, allow_private: true}\n"
    )


def test_validate_checks_the_file_too(tmp_path: Path) -> None:
    write(tmp_path)
    assert "channels.yaml" in monitor(tmp_path, "validate").stdout
    with (tmp_path / "channels.yaml").open("a") as file:
        file.write("routes: {critical: [nobody]}\n")
    refused = monitor(tmp_path, "validate")
    assert refused.exit_code == 2
    assert "nobody" in refused.stderr


def test_the_list_says_what_is_missing(tmp_path: Path) -> None:
    write(tmp_path)
    listed = monitor(tmp_path, "channels", "--json", HOOK_URL="http://hush7.example")
    assert listed.exit_code == 2
    found = {one["name"]: one for one in json.loads(listed.stdout)}
    assert [name for name, one in found.items() if one["ready"]] == ["console", "hook"]
    assert found["pager"]["missing"] == ["the environment variable PAGER_KEY is not set"]
    shown = monitor(tmp_path, "channels", HOOK_URL="http://hush7.example")
    assert "PAGER_KEY" in shown.output


def test_without_a_file_there_is_the_console(tmp_path: Path) -> None:
    listed = monitor(tmp_path, "channels")
    assert listed.exit_code == 0
    assert "console" in listed.output


def test_a_broken_file_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "channels.yaml").write_text("channels: {team: {type: slack, token: hush7}}")
    assert monitor(tmp_path, "channels").exit_code == 2
    assert "token_env" in monitor(tmp_path, "channels").output


def test_a_test_message_is_sent_and_the_answer_said(tmp_path: Path) -> None:
    with fake_server() as server:
        write(tmp_path, server.port)
        sent = monitor(tmp_path, "channels", "test", "hook", HOOK_URL=server.url)
        assert sent.exit_code == 0
        assert "HTTP 202" in sent.output
        assert server.asked[0].json["message"]["title"] == "Test message: nothing is wrong"


def test_the_test_of_pagerduty_opens_no_alert_for_good(tmp_path: Path) -> None:
    with fake_server() as server:
        write(tmp_path, server.port)
        assert monitor(tmp_path, "channels", "test", "pager", PAGER_KEY="hush7").exit_code == 0
        first, second = (one.json for one in server.asked)
        assert (first["event_action"], second["event_action"]) == ("trigger", "resolve")
        assert first["dedup_key"] == second["dedup_key"]
        assert first["payload"]["severity"] == "info"


def test_a_refusal_is_said_with_what_to_do(tmp_path: Path) -> None:
    with fake_server(Answer(403)) as server:
        write(tmp_path, server.port)
        refused = monitor(tmp_path, "channels", "test", "pager", PAGER_KEY="hush7")
        assert refused.exit_code == 3
        assert "check PAGER_KEY" in refused.output


def test_an_unknown_channel_names_those_that_there_are(tmp_path: Path) -> None:
    write(tmp_path)
    unknown = monitor(tmp_path, "channels", "test", "nobody")
    assert unknown.exit_code == 2
    assert "console, hook, pager" in unknown.output


def test_editors_can_have_the_schema_of_the_file(tmp_path: Path) -> None:
    schema = json.loads(monitor(tmp_path, "schema", "--channels").stdout)
    assert "routes" in schema["properties"]
