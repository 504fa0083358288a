"""What docs/notebooks.md shows is what happens."""

from __future__ import annotations

import contextlib
import doctest
import io
import re
from pathlib import Path

import pytest

import monitoring_pipeline

PAGE = Path(monitoring_pipeline.__file__).parents[1] / "docs" / "notebooks.md"
BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_code_of_the_page_prints_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    names: dict[str, object] = {}
    printed = io.StringIO()
    compared = 0
    for kind, text in blocks:
        if kind == "python":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(text, str(PAGE), "exec"), names)  # noqa: S102  the page is ours
        else:
            compared += 1
            assert printed.getvalue() == text
    assert compared >= 5


def test_the_example_of_the_package_works() -> None:
    outcome = doctest.testmod(monitoring_pipeline)
    assert outcome.attempted
    assert not outcome.failed
