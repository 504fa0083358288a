"""Which files belong together, and a bounded sample of their rows, spread over the files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pyarrow as pa
import pyarrow.parquet as pq

from monitoring_pipeline.errors import SourceError
from monitoring_pipeline.sources import delimited, jsonlines
from monitoring_pipeline.sources.listing import FoundFile, described, file_format, find_files
from monitoring_pipeline.sources.records import without_duplicate_columns

SAMPLE_ROWS = 50_000
_SAMPLE_FILES = 12

_READ_ERRORS = (OSError, pa.ArrowException, EOFError, UnicodeError)


def files_of_one_kind(path: str, home: Path, notes: list[str]) -> tuple[list[FoundFile], str]:
    """The files that are named alike (apart from digits), and a pattern for them; others are left out, and named."""
    files = [file for file in find_files([path], home) if file_format(file.path) is not None]
    if not files:
        raise SourceError(f"no Parquet, CSV or JSON-lines file in {described([path], home)}")
    names = Counter(_shape_of(file.path) for file in files)
    shape, _ = max(names.items(), key=lambda item: (item[1], item[0]))
    chosen = [file for file in files if _shape_of(file.path) == shape]
    if len(chosen) == len(files):
        return files, path
    left_out = len(files) - len(chosen)
    folder = chosen[0].path.rpartition("/")[0]
    pattern = (
        f"{folder}/{shape[1]}" if all(file.path.rpartition("/")[0] == folder for file in chosen) else path
    )
    notes.append(f"{left_out} file(s) named unlike {shape[1]} are left out")
    return chosen, pattern


def _shape_of(path: str) -> tuple[str, str]:
    """Format, and the file's name with `*` for digits."""
    return cast(str, file_format(path)), re.sub(r"\d+", "*", path.rpartition("/")[2])


@dataclass(frozen=True)
class Sample:
    """Some rows of some files."""

    table: pa.Table
    rows_in_all: int
    """Extrapolated by size from the files looked at."""

    @classmethod
    def of(cls, files: Sequence[FoundFile]) -> Sample:
        """Read the first rows of up to a dozen files. Raises SourceError when there are none."""
        step = max((len(files) - 1) / max(_SAMPLE_FILES - 1, 1), 1)
        picked = sorted({round(i * step) for i in range(_SAMPLE_FILES) if round(i * step) < len(files)})
        each = SAMPLE_ROWS // len(picked)
        tables: list[pa.Table] = []
        rows = size = 0
        trouble = ""
        for index in picked:
            try:
                table, rows_of_file = _first_rows(files[index], each)
            except _READ_ERRORS as error:
                trouble = f"{files[index].path}: {type(error).__name__}"
                continue
            tables.append(table)
            rows, size = rows + rows_of_file, size + files[index].size
        if not tables or not any(table.num_rows for table in tables):
            raise SourceError(
                f"no rows in {len(picked)} of {len(files)} files looked at; {trouble or 'they are empty'}"
            )
        joined = pa.concat_tables(_unified(tables))
        return cls(joined, round(rows * sum(file.size for file in files) / max(size, 1)))


def _first_rows(file: FoundFile, limit: int) -> tuple[pa.Table, int]:
    """Rows spread over the file as far as that is cheap, and how many rows it has or seems to have."""
    if file_format(file.path) == "parquet":
        with file.filesystem.open_input_file(file.address) as handle, pq.ParquetFile(handle) as parquet:
            rows = parquet.metadata.num_rows
            groups = sorted({0, parquet.num_row_groups - 1}) if parquet.num_row_groups else []
            taken = [
                next(parquet.iter_batches(max(limit // len(groups), 1), row_groups=[group]), None)
                for group in groups
            ]
            batches = [without_duplicate_columns(batch) for batch in taken if batch is not None]
            if not batches:
                return parquet.schema_arrow.empty_table(), rows
            return pa.Table.from_batches(batches), rows
    stream = (
        delimited.batches(file, None, types={})
        if file_format(file.path) == "csv"
        else jsonlines.batches(file)
    )
    first = next(iter(stream), None)
    if first is None:
        return pa.table({}), 0
    table = pa.Table.from_batches([first.slice(0, limit)])
    read = delimited.BLOCK_BYTES if first.num_rows and file.size > delimited.BLOCK_BYTES else file.size
    return table, round(first.num_rows * file.size / max(read, 1))


def _unified(tables: Sequence[pa.Table]) -> list[pa.Table]:
    """The tables with one schema: where types differ, numbers become floats and everything else text."""
    kinds: dict[str, pa.DataType] = {}
    for table in tables:
        for field in table.schema:
            known = kinds.get(field.name)
            kinds[field.name] = field.type if known is None else _common(known, field.type)
    unified: list[pa.Table] = []
    for table in tables:
        columns = {
            name: table[name].cast(kind) if name in table.column_names else pa.nulls(table.num_rows, kind)
            for name, kind in kinds.items()
        }
        unified.append(pa.table(columns))
    return unified


def _common(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    numbers = [pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in (one, other)]
    return pa.float64() if all(numbers) else pa.string()
