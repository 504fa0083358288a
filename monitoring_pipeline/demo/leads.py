"""The lead-scoring dataset: what a lead looks like, what a model makes of it, and whether it converts a week later.

Normal days differ: weekends bring fewer leads with another mix of devices and channels, volumes grow slowly, shares
and averages wander from day to day. Damage is done to the exported files only; the model saw the true values.
"""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from monitoring_pipeline.demo.incidents import Truth
from monitoring_pipeline.timegrid import to_micros

_DAY = 86_400_000_000
_REGIONS = {"AMER": 0.43, "APAC": 0.20, "EMEA": 0.23, "LATAM": 0.14}
_CHANNELS = {"ads": 0.27, "partner": 0.12, "referral": 0.18, "web": 0.43}
_CHANNELS_WEEKEND = {"ads": 0.33, "partner": 0.08, "referral": 0.16, "web": 0.43}
_DEVICES = {"desktop": 0.50, "mobile": 0.41, "tablet": 0.09}
_DEVICES_WEEKEND = {"desktop": 0.40, "mobile": 0.49, "tablet": 0.11}
_CAMPAIGNS = {"brand": 0.30, "newsletter": 0.22, "none": 0.20, "product-tour": 0.16, "webinar": 0.12}
_INDUSTRIES = {
    "education": 0.08,
    "finance": 0.16,
    "healthcare": 0.12,
    "logistics": 0.09,
    "manufacturing": 0.14,
    "media": 0.07,
    "retail": 0.17,
    "software": 0.17,
}
_WEEK = (1.04, 1.10, 1.09, 1.05, 0.97, 0.80, 0.82)
"""Volume of each weekday, Monday first."""

_CONVERSION_WEEK = (1.03, 1.05, 1.03, 1.02, 0.98, 0.90, 0.92)

Days = list[pa.Table]
"""One table for each day of the truth."""


def leads(truth: Truth) -> tuple[Days, Days]:
    """Scored leads and their outcomes, day by day, with the damage of every incident that changes their content."""
    random = np.random.default_rng([truth.seed, 1])
    start = to_micros(datetime(truth.start.year, truth.start.month, truth.start.day, tzinfo=UTC))
    days = np.arange(truth.days)
    weekday = (days + truth.start.weekday()) % 7
    volumes = _volumes(random, days, weekday)
    day = np.repeat(days, volumes)
    weekend = weekday[day] >= 5
    created = start + day * _DAY + _time_of_day(random, volumes)

    columns: dict[str, pa.Array] = {"lead_id": _identities(created, random), "created_at": _times(created)}
    region = _choices(random, _REGIONS, _REGIONS, day, weekend)
    columns["region"] = _texts(region, _REGIONS)
    columns["channel"] = _texts(_choices(random, _CHANNELS, _CHANNELS_WEEKEND, day, weekend), _CHANNELS)
    columns["industry"] = _texts(_choices(random, _INDUSTRIES, _INDUSTRIES, day, weekend), _INDUSTRIES)
    columns["campaign"] = _texts(_choices(random, _CAMPAIGNS, _CAMPAIGNS, day, weekend), _CAMPAIGNS)
    columns["device"] = _texts(_choices(random, _DEVICES, _DEVICES_WEEKEND, day, weekend), _DEVICES)

    size = np.clip(np.exp(random.normal(4.0, 0.9, len(day))), 2, 5_000).astype(np.int64)
    revenue = 180_000 * size**0.35 * random.lognormal(0, 0.35, len(day)) * _wander(random, day, 0.01)
    minutes = random.gamma(5.0, 2.4, len(day)) * np.where(weekend, 1.08, 1.0) * _wander(random, day, 0.015)
    pages = random.poisson(3 + 0.35 * minutes)
    opened = random.beta(2.4, 4.0, len(day))
    tenure = np.minimum(random.exponential(45, len(day)), 720).astype(np.int64)
    newsletter, phone = random.random(len(day)) < 0.38, random.random(len(day)) < 0.64
    last_visit = created - (random.exponential(2.5, len(day)) * _DAY).astype(np.int64)
    merit = (
        0.30 * (np.log(size) - 4)
        + 0.09 * (minutes - 12)
        + 1.8 * (opened - 0.37)
        + 0.4 * newsletter
        + 0.3 * phone
    )
    score = 1 / (1 + np.exp(-(merit - 1.5 + random.normal(0, 0.35, len(day)))))

    columns |= {
        "company_size": pa.array(size),
        "annual_revenue": pa.array(np.round(revenue, 2), mask=random.random(len(day)) < 0.015),
        "session_minutes": pa.array(np.round(minutes, 2)),
        "pages_viewed": pa.array(pages),
        "email_open_rate": pa.array(np.round(opened, 4), mask=random.random(len(day)) < 0.04),
        "days_since_signup": pa.array(tenure),
        "newsletter": pa.array(newsletter),
        "has_phone": pa.array(phone),
        "last_visit_at": _times(last_visit),
        "score": pa.array(np.round(score, 5)),
        "prediction": _texts(np.digitize(score, [0.18, 0.45]), dict.fromkeys(("cold", "warm", "hot"), 0.0)),
    }
    chance = np.clip(0.05 + 0.52 * score, 0, 0.95) * np.array(_CONVERSION_WEEK)[weekday[day]]
    columns["converted"] = pa.array(random.random(len(day)) < chance * _wander(random, day, 0.02))
    table = _damaged(pa.table(columns), truth, created, random)
    ends = np.cumsum(volumes)
    daily = [table.slice(int(end - rows), int(rows)) for end, rows in zip(ends, volumes, strict=True)]
    exported = [_exported(rows.drop_columns("converted"), truth, index) for index, rows in enumerate(daily)]
    outcomes = [rows.select(["lead_id", "created_at", "region", "channel", "converted"]) for rows in daily]
    return exported, outcomes


