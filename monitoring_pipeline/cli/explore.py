"""`monitor document`: look at what is watched, and at what it was before."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from monitoring_pipeline.cli.app import (
    DatasetOption,
    JsonOption,
    app,
    chosen_datasets,
    err,
    open_workspace,
    out,
    say_next,
)

if TYPE_CHECKING:
    from monitoring_pipeline.config.document import MonitorDocument
    from monitoring_pipeline.store.documents import DocumentVersion
    from monitoring_pipeline.workspace import Workspace

document = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="""Look at monitors and analyzers, and change them.

    They stand in `datasets/DATASET/monitors.json`, which is yours to edit. These commands read it, change it without
    touching what they are not about, and keep every version in the store, with author and difference.

    **Example**  `monitor document list`, then `monitor document show DATASET MONITOR`""",
)
app.add_typer(document, name="document", rich_help_panel="What is watched")

DatasetArgument = Annotated[str, typer.Argument(metavar="DATASET", help="The dataset.")]


class Kind(StrEnum):
    """Which of a dataset's two files."""

    MONITORS = "monitors"
    DATASET = "dataset"


KindOption = Annotated[Kind, typer.Option("--of", help="Of monitors.json or of dataset.yaml.")]


@document.command("list")
def list_documents(datasets: DatasetOption = None, as_json: JsonOption = False) -> None:
    """List monitors and analyzers: what they watch, who is told, what is switched off.

    **Example**  `monitor document list orders`
    """
    from monitoring_pipeline.document_tables import show_document

    with open_workspace() as workspace:
        for name, error in workspace.catalog.broken.items():
            err.print(f"[red]✗[/red] {name}: {escape(str(error))}")
        chosen = chosen_datasets(workspace, datasets)
        documents = {name: workspace.dataset(name).document for name in chosen}
        if as_json:
            _print_json({name: _summary(found) for name, found in documents.items()})
            return
        for found in documents.values():
            show_document(out, found)
        say_next("monitor document show DATASET ID", "monitor presets list", "monitor preview DATASET")


