"""The outbox: messages are recorded before they are sent, sent at least once, and never again once accepted.

`deliver` claims what is due, sends it, and notes the receipt, or when to try again. It is the only place that retries.
Channels are served at the same time, each by itself and one message after the other. One that does not answer is left
alone for a time that doubles, or for as long as it asks, with all its messages; the others do not notice. Of several
senders one at a time serves a channel.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from monitoring_pipeline.alerting.channels.protocol import (
    Channel,
    FollowsIncidents,
    KeepsThreads,
    Speaks,
    Step,
)
from monitoring_pipeline.alerting.digests import Digest
from monitoring_pipeline.alerting.incidents import Incident
from monitoring_pipeline.alerting.notices import escalation_digest, notice_message, step_of
from monitoring_pipeline.errors import DeliveryError, StoreError
from monitoring_pipeline.store import backlogs, channel_states
from monitoring_pipeline.store import digests as outbox
from monitoring_pipeline.store.backlogs import Told
from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.digests import Delivery
from monitoring_pipeline.store.turns import turn

FIRST_RETRY = timedelta(minutes=1)
LONGEST_RETRY = timedelta(hours=1)
"""Waits double from the first to the longest; a channel that asks for more gets it."""

GIVE_UP_AFTER = timedelta(days=7)
"""Age at which a message that could not be delivered is not news any more."""

FEWEST_ATTEMPTS = 10
"""Attempts before a message is given up for its age: a clock that jumps ahead makes nothing old at once."""

AT_ONCE = 6
"""Channels that are served at the same time."""

REFUSED_IN_A_ROW = 3
"""Refusals after which it is not the message that a channel will not have, but us: from then on messages wait."""

SEND_SECONDS = 60.0
"""The longest that a channel may take for one message, whatever its own limits are."""

CALL_SECONDS = 120.0
"""After so long no more messages are begun; the next call goes on. With one message more it is within the lease."""

MARKS = 3
"""Attempts to note a receipt when the store fails, a second apart."""

MOST_PARTS = 20
"""Incidents that have become part of another one, of which a channel is told by name."""

NOTHING_TO_FOLLOW = "not sent: the channel was told nothing that this could follow"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeliveryReport:
    """What one call of `deliver` did: accepted, given up, still to be sent; and what went wrong, one line each."""

    delivered: int
    failed: int
    waiting: int
    problems: tuple[str, ...] = ()


def followers(channels: Mapping[str, Channel]) -> list[str]:
    """The channels that want to know what became of an incident: those that keep its state, or a thread of it."""
    return [name for name, one in channels.items() if isinstance(one, FollowsIncidents) or _has_threads(one)]


def threads(channels: Mapping[str, Channel]) -> list[str]:
    """The channels that can be told of an incident quietly, in its thread."""
    return [
        name for name, one in channels.items() if _has_threads(one) and not isinstance(one, FollowsIncidents)
    ]


def deliver(
    store: Store, channels: Mapping[str, Channel], *, now: datetime, send_seconds: float = SEND_SECONDS
) -> DeliveryReport:
    """Send what is due. Never raises for a channel; calling it again sends nothing twice.

    `send_seconds` is the longest that a channel may take for one message.
    """
    round_ = _Round(store, channels, now, send_seconds)
    try:
        round_.run()
    finally:
        round_.end()
    left = backlogs.backlogs(store)
    problems = list(round_.problems)
    problems += [
        f"{one.channel}: digests wait for a channel that is not configured any more"
        for one in left
        if one.waiting and one.channel not in channels
    ]
    return DeliveryReport(round_.delivered, round_.failed, sum(one.waiting for one in left), tuple(problems))


@dataclass
class _Call:
    """One message on its way, in a thread of its own."""

    channel: str
    delivery: Delivery
    deadline: float


@dataclass
class _Round:
    """One call of `deliver`. All of it but the sending itself happens in the thread of the caller."""

    store: Store
    channels: Mapping[str, Channel]
    now: datetime
    send_seconds: float
    delivered: int = 0
    failed: int = 0
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._began = time.monotonic()
        self._answers: queue.SimpleQueue[tuple[_Call, str | BaseException]] = queue.SimpleQueue()
        self._calls: dict[str, _Call] = {}
        self._turns = {name: contextlib.ExitStack() for name in self.channels}

    def run(self) -> None:
        """Serve every channel that has something to send."""
        waiting = deque(name for name in outbox.due_channels(self.store, self.now) if name in self.channels)
        while waiting or self._calls:
            while waiting and len(self._calls) < AT_ONCE:
                name = waiting.popleft()
                mine = self._turns[name].enter_context(turn(self.store, f"send to {name}"))
                # Asked again: whoever had the turn before may have been told to leave the channel alone.
                if mine and name in outbox.due_channels(self.store, self.now):
                    self._next(name)
            if self._calls:
                call, answer = self._answer()
                del self._calls[call.channel]
                if self._note(call, answer):
                    self._next(call.channel)
                if call.channel not in self._calls:
                    self._turns[call.channel].close()

    def end(self) -> None:
        """Let others have the turns."""
        while not self._answers.empty():
            self._late(*self._answers.get())
        for held in self._turns.values():
            held.close()

    def _next(self, name: str) -> None:
        """Begin to send a channel's next message, if there is one and time for it."""
        while time.monotonic() - self._began < CALL_SECONDS:
            claimed = outbox.pending_deliveries(self.store, self.now, 1, channels=[name])
            if not claimed:
                return
            delivery = claimed[0]
            try:
                send = self._prepared(self.channels[name], delivery)
            except (KeyError, TypeError, ValueError) as error:
                words = f"the recorded {delivery.kind} cannot be read ({type(error).__name__})"
                self._given_up(delivery, words)
                continue
            if send is None:
                outbox.mark_delivered(self.store, delivery.pk, now=self.now, receipt=NOTHING_TO_FOLLOW)
                continue
            call = _Call(name, delivery, time.monotonic() + self.send_seconds)
            self._calls[name] = call
            thread = threading.Thread(
                target=_send, args=(send, call, self._answers), name=f"send to {name}", daemon=True
            )
            thread.start()
            return

    def _answer(self) -> tuple[_Call, str | BaseException]:
        """The next call that has come to an end: a receipt, or what went wrong."""
        while True:
            soonest = min(self._calls.values(), key=lambda call: call.deadline)
            try:
                call, answer = self._answers.get(timeout=max(0.0, soonest.deadline - time.monotonic()))
            except queue.Empty:
                return soonest, DeliveryError(f"no answer within {self.send_seconds:g} s")
            if self._calls.get(call.channel) is call:
                return call, answer
            self._late(call, answer)

    def _late(self, call: _Call, answer: str | BaseException) -> None:
        """An answer after its time: the message has been noted as not answered, and may have been accepted all the same."""
        if isinstance(answer, str):
            self._accepted(call.delivery, answer)

    def _note(self, call: _Call, answer: str | BaseException) -> bool:
        """Write down how a message fared; whether the channel is to get the next one."""
        if isinstance(answer, str):
            self._accepted(call.delivery, answer)
            self.delivered += 1
            return True
        if isinstance(answer, DeliveryError):
            error = answer
        elif isinstance(answer, Exception):  # a channel may be anybody's code; its words may hold secrets
            error = DeliveryError(f"the channel failed with {type(answer).__name__}")
        else:
            raise answer
        return self._failed(call.delivery, error)

    def _accepted(self, delivery: Delivery, receipt: str) -> None:
        """Note a receipt, against some resistance of the store: what is not noted is sent again."""
        for left in reversed(range(MARKS)):
            try:
                outbox.mark_delivered(self.store, delivery.pk, now=self.now, receipt=receipt)
            except StoreError:
                if not left:
                    raise
                time.sleep(1.0)
            else:
                return

    def _given_up(self, delivery: Delivery, words: str) -> None:
        """A message that cannot be sent through any fault of the channel's."""
        self._tell(delivery, words)
        self.failed += 1
        outbox.mark_failed(self.store, delivery.pk, error=words, permanent=True, claim=delivery.claimed_until)

    def _failed(self, delivery: Delivery, error: DeliveryError) -> bool:
        """Note what went wrong and when to try again; whether the channel is to get the next message all the same."""
        self._tell(delivery, str(error))
        state = channel_states.channel_states(self.store).get(delivery.channel)
        failures = state.failures if state and state.failing_since else 0
        refused = error.permanent and failures + 1 < REFUSED_IN_A_ROW
        retry_at = self.now + self._wait(delivery.attempts)
        old = retry_at >= delivery.created + GIVE_UP_AFTER and delivery.attempts + 1 >= FEWEST_ATTEMPTS
        self.failed += refused or old
        rest = self._wait(failures)
        if error.retry_after is not None:
            longest = channel_states.LONGEST_REST.total_seconds()
            rest = max(rest, timedelta(seconds=min(error.retry_after, longest)))
        outbox.mark_failed(
            self.store,
            delivery.pk,
            error=str(error),
            retry_at=retry_at,
            permanent=refused or old,
            now=self.now,
            rests_until=None if refused else self.now + rest,
            claim=delivery.claimed_until,
        )
        return refused

    def _tell(self, delivery: Delivery, words: str) -> None:
        self.problems.append(f"{delivery.channel}: {delivery.dataset_id}: {words}")
        _log.warning(
            "%s %s was not delivered to %s: %s",
            delivery.kind,
            delivery.dedup_key[:12],
            delivery.channel,
            words,
        )

    def _wait(self, failures: int) -> timedelta:
        return min(FIRST_RETRY * 2 ** min(failures, 10), LONGEST_RETRY)

    def _prepared(self, channel: Channel, delivery: Delivery) -> Callable[[], str] | None:
        """How to send a message; None when there is nothing to send. Raises what reading a damaged record raises."""
        content, kind, key = delivery.digest, delivery.kind, delivery.dedup_key
        if kind == outbox.DIGEST:
            digest = Digest.from_json(content)
            return _sending(channel, digest, self._thread(channel, delivery, digest))
        if kind == outbox.STEP:
            incident, step, dataset = step_of(content)
            if isinstance(channel, FollowsIncidents) and step is not None:
                return _following(channel, incident, step, dataset)
            thread = self._thread(channel, delivery)
            if thread is None:
                return None
        elif kind == outbox.ESCALATION and (
            isinstance(channel, FollowsIncidents) or not isinstance(channel, Speaks)
        ):
            return _sending(channel, escalation_digest(content), None)
        elif kind == outbox.RECOVERY and _has_threads(channel):
            thread = backlogs.receipts(self.store, str(content["about"])).get(delivery.channel)
        else:
            thread = None
        message = notice_message(kind, content, recorded=delivery.created)
        if not isinstance(channel, Speaks):
            return None
        return lambda: channel.say(message, key=key, thread=thread)

    def _thread(self, channel: Channel, delivery: Delivery, digest: Digest | None = None) -> str | None:
        """The message that this one belongs under: when all that it speaks of was told there, and it is not worse."""
        if not _has_threads(channel):
            return None
        told = backlogs.told_before(self.store, delivery)
        if digest is not None and not _follows(digest, told):
            return None
        return next((one.receipt for one in told.values() if one is not None), None)