def _damaged(
    table: pa.Table, truth: Truth, created: NDArray[np.int64], random: np.random.Generator
) -> pa.Table:
    """Incidents that change values."""

    def during(kind: str) -> NDArray[np.bool_]:
        incident = truth.incident(kind)
        return (created >= to_micros(incident.start)) & (created < to_micros(incident.end))

    def put(name: str, values: pa.Array) -> None:
        nonlocal table
        table = table.set_column(table.schema.get_field_index(name), name, values)

    def where(hit: NDArray[np.bool_], changed: pa.Array | pa.Scalar, name: str) -> None:
        put(name, pc.call_function("if_else", [pa.array(hit), changed, table[name].combine_chunks()]))

    chance = random.random(len(created))
    where(during("null_burst") & (chance < 0.40), pa.scalar(None, pa.float64()), "email_open_rate")
    cents = pc.call_function("multiply", [table["annual_revenue"].combine_chunks(), pa.scalar(100.0)])
    where(during("unit_change"), cents, "annual_revenue")
    mobile = _is(table["device"], "mobile")
    where(during("category_renamed") & mobile, pa.scalar("smartphone"), "device")
    where(during("new_category") & (chance < 0.34), pa.scalar("partner-fair"), "campaign")
    where(during("conversion_drop") & (chance < 0.66), pa.scalar(value=False), "converted")
    drift = truth.incident("gradual_drift")
    progress = np.clip((created - to_micros(drift.start)) / (20 * _DAY), 0, 1) * 0.7 * during("gradual_drift")
    growing = 1 + progress * _is(table["region"], "EMEA")
    put("session_minutes", pa.array(np.round(np.asarray(table["session_minutes"]) * growing, 2)))
    return table


def _exported(rows: pa.Table, truth: Truth, index: int) -> pa.Table:
    """Incidents that change the shape of a day's file."""
    moment = datetime(truth.start.year, truth.start.month, truth.start.day, tzinfo=UTC)
    micros = to_micros(moment) + index * _DAY

    def during(kind: str) -> bool:
        incident = truth.incident(kind)
        return to_micros(incident.start) <= micros < to_micros(incident.end)

    if during("type_changed"):
        position = rows.schema.get_field_index("company_size")
        rows = rows.set_column(position, "company_size", rows["company_size"].cast(pa.string()))
    return rows.drop_columns(["newsletter", "has_phone"]) if during("column_dropped") else rows


def _volumes(
    random: np.random.Generator, days: NDArray[np.int64], weekday: NDArray[np.int64]
) -> NDArray[np.int64]:
    trend = 1 + 0.08 * days / max(len(days), 1)
    return np.round(1_900 * trend * np.array(_WEEK)[weekday] * random.lognormal(0, 0.04, len(days))).astype(
        np.int64
    )


def _time_of_day(random: np.random.Generator, volumes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Microseconds after midnight, ascending within each day, most of them in working hours."""
    rows = int(volumes.sum())
    hours = (
        np.where(random.random(rows) < 0.75, random.normal(14, 3.2, rows), random.uniform(0, 24, rows)) % 24
    )
    day = np.repeat(np.arange(len(volumes)), volumes)
    moments = (np.minimum(hours, 23.999) * 3_600_000).astype(np.int64) * 1_000
    return moments[np.lexsort((moments, day))]


def _wander(random: np.random.Generator, day: NDArray[np.int64], spread: float) -> NDArray[np.float64]:
    """A factor near 1 for each row that differs from day to day."""
    return random.lognormal(0, spread, int(day[-1]) + 1)[day]


def _choices(
    random: np.random.Generator,
    shares: dict[str, float],
    weekend_shares: dict[str, float],
    day: NDArray[np.int64],
    weekend: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """Codes drawn with shares that wander a little from day to day."""
    usual = np.array(list(shares.values()))
    other = np.array(list(weekend_shares.values()))
    noise = random.lognormal(0, 0.05, (int(day[-1]) + 1, len(usual)))[day]
    weights = np.where(weekend[:, None], other, usual) * noise
    edges = np.cumsum(weights, axis=1)
    return (random.random((len(day), 1)) * edges[:, -1:] > edges).sum(axis=1)


def _texts(codes: NDArray[np.int64], names: dict[str, float]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(list(names))).cast(
        pa.string()
    )


def _times(micros: NDArray[np.int64]) -> pa.Array:
    return pa.array(micros, pa.timestamp("us", tz="UTC"))


def _is(column: pa.ChunkedArray, value: str) -> NDArray[np.bool_]:
    return np.asarray(pc.call_function("equal", [column, pa.scalar(value)]))


def _identities(created: NDArray[np.int64], random: np.random.Generator) -> pa.Array:
    numbers = np.arange(len(created)) + 1_000_000 + int(random.integers(0, 900_000))
    return pa.array([f"L{number}" for number in numbers.tolist()])
