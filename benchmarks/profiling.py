"""How fast rows become profiles, next to one bare pass over the same columns and, on request, next to whylogs.

Times are CPU seconds, the least of several runs, so that a busy machine spoils little; a cell is one value of one
column of one row. The bare pass is pyarrow's minimum, maximum, mean and count of every column, measured in turn with the
profile. `--whylogs` installs whylogs 1.6.4 in an environment of its own (once) and times it on the same file.

Streaming is measured against pyarrow decoding the same Parquet file into Arrow on one thread, row group by row group.
`times_decoding` is wall time over wall time: reading and profiling may use all processors, as they do in a pipeline, and
overlap. `times_decoding_cpu` is the CPU time of all threads over that of the decoding. Both mean something only while
nothing else keeps the machine busy. Every figure with a target stands next to it; those of `--quick` and of a busy
machine miss some.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

# Sums over arrays must not wake a second core.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from monitoring_pipeline.profiling import Profiler, profile
from monitoring_pipeline.profiling.engine import COMPILED
from monitoring_pipeline.sources import parquet
from monitoring_pipeline.sources.listing import find_files
from monitoring_pipeline.timegrid import Granularity

WHYLOGS = ("whylogs==1.6.4", "pandas==2.0.3", "numpy==1.26.4", "pyarrow==14.0.2", "setuptools<81")
CACHE = Path(tempfile.gettempdir()) / "monitoring-pipeline-benchmark-whylogs"

TIMES_BARE_PASS = 2.5
MILLION_CELLS = {"mixed": 50, "wide": 30}
"""Least throughput by the first word of what is profiled, in million cells per core-second."""

TARGETS: dict[str, Callable[[dict[str, float]], dict[str, tuple[str, float]]]] = {
    "threads": lambda _: {"speed_up": (">=", 1.7)},
    "segments": lambda found: {"cpu_s": ("<=", 4.0 if found["segments"] <= 1_000 else 15.0)},
    "small_batch": lambda _: {"cpu_ms": ("<=", 5.0)},
    "first_profile": lambda _: {"since_start_cpu_s": ("<=", 1.5)},
    "streaming": lambda found: {
        "times_decoding": ("<=", 1.3),
        "extra_peak_mb": ("<=", round(200 + 2 * found["row_group_mb"], 1)),
    },
    "whylogs": lambda _: {"times_ours": (">=", 100.0)},
}
"""What the figures of each part are to be; at the full sizes, on a quiet machine with two cores."""

WHYLOGS_PROGRAM = """
import sys, time
import pandas as pd
import whylogs as why
frame = pd.read_parquet(sys.argv[1])
start = time.process_time()
profile = why.log(pandas=frame).profile()
print(time.process_time() - start)
"""

FIRST_PROFILE = """
import time
import pyarrow as pa
from monitoring_pipeline.profiling import profile
start = time.process_time()
profile(pa.table({"score": [0.25, 0.5, 0.75] * 110, "country": ["DE", "FR", "IT"] * 110}))
print(time.process_time() - start, time.process_time())
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, in less than 20 seconds")
    parser.add_argument("--whylogs", action="store_true", help="time whylogs too, where it can be installed")
    parser.add_argument("--stream", metavar="FILE", help=argparse.SUPPRESS)  # how this program calls itself
    arguments = parser.parse_args()
    pa.set_cpu_count(1)
    if arguments.stream:
        print(json.dumps(stream(Path(arguments.stream))))
        return
    with tempfile.TemporaryDirectory() as folder:
        found = run(Path(folder), quick=arguments.quick, whylogs=arguments.whylogs)
    print(json.dumps(found))


