"""The `monitor` command: thin words over `pipeline.py`.

Exit codes: 0 healthy, 1 anomalies at or above the asked severity, 2 a mistake in the command or a document,
3 the pipeline itself failed.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from monitoring_pipeline.errors import MonitoringError, Problem, ProfileError, UsageError
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.timegrid import TimeRange, parse_moment

if TYPE_CHECKING:
    from monitoring_pipeline.config.document import MonitorDocument
    from monitoring_pipeline.metrics import Metric
    from monitoring_pipeline.workspace import Workspace

HEALTHY, ANOMALOUS, MISUSED, FAILED = 0, 1, 2, 3

app = typer.Typer(
    name="monitor",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="""Know, each hour and each day, whether your data and models are still healthy.

    A workspace is a folder (`MONITORING_HOME`, here `data/`) with one folder per dataset:
    `datasets/NAME/dataset.yaml` says where the data is, `monitors.json` what to watch.

    **Begin**  `monitor demo` shows the whole pipeline on a made-up business;
    `monitor init FILE` writes both files for your own data; `monitor run` does the work.

    **Exit codes**  0 healthy, 1 anomalies, 2 a mistake in a command or document, 3 the pipeline failed.""",
)
out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True)


class Severity(StrEnum):
    """The worst severity that still counts as healthy is the one below."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    NEVER = "never"


_LEVELS = {Severity.HIGH: 1, Severity.MEDIUM: 2, Severity.LOW: 3, Severity.NEVER: 0}

DatasetOption = Annotated[
    list[str] | None, typer.Argument(metavar="[DATASET]...", help="Datasets; all unless given.")
]
FromOption = Annotated[
    str | None, typer.Option("--from", metavar="TIME", help="First bucket, e.g. 2026-01-31.")
]
ToOption = Annotated[str | None, typer.Option("--to", metavar="TIME", help="End, not included.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")]


@app.command()
def demo(
    home: Annotated[Path, typer.Option(help="Workspace to make the demonstration in.")] = Path("data"),
    end: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Last day, not included; yesterday unless given."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed makes another business.")] = 7,
) -> None:
    """See the main job: 120 days of a lead-scoring business, incidents planted, found or missed."""
    from monitoring_pipeline.demo.run import run_demo

    with _explained():
        run_demo(home, end=end.date() if end else None, seed=seed, console=out)


@app.command()
def init(
    file: Annotated[
        str, typer.Argument(help="A Parquet, CSV or JSON-lines file, a folder or a glob of them.")
    ],
    dataset_id: Annotated[
        str | None, typer.Option("--id", help="Name of the dataset; the file's unless given.")
    ] = None,
    timestamp: Annotated[str | None, typer.Option(help="Timestamp column; guessed unless given.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing description.")] = False,
) -> None:
    """Look at your data and write a dataset description and first monitors for it."""
    from monitoring_pipeline import onboarding

    with _explained():
        made = onboarding.init_dataset(
            Settings().home, file, dataset_id=dataset_id, timestamp=timestamp, force=force
        )
        for line in made.notes:
            out.print(f"  {escape(line)}")
        out.print(f"wrote  {made.dataset_file}\nwrote  {made.document_file}")
        out.print(f"next   monitor run {made.dataset_id}")


@app.command()
def validate(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Monitor documents or dataset descriptions; the workspace unless given."),
    ] = None,
) -> None:
    """Check monitor documents and dataset descriptions: every problem at once, with its place."""
    from monitoring_pipeline.config.dataset import load_dataset
    from monitoring_pipeline.config.document import load_document
    from monitoring_pipeline.errors import DocumentError
    from monitoring_pipeline.workspace import DATASET_FILE, DOCUMENT_FILE, own_metrics

    home = Settings().home
    paths = files or sorted(
        path for name in (DATASET_FILE, DOCUMENT_FILE) for path in (home / "datasets").glob(f"*/{name}")
    )
    if not paths:
        _fail(
            UsageError(
                f"nothing to validate: no datasets in {home / 'datasets'}; name a file, or try `monitor init`"
            )
        )
    broken = 0
    for path in paths:
        try:
            if path.suffix in {".yaml", ".yml"}:
                own_metrics(load_dataset(path), source=str(path))
                warnings = ()
            else:
                loaded = load_document(path)
                warnings = (*loaded.warnings, *_idle_analyzers(loaded.document, path.parent))
        except DocumentError as error:
            broken += 1
            err.print(f"[red]✗[/red] {escape(str(error))}")
        else:
            out.print(f"[green]✓[/green] {path}")
            for warning in warnings:
                out.print(f"  [yellow]warning[/yellow] {escape(str(warning))}")
    if broken:
        raise typer.Exit(MISUSED)


