"""Files that cannot be used are kept aside, with the reason beside them, so that nobody has to guess or lose them."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path, PurePosixPath
from typing import Final

from monitoring_pipeline.errors import SourceError

QUARANTINE: Final = "_quarantine"
"""The folder in the workspace, with one for each dataset. Its name begins with `_` so that no pattern finds it."""

_LONGEST_NAME = 100


def keep_aside(content: bytes | None, path: str, reason: str, *, folder: Path) -> Path:
    """Copy a file, the `path` of a source, into `folder`, with `reason` in `<name>.reason.txt`; gives the copy's path.

    The file itself stays where it is, and belongs to whoever put it there. A later state of it replaces the copy. The
    reason is written first, so there is never a copy without one. Without `content` (the file is too large to be kept
    twice) there is only the reason, whose path is given. Raises SourceError when nothing can be written.
    """
    kept = folder / _name(path)
    told = kept.with_name(f"{kept.name}.reason.txt")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(told, f"{path}: {reason}\n".encode(errors="backslashreplace"))
        if content is None:
            kept.unlink(missing_ok=True)
            return told
        _write(kept, content)
    except OSError as error:
        raise SourceError(f"{path} cannot be kept aside in {folder}: {error.strerror or error}") from error
    return kept


def _name(path: str) -> str:
    """A plain name for a copy, another for every path."""
    name = PurePosixPath(path)
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", name.stem)[:_LONGEST_NAME].lstrip(".") or "file"
    suffix = re.sub(r"[^A-Za-z0-9.]+", "", name.suffix)[:_LONGEST_NAME]
    digest = hashlib.sha256(path.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{stem}-{digest}{suffix}"


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
