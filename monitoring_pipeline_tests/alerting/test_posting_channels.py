"""PagerDuty and webhooks against a server that accepts, refuses, hangs, closes and lies."""

from __future__ import annotations

import dataclasses
import json
import logging
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from monitoring_pipeline.alerting.channels import (
    Channel,
    FollowsIncidents,
    PagerDutyChannel,
    Speaks,
    Step,
    WebhookChannel,
)
from monitoring_pipeline.alerting.channels.https import checked_address, is_public
from monitoring_pipeline.alerting.digests import Escalation
from monitoring_pipeline.alerting.incidents import Status
from monitoring_pipeline.alerting.messages import Message
from monitoring_pipeline.config.channels import WebhookSpec, parse_channels
from monitoring_pipeline.errors import DeliveryError
from monitoring_pipeline_tests.alerting.fake_servers import FakeServer, fake_server
from monitoring_pipeline_tests.alerting.fake_slack import Answer
from monitoring_pipeline_tests.alerting.hostile import NASTY, digest_of

DIGEST = digest_of(["income", NASTY], ["", "EU"])
KEY = "hush7hush7hush7hush7hush7hush7xx"


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with fake_server() as running:
        yield running


def pager(server: FakeServer, *, timeout: float = 5) -> PagerDutyChannel:
    return PagerDutyChannel(
        SecretStr(KEY), url=f"http://127.0.0.1:{server.port}/enqueue", timeout=timeout, key_name="PAGER_KEY"
    )


def hook(server: FakeServer, *, timeout: float = 5, **changes: object) -> WebhookChannel:
    allowed: dict[str, object] = {"allow_private": True, "allow_http": True}
    return WebhookChannel(SecretStr(server.url), timeout=timeout, **{**allowed, **changes})  # pyright: ignore[reportArgumentType]


BOTH = pytest.mark.parametrize("make", [pager, hook])
Make = Callable[..., PagerDutyChannel | WebhookChannel]


def failure(channel: Channel) -> DeliveryError:
    """How sending fails; nothing about it may hold a secret."""
    with pytest.raises(DeliveryError) as caught:
        channel.send(DIGEST)
    error = caught.value
    shown = "".join(traceback.format_exception(error)) + repr(error) + repr(channel) + str(vars(channel))
    assert "hush7" not in shown
    return error


@BOTH
@pytest.mark.parametrize(
    ("status", "permanent"), [(400, True), (403, True), (404, True), (429, False), (500, False), (503, False)]
)
def test_what_a_status_means(server: FakeServer, make: Make, status: int, permanent: bool) -> None:
    server.answers.append(Answer(status, "hush7 said the server"))
    assert failure(make(server)).permanent is permanent
    assert len(server.asked) == 1


@BOTH
def test_too_many_requests_say_when_to_come_back(server: FakeServer, make: Make) -> None:
    server.answers.append(Answer(429, "", {"Retry-After": "42"}))
    assert failure(make(server)).retry_after == 42


@BOTH
def test_a_redirect_is_not_followed(server: FakeServer, make: Make) -> None:
    server.answers.append(Answer(302, "", {"Location": server.url}))
    assert failure(make(server)).permanent
    assert len(server.asked) == 1


@BOTH
def test_a_connection_that_closes_may_be_better_later(server: FakeServer, make: Make) -> None:
    server.answers.append(Answer(drop=True))
    assert not failure(make(server)).permanent


@BOTH
def test_a_server_that_hangs_is_left_alone_in_time(server: FakeServer, make: Make) -> None:
    done = threading.Event()
    server.answers.append(Answer(before=lambda: done.wait(60)))
    try:
        assert not failure(make(server, timeout=1)).permanent
    finally:
        done.set()


@BOTH
def test_a_server_that_sends_a_byte_now_and_then_is_left_alone_in_time(
    server: FakeServer, make: Make
) -> None:
    done = threading.Event()

    def drip(out: object) -> None:
        out.write(b"HTTP/1.1 200 OK\r\n")  # pyright: ignore[reportAttributeAccessIssue]
        for _ in range(600):
            if done.wait(0.1):
                return
            out.write(b"X: y\r\n")  # pyright: ignore[reportAttributeAccessIssue]

    server.raw = drip
    try:
        assert "within 1 s" in str(failure(make(server, timeout=1)))
    finally:
        done.set()


@BOTH
def test_what_is_no_http_may_be_better_later(server: FakeServer, make: Make) -> None:
    server.raw = lambda out: out.write(b"220 smtp.hush7.example ESMTP\r\n") and None
    assert not failure(make(server)).permanent


