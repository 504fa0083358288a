"""How long one waits before anything happens: importing the package, loading the code location, `monitor --help`.

Each figure is the median of fresh processes. `--quick` takes fewer of them. Code locations are of the two datasets of
the demonstration, and of a hundred datasets that are copies of them.
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

REPOSITORY = Path(__file__).parents[1]
DATASETS = REPOSITORY / "data" / "datasets"
HUNDRED = "load the code location, 100 datasets"

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
    HUNDRED: (
        "from monitoring_pipeline.orchestration.definitions import defs\n"
        "import dagster as dg\n"
        "loaded = defs()\n"
        "dg.Definitions.validate_loadable(loaded)\n"
        "assert len(list(loaded.resolve_all_asset_specs())) > 300"
    ),
    "monitor --help": "import sys; sys.argv = ['monitor', '--help']\nfrom monitoring_pipeline.cli import main\nmain()",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    runs = 3 if parser.parse_args().quick else 9
    with tempfile.TemporaryDirectory() as folder:
        two, hundred = Path(folder) / "two", Path(folder) / "hundred"
        two.mkdir()
        (two / "datasets").symlink_to(DATASETS)
        copy_datasets(hundred, 100)
        figures = {
            name: seconds_of(program, hundred if name == HUNDRED else two, runs)
            for name, program in PROGRAMS.items()
        }
    table = Table("what", "seconds (median)")
    for name, seconds in figures.items():
        table.add_row(name, f"{seconds:.2f}")
    Console().print(table)
    print(json.dumps({"benchmark": "startup", "runs": runs, "seconds": figures}))


def copy_datasets(home: Path, count: int) -> None:
    """The demonstration's datasets again and again, each with an id of its own."""
    originals = sorted(DATASETS.iterdir())
    for number in range(count):
        original = originals[number % len(originals)]
        name = f"{original.name}-{number}"
        folder = home / "datasets" / name
        folder.mkdir(parents=True)
        for file in original.iterdir():
            (folder / file.name).write_text(file.read_text().replace(original.name, name))


def seconds_of(program: str, home: Path, runs: int) -> float:
    """Median wall seconds of a fresh interpreter that runs the program in a workspace."""
    taken = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", program],
            check=True,
            capture_output=True,
            cwd=REPOSITORY,
            env={"PATH": "/usr/bin:/bin", "MONITORING_HOME": str(home)},
        )
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[1:])


if __name__ == "__main__":
    main()
