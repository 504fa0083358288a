"""`monitor channels`: who can be told, what is missing for it, and a test message that says what came back."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from monitoring_pipeline.cli.app import FAILED, MISUSED, JsonOption, app, err, explained, out, say_next
from monitoring_pipeline.errors import DeliveryError, UsageError

if TYPE_CHECKING:
    from monitoring_pipeline.alerting.messages import Message

channels = typer.Typer(help="Channels that digests go to.", invoke_without_command=True)
app.add_typer(channels, name="channels", rich_help_panel="Every day")


@channels.callback()
def show(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the channels: where each leads, and what it lacks. No secret is shown.

    They stand in `channels.yaml` in the workspace's home; `MONITORING_SLACK_*` makes one of its own, `slack`.
    Exit code 2 when something is missing.
    """
    if context.invoked_subcommand is not None:
        return
    from monitoring_pipeline.alerting.channels import described_channels
    from monitoring_pipeline.settings import Settings

    with explained():
        found = described_channels(Settings())
    if as_json:
        sys.stdout.write(
            json.dumps([{**vars(one), "ready": not one.missing} for one in found], indent=2) + "\n"
        )
    else:
        from rich.table import Table

        table = Table("channel", "type", "leads to", "from", "state", box=None, pad_edge=False)
        for one in found:
            state = "[red]" + escape("; ".join(one.missing)) + "[/red]" if one.missing else "ready"
            table.add_row(escape(one.name), one.type, escape(one.to), one.source, state)
        out.print(table)
        ready = next((one.name for one in reversed(found) if not one.missing), "console")
        say_next(f"monitor channels test {ready}")
    if any(one.missing for one in found):
        raise typer.Exit(MISUSED)


@channels.command()
def test(name: Annotated[str, typer.Argument(help="The channel.")]) -> None:
    """Send a real test message through a channel and say what the other side answered.

    In PagerDuty the test is an alert of the severity info, which is resolved at once.
    """
    from monitoring_pipeline.alerting.channels import PagerDutyChannel, Speaks, configured_channels
    from monitoring_pipeline.settings import Settings

    with explained():
        found = configured_channels(Settings())
        if name not in found:
            raise UsageError(f"no channel {name!r}; there are: {', '.join(sorted(found))}")
        channel = found[name]
        if not isinstance(channel, Speaks):
            raise UsageError(f"the channel {name!r} takes digests only")
        now = datetime.now(UTC)
        key = f"test:{name}:{now.isoformat()}"
        try:
            receipt = channel.say(_message(name, now), key=key)
            if isinstance(channel, PagerDutyChannel):
                channel.resolve(key)
        except DeliveryError as error:
            err.print(f"[red]not sent[/red] {escape(f'{name}: {error}')}", highlight=False)
            again = "somebody has to mend that first" if error.permanent else "it may work later"
            wait = f"; the other side asks to wait {error.retry_after:g} s" if error.retry_after else ""
            err.print(f"         {again}{wait}", highlight=False)
            raise typer.Exit(FAILED) from None
    out.print(f"[green]sent[/green] {escape(f'{name}: the other side answered: {receipt}')}", highlight=False)


def _message(name: str, now: datetime) -> Message:
    from monitoring_pipeline.alerting.digests import Escalation
    from monitoring_pipeline.alerting.messages import Chart, Facts, Item, Items, Message

    when = f"{now:%Y-%m-%d %H:%M} UTC"
    example = (0.6, 0.5, 0.7, 0.6, 0.4, 0.6, 0.5, 0.8, 0.6, 14.1)
    return Message(
        Escalation.INFO,
        "Test message: nothing is wrong",
        f"Test message of the channel {name}, {when}: nothing is wrong",
        (
            Facts((("channel", name), ("sent", when))),
            Items(
                "What happened", (Item("Somebody ran `monitor channels test`. Digests will look like this."),)
            ),
            Chart(
                "An example, made up",
                example,
                lower=(0.0,) * len(example),
                upper=(1.2,) * len(example),
                marks=(len(example) - 1,),
                caption="0.6 % → 14.1 %, expected 0–1.2 %",
            ),
        ),
    )
