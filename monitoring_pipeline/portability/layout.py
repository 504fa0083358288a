"""What an exported folder looks like: which files, with which columns, and how large they may be.

    FOLDER/manifest.json              format, version, and of every file its SHA-256, size and number of rows
    FOLDER/<dataset>/profiles.parquet …       one file for each of `PARTS`
    FOLDER/<dataset>/dataset.yaml, monitors.json      the newest documents, for people

Rows are those of the tables, with names instead of the store's own numbers, times as UTC timestamps and JSON as text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import sqlalchemy as sa

from monitoring_pipeline.store import schema

FORMAT, VERSION = "monitoring-pipeline-export", 1
MANIFEST = "manifest.json"
PEOPLE_READ = ("dataset.yaml", "monitors.json")
"""Files for people; an import does not read them."""

MOST_MANIFEST_BYTES = 16 << 20
MOST_CHUNK_BYTES = 512 << 20
"""Bytes that one column of one row group may have; what an export writes has a few megabytes."""
MOST_TEXT = 64 << 20
"""Bytes of one text, of JSON as well."""

_TIMES = frozenset(
    {
        *("bucket", "created", "first_upload", "last_upload", "profiled_at", "superseded_at", "made_at"),
        *("forgotten_at", "evaluated_at", "next_attempt", "delivered_at", "opened", "updated", "resolved"),
        *(
            "start_time",
            "end_time",
            "reopened_at",
            "acknowledged_at",
            "snoozed_until",
            "moment",
            "since",
            "until",
        ),
    }
)
_LEFT_OUT = frozenset({"pk", "dataset", "revision", "claimed_until"})
"""Numbers that mean something in one store only."""

TIME = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Part:
    """One file of a dataset: the rows of one table.

    `columns`: name in the file → the table's column, in order. `extra`: columns that the file has beside them. `rows_at_once`:
    rows of a row group.
    """

    name: str
    table: sa.Table
    columns: Mapping[str, sa.Column[object]]
    extra: Mapping[str, pa.DataType]
    rows_at_once: int

    @property
    def file(self) -> str:
        """The name of the file."""
        return f"{self.name}.parquet"

    @property
    def schema(self) -> pa.Schema:
        """The columns of the file."""
        fields = [pa.field(name, _type(column), column.nullable) for name, column in self.columns.items()]
        return pa.schema([*fields, *(pa.field(name, kind) for name, kind in self.extra.items())])

    def is_named(self, name: str) -> bool:
        """Whether a column holds names in the file where the table holds the numbers of segments or columns."""
        return name in self.columns and bool(self.columns[name].foreign_keys)

    def is_json(self, name: str) -> bool:
        """Whether a column holds JSON."""
        return name in self.columns and isinstance(self.columns[name].type, sa.JSON)


def _type(column: sa.Column[object]) -> pa.DataType:
    if column.name in _TIMES:
        return TIME
    if column.foreign_keys or isinstance(column.type, (sa.Text, sa.JSON)):
        return pa.string()
    if isinstance(column.type, sa.LargeBinary):
        return pa.binary()
    if isinstance(column.type, sa.Boolean):
        return pa.bool_()
    return pa.float64() if isinstance(column.type, sa.Double) else pa.int64()


def _part(
    name: str, table: sa.Table, *, extra: Mapping[str, pa.DataType] | None = None, without: str = ""
) -> Part:
    columns = {
        "column_name" if column.name == "column" else column.name: column
        for column in table.columns
        if column.name not in _LEFT_OUT and column.name != without
    }
    wide = {"profiles", "superseded_profiles", "references", "documents", "digests", "incidents"}
    return Part(name, table, columns, extra or {}, 1_000 if name in wide else 20_000)


PARTS: Mapping[str, Part] = {
    part.name: part
    for part in (
        _part("documents", schema.document_version),
        _part("entity_schema", schema.entity_schema),
        _part("batches", schema.batch),
        _part("forgotten_buckets", schema.forgotten_bucket),
        _part("rollups", schema.rollup, extra={"clean": pa.bool_()}),
        _part("profiles", schema.profile, extra={"components": pa.binary()}),
        _part("superseded_batches", schema.superseded_batch),
        _part("superseded_profiles", schema.superseded_profile),
        _part("references", schema.reference_profile),
        _part("evaluations", schema.evaluation),
        _part("results", schema.analyzer_result),
        _part("digests", schema.digest),
        _part("deliveries", schema.delivery, extra={"dedup_key": pa.string()}, without="digest"),
        _part("incidents", schema.incident),
        _part("incident_events", schema.incident_event),
        _part("bad_buckets", schema.bad_bucket),
        _part("feedback", schema.feedback),
    )
}
"""Every file of a dataset, in the order in which they are imported.

Left behind is what only concerns the machine it was made on: the index of files, uploads, failed work, and what waits to
be told.
"""
