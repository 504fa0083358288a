"""The files that whylogs 1.6.4 wrote, and what it says about each; absent from most checkouts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from monitoring_pipeline.profiling import DatasetProfile, profile

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "whylogs_profiles"

BUCKET = datetime(2026, 3, 1, tzinfo=UTC)
LEFT = "side=left%3D%26%25"
"""A segment of `mixed_profile` whose value needs escapes."""

needs_files = pytest.mark.skipif(
    not FOLDER.is_dir(), reason=f"needs the profiles that whylogs wrote, in {FOLDER}"
)


@cache
def truth() -> Mapping[str, Any]:
    """What whylogs reports, by file; nothing where the files are absent."""
    return json.loads((FOLDER / "truth.json").read_text()) if FOLDER.is_dir() else {}


def columns_of(file: str) -> Mapping[str, Mapping[str, Any]]:
    """What whylogs reports of each column of a file."""
    found = truth()[file]
    return found.get("f", found)["columns"]


@cache
def mixed_profile() -> DatasetProfile:
    """A profile of ours with a column of every kind, in three segments."""
    rng = np.random.default_rng(7)
    rows = 4_000
    floats = rng.normal(100, 15, rows)
    floats[:7] = np.nan
    table = pa.table(
        {
            "float": pa.array(floats),
            "gaps": pa.array([None if at % 10 == 0 else at / 7 for at in range(rows)]),
            "infinite": pa.array([np.inf, -np.inf, *range(rows - 2)], pa.float64()),
            "integer": pa.array(rng.integers(-50, 1_000_000, rows)),
            "boolean": pa.array(rng.random(rows) < 0.25),
            "text": pa.array(rng.choice(["red", "green", "Δelta-☃"], rows, p=[0.6, 0.3, 0.1])),
            "many": pa.array([f"item {at}" for at in range(rows)]),
            "time": pa.array(np.arange(rows) * 1_000_000, pa.timestamp("us")),
            "nothing": pa.nulls(rows),
            "side": pa.array(np.where(np.arange(rows) % 4 == 0, "left=&%", "right")),
        }
    )
    return profile(table, [["side"]])