def run(folder: Path, *, quick: bool, whylogs: bool) -> dict[str, object]:
    """Measure everything; print the tables, return the figures."""
    rows = 100_000 if quick else 1_000_000
    mixed = mixed_table(rows)
    throughput = {
        "numbers": measure(mixed.select([name for name in mixed.column_names if name.startswith("f")])),
        "strings, 50 distinct": measure(mixed.select(["s_low"])),
        "strings, 10,000 distinct": measure(mixed.select(["s_mid"])),
        f"strings, {rows // 2:,} distinct": measure(mixed.select(["s_high"])),
        f"mixed, {rows:,} × 20": measure(mixed),
    }
    if not quick:
        ten = pa.concat_tables([mixed, *(mixed_table(rows, seed=seed) for seed in range(1, 10))])
        throughput[f"mixed, {10 * rows:,} × 20"] = measure(ten, times=2)
        del ten
    wide_rows, wide_columns = (10_000, 200) if quick else (100_000, 1_000)
    wide = wide_table(wide_rows, wide_columns)
    throughput[f"wide, {wide_rows:,} × {wide_columns:,}"] = measure(wide, times=2)
    del wide
    show_throughput(throughput)

    found: dict[str, object] = {
        "benchmark": "profiling",
        "compiled": COMPILED,
        "throughput": throughput,
        "threads": threads(mixed),
        "segments": segments(mixed, (1, 100) if quick else (1, 100, 1_000, 10_000)),
        "small_batch": small_batch(),
        "first_profile": first_profile(),
        "streaming": [
            streamed(folder, size) for size in ((250_000, 500_000) if quick else (1_000_000, 4_000_000))
        ],
    }
    if whylogs:
        found["whylogs"] = against_whylogs(folder, mixed, throughput[f"mixed, {rows:,} × 20"]["cpu_s"])
    show_rest(found)
    return found


# --- measuring -----------------------------------------------------------------------------------------------------


def least(work: Callable[[], object], *, times: int = 5) -> float:
    """CPU seconds of the quickest of several runs."""
    seconds = []
    for _ in range(times):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def least_in_turn(*works: Callable[[], object], times: int) -> list[float]:
    """The same for several, taken in turn, so that what else the machine does meets all of them."""
    seconds = [[least(work, times=1) for work in works] for _ in range(times)]
    return [min(of_one) for of_one in zip(*seconds, strict=True)]


def measure(table: pa.Table, *, times: int = 5) -> dict[str, float]:
    """One thread, all sketches; and the bare pass over the same columns."""
    cells = table.num_rows * table.num_columns
    bare, ours = least_in_turn(lambda: bare_pass(table), lambda: profile(table, workers=1), times=times)
    return {
        "cells": cells,
        "cpu_s": round(ours, 4),
        "cells_per_core_second": round(cells / ours),
        "times_bare_pass": round(ours / bare, 2),
    }


def bare_pass(table: pa.Table) -> None:
    """Minimum, maximum, mean and count of every column."""
    for column in table.columns:
        pc.count(column)
        if not pa.types.is_boolean(column.type):
            pc.min_max(column)
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            pc.mean(column)


def threads(table: pa.Table) -> dict[str, float]:
    """Wall time on one and on two threads; means something only on a quiet machine with two cores."""

    def wall(workers: int) -> float:
        seconds = []
        for _ in range(5):
            start = time.perf_counter()
            profile(table, workers=workers)
            seconds.append(time.perf_counter() - start)
        return min(seconds)

    one, two = wall(1), wall(2)
    return {"one_s": round(one, 4), "two_s": round(two, 4), "speed_up": round(one / two, 2)}


def segments(table: pa.Table, counts: Iterable[int]) -> list[dict[str, float]]:
    """All columns in all segments of one key, by how many segments there are."""
    found = []
    for count in counts:
        codes = np.random.default_rng(count).integers(0, count, table.num_rows)
        keyed = table.append_column("segment", pa.array(codes).cast(pa.string()))
        seconds = least(
            lambda keyed=keyed: profile(keyed, [["segment"]], workers=1), times=1 if count > 1_000 else 2
        )
        per_cell = seconds / ((count + 1) * keyed.num_columns) * 1e6
        found.append(
            {"segments": count, "cpu_s": round(seconds, 3), "us_per_segment_and_column": round(per_cell, 1)}
        )
    return found


def small_batch() -> dict[str, float]:
    """A small day: 330 rows of 18 columns, profile, scalars and bytes."""
    table = mixed_table(330).drop_columns(["f8", "f9"])

    def work() -> None:
        for column in profile(table).columns[""].values():
            column.scalars()
            column.to_bytes()

    return {"rows": 330, "columns": 18, "cpu_ms": round(least(work, times=50) * 1e3, 2)}


def first_profile() -> dict[str, float]:
    """The first profile of a fresh process, and everything from its start to there."""
    printed = subprocess.run(
        [sys.executable, "-c", FIRST_PROFILE], capture_output=True, text=True, check=True
    ).stdout.split()
    return {
        "first_profile_cpu_ms": round(float(printed[0]) * 1e3, 1),
        "since_start_cpu_s": round(float(printed[1]), 2),
    }


