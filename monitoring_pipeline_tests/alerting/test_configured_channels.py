"""Channels from `channels.yaml`, the settings and the environment; threads in Slack; everything else through Apprise."""

from __future__ import annotations

import builtins
import json
import logging
import threading
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from monitoring_pipeline.alerting.channels import (
    AppriseChannel,
    Channel,
    EmailChannel,
    FollowsIncidents,
    KeepsThreads,
    PagerDutyChannel,
    SlackChannel,
    Speaks,
    UnreadyChannel,
    WebhookChannel,
    configured_channels,
    described_channels,
)
from monitoring_pipeline.errors import DeliveryError, DocumentError
from monitoring_pipeline.settings import Settings
from monitoring_pipeline_tests.alerting.fake_servers import FakeServer, fake_server
from monitoring_pipeline_tests.alerting.fake_slack import TOKEN, Answer, FakeSlack
from monitoring_pipeline_tests.alerting.hostile import digest_of

DIGEST = digest_of(["income"], [""])

EVERYTHING = """
channels:
  team: {type: slack, token_env: TEAM_TOKEN, channel: "#data"}
  hooked: {type: slack, webhook_env: TEAM_WEBHOOK}
  mail: {type: email, host: smtp.example.org, sender: a@example.org, to: [b@example.org, c@example.org],
         username_env: MAIL_USER, password_env: MAIL_PASSWORD}
  pager: {type: pagerduty, routing_key_env: PAGER_KEY}
  hook: {type: webhook, url: "https://example.org/hush7-path", secret_env: HOOK_SECRET, headers_env: {X-Key: HOOK_KEY}}
  chat: {type: apprise, url_env: CHAT_URL}
  log: {type: console}
"""
NAMES = [
    "TEAM_TOKEN",
    "TEAM_WEBHOOK",
    "MAIL_USER",
    "MAIL_PASSWORD",
    "PAGER_KEY",
    "HOOK_SECRET",
    "HOOK_KEY",
    "CHAT_URL",
]
ENVIRON = {name: f"json://hush7-{name}" for name in NAMES}


def settings(home: Path, text: str = EVERYTHING, **changes: Any) -> Settings:
    (home / "channels.yaml").write_text(text)
    values: dict[str, Any] = {"slack_token": None, "slack_webhook": None, **changes}
    return Settings(home=home, **values)


def refused(channel: Channel) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        channel.send(DIGEST)
    assert "hush7" not in "".join(traceback.format_exception(caught.value)) + repr(channel) + str(
        vars(channel)
    )
    return caught.value


def test_every_kind_of_channel_is_built_and_shows_no_secret(tmp_path: Path) -> None:
    found = configured_channels(settings(tmp_path), environ=ENVIRON)
    kinds = {name: type(one) for name, one in found.items()}
    assert kinds.pop("console") is kinds.pop("log")
    assert kinds == {
        "team": SlackChannel,
        "hooked": SlackChannel,
        "mail": EmailChannel,
        "pager": PagerDutyChannel,
        "hook": WebhookChannel,
        "chat": AppriseChannel,
    }
    for name, one in found.items():
        assert one.name == name
        assert isinstance(one, Channel)
        assert isinstance(one, Speaks)
        if name != "hook":
            assert "hush7" not in repr(one) + str(vars(one))
    assert [name for name, one in found.items() if isinstance(one, FollowsIncidents)] == ["pager"]
    threaded = [name for name, one in found.items() if isinstance(one, KeepsThreads) and one.threads]
    assert threaded == ["team", "mail"]


def test_an_unset_variable_is_named_and_takes_nobody_else_down(tmp_path: Path) -> None:
    environ = {name: value for name, value in ENVIRON.items() if name not in ("PAGER_KEY", "MAIL_PASSWORD")}
    found = configured_channels(settings(tmp_path), environ={**environ, "MAIL_PASSWORD": " "})
    unready = {name: one for name, one in found.items() if isinstance(one, UnreadyChannel)}
    assert list(unready) == ["mail", "pager"]
    error = refused(unready["pager"])
    assert str(error) == "the environment variable PAGER_KEY is not set"
    assert not error.permanent


def test_what_is_shown_holds_names_and_hosts_only(tmp_path: Path) -> None:
    environ = {name: value for name, value in ENVIRON.items() if name != "PAGER_KEY"}
    shown = {one.name: one for one in described_channels(settings(tmp_path), environ=environ)}
    assert "hush7" not in repr(shown)
    assert shown["hook"].to == "example.org"
    assert shown["hook"].variables == ("HOOK_SECRET", "HOOK_KEY")
    assert shown["mail"].to == "b@example.org, c@example.org through smtp.example.org:587"
    assert {name: one.missing for name, one in shown.items() if one.missing} == {
        "pager": ("the environment variable PAGER_KEY is not set",)
    }


