"""Finding files: a file, folder or glob, in the workspace, on the machine, or behind a URL, as one sorted list.

Relative paths lie inside the workspace home and cannot leave it through `..`; absolute paths and URLs are taken as
they are. `*` and `?` stay within a folder, `**` crosses folders, `[…]` is a set of characters. Names that begin
with `.` or `_` are skipped wherever a pattern or folder finds them, because writers keep unfinished files there.
URLs that Arrow knows itself (s3, gs, abfs, hdfs, file) are opened by Arrow, all others through fsspec.
"""

from __future__ import annotations

import heapq
import os
import posixpath
import re
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs as arrow_fs

from monitoring_pipeline.errors import MissingExtraError, SourceError
from monitoring_pipeline.timegrid import EPOCH, from_micros, to_micros, utc

EXTENSIONS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
"""File formats by extension; CSV and JSON lines may end in `.gz`, `.bz2` or `.zst` as well."""

_COMPRESSIONS = (".gz", ".bz2", ".zst")
_ARROW_SCHEMES = frozenset({"s3", "gs", "gcs", "abfs", "abfss", "hdfs", "file"})
_WILDCARD = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class FoundFile:
    """A file that lies there now. `path` is how the pipeline names it, `address` how `filesystem` opens it."""

    path: str
    address: str
    size: int
    modified: datetime
    filesystem: arrow_fs.FileSystem

    def state(self) -> tuple[int, datetime] | None:
        """Size and modification time at this very moment, None when the file is gone."""
        info = self.filesystem.get_file_info(self.address)
        return (info.size or 0, _modified(info, self.filesystem)) if info.is_file else None

    def unchanged(self) -> bool:
        """Whether the file still is the one that was found."""
        return self.state() == (self.size, self.modified)


def file_format(path: str) -> str | None:
    """parquet, csv or jsonl by extension, None where the extension says nothing.

    >>> file_format("landing/day.csv.gz")
    'csv'
    """
    name = path.rpartition("/")[2].lower()
    stem, dot, extension = name.rpartition(".")
    if dot + extension in _COMPRESSIONS:
        dot, extension = stem.rpartition(".")[1:]
    return EXTENSIONS.get(dot + extension)


@dataclass(frozen=True)
class Mark:
    """A file or folder of the machine as it was when it was listed; `state` is (modified in ns, size) or None: not there."""

    address: str
    state: tuple[int, int] | None

    def holds(self) -> bool:
        """Whether it still is as it was. One look at the file system."""
        return _state(self.address) == self.state


@dataclass(frozen=True)
class Found:
    """Files that lie there now, sorted by path, and marks by which a later look can tell that nothing has changed.

    The marks are the folders, whose times change when a file comes, goes or is renamed, and the newest files, which
    may still be written to: at most `_FOLDERS` and `_FILES`, the newest ones, so that a later look costs the same
    however long the history is. What they cannot show is an older file that is rewritten in place, and a file that
    comes to an old one of very many folders. None where there can be no marks: elsewhere than on this machine, or
    while a folder is so fresh that another change might leave its time as it is.
    """

    files: tuple[FoundFile, ...]
    marks: tuple[Mark, ...] | None
    checksum: int
    """Over names, sizes and times of the files; means something within one process only."""


_FOLDERS = 64
_FILES = 16
_SETTLED_NS = 2_000_000_000
"""How long ago a folder must have changed before its time can be trusted: clocks of file systems tick coarsely."""


def find(patterns: Sequence[str], home: Path) -> Found:
    """All files that any pattern matches, each once, with marks. Raises SourceError for a path that is refused."""
    began = time.time_ns()
    listed = [_Pattern.of(pattern, home).files() for pattern in patterns]
    found = {file.path: file for one in listed for file in one.files}
    files = tuple(found[path] for path in sorted(found))
    folders = {mark.address: mark for one in listed for mark in one.folders}
    trusted = all(one.local for one in listed) and all(
        mark.state is None or mark.state[0] < began - _SETTLED_NS for mark in folders.values()
    )
    marks = _marks(folders.values(), files) if trusted else None
    return Found(files, marks, sum(_checksum(one) for one in files) % _CHECKSUMS)


def find_files(patterns: Sequence[str], home: Path) -> list[FoundFile]:
    """The files that `find` finds."""
    return list(find(patterns, home).files)


