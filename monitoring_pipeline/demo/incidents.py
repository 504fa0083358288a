"""The incidents planted in the demo data, and how found incidents are compared with them.

The plan is counted back from the end of the data: incidents in the way the data arrives lie in its last fourteen
days, which the demo replays hour by hour; outcome incidents end early enough for the outcomes to have come in; the
others are spread over the time before, on different columns, so that the traces of one in a trailing baseline
cannot be taken for another.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import cast

from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.timegrid import Granularity, parse_moment, utc

LEADS = "lead-scoring"
REQUESTS = "api-requests"
GRANULARITY: Mapping[str, Granularity] = {LEADS: Granularity.DAILY, REQUESTS: Granularity.HOURLY}

MINIMUM_DAYS = 100
"""The first incident begins 72 days before the end and needs four weeks of calm before it."""

DATASET_LEVEL = ""
"""Stands among the columns of an incident that concerns the dataset as a whole."""

_MIDWEEK = (1, 2, 3)


@dataclass(frozen=True)
class PlantedIncident:
    """One thing that was done to the data: `[start, end)` in UTC, the columns (`""`: the dataset) and segments hit."""

    id: str
    kind: str
    dataset: str
    columns: tuple[str, ...]
    segments: tuple[str, ...]
    start: datetime
    end: datetime
    description: str


@dataclass(frozen=True)
class FoundIncident:
    """One thing that the pipeline reported. `columns` holds `""` for findings about the dataset as a whole."""

    dataset: str
    columns: frozenset[str]
    segments: tuple[str, ...]
    start: datetime
    end: datetime
    title: str


@dataclass(frozen=True)
class Score:
    """Planted incidents with the reports that are theirs, those that nobody reported, reports that are nobody's."""

    found: tuple[tuple[PlantedIncident, FoundIncident], ...]
    missed: tuple[PlantedIncident, ...]
    false: tuple[FoundIncident, ...]

    @property
    def planted_found(self) -> int:
        """How many planted incidents were reported at least once."""
        return len({planted.id for planted, _ in self.found})

    @property
    def perfect(self) -> bool:
        """Everything that was planted was found, and nothing else was."""
        return not self.missed and not self.false