def _idle_analyzers(document: MonitorDocument, folder: Path) -> Iterator[Problem]:
    """The analyzers that this release cannot run, which is no reason to refuse the document."""
    from monitoring_pipeline.analysis.engine import unable
    from monitoring_pipeline.config.dataset import load_dataset
    from monitoring_pipeline.errors import DocumentError
    from monitoring_pipeline.workspace import DATASET_FILE, own_metrics

    description = folder / DATASET_FILE
    metrics: Mapping[str, Metric] = {}
    if description.exists():
        with suppress(DocumentError):  # told where the description itself is checked
            metrics = own_metrics(load_dataset(description), source=str(description))
    reasons = unable(document, metrics=metrics)
    for place, analyzer in enumerate(document.analyzers):
        if analyzer.id in reasons:
            yield Problem(f"$.analyzers[{place}]", f"{analyzer.id}, which does not run", reasons[analyzer.id])


@app.command()
def schema() -> None:
    """Print the JSON Schema of the monitor document, for editors."""
    from monitoring_pipeline.config.document import json_schema

    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")


@app.command()
def apply(datasets: DatasetOption = None) -> None:
    """Write the workspace's files to the store as versioned documents."""
    with _workspace() as workspace:
        for dataset_id in _chosen(workspace, datasets):
            for kind, version in workspace.apply(dataset_id).items():
                state = "changed" if version.changed else "unchanged"
                out.print(f"{dataset_id}/{kind}: {state}, version {version.version}")
                if version.changed and version.diff:
                    out.print(escape(version.diff), highlight=False)


class _ProfileGroup(TyperGroup):
    """`monitor profile DATASET` is short for `monitor profile make DATASET`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["make", *args]
        return super().parse_args(ctx, args)


profile = typer.Typer(
    cls=_ProfileGroup, help="Profile new and changed buckets; show what a profile file holds."
)
app.add_typer(profile, name="profile")


@profile.command("make")
def make_profiles(
    datasets: DatasetOption = None,
    start: FromOption = None,
    end: ToOption = None,
    again: Annotated[bool, typer.Option("--again", help="Also buckets whose data has not changed.")] = False,
) -> None:
    """Profile new and changed buckets into the store; `make` may be left out."""
    from monitoring_pipeline import pipeline, terminal

    with _workspace() as workspace:
        for dataset_id in _chosen(workspace, datasets):
            buckets = _buckets(workspace, dataset_id, start, end)
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

    with _explained():
        try:
            described = describe_profile(file)
        except ProfileError as error:
            raise UsageError(str(error)) from None
        if as_json:
            sys.stdout.write(json.dumps(described, indent=2) + "\n")
        else:
            terminal.show_profile(out, described)


@app.command()
def run(
    datasets: DatasetOption = None,
    start: FromOption = None,
    end: ToOption = None,
    fail_on: Annotated[
        Severity, typer.Option(help="Exit with 1 when an anomaly is at least this severe.")
    ] = Severity.LOW,
) -> None:
    """Do everything that is due: profile, analyse, record and send digests."""
    from monitoring_pipeline import pipeline, terminal

    worst = _LEVELS[Severity.LOW] + 1
    with _workspace() as workspace:
        for dataset_id in _chosen(workspace, datasets):
            workspace.apply(dataset_id)
            buckets = _buckets(workspace, dataset_id, start, end)
            with terminal.progress(out, f"profiling {dataset_id}") as progress:
                profiled = pipeline.profile_batch(workspace, dataset_id, buckets, progress=progress)
            terminal.show_profiled(out, dataset_id, profiled)
            with out.status(f"analysing {dataset_id}"):
                analyzed = pipeline.analyze_batch(
                    workspace, dataset_id, buckets, backfill=buckets is not None
                )
                notified = pipeline.notify(workspace, dataset_id)
            terminal.show_analyzed(out, dataset_id, analyzed, notified)
            worst = min([worst, *(digest.severity for digest in notified.digests)])
        terminal.show_delivered(out, pipeline.deliver(workspace))
    if worst <= _LEVELS[fail_on]:
        raise typer.Exit(ANOMALOUS)


@app.command()
def results(
    dataset: Annotated[str, typer.Argument(help="The dataset.")],
    start: FromOption = None,
    end: ToOption = None,
    every: Annotated[bool, typer.Option("--all", help="Healthy verdicts and failures as well.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most this many, newest first.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """Show verdicts: the anomalies, newest first."""
    from monitoring_pipeline import overview, terminal

    with _workspace() as workspace:
        found = overview.find_results(
            workspace, dataset, window=_window(start, end), anomalies_only=not every, limit=limit
        )
        if as_json:
            ref = workspace.ref(dataset)
            sys.stdout.write(
                json.dumps(
                    [
                        result.to_reference_record(organisation=ref.organisation, dataset=dataset)
                        for result in found
                    ],
                    indent=2,
                )
                + "\n"
            )
        else:
            terminal.show_results(out, dataset, found)


@app.command()
def digest(
    datasets: DatasetOption = None,
    last: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 1,
    send: Annotated[bool, typer.Option("--send", help="Send what still waits in the outbox.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the latest digests, or send those that wait."""
    from monitoring_pipeline import overview, pipeline, terminal

    with _workspace() as workspace:
        if send:
            terminal.show_delivered(out, pipeline.deliver(workspace))
            return
        found = overview.find_digests(workspace, _chosen(workspace, datasets), limit=last)
        if as_json:
            sys.stdout.write(json.dumps([item.to_json() for item in found], indent=2) + "\n")
        else:
            terminal.show_digests(out, found)


