"""What a long-living process remembers of datasets, so that a look at one where nothing has happened costs microseconds.

A dataset is looked at again when its folders or newest files have changed, when somebody wrote to it in the store,
when its document has changed, when the moment has come at which time alone may change the answer, and after
`LOOK_AGAIN` at the latest. The last bounds how long it may go unnoticed that an old file was rewritten in place, that
something came to one of very many old folders, or that an old batch was deleted from the store; nothing else goes
unnoticed at all. What is remembered does not grow with the history: it is the grace, and marks of some files.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from monitoring_pipeline import readiness
from monitoring_pipeline.readiness import Facts, Pending
from monitoring_pipeline.sources.base import Scan
from monitoring_pipeline.store import datasets, files, work
from monitoring_pipeline.store.work import Failure, Stale
from monitoring_pipeline.workspace import (
    DATASET_FILE,
    DOCUMENT_FILE,
    MonitoredDataset,
    Workspace,
    load_monitored_dataset,
)

LOOK_AGAIN = timedelta(minutes=15)
_SETTLED_NS = 2_000_000_000
"""How old a file must be before its time can be trusted to tell it from the next version of it."""

_FILES_WORTH_THE_REST = 200
"""As many files take as long to scan as what does not depend on them."""

_LONGEST_WRITE = timedelta(hours=1)
"""How long ago a batch may have been given its time before others can see it."""

_FileState = tuple[int, int, int] | None


@dataclass(frozen=True)
class Look:
    """A dataset as it is now. `is_new` says whether anything was found out since the last look."""

    dataset: MonitoredDataset
    pending: Pending
    stale: Stale | None
    is_new: bool


@dataclass
class _Seen:
    """One dataset when it was last looked at."""

    dataset: MonitoredDataset
    scan: Scan
    """Of its files only those of buckets inside the grace, and of its arrivals as well."""
    revision: int
    facts: Facts
    failed: Mapping[datetime, Failure]
    pending: Pending
    decided_at: datetime
    look_again: float
    held: int
    """Buckets that the store held when all was last known to be as it was, which was `checked_at`."""
    checked_at: datetime


@dataclass
class Lookout:
    """Looks at datasets one by one. One thread at a time; `begin` before every round.

    `clock` gives seconds of a steady clock.
    """

    clock: Callable[[], float] = time.monotonic
    _seen: dict[str, _Seen] = field(default_factory=dict)
    _documents: dict[Path, tuple[tuple[_FileState, ...], MonitoredDataset]] = field(default_factory=dict)
    _revisions: Mapping[tuple[str, str], int] = field(default_factory=dict)
    _failures: Mapping[tuple[str, str], dict[datetime, Failure]] = field(default_factory=dict)
    _stale: Mapping[tuple[str, str], Stale] = field(default_factory=dict)
    _files: dict[tuple[str, str], int] = field(default_factory=dict)
    """Files of each dataset, as far as known."""
    _seconds_per_file: dict[bool, float] = field(default_factory=lambda: {False: 5e-5, True: 1e-5})
    """Of full looks, and of those that only go on from an earlier one."""

    def begin(self, workspace: Workspace) -> None:
        """Ask once for what concerns all datasets: their documents, and what was written to the store since."""
        workspace.load(self._read)
        store = workspace.store
        self._revisions = datasets.revisions(store)
        self._failures = work.all_failures(store)
        self._stale = work.stale(store)
        if not self._files:
            self._files = files.counts(store)

    def look(self, workspace: Workspace, dataset_id: str, *, within: float = math.inf) -> Look | None:
        """What is to be done for a dataset now; None when that would probably take more than `within` seconds.

        Raises what `Workspace.dataset` and `Source.scan` raise.
        """
        dataset = workspace.dataset(dataset_id)
        key = (dataset.spec.organisation or workspace.settings.organisation, dataset.id)
        revision, failed = self._revisions.get(key, 0), self._failures.get(key, {})
        seen, now = self._seen.get(dataset_id), workspace.now()
        if seen is not None and self.clock() >= seen.look_again:
            self._check(workspace, seen)
        if seen is None or self._must_scan(workspace, seen, dataset):
            goes_on = seen is not None and self._may_go_on(workspace, seen, dataset)
            if self._seconds(key, goes_on=goes_on) > within:
                return None
            began = self.clock()
            # Forgotten first: a look that fails must not leave what it was to replace.
            self._seen.pop(dataset_id, None)
            more = None
            if seen is not None and goes_on:
                more = readiness.discover_more(workspace, dataset_id, seen.scan, seen.facts.since)
            if more is not None and seen is not None:
                scan, facts = more, readiness.facts_after_arrivals(workspace, dataset_id, seen.facts, more)
            else:
                seen, goes_on = None, False
                scan = readiness.discover(workspace, dataset_id)
                facts = readiness.facts(workspace, dataset_id, scan)
                scan = _within(scan, facts.since)
            self._learn(key, len(scan.states), self.clock() - began, goes_on=goes_on)
        elif not self._may_differ(workspace, seen, revision, failed):
            return Look(dataset, seen.pending, self._stale.get(key), is_new=False)
        elif within <= 0:
            return None
        elif seen.revision != revision:
            scan, facts = seen.scan, readiness.facts_after_writing(workspace, dataset_id, seen.facts)
        else:
            scan, facts = seen.scan, seen.facts
        pending = readiness.pending_by(workspace, dataset_id, facts, failed)
        work.forget_failures(workspace.store, workspace.ref(dataset_id), failed.keys() - pending.work.keys())
        self._seen[dataset_id] = _Seen(
            dataset=dataset,
            scan=scan,
            revision=revision,
            facts=facts,
            failed=failed,
            pending=pending,
            decided_at=now,
            look_again=seen.look_again if seen is not None else self._look_again(dataset_id),
            held=seen.held if seen is not None else facts.held,
            checked_at=seen.checked_at if seen is not None else now,
        )
        return Look(dataset, pending, self._stale.get(key), is_new=True)

    def _seconds(self, key: tuple[str, str], *, goes_on: bool) -> float:
        """How long it will probably take to scan a dataset."""
        return self._seconds_per_file[goes_on] * (self._files.get(key, 0) + _FILES_WORTH_THE_REST)

    def _learn(self, key: tuple[str, str], count: int, seconds: float, *, goes_on: bool) -> None:
        self._files[key] = count
        found = seconds / (count + _FILES_WORTH_THE_REST)
        self._seconds_per_file[goes_on] += (found - self._seconds_per_file[goes_on]) / 2

    def _must_scan(self, workspace: Workspace, seen: _Seen, dataset: MonitoredDataset) -> bool:
        appears, now = seen.scan.appears, workspace.now()
        return (
            seen.dataset is not dataset
            or self.clock() >= seen.look_again
            or seen.decided_at > now
            or (appears is not None and appears <= now)
            or seen.scan.marks is None
            or not all(mark.holds() for mark in seen.scan.marks)
        )

    def _may_differ(
        self, workspace: Workspace, seen: _Seen, revision: int, failed: Mapping[datetime, Failure]
    ) -> bool:
        return seen.revision != revision or seen.failed != failed or workspace.now() >= seen.pending.again

    def _may_go_on(self, workspace: Workspace, seen: _Seen, dataset: MonitoredDataset) -> bool:
        """Whether it may be enough to read the files that have come since."""
        return (
            seen.dataset is dataset and self.clock() < seen.look_again and seen.decided_at <= workspace.now()
        )

    def _check(self, workspace: Workspace, seen: _Seen) -> None:
        """Put off the next full look where all is as it is remembered: every file is listed, none is read.

        Of what was written to the store since it is asked whether it was made from the data that lies there: a batch
        may have been overwritten by a run that had read older data, or deleted.
        """
        now, source = workspace.now(), workspace.source(seen.dataset.id)
        if (
            seen.scan.marks is None
            or seen.decided_at > now
            or seen.dataset is not workspace.dataset(seen.dataset.id)
            or source.checksum() != seen.scan.checksum
        ):
            return
        held, profiled = work.profiled_since(
            workspace.store, workspace.ref(seen.dataset.id), seen.checked_at - _LONGEST_WRITE
        )
        arrivals, changed = seen.scan.arrivals, seen.facts.changed
        new = sum(one.version == 1 and one.profiled_at >= seen.checked_at for one in profiled)
        if held != seen.held + new or not all(
            one.bucket in changed
            or (one.bucket in arrivals and arrivals[one.bucket].fingerprint == one.fingerprint)
            for one in profiled
        ):
            return
        seen.held, seen.checked_at, seen.look_again = held, now, self._look_again(seen.dataset.id)
        since = readiness.inside_grace(seen.dataset, now).start
        seen.scan = replace(_within(seen.scan, since), states=seen.scan.states)
        seen.facts = replace(seen.facts, since=since)

    def _look_again(self, dataset_id: str) -> float:
        """When to scan a dataset again whatever happens: spread over a third of the time, so that not all are at once."""
        share = zlib.crc32(f"{dataset_id} {self.clock()}".encode()) / 2**32
        return self.clock() + LOOK_AGAIN.total_seconds() * (1 - share / 3)

    def _read(self, folder: Path) -> MonitoredDataset:
        """A dataset folder; its files are read again only when they have changed."""
        states = tuple(_state(folder / name) for name in (DATASET_FILE, DOCUMENT_FILE))
        known = self._documents.get(folder)
        if known is not None and known[0] == states:
            return known[1]
        dataset = load_monitored_dataset(folder)
        if all(state is None or state[0] < time.time_ns() - _SETTLED_NS for state in states):
            self._documents[folder] = (states, dataset)
        return dataset


def _within(scan: Scan, since: datetime) -> Scan:
    """What a scan tells of the buckets from a moment on, with the states of all files."""
    return Scan(
        tuple(
            entry
            for entry in scan.files
            if not entry.readable or any(bucket >= since for bucket in entry.rows)
        ),
        {bucket: arrival for bucket, arrival in scan.arrivals.items() if bucket >= since},
        (),
        marks=scan.marks,
        checksum=scan.checksum,
        appears=scan.appears,
        states=frozenset(entry.state for entry in scan.files),
    )


def _state(path: Path) -> _FileState:
    try:
        info = path.stat()
    except OSError:
        return None
    return info.st_mtime_ns, info.st_size, info.st_ino