@dataclass(frozen=True)
class Truth:
    """What was generated: the days `[end - days, end)`, the seed, and the incidents by start."""

    end: date
    days: int
    seed: int
    incidents: tuple[PlantedIncident, ...]

    @property
    def start(self) -> date:
        """The first day."""
        return self.end - timedelta(days=self.days)

    def incident(self, kind: str) -> PlantedIncident:
        """The incident of that kind. Raises KeyError."""
        return {incident.kind: incident for incident in self.incidents}[kind]

    def to_json(self) -> dict[str, object]:
        """A JSON object with ISO times."""
        return {
            "end": self.end.isoformat(),
            "days": self.days,
            "seed": self.seed,
            "incidents": [
                {**asdict(incident), "start": incident.start.isoformat(), "end": incident.end.isoformat()}
                for incident in self.incidents
            ],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Truth:
        """Inverse of `to_json`. Raises KeyError when a field is missing."""
        incidents = (
            PlantedIncident(
                **{key: str(item[key]) for key in ("id", "kind", "dataset", "description")},
                columns=tuple(cast(list[str], item["columns"])),
                segments=tuple(cast(list[str], item["segments"])),
                start=parse_moment(str(item["start"])),
                end=parse_moment(str(item["end"])),
            )
            for item in cast(list[Mapping[str, object]], data["incidents"])
        )
        end = date.fromisoformat(str(data["end"]))
        return cls(end, cast(int, data["days"]), cast(int, data["seed"]), tuple(incidents))


def read_truth(path: Path) -> Truth:
    """Read `incidents.json`. Raises UsageError when it is not there or not the truth of a demo."""
    try:
        return Truth.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is not the truth of a demo; `monitor demo` writes it") from error


def plan(end: date, *, days: int, seed: int) -> Truth:
    """What will be planted in the days `[end - days, end)`. Raises UsageError when there are fewer than 100 days."""
    if days < MINIMUM_DAYS:
        raise UsageError(f"the demo needs at least {MINIMUM_DAYS} days to plant its incidents, not {days}")
    midnight = datetime(end.year, end.month, end.day, tzinfo=UTC)
    doubled = _doubled_day(midnight)
    incidents = [
        _days(midnight, 72, 2, "null_burst", ["email_open_rate"], "40 % of email_open_rate is missing"),
        _days(
            midnight,
            64,
            2,
            "unit_change",
            ["annual_revenue"],
            "annual_revenue is in cents instead of units: ×100",
        ),
        _days(midnight, 56, 2, "category_renamed", ["device"], "device `mobile` is written `smartphone`"),
        _days(
            midnight,
            47,
            2,
            "new_category",
            ["campaign"],
            "a campaign never seen before brings a third of the leads",
        ),
        _days(midnight, 39, 3, "conversion_drop", ["converted"], "conversions fall to a third"),
        _days(
            midnight,
            32,
            24,
            "gradual_drift",
            ["session_minutes"],
            "session_minutes grows for twenty days, in region EMEA only, up to 1.7 times",
            segments=["region=EMEA"],
        ),
        _days(midnight, 23, 2, "type_changed", ["company_size"], "company_size arrives as text"),
        _days(
            midnight,
            18,
            2,
            "column_dropped",
            ["newsletter", "has_phone", DATASET_LEVEL],
            "the columns newsletter and has_phone are gone",
        ),
        _days(midnight, 13, 1, "missing_day", [DATASET_LEVEL], "the day never arrives"),
        _days(midnight, 10, 1, "late_day", [DATASET_LEVEL], "the day arrives two days late"),
        _days(midnight, doubled, 1, "duplicate_load", [DATASET_LEVEL], "every row of the day arrives twice"),
        _hours(midnight, 43, 14, 4, "latency_spike", ["latency_ms"], "scoring takes four times as long"),
        _hours(
            midnight, 9, 9, 3, "error_burst", ["status", "is_error"], "one request in eight fails with 503"
        ),
    ]
    return Truth(end, days, seed, tuple(sorted(incidents, key=lambda incident: incident.start)))


def compare(planted: Sequence[PlantedIncident], found: Sequence[FoundIncident]) -> Score:
    """Match reports with what was planted.

    A report belongs to an incident of the same dataset when they share a column (`""`, the dataset level, counts as
    one), and the report starts from one bucket before the incident to two buckets after its end: windows that reach
    back may see it a little later. Several reports may belong to one incident, and one report to several incidents.
    """
    pairs = [(truth, report) for truth in planted for report in found if _belongs(report, truth)]
    matched = {truth.id for truth, _ in pairs}
    explained = [report for _, report in pairs]
    return Score(
        found=tuple(pairs),
        missed=tuple(truth for truth in planted if truth.id not in matched),
        false=tuple(report for report in found if report not in explained),
    )


def _belongs(report: FoundIncident, truth: PlantedIncident) -> bool:
    if report.dataset != truth.dataset:
        return False
    columns = report.columns or frozenset({DATASET_LEVEL})
    granularity = GRANULARITY.get(truth.dataset, Granularity.DAILY)
    earliest = granularity.shift(truth.start, -1)
    latest = granularity.shift(truth.end, 2)
    return earliest <= utc(report.start) < latest and not columns.isdisjoint(truth.columns)


def _doubled_day(midnight: datetime) -> int:
    """Days before the end of the duplicate load: midweek, where twice the rows is most, and clear of the late day."""
    return next(back for back in range(2, 8) if (midnight - timedelta(days=back)).weekday() in _MIDWEEK)


def _days(
    midnight: datetime,
    back: int,
    length: int,
    kind: str,
    columns: Sequence[str],
    description: str,
    *,
    segments: Sequence[str] = (),
) -> PlantedIncident:
    start = midnight - timedelta(days=back)
    end = start + timedelta(days=length)
    return _planted(LEADS, kind, columns, segments, start, end, description)


def _hours(
    midnight: datetime, back: int, hour: int, length: int, kind: str, columns: Sequence[str], description: str
) -> PlantedIncident:
    start = midnight - timedelta(days=back) + timedelta(hours=hour)
    return _planted(REQUESTS, kind, columns, (), start, start + timedelta(hours=length), description)


def _planted(
    dataset: str,
    kind: str,
    columns: Sequence[str],
    segments: Sequence[str],
    start: datetime,
    end: datetime,
    description: str,
) -> PlantedIncident:
    identity = f"{kind.replace('_', '-')}-{start:%Y-%m-%d}"
    return PlantedIncident(identity, kind, dataset, tuple(columns), tuple(segments), start, end, description)
