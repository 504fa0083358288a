"""Two daemons by mistake, on one Dagster instance or each on its own, over one workspace: nothing is done twice."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import dagster as dg
import pytest

from monitoring_pipeline import pipeline
from monitoring_pipeline.settings import Settings
from monitoring_pipeline_tests.kills.dump import Dump, differences, dump
from monitoring_pipeline_tests.orchestration.test_sensors import Daemon
from monitoring_pipeline_tests.workspaces import START, make_workspace, write_day

DAYS = 12


def new_home(folder: Path) -> Path:
    home = make_workspace(folder, days=DAYS, few_rows_on=8, nulls_on=10)
    for path in (home / "landing" / "orders").iterdir():
        touch(path, 1)
    return home


def touch(path: Path, hours: int) -> None:
    moment = START.timestamp() + hours * 3600
    os.utime(path, (moment, moment))


def repair(home: Path) -> None:
    """A day comes again, with other rows."""
    touch(write_day(home, 5, rows=70), 2)


def daemon(home: Path, instance: dg.DagsterInstance) -> Daemon:
    return Daemon(home, instance, days=DAYS + 0.4)


def at_once(*tasks: Callable[[], object]) -> None:
    """Run in threads that begin together; an error in one of them is raised."""
    barrier, errors = threading.Barrier(len(tasks)), list[BaseException]()

    def run(task: Callable[[], object]) -> None:
        try:
            barrier.wait()
            task()
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def store_of(home: Path) -> Dump:
    return dump(Settings(home=home).resolved_store_url)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Dump:
    """The store after one daemon has done everything."""
    home = new_home(tmp_path_factory.mktemp("clean") / "data")
    with dg.DagsterInstance.ephemeral() as instance:
        alone = daemon(home, instance)
        for arrive in (lambda _: None, repair):
            arrive(home)
            assert alone.until_quiet()
        with alone.open() as workspace:
            pipeline.deliver(workspace)
    return store_of(home)


@pytest.fixture(params=["one instance", "two instances"])
def instances(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sequence[dg.DagsterInstance]]:
    folders = ["a", "a"] if request.param == "one instance" else ["a", "b"]
    with ExitStack() as stack:
        made: dict[str, dg.DagsterInstance] = {}
        for name in {*folders}:
            (tmp_path / name).mkdir()
            made[name] = stack.enter_context(dg.DagsterInstance.local_temp(str(tmp_path / name)))
        yield [made[name] for name in folders]


@pytest.mark.slow
def test_two_daemons_that_tick_and_run_at_once_leave_what_one_leaves(
    tmp_path: Path, instances: Sequence[dg.DagsterInstance], clean: Dump
) -> None:
    home = new_home(tmp_path / "data")
    for arrive in (lambda _: None, repair):
        arrive(home)
        daemons = [daemon(home, instance) for instance in instances]
        asked: list[list[dg.RunRequest]] = [[], []]

        def tick(number: int, *, by: list[Daemon], asked: list[list[dg.RunRequest]]) -> None:
            asked[number] = by[number].requests()

        def run(number: int, *, by: list[Daemon], asked: list[list[dg.RunRequest]]) -> None:
            assert all(by[number].execute(request).success for request in asked[number])

        for step in (tick, run):  # at worst both launch all that both have asked for
            at_once(*(partial(step, number, by=daemons, asked=asked) for number in range(2)))
        first, second = ([str(request.run_key) for request in requests] for requests in asked)
        assert first
        assert first == second  # so that one instance launches it once
        assert [one.requests() for one in daemons] == [[], []]
    with daemons[0].open() as workspace, daemons[1].open() as other:
        at_once(lambda: pipeline.deliver(workspace), lambda: pipeline.deliver(other))

    assert differences(clean, store_of(home)) == []
