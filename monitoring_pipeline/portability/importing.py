"""A folder → the store: what is missing is added, what is there stays.

A bucket is taken as a whole, with its profiles and earlier versions, when the store knows nothing of it; so is the
verdict of an analyzer on a bucket, an incident with all that people did about it, a digest, a reference. What both
know differently is told as a conflict and left as the store has it. Each dataset is one transaction: importing again
after a kill, or at any time, gives the same store as importing once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.portability.checking import DatasetFiles, Row, checked_folder, rows_of
from monitoring_pipeline.portability.layout import PARTS, Part
from monitoring_pipeline.segments import OVERALL
from monitoring_pipeline.store import audit, schema
from monitoring_pipeline.store.audit import AuditEntry
from monitoring_pipeline.store.database import Store, insert, insert_tuples
from monitoring_pipeline.store.datasets import DatasetRef, lock_dataset, numbers
from monitoring_pipeline.store.rollups import RETIRED, levels, mark_changed
from monitoring_pipeline.store.schema import BASE_GRAIN, CURRENT
from monitoring_pipeline.timegrid import Granularity, from_micros, to_micros

Progress = Callable[[str], None]

NOT_SENT = "not sent: it came with an import"
_LEVELS = {level.grain: level for level in levels(Granularity.HOURLY)}  # whose levels have every grain


@dataclass(frozen=True)
class Imported:
    """What became of one dataset: rows added by file, rows that the store had already, and what it knew otherwise."""

    organisation: str
    dataset: str
    added: Mapping[str, int]
    known: Mapping[str, int]
    conflicts: Sequence[str]


def import_folder(
    store: Store,
    folder: Path,
    *,
    organisation: str | None = None,
    actor: str,
    now: datetime,
    progress: Progress | None = None,
) -> tuple[Imported, ...]:
    """Bring the datasets of an exported folder into the store, of their own organisation unless another is given.

    Messages that were not delivered yet come as given up: whoever exported them still has them to send. Raises UsageError for a
    folder that is damaged, hostile or of another format; nothing of the dataset in question is written then.
    """
    found = checked_folder(folder)
    taken = [(organisation or one.organisation, one.dataset) for one in found]
    if len(set(taken)) < len(taken):
        raise UsageError(f"{folder} holds two datasets of one name; accepted: an export of each organisation")
    return tuple(
        _import(store, files, owner, actor=actor, now=now, progress=progress or (lambda _: None))
        for files, (owner, _) in zip(found, taken, strict=True)
    )


def _import(
    store: Store, files: DatasetFiles, organisation: str, *, actor: str, now: datetime, progress: Progress
) -> Imported:
    with store.begin() as connection:
        ref = _registered(connection, organisation, files.dataset, now)
        lock_dataset(connection, ref)
        merge = _Merge(connection, ref, files, now)
        for part in PARTS.values():
            progress(f"{files.dataset}: {part.name}")
            rows = (row for rows in rows_of(files, part) for row in rows)
            merge.write(part, merge.chosen(part, rows))
        merge.finish()
        added, known = dict(merge.added), dict(merge.known)
        if added:
            details = {"dataset": files.dataset, "added": added, "conflicts": len(merge.conflicts)}
            audit.record(connection, AuditEntry(organisation, now, actor, "import", details))
    return Imported(organisation, files.dataset, added, known, merge.conflicts)


def _registered(connection: Connection, organisation: str, dataset: str, now: datetime) -> DatasetRef:
    """The dataset's row, made when it is new, inside the transaction."""
    table = schema.dataset
    values = {"organisation": organisation, "dataset_id": dataset, "registered_at": to_micros(now)}
    connection.execute(insert(connection, table).values(values).on_conflict_do_nothing())
    query = sa.select(table.c.pk, table.c.registered_at).where(
        table.c.organisation == organisation, table.c.dataset_id == dataset
    )
    pk, registered = connection.execute(query).one()
    return DatasetRef(pk, organisation, dataset, from_micros(registered))