def checksum(patterns: Sequence[str], home: Path) -> int:
    """The checksum of what `find` would find now, of files of this machine; four times as fast."""
    found = {
        hash((info.path, info.size or 0, (info.mtime_ns or 0) // 1_000))
        for pattern in patterns
        for info, _ in _Pattern.of(pattern, home).listed([])
    }
    return sum(found) % _CHECKSUMS


def mark(file: FoundFile) -> Mark:
    """The mark of one file of this machine, as it was found."""
    return Mark(file.address, (to_micros(file.modified) * 1_000, file.size))


def _marks(folders: Iterable[Mark], files: Sequence[FoundFile]) -> tuple[Mark, ...]:
    missing = [mark for mark in folders if mark.state is None]
    present = [mark for mark in folders if mark.state is not None]
    parents = {posixpath.dirname(mark.address) for mark in present}
    newest = heapq.nlargest(_FOLDERS, present, key=_modified_ns)
    branches = heapq.nlargest(
        _FOLDERS, (mark for mark in present if mark.address in parents), key=_modified_ns
    )
    recent = heapq.nlargest(_FILES, files, key=lambda file: file.modified)
    return tuple(dict.fromkeys([*missing, *branches, *newest, *map(mark, recent)]))


def _checksum(file: FoundFile) -> int:
    return hash((file.address, file.size, to_micros(file.modified)))


_CHECKSUMS = 2**64


def _modified_ns(mark: Mark) -> int:
    return mark.state[0] if mark.state is not None else 0


def _state(address: str) -> tuple[int, int] | None:
    """(modified in ns, rounded down to µs, size; 0 for a folder) of what lies there."""
    try:
        info = os.stat(address)  # noqa: PTH116  a Path costs more than the look
    except OSError:
        return None
    is_folder = stat.S_ISDIR(info.st_mode)
    return (
        info.st_mtime_ns if is_folder else info.st_mtime_ns // 1_000 * 1_000,
        0 if is_folder else info.st_size,
    )


def described(patterns: Sequence[str], home: Path) -> str:
    """The patterns as a person would look them up: relative ones with their folder."""
    return ", ".join(pattern if _is_url(pattern) else str(home / pattern) for pattern in patterns)


@dataclass(frozen=True)
class _Listed:
    """What one pattern found. `folders` are those that were looked into, or the base that is not there."""

    local: bool
    folders: list[Mark]
    files: list[FoundFile] = field(default_factory=list)


@dataclass(frozen=True)
class _Pattern:
    filesystem: arrow_fs.FileSystem
    base: str
    """Address of the longest folder (or the file) without wildcards."""
    glob: str
    """The rest of the pattern below `base`; empty for a plain file or folder."""
    named: str
    """How paths below `base` are named by the pipeline."""

    @classmethod
    def of(cls, pattern: str, home: Path) -> _Pattern:
        if _is_url(pattern):
            scheme, host, path = _split_url(pattern)
            plain, glob = _split_glob(path)
            filesystem, base = _url_filesystem(scheme, pattern, host + plain)
            return cls(filesystem, base.rstrip("/") or base, glob, f"{scheme}://{host}{plain}".rstrip("/"))
        local = arrow_fs.LocalFileSystem()
        plain, glob = _split_glob(Path(pattern).expanduser().as_posix())
        if posixpath.isabs(plain):
            return cls(local, posixpath.normpath(plain), glob, posixpath.normpath(plain))
        inside = posixpath.normpath(plain or ".")
        if inside == ".." or inside.startswith("../") or ".." in glob.split("/"):
            raise SourceError(
                f"the path {pattern!r} leaves the workspace {home}; "
                "use a path inside it, or an absolute path if that is meant"
            )
        return cls(local, (home.absolute() / inside).as_posix(), glob, "" if inside == "." else inside)

    @property
    def local(self) -> bool:
        """Whether it is about files of this machine, whose folders have times that can be asked for cheaply."""
        return isinstance(self.filesystem, arrow_fs.LocalFileSystem)

    def files(self) -> _Listed:
        """The files that match, with the folders that were looked into."""
        # The time of the base is asked before the listing: what comes meanwhile changes it.
        folders = [Mark(self.base, _state(self.base))]
        files = [self._found(info, inner) for info, inner in self.listed(folders)]
        return _Listed(self.local, folders, files)

    def listed(self, folders: list[Mark]) -> Iterator[tuple[arrow_fs.FileInfo, str]]:
        """Files that match, as the file system tells of them, and their paths below the base. Adds to `folders`."""
        info = self._info(self.base)
        if info.is_file and not self.glob:
            yield info, ""
        if info.type != arrow_fs.FileType.Directory:
            return
        selector = arrow_fs.FileSelector(
            self.base, recursive=not self.glob or "/" in self.glob or "**" in self.glob
        )
        accepts = _matcher(self.glob or "**")
        start = len(self.base) if self.base.endswith("/") else len(self.base) + 1
        for info in self.filesystem.get_file_info(selector):
            inner = info.path[start:]
            if inner[0] in "._" or "/." in inner or "/_" in inner:
                continue
            if not info.is_file:
                if selector.recursive:
                    folders.append(Mark(info.path, (info.mtime_ns or 0, 0)))
            elif accepts.fullmatch(inner) if self.glob else file_format(inner) is not None:
                yield info, inner

    def _info(self, address: str) -> arrow_fs.FileInfo:
        try:
            return self.filesystem.get_file_info(address)
        except (OSError, pa.ArrowException) as error:
            raise SourceError(f"{self.named or address} cannot be listed: {type(error).__name__}") from error

    def _found(self, info: arrow_fs.FileInfo, inner: str) -> FoundFile:
        path = f"{self.named}/{inner}" if self.named and inner else self.named or inner
        modified = _modified(info, self.filesystem)
        return FoundFile(path, info.path, info.size or 0, modified, self.filesystem)


def _modified(info: arrow_fs.FileInfo, filesystem: arrow_fs.FileSystem) -> datetime:
    if info.mtime_ns is None and isinstance(filesystem, arrow_fs.PyFileSystem):
        # Arrow looks only for "mtime" in what fsspec reports; object stores call it by other names.
        try:
            return utc(filesystem.handler.fs.modified(info.path)).replace(microsecond=0)
        except (NotImplementedError, AttributeError, KeyError, OSError):
            return EPOCH
    return from_micros((info.mtime_ns or 0) // 1_000)


def _is_url(pattern: str) -> bool:
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", pattern) is not None


def _split_url(url: str) -> tuple[str, str, str]:
    """Scheme, host without credentials, path. A query may hold a secret and is no part of a file's name."""
    parts = urlsplit(url.replace("?", "%3F"))
    return parts.scheme, parts.netloc.rpartition("@")[2], parts.path.replace("%3F", "?")


def _split_glob(path: str) -> tuple[str, str]:
    """The part before the first component with a wildcard, and the rest."""
    parts = path.split("/")
    for position, part in enumerate(parts):
        if _WILDCARD.search(part):
            return "/".join(parts[:position]) or ("/" if path.startswith("/") else ""), "/".join(
                parts[position:]
            )
    return path, ""


def _url_filesystem(scheme: str, url: str, plain: str) -> tuple[arrow_fs.FileSystem, str]:
    try:
        if scheme in _ARROW_SCHEMES:
            credentials = urlsplit(url).netloc.rpartition("@")[0]
            return arrow_fs.FileSystem.from_uri(f"{scheme}://{credentials}{'@' * bool(credentials)}{plain}")
        import fsspec
        from pyarrow.fs import FSSpecHandler, PyFileSystem

        filesystem = fsspec.filesystem(scheme)
        return PyFileSystem(FSSpecHandler(filesystem)), filesystem._strip_protocol(f"{scheme}://{plain}")
    except ImportError as error:
        raise MissingExtraError(f"reading {scheme}:// paths", scheme) from error
    except (OSError, ValueError, pa.ArrowException) as error:
        raise SourceError(f"{scheme}://{plain} cannot be opened: {type(error).__name__}") from error


@lru_cache(maxsize=256)
def _matcher(glob: str) -> re.Pattern[str]:
    out: list[str] = []
    position = 0
    while position < len(glob):
        rest = glob[position:]
        if rest.startswith("**/"):
            out.append("(?:.*/)?")
            position += 3
        elif rest.startswith("**"):
            out.append(".*")
            position += 2
        elif glob[position] == "*":
            out.append("[^/]*")
            position += 1
        elif glob[position] == "?":
            out.append("[^/]")
            position += 1
        elif (match := re.match(r"\[(!?)([^\]/]+)\]", rest)) is not None:
            out.append(f"[{'^/' if match[1] else ''}{re.escape(match[2]).replace(chr(92) + '-', '-')}]")
            position += match.end()
        else:
            out.append(re.escape(glob[position]))
            position += 1
    return re.compile("".join(out))
