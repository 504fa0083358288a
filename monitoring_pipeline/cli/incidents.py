"""`monitor incidents` lists what is wrong, `monitor incident` says what people do about it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from monitoring_pipeline.cli.app import (
    DatasetOption,
    JsonOption,
    app,
    chosen_datasets,
    explained,
    open_workspace,
    out,
    say_next,
)
from monitoring_pipeline.timegrid import parse_moment

if TYPE_CHECKING:
    from monitoring_pipeline.responses import IncidentState
    from monitoring_pipeline.workspace import Workspace

incident = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="""One incident: look at it, and say what is done about it. Ids may be cut short.

    **Example**  `monitor incident ack 3f2a81c0 --note "the export failed"`""",
)
app.add_typer(incident, name="incident", rich_help_panel="Every day")

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The incident; its first characters will do.")]
NoteOption = Annotated[str | None, typer.Option("--note", help="Why, for those who look at it later.")]
AuthorOption = Annotated[
    str | None, typer.Option("--author", help="Who says so; the user of the system unless given.")
]


@app.command("incidents", rich_help_panel="Every day")
def incidents(
    datasets: DatasetOption = None,
    every: Annotated[bool, typer.Option("--all", help="Resolved ones as well.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the open incidents, most severe first."""
    from monitoring_pipeline import responses

    with open_workspace() as workspace:
        found = responses.listed(
            workspace, chosen_datasets(workspace, datasets), status=None if every else "open"
        )
    if as_json:
        sys.stdout.write(json.dumps([one.to_json() for one in found], indent=2) + "\n")
        return
    for one in found:
        _show_line(one)
    if not found:
        out.print("no incidents" if every else "no open incidents")
        return
    say_next("monitor incident show ID", "monitor incident ack ID --note TEXT")


@incident.command("show")
def show(name: IdArgument, as_json: JsonOption = False) -> None:
    """Show an incident: what happened, what people said and did.

    **Example**  `monitor incident show 3f2a81c0`
    """
    from monitoring_pipeline import responses

    with open_workspace() as workspace:
        state = responses.find(workspace, name)
        events = responses.history(workspace, state)
    if as_json:
        told = [
            {
                "moment": event.moment.isoformat(),
                "author": event.author,
                "action": event.action,
                "note": event.note,
                "details": dict(event.details),
            }
            for event in events
        ]
        sys.stdout.write(json.dumps({**state.to_json(), "history": told}, indent=2) + "\n")
        return
    _show_line(state)
    out.print(f"  {escape(state.incident.worst.sentence)}", highlight=False)
    if state.incident.likely_cause:
        out.print(f"  likely cause: {escape(state.incident.likely_cause)}", highlight=False)
    for event in events:
        note = f": {event.note}" if event.note else ""
        words = f"{event.moment:%Y-%m-%d %H:%M}  {event.author}  {event.action}{note}"
        out.print(f"  {escape(words)}", highlight=False)


@incident.command("ack")
def acknowledge(name: IdArgument, note: NoteOption = None, author: AuthorOption = None) -> None:
    """It is real and somebody looks at it: no more messages unless it gets worse or comes back.

    Its buckets leave the trailing baselines until their data is repaired.

    **Example**  `monitor incident ack 3f2a81c0 --note "the export failed"`
    """
    from monitoring_pipeline import responses

    _do(name, lambda at, one: responses.acknowledge(at, one, author=author, note=note))


@incident.command("assign")
def assign(
    name: IdArgument,
    assignee: Annotated[str, typer.Argument(metavar="WHO", help="Who is to look at it.")],
    note: NoteOption = None,
    author: AuthorOption = None,
) -> None:
    """Say who is to look at it.

    **Example**  `monitor incident assign 3f2a81c0 maria`
    """
    from monitoring_pipeline import responses

    _do(name, lambda at, one: responses.assign(at, one, assignee, author=author, note=note))


@incident.command("snooze")
def snooze(
    name: IdArgument,
    until: Annotated[str, typer.Option("--until", metavar="TIME", help="Until when, in UTC.")],
    note: NoteOption = None,
    author: AuthorOption = None,
) -> None:
    """No messages until then, unless it becomes more severe.

    **Example**  `monitor incident snooze 3f2a81c0 --until 2026-12-01`
    """
    from monitoring_pipeline import responses

    with explained():
        moment = _moment(until)
    _do(name, lambda at, one: responses.snooze(at, one, moment, author=author, note=note))


@incident.command("expected")
def expected(name: IdArgument, note: NoteOption = None, author: AuthorOption = None) -> None:
    """It is as it should be: no more messages about these columns within this incident.

    **Example**  `monitor incident expected 3f2a81c0 --note "Christmas"`
    """
    from monitoring_pipeline import responses

    _do(name, lambda at, one: responses.mark(at, one, "expected", author=author, note=note))


@incident.command("unhelpful")
def unhelpful(name: IdArgument, note: NoteOption = None, author: AuthorOption = None) -> None:
    """Nobody needs to know: no more messages about these columns within this incident.

    **Example**  `monitor incident unhelpful 3f2a81c0`
    """
    from monitoring_pipeline import responses

    _do(name, lambda at, one: responses.mark(at, one, "unhelpful", author=author, note=note))


@incident.command("comment")
def comment(
    name: IdArgument,
    note: Annotated[str, typer.Argument(metavar="TEXT", help="What is to be remembered.")],
    author: AuthorOption = None,
) -> None:
    """Add a note to its history.

    **Example**  `monitor incident comment 3f2a81c0 "the vendor is informed"`
    """
    from monitoring_pipeline import responses

    _do(name, lambda at, one: responses.comment(at, one, note, author=author))


@incident.command("resolve")
def resolve(name: IdArgument, note: NoteOption = None, author: AuthorOption = None) -> None:
    """It is over; what comes after is told as something that came back.

    **Example**  `monitor incident resolve 3f2a81c0`
    """
    from monitoring_pipeline import responses

    _do(name, lambda at, one: responses.resolve(at, one, author=author, note=note))


def _do(name: str, what: Callable[[Workspace, IncidentState], IncidentState]) -> None:
    from monitoring_pipeline import responses

    with open_workspace() as workspace:
        _show_line(what(workspace, responses.find(workspace, name)))


def _show_line(state: IncidentState) -> None:
    """An incident in a line: id, when, what, and what people said."""
    found = state.incident
    said = [found.status.value]
    if state.verdict:
        said.append(state.verdict)
    if state.acknowledged_by:
        said.append(f"acknowledged by {state.acknowledged_by}")
    if state.assignee:
        said.append(f"assigned to {state.assignee}")
    if state.snoozed_until:
        said.append(f"snoozed until {state.snoozed_until:%Y-%m-%d %H:%M}")
    days = f"{found.start:%Y-%m-%d}" + (
        f" to {found.last_bucket:%Y-%m-%d}" if found.last_bucket != found.start else ""
    )
    line = f"{days}  {state.dataset_id}: {found.title}  ({', '.join(said)})"
    out.print(f"[bold]{state.short_id}[/bold]  {escape(line)}", highlight=False, soft_wrap=True)


def _moment(text: str) -> datetime:
    from monitoring_pipeline.errors import UsageError

    try:
        return parse_moment(text)
    except ValueError:
        raise UsageError(
            f"--until {text!r} is no moment; write 2026-12-01 or 2026-12-01T09:00, in UTC"
        ) from None
