"""The reference platform's own test cases, as language-neutral JSON beside the repository; absent elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

FOLDER = Path(__file__).parents[3] / "shared" / "conformance" / "analysis"


def cases(*files: str, kind: str) -> list[Any]:
    """Parameters of a test: the cases of one kind, or one that is skipped where the files are not there."""
    if not FOLDER.is_dir():
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"no conformance vectors at {FOLDER}"))]
    return [pytest.param(case, id=case["id"]) for name in files for case in _cases(name, kind)]


def _cases(name: str, kind: str) -> Iterator[dict[str, Any]]:
    content = json.loads((FOLDER / f"{name}.json").read_text())
    yield from (case for case in content["cases"] if case["kind"] == kind)


def number(value: object) -> float:
    """A number of a vector; null and "NaN" are NaN."""
    return float("nan") if value is None else float(value)  # pyright: ignore[reportArgumentType]


def numbers(points: list[list[object]] | None) -> NDArray[np.float64]:
    """The values of [timestamp, value] pairs."""
    return np.array([number(value) for _, value in points or []], dtype=np.float64)
