"""Column list: an anomaly when columns appear or vanish.

The target's columns are compared with those of the newest bucket of the baseline that has data, so that a change is
told once, when it happens. The columns in `exclude` may come and go; `*` in a name stands for any characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.analysis.distributions import Items
from monitoring_pipeline.analysis.result import FailureType
from monitoring_pipeline.analysis.verdicts import Needs, Verdicts, absent, fail, no_numbers
from monitoring_pipeline.config.analyzers import AnyConfig, ColumnListConfig

name = "column_list"
needs: Needs = "items"

SAMPLE = 10
"""Most columns that a result names of those added, and of those removed."""


def evaluate(config: AnyConfig, target: NDArray[Any], baseline: NDArray[Any]) -> Verdicts:
    """Judge `target` against `baseline`, both (n_series, n_targets) of `Items` that are columns, None where no data is.

    >>> config = ColumnListConfig.model_validate({"mode": "ON_REMOVE", "baseline": {"type": "TrailingWindow"}})
    >>> sides = np.array([[Items({"age": 1.0}, 0.0, 1.0), Items({"age": 1.0, "income": 1.0}, 0.0, 2.0)]])
    >>> verdicts = evaluate(config, sides[:, :1], sides[:, 1:])
    >>> verdicts.anomaly.tolist(), verdicts.columns["column_list_removed_sample"].tolist()
    ([[True]], [[['income']]])
    """
    config = cast("ColumnListConfig", config)
    mode, shape = str(config.mode), target.shape
    excluded = [re.compile(".*".join(map(re.escape, one.split("*"))), re.DOTALL) for one in config.exclude]
    anomaly = np.zeros(shape, dtype=np.bool_)
    told = {
        f"column_list_{what}": np.full(shape, None, dtype=object)
        for what in ("added", "removed", "added_sample", "removed_sample")
    }
    for at in np.ndindex(shape):
        sides: list[Items | None] = [target.item(at), baseline.item(at)]
        ours, theirs = (None if side is None else _counted(side.counts, excluded) for side in sides)
        if ours is None or theirs is None:
            continue
        added, removed = sorted(ours - theirs), sorted(theirs - ours)
        anomaly[at] = (bool(added) and mode != "ON_REMOVE") or (bool(removed) and mode != "ON_ADD")
        told["column_list_added"][at], told["column_list_removed"][at] = len(added), len(removed)
        told["column_list_added_sample"][at] = added[:SAMPLE] or None
        told["column_list_removed_sample"][at] = removed[:SAMPLE] or None
    return fail(
        no_numbers(anomaly, {**told, "column_list_mode": mode}),
        absent(baseline),
        FailureType.ROLLUP_BASELINE_REQUIRED,
        "no bucket of the baseline has any column to compare with",
    )


def _counted(columns: Iterable[str], excluded: Iterable[re.Pattern[str]]) -> set[str]:
    return {column for column in columns if not any(pattern.fullmatch(column) for pattern in excluded)}
