"""The api-requests dataset: the log of the scoring service, hour by hour.

Load follows the clock and the week, latency follows the load, and the slowest endpoint makes the tail.
"""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from monitoring_pipeline.demo.incidents import Truth
from monitoring_pipeline.timegrid import to_micros

_HOUR = 3_600_000_000
_ENDPOINTS = ("/batch", "/features", "/health", "/leads", "/score")
_SHARES = (0.06, 0.14, 0.08, 0.22, 0.50)
_MEDIAN_MS = (210.0, 55.0, 6.0, 45.0, 85.0)
_STATUSES = (200, 201, 400, 404, 500, 503)
_STATUS_SHARES = (0.900, 0.070, 0.014, 0.012, 0.003, 0.001)
_VERSIONS = ("2.3.1", "2.4.0", "3.0.2")
_WEEK = (1.03, 1.06, 1.06, 1.04, 1.0, 0.80, 0.78)


HOURS_AFTER_END = 9
"""The log goes on into the morning after the last whole day, when the demo looks at it."""


def requests(truth: Truth) -> list[pa.Table]:
    """One table for each hour of the truth and of the morning after, with the damage of its incidents."""
    random = np.random.default_rng([truth.seed, 2])
    hours = np.arange(truth.days * 24 + HOURS_AFTER_END)
    start = to_micros(datetime(truth.start.year, truth.start.month, truth.start.day, tzinfo=UTC))
    load = _load(hours, truth.start.weekday()) * random.lognormal(0, 0.05, len(hours))
    volumes = np.round(370 * load).astype(np.int64)
    hour = np.repeat(hours, volumes)
    offsets = (random.random(len(hour)) * 3_600_000).astype(np.int64) * 1_000
    moments = start + hour * _HOUR + offsets[np.lexsort((offsets, hour))]

    endpoint = np.searchsorted(np.cumsum(_SHARES), random.random(len(hour)) * 0.999_999)
    status = np.searchsorted(np.cumsum(_STATUS_SHARES), random.random(len(hour)) * 0.999_999)
    latency = np.array(_MEDIAN_MS)[endpoint] * random.lognormal(0, 0.38, len(hour))
    latency *= (0.88 + 0.12 * load[hour]) * random.lognormal(0, 0.03, len(hours))[hour]
    size = np.round(random.lognormal(7.2, 0.6, len(hour))).astype(np.int64)
    version = np.searchsorted((0.2, 0.65, 1.0), random.random(len(hour)))

    slow = _during(truth, "latency_spike", moments) & (endpoint == _ENDPOINTS.index("/score"))
    latency[slow] *= 4
    failing = _during(truth, "error_burst", moments) & (random.random(len(hour)) < 0.125)
    status[failing] = _STATUSES.index(503)
    codes = np.array(_STATUSES)[status]
    table = pa.table(
        {
            "requested_at": pa.array(moments, pa.timestamp("us", tz="UTC")),
            "endpoint": _texts(endpoint, _ENDPOINTS),
            "status": pa.array(codes),
            "is_error": pa.array(codes >= 500),
            "latency_ms": pa.array(np.round(latency, 2)),
            "response_bytes": pa.array(size),
            "client_version": _texts(version, _VERSIONS),
        }
    )
    ends = np.cumsum(volumes)
    return [table.slice(int(end - rows), int(rows)) for end, rows in zip(ends, volumes, strict=True)]


def _load(hours: NDArray[np.int64], first_weekday: int) -> NDArray[np.float64]:
    clock = hours % 24
    weekday = (hours // 24 + first_weekday) % 7
    daily = 1 + 0.38 * np.sin((clock - 8) / 24 * 2 * np.pi)
    return daily * np.array(_WEEK)[weekday] * (1 + 0.10 * hours / max(len(hours), 1))


def _during(truth: Truth, kind: str, moments: NDArray[np.int64]) -> NDArray[np.bool_]:
    incident = truth.incident(kind)
    return (moments >= to_micros(incident.start)) & (moments < to_micros(incident.end))


def _texts(codes: NDArray[np.int64], names: tuple[str, ...]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(names)).cast(pa.string())
