"""The Slack channel against a server that answers as Slack does."""

from __future__ import annotations

import logging
import socket
import threading
import traceback
from collections.abc import Callable

import pytest
from pydantic import SecretStr

from monitoring_pipeline.alerting.channels import Channel, SlackChannel, configured_channels
from monitoring_pipeline.alerting.formats.slack_blocks import fallback_text, render_slack
from monitoring_pipeline.errors import DeliveryError
from monitoring_pipeline.settings import Settings
from monitoring_pipeline_tests.alerting.fake_slack import SECRET_PATH, TOKEN, Answer, FakeSlack
from monitoring_pipeline_tests.alerting.hostile import NASTY, digest_of

DIGEST = digest_of(["income", NASTY], ["", "EU"])


def bot(slack: FakeSlack, *, timeout: int = 5) -> SlackChannel:
    return SlackChannel(token=SecretStr(TOKEN), channel="#ml-alerts", base_url=slack.api_url, timeout=timeout)


def hook(slack: FakeSlack, *, timeout: int = 5) -> SlackChannel:
    return SlackChannel(webhook=SecretStr(slack.webhook_url), timeout=timeout)


BOTH = pytest.mark.parametrize("make", [bot, hook])
Make = Callable[..., SlackChannel]


def failure(channel: SlackChannel) -> DeliveryError:
    """How sending fails; nothing about it may hold a secret."""
    with pytest.raises(DeliveryError) as caught:
        channel.send(DIGEST)
    error = caught.value
    shown = "".join(traceback.format_exception(error)) + repr(error) + repr(channel) + str(vars(channel))
    assert "hush7" not in shown
    assert error.__cause__ is None
    assert error.__context__ is None
    return error


def test_a_bot_posts_blocks_with_a_fallback_and_returns_channel_and_time(slack: FakeSlack) -> None:
    assert bot(slack).send(DIGEST) == "C123/1700000000.000100"
    (request,) = slack.requests
    assert request.path == "/api/chat.postMessage"
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert request.body["channel"] == "#ml-alerts"
    assert request.body["blocks"] == render_slack(DIGEST)
    assert request.body["text"] == fallback_text(DIGEST)
    assert request.body["unfurl_links"] is False


def test_a_webhook_gets_the_same_message(slack: FakeSlack) -> None:
    assert hook(slack).send(DIGEST) == "ok"
    (request,) = slack.requests
    assert request.path == SECRET_PATH
    assert request.body == {"text": fallback_text(DIGEST), "blocks": render_slack(DIGEST)}


@pytest.mark.parametrize(
    "code", ["invalid_auth", "token_revoked", "channel_not_found", "not_in_channel", "invalid_blocks"]
)
def test_a_refusal_of_the_web_api_is_permanent_and_named(slack: FakeSlack, code: str) -> None:
    slack.will_refuse(code)
    error = failure(bot(slack))
    assert error.permanent
    assert code in str(error)


def test_a_refusal_that_somebody_can_mend_says_how(slack: FakeSlack) -> None:
    slack.will_refuse("invalid_auth")
    assert "MONITORING_SLACK_TOKEN" in str(failure(bot(slack)))


@pytest.mark.parametrize("code", ["internal_error", "service_unavailable", "request_timeout"])
def test_trouble_inside_slack_may_go_away(slack: FakeSlack, code: str) -> None:
    slack.will_refuse(code)
    assert not failure(bot(slack)).permanent


@pytest.mark.parametrize(
    ("status", "body"), [(403, "invalid_token"), (404, "no_service"), (410, "channel_is_archived")]
)
def test_a_refusal_of_a_webhook_is_permanent(slack: FakeSlack, status: int, body: str) -> None:
    slack.will_answer(Answer(status, body))
    error = failure(hook(slack))
    assert error.permanent
    assert body in str(error)


@BOTH
def test_too_many_requests_say_when_to_come_back(slack: FakeSlack, make: Make) -> None:
    slack.will_answer(Answer(429, '{"ok":false,"error":"ratelimited"}', {"Retry-After": "30"}))
    error = failure(make(slack))
    assert (error.permanent, error.retry_after) == (False, 30.0)


@BOTH
@pytest.mark.parametrize("header", ["soon", "-5", "nan"])
def test_an_unreadable_wait_is_no_wait(slack: FakeSlack, make: Make, header: str) -> None:
    slack.will_answer(Answer(429, '{"ok":false,"error":"ratelimited"}', {"Retry-After": header}))
    assert failure(make(slack)).retry_after is None


@BOTH
@pytest.mark.parametrize(
    "answer",
    [
        Answer(500, "boom xoxb-hush7-token"),
        Answer(503, '{"ok":false,"error":"service_unavailable"}'),
        Answer(200, "<html>hush7 login page</html>"),
        Answer(drop=True),
    ],
    ids=["server error", "unavailable", "some proxy's page", "closed connection"],
)
def test_trouble_on_the_way_may_go_away_and_is_tried_once(
    slack: FakeSlack, make: Make, answer: Answer
) -> None:
    slack.will_answer(answer)
    assert not failure(make(slack)).permanent
    assert len(slack.requests) == 1


@BOTH
def test_a_server_that_hangs_is_left_alone_in_time(slack: FakeSlack, make: Make) -> None:
    done = threading.Event()
    slack.will_answer(Answer(before=lambda: done.wait(30)))
    channel = make(slack, timeout=1)
    try:
        error = failure(channel)
    finally:
        done.set()
    assert not error.permanent


def test_a_server_that_is_not_there_may_come_back() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    nobody = FakeSlack(f"http://127.0.0.1:{port}")
    for channel in (bot(nobody), hook(nobody)):
        error = failure(channel)
        assert not error.permanent
        assert "Connection refused" in str(error)


@pytest.mark.parametrize("url", ["ftp://hush7", "hush7", "http://127.0.0.1/\nhush7 path", "http://[hush7"])
def test_an_address_that_is_none_is_permanent(url: str) -> None:
    error = failure(SlackChannel(webhook=SecretStr(url)))
    assert error.permanent
    assert "MONITORING_SLACK_WEBHOOK" in str(error)


@BOTH
def test_nothing_is_logged_that_holds_a_secret(
    slack: FakeSlack, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        make(slack).send(DIGEST)
        slack.will_answer(Answer(drop=True))
        failure(make(slack))
    assert "hush7" not in caplog.text


def test_settings_decide_whether_there_is_a_slack_channel() -> None:
    assert list(configured_channels(Settings(slack_token=None, slack_webhook=None))) == ["console"]
    assert list(configured_channels(Settings(slack_token=SecretStr(" "), slack_webhook=None))) == ["console"]
    channels = configured_channels(Settings(slack_token=SecretStr(TOKEN), slack_channel="#x"))
    assert list(channels) == ["console", "slack"]
    assert isinstance(channels["slack"], Channel)
    assert repr(channels["slack"]) == "SlackChannel(bot in #x)"
    assert repr(SlackChannel(webhook=SecretStr("https://hush7"))) == "SlackChannel(webhook)"


def test_a_channel_without_any_secret_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="token or a webhook"):
        SlackChannel()