@dataclass
class _Merge:
    """One dataset's files against what the store held before; `known` counts rows that it had already."""

    connection: Connection
    ref: DatasetRef
    files: DatasetFiles
    now: datetime
    added: Counter[str] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)
    conflicts: list[str] = field(default_factory=list)
    lost: int = 0

    def __post_init__(self) -> None:
        batch, gone = schema.batch, schema.forgotten_bucket
        overall = self._select(schema.segment, "pk", schema.segment.c.key == OVERALL)
        loads = self._select(
            batch, "bucket", batch.c.segment.in_([pk for (pk,) in overall]), more=("version", "fingerprint")
        )
        self.held: dict[int, tuple[int, str]] = {bucket: (version, mark) for bucket, version, mark in loads}
        self.forgotten = {bucket for (bucket,) in self._select(gone, "bucket")}
        self.blocks = set(self._select(schema.rollup, "grain", more=("bucket",)))
        named, result = ("analyzer_id", "analyzer_version"), schema.analyzer_result
        standing = result.c.state == CURRENT  # also where the evaluation was forgotten, to be judged again
        self.judged = {
            *self._select(schema.evaluation, "bucket", more=named),
            *self._select(result, "bucket", standing, more=named, distinct=True),
        }
        self.references = {
            name for (name,) in self._select(schema.reference_profile, "profile_id", distinct=True)
        }
        self.digests = {key for (key,) in self._select(schema.digest, "dedup_key")}
        incidents = self._select(schema.incident, "incident_id", more=("updated",))
        self.incidents: dict[str, int] = dict(incidents)
        self.said = set(self._select(schema.feedback, "analysis_id", more=("author", "created")))
        self.described = bool(self._select(schema.entity_schema, "updated"))
        self.versions: dict[tuple[str, int], str] = {
            (kind, number): mark
            for kind, number, mark in self._select(schema.document_version, "kind", more=("version", "hash"))
        }
        self.diverged: set[str] = set()
        self.taken: set[int] = set()
        self.retired: set[int] = set()
        self.taken_blocks: set[tuple[str, int]] = set()
        self.taken_incidents: set[str] = set()
        self.taken_digests: dict[str, int] = {}
        self.numbers: dict[sa.Table, dict[str, int]] = {}

    def chosen(self, part: Part, rows: Iterator[Row]) -> Iterator[Row]:
        """The rows that the store lacks."""
        choose = _CHOICES.get(part.name, _Merge._of_taken_bucket)
        for row in rows:
            if choose(self, row):
                yield row
            else:
                self.known[part.name] += 1

    def write(self, part: Part, rows: Iterable[Row]) -> None:
        """Insert rows, some at a time."""
        waiting: list[Row] = []
        for row in rows:
            waiting.append(row)
            if len(waiting) >= part.rows_at_once:
                self._insert(part, waiting)
                waiting = []
        self._insert(part, waiting)

    def finish(self) -> None:
        """Have roll-ups made over what has come, where none came with it."""
        mark_changed(self.connection, self.ref, self.taken - self.retired)
        if self.lost:
            self.conflicts.append(
                f"{self.lost} roll-ups whose own buckets are no longer in the export were left out: the store has "
                "other buckets in the same days, weeks or months"
            )

    def _select(
        self,
        table: sa.Table,
        name: str,
        *conditions: sa.ColumnElement[bool],
        more: Sequence[str] = (),
        distinct: bool = False,
    ) -> list[tuple[Any, ...]]:
        query = sa.select(*(table.c[one] for one in (name, *more))).where(
            table.c.dataset == self.ref.pk, *conditions
        )
        query = query.distinct() if distinct else query
        return [tuple(row) for row in self.connection.execute(query)]

    def _insert(self, part: Part, rows: Sequence[Row]) -> None:
        if not rows:
            return
        self.added[part.name] += len(rows)
        for row in rows:
            row["dataset"] = self.ref.pk
        for table, name in ((schema.segment, "segment"), (schema.column_name, "column_name")):
            if part.is_named(name):
                number = self._numbers(table, {str(row[name]) for row in rows})
                for row in rows:
                    row[name] = number[str(row[name])]
        if part.name == "digests":
            self._insert_digests(rows)
        elif part.name == "deliveries":
            self._insert_rows(part, [self._delivery(row) for row in rows], also={"digest": "digest"})
        elif part.name == "rollups":
            revision = sa.select(schema.dataset.c.revision).where(schema.dataset.c.pk == self.ref.pk)
            present = self.connection.execute(revision).scalar_one()
            self._insert_rows(
                part, [row | {"revision": present} for row in rows], also={"revision": "revision"}
            )
        else:
            self._insert_rows(part, rows)
        if part.name == "profiles":
            keys = [column.name for column in schema.profile.primary_key]
            names = ["column_name" if key == "column" else key for key in keys]
            sketches = [
                (*(row[name] for name in names), row["components"])
                for row in rows
                if row["components"] is not None
            ]
            insert_tuples(self.connection, schema.profile_sketch, sketches, names=[*keys, "components"])

    def _insert_rows(self, part: Part, rows: Sequence[Row], *, also: Mapping[str, str] | None = None) -> None:
        columns = {name: column.name for name, column in part.columns.items()} | dict(also or {})
        if "dataset" in part.table.c:
            columns["dataset"] = "dataset"
        values = [tuple(row[name] for name in columns) for row in rows]
        insert_tuples(self.connection, part.table, values, names=list(columns.values()))

    def _insert_digests(self, rows: Sequence[Row]) -> None:
        self._insert_rows(PARTS["digests"], rows)
        table = schema.digest
        query = sa.select(table.c.dedup_key, table.c.pk).where(
            table.c.dataset == self.ref.pk, table.c.dedup_key.in_([row["dedup_key"] for row in rows])
        )
        self.taken_digests |= dict(self.connection.execute(query).all())

    def _delivery(self, row: Row) -> Row:
        digest = {"digest": self.taken_digests[str(row["dedup_key"])]}
        if row["state"] == "delivered":
            return row | digest
        return row | digest | {"state": "failed", "error": row["error"] or NOT_SENT}

    def _numbers(self, table: sa.Table, texts: set[str]) -> dict[str, int]:
        known = self.numbers.get(table, {})
        if not texts <= known.keys():
            self.numbers[table] = known = numbers(self.connection, self.ref, table, ensure=texts)
        return known

    def _document(self, row: Row) -> bool:
        key = (str(row["kind"]), cast("int", row["version"]))
        if key in self.versions:
            if self.versions[key] != row["hash"] and key[0] not in self.diverged:
                self.diverged.add(key[0])
                self.conflicts.append(
                    f"the {key[0]} document differs from version {key[1]} on; the store's stays"
                )
            return False
        return key[0] not in self.diverged

    def _batch(self, row: Row) -> bool:
        bucket = cast("int", row["bucket"])
        if bucket in self.forgotten and bucket not in self.held:
            self._differs(bucket, row, "was deleted here")
            return False
        if bucket in self.held:
            if self.held[bucket] != (row["version"], row["fingerprint"]):
                version = self.held[bucket][0]
                self._differs(
                    bucket, row, f"was made from other data (version {version} here, {row['version']} there)"
                )
            return False
        self.taken.add(bucket)
        return True

    def _differs(self, bucket: int, row: Row, how: str) -> None:
        if row["segment"] == OVERALL:
            self.conflicts.append(f"the bucket {from_micros(bucket):%Y-%m-%d %H:%M} {how}; the store's stays")

    def _forgotten(self, row: Row) -> bool:
        bucket = cast("int", row["bucket"])
        if bucket in self.taken and row["cause"] == RETIRED:
            self.retired.add(bucket)
            return True
        return bucket not in self.held and bucket not in self.forgotten and bucket not in self.taken

    def _rollup(self, row: Row) -> bool:
        """A block comes along when all that it holds does, and is not made again where it is no longer what it was."""
        grain, start = str(row["grain"]), cast("int", row["bucket"])
        if (grain, start) in self.blocks:
            return False
        level = _LEVELS[grain]
        if level.start(start) != start:
            raise UsageError(
                f"{self.files.place}: the {grain} roll-up at {from_micros(start)} starts inside one"
            )
        span = range(start, level.end(start))
        only = any(bucket in span for bucket in self.retired)
        mixed = any(bucket in span for bucket in self.held)
        if mixed or not (row["clean"] or only):
            self.lost += mixed and only
            return False
        self.taken_blocks.add((grain, start))
        return True

    def _profile(self, row: Row) -> bool:
        bucket, grain = cast("int", row["bucket"]), str(row["grain"])
        if grain == BASE_GRAIN:
            return bucket in self.taken and bucket not in self.retired
        return (grain, bucket) in self.taken_blocks

    def _of_taken_bucket(self, row: Row) -> bool:
        return row["bucket"] in self.taken

    def _reference(self, row: Row) -> bool:
        return row["profile_id"] not in self.references

    def _judgement(self, row: Row) -> bool:
        return (row["bucket"], row["analyzer_id"], row["analyzer_version"]) not in self.judged

    def _result(self, row: Row) -> bool:
        if not self._judgement(row):
            return False
        if row["state"] == "current":
            return True
        table = (
            schema.analyzer_result
        )  # a verdict that was withdrawn has no evaluation that tells whether it is known
        same = (table.c[name] == row[name] for name in ("analysis_id", "result_id", "created"))
        query = sa.select(sa.literal(1)).where(table.c.dataset == self.ref.pk, *same).limit(1)
        return self.connection.execute(query).first() is None

    def _digest(self, row: Row) -> bool:
        return row["dedup_key"] not in self.digests

    def _of_taken_digest(self, row: Row) -> bool:
        return row["dedup_key"] in self.taken_digests

    def _incident(self, row: Row) -> bool:
        name = str(row["incident_id"])
        if name not in self.incidents:
            self.taken_incidents.add(name)
            return True
        if self.incidents[name] != row["updated"]:
            self.conflicts.append(f"the incident {row['title']!s:.100} differs; the store's stays")
        return False

    def _of_taken_incident(self, row: Row) -> bool:
        return row["incident_id"] in self.taken_incidents

    def _feedback(self, row: Row) -> bool:
        return (row["analysis_id"], row["author"], row["created"]) not in self.said

    def _entity_schema(self, row: Row) -> bool:  # noqa: ARG002 - all choices look alike
        return not self.described


_CHOICES: Mapping[str, Callable[[_Merge, Row], bool]] = {
    "documents": _Merge._document,
    "entity_schema": _Merge._entity_schema,
    "batches": _Merge._batch,
    "forgotten_buckets": _Merge._forgotten,
    "rollups": _Merge._rollup,
    "profiles": _Merge._profile,
    "references": _Merge._reference,
    "evaluations": _Merge._judgement,
    "results": _Merge._result,
    "digests": _Merge._digest,
    "deliveries": _Merge._of_taken_digest,
    "incidents": _Merge._incident,
    "incident_events": _Merge._of_taken_incident,
    "bad_buckets": _Merge._of_taken_incident,
    "feedback": _Merge._feedback,
}
"""Which rows of a file are taken; of the others those of taken buckets."""
