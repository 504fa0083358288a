"""Kill as often as asked, and say what came of it: `python -m monitoring_pipeline_tests.kills --times 300 --seed 1`."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import sqlalchemy as sa

from monitoring_pipeline_tests.kills.campaign import Report, run_clean, run_killed, run_two_at_once
from monitoring_pipeline_tests.kills.nursery import Nursery


def main() -> int:
    """Exit code 0 when every campaign ended in the state of a clean run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=200, help="how many workers are killed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--two", type=int, default=0, help="campaigns in which two workers do everything at once"
    )
    parser.add_argument("--postgres", help="URL of an empty PostgreSQL server to use instead of SQLite")
    asked = parser.parse_args()
    chance, reports, began = random.Random(asked.seed), list[Report](), time.monotonic()
    with Nursery() as nursery, Nursery() as other, tempfile.TemporaryDirectory() as folder:
        clean = run_clean(nursery, Path(folder) / "clean", f"sqlite:///{folder}/clean.db")

        def place() -> tuple[Path, str]:
            name = f"campaign_{len(reports)}"
            url = new_schema(asked.postgres, name) if asked.postgres else f"sqlite:///{folder}/{name}.db"
            return Path(folder) / name, url

        def note(report: Report) -> None:
            reports.append(report)
            print(f"{len(reports)}: {report.total} killed, {len(report.differences)} differences", flush=True)
            for line in [*report.errors, *report.differences]:
                print(f"  {line}")

        while (left := asked.times - sum(one.total for one in reports)) > 0:
            note(run_killed(nursery, *place(), clean, chance=chance, most=left))
        for _ in range(asked.two):
            note(run_two_at_once((nursery, other), *place(), clean, chance=chance))
    print(summary(reports, seconds=time.monotonic() - began))
    return 1 if any(one.errors or one.differences for one in reports) else 0


def new_schema(server: str, name: str) -> str:
    """URL of a new schema of a PostgreSQL server."""
    engine = sa.create_engine(server.replace("postgresql://", "postgresql+psycopg://"), poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {name}"))
    return f"{server}{'&' if '?' in server else '?'}options=-csearch_path%3D{name}"


def summary(reports: list[Report], *, seconds: float) -> str:
    """What many campaigns came to, in words."""
    steps = sum((one.kills for one in reports), Counter[str]())
    aimed, dead = sum(one.aimed for one in reports), sum(one.accepted_and_dead for one in reports)
    others, failed = sum(bool(one.differences) for one in reports), sum(bool(one.errors) for one in reports)
    messages, repeated = sum(one.messages for one in reports), sum(one.repeated for one in reports)
    return (
        f"{steps.total()} workers killed in {len(reports)} campaigns ({seconds:.0f} s), {aimed} of them at a point of "
        f"interest\n"
        f"{others} campaigns ended in another state than a clean run\n"
        f"{failed} campaigns with a worker that failed by itself\n"
        f"{messages} messages received; {dead} workers died between the acceptance of a message and its note, "
        f"{repeated} messages came again\n"
        f"killed in: {', '.join(f'{step} {number}' for step, number in steps.most_common())}"
    )


if __name__ == "__main__":
    sys.exit(main())
