"""From a file that nobody has described yet to a monitored dataset: what `monitor init` and `monitor presets` do."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import numpy as np
import yaml
from numpy.typing import NDArray

from monitoring_pipeline.config.dataset import parse_dataset
from monitoring_pipeline.config.descriptions import (
    ColumnDescription,
    ColumnKind,
    DatasetDescription,
    Role,
    dataset_document,
)
from monitoring_pipeline.config.document import MonitorDocument, parse_document
from monitoring_pipeline.config.editing import Added, JsonObject, with_added
from monitoring_pipeline.config.entity_schema import ColumnSchema, DataType
from monitoring_pipeline.config.layout import laid_out, write_text
from monitoring_pipeline.config.presets import Preset, first_monitors, made_by
from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.profile_file import describe_profile_files
from monitoring_pipeline.profiling.profile import DATASET_COLUMN
from monitoring_pipeline.segments import OVERALL
from monitoring_pipeline.sources.inspect import describe_file
from monitoring_pipeline.store import profiles
from monitoring_pipeline.store.datasets import find_dataset
from monitoring_pipeline.store.documents import DocumentVersion
from monitoring_pipeline.timegrid import TimeRange
from monitoring_pipeline.workspace import DATASET_FILE, DOCUMENT_FILE, Workspace

LOOKED_AT = 30
"""Buckets, the newest, that tell what a profiled dataset is like."""


@dataclass(frozen=True)
class Onboarded:
    """The files that were written, and what was seen and guessed on the way."""

    dataset_id: str
    dataset_file: Path
    document_file: Path
    notes: tuple[str, ...]


def init_dataset(
    home: Path,
    file: str,
    *,
    dataset_id: str | None = None,
    timestamp: str | None = None,
    force: bool = False,
) -> Onboarded:
    """Look at a file, folder or glob, and write a dataset description and first monitors into the workspace.

    Raises UsageError when the dataset is described already (unless `force`), SourceError when there is nothing to read.
    """
    chosen = dataset_id or _name_of(file)
    folder = home / "datasets" / chosen
    dataset_file, document_file = folder / DATASET_FILE, folder / DOCUMENT_FILE
    if dataset_file.exists() and not force:
        raise UsageError(
            f"{dataset_file} exists; edit it, name another dataset with --id, or overwrite it with --force"
        )
    located = _located(file, home)
    description = describe_profile_files(located, home=home)
    if description is None:
        description = describe_file(located, home=home, timestamp=timestamp)
    elif timestamp is not None:
        raise UsageError(f"{file} holds profiles, which have a time of their own; leave --timestamp out")
    described = dataset_document(description, dataset_id=chosen)
    parse_dataset(described, source=str(dataset_file))
    document = first_monitors(description, dataset_id=chosen, now=datetime.now(UTC))
    parse_document(document, source=str(document_file))
    folder.mkdir(parents=True, exist_ok=True)
    notes = "".join(f"# {note}\n" for note in description.notes)
    write_text(document_file, laid_out(document))
    write_text(dataset_file, notes + yaml.safe_dump(described, sort_keys=False))
    return Onboarded(chosen, dataset_file, document_file, description.notes)


def describe_profiled(workspace: Workspace, dataset_id: str) -> DatasetDescription:
    """What a dataset is like, told from its newest profiles. Raises UsageError while nothing is profiled."""
    spec = workspace.dataset(dataset_id).spec
    ref = find_dataset(workspace.store, workspace.organisation(dataset_id), dataset_id)
    batches = profiles.batches(workspace.store, ref) if ref is not None else []
    if ref is None or not batches:
        raise UsageError(
            f"nothing of {dataset_id} is profiled yet, and presets are made to measure; "
            f"`monitor profile {dataset_id}` does it"
        )
    granularity, newest = spec.granularity, max(batch.bucket for batch in batches)
    window = TimeRange(granularity.shift(newest, 1 - LOOKED_AT), granularity.shift(newest, 1))
    seen = profiles.series(
        workspace.store, ref, _LOOKED_FOR, window, granularity=granularity, segments=[OVERALL]
    )
    schema = workspace.entity_schema(dataset_id)
    roles: dict[Role, str | None] = {role: getattr(spec.columns, role) for role in get_args(Role)}
    return DatasetDescription(
        path=spec.source.path[0],
        format=str(spec.source.format or ""),
        files=0,
        rows=sum(batch.rows for batch in batches),
        sampled_rows=0,
        columns=tuple(
            _column(
                column,
                {name: found[row] for name, found in seen.values.items()},
                schema.columns.get(column) if schema is not None else None,
                is_clock=column == spec.timestamp,
            )
            for row, (_, column) in enumerate(seen.keys)
            if column != DATASET_COLUMN
        ),
        granularity=granularity,
        rows_per_bucket=float(np.median([batch.rows for batch in batches if batch.bucket in window])),
        timestamp=spec.timestamp,
        start=min(batch.bucket for batch in batches),
        end=newest,
        segments=spec.segments,
        roles={role: column for role, column in roles.items() if column is not None},
        exclude=spec.exclude,
    )


def _column(
    name: str, values: Mapping[str, NDArray[np.float64]], schema: ColumnSchema | None, *, is_clock: bool
) -> ColumnDescription:
    """A column by its profiles: `values` are scalars by name, (n_buckets,), NaN where there is no profile."""
    known = schema.data_type if schema is not None else None
    count = float(np.nansum(values["n"]))
    least = float(np.fmin.reduce(values["min"]))
    return ColumnDescription(
        name=name,
        type=str(known or ""),
        kind="timestamp" if is_clock else _KINDS.get(known, "other") if known is not None else "other",
        distinct=round(float(np.fmax.reduce(values["unique_est"], initial=0.0))),
        null_share=float(np.nansum(values["n_null"])) / count if count else 0.0,
        minimum=None if np.isnan(least) else least,
    )


def add_presets(
    workspace: Workspace,
    dataset_id: str,
    chosen: Sequence[Preset],
    *,
    channels: Sequence[str] = ("console",),
    suffix: str = "",
) -> tuple[Added, DocumentVersion]:
    """Put presets into the dataset's monitor document, file and store; what is there already stays as it is.

    Raises UsageError when there is nothing to watch, or something else has one of the ids.
    """
    described, now = describe_profiled(workspace, dataset_id), workspace.now()
    made = [made_by(one, described, now=now, channels=channels, suffix=suffix) for one in chosen]
    done: list[Added] = []

    def change(data: JsonObject, document: MonitorDocument) -> JsonObject:
        done.append(
            with_added(
                data,
                document,
                analyzers=[analyzer for one in made for analyzer in one.analyzers],
                monitors=[monitor for one in made for monitor in one.monitors],
            )
        )
        return done[-1].data

    version = workspace.edit(dataset_id, change)
    return done[-1], version


_KINDS: Mapping[DataType, ColumnKind] = {
    DataType.BOOL: "boolean",
    DataType.INTEGRAL: "integer",
    DataType.FRACTIONAL: "number",
    DataType.STRING: "text",
}
_LOOKED_FOR = ("n", "n_null", "min", "unique_est")


def _located(file: str, home: Path) -> str:
    """The path as the description keeps it: a URL as it is, inside the workspace relative to it, otherwise absolute."""
    if "://" in file:
        return file
    absolute, root = Path(os.path.abspath(file)), home.absolute()  # noqa: PTH100 - a glob need not exist
    return str(absolute.relative_to(root) if absolute.is_relative_to(root) else absolute)


def _name_of(file: str) -> str:
    """A dataset id made from the name of the file or folder."""
    stem = Path(file.rstrip("/*")).name.split(".")[0] or "dataset"
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:100] or "dataset"
