"""The cases that this system answers differently on purpose: by id, with the decision and the reason in one sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FILE = Path(__file__).with_name("exceptions.json")

MOST: Final = 25
"""More than these would be another system."""


@dataclass(frozen=True)
class Reason:
    """Why a case is an exception: the number of a decision, and what it means for the case."""

    decision: int
    why: str


def _read() -> dict[str, Reason]:
    entries = json.loads(FILE.read_text(encoding="utf-8"))
    return {name: Reason(entry["decision"], entry["why"]) for name, entry in entries.items()}


EXCEPTIONS: Final[Mapping[str, Reason]] = _read()
"""By `Case.name`: the id, with the name of the file before it where the id does not begin with that."""
