"""Writes the demo's landing folders, as two services and a nightly export would have.

```
<home>/landing/lead-scoring/date=2026-01-31/part-000.parquet           arrives the next day at 02:10
<home>/landing/lead-scoring-outcomes/date=2026-01-31/part-000.parquet  arrives seven days later at 02:30
<home>/landing/api-requests/date=2026-01-31/hour=05.parquet            arrives four minutes after the hour
<home>/landing/incidents.json                                          the truth
```

The modification time of each file is the moment it arrived, so that a replay can hide what had not arrived yet. The
same end, days and seed give the same rows. Everything is written beside its place and moved there when it is whole.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from monitoring_pipeline.demo.incidents import LEADS, REQUESTS, Truth, plan
from monitoring_pipeline.demo.leads import leads
from monitoring_pipeline.demo.requests import requests
from monitoring_pipeline.errors import UsageError

OUTCOMES = f"{LEADS}-outcomes"
TRUTH_FILE = "incidents.json"

Progress = Callable[[int, int], None]
"""Called with (files written, files in all)."""

_LATE_BY = timedelta(days=2)


def generate(
    home: Path, *, end: date, days: int = 120, seed: int = 7, progress: Progress | None = None
) -> Truth:
    """Write the days `[end - days, end)` below `home/landing` and return what was planted.

    The request log goes on until nine o'clock of `end`, so that it is not silent when the last day is looked at.
    Replaces an earlier demo. Raises UsageError when folders of those names are there that no demo wrote.
    """
    truth = plan(end, days=days, seed=seed)
    landing = home / "landing"
    _refuse_foreign(landing)
    staging = landing / f".demo-{os.getpid()}"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        files = _Files(staging, 3 * days + 24 * days, progress)
        _write_leads(files, truth)
        _write_requests(files, truth)
        (staging / TRUTH_FILE).write_text(json.dumps(truth.to_json(), indent=2) + "\n", encoding="utf-8")
        for name in (TRUTH_FILE, LEADS, OUTCOMES, REQUESTS):
            _move_into_place(staging / name, landing / name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return truth


class _Files:
    """Writes Parquet files with the time of their arrival."""

    def __init__(self, folder: Path, total: int, progress: Progress | None) -> None:
        self._folder = folder
        self._total = total
        self._progress = progress
        self._written = 0

    def write(self, name: str, table: pa.Table, arrived: datetime) -> None:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, compression="snappy")
        moment = int(arrived.timestamp()) * 1_000_000_000
        os.utime(path, ns=(moment, moment))
        self._written += 1
        if self._progress is not None and self._written % 100 == 0:
            self._progress(self._written, self._total)


def _write_leads(files: _Files, truth: Truth) -> None:
    exported, outcomes = leads(truth)
    missing, late, doubled = (
        truth.incident(kind).start for kind in ("missing_day", "late_day", "duplicate_load")
    )
    for index, (rows, converted) in enumerate(zip(exported, outcomes, strict=True)):
        day = _midnight(truth) + timedelta(days=index)
        if day == missing:
            continue
        folder = f"date={day:%Y-%m-%d}"
        arrived = day + timedelta(days=1, hours=2, minutes=10) + (_LATE_BY if day == late else timedelta())
        files.write(f"{LEADS}/{folder}/part-000.parquet", rows, arrived)
        if day == doubled:
            files.write(f"{LEADS}/{folder}/part-001.parquet", rows, arrived)
        known = day + timedelta(days=7, hours=2, minutes=30)
        if known.date() <= truth.end:
            files.write(f"{OUTCOMES}/{folder}/part-000.parquet", converted, known)


def _write_requests(files: _Files, truth: Truth) -> None:
    for index, rows in enumerate(requests(truth)):
        hour = _midnight(truth) + timedelta(hours=index)
        arrived = hour + timedelta(hours=1, minutes=4)
        files.write(f"{REQUESTS}/date={hour:%Y-%m-%d}/hour={hour:%H}.parquet", rows, arrived)


def _midnight(truth: Truth) -> datetime:
    return datetime(truth.start.year, truth.start.month, truth.start.day, tzinfo=UTC)


def _refuse_foreign(landing: Path) -> None:
    taken = [name for name in (LEADS, OUTCOMES, REQUESTS) if (landing / name).exists()]
    if taken and not (landing / TRUTH_FILE).exists():
        raise UsageError(
            f"{landing / taken[0]} exists and was not written by a demo; choose another home, or move it away"
        )


def _move_into_place(staged: Path, target: Path) -> None:
    if target.is_dir():
        old = staged.with_name(f"{staged.name}-old")
        target.rename(old)
    if staged.exists():
        staged.rename(target)
