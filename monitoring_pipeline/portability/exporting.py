"""The store → a folder: every dataset as it was at one moment, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa
import yaml
from sqlalchemy.engine import Connection

from monitoring_pipeline.errors import StoreError, UsageError
from monitoring_pipeline.portability.layout import FORMAT, MANIFEST, PARTS, TIME, VERSION, Part
from monitoring_pipeline.store import schema
from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef
from monitoring_pipeline.store.rollups import clean_blocks, levels
from monitoring_pipeline.timegrid import Granularity

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Exported:
    """One dataset in the folder: rows by file."""

    dataset: str
    rows: Mapping[str, int]


def export_datasets(
    store: Store,
    refs: Sequence[DatasetRef],
    folder: Path,
    *,
    now: datetime,
    progress: Progress | None = None,
) -> tuple[Exported, ...]:
    """Write datasets as a new folder of Parquet and JSON files, and return what each came to.

    All are as they were at one moment. The folder appears when it is complete; after a kill the next export clears away what
    was begun. Raises UsageError when there is something at the folder's place, StoreError when it cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not empty; accepted: a folder that does not exist yet")
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        entries, done = [], []
        with store.read() as connection:
            for number, ref in enumerate(refs, start=1):
                place = unfinished / _folder_name(ref, number)
                place.mkdir()
                files = dict(_written(connection, ref, place, progress or (lambda _: None)))
                entries.append(
                    {
                        "organisation": ref.organisation,
                        "dataset": ref.dataset_id,
                        "folder": place.name,
                        "files": files,
                    }
                )
                rows = {name: one["rows"] for name, one in files.items() if isinstance(one["rows"], int)}
                done.append(Exported(ref.dataset_id, rows))
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "schema_version": schema.SCHEMA_VERSION,
            "created": now.isoformat(),
            "datasets": entries,
        }
        text = json.dumps(manifest, indent=2, ensure_ascii=False)
        (unfinished / MANIFEST).write_text(f"{text}\n", encoding="utf-8")
        if folder.exists():
            folder.rmdir()
        unfinished.replace(folder)
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{folder} cannot be written: {error}") from error
    return tuple(done)


def _folder_name(ref: DatasetRef, number: int) -> str:
    plain = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", ref.dataset_id)
    return f"{number:03}-{ref.dataset_id}" if plain else f"{number:03}"


def _written(
    connection: Connection, ref: DatasetRef, place: Path, progress: Progress
) -> Iterator[tuple[str, dict[str, object]]]:
    """Write the files of a dataset; name, and what the manifest says of each."""
    names = {
        table: dict(connection.execute(sa.select(table.c.pk, text).where(table.c.dataset == ref.pk)).all())
        for table, text in (
            (schema.segment, schema.segment.c.key),
            (schema.column_name, schema.column_name.c.name),
        )
    }
    for part in PARTS.values():
        progress(f"{ref.dataset_id}: {part.name}")
        path, rows = place / part.file, 0
        with pq.ParquetWriter(path, part.schema, compression="zstd") as writer:
            for batch in _batches(connection, ref, part, names):
                writer.write_batch(batch)
                rows += batch.num_rows
        yield part.file, {**described(path), "rows": rows}
    for kind, name in (("dataset", "dataset.yaml"), ("monitors", "monitors.json")):
        content = _newest(connection, ref, kind)
        if content is None:
            continue
        text = (
            yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
            if kind == "dataset"
            else f"{json.dumps(content, indent=2, ensure_ascii=False)}\n"
        )
        (place / name).write_text(text, encoding="utf-8")
        yield name, {**described(place / name), "rows": None}


def described(path: Path) -> dict[str, object]:
    """SHA-256 and size of a file."""
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": path.stat().st_size}


def _batches(
    connection: Connection, ref: DatasetRef, part: Part, names: Mapping[sa.Table, Mapping[int, str]]
) -> Iterator[pa.RecordBatch]:
    clean = _clean(connection, ref) if part.name == "rollups" else set()
    result = connection.execute(_query(ref, part), execution_options={"yield_per": part.rows_at_once})
    for rows in result.partitions():
        arrays = []
        for field, values in zip(part.schema, zip(*rows, strict=True), strict=False):
            if part.is_named(field.name):
                table = next(iter(part.columns[field.name].foreign_keys)).column.table
                values = [names[table][number] for number in values]
            arrays.append(pa.array(values, pa.int64() if field.type == TIME else field.type).cast(field.type))
        if part.name == "rollups":
            keys = zip(arrays[0].to_pylist(), (row[1] for row in rows), strict=True)
            arrays.append(pa.array([key in clean for key in keys], pa.bool_()))
        yield pa.RecordBatch.from_arrays(arrays, schema=part.schema)


def _query(ref: DatasetRef, part: Part) -> sa.Select[*tuple[Any, ...]]:
    table = part.table
    columns: list[sa.Label[Any]] = [
        sa.cast(column, sa.Text()).label(name) if part.is_json(name) else column.label(name)
        for name, column in part.columns.items()
    ]
    if part.name == "profiles":
        sketch = schema.profile_sketch
        same = [table.c[column.name] == sketch.c[column.name] for column in sketch.primary_key]
        query = sa.select(*columns, sketch.c.components).select_from(table.outerjoin(sketch, sa.and_(*same)))
    elif part.name == "deliveries":
        digest = schema.digest
        query = sa.select(*columns, digest.c.dedup_key).join(digest, digest.c.pk == table.c.digest)
        return query.where(digest.c.dataset == ref.pk).order_by(table.c.pk)
    else:
        query = sa.select(*columns)
    return query.where(table.c.dataset == ref.pk).order_by(*table.primary_key)


def _clean(connection: Connection, ref: DatasetRef) -> set[tuple[str, int]]:
    """Grain and start of the roll-ups that are what their buckets are."""
    table = schema.rollup
    query = (
        sa.select(table.c.grain, sa.func.min(table.c.bucket), sa.func.max(table.c.bucket))
        .where(table.c.dataset == ref.pk)
        .group_by(table.c.grain)
    )
    spans = {grain: range(first, last + 1) for grain, first, last in connection.execute(query)}
    return {
        (level.grain, start)
        for level in levels(Granularity.HOURLY)  # whose levels have every grain
        if level.grain in spans
        for start in clean_blocks(connection, ref, level, spans[level.grain])
    }


def _newest(connection: Connection, ref: DatasetRef, kind: str) -> object:
    table = schema.document_version
    query = (
        sa.select(table.c.content)
        .where(table.c.dataset == ref.pk, table.c.kind == kind)
        .order_by(table.c.version.desc())
        .limit(1)
    )
    return connection.execute(query).scalar_one_or_none()
