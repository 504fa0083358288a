"""What the stored profiles could reveal: which of them hold values that occurred in the data, column by column.

Looked at are the profiles themselves, of buckets and of roll-ups, those that other data has superseded, and references.
Of what private columns keep, the component `privacy.v1` of each profile tells (`profiling.privacy`): what a profile is
said to hold is what was kept back when it was made, whatever the dataset's description says by now.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitoring_pipeline.profiling.performance import OTHER, PERFORMANCE, Performance
from monitoring_pipeline.profiling.privacy import is_hashed
from monitoring_pipeline.profiling.profile import (
    DATASET_COLUMN,
    FREQUENT_ITEMS,
    PRIVACY,
    ColumnProfile,
    component_from_bytes,
)
from monitoring_pipeline.store import schema
from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef
from monitoring_pipeline.store.selection import chunks_of
from monitoring_pipeline.timegrid import from_micros

_ITEMS: Final = struct.Struct("<I4xQQ")  # how many, total, offset, from the ninth byte of an image on
_EMPTY = 5
_OPEN = b"open"


@dataclass
class Held:
    """What the profiles of one column hold; of `column` "" the labels of predictions.

    `values`: the most distinct values that a profile holds as text, `lowest` the lowest count of one; `hashed`: the
    same of keyed hashes. `exact` counts profiles with exact minimum, maximum and quantiles, `masked` those with masked
    ones. `first`, `last`: bucket of the first and last profile in which a value can be read.
    """

    column: str
    profiles: int = 0
    values: int = 0
    lowest: int | None = None
    hashed: int = 0
    exact: int = 0
    masked: int = 0
    revealing: int = 0
    first: datetime | None = None
    last: datetime | None = None

    @property
    def extremes(self) -> str:
        """Whether minimum and maximum are "exact", "masked" or "none", in the profile that tells the most."""
        return "exact" if self.exact else "masked" if self.masked else "none"

    def take(self, bucket: int, *, numbers: bool, privacy: bytes | None, items: bytes | None) -> None:
        """Count one profile; `numbers`: it has a minimum, and so a sketch of numbers."""
        self.profiles += 1
        kept = (privacy or _OPEN).split(b"\n")
        count, lowest = _items_in(items)
        hashed = all(line.startswith((b"hashed ", b"off ")) for line in kept)
        masked = all(line.endswith(b" masked") for line in kept)
        self.exact += numbers and not masked
        self.masked += numbers and masked
        if hashed:
            self.hashed, count = max(self.hashed, count), 0
        self.values = max(self.values, count)
        if count:
            self.lowest = lowest if self.lowest is None else min(self.lowest, lowest)
        self.reveal(bucket, revealing=bool(count or (numbers and not masked)))

    def reveal(self, bucket: int, *, revealing: bool) -> None:
        """Note that values of a bucket can be read."""
        if revealing:
            moment = from_micros(bucket)
            self.revealing += 1
            self.first = moment if self.first is None else min(self.first, moment)
            self.last = moment if self.last is None else max(self.last, moment)


def disclosures(store: Store, ref: DatasetRef) -> list[Held]:
    """What could be read of each column, by name; costs some 20 µs for each stored profile.

    Raises ProfileError for a damaged one.
    """
    found: dict[str, Held] = {}
    with store.read() as connection:
        names = schema.column_name
        columns = dict(
            connection.execute(sa.select(names.c.pk, names.c.name).where(names.c.dataset == ref.pk)).all()
        )
        for column, bucket, least, components in _profiles(connection, ref):
            held = found.setdefault(columns[column], Held(columns[column]))
            if columns[column] == DATASET_COLUMN:
                _take_labels(held, bucket, components)
            else:
                privacy, items = (
                    None if components is None else component_from_bytes(components, name)
                    for name in (PRIVACY, FREQUENT_ITEMS)
                )
                held.take(bucket, numbers=least is not None, privacy=privacy, items=items)
        table = schema.reference_profile
        query = sa.select(table.c.column, table.c.created, table.c.profile).where(table.c.dataset == ref.pk)
        for chunk in chunks_of(connection, query):
            for column, created, image in chunk:
                one = ColumnProfile.from_bytes(bytes(image))
                held = found.setdefault(columns[column], Held(columns[column]))
                if columns[column] != DATASET_COLUMN:
                    held.take(
                        created,
                        numbers=one.min is not None,
                        privacy=one.extra.get(PRIVACY),
                        items=one.frequent_items,
                    )
        begin = connection.execute(
            sa.select(sa.func.min(schema.batch.c.bucket)).where(schema.batch.c.dataset == ref.pk)
        ).scalar_one()
    for held in found.values():  # weeks and months begin before the data that they hold
        if begin is not None and held.first is not None:
            held.first = max(held.first, from_micros(begin))
    return [found[name] for name in sorted(found)]


def _profiles(connection: Connection, ref: DatasetRef) -> Iterator[Sequence[Any]]:
    """Column, bucket, minimum and components of every profile."""
    table, sketch, old = schema.profile, schema.profile_sketch, schema.superseded_profile
    same = [table.c[column.name] == sketch.c[column.name] for column in sketch.primary_key]
    present = (
        sa.select(table.c.column, table.c.bucket, table.c.min, sketch.c.components)
        .select_from(table.outerjoin(sketch, sa.and_(*same)))
        .where(table.c.dataset == ref.pk)
    )
    past = sa.select(old.c.column, old.c.bucket, old.c.min, old.c.components).where(old.c.dataset == ref.pk)
    for query in (present, past):
        for chunk in chunks_of(connection, query):
            yield from chunk


def _take_labels(held: Held, bucket: int, components: bytes | None) -> None:
    image = None if components is None else component_from_bytes(components, PERFORMANCE)
    if image is None:
        return
    labels = [label for label in Performance.from_bytes(image).labels if label != OTHER]
    hashed = sum(map(is_hashed, labels))
    held.profiles += 1
    held.hashed, held.values = max(held.hashed, hashed), max(held.values, len(labels) - hashed)
    held.reveal(bucket, revealing=len(labels) > hashed)


def _items_in(image: bytes | None) -> tuple[int, int]:
    """How many items an image holds, and the lowest count of one."""
    if image is None or image[5] & _EMPTY:
        return 0, 0
    count, _, offset = _ITEMS.unpack_from(image, 8)
    return count, int(np.frombuffer(image, "<u8", count=count, offset=32).min()) + offset if count else 0
