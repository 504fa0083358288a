"""The outbox: recorded before sent, sent at least once, never again once accepted, nobody held up."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from monitoring_pipeline.alerting.channels import ConsoleChannel, SlackChannel
from monitoring_pipeline.alerting.delivery import FEWEST_ATTEMPTS, GIVE_UP_AFTER, LONGEST_RETRY, deliver
from monitoring_pipeline.alerting.digests import Digest, build_digests
from monitoring_pipeline.alerting.routes import address, channels_of
from monitoring_pipeline.analysis.result import AnalyzerResult
from monitoring_pipeline.config.document import MonitorDocument
from monitoring_pipeline.errors import DeliveryError
from monitoring_pipeline.store import digests as outbox
from monitoring_pipeline.store import schema
from monitoring_pipeline.store.database import Store, open_store
from monitoring_pipeline.store.datasets import DatasetRef, register_dataset
from monitoring_pipeline_tests.alerting.builders import NOW, RUN, day, document, monitor, result
from monitoring_pipeline_tests.alerting.fake_slack import TOKEN, Answer, FakeSlack

MINUTE = timedelta(minutes=1)
DOCUMENT = document()


class Recorder:
    """A channel that accepts everything, unless told how to fail; it remembers what it was given."""

    def __init__(self, name: str = "slack") -> None:
        self.name = name
        self.sent: list[Digest] = []
        self.failures: list[Exception] = []
        self.thread: str | None = None

    def send(self, digest: Digest, *, thread: str | None = None) -> str:
        self.thread = thread
        if self.failures:
            raise self.failures.pop(0)
        self.sent.append(digest)
        return f"receipt-{len(self.sent)}"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path / 'monitoring.db'}")
    yield opened
    opened.close()


@pytest.fixture
def ref(store: Store) -> DatasetRef:
    return register_dataset(store, "org-0", "lead-scoring")


def digests(*results: AnalyzerResult, made: MonitorDocument = DOCUMENT) -> list[Digest]:
    return build_digests(made, results or [result()], now=NOW, run_id=RUN)


def record(store: Store, ref: DatasetRef, *results: AnalyzerResult, now: datetime = NOW) -> list[Digest]:
    addressed, problems = address(DOCUMENT, digests(*results), ["console", "slack"])
    assert problems == []
    return [one for one, names in addressed if outbox.record_digest(store, ref, one.to_json(), names, now)]


def states(store: Store) -> dict[str, str]:
    return {channel: state for one in outbox.digests(store) for channel, state in one.deliveries.items()}


def channels(*recorders: Recorder) -> dict[str, Any]:
    return {"console": ConsoleChannel(io.StringIO()), **{one.name: one for one in recorders}}


def test_recording_sends_nothing(store: Store, ref: DatasetRef, slack: FakeSlack) -> None:
    record(store, ref)
    assert states(store) == {"console": "pending", "slack": "pending"}
    assert slack.requests == []


def test_a_digest_reaches_every_channel_once_with_its_receipt(store: Store, ref: DatasetRef) -> None:
    (digest,) = record(store, ref)
    slack = Recorder()
    report = deliver(store, channels(slack), now=NOW)
    assert (report.delivered, report.failed, report.waiting, report.problems) == (2, 0, 0, ())
    assert slack.sent == [digest]
    again = deliver(store, channels(slack), now=NOW + timedelta(days=1))
    assert (again.delivered, again.failed, again.waiting) == (0, 0, 0)
    assert slack.sent == [digest]
    with store.read() as connection:
        receipts = connection.execute(sa.select(schema.delivery.c.channel, schema.delivery.c.receipt)).all()
    assert sorted(map(tuple, receipts)) == [("console", "printed"), ("slack", "receipt-1")]


def test_the_same_anomalies_are_recorded_and_sent_once(store: Store, ref: DatasetRef) -> None:
    slack = Recorder()
    assert len(record(store, ref)) == 1
    deliver(store, channels(slack), now=NOW)
    assert record(store, ref, now=NOW + MINUTE) == []
    deliver(store, channels(slack), now=NOW + MINUTE)
    assert len(slack.sent) == 1


def test_a_failure_is_tried_again_after_waits_that_double(store: Store, ref: DatasetRef) -> None:
    record(store, ref)
    slack = Recorder()
    slack.failures = [DeliveryError("not available") for _ in range(3)]
    moments = [NOW, NOW + MINUTE, NOW + 3 * MINUTE, NOW + 7 * MINUTE]
    for moment in moments[:3]:
        assert (
            deliver(store, {"slack": slack}, now=moment).problems[0] == "slack: lead-scoring: not available"
        )
        assert deliver(store, {"slack": slack}, now=moment).problems == (
            "console: digests wait for a channel that is not configured any more",
        )
    assert deliver(store, {"slack": slack}, now=moments[3] - timedelta(seconds=1)).delivered == 0
    assert deliver(store, {"slack": slack}, now=moments[3]).delivered == 1


def test_the_wait_that_slack_asks_for_is_honoured(store: Store, ref: DatasetRef, slack: FakeSlack) -> None:
    record(store, ref)
    slack.will_answer(Answer(429, '{"ok":false,"error":"ratelimited"}', {"Retry-After": "600"}))
    bot = SlackChannel(token=SecretStr(TOKEN), base_url=slack.api_url)
    assert deliver(store, {"slack": bot}, now=NOW).waiting == 2
    assert deliver(store, {"slack": bot}, now=NOW + timedelta(seconds=599)).delivered == 0
    assert deliver(store, {"slack": bot}, now=NOW + timedelta(seconds=600)).delivered == 1
    assert len(slack.requests) == 2


def test_a_permanent_failure_is_given_up_and_stays_on_record(
    store: Store, ref: DatasetRef, slack: FakeSlack
) -> None:
    record(store, ref)
    slack.will_refuse("invalid_auth")
    bot = SlackChannel(token=SecretStr(TOKEN), base_url=slack.api_url)
    report = deliver(store, channels() | {"slack": bot}, now=NOW)
    assert (report.delivered, report.failed, report.waiting) == (1, 1, 0)
    assert deliver(store, {"slack": bot}, now=NOW + timedelta(days=1)).failed == 0
    (lost,) = outbox.undelivered(store)
    assert lost.state == "failed"
    assert "invalid_auth" in str(lost.error)


def test_what_is_not_news_any_more_is_given_up_after_some_attempts(store: Store, ref: DatasetRef) -> None:
    record(store, ref)
    slack = Recorder()
    slack.failures = [DeliveryError("not available") for _ in range(FEWEST_ATTEMPTS)]
    reports = [
        deliver(store, {"slack": slack}, now=NOW + GIVE_UP_AFTER + hours * LONGEST_RETRY)
        for hours in range(FEWEST_ATTEMPTS)
    ]
    assert [report.failed for report in reports] == [0] * (FEWEST_ATTEMPTS - 1) + [1]


def test_a_clock_that_jumps_ahead_for_a_moment_loses_nothing(store: Store, ref: DatasetRef) -> None:
    record(store, ref)
    slack = Recorder()
    slack.failures = [DeliveryError("not available")]
    assert deliver(store, {"slack": slack}, now=NOW + timedelta(days=400)).failed == 0
    assert deliver(store, {"slack": slack}, now=NOW + MINUTE).delivered == 1


def test_a_claim_from_a_clock_that_was_ahead_holds_nobody_up(store: Store, ref: DatasetRef) -> None:
    record(store, ref)
    assert outbox.pending_deliveries(store, NOW + timedelta(days=400), channels=["slack"])
    assert deliver(store, {"slack": Recorder()}, now=NOW + MINUTE).delivered == 1


def test_a_broken_channel_holds_nobody_up(store: Store, ref: DatasetRef) -> None:
    record(store, ref, result("income"))
    record(store, ref, result("age"))
    broken, other = Recorder("slack"), Recorder("console")
    broken.failures = [RuntimeError("xoxb-hush7") for _ in range(5)]
    report = deliver(store, {"slack": broken, "console": other}, now=NOW)
    assert (report.delivered, report.waiting) == (2, 2)
    assert report.problems == ("slack: lead-scoring: the channel failed with RuntimeError",)
    assert len(broken.failures) == 4  # a channel that does not answer is asked once per call


def test_one_message_that_is_refused_does_not_stop_the_next(store: Store, ref: DatasetRef) -> None:
    record(store, ref, result("income"))
    record(store, ref, result("age"))
    slack = Recorder()
    slack.failures = [DeliveryError("invalid_blocks", permanent=True)]
    report = deliver(store, {"slack": slack}, now=NOW)
    assert (report.delivered, report.failed) == (1, 1)


def test_a_recorded_digest_that_cannot_be_read_is_given_up(store: Store, ref: DatasetRef) -> None:
    outbox.record_digest(store, ref, {"dedup_key": "k", "monitor_id": "m"}, ["slack"], NOW)
    record(store, ref)
    slack = Recorder()
    report = deliver(store, {"slack": slack}, now=NOW)
    assert (report.delivered, report.failed) == (1, 1)
    assert "cannot be read (KeyError)" in report.problems[0]


def test_a_sender_that_dies_is_replaced(store: Store, ref: DatasetRef) -> None:
    record(store, ref)

    class Dying(Recorder):
        def send(self, digest: Digest, *, thread: str | None = None) -> str:
            raise KeyboardInterrupt(digest.dedup_key, thread)

    with pytest.raises(KeyboardInterrupt):
        deliver(store, {"slack": Dying()}, now=NOW)
    slack = Recorder()
    assert deliver(store, {"slack": slack}, now=NOW + MINUTE).delivered == 0
    assert deliver(store, {"slack": slack}, now=NOW + outbox.LEASE).delivered == 1


def test_actions_name_channels_and_the_log_always_hears() -> None:
    (named,) = document(monitor(actions=[{"type": "global", "target": "slack"}])).monitors
    (silent,) = document(monitor(actions=[])).monitors
    assert channels_of(named, ["console", "slack"]).channels == ("console", "slack")
    assert channels_of(silent, ["console", "slack"]).channels == ("console",)


def test_an_action_that_leads_nowhere_is_reported_and_the_others_are_told() -> None:
    made = document(
        monitor(
            actions=[
                {"type": "global", "target": "pagerduty-prod"},
                {"type": "slack", "target": "https://hooks.slack.com/services/hush7"},
                {"type": "slack", "id": "slack"},
            ]
        )
    )
    [(_, names)], problems = address(made, digests(made=made), ["console", "slack"])
    assert names == ("console", "slack")
    elsewhere, inline = problems
    assert elsewhere == (
        "monitor null-ratio-monitor: no channel 'pagerduty-prod' is configured; there are: console, slack"
    )
    assert inline.startswith(
        "monitor null-ratio-monitor: the address in its slack action is not used; set it up"
    )
    assert "hush7" not in inline


def bot(slack: FakeSlack) -> SlackChannel:
    return SlackChannel(token=SecretStr(TOKEN), base_url=slack.api_url, timeout=1)


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (Answer(400, "invalid_payload"), "failed"),
        (Answer(403, "action_prohibited"), "failed"),
        (Answer(200, '{"ok": false, "error": "channel_not_found"}'), "failed"),
        (Answer(429, headers={"Retry-After": "1"}), "pending"),
        (Answer(500, "oops"), "pending"),
        (Answer(200, "<html>all is well</html>"), "pending"),
        (Answer(200, '{"ok": true', {"Content-Type": "application/json"}), "pending"),
        (Answer(drop=True), "pending"),
    ],
    ids=["400", "403", "200-refused", "429", "500", "200-lie", "200-half", "close"],
)
def test_whatever_slack_answers_the_next_message_gets_through(
    store: Store, ref: DatasetRef, slack: FakeSlack, answer: Answer, state: str
) -> None:
    record(store, ref)
    slack.will_answer(answer)
    deliver(store, {"slack": bot(slack)}, now=NOW)
    assert states(store)["slack"] == state
    record(store, ref, result("age"))
    deliver(store, {"slack": bot(slack)}, now=NOW + MINUTE)
    assert [one.state for one in outbox.undelivered(store) if one.channel == "slack"] == ["failed"] * (
        state == "failed"
    )
    assert len(slack.requests) == (2 if state == "failed" else 3)


def test_a_channel_that_hangs_costs_one_time_limit_and_the_others_nothing(
    store: Store, ref: DatasetRef
) -> None:
    for name in ("income", "age", "region"):
        record(store, ref, result(name))
    free, other, asked = threading.Event(), Recorder("console"), list[str]()

    class Hanging(Recorder):
        def send(self, digest: Digest, *, thread: str | None = None) -> str:
            asked.append(digest.dedup_key)
            free.wait(300)
            return super().send(digest, thread=thread)

    report = deliver(store, {"slack": Hanging(), "console": other}, now=NOW, send_seconds=0.2)
    free.set()
    assert (report.delivered, report.waiting) == (3, 3)
    assert report.problems == ("slack: lead-scoring: no answer within 0.2 s",)
    assert len(asked) == 1


def test_all_messages_of_a_channel_wait_for_as_long_as_it_asks(store: Store, ref: DatasetRef) -> None:
    record(store, ref, result("income"))
    record(store, ref, result("age"))
    slack = Recorder()
    slack.failures = [DeliveryError("slow down", retry_after=1800)]
    deliver(store, {"slack": slack}, now=NOW)
    record(store, ref, result("region"), now=NOW + MINUTE)
    assert deliver(store, {"slack": slack}, now=NOW + timedelta(seconds=1799)).delivered == 0
    assert outbox.due_deliveries(store, NOW + timedelta(seconds=1799)) == [
        (pk, 0) for pk in console_deliveries(store)
    ]
    assert deliver(store, {"slack": slack}, now=NOW + timedelta(seconds=1800)).delivered == 3


def console_deliveries(store: Store) -> list[int]:
    return [one.pk for one in outbox.undelivered(store) if one.channel == "console"]


def test_a_channel_that_refuses_everything_loses_two_messages_and_the_others_wait_until_it_is_mended(
    store: Store, ref: DatasetRef
) -> None:
    for number in range(6):
        record(store, ref, result(f"column_{number}"))
    slack = Recorder()
    slack.failures = [DeliveryError("invalid_auth", permanent=True) for _ in range(5)]
    moment, given_up = NOW, 0
    while slack.failures:
        given_up += deliver(store, {"slack": slack}, now=moment).failed
        moment += timedelta(hours=1)
    assert given_up == 2
    assert deliver(store, {"slack": slack}, now=moment).delivered == 4
    assert outbox.try_again(store, now=moment) == 2
    assert deliver(store, {"slack": slack}, now=moment).delivered == 2
    assert len({one.dedup_key for one in slack.sent}) == 6


def test_a_late_mark_does_not_take_the_claim_of_another_sender(store: Store, ref: DatasetRef) -> None:
    record(store, ref)
    (first,) = outbox.pending_deliveries(store, NOW, channels=["slack"])
    later = NOW + outbox.LEASE
    assert outbox.pending_deliveries(store, later, channels=["slack"])
    outbox.mark_failed(store, first.pk, error="late", retry_at=later, claim=first.claimed_until)
    assert outbox.pending_deliveries(store, later, channels=["slack"]) == []


class Threaded(Recorder):
    """A channel with threads."""

    threads = True

    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[str, str | None]] = []

    def send(self, digest: Digest, *, thread: str | None = None) -> str:
        self.said.append((digest.monitor_id, thread))
        return super().send(digest, thread=thread)


def test_what_follows_on_an_incident_goes_into_its_thread_unless_it_is_worse(
    store: Store, ref: DatasetRef
) -> None:
    grave = document(monitor("grave-monitor", severity=1))
    slack = Threaded()
    for number, made in enumerate((DOCUMENT, DOCUMENT, grave, grave)):
        (digest,) = digests(result(bucket=day(number)), made=made)
        incident = replace(digest.incidents[0], id="incident-1")
        told = replace(digest, incidents=(incident,))
        outbox.record_digest(store, ref, told.to_json(), ["slack"], NOW)
        deliver(store, {"slack": slack}, now=NOW + number * MINUTE)
    assert [thread for _, thread in slack.said] == [None, "receipt-1", None, "receipt-1"]
