"""Many processes write and read at once: what `benchmarks/concurrency.py` checks for a minute, here for moments."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "concurrency.py"


@pytest.mark.slow
@pytest.mark.skipif(not BENCHMARK.exists(), reason="benchmarks come with the sources only")
def test_writes_are_not_lost_and_buckets_are_seen_whole_or_not_at_all(database_url: str) -> None:
    command = [sys.executable, str(BENCHMARK), "--seconds", "2", "--writers", "4", "--readers", "2"]
    done = subprocess.run(
        [*command, "--url", database_url], capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)["given"]
    assert found["problems"] == []
    assert found["writes"]["count"] >= 4
    assert found["buckets_seen"] >= 2
