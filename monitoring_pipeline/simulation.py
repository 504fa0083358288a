"""Walk a virtual clock over arrivals and say when each bucket would have been analysed, and who would have been told.

Nothing is read, stored or sent: the same gates that decide in production are asked, event by event, at the moments at
which their answer can change. A year of daily data takes well under a second, so that a document's readiness, cool-down,
grace and schedules can be tried before anybody depends on them.
"""

from __future__ import annotations

import csv
import heapq
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

from monitoring_pipeline.analysis.gates import (
    BatchFacts,
    Due,
    Gate,
    Situation,
    Waiting,
    grace_of,
    judge,
    ready_at,
)
from monitoring_pipeline.analysis.operational import is_seconds_since_last_upload
from monitoring_pipeline.analysis.planner import children_of
from monitoring_pipeline.config.analyzers import Analyzer
from monitoring_pipeline.config.document import MonitorDocument
from monitoring_pipeline.config.monitors import DigestMode, Monitor
from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.timegrid import TimeRange, parse_moment

TICK = timedelta(minutes=1)
"""How often the readiness sensor looks, unless told."""

MOST_ARRIVALS = 5_000_000
_MOST_BYTES = 1 << 30


@dataclass(frozen=True, order=True)
class SimulatedArrival:
    """Rows of a bucket that arrive at a moment. A second arrival of the same bucket adds to it."""

    at: datetime
    bucket: datetime
    rows: int = 1


@dataclass(frozen=True, order=True)
class Analysed:
    """One analyzer on one bucket: when it would have run, and the monitors that would have spoken had it alarmed."""

    at: datetime
    bucket: datetime
    analyzer_id: str
    monitors: tuple[str, ...] = ()
    waited: tuple[str, ...] = ()
    """What it waited for before, in words, in order."""


@dataclass(frozen=True, order=True)
class Missed:
    """One analyzer that never ran on a bucket although its schedule names it, and why."""

    bucket: datetime
    analyzer_id: str
    reason: str


@dataclass(frozen=True, order=True)
class Late:
    """Rows that arrived after their bucket had been analysed: its verdicts, and those that rest on it, are stale."""

    at: datetime
    bucket: datetime
    rows: int
    analyzers: tuple[str, ...]


@dataclass(frozen=True)
class Simulation:
    """What would have happened between two moments, in the order in which it would have happened."""

    analysed: tuple[Analysed, ...]
    missed: tuple[Missed, ...]
    late: tuple[Late, ...]
    waiting: tuple[Waiting, ...]
    """What still waits at the end, as `monitor status` would say it."""

    def to_json(self) -> dict[str, list[dict[str, object]]]:
        """As JSON values; times are ISO 8601."""
        return {
            "analysed": [
                {
                    "bucket": one.bucket.isoformat(),
                    "at": one.at.isoformat(),
                    "analyzer": one.analyzer_id,
                    "monitors": list(one.monitors),
                    "waited": list(one.waited),
                }
                for one in self.analysed
            ],
            "missed": [
                {"bucket": one.bucket.isoformat(), "analyzer": one.analyzer_id, "reason": one.reason}
                for one in self.missed
            ],
            "late": [
                {
                    "bucket": one.bucket.isoformat(),
                    "at": one.at.isoformat(),
                    "rows": one.rows,
                    "analyzers": list(one.analyzers),
                }
                for one in self.late
            ],
            "waiting": [
                {
                    "bucket": one.bucket.isoformat() if one.bucket else None,
                    "analyzer": one.analyzer_id,
                    "reason": one.reason,
                    "until": one.until.isoformat() if one.until else None,
                }
                for one in self.waiting
            ],
        }


def simulate(
    document: MonitorDocument,
    arrivals: Iterable[SimulatedArrival],
    window: TimeRange,
    *,
    tick: timedelta = TICK,
    down: Sequence[TimeRange] = (),
    unable: Mapping[str, str] | None = None,
) -> Simulation:
    """Walk the clock through `window` over the arrivals.

    What arrived before the window is there when it begins. The pipeline looks every `tick`, counted from midnight UTC,
    and never inside a range of `down`, when its daemon does not run. `unable` are analyzers that cannot run, and why.
    Buckets are floored to the document's granularity. Raises UsageError when `tick` is not positive.
    """
    if tick <= timedelta():
        raise UsageError(f"the tick of a simulation must be positive: found {tick}")
    grid = document.granularity
    ordered = sorted(replace(one, bucket=grid.floor(one.bucket)) for one in arrivals)
    clock = _Clock(tick, tuple(sorted(down)))
    walk = _Walk(document, clock, window, unable or {})
    for arrival in ordered:
        if arrival.at < window.end:
            walk.expect(max(arrival.at, window.start), arrival)
    walk.run()
    return walk.simulation()


