"""`monitor document`: the commands that change what is watched. Each rewrites the file and makes a version."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from monitoring_pipeline.cli.app import open_workspace, out, say_next
from monitoring_pipeline.cli.explore import DatasetArgument, document
from monitoring_pipeline.errors import UsageError

if TYPE_CHECKING:
    from monitoring_pipeline.store.documents import DocumentVersion

IdsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="ID...", help="Monitors and analyzers; `monitor:ID` and `analyzer:ID` where both have one id."
    ),
]


@document.command("enable")
def enable(dataset: DatasetArgument, ids: IdsArgument) -> None:
    """Switch monitors or analyzers on.

    **Example**  `monitor document enable orders row-count-analyzer`
    """
    _switch(dataset, ids, disabled=False)


@document.command("disable")
def disable(dataset: DatasetArgument, ids: IdsArgument) -> None:
    """Switch monitors (nobody is told) or analyzers (nothing is judged) off, and leave them where they are.

    **Example**  `monitor document disable orders row-count-monitor`
    """
    _switch(dataset, ids, disabled=True)


@document.command("delete")
def delete(
    dataset: DatasetArgument,
    ids: IdsArgument,
    with_analyzers: Annotated[
        bool,
        typer.Option("--with-analyzers", help="Of a monitor also the analyzers that nothing else names."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete monitors or analyzers from the document; their results stay in the store.

    **Example**  `monitor document delete orders row-count-monitor --with-analyzers`
    """
    from monitoring_pipeline.config.editing import parts, unheard, without

    with open_workspace() as workspace:
        present = workspace.dataset(dataset).document
        left = without(present.to_json(), present, ids, with_analyzers=with_analyzers)
        kept = {(kind, one["id"]) for kind in ("monitor", "analyzer") for one in left.get(f"{kind}s", ())}
        gone = [part for part in parts(present) if (part.kind, part.id) not in kept]
        for part in gone:
            out.print(f"delete {part}", highlight=False)
        if not yes and not _agreed(f"Delete {len(gone)} of {dataset}?"):
            out.print("nothing was deleted")
            return
        monitors = [present.monitors[part.place] for part in gone if part.kind == "monitor"]
        version = workspace.edit(
            dataset, lambda data, document: without(data, document, ids, with_analyzers=with_analyzers)
        )
        _report(dataset, version)
        after = workspace.dataset(dataset).document
        named = dict.fromkeys(name for monitor in monitors for name in monitor.analyzer_ids)
        alone = unheard(after, [name for name in named if any(one.id == name for one in after.analyzers)])
        if alone:
            out.print(f"still judged, and nobody is told: {', '.join(alone)}", highlight=False)
            say_next(f"monitor document delete {dataset} {' '.join(f'analyzer:{name}' for name in alone)}")
        say_next(
            f"monitor document rollback {dataset} --to {max(version.version - 1, 1)}   (to have it back)"
        )


@document.command("rollback")
def rollback(
    dataset: DatasetArgument,
    to: Annotated[int, typer.Option("--to", metavar="VERSION", min=1, help="A version of `history`.")],
) -> None:
    """Make an old version the newest one, in the file and in the store; no version is ever lost.

    **Example**  `monitor document rollback orders --to 3`
    """
    with open_workspace() as workspace:
        version = workspace.roll_back(dataset, to)
        _report(dataset, version)
        say_next(f"monitor document diff {dataset} --from {to}", f"monitor run {dataset}")


def _switch(dataset: str, ids: Sequence[str], *, disabled: bool) -> None:
    from monitoring_pipeline.config.editing import find_part, with_disabled

    with open_workspace() as workspace:
        chosen = [find_part(workspace.dataset(dataset).document, name) for name in ids]
        version = workspace.edit(
            dataset, lambda data, document: with_disabled(data, document, ids, disabled=disabled)
        )
        for part in chosen:
            out.print(f"{part}: {'disabled' if disabled else 'enabled'}", highlight=False)
        _report(dataset, version)
        undo = "enable" if disabled else "disable"
        say_next(
            f"monitor run {dataset}", f"monitor document {undo} {dataset} {' '.join(ids)}   (to undo it)"
        )


def _report(dataset: str, version: DocumentVersion) -> None:
    state = "changed" if version.changed else "unchanged"
    out.print(f"{dataset}/monitors: {state}, version {version.version}", highlight=False)


def _agreed(question: str) -> bool:
    try:
        return typer.confirm(question)
    except typer.Abort:
        raise UsageError("nobody is there to answer, and nothing was deleted; --yes answers") from None