@BOTH
def test_nobody_there_may_be_better_later(make: Make) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = FakeServer(unused.getsockname()[1], Answer())
    error = failure(make(nobody))
    assert not error.permanent
    assert "Connection refused" in str(error)


@BOTH
def test_nothing_is_logged(server: FakeServer, make: Make, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        make(server).send(DIGEST)
    assert "hush7" not in caplog.text


# --- PagerDuty ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    ["", "<html>welcome</html>", '{"status": "invalid event"}', "[" * 100_000, "x" * 5_000_000],
    ids=["empty", "a page", "invalid", "nested", "huge"],
)
def test_pagerduty_that_says_yes_and_means_no_is_asked_again_later(server: FakeServer, body: str) -> None:
    server.answers.append(Answer(202, body))
    assert not failure(pager(server)).permanent


def test_an_incident_opens_one_alert_by_its_own_id(server: FakeServer) -> None:
    channel = pager(server)
    assert isinstance(channel, FollowsIncidents)
    assert isinstance(channel, Speaks)
    receipt = channel.send(DIGEST)
    channel.send(DIGEST)
    events = [one.json for one in server.asked]
    ids = [incident.id for incident in DIGEST.incidents]
    assert [one["dedup_key"] for one in events] == ids + ids
    assert receipt == ids[0]
    first = events[0]
    assert (first["routing_key"], first["event_action"]) == (KEY, "trigger")
    assert first["payload"]["severity"] == "warning"
    assert first["payload"]["source"] == f"{DIGEST.organisation}/{DIGEST.dataset}"
    assert first["payload"]["custom_details"]["anomalies"] == DIGEST.incidents[0].anomaly_count


@pytest.mark.parametrize(("severity", "word"), [(1, "critical"), (2, "warning"), (3, "info"), (7, "info")])
def test_severities_are_pagerdutys(server: FakeServer, severity: int, word: str) -> None:
    incident = dataclasses.replace(DIGEST.incidents[0], severity=severity)
    pager(server).send(dataclasses.replace(DIGEST, incidents=(incident,), incident_count=1))
    assert server.asked[0].json["payload"]["severity"] == word


def test_what_people_decide_reaches_the_alert(server: FakeServer) -> None:
    channel, incident = pager(server), DIGEST.incidents[0]
    for step in (Step.ACKNOWLEDGED, Step.RESOLVED, Step.REOPENED):
        assert channel.update(incident, step, dataset="orders") == incident.id
    assert [one.json["event_action"] for one in server.asked] == ["acknowledge", "resolve", "trigger"]
    assert {one.json["dedup_key"] for one in server.asked} == {incident.id}


def test_an_incident_that_is_over_or_part_of_another_is_resolved(server: FakeServer) -> None:
    over = dataclasses.replace(DIGEST.incidents[0], status=Status.RESOLVED, absorbed=("incident-old",))
    pager(server).send(dataclasses.replace(DIGEST, incidents=(over,), incident_count=1))
    told = [(one.json["event_action"], one.json["dedup_key"]) for one in server.asked]
    assert told == [("resolve", "incident-old"), ("resolve", over.id)]


def test_an_alert_stays_within_pagerdutys_limits(server: FakeServer) -> None:
    incident = dataclasses.replace(
        DIGEST.incidents[0], id="i" * 300, title="t" * 5000, columns=tuple(f"c{n}" * 200 for n in range(500))
    )
    pager(server).send(dataclasses.replace(DIGEST, incidents=(incident,), incident_count=1))
    event = server.asked[0].json
    assert len(event["payload"]["summary"]) == 1024
    assert len(event["dedup_key"]) <= 255
    assert len(server.asked[0].body) < 60_000


# --- webhooks ----------------------------------------------------------------------------------------------------


def test_a_webhook_gets_the_whole_digest_as_json(server: FakeServer) -> None:
    assert hook(server).send(DIGEST, thread="HTTP 200") == "HTTP 202"
    (asked,) = server.asked
    assert asked.json["digest"] == json.loads(json.dumps(DIGEST.to_json()))
    assert asked.json["id"] == DIGEST.dedup_key == asked.headers["X-Monitoring-Id"]
    assert asked.json["message"]["level"] == "warning"
    assert asked.headers["Content-Type"] == "application/json"
    assert asked.headers["Host"] == f"127.0.0.1:{server.port}"
    assert "X-Monitoring-Signature" not in asked.headers


DOCUMENTED = (Path(__file__).parents[2] / "docs" / "channels.md").read_text(encoding="utf-8")


def documented(language: str) -> str:
    """The first example of a language in docs/channels.md."""
    return DOCUMENTED.split(f"```{language}\n")[1].split("```")[0]


