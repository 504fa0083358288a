"""Documents of a dataset (its description, its monitors) as numbered versions with author and difference.

A version is known by the hash of its content, so that applying the same content again makes no new version, and
neither key order nor layout is a change. Content comes from files or through the API; when both have changed,
neither wins silently: applying raises ConflictError, which shows both. Versions are only ever added. Who reads a
file in order to change it does so within `document_writer`, which keeps others out meanwhile.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitoring_pipeline.errors import ConflictError, UsageError
from monitoring_pipeline.store import schema
from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef, lock_dataset
from monitoring_pipeline.timegrid import from_micros, to_micros

Origin = Literal["file", "api"]


@dataclass(frozen=True)
class DocumentVersion:
    """One version of a document.

    `hash` is the SHA-256 of the canonical JSON; `diff` the unified difference to the version before (of the first,
    to nothing); `changed` says whether the call that returned this object made it; `created` is UTC.
    """

    kind: str
    version: int
    hash: str
    changed: bool
    diff: str
    author: str
    origin: Origin
    created: datetime
    content: Mapping[str, object]


class DocumentWriter:
    """A dataset's documents while nobody else can change them. Made by `document_writer`."""

    def __init__(self, connection: Connection, ref: DatasetRef) -> None:
        self._connection = connection
        self._ref = ref

    def latest(self, kind: str) -> DocumentVersion | None:
        """The version that holds, or None when the document was never applied."""
        return _latest(self._connection, self._ref, kind)

    def version(self, kind: str, number: int) -> DocumentVersion:
        """One version. Raises UsageError when there is none of that number."""
        return _numbered(self._connection, self._ref, kind, number)

    def check(self, kind: str, content: Mapping[str, object]) -> None:
        """Raise ConflictError when `content`, a file's, lacks what came through the API since it was applied."""
        last = self.latest(kind)
        if last is not None and last.origin == "api" and last.hash != content_hash(content):
            last_file = _latest(self._connection, self._ref, kind, origin="file")
            raise ConflictError(_conflict(kind, self._ref, last, last_file, content))

    def apply(
        self,
        kind: str,
        content: Mapping[str, object],
        *,
        author: str,
        origin: Origin,
        now: datetime,
        force: bool = False,
    ) -> DocumentVersion:
        """As `apply_document`, as a part of this transaction."""
        digest = content_hash(content)
        last = self.latest(kind)
        if last is not None and last.hash == digest:
            return last
        if last is not None and last.origin == "api" and origin == "file" and not force:
            last_file = _latest(self._connection, self._ref, kind, origin="file")
            if last_file is not None and last_file.hash == digest:
                return last
            raise ConflictError(_conflict(kind, self._ref, last, last_file, content))
        made = DocumentVersion(
            kind=kind,
            version=last.version + 1 if last else 1,
            hash=digest,
            changed=True,
            diff=difference(last.content if last else None, content, before="before", after="after"),
            author=author,
            origin=origin,
            created=now,
            content=content,
        )
        self._connection.execute(
            sa.insert(schema.document_version).values(
                dataset=self._ref.pk,
                kind=kind,
                version=made.version,
                hash=made.hash,
                author=author,
                origin=origin,
                created=to_micros(now),
                diff=made.diff,
                content=content,
            )
        )
        return made


@contextmanager
def document_writer(store: Store, ref: DatasetRef) -> Iterator[DocumentWriter]:
    """One transaction in which nobody else changes the dataset's documents; an error in it undoes what it applied.

    Nothing else may be written to the store meanwhile: SQLite has one writer.
    """
    with store.begin() as connection:
        lock_dataset(connection, ref)
        yield DocumentWriter(connection, ref)


def apply_document(
    store: Store,
    ref: DatasetRef,
    kind: str,
    content: Mapping[str, object],
    *,
    author: str,
    origin: Origin,
    now: datetime,
    force: bool = False,
) -> DocumentVersion:
    """Make `content` the latest version of a dataset's document, and return the version that holds now.

    A file that has not changed since it was last applied does not undo what came through the API since: that
    version stays. A file that has changed while the API changed the document too raises ConflictError, unless
    `force` says that the file wins.
    """
    with document_writer(store, ref) as writer:
        return writer.apply(kind, content, author=author, origin=origin, now=now, force=force)


