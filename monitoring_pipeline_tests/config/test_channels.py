"""`channels.yaml`: what it may say, and how what it may not say is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from monitoring_pipeline.config.channels import (
    ChannelsFile,
    SlackSpec,
    channels_json_schema,
    load_channels,
    parse_channels,
)
from monitoring_pipeline.errors import DocumentError
from monitoring_pipeline.timegrid import Duration


def parsed(text: str) -> ChannelsFile:
    return parse_channels(yaml.safe_load(text), source="channels.yaml")


def problems(text: str) -> dict[str, str]:
    """Path → the whole problem."""
    with pytest.raises(DocumentError) as caught:
        parsed(text)
    assert "hush7" not in str(caught.value)
    return {one.path: str(one) for one in caught.value.problems}


def test_channels_routes_escalation_and_outage() -> None:
    found = parsed(
        """
        channels:
          team: {type: Slack, token_env: TEAM_TOKEN, channel: "#data"}
          pager: {type: pagerduty, routing_key_env: PAGER_KEY}
        routes: {warning: team, critical: [team, pager]}
        escalation: [{after: PT30M, levels: [critical, warning], to: pager}]
        outage: {to: [console, slack]}
        """
    )
    assert isinstance(found.channels["team"], SlackSpec)
    assert found.routes.warning == ("team",)
    assert found.escalation[0].after == Duration.parse("PT30M")
    assert found.outage is not None
    assert found.outage.after == Duration.parse("PT2H")


@pytest.mark.parametrize("text", ["", "channels:", "{}"])
def test_nothing_is_no_channels(text: str) -> None:
    assert parsed(text) == ChannelsFile()


def test_no_file_is_no_channels(tmp_path: Path) -> None:
    assert load_channels(tmp_path) == ChannelsFile()


@pytest.mark.parametrize(
    ("spec", "key"),
    [
        ("type: slack, token: hush7", "token"),
        ("type: slack, webhook: hush7", "webhook"),
        ("type: pagerduty, routing_key: hush7", "routing_key"),
        ("type: webhook, url: 'https://example.org', secret: hush7", "secret"),
        ("type: apprise, url: hush7", "url"),
        ("type: email, host: h, sender: a@b.c, to: a@b.c, password: hush7", "password"),
        ("type: slack, token_env: hush7-token", "token_env"),
        ("type: slack, token_env: xoxb-hush7", "token_env"),
        ("type: pagerduty, routing_key_env: R0123456789HUSHHUSHHUSHHUSHHUSH", "routing_key_env"),
        ("type: slack, webhook_env: 'https://hooks.slack.com/services/hush7'", "webhook_env"),
        ("type: slack, token_env: A_B, channel: xoxb-hush7", "channel"),
        ("type: webhook, url: 'https://ada:hush7@example.org'", "url"),
        ("type: webhook, url: 'https://example.org', headers: {X: Bearer hush7hush7}", "headers.X"),
        ("type: webhook, url: 'https://example.org', headers: {Authorization: hush7}", "headers"),
    ],
)
def test_a_secret_in_the_file_is_refused_unseen(spec: str, key: str) -> None:
    found = problems(f"channels: {{team: {{{spec}}}}}")
    assert list(found) == [f"$.channels.team.{key}"]
    assert "variable" in found[f"$.channels.team.{key}"].lower()
    assert "not shown" in found[f"$.channels.team.{key}"]


@pytest.mark.parametrize(
    ("spec", "path", "words"),
    [
        ("type: slak", "type", 'did you mean "slack"'),
        ("type: slack, tokn_env: A_B, token_env: A_B", "tokn_env", 'did you mean "token_env"'),
        ("type: slack", "token_env", "one of token_env and webhook_env"),
        ("type: slack, token_env: A_B, webhook_env: A_B", "webhook_env", "both of them"),
        ("type: slack, token_env: A_B, timeout: 60", "timeout", "at most 10"),
        ("type: email, host: h, sender: a, to: a@b.c", "sender", "e-mail address"),
        ('type: email, host: h, sender: "a@b.c\\nBcc: d@e.f", to: a@b.c', "sender", "e-mail address"),
        ("type: email, host: h, sender: a@b.c, to: []", "to", "at least 1"),
        ("type: email, host: h, sender: a@b.c, to: a@b.c, username_env: A_B", "password_env", "both"),
        (
            "type: email, host: h, sender: a@b.c, to: a@b.c, username_env: A_B, password_env: A_B, security: none",
            "security",
            "in the clear",
        ),
        ("type: webhook", "url", "one of url and url_env"),
        ("type: webhook, url: 'http://example.org'", "url", "https"),
        ("type: webhook, url: 'file:///etc/passwd'", "url", "web address"),
        ("type: webhook, url: 'https://example.org', template: '{% if %}'", "template", "Jinja"),
        ("type: webhook, url: 'https://example.org', headers: {Host: x}", "headers", "other than"),
        ("type: webhook, url: 'https://example.org', content_type: \"a/b\\r\\nX: y\"", "content_type", ""),
    ],
)
def test_each_mistake_is_one_problem_that_says_what_to_do(spec: str, path: str, words: str) -> None:
    found = problems(f"channels: {{team: {{{spec}}}}}")
    assert list(found) == [f"$.channels.team.{path}"]
    assert words in found[f"$.channels.team.{path}"]


def test_names_must_exist() -> None:
    found = problems(
        """
        channels: {team: {type: console}}
        routes: {warning: [team, taem]}
        escalation: [{after: PT1H, to: pager}]
        outage: {to: mail}
        """
    )
    assert list(found) == ["$.routes.warning[1]", "$.escalation[0].to[0]", "$.outage.to[0]"]
    assert 'did you mean "team"' in found["$.routes.warning[1]"]


def test_the_console_is_always_the_console() -> None:
    assert list(problems("channels: {console: {type: apprise, url_env: A_B}}")) == ["$.channels.console"]


def test_all_problems_come_at_once() -> None:
    found = problems("channels: {a: {type: x}, 'b c': {type: console}}\nroutes: {info: 1}\nescalate: []")
    assert list(found) == ["$.channels.a.type", '$.channels["b c"]', "$.routes.info[0]", "$.escalate"]


def test_editors_get_a_schema() -> None:
    schema = channels_json_schema()
    assert set(schema["properties"]) >= {"channels", "routes", "escalation", "outage"}
    for name, part in schema["$defs"].items():
        for key, field in part.get("properties", {}).items():
            assert field.get("description"), (name, key)
