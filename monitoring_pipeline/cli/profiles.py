"""`monitor profile`: make profiles, show what a profile file holds."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from monitoring_pipeline.cli.app import (
    DatasetOption,
    FromOption,
    JsonOption,
    ToOption,
    app,
    asked_buckets,
    chosen_datasets,
    explained,
    open_workspace,
    out,
)
from monitoring_pipeline.errors import ProfileError, UsageError


class ProfileGroup(TyperGroup):
    """`monitor profile DATASET` is short for `monitor profile make DATASET`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["make", *args]
        return super().parse_args(ctx, args)


profile = typer.Typer(
    cls=ProfileGroup, help="Profile new and changed buckets; show what a profile file holds."
)
app.add_typer(profile, name="profile", rich_help_panel="Profiles")


@profile.command("make")
def make_profiles(
    datasets: DatasetOption = None,
    start: FromOption = None,
    end: ToOption = None,
    again: Annotated[bool, typer.Option("--again", help="Also buckets whose data has not changed.")] = False,
) -> None:
    """Profile new and changed buckets into the store; `make` may be left out."""
    from monitoring_pipeline import pipeline, terminal

    with open_workspace() as workspace:
        for dataset_id in chosen_datasets(workspace, datasets):
            buckets = asked_buckets(workspace, dataset_id, start, end)
            with terminal.progress(out, f"profiling {dataset_id}") as progress:
                report = pipeline.profile_batch(
                    workspace, dataset_id, buckets, again=again, progress=progress
                )
            terminal.show_profiled(out, dataset_id, report)


@profile.command("show")
def show_profile(
    file: Annotated[Path, typer.Argument(help="A profile of whylogs or of ours.")],
    as_json: JsonOption = False,
) -> None:
    """Show what a profile file holds: every metric of every column, and the frequent items."""
    from monitoring_pipeline import terminal
    from monitoring_pipeline.profile_file import describe_profile

    with explained():
        try:
            described = describe_profile(file)
        except ProfileError as error:
            raise UsageError(str(error)) from None
        if as_json:
            sys.stdout.write(json.dumps(described, indent=2) + "\n")
        else:
            terminal.show_profile(out, described)