@document.command("show")
def show(
    dataset: DatasetArgument,
    part: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="A monitor or an analyzer; everything unless given.")
    ] = None,
    version: Annotated[
        int | None, typer.Option("--version", min=1, help="As it was in this version of `history`.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a monitor with its analyzers in words: what it watches, against what, when, whom it tells.

    **Example**  `monitor document show orders row-count-monitor`; `--json` prints what `monitors.json` says,
    `--version 3` what it said then.
    """
    from monitoring_pipeline import document_tables
    from monitoring_pipeline.config.editing import find_part

    with open_workspace() as workspace:
        found = _document(workspace, dataset, version)
        if part is None:
            if as_json:
                _print_json(found.to_json())
                return
            document_tables.show_document(out, found)
            say_next(f"monitor document show {dataset} ID")
            return
        chosen = find_part(found, part)
        raw = found.to_json()
        if chosen.kind == "monitor":
            monitor = found.monitors[chosen.place]
            if as_json:
                wanted = {*monitor.analyzer_ids}
                _print_json(
                    {
                        "analyzers": [one for one in raw["analyzers"] if one["id"] in wanted],
                        "monitors": [raw["monitors"][chosen.place]],
                    }
                )
                return
            document_tables.show_monitor(out, monitor, found)
            switch = "enable" if monitor.disabled else "disable"
        else:
            analyzer = found.analyzers[chosen.place]
            if as_json:
                _print_json({"analyzers": [raw["analyzers"][chosen.place]]})
                return
            document_tables.show_analyzer(out, analyzer, found)
            switch = "enable" if analyzer.disabled else "disable"
        if version is not None:
            say_next(f"monitor document rollback {dataset} --to {version}")
            return
        say_next(*_previews(dataset, found, chosen.id), f"monitor document {switch} {dataset} {chosen.id}")


@document.command("diff")
def diff(
    datasets: DatasetOption = None,
    start: Annotated[
        int | None, typer.Option("--from", metavar="VERSION", min=1, help="The newest unless given.")
    ] = None,
    end: Annotated[
        int | None, typer.Option("--to", metavar="VERSION", min=1, help="The file unless given.")
    ] = None,
    of: KindOption = Kind.MONITORS,
) -> None:
    """Show how the file differs from the stored version, or one version from another.

    **Example**  `monitor document diff orders`, `monitor document diff orders --from 2 --to 4`
    """
    from monitoring_pipeline.document_tables import show_diff
    from monitoring_pipeline.store import documents

    with open_workspace() as workspace:
        for dataset_id in chosen_datasets(workspace, datasets):
            ref, store = workspace.ref(dataset_id), workspace.store
            before = (
                documents.latest(store, ref, of)
                if start is None
                else documents.version(store, ref, of, start)
            )
            after = None if end is None else documents.version(store, ref, of, end)
            content = workspace.dataset(dataset_id).contents[of] if after is None else after.content
            old_name = "nothing applied yet" if before is None else f"store, version {before.version}"
            new_name = "file" if after is None else f"store, version {after.version}"
            found = documents.difference(
                before.content if before else None, content, before=old_name, after=new_name
            )
            out.print(
                f"{dataset_id}/{of}: {new_name} {'differs from' if found else 'is the same as'} {old_name}",
                highlight=False,
            )
            show_diff(out, found)
            if found and after is None:
                say_next(f"monitor apply {dataset_id}")


@document.command("history")
def history(
    dataset: DatasetArgument,
    last: Annotated[int, typer.Option(min=1, help="At most this many, newest first.")] = 20,
    of: KindOption = Kind.MONITORS,
    as_json: JsonOption = False,
) -> None:
    """List the versions of a document: when, by whom, how many lines came and went.

    **Example**  `monitor document history orders --json` has the differences themselves.
    """
    from monitoring_pipeline.document_tables import show_history
    from monitoring_pipeline.store import documents

    with open_workspace() as workspace:
        found = documents.history(workspace.store, workspace.ref(dataset), of, limit=last)
        if as_json:
            _print_json([_version_json(one) for one in found])
            return
        if not found:
            out.print(f"{dataset}/{of}: never applied", highlight=False)
            say_next(f"monitor apply {dataset}")
            return
        show_history(out, found)
        number = found[min(1, len(found) - 1)].version
        show_it = f"monitor document show {dataset} --version {number}"
        say_next(
            f"monitor document diff {dataset} --from {number}",
            *((show_it, f"monitor document rollback {dataset} --to {number}") if of == Kind.MONITORS else ()),
        )


def _document(workspace: Workspace, dataset_id: str, version: int | None) -> MonitorDocument:
    """The document of the workspace, or an old version of it."""
    from monitoring_pipeline.config.document import parse_document
    from monitoring_pipeline.store import documents

    if version is None:
        return workspace.dataset(dataset_id).document
    old = documents.version(workspace.store, workspace.ref(dataset_id), Kind.MONITORS, version)
    return parse_document(old.content, source=f"version {version}").document


def _previews(dataset: str, found: MonitorDocument, name: str) -> list[str]:
    ids = [name] if any(one.id == name for one in found.analyzers) else []
    ids = ids or [one for monitor in found.monitors if monitor.id == name for one in monitor.analyzer_ids]
    return [f"monitor preview {dataset} {' '.join(f'--analyzer {one}' for one in ids)}"] if ids else []


def _summary(found: MonitorDocument) -> dict[str, Any]:
    from monitoring_pipeline import plain_words

    return {
        "monitors": [
            {
                "id": one.id,
                "displayName": one.display_name,
                "disabled": one.disabled,
                "severity": one.severity,
                "analyzerIds": list(one.analyzer_ids),
                "tells": plain_words.tells(one),
            }
            for one in found.monitors
        ],
        "analyzers": [
            {
                "id": one.id,
                "displayName": one.display_name,
                "disabled": one.disabled,
                "type": str(one.config.type),
                "metric": one.metric,
                "looksAt": plain_words.targets_words(one),
            }
            for one in found.analyzers
        ],
    }


def _version_json(version: DocumentVersion) -> dict[str, Any]:
    return {
        "version": version.version,
        "created": version.created.isoformat(),
        "author": version.author,
        "origin": version.origin,
        "hash": version.hash,
        "diff": version.diff,
    }


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
