"""Finding files: a file, folder or glob, in the workspace, on the machine, or behind a URL, as one sorted list.

Relative paths lie inside the workspace home and cannot leave it through `..`; absolute paths and URLs are taken as
they are. `*` and `?` stay within a folder, `**` crosses folders, `[…]` is a set of characters. Names that begin
with `.` or `_` are skipped wherever a pattern or folder finds them, because writers keep unfinished files there.
URLs that Arrow knows itself (s3, gs, abfs, hdfs, file) are opened by Arrow, all others through fsspec.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs as arrow_fs

from monitoring_pipeline.errors import MissingExtraError, SourceError
from monitoring_pipeline.timegrid import EPOCH, from_micros, utc

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
    name = path.lower()
    for compression in _COMPRESSIONS:
        name = name.removesuffix(compression)
    return EXTENSIONS.get(posixpath.splitext(name)[1])


def find_files(patterns: Sequence[str], home: Path) -> list[FoundFile]:
    """All files that any pattern matches, each once, sorted by path. Raises SourceError for a path that is refused."""
    found: dict[str, FoundFile] = {}
    for pattern in patterns:
        for file in _Pattern.of(pattern, home).files():
            found[file.path] = file
    return [found[path] for path in sorted(found)]


def described(patterns: Sequence[str], home: Path) -> str:
    """The patterns as a person would look them up: relative ones with their folder."""
    return ", ".join(pattern if _is_url(pattern) else str(home / pattern) for pattern in patterns)


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

    def files(self) -> list[FoundFile]:
        info = self._info(self.base)
        if info.is_file:
            return [] if self.glob else [self._found(info, "")]
        if info.type != arrow_fs.FileType.Directory:
            return []
        selector = arrow_fs.FileSelector(
            self.base, recursive=not self.glob or "/" in self.glob or "**" in self.glob
        )
        accepts = _matcher(self.glob or "**")
        found: list[FoundFile] = []
        for info in self.filesystem.get_file_info(selector):
            inner = info.path[len(self.base) :].lstrip("/")
            if (
                not info.is_file
                or any(part[0] in "._" for part in inner.split("/"))
                or not accepts.fullmatch(inner)
            ):
                continue
            if self.glob or file_format(inner) is not None:
                found.append(self._found(info, inner))
        return found

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