def test_the_settings_define_slack_unless_the_file_does(tmp_path: Path) -> None:
    token = SecretStr(TOKEN)
    found = configured_channels(settings(tmp_path, "channels: {}", slack_token=token))
    assert repr(found["slack"]) == "SlackChannel(bot in #ml-alerts)"
    own = "channels: {slack: {type: slack, token_env: TEAM_TOKEN, channel: '#own'}}"
    found = configured_channels(settings(tmp_path, own, slack_token=token), environ=ENVIRON)
    assert repr(found["slack"]) == "SlackChannel(bot in #own)"


def test_a_file_that_cannot_be_used_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"channels\.yaml"):
        configured_channels(settings(tmp_path, "channels: [1"))


def test_a_file_of_certificates_that_is_not_there_is_said(tmp_path: Path) -> None:
    text = "channels: {mail: {type: email, host: h, sender: a@b.org, to: a@b.org, ca_file: ca.pem}}"
    found = configured_channels(settings(tmp_path, text), environ={})
    assert "ca.pem (ca_file)" in str(refused(found["mail"]))
    (tmp_path / "ca.pem").touch()
    assert isinstance(configured_channels(settings(tmp_path, text), environ={})["mail"], EmailChannel)


# --- threads in Slack --------------------------------------------------------------------------------------------


def bot(slack: FakeSlack) -> SlackChannel:
    return SlackChannel(
        token=SecretStr(TOKEN), channel="#a", base_url=slack.api_url, timeout=5, token_name="TEAM_TOKEN"
    )


def test_a_later_message_replies_in_the_thread_of_the_first(slack: FakeSlack) -> None:
    channel = bot(slack)
    first = channel.send(DIGEST)
    channel.send(replace(DIGEST, dedup_key="later"), thread=first)
    opening, reply = (request.body for request in slack.requests)
    assert "thread_ts" not in opening
    assert (reply["channel"], reply["thread_ts"]) == ("C123", "1700000000.000100")


@pytest.mark.parametrize("thread", ["ok", "printed", "C123/", "C123/1.2; x", "<a@b>"])
def test_what_is_no_receipt_of_a_bot_opens_a_thread_of_its_own(slack: FakeSlack, thread: str) -> None:
    bot(slack).send(DIGEST, thread=thread)
    assert "thread_ts" not in slack.requests[0].body
    assert slack.requests[0].body["channel"] == "#a"


def test_a_thread_that_is_gone_loses_no_message(slack: FakeSlack) -> None:
    slack.will_refuse("thread_not_found")
    assert bot(slack).send(DIGEST, thread="C9/1.2") == "C123/1700000000.000100"
    assert slack.requests[1].body["channel"] == "#a"
    assert "thread_ts" not in slack.requests[1].body


def test_a_refusal_names_the_variable_of_the_file(slack: FakeSlack) -> None:
    slack.will_refuse("invalid_auth")
    assert "check TEAM_TOKEN" in str(refused(bot(slack)))


# --- everything else ---------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with fake_server(Answer(200)) as running:
        yield running


def chat(url: str, **changes: Any) -> AppriseChannel:
    return AppriseChannel(SecretStr(url), name="chat", url_name="CHAT_URL", **changes)


def test_apprise_delivers_a_digest_as_text(server: FakeServer) -> None:
    assert chat(f"json://127.0.0.1:{server.port}/hush7").send(DIGEST) == "sent"
    body = json.loads(server.asked[0].body)
    assert body["title"].startswith("lead-scoring")
    assert body["type"] == "warning"


@pytest.mark.parametrize("status", [400, 500])
def test_apprise_that_is_refused_says_so_and_logs_no_secret(
    server: FakeServer, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    server.otherwise = Answer(status)
    with caplog.at_level(logging.DEBUG):
        error = refused(chat(f"json://ada:hush7@127.0.0.1:{server.port}/hush7"))
    assert not error.permanent
    assert "hush7" not in caplog.text


def test_an_address_that_apprise_does_not_know_names_the_variable() -> None:
    error = refused(chat("nonsense-hush7://x"))
    assert error.permanent
    assert "CHAT_URL" in str(error)


def test_apprise_is_given_only_so_much_time(server: FakeServer) -> None:
    done = threading.Event()
    server.answers.append(Answer(before=lambda: done.wait(60)))
    try:
        error = refused(chat(f"json://127.0.0.1:{server.port}/?rto=60", timeout=1))
    finally:
        done.set()
    assert "within 1 s" in str(error)


def test_without_the_extra_the_line_that_installs_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any) -> Any:
        if name == "apprise":
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    assert "pip install 'monitoring-pipeline[channels]'" in str(refused(chat("json://x")))
