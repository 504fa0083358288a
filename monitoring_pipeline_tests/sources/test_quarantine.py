"""Files that cannot be used are kept aside with their reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitoring_pipeline.errors import SourceError
from monitoring_pipeline.sources.listing import find_files
from monitoring_pipeline.sources.quarantine import QUARANTINE, keep_aside


def test_a_copy_lies_beside_its_reason(tmp_path: Path) -> None:
    kept = keep_aside(b"damaged", "landing/upload.bin", "the file is empty", folder=tmp_path / "aside")
    assert kept.parent == tmp_path / "aside"
    assert (kept.name.startswith("upload-"), kept.suffix, kept.read_bytes()) == (True, ".bin", b"damaged")
    reason = kept.with_name(f"{kept.name}.reason.txt")
    assert reason.read_text(encoding="utf-8") == "landing/upload.bin: the file is empty\n"


def test_files_of_one_name_in_several_folders_have_a_copy_each(tmp_path: Path) -> None:
    for path in ("one/upload.bin", "two/upload.bin", "one_upload.bin"):
        keep_aside(path.encode(), path, "damaged", folder=tmp_path)
    copies = {file.read_text() for file in tmp_path.glob("*.bin")}
    assert copies == {"one/upload.bin", "two/upload.bin", "one_upload.bin"}


def test_a_later_state_of_a_file_replaces_its_copy(tmp_path: Path) -> None:
    for content in (b"one", b"two", b"two"):
        kept = keep_aside(content, "upload.bin", f"it is {content.decode()}", folder=tmp_path)
    assert kept.read_bytes() == b"two"
    assert sorted(file.name for file in tmp_path.iterdir()) == [kept.name, f"{kept.name}.reason.txt"]


def test_of_a_file_that_is_too_large_only_the_reason_is_kept(tmp_path: Path) -> None:
    keep_aside(b"small", "upload.bin", "damaged", folder=tmp_path)
    told = keep_aside(None, "upload.bin", "300,000,000 bytes", folder=tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [told.name]
    assert told.read_text() == "upload.bin: 300,000,000 bytes\n"


@pytest.mark.parametrize(
    "path",
    ["../../../etc/passwd", "s3://bucket/ä/" + "x" * 5_000 + ".bin", "a/..", ".bin", "/", "n\x00\n.b\ti"],
)
def test_a_strange_name_stays_inside_the_folder(tmp_path: Path, path: str) -> None:
    kept = keep_aside(b"content", path, "damaged", folder=tmp_path / "aside")
    assert kept.resolve().parent == tmp_path / "aside"
    assert not kept.name.startswith(".")
    assert {file.name for file in tmp_path.iterdir()} == {"aside"}


def test_what_is_kept_aside_is_never_taken_for_data(tmp_path: Path) -> None:
    keep_aside(b"damaged", "upload.bin", "damaged", folder=tmp_path / QUARANTINE / "visits")
    assert find_files(["**/*", "*/*/*.bin"], tmp_path) == []


def test_a_folder_that_cannot_be_written_is_a_source_error(tmp_path: Path) -> None:
    (tmp_path / "aside").write_text("a file where the folder belongs")
    with pytest.raises(SourceError, match=r"upload\.bin cannot be kept aside in .*aside: "):
        keep_aside(b"damaged", "upload.bin", "damaged", folder=tmp_path / "aside")
