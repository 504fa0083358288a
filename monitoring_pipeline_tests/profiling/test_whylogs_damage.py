"""Bytes that nobody vouches for: one clear error or a sound profile, never anything else, and never much memory."""

from __future__ import annotations

import tracemalloc
import zipfile
from functools import cache
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring_pipeline.errors import ProfileError
from monitoring_pipeline.profiling import DatasetProfile, merge_datasets
from monitoring_pipeline.profiling.whylogs import read_whylogs, read_whylogs_file, write_whylogs
from monitoring_pipeline.profiling.whylogs.protobuf import put, put_delimited, put_varint
from monitoring_pipeline_tests.profiling.whylogs_files import BUCKET, FOLDER, LEFT, mixed_profile

HUGE = (1 << 62) - 1
COLUMN = 2


@cache
def sound_files() -> dict[str, bytes]:
    """Files of ours and, where they are at hand, of whylogs: every format, and a zip."""
    files = {"ours.bin": write_whylogs(mixed_profile(), LEFT, dataset_timestamp=BUCKET)}
    names = ("row.bin", "small.bin", "cls.bin", "clsseg_0.bin", "reg.bin", "segkv.bin", "seg2_0_v0.bin")
    files |= {name: (FOLDER / name).read_bytes() for name in names if FOLDER.is_dir()}
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("a.bin", min(files.values(), key=len))
        target.writestr("b.bin", files["ours.bin"])
    return files | {"upload.zip": archive.getvalue()}


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    """A sound file with some bytes changed, put in or taken out."""
    data = bytearray(draw(st.sampled_from(sorted(sound_files().values(), key=len))))
    for _ in range(draw(st.integers(1, 6))):
        # Most of what matters is at the beginning: headers, names, lengths.
        last = max(min(len(data), draw(st.sampled_from([12, 120, 1_500, 1 << 30]))) - 1, 0)
        at = draw(st.integers(0, last))
        kind = draw(st.integers(0, 3))
        if kind == 0:
            data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
        elif kind == 1:
            data[at:at] = draw(st.binary(min_size=1, max_size=12))
        elif kind == 2:
            del data[at : at + draw(st.integers(1, 40))]
        else:
            data[at : at + 8] = draw(st.sampled_from([b"\xff" * 8, bytes(8), b"\xff" * 7 + b"\x7f"]))
    return bytes(data[: draw(st.one_of(st.just(len(data)), st.integers(0, len(data))))])


@settings(max_examples=400)
@given(damaged_files())
def test_a_damaged_file_is_a_profile_error_or_a_profile_that_works(data: bytes) -> None:
    try:
        found = read_whylogs(data, source="upload.bin")
    except ProfileError as error:
        assert str(error).startswith("upload.bin: ")  # noqa: PT017
        return
    merged = merge_datasets(each.profile for each in found)
    assert DatasetProfile.from_bytes(merged.to_bytes()) == merged
    for segment, columns in merged.columns.items():
        for column in columns.values():
            column.scalars()
            column.top_items(3)
        write_whylogs(merged, segment, dataset_timestamp=BUCKET)


@given(st.binary(max_size=200), st.sampled_from([b"", b"WHY1", b"WHY1\x00", b"PK\x03\x04", b"\x0a"]))
def test_any_bytes_are_a_profile_error_or_a_profile(rest: bytes, start: bytes) -> None:
    try:
        read_whylogs(start + rest, source="upload.bin")
    except ProfileError as error:
        assert str(error).startswith("upload.bin: ")  # noqa: PT017


@pytest.mark.parametrize("name", sorted(sound_files()))
def test_a_file_that_ends_early_is_a_profile_error(name: str) -> None:
    data = sound_files()[name]
    trailing = 9 if name == "segkv.bin" else 0  # what whylogs leaves behind segments
    for size in [*range(min(len(data), 200)), *range(200, len(data) - trailing, 997)]:
        with pytest.raises(ProfileError, match=r"^cut: "):
            read_whylogs(data[:size], source="cut")


def file_of(
    columns: bytes, *, length: int, body: bytes = b"", paths: bytes = b"", properties: bytes = b""
) -> bytes:
    header = put(1, properties) + columns + put(4, length) + paths
    return b"WHY1\x00" + put_delimited(header) + body


def column(name: str, *offsets: int) -> bytes:
    return put(2, put(1, name) + put(2, put(1, b"".join(map(put_varint, offsets)))))


def chunk(path: int, component: bytes) -> bytes:
    message = put(1, put(1, path) + put(2, component))
    return put_delimited(put(1, COLUMN) + put(3, len(message))) + message


def kll_claiming(*, height: int, n: int) -> bytes:
    head = bytes([5, 1, 15, 2]) + (200).to_bytes(2, "little") + b"\x08\x00"
    return head + n.to_bytes(8, "little") + (200).to_bytes(2, "little") + bytes([height, 0]) + b"\xff" * 64


def hll_claiming(*, lg_k: int, mode: int) -> bytes:
    return bytes([{0: 2, 1: 3, 2: 10}[mode & 3], 1, 7, lg_k, 31, 8, 255, mode]) + b"\xff" * 64


