"""What the store keeps and what goes: retention by the clock, deletion by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from monitoring_pipeline.cli.app import (
    DatasetOption,
    app,
    chosen_datasets,
    open_workspace,
    out,
    say_next,
)
from monitoring_pipeline.errors import UnknownDatasetError, UsageError
from monitoring_pipeline.timegrid import TimeRange, parse_moment

if TYPE_CHECKING:
    from monitoring_pipeline.store.datasets import DatasetRef
    from monitoring_pipeline.store.deletion import Deletion
    from monitoring_pipeline.store.retention import Retired
    from monitoring_pipeline.workspace import Workspace


@app.command(rich_help_panel="Storage")
def retention(
    datasets: DatasetOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and leave it.")] = False,
) -> None:
    """Remove what is older than `retention` in `dataset.yaml` says; never before a roll-up holds what it says.

    Dagster does this every night. Safe at any time, while others read and write.

    `monitor retention lead-scoring --dry-run`
    """
    from monitoring_pipeline import pipeline

    with open_workspace() as workspace:
        for dataset_id in chosen_datasets(workspace, datasets):
            with out.status(f"clearing {dataset_id}"):
                gone = pipeline.retire(workspace, dataset_id, dry_run=dry_run)
            _show_retired(dataset_id, gone, dry_run=dry_run)
        if dry_run:
            say_next("monitor retention   (to remove it)")


@app.command(rich_help_panel="Storage")
def delete(
    dataset: Annotated[str, typer.Argument(help="The dataset.")],
    start: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="First bucket that goes, e.g. 2026-01-31.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="End, not included.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a dataset, or a time range of it, from the store, with all that derives from it. Asks first.

    Profiles, roll-ups, verdicts, incidents, digests and superseded versions go for good, and who deleted them is
    noted. Your own files are never touched: a deleted range is not profiled again unless `monitor backfill --again` asks
    for it, and a dataset whose folder is still there begins anew with the next run.

    `monitor delete lead-scoring --from 2026-01-01 --to 2026-02-01`
    """
    with open_workspace() as workspace:
        if start is None and end is None:
            _delete_dataset(workspace, dataset, yes=yes)
        else:
            _delete_range(workspace, dataset, start, end, yes=yes)


@app.command(rich_help_panel="Storage")
def export(
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="The folder that is made.")],
    datasets: DatasetOption = None,
) -> None:
    """Write datasets as a folder of Parquet files: profiles, verdicts, incidents, digests, documents and their versions.

    Pandas, DuckDB and the like read them; `monitor import` brings them into another store. All datasets of the workspace
    unless some are named. The folder appears when it is complete.

    `monitor export lead-scoring --to moving`
    """
    from monitoring_pipeline.portability import export_datasets

    with open_workspace() as workspace:
        chosen = datasets or chosen_datasets(workspace, None)
        refs = [_known_to_store(workspace, dataset) for dataset in chosen]
        with out.status("exporting") as status:
            done = export_datasets(
                workspace.store,
                refs,
                to,
                now=workspace.now(),
                progress=lambda what: status.update(escape(what)),
            )
        for one in done:
            counts = ", ".join(
                f"{count:,} {name.removesuffix('.parquet')}" for name, count in one.rows.items() if count
            )
            out.print(f"[bold]{escape(one.dataset)}[/bold] {counts or 'nothing'}", highlight=False)
        out.print(f"exported to {escape(str(to))}", highlight=False)
        say_next(f"monitor import {to}   (where the other workspace is)")


@app.command("import", rich_help_panel="Storage")
def import_(
    folder: Annotated[Path, typer.Argument(help="A folder that `monitor export` has made.")],
    organisation: Annotated[
        str | None, typer.Option(help="Whose the datasets are to be; as they were unless given.")
    ] = None,
) -> None:
    """Bring the datasets of an exported folder into the store. What the store has already stays as it is.

    What both know differently is listed, and left as the store has it. Damaged or foreign files are refused before anything
    of their dataset is written. Safe to run again at any time.
    """
    from monitoring_pipeline.portability import import_folder

    with open_workspace() as workspace:
        with out.status("importing") as status:
            done = import_folder(
                workspace.store,
                folder,
                organisation=organisation,
                actor=workspace.author,
                now=workspace.now(),
                progress=lambda what: status.update(escape(what)),
            )
        for one in done:
            counts = ", ".join(f"{count:,} {name}" for name, count in one.added.items())
            out.print(f"[bold]{escape(one.dataset)}[/bold] added: {counts or 'nothing new'}", highlight=False)
            for conflict in one.conflicts[:_SHOWN_CONFLICTS]:
                out.print(f"  [yellow]kept[/yellow] {escape(conflict)}", highlight=False)
            if len(one.conflicts) > _SHOWN_CONFLICTS:
                out.print(f"  [yellow]kept[/yellow] and {len(one.conflicts) - _SHOWN_CONFLICTS:,} more")
            if not (workspace.home / "datasets" / one.dataset).exists():
                say_next(
                    f"copy dataset.yaml and monitors.json of {one.dataset} from {folder} to "
                    f"{workspace.home / 'datasets' / one.dataset}, and its data"
                )


_SHOWN_CONFLICTS = 10


