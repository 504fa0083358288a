from __future__ import annotations

from pathlib import Path

import pytest

from monitoring_pipeline.errors import MissingExtraError, SourceError
from monitoring_pipeline.sources.listing import file_format, find_files


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in [
        "landing/a.parquet",
        "landing/2026/b.parquet",
        "landing/2026/01/c.csv.gz",
        "landing/2026/01/notes.txt",
        "landing/_tmp/d.parquet",
        "landing/2026/.e.parquet.part",
        "other/f.jsonl",
    ]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def paths(pattern: str | list[str], home: Path) -> list[str]:
    return [file.path for file in find_files([pattern] if isinstance(pattern, str) else pattern, home)]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("landing", ["landing/2026/01/c.csv.gz", "landing/2026/b.parquet", "landing/a.parquet"]),
        ("landing/*.parquet", ["landing/a.parquet"]),
        ("landing/**/*.parquet", ["landing/2026/b.parquet", "landing/a.parquet"]),
        ("landing/20??/[a-c].*", ["landing/2026/b.parquet"]),
        ("landing/20??/[!b].*", []),
        ("landing/2026/01/*", ["landing/2026/01/c.csv.gz", "landing/2026/01/notes.txt"]),
        ("landing/a.parquet", ["landing/a.parquet"]),
        ("landing/_tmp/d.parquet", ["landing/_tmp/d.parquet"]),
        ("./landing/../other", ["other/f.jsonl"]),
        ("nowhere/*.parquet", []),
        ("**/f.jsonl", ["other/f.jsonl"]),
    ],
)
def test_files_folders_and_globs(tree: Path, pattern: str, found: list[str]) -> None:
    assert paths(pattern, tree) == found


def test_a_list_of_patterns_names_each_file_once(tree: Path) -> None:
    assert paths(["landing/*.parquet", "landing/a.*", "other"], tree) == [
        "landing/a.parquet",
        "other/f.jsonl",
    ]


def test_absolute_paths_keep_their_name(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    assert paths(f"{tree}/other/*", elsewhere) == [f"{tree}/other/f.jsonl"]


@pytest.mark.parametrize("pattern", ["../secret/*.csv", "landing/../../x", "landing/*/../../../x"])
def test_relative_paths_do_not_leave_the_workspace(tree: Path, pattern: str) -> None:
    with pytest.raises(SourceError, match="leaves the workspace"):
        paths(pattern, tree)


def test_file_urls_are_read(tree: Path) -> None:
    assert paths(f"file://{tree}/other/*.jsonl", tree) == [f"file://{tree}/other/f.jsonl"]


def test_fsspec_urls_are_read_and_credentials_are_not_named() -> None:
    fsspec = pytest.importorskip("fsspec")
    fsspec.filesystem("memory").pipe("/bucket/rows/a.csv", b"a\n1\n")
    try:
        files = find_files(["memory://bucket/**/*.csv"], Path())
        assert [file.path for file in files] == ["memory://bucket/rows/a.csv"]
        assert files[0].unchanged()
        with files[0].filesystem.open_input_file(files[0].address) as handle:
            assert handle.read() == b"a\n1\n"
    finally:
        fsspec.filesystem("memory").rm("/bucket", recursive=True)


def test_a_scheme_without_its_library_is_a_clear_error() -> None:
    with pytest.raises((MissingExtraError, SourceError), match="unheard"):
        find_files(["unheard://user:hunter2@host/x/*.csv"], Path())


def test_a_file_that_changes_is_noticed(tree: Path) -> None:
    (file,) = find_files(["landing/a.parquet"], tree)
    assert file.unchanged()
    (tree / "landing/a.parquet").write_bytes(b"more")
    assert not file.unchanged()
    (tree / "landing/a.parquet").unlink()
    assert not file.unchanged()


@pytest.mark.parametrize(
    ("path", "format_"),
    [
        ("a.PARQUET", "parquet"),
        ("a.tsv", "csv"),
        ("a.csv.zst", "csv"),
        ("a.ndjson.gz", "jsonl"),
        ("a.txt", None),
    ],
)
def test_formats_by_extension(path: str, format_: str | None) -> None:
    assert file_format(path) == format_
