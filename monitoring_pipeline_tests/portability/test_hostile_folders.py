from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.portability import export_datasets, import_folder, layout
from monitoring_pipeline.profiling.profile import components_to_bytes
from monitoring_pipeline.store.database import Store, open_store, upgrade
from monitoring_pipeline.store.datasets import datasets
from monitoring_pipeline.timegrid import EPOCH
from monitoring_pipeline_tests.store.first_release import first_release_file


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export as it should be."""
    path = first_release_file(tmp_path_factory.mktemp("orders") / "store.db")
    upgrade(f"sqlite:///{path}")
    store = open_store(f"sqlite:///{path}")
    export_datasets(store, datasets(store), path.parent / "moving", now=EPOCH)
    store.close()
    return path.parent / "moving"


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    """A copy of it, to be tampered with."""
    return Path(shutil.copytree(sound, tmp_path / "moving"))


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store that stays empty."""
    store = open_store(f"sqlite:///{tmp_path_factory.mktemp('empty') / 'store.db'}")
    yield store
    store.close()


def refused(store: Store, folder: Path, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        import_folder(store, folder, actor="ada", now=EPOCH)
    assert len(str(caught.value)) < 1_000
    assert datasets(store) == []


def manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest."""
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def rewritten(folder: Path, name: str, change: Callable[[pa.Table], pa.Table]) -> None:
    """Change the rows of a file, with a manifest that vouches for them."""
    path = folder / "001-orders" / f"{name}.parquet"
    table = change(pq.read_table(path))
    pq.write_table(table, path)
    said = {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "bytes": path.stat().st_size,
        "rows": table.num_rows,
    }
    manifest(folder, lambda content: content["datasets"][0]["files"].update({path.name: said}))


def with_value(name: str, value: object, *, row: int = 1) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        at = table.schema.get_field_index(name)
        values = table.column(name).to_pylist()
        values[row] = value
        return table.set_column(at, table.field(name), pa.array(values, table.field(name).type))

    return change


def test_a_folder_without_a_manifest_is_no_export(empty: Store, tmp_path: Path) -> None:
    refused(empty, tmp_path, "no exported folder")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "null", "[" * 100_000, '{"format": 1, "version": 1}', "\x80"]
)
def test_a_manifest_that_is_none_is_refused(empty: Store, folder: Path, text: str) -> None:
    (folder / "manifest.json").write_bytes(text.encode("latin-1"))
    refused(empty, folder, "manifest")


def test_a_manifest_of_a_later_version_is_refused_with_its_number(empty: Store, folder: Path) -> None:
    manifest(folder, lambda content: content.update(version=2))
    refused(empty, folder, "version 2; accepted: monitoring-pipeline-export version 1")


@pytest.mark.parametrize(
    "name", ["../moving/001-orders", "/etc", "001-orders/..", "", ".", "001-orders\0", 7]
)
def test_a_dataset_outside_the_folder_is_refused(empty: Store, folder: Path, name: object) -> None:
    manifest(folder, lambda content: content["datasets"][0].update(folder=name))
    refused(empty, folder, "is no folder of an export")


@pytest.mark.parametrize("name", ["../../secret.parquet", "other.parquet", "/etc/passwd"])
def test_a_file_that_no_export_has_is_refused(empty: Store, folder: Path, name: str) -> None:
    manifest(
        folder,
        lambda content: content["datasets"][0]["files"].update({name: {"sha256": "", "bytes": 0, "rows": 0}}),
    )
    refused(empty, folder, "is no file of an export")


def test_a_link_that_leads_elsewhere_is_refused(empty: Store, folder: Path, tmp_path: Path) -> None:
    path = folder / "001-orders" / "profiles.parquet"
    path.rename(tmp_path / "elsewhere.parquet")
    path.symlink_to(tmp_path / "elsewhere.parquet")
    refused(empty, folder, "missing, or no file inside")


def test_a_dataset_folder_that_is_a_link_is_refused(empty: Store, folder: Path, tmp_path: Path) -> None:
    (folder / "001-orders").rename(tmp_path / "elsewhere")
    (folder / "001-orders").symlink_to(tmp_path / "elsewhere")
    refused(empty, folder, "missing, or no file inside")


def test_a_missing_file_is_named(empty: Store, folder: Path) -> None:
    (folder / "001-orders" / "results.parquet").unlink()
    refused(empty, folder, "results.parquet is missing")
    manifest(folder, lambda content: content["datasets"][0]["files"].pop("results.parquet"))
    refused(empty, folder, "results.parquet of orders is missing")


def test_a_changed_byte_is_found_by_the_checksum(empty: Store, folder: Path) -> None:
    path = folder / "001-orders" / "profiles.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    refused(empty, folder, "profiles.parquet is damaged: its checksum")


def test_a_truncated_file_is_found_by_its_size(empty: Store, folder: Path) -> None:
    path = folder / "001-orders" / "profiles.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    refused(empty, folder, "profiles.parquet has .* bytes; the manifest says")


def test_a_file_that_is_no_parquet_is_refused_though_the_manifest_vouches_for_it(
    empty: Store, folder: Path
) -> None:
    path = folder / "001-orders" / "profiles.parquet"
    path.write_bytes(b"PAR1" + b"\xff" * 500 + b"PAR1")
    said = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size, "rows": 1}
    manifest(folder, lambda content: content["datasets"][0]["files"].update({path.name: said}))
    refused(empty, folder, "profiles.parquet cannot be read")


@pytest.mark.parametrize(
    ("name", "column", "value", "message"),
    [
        ("profiles", "components", b"not a sketch", "row 2: profile components"),
        ("profiles", "components", components_to_bytes({"kll.v1": b"\x05" * 40}), "row 2: a KLL sketch"),
        ("profiles", "components", components_to_bytes({"hll.v1": b"\xff" * 9}), "row 2: an HLL sketch"),
        (
            "profiles",
            "components",
            components_to_bytes({"frequent_items.v1": b"\x04" * 50}),
            "row 2: a frequent",
        ),
        ("profiles", "components", components_to_bytes({"performance.v1": b"\x00" * 50}), "row 2: "),
        ("profiles", "grain", "year", "row 2: 'year' is no grain"),
        ("profiles", "segment", "no key", "row 2: .*segment"),
        ("profiles", "segment", "a=\0", "NUL"),
        ("references", "profile", b"MPcp", "row 2: column profile"),
        ("batches", "quality", "[]", "row 2: JSON that is no object"),
        ("batches", "quality", '{"late": NaN}', "quality is not JSON"),
        ("batches", "quality", "[" * 100_000, "quality is not JSON"),
        ("batches", "rows", -1, "row 2: a negative count"),
        ("results", "state", "secret", "row 2: 'secret' is no state"),
        ("results", "failure_type", "boom", "row 2: "),
        ("results", "granularity", "yearly", "row 2: 'yearly'"),
        ("results", "details", "{", "details is not JSON"),
        ("documents", "hash", "0" * 64, "row 2: the hash of a document"),
        ("documents", "kind", "other", "row 2: 'other' is no kind"),
        ("digests", "content", "{}", "row 2: "),
        ("incidents", "content", '{"id": 1}', "row 2: "),
        ("deliveries", "state", "sending", "row 2: 'sending' is no state"),
    ],
    ids=map(str, range(22)),
)
def test_a_row_that_nobody_could_read_later_is_refused_with_its_place(
    empty: Store, folder: Path, name: str, column: str, value: object, message: str
) -> None:
    rewritten(folder, name, with_value(column, value))
    refused(empty, folder, message)


def test_a_time_beyond_all_years_is_refused(empty: Store, folder: Path) -> None:
    def far(table: pa.Table) -> pa.Table:
        times = pa.array([(1 << 62)] * table.num_rows).cast(layout.TIME)
        return table.set_column(table.schema.get_field_index("created"), table.field("created"), times)

    rewritten(folder, "results", far)
    refused(empty, folder, "created is a time beyond all years")


def test_a_column_of_another_type_or_too_many_is_refused(empty: Store, folder: Path) -> None:
    def as_text(table: pa.Table) -> pa.Table:
        at = table.schema.get_field_index("rows")
        return table.set_column(at, "rows", pc.cast(table.column("rows"), pa.string()))

    rewritten(folder, "batches", as_text)
    refused(empty, folder, "the column 'rows' is missing, unknown or of another type")
    rewritten(folder, "batches", lambda table: table.append_column("more", table.column("files")))
    refused(empty, folder, "the column 'more' is missing, unknown or of another type")


def test_more_rows_than_the_manifest_says_are_refused(empty: Store, folder: Path) -> None:
    files = "001-orders"
    manifest(folder, lambda content: content["datasets"][0]["files"]["results.parquet"].update(rows=1))
    refused(empty, folder, f"{files}/results.parquet has 72 rows; the manifest says 1")


def test_a_column_that_would_fill_the_memory_is_refused_before_it_is_read(
    empty: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitoring_pipeline.portability.checking.MOST_CHUNK_BYTES", 1_000)
    refused(empty, folder, "a column of a row group has more than 1,000 bytes")


def test_what_is_refused_after_other_files_were_written_leaves_nothing(empty: Store, folder: Path) -> None:
    rewritten(folder, "feedback", with_value("note", "\0", row=0))  # the last file
    refused(empty, folder, "NUL")