def _known_to_store(workspace: Workspace, dataset: str) -> DatasetRef:
    """The dataset's row in the store, also when its folder is gone. Raises UsageError when the store does not know it."""
    from monitoring_pipeline.store.datasets import find_dataset

    try:
        organisation = workspace.organisation(dataset)
    except UnknownDatasetError:  # its folder is gone, and what the store knows of it is still there
        organisation = workspace.settings.organisation
    ref = find_dataset(workspace.store, organisation, dataset)
    if ref is None:
        workspace.described(dataset)
        raise UsageError(f"the store knows nothing of {dataset}")
    return ref


def _delete_dataset(workspace: Workspace, dataset: str, *, yes: bool) -> None:
    from monitoring_pipeline.store.datasets import find_dataset
    from monitoring_pipeline.store.deletion import count_dataset, delete_dataset

    try:
        organisation = workspace.organisation(dataset)
    except UnknownDatasetError:  # its folder is gone, and what the store knows of it may go as well
        organisation = workspace.settings.organisation
    ref = find_dataset(workspace.store, organisation, dataset)
    if ref is None:
        workspace.described(dataset)
        raise UsageError(f"the store knows nothing of {dataset}; there is nothing to delete")
    folder = workspace.home / "datasets" / dataset
    _show_deletion(f"all of {dataset}", count_dataset(workspace.store, ref))
    if not _agreed(f"Delete {dataset} from the store?", yes=yes):
        return
    delete_dataset(workspace.store, ref, actor=workspace.author, now=workspace.now())
    out.print(f"{dataset} was deleted from the store; its data was not touched", highlight=False)
    if folder.exists():
        out.print(f"{folder} is still there: the next run begins anew. Remove it if that is not meant.")


def _delete_range(
    workspace: Workspace, dataset: str, start: str | None, end: str | None, *, yes: bool
) -> None:
    from monitoring_pipeline import pipeline
    from monitoring_pipeline.store.deletion import count_range

    granularity = workspace.dataset(dataset).spec.granularity
    window = _asked(workspace, dataset, start, end)
    counted = count_range(workspace.store, workspace.ref(dataset), granularity, window)
    place = f"{dataset} from {window.start:%Y-%m-%d %H:%M} to {window.end:%Y-%m-%d %H:%M}"
    if not counted.counts:
        out.print(f"the store holds nothing of {place}", highlight=False)
        return
    _show_deletion(place, counted)
    if not _agreed(f"Delete {len(counted.buckets):,} buckets of {dataset} from the store?", yes=yes):
        return
    with out.status(f"deleting {dataset}"):
        gone = pipeline.delete(workspace, dataset, window)
    out.print(
        f"{len(gone.buckets):,} buckets of {dataset} were deleted from the store; your files were not touched",
        highlight=False,
    )
    again = f"--from {window.start:%Y-%m-%dT%H:%M} --to {window.end:%Y-%m-%dT%H:%M} --again"
    say_next(
        f"monitor status {dataset}   (verdicts elsewhere that rested on them are stale now)",
        f"monitor backfill {dataset} {again}   (to have them back, while the files are there)",
    )


def _asked(workspace: Workspace, dataset: str, start: str | None, end: str | None) -> TimeRange:
    """The asked window; what is left open ends with what the store holds."""
    from monitoring_pipeline.store import work

    granularity = workspace.dataset(dataset).spec.granularity
    held = work.span(workspace.store, workspace.ref(dataset))
    if held is None:
        raise UsageError(f"the store holds no bucket of {dataset}; there is nothing to delete")
    try:
        first = held.first if start is None else parse_moment(start)
        last = granularity.shift(held.last, 1) if end is None else parse_moment(end)
        return TimeRange(first, last)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _show_retired(dataset: str, gone: Retired, *, dry_run: bool) -> None:
    word = "would go" if dry_run else "removed"
    if not gone.counts:
        out.print(f"[bold]{dataset}[/bold] nothing is old enough to go", highlight=False)
    for grain, starts in gone.profiles.items():
        out.print(
            f"[bold]{dataset}[/bold] {word}: profiles of {len(starts):,} {_BLOCKS[grain]} from "
            f"{starts[0]:%Y-%m-%d %H:%M} to {starts[-1]:%Y-%m-%d %H:%M}",
            highlight=False,
        )
    for name, count in gone.counts.items():
        if not name.startswith("profiles"):
            out.print(f"[bold]{dataset}[/bold] {word}: {count:,} {name}", highlight=False)
    if gone.needed:
        out.print(
            f"  [yellow]kept[/yellow] {gone.needed:,} older buckets, because analyzers may still look at them",
            highlight=False,
        )
    if gone.unrolled:
        out.print(
            f"  [yellow]kept[/yellow] {gone.unrolled:,} older buckets that no clean roll-up holds; "
            f"`monitor run {dataset}` makes it",
            highlight=False,
        )


_BLOCKS = {"base": "buckets", "day": "days", "week": "weeks", "month": "months"}


def _show_deletion(place: str, counted: Deletion) -> None:
    out.print(f"[bold]{escape(place)}[/bold] in the store:", highlight=False)
    for name, count in counted.counts.items():
        out.print(f"  {count:>12,} {name}", highlight=False)
    out.print("Your own files are not touched.")


def _agreed(question: str, *, yes: bool) -> bool:
    if yes:
        return True
    try:
        if typer.confirm(question):
            return True
    except typer.Abort:
        raise UsageError("nobody is there to answer, and nothing was deleted; --yes answers") from None
    out.print("nothing was deleted")
    return False
