"""Files that cannot be used are kept aside, with the reason beside them, so that nobody has to guess or lose them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from monitoring_pipeline.errors import SourceError

REJECTED: Final = "rejected"
"""The folder, beside the file, into which it goes. Whoever lists files of the folder above leaves it out."""


def quarantine(path: Path, reason: str) -> Path:
    """Move a file into the folder `rejected` beside it, with `reason` in `<name>.reason.txt`; gives its new path.

    A file that was rejected earlier under the same name stays: the new one becomes `name.2.ext`, and so on. The
    reason is written first, so there is never a file there without one. Raises SourceError when it cannot be moved.
    """
    folder = path.parent / REJECTED
    try:
        path.stat()
        folder.mkdir(exist_ok=True)
        return path.rename(_reserve(folder, path, reason))
    except OSError as error:
        raise SourceError(f"{path} cannot be put aside into {folder}: {error.strerror or error}") from error


def _reserve(folder: Path, path: Path, reason: str) -> Path:
    """A name that no file there has yet, made ours by the reason beside it."""
    number, name = 1, path.name
    while True:
        try:
            with (folder / f"{name}.reason.txt").open("x", encoding="utf-8") as file:
                file.write(reason.rstrip("\n") + "\n")
        except FileExistsError:
            number += 1
            name = f"{path.stem}.{number}{path.suffix}"
        else:
            return folder / name