def latest(store: Store, ref: DatasetRef, kind: str) -> DocumentVersion | None:
    """The version that holds, or None when the document was never applied."""
    with store.read() as connection:
        return _latest(connection, ref, kind)


def version(store: Store, ref: DatasetRef, kind: str, number: int) -> DocumentVersion:
    """One version. Raises UsageError when there is none of that number."""
    with store.read() as connection:
        return _numbered(connection, ref, kind, number)


def history(store: Store, ref: DatasetRef, kind: str, *, limit: int | None = None) -> list[DocumentVersion]:
    """All versions, or the newest `limit`; newest first."""
    with store.read() as connection:
        return _versions(connection, _of(ref, kind).limit(limit))


def content_hash(content: Mapping[str, object]) -> str:
    """SHA-256, in hex, of the content as JSON with sorted keys and no spaces."""
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def difference(
    old: Mapping[str, object] | None, new: Mapping[str, object], *, before: str, after: str
) -> str:
    """Unified difference of two documents as JSON with sorted keys, one item a line; "" when they are equal."""
    lines = [[] if content is None else _pretty(content).splitlines() for content in (old, new)]
    return "\n".join(difflib.unified_diff(*lines, fromfile=before, tofile=after, lineterm=""))


def _pretty(content: Mapping[str, object]) -> str:
    return json.dumps(content, sort_keys=True, ensure_ascii=False, indent=2)


def _conflict(
    kind: str,
    ref: DatasetRef,
    stored: DocumentVersion,
    last_file: DocumentVersion | None,
    content: Mapping[str, object],
) -> str:
    since = f"version {last_file.version}" if last_file else "nothing"
    who = f"through the API by {stored.author} at {stored.created.isoformat()} (version {stored.version})"
    return (
        f"the {kind} document of {ref.dataset_id} was changed in two places since {since}: {who}, and in its file.\n"
        f"{_way_out(kind, ref, stored)} From the stored version to the file:\n"
        + difference(stored.content, content, before=f"store, version {stored.version}", after="file")
    )


def _way_out(kind: str, ref: DatasetRef, stored: DocumentVersion) -> str:
    force = f"or let the file win: monitor apply {ref.dataset_id} --force."
    if kind != "monitors":
        return f"Write what the stored version says into the file, {force}"
    back = f"monitor document rollback {ref.dataset_id} --to {stored.version}"
    return f"Put the stored version into the file: {back}; {force}"


def _numbered(connection: Connection, ref: DatasetRef, kind: str, number: int) -> DocumentVersion:
    found = _versions(connection, _of(ref, kind).where(schema.document_version.c.version == number))
    if not found:
        last = _latest(connection, ref, kind)
        known = f"there are 1 to {last.version}" if last else "none was ever applied: `monitor apply`"
        raise UsageError(f"the {kind} document of {ref.dataset_id} has no version {number}; {known}")
    return found[0]


def _latest(
    connection: Connection, ref: DatasetRef, kind: str, *, origin: Origin | None = None
) -> DocumentVersion | None:
    query = _of(ref, kind)
    if origin is not None:
        query = query.where(schema.document_version.c.origin == origin)
    return next(iter(_versions(connection, query.limit(1))), None)


def _of(ref: DatasetRef, kind: str) -> sa.Select[*tuple[Any, ...]]:
    table = schema.document_version
    return (
        sa.select(table)
        .where(table.c.dataset == ref.pk, table.c.kind == kind)
        .order_by(table.c.version.desc())
    )


def _versions(connection: Connection, query: sa.Select[*tuple[Any, ...]]) -> list[DocumentVersion]:
    return [
        DocumentVersion(
            kind=row["kind"],
            version=row["version"],
            hash=row["hash"],
            changed=False,
            diff=row["diff"],
            author=row["author"],
            origin=row["origin"],
            created=from_micros(row["created"]),
            content=row["content"],
        )
        for row in connection.execute(query).mappings()
    ]
