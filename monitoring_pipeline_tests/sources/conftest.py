"""Small files of every format, and descriptions of datasets that read them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from monitoring_pipeline.config.dataset import DatasetSpec, parse_dataset
from monitoring_pipeline.sources.base import InputProblem, Scan
from monitoring_pipeline.sources.files import FilesSource

Describe = Callable[..., DatasetSpec]


@pytest.fixture
def describe() -> Describe:
    """A dataset description with everything that a test does not care about filled in."""

    def make(
        path: str = "landing/*", *, source: Mapping[str, object] | None = None, **given: object
    ) -> DatasetSpec:
        document = {
            "id": "visits",
            "granularity": "daily",
            "source": {"path": path, **(source or {})},
            "timestamp": "at",
            **given,
        }
        return parse_dataset(document, source="test")

    return make


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "landing").mkdir()
    return tmp_path


def day(number: int, hour: int = 0) -> datetime:
    """A day of January 2026, UTC."""
    return datetime(2026, 1, number, hour, tzinfo=UTC)


def write_parquet(path: Path, columns: Mapping[str, object], *, rows_per_group: int = 1_000_000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(dict(columns)), path, row_group_size=rows_per_group)


def touch(path: Path, moment: datetime) -> None:
    """Pretend that the file arrived at `moment`."""
    os.utime(path, (moment.timestamp(), moment.timestamp()))


def read_all(source: FilesSource, scan: Scan) -> tuple[dict[datetime, pa.Table], list[InputProblem]]:
    """All rows by bucket."""
    problems: list[InputProblem] = []
    pieces: dict[datetime, list[pa.Table]] = {}
    for piece in source.read(scan, list(scan.arrivals), problems=problems):
        pieces.setdefault(piece.bucket, []).append(pa.Table.from_batches([piece.batch]))
    tables = {bucket: pa.concat_tables(parts, promote_options="default") for bucket, parts in pieces.items()}
    return tables, problems


def rows_of(scan: Scan) -> dict[datetime, int]:
    return {bucket: arrival.rows for bucket, arrival in scan.arrivals.items()}
