"""Where workers are born and killed: a process that has done it all once forks one worker per job, and ends it.

Talks in lines of JSON over standard input and output. Only the parent of a process can be sure that a process id is
still that process, so the killing is done here and not by whoever asks for it.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import mmap
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from monitoring_pipeline_tests.kills.scenario import rounds
from monitoring_pipeline_tests.kills.worker import Job, Points, work

_SLATE = 65_536


@dataclass(frozen=True)
class End:
    """How a worker ended: killed or not, in which step, how long it lived, which points it passed, what it died of."""

    killed: bool
    step: str
    seconds: float
    points: int
    error: str


class Nursery:
    """The asking side."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "monitoring_pipeline_tests.kills.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def run(self, job: Job) -> End:
        """Let a worker do a job to its end."""
        self.start(job)
        return self.wait()

    def start(self, job: Job) -> None:
        """Let a worker begin."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job.to_json()) + "\n")
        self._process.stdin.flush()

    def wait(self) -> End:
        """Wait for the end of the worker that was started last."""
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        assert answer, "the nursery died"
        return End(**json.loads(answer))


def main() -> None:
    """Do jobs until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    logging.disable(logging.WARNING)  # nobody is at home in the warm-up, and senders are to be killed
    _warm_up()
    for line in sys.stdin:
        answers.write(json.dumps(_job(Job.from_json(json.loads(line))).__dict__) + "\n")
        answers.flush()


def _warm_up() -> None:
    """Do the first rounds here, so that whoever is born here need not import, compile and look up again."""
    with contextlib.suppress(ImportError):
        importlib.import_module("psycopg")
    with tempfile.TemporaryDirectory() as folder:
        home, nobody = Path(folder), "http://127.0.0.1:9/"
        for one in rounds()[:3]:
            one.arrive(home)
            work(Job.of(one, home=home, store_url=f"sqlite:///{home / 'store.db'}", webhook=nobody))


def _job(job: Job) -> End:
    slate = mmap.mmap(-1, _SLATE)
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        _be_born(job, slate)
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        left = None if job.die_after is None else began + job.die_after - time.monotonic()
        if left is not None and left <= 0:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            break
        time.sleep(0.001 if left is None else min(0.001, left))
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    said = _read(slate)
    slate.close()
    error = said.get("error", "") or (
        "" if status == 0 or killed else f"the worker ended with status {status}"
    )
    return End(killed, said["step"], time.monotonic() - began, said.get("points", 0), error)


def _be_born(job: Job, slate: mmap.mmap) -> None:
    """The worker's life; never returns."""

    def write(**said: object) -> None:
        text = json.dumps(said).encode() + b"\n"
        slate[: len(text)] = text

    step = "birth"

    def note(what: str) -> None:
        nonlocal step
        step = what
        write(step=step)

    try:
        points = Points(job.die_at)
        points.watch()
        work(job, note)
        write(step=step, points=points.passed)
        os._exit(0)
    except BaseException as error:  # noqa: BLE001 - told to the one who asked
        write(step=step, error=f"{type(error).__name__}: {error}"[:8_000])
        os._exit(1)


def _read(slate: mmap.mmap) -> dict[str, Any]:
    end = slate.find(b"\n")
    if end < 0:
        return {"step": "birth"}
    try:
        return json.loads(slate[:end])
    except ValueError:  # killed while it wrote
        return {"step": "between two steps"}


if __name__ == "__main__":
    main()
