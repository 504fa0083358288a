"""Files that cannot be used are kept aside with their reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitoring_pipeline.errors import SourceError
from monitoring_pipeline.sources.quarantine import REJECTED, quarantine


def test_a_rejected_file_lies_beside_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "upload.bin"
    path.write_bytes(b"damaged")
    moved = quarantine(path, "upload.bin: the file is empty")
    assert not path.exists()
    assert moved == tmp_path / REJECTED / "upload.bin"
    assert moved.read_bytes() == b"damaged"
    reason = tmp_path / REJECTED / "upload.bin.reason.txt"
    assert reason.read_text(encoding="utf-8") == "upload.bin: the file is empty\n"


def test_a_file_of_the_same_name_does_not_replace_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "upload.bin"
    for number in (1, 2, 3):
        path.write_text(f"content {number}")
        quarantine(path, f"reason {number}")
    folder = tmp_path / REJECTED
    found = {file.name: file.read_text(encoding="utf-8").strip() for file in folder.iterdir()}
    assert found == {
        "upload.bin": "content 1",
        "upload.bin.reason.txt": "reason 1",
        "upload.2.bin": "content 2",
        "upload.2.bin.reason.txt": "reason 2",
        "upload.3.bin": "content 3",
        "upload.3.bin.reason.txt": "reason 3",
    }


def test_a_file_that_is_not_there_is_a_source_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"absent\.bin cannot be put aside"):
        quarantine(tmp_path / "absent.bin", "reason")
    assert list(tmp_path.iterdir()) == []
