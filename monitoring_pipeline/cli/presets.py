"""`monitor presets`: ready-made monitors, made to the measure of a dataset."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from monitoring_pipeline.cli.app import JsonOption, app, explained, open_workspace, out, say_next
from monitoring_pipeline.cli.explore import DatasetArgument

presets = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="""Ready-made monitors: see what there is, what it would be for your data, and add it.

    **Example**  `monitor presets list`, then `monitor presets add orders seasonal-volume`""",
)
app.add_typer(presets, name="presets", rich_help_panel="What is watched")

ChannelOption = Annotated[
    list[str] | None, typer.Option("--channel", help="Whom the monitor tells; console unless given.")
]
SuffixOption = Annotated[
    str, typer.Option("--suffix", metavar="TEXT", help="Ends every id, to have a preset twice.")
]


@presets.command("list")
def list_presets(as_json: JsonOption = False) -> None:
    """List the presets: what each tells you and what it needs.

    **Example**  `monitor presets list`
    """
    from monitoring_pipeline.config.presets import PRESETS
    from monitoring_pipeline.document_tables import show_presets

    if as_json:
        listed = [
            {
                "name": one.name,
                "category": one.category,
                "description": one.description,
                "needs": one.needs,
                "first": one.first,
            }
            for one in PRESETS
        ]
        sys.stdout.write(json.dumps(listed, indent=2) + "\n")
        return
    show_presets(out, PRESETS)
    say_next("monitor presets show PRESET DATASET", "monitor presets add DATASET PRESET")


@presets.command("show")
def show(
    name: Annotated[str, typer.Argument(metavar="PRESET", help="The preset.")],
    dataset: Annotated[
        str | None, typer.Argument(metavar="[DATASET]", help="Made to the measure of this dataset.")
    ] = None,
    channels: ChannelOption = None,
    suffix: SuffixOption = "",
) -> None:
    """Print the analyzers and monitors of a preset as JSON, as `add` would put them into the document.

    **Example**  `monitor presets show number-drift orders > drift.json`, then
    `monitor preview orders --file drift.json`
    """
    from monitoring_pipeline.config.presets import made_by, preset

    with explained():
        chosen = preset(name)
    if dataset is None:
        out.print(f"[bold]{chosen.name}[/bold]  {chosen.category}\n  {chosen.description}", highlight=False)
        out.print(f"  needs {chosen.needs}", highlight=False)
        say_next(f"monitor presets show {chosen.name} DATASET", f"monitor presets add DATASET {chosen.name}")
        return
    from monitoring_pipeline.onboarding import describe_profiled

    with open_workspace() as workspace:
        made = made_by(
            chosen,
            describe_profiled(workspace, dataset),
            now=workspace.now(),
            channels=channels or ("console",),
            suffix=suffix,
        )
        shown = {"analyzers": list(made.analyzers), "monitors": list(made.monitors)}
        sys.stdout.write(json.dumps(shown, indent=2, ensure_ascii=False) + "\n")


@presets.command("add")
def add(
    dataset: DatasetArgument,
    names: Annotated[list[str], typer.Argument(metavar="PRESET...", help="Presets of `list`.")],
    channels: ChannelOption = None,
    suffix: SuffixOption = "",
) -> None:
    """Add presets to a dataset's document. What is there already stays as it is, so adding twice does no harm.

    **Example**  `monitor presets add orders seasonal-volume new-categories --channel slack`
    """
    from monitoring_pipeline.config.presets import preset
    from monitoring_pipeline.onboarding import add_presets

    with open_workspace() as workspace:
        added, version = add_presets(
            workspace,
            dataset,
            [preset(name) for name in names],
            channels=channels or ("console",),
            suffix=suffix,
        )
        for part in added.added:
            out.print(f"[green]added[/green]   {part}", highlight=False)
        for part in added.present:
            out.print(f"there    {part}, left as it is", highlight=False)
        state = "changed" if version.changed else "unchanged"
        out.print(f"{dataset}/monitors: {state}, version {version.version}", highlight=False)
        analyzers = [part.removeprefix("analyzer ") for part in added.added if part.startswith("analyzer ")]
        chosen = " ".join(f"--analyzer {name}" for name in analyzers)
        say_next(f"monitor preview {dataset} {chosen}".rstrip(), f"monitor run {dataset}")
