"""What people can do about an incident: acknowledge, assign, snooze, judge, comment, resolve. For every face alike.

| action | what it means |
|---|---|
| acknowledge | it is real, and somebody looks at it: nobody is told again unless it becomes more severe or comes back, and its buckets leave the trailing baselines until their data is repaired |
| assign | somebody is to look at it |
| snooze | nobody is told until then, unless it becomes more severe |
| expected, unhelpful | nobody needs to hear of these series within this incident any more; its buckets are good for baselines |
| comment | a note in the history |
| resolve | it is over; what comes after is told as something that came back |

Buckets that leave baselines, or return to them, make the verdicts stale that rest on them (`monitor reanalyze`). Verdicts
of before are replayed with what people had said by then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, cast

from monitoring_pipeline.alerting.incidents import Incident, Status
from monitoring_pipeline.analysis.reach import reach_of
from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.store import incidents, responses
from monitoring_pipeline.store.responses import Answer, Event
from monitoring_pipeline.store.results import Resting
from monitoring_pipeline.timegrid import parse_moment, to_micros, utc
from monitoring_pipeline.workspace import Workspace

Verdict = Literal["expected", "unhelpful"]

SHORTEST = 4
"""Characters of an id that are enough to name an incident, when no other begins with them."""

MOST_TEXT = 2_000
"""Characters of a note or a name."""

_PREFIX = "incident-"


@dataclass(frozen=True)
class IncidentState:
    """An incident as it stands, with what people said of it. `assignee` and `verdict` are None where nobody said so."""

    dataset_id: str
    incident: Incident
    opened: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    assignee: str | None
    snoozed_until: datetime | None
    verdict: Verdict | None

    @classmethod
    def of(cls, dataset_id: str, record: Mapping[str, object]) -> IncidentState:
        """Out of a record of the store."""
        return cls(
            dataset_id=dataset_id,
            incident=Incident.from_json(record),
            opened=parse_moment(str(record["opened"])),
            acknowledged_at=_moment(record["acknowledged_at"]),
            acknowledged_by=cast("str | None", record["acknowledged_by"]),
            assignee=cast("str | None", record["assignee"]),
            snoozed_until=_moment(record["snoozed_until"]),
            verdict=cast("Verdict | None", record["verdict"]),
        )

    @property
    def short_id(self) -> str:
        """The first characters of the id, as lists show them; unique as a rule."""
        return self.incident.id.removeprefix(_PREFIX)[:8]

    def to_json(self) -> dict[str, object]:
        """As JSON values: the incident without its members, and what people said."""
        hidden = {"members", "watched", "told"}
        shown = {name: value for name, value in self.incident.to_json().items() if name not in hidden}
        return {
            "dataset": self.dataset_id,
            **shown,
            "opened": self.opened.isoformat(),
            "acknowledged_at": self.acknowledged_at.isoformat() if self.acknowledged_at else None,
            "acknowledged_by": self.acknowledged_by,
            "assignee": self.assignee,
            "snoozed_until": self.snoozed_until.isoformat() if self.snoozed_until else None,
            "verdict": self.verdict,
        }


def listed(
    workspace: Workspace, dataset_ids: Iterable[str], *, status: Literal["open", "resolved"] | None = "open"
) -> list[IncidentState]:
    """The incidents of some datasets, most severe and newest first; `status` None means open and resolved."""
    found = [
        IncidentState.of(dataset_id, record)
        for dataset_id in dataset_ids
        for record in incidents.incidents(workspace.store, workspace.ref(dataset_id), status=status)
    ]
    newest = sorted(found, key=lambda one: one.incident.end, reverse=True)
    return sorted(newest, key=lambda one: (one.incident.status is not Status.OPEN, one.incident.severity))


def find(workspace: Workspace, name: str, *, dataset_ids: Sequence[str] | None = None) -> IncidentState:
    """The incident with an id, or whose id begins so (`SHORTEST` characters, with or without `incident-`).

    Raises UsageError when there is none, or several, and says which.
    """
    asked = name.strip().removeprefix(_PREFIX)
    if len(asked) < SHORTEST:
        raise UsageError(
            f"{name!r} is too short for the id of an incident; at least its first {SHORTEST} characters, "
            "as `monitor incidents` lists them"
        )
    found: list[tuple[str, Mapping[str, object]]] = []
    for dataset_id in dataset_ids if dataset_ids is not None else sorted(workspace.catalog.datasets):
        ref = workspace.ref(dataset_id)
        records = [
            *incidents.incidents(workspace.store, ref),
            *incidents.incidents(workspace.store, ref, status="merged"),
        ]
        found += [
            (dataset_id, record)
            for record in records
            if str(record["id"]).removeprefix(_PREFIX).startswith(asked)
        ]
    if not found:
        raise UsageError(f"no incident begins with {name!r}; `monitor incidents --all` lists them")
    if len(found) > 1:
        names = ", ".join(sorted(str(record["id"]) for _, record in found)[:5])
        raise UsageError(f"{len(found)} incidents begin with {name!r}: {names}; write more of the id")
    dataset_id, record = found[0]
    if record["status"] == "merged":
        return _survivor(workspace, dataset_id, str(record["id"]))
    return IncidentState.of(dataset_id, record)


def history(workspace: Workspace, state: IncidentState) -> list[Event]:
    """What people did about an incident, oldest first."""
    return responses.history(workspace.store, workspace.ref(state.dataset_id), state.incident.id)


def acknowledge(
    workspace: Workspace, state: IncidentState, *, author: str | None = None, note: str | None = None
) -> IncidentState:
    """Say that an incident is real and looked at. Its buckets so far leave the trailing baselines."""

    def decide(record: Mapping[str, object], event: Event) -> Answer:
        bad = responses.buckets_of(record)
        changes: dict[str, object] = {"verdict": None, "muted": None, "quiet_severity": record["severity"]}
        again = _moment(record["acknowledged_at"]), _moment(record["reopened_at"])
        if again[0] is None or (again[1] is not None and again[0] < again[1]):
            changes |= {"acknowledged_at": to_micros(event.moment), "acknowledged_by": event.author}
        details = {"buckets": [bucket.isoformat() for bucket in bad]}
        return Answer(replace(event, details=details), changes, bad=bad)

    return _answer(workspace, state, "acknowledge", decide, author=author, note=note)


def assign(
    workspace: Workspace,
    state: IncidentState,
    assignee: str,
    *,
    author: str | None = None,
    note: str | None = None,
) -> IncidentState:
    """Say who is to look at an incident. Raises UsageError for an empty name."""
    name = _text(assignee, "the name of the one who is to look at it")
    if name is None:
        raise UsageError("nobody is named; write who is to look at the incident")

    def decide(_: Mapping[str, object], event: Event) -> Answer:
        return Answer(replace(event, details={"assignee": name}), {"assignee": name})

    return _answer(workspace, state, "assign", decide, author=author, note=note)


def snooze(
    workspace: Workspace,
    state: IncidentState,
    until: datetime,
    *,
    author: str | None = None,
    note: str | None = None,
) -> IncidentState:
    """Tell nobody until a moment. Raises UsageError for one that has passed."""
    moment = utc(until)
    if moment <= workspace.now():
        raise UsageError(f"{moment:%Y-%m-%d %H:%M} UTC has passed; snooze until a later moment")

    def decide(record: Mapping[str, object], event: Event) -> Answer:
        changes = {"snoozed_until": to_micros(moment), "quiet_severity": record["severity"]}
        return Answer(replace(event, details={"until": moment.isoformat()}), changes)

    return _answer(workspace, state, "snooze", decide, author=author, note=note)


def mark(
    workspace: Workspace,
    state: IncidentState,
    verdict: Verdict,
    *,
    author: str | None = None,
    note: str | None = None,
) -> IncidentState:
    """Say that an incident is expected, or that being told of it does not help.

    The series that are part of it by now are not told any more as long as it lasts. Buckets of it that were called bad
    return to the baselines.
    """

    def decide(record: Mapping[str, object], event: Event) -> Answer:
        muted = [list(one.series) for one in Incident.from_json(record).watched]
        changes = {"verdict": verdict, "muted": muted}
        return Answer(replace(event, details={"series": muted}), changes, good=True)

    return _answer(workspace, state, verdict, decide, author=author, note=note)


def comment(
    workspace: Workspace, state: IncidentState, note: str, *, author: str | None = None
) -> IncidentState:
    """Add a note to the history. Raises UsageError for an empty one."""
    if not note.strip():
        raise UsageError("the comment is empty; write what is to be remembered")
    return _answer(workspace, state, "comment", lambda _, event: Answer(event), author=author, note=note)


def resolve(
    workspace: Workspace, state: IncidentState, *, author: str | None = None, note: str | None = None
) -> IncidentState:
    """Say that an incident is over. An anomaly that joins it later opens it again, and is told."""

    def decide(record: Mapping[str, object], event: Event) -> Answer | None:
        incident = Incident.from_json(record)
        if incident.status is Status.RESOLVED and incident.closed == incident.end:
            return None
        over = replace(incident, status=Status.RESOLVED, closed=incident.end)
        return Answer(event, record=over.to_json())

    return _answer(workspace, state, "resolve", decide, author=author, note=note)


def _answer(
    workspace: Workspace,
    state: IncidentState,
    action: str,
    decide: Callable[[Mapping[str, object], Event], Answer | None],
    *,
    author: str | None,
    note: str | None,
) -> IncidentState:
    now, who = workspace.now(), _text(author, "the author") or workspace.author
    event = Event(now, who, action, _text(note, "the note"))
    record = responses.answer(
        workspace.store,
        workspace.ref(state.dataset_id),
        state.incident.id,
        lambda before: decide(before, event),
        resting=lambda buckets: _resting(workspace, state.dataset_id, buckets),
        now=now,
    )
    return IncidentState.of(state.dataset_id, record)


def _resting(workspace: Workspace, dataset_id: str, buckets: Sequence[datetime]) -> Iterator[Resting]:
    """Verdicts whose baselines hold one of the buckets, of the dataset and of those that compare with it."""
    for other in workspace.catalog.datasets.values():
        whose = None if other.id == dataset_id else dataset_id
        for bucket in buckets:
            for reach in reach_of(other.document, bucket, dataset_id=whose):
                yield Resting(workspace.ref(other.id), reach.analyzer_id, reach.window, reach.any_segment)


def _survivor(workspace: Workspace, dataset_id: str, name: str) -> IncidentState:
    """The incident that another has become part of."""
    for record in incidents.incidents(workspace.store, workspace.ref(dataset_id)):
        if name in cast("Sequence[str]", record.get("absorbed") or ()):
            return IncidentState.of(dataset_id, record)
    raise UsageError(f"{name} has become part of an incident that is not there any more")


def _text(value: str | None, what: str) -> str | None:
    given = (value or "").strip()
    if len(given) > MOST_TEXT:
        raise UsageError(f"{what} has {len(given):,} characters; at most {MOST_TEXT:,} are kept")
    return given or None


def _moment(value: object) -> datetime | None:
    return parse_moment(str(value)) if value else None