def items_claiming(count: int) -> bytes:
    return bytes([4, 1, 10, 31, 31, 0, 0, 0]) + count.to_bytes(4, "little") + b"\xff" * 64


def sketch_file(path: str, field: int, image: bytes) -> bytes:
    body = chunk(0, put(field, put(1, image)))
    return file_of(column("x", 0), length=len(body), body=body, paths=put(5, put(2, path)))


CLAIMS = {
    "segment header": b"WHY1" + put_varint(HUGE),
    "profile header": b"WHY1\x00" + put_varint(HUGE),
    "body": file_of(b"", length=HUGE),
    "offset": file_of(column("x", HUGE), length=4, body=b"abcd"),
    "chunk": file_of(
        column("x", 0), length=20, body=put_delimited(put(1, COLUMN) + put(3, HUGE)).ljust(20, b"\0")
    ),
    "kll": sketch_file("distribution/kll", 6, kll_claiming(height=60, n=HUGE)),
    "kll levels": sketch_file("distribution/kll", 6, kll_claiming(height=255, n=2)),
    "hll list": sketch_file("cardinality/hll", 5, hll_claiming(lg_k=21, mode=0)),
    "hll set": sketch_file("cardinality/hll", 5, hll_claiming(lg_k=21, mode=1)),
    "hll 4": sketch_file("cardinality/hll", 5, hll_claiming(lg_k=21, mode=2)),
    "hll 6": sketch_file("cardinality/hll", 5, hll_claiming(lg_k=21, mode=2 | 1 << 2)),
    "hll 8": sketch_file("cardinality/hll", 5, hll_claiming(lg_k=21, mode=2 | 2 << 2)),
    "items": sketch_file("frequent_items/frequent_strings", 4, items_claiming((1 << 32) - 1)),
    "older message": put_varint(HUGE) + b"abc",
    "count": file_of(
        column("x", 0),
        length=len(chunk(0, put(2, HUGE))),
        body=chunk(0, put(2, HUGE)),
        paths=put(5, put(2, "counts/n")),
    ),
    "time": file_of(b"", length=0, properties=put(5, HUGE)),
}


@pytest.mark.parametrize("claim", sorted(CLAIMS))
def test_a_claim_is_checked_before_anything_is_allocated_for_it(claim: str) -> None:
    data = CLAIMS[claim]
    tracemalloc.start()
    try:
        with pytest.raises(ProfileError, match=r"^claim: "):
            read_whylogs(data, source="claim")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 1 << 20


def test_columns_that_share_their_bytes_are_refused() -> None:
    body = chunk(0, put(2, 7) + put(99, b"x" * 50_000))
    columns = b"".join(column(f"column {at}", 0) for at in range(1_000))
    data = file_of(columns, length=len(body), body=body, paths=put(5, put(2, "counts/n")))
    with pytest.raises(ProfileError, match="column 'column 1': its bytes overlap"):
        read_whylogs(data, source="x")


def test_messages_within_messages_are_passed_over_without_going_down() -> None:
    nested = b""
    for _ in range(5_000):
        nested = put(11, nested)
    body = chunk(0, nested)
    data = file_of(column("x", 0), length=len(body), body=body, paths=put(5, put(2, "udf/nested")))
    [found] = read_whylogs(data, source="x")
    assert found.profile.columns[""]["x"].n == 0


def test_a_zip_is_bounded_by_what_comes_out_of_it() -> None:
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("bomb.bin", bytes(50_000_000))
    assert len(archive.getvalue()) < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(ProfileError, match=r"'bomb\.bin'.*more than 1000000 bytes come out"):
            read_whylogs(archive.getvalue(), source="x", most_bytes=1_000_000)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 8_000_000


def test_a_zip_of_very_many_files_is_refused() -> None:
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w") as target:
        for at in range(10_001):
            target.writestr(zipfile.ZipInfo(str(at)), b"")
    with pytest.raises(ProfileError, match="more than 10000 files"):
        read_whylogs(archive.getvalue(), source="x")


def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        file.truncate(1 << 30)  # takes no room on the disk
    with pytest.raises(ProfileError, match=r"large\.bin: more than 1000 bytes"):
        read_whylogs_file(path, most_bytes=1_000)


def test_a_file_that_is_not_there_is_a_profile_error(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"absent\.bin: No such file"):
        read_whylogs_file(tmp_path / "absent.bin")


def test_the_error_names_file_column_component_and_fault() -> None:
    data = sketch_file("distribution/kll", 6, b"not a sketch at all")
    with pytest.raises(ProfileError) as caught:
        read_whylogs(data, source="upload.bin")
    assert str(caught.value) == (
        "upload.bin: column 'x': component 'distribution/kll': a KLL sketch that is damaged or of another kind"
    )


def test_a_column_without_a_name_is_refused() -> None:
    with pytest.raises(ProfileError, match="column without a name"):
        read_whylogs(file_of(column(""), length=0), source="x")


def test_a_file_of_something_else_is_refused() -> None:
    with pytest.raises(ProfileError, match="neither a whylogs profile nor a zip of them"):
        read_whylogs(b"PAR1 is how a Parquet file begins", source="x")
