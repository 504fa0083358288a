"""How long one waits before anything happens: importing the package, loading the code location, `monitor --help`.

Each figure is the median of fresh processes. `--quick` takes fewer of them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

PROGRAMS = {
    "python, nothing imported": "pass",
    "import monitoring_pipeline": "import monitoring_pipeline",
    "import monitoring_pipeline.pipeline": "import monitoring_pipeline.pipeline",
    "import dagster": "import dagster",
    "load the code location": (
        "from monitoring_pipeline.orchestration.definitions import defs\n"
        "import dagster as dg\n"
        "dg.Definitions.validate_loadable(defs())"
    ),
    "monitor --help": "import sys; sys.argv = ['monitor', '--help']\nfrom monitoring_pipeline.cli import main\nmain()",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    runs = 3 if parser.parse_args().quick else 9
    figures = {name: seconds_of(program, runs) for name, program in PROGRAMS.items()}
    table = Table("what", "seconds (median)")
    for name, seconds in figures.items():
        table.add_row(name, f"{seconds:.2f}")
    Console().print(table)
    print(json.dumps({"benchmark": "startup", "runs": runs, "seconds": figures}))


def seconds_of(program: str, runs: int) -> float:
    """Median wall seconds of a fresh interpreter that runs the program in the repository's own workspace."""
    repository = Path(__file__).parents[1]
    taken = []
    with tempfile.TemporaryDirectory() as home:
        datasets = Path(home) / "datasets"
        datasets.symlink_to(repository / "data" / "datasets")
        for _ in range(runs + 1):
            began = time.perf_counter()
            subprocess.run(
                [sys.executable, "-c", program],
                check=True,
                capture_output=True,
                cwd=repository,
                env={"PATH": "/usr/bin:/bin", "MONITORING_HOME": home},
            )
            taken.append(time.perf_counter() - began)
    return statistics.median(taken[1:])


if __name__ == "__main__":
    main()