@app.command()
def status(datasets: DatasetOption = None) -> None:
    """Show what has arrived, what is due, what waits for what, and open incidents."""
    from monitoring_pipeline import overview, terminal

    with _workspace() as workspace:
        for name, error in workspace.catalog.broken.items():
            err.print(f"[red]✗[/red] {name}: {escape(str(error))}")
        for dataset_id in _chosen(workspace, datasets):
            terminal.show_status(out, overview.status(workspace, dataset_id))


def main() -> None:
    """Entry point of the `monitor` command."""
    app()


@contextmanager
def _explained() -> Iterator[None]:
    """Turn our errors into one message and an exit code; anything else is a bug and keeps its trace."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        yield
    except MonitoringError as error:
        _fail(error)


@contextmanager
def _workspace() -> Iterator[Workspace]:
    from monitoring_pipeline.workspace import Workspace

    with _explained(), Workspace() as workspace:
        yield workspace


def _fail(error: MonitoringError) -> NoReturn:
    err.print(f"[red]error[/red] {escape(str(error))}", highlight=False)
    raise typer.Exit(error.exit_code)


def _chosen(workspace: Workspace, datasets: Sequence[str] | None) -> list[str]:
    chosen = list(datasets or workspace.catalog.datasets)
    for dataset_id in chosen:
        workspace.dataset(dataset_id)
    if not chosen:
        raise UsageError(
            f"no datasets in {workspace.home / 'datasets'}; try `monitor init FILE` or `monitor demo`"
        )
    return chosen


def _window(start: str | None, end: str | None) -> TimeRange | None:
    if start is None and end is None:
        return None
    try:
        return TimeRange(parse_moment(start or "1970-01-01"), parse_moment(end or "2200-01-01"))
    except ValueError as error:
        raise UsageError(str(error)) from None


def _buckets(
    workspace: Workspace, dataset_id: str, start: str | None, end: str | None
) -> list[datetime] | None:
    """Buckets of the asked window, cut to where the dataset has been and where the present is."""
    from monitoring_pipeline import pipeline

    window = _window(start, end)
    if window is None:
        return None
    return pipeline.buckets_in(workspace, dataset_id, window)


if __name__ == "__main__":
    main()