def test_a_receiver_can_check_the_signature_as_documented(server: FakeServer) -> None:
    names: dict[str, Any] = {}
    exec(documented("python"), names)  # noqa: S102 - our own document
    verified = names["verified"]
    hook(server, secret=SecretStr("shared hush7")).send(DIGEST)
    (asked,) = server.asked
    headers = asked.headers
    assert verified(headers, asked.body, b"shared hush7")
    assert not verified(headers, asked.body + b" ", b"shared hush7")
    assert not verified(headers, asked.body, b"other")
    assert not verified({**headers, "X-Monitoring-Id": "other"}, asked.body, b"shared hush7")
    old = str(int(headers["X-Monitoring-Timestamp"]) - 100_000)
    assert not verified({**headers, "X-Monitoring-Timestamp": old}, asked.body, b"shared hush7")


def test_the_documented_file_is_valid_and_its_template_makes_json(server: FakeServer) -> None:
    found = parse_channels(yaml.safe_load(documented("yaml")), source="channels.yaml")
    tickets = found.channels["tickets"]
    assert isinstance(tickets, WebhookSpec)
    hook(server, template=tickets.template).send(DIGEST)
    assert server.asked[0].json["subject"].startswith("lead-scoring")


def test_a_template_makes_the_body(server: FakeServer) -> None:
    channel = hook(
        server,
        template='{"text": {{ message.title | tojson }}, "worst": {{ digest.incidents[0].id | tojson }}}',
        headers={"X-Team": SecretStr("hush7")},
    )
    channel.send(DIGEST)
    assert server.asked[0].json["worst"] == DIGEST.incidents[0].id
    assert server.asked[0].headers["X-Team"] == "hush7"


@pytest.mark.parametrize(
    "template",
    [
        "{{ nothing }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ message.update({'title': 'x'}) }}",
        "{% for a in range(1000000) %}x{% endfor %}",
        "{% for a in range(90000) %}{{ 'x' * 1000 }}{% endfor %}",
        "{% if %}",
        "{{ 1 / 0 }}",
    ],
)
def test_a_template_that_fails_or_wants_more_than_it_may_is_refused(
    server: FakeServer, template: str
) -> None:
    error = failure(hook(server, template=template))
    assert error.permanent
    assert "template" in str(error)
    assert server.asked == []


def test_private_addresses_and_plain_http_are_refused_unless_allowed(server: FakeServer) -> None:
    assert "allow_private" in str(failure(hook(server, allow_private=False)))
    assert "allow_http" in str(failure(hook(server, allow_http=False)))
    assert server.asked == []


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "192.168.1.1",
        "172.16.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fd00::1",
        "::ffff:127.0.0.1",
        "2002:7f00:1::",
        "64:ff9b::7f00:1",
        "nonsense",
    ],
)
def test_addresses_that_are_not_of_the_public_internet(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "64:ff9b::5db8:d822"])
def test_addresses_of_the_public_internet(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("host", ["localhost", "127.1", "0x7f000001", "2130706433", "[::1]".strip("[]")])
def test_other_spellings_of_this_machine_are_private_too(host: str) -> None:
    with pytest.raises(DeliveryError, match="private network"):
        checked_address(host, 80, who="hook", allow_private=False)


def test_a_name_that_changes_its_address_leads_nowhere_new(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    real = socket.getaddrinfo

    def rebinding(host: str, *arguments: object, **named: object) -> object:
        if host != "rebinding.example":
            return real(host, *arguments, **named)  # pyright: ignore[reportArgumentType, reportCallIssue]
        asked.append(host)
        return real("127.0.0.1" if len(asked) == 1 else "127.0.0.2", *arguments, **named)  # pyright: ignore[reportArgumentType, reportCallIssue]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    url = SecretStr(f"http://rebinding.example:{server.port}/x")
    WebhookChannel(url, allow_private=True, allow_http=True).send(DIGEST)
    assert asked == ["rebinding.example"]
    assert server.asked[0].headers["Host"] == f"rebinding.example:{server.port}"


def test_any_message_can_be_said(server: FakeServer) -> None:
    message = Message(Escalation.CRITICAL, "Slack is down", "Slack has refused messages for 2 hours", ())
    hook(server).say(message, key="outage:slack")
    pager(server).say(message, key="outage:slack")
    posted, event = (one.json for one in server.asked)
    assert (posted["type"], posted["id"], posted["message"]["title"]) == (
        "message",
        "outage:slack",
        "Slack is down",
    )
    assert (event["dedup_key"], event["payload"]["severity"]) == ("outage:slack", "critical")