def streamed(folder: Path, rows: int) -> dict[str, float]:
    """From a Parquet file in a process of its own, which alone knows how much memory it took."""
    path = folder / f"{rows}.parquet"
    if not path.exists():
        step = min(rows, 250_000)
        with pq.ParquetWriter(path, mixed_table(1).schema) as writer:
            for seed in range(rows // step):
                writer.write_table(mixed_table(step, seed=seed), row_group_size=step)
    command = [sys.executable, __file__, "--stream", str(path)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def stream(path: Path) -> dict[str, float]:
    """What `streamed` measures: decoding alone, decoding and profiling, extra memory at the peak."""
    pa.set_cpu_count(os.cpu_count() or 1)
    [found] = find_files([str(path)], path.parent)
    granularity = next(iter(Granularity))

    def decode() -> pq.ParquetFile:
        file = pq.ParquetFile(path, pre_buffer=False)  # otherwise pyarrow keeps the whole file in memory
        for group in range(file.num_row_groups):
            file.read_row_group(group, use_threads=False)
        return file

    def read_and_profile() -> None:
        profiler = Profiler()
        for batch in parquet.batches(found, None, granularity, wanted=()):
            profiler.update(batch)
        profiler.finish()

    profile(mixed_table(1_000))  # what every process loads once
    before = peak_memory()
    read_and_profile()
    extra = peak_memory() - before
    footer = decode().metadata
    wall, cpu, decoding_wall, decoding_cpu = (float("inf") for _ in range(4))
    for _ in range(5):
        (wall, cpu), (decoding_wall, decoding_cpu) = (
            _least_of(read_and_profile, (wall, cpu)),
            _least_of(decode, (decoding_wall, decoding_cpu)),
        )
    return {
        "rows": footer.num_rows,
        "wall_s": round(wall, 3),
        "cpu_s": round(cpu, 3),
        "times_decoding": round(wall / decoding_wall, 2),
        "times_decoding_cpu": round(cpu / decoding_cpu, 2),
        "extra_peak_mb": round(extra / 1e6, 1),
        "row_group_mb": round(footer.row_group(0).total_byte_size / 1e6, 1),
    }


def _least_of(work: Callable[[], object], before: tuple[float, float]) -> tuple[float, float]:
    """Wall and CPU seconds of one more run, or of an earlier one that was quicker."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return min(before[0], time.perf_counter() - wall), min(before[1], time.process_time() - cpu)


def peak_memory() -> float:
    """The most memory that this process ever had, in bytes; NaN where the system does not say."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((1024.0 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), float("nan"))


def against_whylogs(folder: Path, table: pa.Table, ours: float) -> dict[str, object]:
    """The same rows through `why.log`, or why not."""
    python = CACHE / "bin" / "python"
    path = folder / "whylogs.parquet"
    pq.write_table(table, path)
    try:
        if not python.exists():
            subprocess.run(
                [sys.executable, "-m", "venv", str(CACHE)], check=True, capture_output=True, text=True
            )
            install = [str(python), "-m", "pip", "install", "--quiet", *WHYLOGS]
            subprocess.run(install, check=True, capture_output=True, text=True)
        command = [str(python), "-c", WHYLOGS_PROGRAM, str(path)]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except subprocess.CalledProcessError as error:
        return {"skipped": (error.stderr or str(error)).strip().splitlines()[-1]}
    seconds = float(printed.split()[-1])
    return {"cpu_s": round(seconds, 2), "times_ours": round(seconds / ours, 1)}


# --- data ----------------------------------------------------------------------------------------------------------


def mixed_table(rows: int, *, seed: int = 0) -> pa.Table:
    """Twenty columns, each with 3 % nulls: doubles of many shapes, integers and strings of few and many values."""
    rng = np.random.default_rng(seed)

    def column(values: NDArray) -> pa.Array:
        return pa.array(values, mask=rng.random(rows) < 0.03)

    def strings(texts: Iterable[str], codes: NDArray[np.int64]) -> pa.Array:
        indices = pa.array(codes.astype(np.int32), mask=rng.random(rows) < 0.03)
        return pa.DictionaryArray.from_arrays(indices, pa.array(texts, pa.string())).cast(pa.string())

    heavy_tail = rng.standard_t(2, rows)
    heavy_tail[rng.integers(0, rows, max(rows // 1_000, 1))] = np.nan
    heavy_tail[rng.integers(0, rows, max(rows // 10_000, 1))] = np.inf
    doubles = [
        rng.normal(size=rows),
        rng.lognormal(size=rows),
        rng.random(rows),
        rng.exponential(3, rows),
        np.round(rng.gamma(2, 20, rows), 2),
        rng.normal(100, 15, rows).astype(np.float32).astype(np.float64),
        np.where(rng.random(rows) < 0.6, 0.0, rng.lognormal(2, 1, rows)),
        heavy_tail,
        np.where(rng.random(rows) < 0.5, rng.normal(-3, 1, rows), rng.normal(4, 2, rows)),
        rng.normal(1e6, 1, rows),
    ]
    shares = 1 / np.arange(1, 201) ** 1.1
    users = max(rows // 2, 1)
    skus = np.where(rng.random(rows) < 0.5, rng.zipf(1.3, rows) % 10_000, rng.integers(0, 10_000, rows))
    start = 1_700_000_000_000_000
    return pa.table(
        {
            **{f"f{place}": column(values) for place, values in enumerate(doubles)},
            "i_low": column(rng.integers(0, 20, rows)),
            "i_zipf": column(np.minimum(rng.zipf(1.5, rows), 2**40)),
            "i_mid": column(rng.integers(0, 100_000, rows)),
            "i_high": column(rng.integers(0, 2**62, rows)),
            "s_low": strings([f"cat_{code:02d}" for code in range(50)], rng.integers(0, 50, rows)),
            "s_skew": strings(
                [f"country-{code}" for code in range(200)], rng.choice(200, rows, p=shares / shares.sum())
            ),
            "s_mid": strings([f"product/sku-{code:05d}" for code in range(10_000)], skus),
            "s_high": strings(
                [f"user-{value:x}" for value in rng.integers(0, 2**48, users).tolist()],
                rng.integers(0, users, rows),
            ),
            "b": column(rng.random(rows) < 0.3),
            "ts": column((start + np.sort(rng.integers(0, 86_400_000_000, rows))).astype("datetime64[us]")),
        }
    )


def wide_table(rows: int, columns: int) -> pa.Table:
    """Many columns: nine in ten are doubles, the others integers of few values."""
    rng = np.random.default_rng(0)
    return pa.table(
        {
            f"c{place}": rng.integers(0, 50, rows) if place % 10 == 0 else rng.normal(size=rows)
            for place in range(columns)
        }
    )


# --- tables --------------------------------------------------------------------------------------------------------


def show_throughput(throughput: dict[str, dict[str, float]]) -> None:
    table = Table("data", "CPU s", "million cells per core-second", "times the bare pass")
    for name, figures in throughput.items():
        million, times = figures["cells_per_core_second"] / 1e6, figures["times_bare_pass"]
        least_million = MILLION_CELLS.get(name.split(",")[0])
        # Of few or wide columns the bare pass is cheap in a way that says nothing about profiles.
        of_times = (
            f"{times:.2f}{_target(times, '<=', TIMES_BARE_PASS)}" if "mixed" in name else f"{times:.2f}"
        )
        of_million = "" if least_million is None else _target(million, ">=", least_million)
        table.add_row(name, f"{figures['cpu_s']:.3f}", f"{million:.1f}{of_million}", of_times)
    Console(width=110).print(table)


def _target(figure: float, way: str, target: float) -> str:
    """The target and whether the figure meets it."""
    met = figure <= target if way == "<=" else figure >= target
    return f" (target {way} {target:g}: {'met' if met else 'MISSED'})"


def show_rest(found: dict[str, object]) -> None:
    table = Table("what", "figures")
    for name in ("threads", "segments", "small_batch", "first_profile", "streaming", "whylogs"):
        figures = found.get(name)
        for entry in figures if isinstance(figures, list) else [figures]:
            if isinstance(entry, dict):
                table.add_row(name, ", ".join(_figures(name, entry)))
    Console(width=110).print(table)


def _figures(name: str, entry: dict[str, float]) -> Iterator[str]:
    if "skipped" in entry:
        yield f"skipped: {entry['skipped']}"
        return
    targets = TARGETS[name](entry)
    for key, value in entry.items():
        yield f"{key} {value:,}" + (_target(value, *targets[key]) if key in targets else "")


if __name__ == "__main__":
    main()
