"""What arrives, round by round: new, late, repaired and repeated days, a new column, a new document, another dataset."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from monitoring_pipeline_tests.workspaces import DATASET, DOCUMENT, START, write_day

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True)
class Round:
    """What arrives before a moment, and what a person asks for then besides the pipeline of every day."""

    name: str
    now: datetime
    arrive: Callable[[Path], None]
    reanalyze: bool = False
    backfill: tuple[str, ...] = ()
    """Datasets whose past is filled without telling anybody."""


def rounds() -> list[Round]:
    """The rounds in their order. Each moment lies a day after the one before, so that a round has time for many attempts."""
    return [
        Round("ten days, one of them thin, one missing", _noon(10), _first_days),
        Round("a day full of nulls, and the missing one", _noon(11), _late_day),
        Round("the thin day is repaired", _noon(12), _repaired_day, reanalyze=True),
        Round("a day is loaded twice", _noon(13), _doubled_day, reanalyze=True),
        Round("a new column", _noon(15), _new_column),
        Round("a new document", _noon(16), _new_document),
        Round("the second load is withdrawn, an old day shrinks", _noon(17), _withdrawn, reanalyze=True),
        Round("another dataset with a past", _noon(18), _second_dataset, backfill=("returns",)),
    ]


def _noon(days: int) -> datetime:
    return START + days * DAY + HOUR


def _first_days(home: Path) -> None:
    folder = home / "datasets" / "orders"
    folder.mkdir(parents=True)
    (folder / "dataset.yaml").write_text(DATASET)
    (folder / "monitors.json").write_text(json.dumps(DOCUMENT))
    for day in range(10):
        if day != 4:
            _day(home, day, arrived=day + 1, rows=10 if day == 6 else 60)


def _late_day(home: Path) -> None:
    _day(home, 4, arrived=11, rows=60)
    _day(home, 10, arrived=11, rows=60, null_share=0.4)


def _repaired_day(home: Path) -> None:
    _day(home, 6, arrived=12, rows=60)
    _day(home, 11, arrived=12, rows=60)


def _doubled_day(home: Path) -> None:
    path = home / "landing" / "orders" / f"{START + 8 * DAY:%Y-%m-%d}.parquet"
    _touched(Path(shutil.copyfile(path, path.with_name("again.parquet"))), 13)
    _day(home, 12, arrived=13, rows=7)


def _new_column(home: Path) -> None:
    for day in (13, 14):
        path = _day(home, day, arrived=day + 1, rows=60)
        table = pq.read_table(path)
        coupons = pa.array([f"c{number % 5}" for number in range(len(table))])
        pq.write_table(table.append_column("coupon", coupons), path)
        _touched(path, day + 1)


def _new_document(home: Path) -> None:
    volume, nulls = DOCUMENT["analyzers"]
    drift = {
        "id": "orders-drift-analyzer",
        "schedule": {"type": "fixed", "cadence": "daily"},
        "backfillGracePeriodDuration": "P3650D",
        "targetMatrix": {"type": "column", "include": ["group:discrete"], "segments": [{"tags": []}]},
        "config": {
            "type": "drift",
            "metric": "frequent_items",
            "threshold": 0.1,
            "baseline": {"type": "TrailingWindow", "size": 5},
        },
    }
    stricter = {**volume, "config": {**volume["config"], "lower": 25}}
    [monitor] = DOCUMENT["monitors"]
    told = {**monitor, "analyzerIds": [*monitor["analyzerIds"], "orders-drift-analyzer"]}
    each = {
        **monitor,
        "id": "orders-each-monitor",
        "mode": {"type": "EVERY_ANOMALY"},
        "analyzerIds": [nulls["id"]],
    }
    document = {**DOCUMENT, "analyzers": [stricter, nulls, drift], "monitors": [told, each]}
    (home / "datasets" / "orders" / "monitors.json").write_text(json.dumps(document))
    _day(home, 15, arrived=16, rows=60, null_share=0.5)


def _withdrawn(home: Path) -> None:
    (home / "landing" / "orders" / "again.parquet").unlink()
    _day(home, 3, arrived=17, rows=20)
    _day(home, 16, arrived=17, rows=60)


def _second_dataset(home: Path) -> None:
    """Returns, compared with the orders of the same day; some days differ by far."""
    folder, landing = home / "datasets" / "returns", home / "landing" / "returns"
    folder.mkdir()
    landing.mkdir()
    for day in range(12):
        start, rows = START + day * DAY, 3 if day == 5 else 30
        amounts = np.random.default_rng(day).lognormal(6 if day == 7 else 3, 1, rows)
        moments = [start + timedelta(minutes=minute) for minute in range(rows)]
        path = landing / f"{start:%Y-%m-%d}.parquet"
        pq.write_table(pa.table({"placed_at": moments, "amount": amounts}), path)
        _touched(path, day + 1)
    (folder / "dataset.yaml").write_text(
        "id: returns\ngranularity: daily\nsource: {path: landing/returns}\ntimestamp: placed_at\n"
    )
    analyzer = {
        "id": "returns-against-orders",
        "schedule": {"type": "fixed", "cadence": "daily"},
        "backfillGracePeriodDuration": "P3650D",
        "targetMatrix": {"type": "column", "include": ["amount"], "segments": []},
        "config": {
            "type": "diff",
            "mode": "pct",
            "metric": "mean",
            "threshold": 200,
            "baseline": {"type": "CurrentBatch", "datasetId": "orders"},
        },
    }
    [monitor] = DOCUMENT["monitors"]
    told = {**monitor, "id": "returns-monitor", "analyzerIds": [analyzer["id"]]}
    document = {**DOCUMENT, "datasetId": "returns", "analyzers": [analyzer], "monitors": [told]}
    (folder / "monitors.json").write_text(json.dumps(document))


def _day(home: Path, day: int, *, arrived: int, rows: int, null_share: float = 0.0) -> Path:
    return _touched(write_day(home, day, rows=rows, null_share=null_share), arrived)


def _touched(path: Path, days: int) -> Path:
    """The file, as if it had arrived so many days after the start."""
    moment = (START + days * DAY).timestamp()
    os.utime(path, (moment, moment))
    return path
