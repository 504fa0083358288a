"""Reading a folder that anybody may have made: nothing is believed before it was looked at.

Paths stay inside the folder, sizes and checksums are those of the manifest, every column has the type that it should
have, texts and JSON can be stored, sketches are opened once before they are kept, and verdicts, incidents and digests
are such as the rest of the package can read. Whatever is wrong is one UsageError with its place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pyarrow as pa
import pyarrow.parquet as pq

from monitoring_pipeline.alerting.digests import Digest
from monitoring_pipeline.alerting.incidents import Incident
from monitoring_pipeline.analysis.result import AnalyzerResult
from monitoring_pipeline.errors import MonitoringError, UsageError
from monitoring_pipeline.portability.exporting import described
from monitoring_pipeline.portability.layout import (
    FORMAT,
    MANIFEST,
    MOST_CHUNK_BYTES,
    MOST_MANIFEST_BYTES,
    MOST_TEXT,
    PARTS,
    PEOPLE_READ,
    TIME,
    VERSION,
    Part,
)
from monitoring_pipeline.profiling.performance import PERFORMANCE, Performance
from monitoring_pipeline.profiling.profile import ColumnProfile, components_from_bytes
from monitoring_pipeline.profiling.sketches import FrequentItems
from monitoring_pipeline.segments import segment_tags
from monitoring_pipeline.store.documents import content_hash
from monitoring_pipeline.store.schema import PROFILE_SCALARS
from monitoring_pipeline.timegrid import from_micros

Row = dict[str, object]
GRAINS = ("base", "day", "week", "month")

_ROWS_AT_ONCE = 1_000
_REFUSED = (MonitoringError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)


@dataclass(frozen=True)
class DatasetFiles:
    """One dataset of a folder whose files are all there and as the manifest says."""

    organisation: str
    dataset: str
    place: Path
    rows: Mapping[str, int]


def checked_folder(folder: Path) -> list[DatasetFiles]:
    """The datasets of an exported folder. Raises UsageError unless every file is there, whole and in its place."""
    path = folder / MANIFEST
    if not path.is_file():
        raise UsageError(f"{folder} is no exported folder: it has no {MANIFEST}")
    if path.stat().st_size > MOST_MANIFEST_BYTES:
        raise UsageError(f"{path} has more than {MOST_MANIFEST_BYTES:,} bytes")
    try:
        manifest = json.loads(path.read_bytes())
        found, version = manifest["format"], manifest["version"]
    except _REFUSED:
        raise UsageError(f"{path} is not the manifest of an export") from None
    if found != FORMAT or version != VERSION:
        raise UsageError(
            f"{path} is of format {found!r} version {version!r}; accepted: {FORMAT} version {VERSION}"
        )
    try:
        return [_dataset(folder, entry) for entry in manifest["datasets"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} does not say what an export's manifest says ({error!r})") from None


def _dataset(folder: Path, entry: Mapping[str, object]) -> DatasetFiles:
    organisation, dataset, name = entry["organisation"], entry["dataset"], entry["folder"]
    for text in (organisation, dataset):
        if not isinstance(text, str) or not 0 < len(text) <= 1_000 or "\0" in text:
            raise UsageError(f"{folder / MANIFEST}: {text!r:.50} is no name of an organisation or dataset")
    if not isinstance(name, str) or not re.fullmatch(r"\d+(-[A-Za-z0-9][A-Za-z0-9_.-]*)?", name):
        raise UsageError(f"{folder / MANIFEST}: {name!r:.50} is no folder of an export")
    place, files = folder / name, cast("Mapping[str, Mapping[str, object]]", entry["files"])
    known = {part.file: part.name for part in PARTS.values()}
    unknown = sorted({*files} - known.keys() - {*PEOPLE_READ})
    if unknown:
        raise UsageError(f"{folder / MANIFEST}: {unknown[0]!r:.50} is no file of an export of this release")
    missing = sorted(known.keys() - files.keys())
    if missing:
        raise UsageError(f"{folder / MANIFEST}: {missing[0]} of {dataset} is missing")
    for file, said in files.items():
        _check_file(folder, place / file, said)
    rows = {known[file]: int(cast("int", said["rows"])) for file, said in files.items() if file in known}
    return DatasetFiles(str(organisation), str(dataset), place, rows)


def _check_file(folder: Path, path: Path, said: Mapping[str, object]) -> None:
    if path.is_symlink() or not path.is_file() or folder.resolve() not in path.resolve().parents:
        raise UsageError(f"{path} is missing, or no file inside {folder}")
    if path.stat().st_size != said["bytes"]:
        raise UsageError(f"{path} has {path.stat().st_size:,} bytes; the manifest says {said['bytes']!r:.30}")
    if described(path)["sha256"] != said["sha256"]:
        raise UsageError(f"{path} is damaged: its checksum is not that of the manifest")


def rows_of(files: DatasetFiles, part: Part) -> Iterator[list[Row]]:
    """The rows of one file, some at a time, each checked: times in microseconds, JSON as text, NaN as None."""
    path = files.place / part.file
    checks = _CHECKS.get(part.name)
    try:
        with pq.ParquetFile(path, memory_map=False) as probe:
            _check_layout(path, part, probe, files.rows[part.name])
        # As dictionaries, so that a value that is said a million times is held once.
        texts = [field.name for field in part.schema if field.type in (pa.string(), pa.binary())]
        with pq.ParquetFile(path, memory_map=False, read_dictionary=texts) as file:
            at = 0
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
                rows = _checked(path, part, batch, at)
                for number, row in enumerate(rows, start=at + 1):
                    try:
                        if checks is not None:
                            checks(row)
                    except _REFUSED as error:
                        raise UsageError(f"{path}, row {number}: {error}") from None
                yield rows
                at += len(rows)
    except (pa.ArrowException, OSError, MemoryError) as error:
        raise UsageError(f"{path} cannot be read: {str(error)[:200]}") from None


def _check_layout(path: Path, part: Part, file: pq.ParquetFile, rows: int) -> None:
    expected, found = part.schema, file.schema_arrow
    optional = {field.name for field in expected if field.nullable}
    names = set(found.names)
    wrong = (
        sorted(names - set(expected.names))
        or sorted(set(expected.names) - names - optional)
        or [name for name in found.names if found.field(name).type != expected.field(name).type]
    )
    if wrong or len(names) != len(found.names):
        raise UsageError(
            f"{path}: the column {[*wrong, '?'][0]!r:.50} is missing, unknown or of another type"
        )
    if file.metadata.num_rows != rows:
        raise UsageError(f"{path} has {file.metadata.num_rows:,} rows; the manifest says {rows:,}")
    for group in range(file.metadata.num_row_groups):
        held = file.metadata.row_group(group)
        for column in range(held.num_columns):
            if not 0 <= held.column(column).total_uncompressed_size <= MOST_CHUNK_BYTES:
                raise UsageError(f"{path}: a column of a row group has more than {MOST_CHUNK_BYTES:,} bytes")


def _checked(path: Path, part: Part, batch: pa.RecordBatch, at: int) -> list[Row]:
    """A batch as rows whose values the store takes."""
    columns: dict[str, Sequence[object]] = {}
    for field in part.schema:
        if field.name not in batch.schema.names:
            columns[field.name] = [None] * batch.num_rows
            continue
        array = batch.column(field.name)
        if array.null_count and not field.nullable:
            raise UsageError(f"{path}, after row {at}: {field.name} is missing in a row")
        if field.type == TIME:
            values = array.cast(pa.int64()).to_pylist()
            for value in {value for value in values if value is not None}:
                try:
                    from_micros(value)
                except (OverflowError, ValueError):
                    raise UsageError(
                        f"{path}, after row {at}: {field.name} is a time beyond all years"
                    ) from None
        else:
            values = array.to_pylist()
        if field.type == pa.float64():
            values = [None if value is not None and value != value else value for value in values]
        if field.type == pa.string():
            _check_texts(f"{path}, after row {at}: {field.name}", values, as_json=part.is_json(field.name))
        columns[field.name] = values
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _check_texts(place: str, values: Sequence[object], *, as_json: bool) -> None:
    for value in {value for value in values if isinstance(value, str)}:
        if len(value) > MOST_TEXT or "\0" in value:
            raise UsageError(f"{place} is too long or holds a NUL character")
        if as_json:
            try:
                json.loads(value, parse_constant=_no_constant)
            except (ValueError, RecursionError):
                raise UsageError(f"{place} is not JSON") from None


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _mapping(text: object) -> Mapping[str, object]:
    found = json.loads(str(text))
    if not isinstance(found, dict):
        raise ValueError("JSON that is no object")
    return found


def _check_profile(row: Row) -> None:
    if row.get("grain", "base") not in GRAINS:
        raise ValueError(f"{row['grain']!r:.50} is no grain")
    segment_tags(str(row["segment"]))
    image = row["components"]
    components = components_from_bytes(cast("bytes", image)) if image is not None else {}
    scalars = {name: cast("float | None", row[name]) for name in PROFILE_SCALARS}
    _open(ColumnProfile.from_parts(scalars, components))


def _open(profile: ColumnProfile) -> None:
    """Read everything in a profile once."""
    _ = profile.derived
    if profile.frequent_items is not None:
        FrequentItems.from_image(profile.frequent_items)
    if PERFORMANCE in profile.extra:
        Performance.from_bytes(profile.extra[PERFORMANCE])


def _check_reference(row: Row) -> None:
    segment_tags(str(row["segment"]))
    _open(ColumnProfile.from_bytes(cast("bytes", row["profile"])))


def _check_batch(row: Row) -> None:
    segment_tags(str(row["segment"]))
    if any(not isinstance(count, int) for count in _mapping(row["quality"]).values()):
        raise ValueError("quality that does not count rows")
    if min(cast("int", row[name]) for name in ("rows", "files", "version")) < 0:
        raise ValueError("a negative count")


def _check_result(row: Row) -> None:
    if row["state"] not in ("current", "superseded"):
        raise ValueError(f"{row['state']!r:.50} is no state of a verdict")
    named = {"column" if name == "column_name" else name: value for name, value in row.items()}
    segment_tags(str(row["segment"]))
    AnalyzerResult.from_row(
        {**named, "monitor_ids": json.loads(str(row["monitor_ids"])), "details": _mapping(row["details"])}
    )


def _check_digest(row: Row) -> None:
    content = _mapping(row["content"])
    if row["kind"] == "digest":
        Digest.from_json(content)


def _check_incident(row: Row) -> None:
    Incident.from_json(_mapping(row["content"]))


def _check_document(row: Row) -> None:
    if row["kind"] not in ("dataset", "monitors"):
        raise ValueError(f"{row['kind']!r:.50} is no kind of document")
    infinite = "Infinity" in str(row["content"])  # a text in the store, a number when it was hashed
    if content_hash(_mapping(row["content"])) != row["hash"] and not infinite:
        raise ValueError("the hash of a document is not that of its content")


def _check_delivery(row: Row) -> None:
    if row["state"] not in ("pending", "delivered", "failed"):
        raise ValueError(f"{row['state']!r:.50} is no state of a delivery")


def _check_rollup(row: Row) -> None:
    if row["grain"] not in GRAINS[1:]:
        raise ValueError(f"{row['grain']!r:.50} is no grain of a roll-up")


_CHECKS = {
    "documents": _check_document,
    "entity_schema": lambda row: _mapping(row["content"]),
    "batches": _check_batch,
    "superseded_batches": _check_batch,
    "rollups": _check_rollup,
    "profiles": _check_profile,
    "superseded_profiles": _check_profile,
    "references": _check_reference,
    "results": _check_result,
    "digests": _check_digest,
    "deliveries": _check_delivery,
    "incidents": _check_incident,
}
