"""Vector files: what a case is, and how files and folders of cases are read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3] / "shared" / "conformance"
"""Where the vectors lie beside the repository."""

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """One case of a file. `siblings` are all cases of the file, for those that refer to each other."""

    file: str
    data: Json
    siblings: tuple[Json, ...] = field(default=(), repr=False)

    def __getitem__(self, key: str) -> Any:
        return self.data[key]

    def get(self, key: str, default: Any = None) -> Any:
        """A field of the case, or the default where it is missing or null."""
        found = self.data.get(key)
        return default if found is None else found

    def first(self, *keys: str) -> Any:
        """The first of several fields that the case has. Raises KeyError."""
        for key in keys:
            if key in self.data:
                return self.data[key]
        raise KeyError(" or ".join(keys))

    @property
    def id(self) -> str:
        return str(self.data["id"])

    @property
    def name(self) -> str:
        """The case's id, unique among all files: the ids of some files begin with their own name, others do not."""
        return self.id if self.id.startswith(self.file) else f"{self.file}.{self.id}"

    @property
    def kind(self) -> str | None:
        return self.data.get("kind")

    @property
    def expected(self) -> Json:
        return self.data.get("expected") or {}

    @property
    def inputs(self) -> Json:
        """What the case is given, where it has a block of it."""
        return self.data.get("inputs") or self.data.get("input") or {}

    @property
    def config(self) -> Json:
        return self.data.get("config") or {}

    def earlier(self) -> Iterator[Json]:
        """The cases before this one that belong to the same test: their ids differ after `#` only."""
        test = self.id.partition("#")[0]
        for one in self.siblings:
            if one["id"] == self.id:
                return
            if str(one["id"]).partition("#")[0] == test:
                yield one


def checks_of(case: Case, *answers: str) -> list[Json]:
    """The checks of a case; a case without a list of them is one itself.

    What it expects then is an object, or one of `answers` in an object. Raises KeyError when it expects neither.
    """
    checks = case.data.get("checks")
    if checks is None:
        answer = next((case.expected[name] for name in answers if name in case.expected), None)
        if answers and (answer is None or len(case.expected) > 1):
            raise KeyError(f"checks, or one of {', '.join(answers)} expected")
        return [{**case.data, "expected": case.expected if answer is None else answer}]
    if case.data.get("expected"):
        raise KeyError("either checks or expected, not both")
    return list(checks)


class VectorError(Exception):
    """A path or file that holds no vectors."""


def files_in(paths: Iterable[Path]) -> list[Path]:
    """The vector files at these paths, folders searched. Raises VectorError for a path without any."""
    found: list[Path] = []
    for path in paths:
        files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
        if not files or not all(file.is_file() for file in files):
            raise VectorError(f"{path}: no vector file, and no folder of them")
        found += files
    return list(dict.fromkeys(found))


def cases_of(file: Path) -> list[Case]:
    """The cases of a file. Raises VectorError when it is none of vectors."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise VectorError(f"{file}: {error}") from None
    entries = content.get("cases") if isinstance(content, dict) else content
    if not isinstance(entries, list) or not all(isinstance(one, dict) and "id" in one for one in entries):
        raise VectorError(f'{file}: expected {{"cases": [{{"id": …}}, …]}}')
    siblings = tuple(entries)
    return [Case(file.stem, one, siblings) for one in entries]