def _follows(digest: Digest, told: Mapping[str, Told | None]) -> bool:
    if digest.incident_count > len(digest.incidents) or not told or any(one is None for one in told.values()):
        return False
    return all(
        one is None or one.severity is None or digest.severity >= one.severity for one in told.values()
    )


def _sending(channel: Channel, digest: Digest, thread: str | None) -> Callable[[], str]:
    if thread is None:
        return lambda: channel.send(digest)
    return lambda: channel.send(digest, thread=thread)


def _following(channel: FollowsIncidents, incident: Incident, step: Step, dataset: str) -> Callable[[], str]:
    """Tell a channel what became of an incident, and of those that became part of it under names of their own."""
    parts = incident.absorbed[:MOST_PARTS] if step is not Step.REOPENED else ()

    def follow() -> str:
        for part in parts:
            channel.update(replace(incident, id=part, absorbed=()), step, dataset=dataset)
        return channel.update(incident, step, dataset=dataset)

    return follow


def _has_threads(channel: Channel) -> bool:
    return isinstance(channel, KeepsThreads) and channel.threads


def _send(
    send: Callable[[], str], call: _Call, answers: queue.SimpleQueue[tuple[_Call, str | BaseException]]
) -> None:
    try:
        answers.put((call, str(send())))
    except BaseException as error:  # noqa: BLE001 - the thread that asked decides what becomes of it
        answers.put((call, error))
