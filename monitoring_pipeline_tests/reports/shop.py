"""A shop with three weeks of orders, of which the last has a planted drift, nulls, a lost column and a bad model."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from monitoring_pipeline import pipeline
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.workspace import Workspace

FIRST = datetime(2026, 2, 23, tzinfo=UTC)
"""A Monday."""
DAYS = 21
BAD_FROM = 14
MISSING_DAY = 19
NOW = FIRST + timedelta(days=DAYS, hours=12)
ROWS = 400
SCRIPT = "<script>alert('a')</script>\"&\x1b[31m"
LINK = "http://evil.example/pixel.png"

DATASET = """\
id: shop
description: Orders <b>of a small</b> shop
owner: team:shop
granularity: daily
start: 2026-02-23
source: {path: landing/shop}
timestamp: at
columns: {id: key, prediction: guess, target: came}
exclude: [key]
"""


def analyzer(name: str, config: dict[str, object], *columns: str) -> dict[str, object]:
    column = {"type": "column", "include": list(columns), "segments": [{"tags": []}]}
    return {
        "id": name,
        "schedule": {"type": "fixed", "cadence": "daily"},
        "targetMatrix": column if columns else {"type": "dataset", "segments": []},
        "config": config,
    }


def trailing(size: int) -> dict[str, object]:
    return {"type": "TrailingWindow", "size": size}


DOCUMENT = {
    "orgId": "org-0",
    "datasetId": "shop",
    "granularity": "daily",
    "analyzers": [
        analyzer(
            "drift-analyzer",
            {"type": "drift", "metric": "histogram", "threshold": 0.3, "baseline": trailing(10)},
            "amount",
            "mass",
        ),
        analyzer(
            "nulls-analyzer",
            {"type": "stddev", "metric": "count_null_ratio", "factor": 4, "baseline": trailing(7)},
            "*",
        ),
        analyzer(
            "mass-analyzer",
            {"type": "stddev", "metric": "quantile_95", "factor": 5, "baseline": trailing(7)},
            "mass",
        ),
        analyzer(
            "impossible-analyzer",
            {"type": "stddev", "metric": "mean", "minBatchSize": 60, "baseline": trailing(60)},
            "mass",
        ),
    ],
    "monitors": [
        {
            "id": "shop-monitor",
            "analyzerIds": ["drift-analyzer", "nulls-analyzer", "mass-analyzer"],
            "schedule": {"type": "immediate"},
            "mode": {"type": "DIGEST"},
            "severity": 1,
            "actions": [],
        }
    ],
}


def orders(day: int) -> pa.Table:
    """One day. Of the last week the amounts are doubled, 40 % of the coupons are null, and every other guess is wrong."""
    random = np.random.default_rng(day)
    bad = day >= BAD_FROM
    start = FIRST + timedelta(days=day)
    came = np.arange(ROWS) % 2 == 0
    wrong = np.arange(ROWS) < (ROWS // 2 if bad else ROWS // 10)
    coupons = random.choice(["spring", "none", LINK], ROWS)
    table = {
        "at": [start + timedelta(seconds=200 * at) for at in range(ROWS)],
        "key": [f"{day}-{at}" for at in range(ROWS)],
        "amount": random.gamma(3.0, 20.0, ROWS) * (2.0 if bad else 1.0),
        "mass": random.normal(10, 1, ROWS),
        "coupon": pa.array(coupons, mask=np.arange(ROWS) < (0.4 * ROWS if bad else 0)),
        SCRIPT: random.random(ROWS),
        LINK: random.choice([SCRIPT, "b"], ROWS),
        "guess": came ^ wrong,
        "came": came,
    }
    if bad and day < BAD_FROM + 2:
        del table[LINK]
    return pa.table(table)


def make_shop(home: Path, *, days: int = DAYS) -> Path:
    """The workspace, with every bucket profiled and analysed."""
    folder = home / "datasets" / "shop"
    folder.mkdir(parents=True)
    (folder / "dataset.yaml").write_text(DATASET)
    (folder / "monitors.json").write_text(json.dumps(DOCUMENT))
    landing = home / "landing" / "shop"
    landing.mkdir(parents=True)
    for day in range(days):
        if day == MISSING_DAY:
            continue
        path = landing / f"{day:02}.parquet"
        pq.write_table(orders(day), path)
        came = (FIRST + timedelta(days=day + 1, hours=2)).timestamp()
        os.utime(path, (came, came))
    with opened(home) as workspace:
        workspace.apply("shop")
        pipeline.profile_batch(workspace, "shop")
        pipeline.analyze_batch(workspace, "shop", backfill=True)
        pipeline.notify(workspace, "shop")
    return home


@contextmanager
def opened(home: Path, *, now: datetime = NOW) -> Iterator[Workspace]:
    with Workspace(Settings(home=home, now=now)) as workspace:
        yield workspace
