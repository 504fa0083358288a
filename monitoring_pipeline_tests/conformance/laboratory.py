"""A real store for the cases that are about whole runs: each gets a dataset of its own in it."""

from __future__ import annotations

import atexit
import itertools
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from monitoring_pipeline.analysis.engine import Analysis, analyze
from monitoring_pipeline.analysis.gates import BatchFacts, Due, decide
from monitoring_pipeline.config import MonitorDocument
from monitoring_pipeline.profiling import ColumnProfile, DatasetProfile
from monitoring_pipeline.store.database import Store, open_store
from monitoring_pipeline.store.datasets import DatasetRef, register_dataset
from monitoring_pipeline.store.profiles import batches, write_batch, write_reference
from monitoring_pipeline.timegrid import TimeRange

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Laboratory:
    """One dataset of the store."""

    store: Store
    ref: DatasetRef

    def batch(
        self,
        bucket: datetime,
        columns: Mapping[str, ColumnProfile],
        *,
        segment: str = "",
        rows: int | None = None,
        uploaded: datetime | None = None,
    ) -> None:
        """Write a bucket of one segment."""
        of_columns = {name: one for name, one in columns.items() if name}
        counted = max((one.n for one in columns.values()), default=0)
        write_batch(
            self.store,
            self.ref,
            bucket,
            DatasetProfile({segment: counted if rows is None else rows}, {segment: of_columns}),
            fingerprint="",
            first_upload=uploaded or bucket,
            last_upload=uploaded or bucket,
            files=1,
            quality={},
            now=uploaded or bucket,
        )

    def reference(self, name: str, columns: Mapping[str, ColumnProfile], *, now: datetime) -> None:
        """Keep a reference profile."""
        rows = max((one.n for one in columns.values()), default=0)
        write_reference(self.store, self.ref, name, DatasetProfile({"": rows}, {"": dict(columns)}), now)

    def due(
        self,
        document: MonitorDocument,
        *,
        now: datetime,
        first: datetime | None = None,
        window: TimeRange | None = None,
        segment: str = "",
        backfill: bool = False,
    ) -> tuple[Due, ...]:
        """What the gates let through now. `first` is the first bucket ever seen, when it is no longer stored."""
        stored = batches(self.store, self.ref, segment=segment)
        rows = {one.bucket: max(one.rows, 1) for one in stored}
        uploads = {one.bucket: one.last_upload for one in stored}
        known = BatchFacts(rows, uploads, first or min(rows, default=None))
        return decide(document, facts=known, calculated=(), now=now, window=window, backfill=backfill).due

    def analyze(self, document: MonitorDocument, due: Iterable[Due], *, now: datetime) -> Analysis:
        """Judge what is due."""
        return analyze(self.store, self.ref, document, list(due), now=now, run_id="run")


def laboratory() -> Laboratory:
    """A new dataset without any data."""
    store = _store()
    return Laboratory(store, register_dataset(store, "org-0", f"vector-{next(_numbers)}"))


@cache
def _store() -> Store:
    folder = tempfile.TemporaryDirectory(prefix="conformance-")
    store = open_store(f"sqlite:///{folder.name}/store.db")
    atexit.register(folder.cleanup)
    atexit.register(store.close)
    return store
