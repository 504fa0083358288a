"""`monitor metrics` and `monitor compare`: what the store knows, as numbers; no data is read."""

from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from monitoring_pipeline.cli.app import (
    FromOption,
    JsonOption,
    ToOption,
    app,
    asked_window,
    err,
    open_workspace,
    out,
    say_next,
)
from monitoring_pipeline.cli.explore import DatasetArgument
from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.segments import OVERALL, segment_label
from monitoring_pipeline.timegrid import Granularity, TimeRange, parse_moment

if TYPE_CHECKING:
    from monitoring_pipeline.telemetry import MetricSeries, WindowComparison
    from monitoring_pipeline.workspace import Workspace

NEWEST, COMPARED = 30, 7
SERIES_SHOWN, COLUMNS_SHOWN = 8, 20

ColumnOption = Annotated[
    list[str] | None, typer.Option("--column", metavar="NAME", help="Only this column; may be repeated.")
]
ExcludeOption = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="FROM/TO", help="Leave out what starts in this range; repeatable."),
]


@app.command(rich_help_panel="Profiles")
def metrics(
    dataset: DatasetArgument,
    names: Annotated[
        list[str], typer.Option("--metric", metavar="NAME", help="Such as mean; may be repeated.")
    ],
    columns: ColumnOption = None,
    segments: Annotated[
        list[str] | None,
        typer.Option("--segment", metavar="KEY", help="Such as channel=web; all data unless given."),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            "--by", metavar="NAMES", help="Each segment by these columns: channel or channel,region."
        ),
    ] = None,
    granularity: Annotated[
        str | None,
        typer.Option("--granularity", help="hourly, daily, weekly, monthly; the dataset's unless given."),
    ] = None,
    start: FromOption = None,
    end: ToOption = None,
    exclude: ExcludeOption = None,
    top: Annotated[
        int | None, typer.Option("--top", min=1, help="The columns with the most of it over the whole time.")
    ] = None,
    least: Annotated[bool, typer.Option("--least", help="With --top: those with the least.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show metrics over time, at any granularity and for any segment, from what the store knows.

    The newest 30 buckets unless a time is given. A week is what its days say together, not their average.

    **Example**  `monitor metrics orders --metric mean --metric count --column amount --granularity weekly`,
    `monitor metrics orders --metric count_null_ratio --top 5`
    """
    from monitoring_pipeline import telemetry

    with open_workspace() as workspace:
        chosen = None if granularity is None else _granularity(granularity)
        window = _window(workspace, dataset, start, end) or telemetry.newest(
            workspace, dataset, NEWEST, chosen
        )
        excluded = [_range(one) for one in exclude or ()]
        if top is not None:
            _show_top(
                workspace, dataset, names, window, segments, excluded, count=top, least=least, as_json=as_json
            )
            return
        keys = list(segments or ([] if by else [OVERALL]))
        if by:
            keys += telemetry.segments_by(workspace, dataset, [name.strip() for name in by.split(",")])
        found = telemetry.metric_series(
            workspace,
            dataset,
            names,
            window=window,
            granularity=chosen,
            columns=columns,
            segments=keys,
            exclude=excluded,
        )
        if as_json:
            _print_json(_series_json(dataset, found))
            return
        _say_notes(found.notes)
        _show_series(found)


@app.command(rich_help_panel="Profiles")
def compare(
    dataset: DatasetArgument,
    start: FromOption = None,
    end: ToOption = None,
    with_start: Annotated[
        str | None, typer.Option("--with-from", metavar="TIME", help="Begin of what it is compared with.")
    ] = None,
    with_end: Annotated[
        str | None, typer.Option("--with-to", metavar="TIME", help="Its end, not included.")
    ] = None,
    columns: ColumnOption = None,
    segment: Annotated[
        str, typer.Option("--segment", metavar="KEY", help="Such as channel=web; all data unless given.")
    ] = OVERALL,
    exclude: ExcludeOption = None,
    threshold: Annotated[
        float | None, typer.Option(min=0, help="Hellinger distance above which a column has drifted; 0.7.")
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Also where retention has removed some of it.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Hold a window against another: how far each column has moved, and how its metrics have changed.

    The newest 7 buckets unless a time is given, against the time before, as long, unless `--with-from` and `--with-to`
    are.

    **Example**  `monitor compare orders --from 2026-02-01 --to 2026-03-01 --with-from 2026-01-01 --with-to 2026-02-01`
    """
    from monitoring_pipeline import telemetry

    with open_workspace() as workspace:
        if (with_start is None) != (with_end is None):
            raise UsageError("--with-from and --with-to go together")
        target = _window(workspace, dataset, start, end) or telemetry.newest(workspace, dataset, COMPARED)
        options: dict[str, Any] = {} if threshold is None else {"threshold": threshold}
        found = telemetry.compare_windows(
            workspace,
            dataset,
            target,
            asked_window(with_start, with_end),
            columns=columns,
            segment=segment,
            exclude=[_range(one) for one in exclude or ()],
            partial=partial,
            **options,
        )
        if as_json:
            _print_json(_comparison_json(dataset, found))
            return
        _say_notes(found.notes)
        _show_comparison(dataset, found)
        say_next(f"monitor metrics {dataset} --metric mean --column NAME")


def _show_top(
    workspace: Workspace,
    dataset: str,
    names: list[str],
    window: TimeRange,
    segments: list[str] | None,
    exclude: list[TimeRange],
    *,
    count: int,
    least: bool,
    as_json: bool,
) -> None:
    from monitoring_pipeline import telemetry

    if len(names) > 1 or len(segments or ()) > 1:
        raise UsageError("--top is about one metric of one segment")
    found = telemetry.top_columns(
        workspace,
        dataset,
        names[0],
        window=window,
        segment=segments[0] if segments else OVERALL,
        exclude=exclude,
        count=count,
        least=least,
    )
    if as_json:
        _print_json(
            {
                "datasetId": dataset,
                "metric": names[0],
                "from": window.start.isoformat(),
                "to": window.end.isoformat(),
                "columns": [{"column": one.column, "value": _plain(one.value)} for one in found],
            }
        )
        return
    table = Table("column", names[0], box=None, pad_edge=False)
    for one in found:
        table.add_row(escape(one.column), _shown(one.value))
    out.print(table)


def _show_series(found: MetricSeries) -> None:
    series = [(key, name) for key in found.keys for name in found.values if _has_any(found, key, name)]
    if not series:
        out.print("nothing in this time")
        return
    segments = {segment for (segment, _), _ in series}
    table = Table("bucket", box=None, pad_edge=False)
    for (segment, column), name in series[:SERIES_SHOWN]:
        where = f", {segment_label(segment)}" if len(segments) > 1 else ""
        table.add_column(
            escape(f"{name} of {column}{where}" if column else f"{name}{where}"), justify="right"
        )
    rows = {key: row for row, key in enumerate(found.keys)}
    for at, start in enumerate(found.starts):
        told = [_shown(found.values[name][rows[key], at]) for key, name in series[:SERIES_SHOWN]]
        table.add_row(_moment(start.isoformat()), *told)
    out.print(table)
    if len(series) > SERIES_SHOWN:
        out.print(
            f"  {len(series) - SERIES_SHOWN:,} more series; name columns, or take --json", highlight=False
        )


def _has_any(found: MetricSeries, key: tuple[str, str], name: str) -> bool:
    values = found.values[name][found.keys.index(key)].tolist()
    return any(value not in ("",) and value == value for value in values)


def _show_comparison(dataset: str, found: WindowComparison) -> None:
    now, then = found.rows
    drifted = found.columns.drifted
    out.print(
        f"[bold]{dataset}[/bold], {segment_label(found.segment)}: {now:,} rows {_times(found.target_window)} "
        f"against {then:,} {_times(found.baseline_window)}; {len(drifted):,} of {len(found.columns.drifts):,} columns drifted",
        highlight=False,
    )
    table = Table("column", "distance", "noise", "mean", "missing", "distinct", "", box=None, pad_edge=False)
    for one in found.columns.records[:COLUMNS_SHOWN]:
        table.add_row(
            f"[red]{escape(one['column'])}[/red]" if one["drifted"] else escape(one["column"]),
            _shown(one["score"]),
            _shown(one["noise"]),
            _change(one, "mean"),
            _change(one, "count_null_ratio"),
            _change(one, "unique_est"),
            escape(one["note"]),
        )
    out.print(table)
    if len(found.columns.drifts) > COLUMNS_SHOWN:
        out.print(
            f"  {len(found.columns.drifts) - COLUMNS_SHOWN:,} more columns; --json has them", highlight=False
        )


def _change(one: dict[str, Any], metric: str) -> str:
    before, now = _shown(one[f"{metric}_baseline"]), _shown(one[f"{metric}_target"])
    return before if before == now else f"{before} → {now}"


def _shown(value: object) -> str:
    if isinstance(value, str):
        return escape(value)
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if value == round(value) and abs(value) < 1e15 else f"{value:.4g}"


def _times(window: TimeRange) -> str:
    return f"from {_moment(window.start.isoformat())} to {_moment(window.end.isoformat())}"


def _moment(text: str) -> str:
    return text.removesuffix("+00:00").removesuffix("T00:00:00")


def _say_notes(notes: tuple[str, ...]) -> None:
    for note in notes:
        err.print(f"[yellow]missing[/yellow] {escape(note)}", highlight=False)


def _window(workspace: Workspace, dataset: str, start: str | None, end: str | None) -> TimeRange | None:
    """What was asked for; an end that was not given is where the data ends."""
    from monitoring_pipeline import telemetry

    if start is None and end is None:
        return None
    asked, known = asked_window(start, end), telemetry.known_window(workspace, dataset)
    if asked is None:
        return None
    first = asked.start if start is not None else min(known.start, asked.end)
    last = asked.end if end is not None else max(known.end, asked.start)
    return TimeRange(first, last)


def _granularity(text: str) -> Granularity:
    try:
        return Granularity.parse(text)
    except ValueError as error:
        raise UsageError(f"--granularity: {error}") from None


def _range(text: str) -> TimeRange:
    first, slash, last = text.partition("/")
    try:
        if not slash:
            raise ValueError(f"{text!r} is not FROM/TO, such as 2026-01-01/2026-01-03")
        return TimeRange(parse_moment(first), parse_moment(last))
    except ValueError as error:
        raise UsageError(f"--exclude: {error}") from None


def _series_json(dataset: str, found: MetricSeries) -> dict[str, Any]:
    return {
        "datasetId": dataset,
        "granularity": str(found.granularity),
        "buckets": [start.isoformat() for start in found.starts],
        "series": [
            {
                "segment": segment,
                "column": column,
                "metric": name,
                "values": [_plain(value) for value in values[row].tolist()],
            }
            for row, (segment, column) in enumerate(found.keys)
            for name, values in found.values.items()
            if _has_any(found, (segment, column), name)
        ],
        "notes": list(found.notes),
    }


def _comparison_json(dataset: str, found: WindowComparison) -> dict[str, Any]:
    now, then = found.rows
    return {
        "datasetId": dataset,
        "segment": found.segment,
        "target": {**_ends(found.target_window), "rows": now},
        "baseline": {**_ends(found.baseline_window), "rows": then},
        "drifted": list(found.columns.drifted),
        "columns": [{name: _plain(value) for name, value in one.items()} for one in found.columns.records],
        "notes": list(found.notes),
    }


def _ends(window: TimeRange) -> dict[str, str]:
    return {"from": window.start.isoformat(), "to": window.end.isoformat()}


def _plain(value: object) -> object:
    return None if value == "" or (isinstance(value, float) and not math.isfinite(value)) else value


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
