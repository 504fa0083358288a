"""What every command of `monitor` shares: the application, the consoles, exit codes, options and how errors are told."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from monitoring_pipeline.errors import MonitoringError, UsageError
from monitoring_pipeline.timegrid import TimeRange, parse_moment

if TYPE_CHECKING:
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

DatasetOption = Annotated[
    list[str] | None, typer.Argument(metavar="[DATASET]...", help="Datasets; all unless given.")
]
FromOption = Annotated[
    str | None, typer.Option("--from", metavar="TIME", help="First bucket, e.g. 2026-01-31.")
]
ToOption = Annotated[str | None, typer.Option("--to", metavar="TIME", help="End, not included.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")]


@contextmanager
def explained() -> Iterator[None]:
    """Turn our errors into one message and an exit code; anything else is a bug and keeps its trace."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        yield
    except MonitoringError as error:
        fail(error)


@contextmanager
def open_workspace() -> Iterator[Workspace]:
    from monitoring_pipeline.workspace import Workspace

    with explained(), Workspace() as workspace:
        yield workspace


def fail(error: MonitoringError) -> NoReturn:
    err.print(f"[red]error[/red] {escape(str(error))}", highlight=False)
    raise typer.Exit(error.exit_code)


def say_next(*commands: str) -> None:
    """What a user may want to do now."""
    for place, command in enumerate(commands):
        out.print(f"{'next' if place == 0 else '':<6} {escape(command)}", highlight=False)


def chosen_datasets(workspace: Workspace, datasets: Sequence[str] | None) -> list[str]:
    chosen = list(datasets or workspace.catalog.datasets)
    for dataset_id in chosen:
        workspace.dataset(dataset_id)
    if not chosen:
        raise UsageError(
            f"no datasets in {workspace.home / 'datasets'}; try `monitor init FILE` or `monitor demo`"
        )
    return chosen


def asked_window(start: str | None, end: str | None) -> TimeRange | None:
    if start is None and end is None:
        return None
    try:
        return TimeRange(parse_moment(start or "1970-01-01"), parse_moment(end or "2200-01-01"))
    except ValueError as error:
        raise UsageError(str(error)) from None


def asked_buckets(
    workspace: Workspace, dataset_id: str, start: str | None, end: str | None
) -> list[datetime] | None:
    """Buckets of the asked window, cut to where the dataset has been and where the present is."""
    from monitoring_pipeline import readiness

    window = asked_window(start, end)
    if window is None:
        return None
    return readiness.buckets_in(workspace, dataset_id, window)
