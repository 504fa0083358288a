"""What profiles and comparisons look like in a notebook: one self-contained table of HTML with charts of SVG.

Nothing is fetched and nothing runs: no scripts, no style sheets, no fonts. Every text from the data is cleaned of
control characters, cut, and escaped. However many columns there are, at most `MOST_ROWS` are drawn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from monitoring_pipeline.alerting.figures import Unit, figure
from monitoring_pipeline.alerting.formats.charts import areas, bars, text
from monitoring_pipeline.analysis.verdicts import Floats
from monitoring_pipeline.profile_file import describe_columns
from monitoring_pipeline.profiling import ColumnProfile

MOST_ROWS: Final = 100
"""Columns that are drawn; of the others it is said how many there are."""

_MOST_NOTES = 8
_MOST_LABELS = 6
_BINS = 24
_BEFORE, _NOW, _ALERT = "#9aa5b1", "#2f6fde", "#c62828"
_TABLE = "border-collapse:collapse;font-size:12px"
_CELL = "text-align:{side};padding:2px 8px;vertical-align:middle;white-space:nowrap"


@dataclass(frozen=True, kw_only=True)
class ComparedColumn:
    """A row of the table of a comparison. `shares`: of the baseline and of the target, (n_bins,) each, over bins
    between `ends` or named by `labels`; None where there is nothing to draw."""

    name: str
    drifted: bool
    score: float
    noise: float
    note: str
    baseline: ColumnProfile | None
    target: ColumnProfile | None
    shares: tuple[Floats, Floats] | None
    labels: Sequence[str]
    ends: tuple[float, float]


def profile_page(title: str, columns: Mapping[str, ColumnProfile], *, notes: Sequence[str]) -> str:
    """A row for each column: its type, what is missing, how many values differ, where they lie."""
    shown = dict(list(columns.items())[:MOST_ROWS])
    described = describe_columns(shown)
    rows = [
        [
            text(column),
            text(str(told["inferred_data_type"] or "").lower()),
            _figure(told["count"], Unit.COUNT),
            _figure(told["count_null_ratio"], Unit.RATIO),
            _figure(told["unique_est"], Unit.COUNT),
            *(_figure(told[metric]) for metric in ("min", "mean", "max")),
            _distribution(profile),
        ]
        for (column, profile), told in zip(
            shown.items(), (described[column] for column in shown), strict=True
        )
    ]
    heads = ("column", "type", "values", "missing", "distinct", "min", "mean", "max", "distribution")
    return _page(title, heads, rows, notes=notes, left_out=len(columns) - len(shown))


def comparison_page(title: str, columns: Sequence[ComparedColumn], *, left_out: int) -> str:
    """A row for each column: how far it moved, and both sides of its figures."""
    before = describe_columns({one.name: one.baseline for one in columns if one.baseline is not None})
    now = describe_columns({one.name: one.target for one in columns if one.target is not None})
    rows: list[list[str]] = []
    for one in columns:
        told = (before.get(one.name, {}), now.get(one.name, {}))
        score = _figure(one.score)
        if one.drifted:
            score = f'<b style="color:{_ALERT}">{score}</b>'
        rows.append(
            [
                text(one.name),
                score,
                _figure(one.noise),
                *(
                    " → ".join(_figure(side.get(metric), unit) for side in told)
                    for metric, unit in (
                        ("count_null_ratio", Unit.RATIO),
                        ("unique_est", Unit.COUNT),
                        ("mean", Unit.NUMBER),
                    )
                ),
                _compared(one) or text(one.note),
            ]
        )
    heads = ("column", "Hellinger", "noise", "missing", "distinct", "mean", "distribution")
    legend = (
        f'<span style="color:{_BEFORE}">■</span> baseline <span style="color:{_NOW}">■</span> target; '
        "noise: the score of two samples of one distribution"
    )
    return _page(title, heads, rows, notes=(), left_out=left_out, legend=legend)


def _page(
    title: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    notes: Sequence[str],
    left_out: int,
    legend: str = "",
) -> str:
    head = "".join(f'<th style="{_side(at, heads)}">{cell}</th>' for at, cell in enumerate(heads))
    body = "".join(
        "<tr>"
        + "".join(f'<td style="{_side(at, heads)}">{cell}</td>' for at, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    below = [text(note, most=300) for note in notes[:_MOST_NOTES]]
    if len(notes) > _MOST_NOTES:
        below.append(f"… {len(notes) - _MOST_NOTES:,} more notes")
    if left_out:
        below.append(f"… {left_out:,} more columns")
    small = "".join(f"<div>{line}</div>" for line in [legend, *below] if line)
    return (
        f'<div><div style="font-weight:600">{text(title, most=300)}</div>'
        f'<table style="{_TABLE}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        f'<div style="font-size:11px">{small}</div></div>'
    )


def _side(at: int, heads: Sequence[str]) -> str:
    return _CELL.format(side="right" if 0 < at < len(heads) - 1 else "left")


def _distribution(column: ColumnProfile) -> str:
    """A histogram of numbers, or the shares of the commonest values."""
    if column.kll is not None and column.m_n and column.min is not None and column.max is not None:
        low, high = column.min, column.max
        if not high > low:
            return areas([np.ones(1)], [_NOW], f"{_figure(low)} only")
        # The range of two doubles need not be a double, and its half may be nothing.
        scale = 1.0 if math.isfinite(high - low) else 2.0
        edges = np.unique(scale * np.linspace(low / scale, high / scale, _BINS + 1))
        shares = column.histogram(edges)[1:]
        # The last edge begins a bin of its own for the largest value.
        shares[-2] += shares[-1]
        return areas([shares[:-1]], [_NOW], f"{_figure(low)} to {_figure(high)}")
    items = [(label, estimate) for label, estimate, *_ in column.top_items(_MOST_LABELS)]
    if not items and column.t_bool:
        items = [("True", column.n_true), ("False", column.t_bool - column.n_true)]
    total = max(column.n - column.n_null, 1)
    return bars([(label, (count / total,)) for label, count in items], [_NOW])


def _compared(one: ComparedColumn) -> str:
    if one.shares is None:
        return ""
    if not one.labels:
        # The first bin, below the lowest value, is always empty.
        return areas(
            [shares[1:] for shares in one.shares],
            [_BEFORE, _NOW],
            f"{_figure(one.ends[0])} to {_figure(one.ends[1])}",
        )
    commonest = [int(at) for at in np.argsort(-np.maximum(*one.shares), kind="stable")[:_MOST_LABELS]]
    rows = [(one.labels[at], tuple(float(shares[at]) for shares in one.shares)) for at in commonest]
    return bars(rows, [_BEFORE, _NOW])


def _figure(value: float | None, unit: Unit = Unit.NUMBER) -> str:
    return "" if value is None or math.isnan(value) else figure(float(value), unit)