def read_arrivals(path: Path) -> list[SimulatedArrival]:
    """Arrivals from a CSV file with the columns `at`, `bucket` and (optionally) `rows`, or JSON lines of the same.

    Times are ISO 8601, taken as UTC where they have no zone. Raises UsageError that names the line.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UsageError(f"{path} is larger than {_MOST_BYTES:,} bytes; simulate a shorter time")
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UsageError(
            f"{path}: there is no such file; name a CSV file with the columns at, bucket, rows"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as text: {error}") from None
    records = _json_lines(path, text) if text.lstrip().startswith("{") else _csv_lines(path, text)
    found = [_arrival(path, line, record) for line, record in records]
    if len(found) > MOST_ARRIVALS:
        raise UsageError(f"{path} holds {len(found):,} arrivals; at most {MOST_ARRIVALS:,} are simulated")
    return found


@dataclass(frozen=True)
class _Clock:
    """The moments at which the pipeline looks."""

    tick: timedelta
    down: tuple[TimeRange, ...]

    def next_look(self, moment: datetime) -> datetime:
        """The first look at or after a moment."""
        look = self._on_tick(moment)
        for outage in self.down:
            if look in outage:
                look = self._on_tick(outage.end)
        return look

    def _on_tick(self, moment: datetime) -> datetime:
        midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        ticks = -((midnight - moment) // self.tick)
        return midnight + ticks * self.tick


@dataclass
class _Walk:
    """The state of one simulation: the clock, what is known by then, and the looks to come."""

    document: MonitorDocument
    clock: _Clock
    window: TimeRange
    unable: Mapping[str, str]
    rows: dict[datetime, int] = field(default_factory=dict)
    uploads: dict[datetime, datetime] = field(default_factory=dict)
    calculated: set[tuple[str, str, datetime]] = field(default_factory=set)
    analysed: list[Analysed] = field(default_factory=list)
    late: list[Late] = field(default_factory=list)
    waited: dict[tuple[str, datetime], list[Waiting]] = field(default_factory=dict)
    opened_from: int | None = None
    """Index of the first bucket that looks are planned for."""

    events: list[tuple[datetime, int, int, SimulatedArrival | tuple[int, datetime]]] = field(
        default_factory=list
    )
    """(moment, 0 for an arrival and 1 for a look, running number, what): arrivals come first at equal moments."""

    def __post_init__(self) -> None:
        self.numbers = count()
        self.facts = BatchFacts(self.rows, self.uploads, None)
        self.situation = Situation(
            self.document, self.facts, self.calculated, self.window.start, unable=self.unable
        )
        self.monitors = {
            analyzer.id: self.document.monitors_of(analyzer.id) for analyzer in self.document.analyzers
        }
        self.parents = {
            child: [place for place, one in enumerate(self.document.analyzers) if child in children_of(one)]
            for analyzer in self.document.analyzers
            for child in children_of(analyzer)
        }

    def expect(self, moment: datetime, arrival: SimulatedArrival) -> None:
        heapq.heappush(self.events, (moment, 0, next(self.numbers), arrival))

    def look_at(self, moment: datetime, place: int, bucket: datetime) -> None:
        """Look at one analyzer and bucket at the first tick from a moment on."""
        look = self.clock.next_look(max(moment, self.situation.now))
        if look < self.window.end:
            heapq.heappush(self.events, (look, 1, next(self.numbers), (place, bucket)))

    def run(self) -> None:
        while self.events:
            moment, _, _, what = heapq.heappop(self.events)
            self.situation.now = moment
            if isinstance(what, SimulatedArrival):
                self._arrive(what)
            else:
                self._look(*what)
        self.situation.now = self.window.end

    def simulation(self) -> Simulation:
        missed: list[Missed] = []
        waiting: list[Waiting] = []
        for (analyzer_id, bucket), reasons in self.waited.items():
            last = reasons[-1]
            if last.gate is Gate.GRACE:
                before = [one.reason for one in reasons if one.gate is not Gate.GRACE]
                missed.append(Missed(bucket, analyzer_id, "; ".join([*before, last.reason])))
            elif last.gate is not Gate.SCHEDULE:
                waiting.append(last)
        return Simulation(
            tuple(sorted(self.analysed)),
            tuple(sorted(missed)),
            tuple(self.late),
            tuple(sorted(waiting, key=lambda one: (one.bucket or self.window.end, one.analyzer_id))),
        )

    def _arrive(self, arrival: SimulatedArrival) -> None:
        bucket = arrival.bucket
        done = tuple(sorted(name for name, _, judged in self._judged(bucket) if judged))
        if done:
            self.late.append(Late(arrival.at, bucket, arrival.rows, done))
        self.rows[bucket] = self.rows.get(bucket, 0) + arrival.rows
        self.uploads[bucket] = arrival.at
        first = self.facts.first_bucket
        if first is None or bucket < first:
            self.facts = replace(self.facts, first_bucket=bucket)
            self.situation.facts = self.facts
        self._open(bucket)
        for place in range(len(self.document.analyzers)):
            self.look_at(arrival.at, place, bucket)

    def _judged(self, bucket: datetime) -> Iterator[tuple[str, str, bool]]:
        for analyzer in self.document.analyzers:
            version = self.situation.case(analyzer).version
            yield analyzer.id, version, (analyzer.id, version, bucket) in self.calculated

    def _open(self, bucket: datetime) -> None:
        """Plan a look at every bucket from the first on, also at those whose data never comes."""
        grid = self.document.granularity
        first, end = grid.index(bucket), self.opened_from
        if end is None:
            end = grid.index(self.window.end) + 1
        for index in range(first, end):
            start = grid.start(index)
            for place, analyzer in enumerate(self.document.analyzers):
                self.look_at(self._first_look(analyzer, start), place, start)
        self.opened_from = min(first, end)

    def _first_look(self, analyzer: Analyzer, bucket: datetime) -> datetime:
        grid = self.document.granularity
        if is_seconds_since_last_upload(analyzer):
            return bucket if self.document.allow_partial_target_batches else grid.shift(bucket, 1)
        return ready_at(analyzer, bucket, grid, partial=self.document.allow_partial_target_batches)

    def _look(self, place: int, bucket: datetime) -> None:
        analyzer = self.document.analyzers[place]
        verdict = judge(analyzer, bucket, self.situation)
        if isinstance(verdict, Due):
            self._analyse(analyzer, verdict)
        elif verdict.bucket is not None and verdict.gate is not Gate.DONE:
            self._wait(place, bucket, verdict)

    def _analyse(self, analyzer: Analyzer, due: Due) -> None:
        self.calculated.add((due.analyzer_id, due.analyzer_version, due.bucket))
        reasons = self.waited.pop((analyzer.id, due.bucket), [])
        self.analysed.append(
            Analysed(
                self.situation.now,
                due.bucket,
                analyzer.id,
                tuple(one.id for one in self.monitors[analyzer.id] if self._speaks(one, due.bucket)),
                tuple(dict.fromkeys(one.reason for one in reasons)),
            )
        )
        for parent in self.parents.get(analyzer.id, ()):
            self.look_at(self.situation.now, parent, due.bucket)

    def _speaks(self, monitor: Monitor, bucket: datetime) -> bool:
        if monitor.schedule.excludes(bucket):
            return False
        oldest = monitor.mode.dataset_timestamp_offset if isinstance(monitor.mode, DigestMode) else None
        return oldest is None or bucket >= oldest.before(self.situation.now)

    def _wait(self, place: int, bucket: datetime, waiting: Waiting) -> None:
        analyzer = self.document.analyzers[place]
        known = self.waited.setdefault((analyzer.id, bucket), [])
        if not known or known[-1].reason != waiting.reason:
            known.append(waiting)
        if waiting.gate is Gate.DATA:
            # An arrival looks again by itself; what is left is the moment at which the grace has passed.
            until = grace_of(analyzer, self.document.granularity).after(bucket) + self.clock.tick
        elif waiting.gate is Gate.CHILDREN:
            until = waiting.until if waiting.until and waiting.until > self.situation.now else None
        else:
            until = waiting.until
        if until is not None:
            self.look_at(until, place, bucket)


def _json_lines(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise UsageError(f"{path}, line {number} is not JSON: {error}") from None
        if not isinstance(record, dict):
            raise UsageError(f"{path}, line {number}: an arrival is an object with at, bucket and rows")
        yield number, record


def _csv_lines(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    lines = csv.DictReader(text.splitlines())
    names = set(lines.fieldnames or ())
    if not {"at", "bucket"} <= names:
        found = ", ".join(sorted(names)) or "none"
        raise UsageError(f"{path} needs the columns at and bucket (and rows, where known); found {found}")
    for record in lines:
        yield lines.line_num, {str(name): value for name, value in record.items()}


def _arrival(path: Path, line: int, record: Mapping[str, object]) -> SimulatedArrival:
    try:
        given = record.get("rows")
        rows = 1 if given is None or given == "" else int(str(given))
        if rows < 0:
            raise ValueError(f"rows are {rows}")
        return SimulatedArrival(parse_moment(str(record["at"])), parse_moment(str(record["bucket"])), rows)
    except KeyError as error:
        raise UsageError(f"{path}, line {line}: {error} is missing") from None
    except ValueError as error:
        raise UsageError(f"{path}, line {line}: {error}") from None
