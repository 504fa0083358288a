"""Small workspaces with real files, for tests of the whole pipeline."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

START = datetime(2026, 3, 1, tzinfo=UTC)

DATASET = """\
id: orders
description: Orders of a small shop
owner: team:shop
granularity: daily
start: 2026-03-01
source: {path: landing/orders}
timestamp: placed_at
segments: [country]
"""

DOCUMENT = {
    "orgId": "org-0",
    "datasetId": "orders",
    "granularity": "daily",
    "analyzers": [
        {
            "id": "orders-volume-analyzer",
            "schedule": {"type": "fixed", "cadence": "daily"},
            "backfillGracePeriodDuration": "P3650D",
            "targetMatrix": {"type": "dataset", "segments": []},
            "config": {"type": "fixed", "metric": "shape_row_count", "lower": 50},
        },
        {
            "id": "orders-nulls-analyzer",
            "schedule": {"type": "fixed", "cadence": "daily"},
            "backfillGracePeriodDuration": "P3650D",
            "targetMatrix": {"type": "column", "include": ["*"], "segments": [{"tags": []}]},
            "config": {
                "type": "stddev",
                "metric": "count_null_ratio",
                "factor": 4,
                "maxUpperThreshold": 0.05,
                "minLowerThreshold": 0,
                "limitType": "and",
                "baseline": {"type": "TrailingWindow", "size": 7},
            },
        },
    ],
    "monitors": [
        {
            "id": "orders-volume-monitor",
            "displayName": "Orders arrive",
            "analyzerIds": ["orders-volume-analyzer", "orders-nulls-analyzer"],
            "schedule": {"type": "immediate"},
            "mode": {"type": "DIGEST"},
            "severity": 2,
            "actions": [{"type": "global", "target": "slack"}],
        }
    ],
}


def make_workspace(
    home: Path, *, days: int = 10, few_rows_on: int | None = None, nulls_on: int | None = None
) -> Path:
    """A workspace with one daily dataset of `days` days; optionally one day has 10 rows, or 40 % null amounts."""
    folder = home / "datasets" / "orders"
    folder.mkdir(parents=True)
    (folder / "dataset.yaml").write_text(DATASET)
    (folder / "monitors.json").write_text(json.dumps(DOCUMENT))
    for day in range(days):
        write_day(
            home, day, rows=10 if day == few_rows_on else 100, null_share=0.4 if day == nulls_on else 0.0
        )
    return home


def write_day(home: Path, day: int, *, rows: int = 100, null_share: float = 0.0) -> Path:
    """The Parquet file of one day, `day` days after `START`."""
    random = np.random.default_rng(day)
    start = START + timedelta(days=day)
    amounts = random.gamma(3.0, 20.0, rows)
    table = pa.table(
        {
            "placed_at": pa.array(
                [start + timedelta(seconds=int(s)) for s in random.integers(0, 86_400, rows)]
            ),
            "country": pa.array(random.choice(["DE", "FR"], rows)),
            "amount": pa.array(amounts, mask=np.arange(rows) < round(null_share * rows)),
            "express": pa.array(random.random(rows) < 0.3),
        }
    )
    path = home / "landing" / "orders" / f"{start:%Y-%m-%d}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path
