"""`monitor privacy`: what the stored profiles could reveal, and what to do about it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from monitoring_pipeline.cli.app import DatasetOption, JsonOption, app, chosen_datasets, open_workspace, out

if TYPE_CHECKING:
    from monitoring_pipeline.config.dataset import DatasetSpec
    from monitoring_pipeline.store.disclosure import Held
    from monitoring_pipeline.workspace import Workspace

_FEW = 5
"""Rows: a value that fewer have may point at a person."""


@app.command(rich_help_panel="Storage")
def privacy(datasets: DatasetOption = None, as_json: JsonOption = False) -> None:
    """List what the stored profiles could reveal of each column, and what to do where that is too much.

    Profiles hold no rows, but values: the commonest texts, minimum and maximum, and some numbers of each batch. What
    must not be kept is said under `privacy` in `dataset.yaml`; see docs/privacy.md.

    `monitor privacy lead-scoring --json`
    """
    with open_workspace() as workspace:
        told = [_told(workspace, dataset_id) for dataset_id in chosen_datasets(workspace, datasets)]
        if as_json:
            sys.stdout.write(json.dumps(told, indent=2) + "\n")
            return
        for one in told:
            _show(one)


def _told(workspace: Workspace, dataset_id: str) -> dict[str, object]:
    from monitoring_pipeline.store.datasets import segments
    from monitoring_pipeline.store.disclosure import disclosures

    spec, ref = workspace.dataset(dataset_id).spec, workspace.ref(dataset_id)
    held = disclosures(workspace.store, ref)
    known = {one.column for one in held} | {*spec.exclude}
    return {
        "dataset": dataset_id,
        "columns": [_row(one, spec) for one in held if one.column or one.profiles],
        "segments": sorted(key for key in segments(workspace.store, ref) if key),
        "unknown": [name for name in spec.privacy.names if name not in known],
    }


def _row(held: Held, spec: DatasetSpec) -> dict[str, object]:
    return {
        "column": held.column,
        "privacy": str(spec.privacy.rule(held.column)) if held.column else None,
        "profiles": held.profiles,
        "exact_values": held.revealing > 0,
        "profiles_with_exact_values": held.revealing,
        "values": held.values,
        "lowest_count": held.lowest,
        "hashed_values": held.hashed,
        "min_max": held.extremes,
        "since": None if held.first is None else held.first.isoformat(),
        "until": None if held.last is None else held.last.isoformat(),
        "advice": _advice(held, spec),
    }


def _advice(held: Held, spec: DatasetSpec) -> str | None:
    """What to do about a column whose values can be read; None where that is as it was asked for."""
    if not held.revealing or held.first is None:
        return None
    if not held.column:
        roles = [name for name in (spec.columns.prediction, spec.columns.target) if name]
        private = any(spec.privacy.rule(name).items.kind in ("off", "hashed") for name in roles)
        named = held.values <= 1 and spec.columns.positive is not None
        return _again(held, spec) if private and not named else None
    rule = spec.privacy.rule(held.column)
    kept = rule.items
    texts = held.values and (
        kept.kind in ("off", "hashed") or (kept.kind == "at_least" and (held.lowest or 0) < kept.least)
    )
    if texts or (rule.masked and held.exact):
        return _again(held, spec)
    if rule.open and held.values and held.lowest is not None and held.lowest < _FEW:
        return f"if values may point at people: privacy.columns.{held.column}: {{frequent_items: hashed}}"
    return None


def _again(held: Held, spec: DatasetSpec) -> str:
    """Profiles from before the rule stay as they are until they are made again."""
    assert held.first is not None  # noqa: S101 - the caller made sure
    return (
        f"profiles from before the rule: monitor delete {spec.id} --from {held.first:%Y-%m-%d} (verdicts and digests "
        f"name values, too), then monitor backfill {spec.id} --from {held.first:%Y-%m-%d} --again"
    )


def _show(told: dict[str, object]) -> None:
    columns = told["columns"]
    assert isinstance(columns, list)  # noqa: S101
    out.print(f"[bold]{escape(str(told['dataset']))}[/bold]", highlight=False)
    if not columns:
        out.print("  nothing is stored yet")
        return
    table = Table(
        *("column", "exact values", "values", "lowest count", "hashed", "min, max", "since"),
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    advice: dict[str, list[str]] = {}
    for row in columns:
        name = str(row["column"]) or "(labels of predictions)"
        table.add_row(
            escape(name),
            "[yellow]yes[/yellow]" if row["exact_values"] else "no",
            *(str(row[key] or "") for key in ("values", "lowest_count", "hashed_values", "min_max")),
            str(row["since"] or "")[:10],
        )
        if row["advice"]:
            advice.setdefault(str(row["advice"]), []).append(name)
    out.print(table)
    segments, unknown = told["segments"], told["unknown"]
    assert isinstance(segments, list)  # noqa: S101
    assert isinstance(unknown, list)  # noqa: S101
    if segments:
        shown = ", ".join(segments[:3]) + (", …" if len(segments) > 3 else "")
        out.print(f"  {len(segments):,} segments are stored by name: {escape(shown)}", highlight=False)
    for name in unknown:
        out.print(
            f"  [yellow]note[/yellow] privacy names {escape(name)}, of which nothing is stored: is it spelled as in "
            "the data?",
            highlight=False,
        )
    for text, names in advice.items():
        out.print(f"  [yellow]to do[/yellow] {escape(', '.join(names))}: {escape(text)}", highlight=False)
