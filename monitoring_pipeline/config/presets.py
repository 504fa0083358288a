"""Ready-made monitors, made to measure: few, quiet, each with a name that says what it means.

A preset turns a `DatasetDescription` into analyzers and a monitor. It is pure: no files, no clock. `first_monitors` is
the document that a new dataset begins with; `monitor presets` adds any of them later.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from monitoring_pipeline.config.descriptions import MANY_VALUES, DatasetDescription, JsonObject
from monitoring_pipeline.config.preset_parts import BINS, PresetMaker, PresetPart
from monitoring_pipeline.errors import UsageError


@dataclass(frozen=True)
class Preset:
    """Monitors for one purpose. `first` says that a new dataset begins with it, `needs` what it takes to be of use."""

    name: str
    category: str
    description: str
    needs: str
    first: bool
    make: Callable[[PresetMaker], list[PresetPart]]


@dataclass(frozen=True)
class Made:
    """What a preset makes of a dataset, as JSON objects."""

    analyzers: tuple[JsonObject, ...]
    monitors: tuple[JsonObject, ...]


def preset(name: str) -> Preset:
    """The preset of that name. Raises UsageError with the nearest one."""
    known = {one.name: one for one in PRESETS}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known)}"
        raise UsageError(f"no preset is called {name!r}; {hint}")
    return known[name]


def made_by(
    chosen: Preset,
    description: DatasetDescription,
    *,
    now: datetime,
    channels: Sequence[str] = ("console",),
    suffix: str = "",
) -> Made:
    """The analyzers and monitors of a preset for a dataset; `suffix` ends every id, so that it can be there twice.

    Raises UsageError when there is nothing in the dataset for it to watch.
    """
    parts = chosen.make(PresetMaker(description, now))
    if not parts:
        raise UsageError(f"the preset {chosen.name} finds nothing to watch here; it needs {chosen.needs}")
    made = _made(parts, channels)
    if not suffix:
        return made
    ids = {str(one["id"]): f"{one['id']}-{suffix}" for one in (*made.analyzers, *made.monitors)}
    return Made(
        tuple({**one, "id": ids[str(one["id"])]} for one in made.analyzers),
        tuple(
            {
                **monitor,
                "id": ids[str(monitor["id"])],
                "analyzerIds": [ids[str(one["id"])] for one in part.analyzers],
            }
            for monitor, part in zip(made.monitors, parts, strict=True)
        ),
    )


def first_monitors(
    description: DatasetDescription,
    *,
    dataset_id: str,
    now: datetime,
    org_id: str = "org-0",
    channels: Sequence[str] = ("console",),
) -> JsonObject:
    """A monitor document as a JSON object: every preset that a new dataset begins with.

    The grace period reaches back to the dataset's start, so that its history is analysed. A dataset whose newest
    bucket is old gets no monitor for missing data: it has ended, and would be reported missing every day.
    """
    maker = PresetMaker(description, now)
    made = _made([part for one in PRESETS if one.first for part in one.make(maker)], channels)
    return {
        "orgId": org_id,
        "datasetId": dataset_id,
        "granularity": description.granularity.value,
        "analyzers": list(made.analyzers),
        "monitors": list(made.monitors),
    }


def _made(parts: Sequence[PresetPart], channels: Sequence[str]) -> Made:
    actions: list[JsonObject] = [{"type": "global", "target": channel} for channel in channels]
    return Made(
        tuple(analyzer for part in parts for analyzer in part.analyzers),
        tuple(part.monitor(actions) for part in parts),
    )


_TEXT = f"a text column with 2 to {MANY_VALUES} values"
_NUMBER = "a column of numbers that are not codes"
_ROLES = "the roles target and prediction or score, under `columns` in dataset.yaml"
_FRESH, _VOLUME, _QUALITY, _DRIFT = "freshness", "volume", "data quality", "drift"
_MODEL, _SERVICE = "performance", "operations"

PRESETS: tuple[Preset, ...] = (
    Preset(
        "missing-data",
        _FRESH,
        "A bucket has not arrived when it should have.",
        "data that still arrives",
        first=True,
        make=PresetMaker.missing_data,
    ),
    Preset(
        "late-upload",
        _FRESH,
        "Nothing was uploaded for as long as two buckets take.",
        "nothing",
        first=False,
        make=PresetMaker.late_upload,
    ),
    Preset(
        "row-count",
        _VOLUME,
        "Far more or fewer rows: outside the usual spread and outside half to double the usual number, or half twice in a row.",
        "nothing",
        first=True,
        make=PresetMaker.row_count,
    ),
    Preset(
        "seasonal-volume",
        _VOLUME,
        "Rows that do not follow the forecast of their own season (week, day or year, by the granularity).",
        "30 buckets of history, 90 to be good",
        first=False,
        make=PresetMaker.seasonal_volume,
    ),
    Preset(
        "missing-values",
        _QUALITY,
        "The share of nulls of a column jumped, a rare null became common, or a full column got its first ones.",
        "nothing",
        first=True,
        make=PresetMaker.missing_values,
    ),
    Preset(
        "schema-change",
        _QUALITY,
        "Columns vanished or appeared, or changed between text and anything else.",
        "nothing",
        first=True,
        make=PresetMaker.schema_change,
    ),
    Preset(
        "column-names",
        _QUALITY,
        "Columns came or went, by name; renamed ones too.",
        "nothing",
        first=False,
        make=PresetMaker.column_names,
    ),
    Preset(
        "number-drift",
        _DRIFT,
        "Numbers are distributed differently from the weeks before (Hellinger distance).",
        f"{_NUMBER}, with more than {BINS} values",
        first=True,
        make=PresetMaker.number_drift,
    ),
    Preset(
        "category-drift",
        _DRIFT,
        "The mix of categories is different: renamed, new or vanished values among them.",
        _TEXT,
        first=True,
        make=PresetMaker.category_drift,
    ),
    Preset(
        "psi-drift",
        _DRIFT,
        "The population has changed: PSI above 0.25 (medium) and 0.5 (high), more where buckets have few rows.",
        f"{_NUMBER}, or {_TEXT}",
        first=False,
        make=PresetMaker.psi_drift,
    ),
    Preset(
        "value-range",
        _QUALITY,
        "Averages far from where they were, which one absurd value is enough for; negative values twice in a row where none were.",
        _NUMBER,
        first=True,
        make=PresetMaker.values,
    ),
    Preset(
        "unique-values",
        _QUALITY,
        "Far more or fewer distinct values: a key that repeats, a constant that varies.",
        "nothing",
        first=False,
        make=PresetMaker.unique_values,
    ),
    Preset(
        "new-categories",
        _QUALITY,
        "A category has a value that the weeks before never had.",
        _TEXT,
        first=False,
        make=PresetMaker.new_categories,
    ),
    Preset(
        "classification-performance",
        _MODEL,
        "F1 or accuracy fell by more than 10 % against the weeks before.",
        _ROLES,
        first=False,
        make=PresetMaker.classification,
    ),
    Preset(
        "regression-performance",
        _MODEL,
        "The root mean squared or mean absolute error rose by more than 10 % against the weeks before.",
        _ROLES,
        first=False,
        make=PresetMaker.regression,
    ),
    Preset(
        "latency",
        _SERVICE,
        "The 95th percentile of a latency is above 500, in the column's unit.",
        "a column of numbers with latency or duration in its name",
        first=False,
        make=PresetMaker.latency,
    ),
    Preset(
        "errors",
        _SERVICE,
        "More than 1 % of the requests fail.",
        "a column of booleans with error or failed in its name",
        first=False,
        make=PresetMaker.errors,
    ),
)
"""Every preset; those that a new dataset begins with in the order of its document."""
