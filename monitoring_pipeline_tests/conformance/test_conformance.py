"""Every vector file through the runner; one test for each case, so that a failure names it."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator
from typing import Any

import pytest

from monitoring_pipeline_tests.conformance.__main__ import main
from monitoring_pipeline_tests.conformance.cases import ROOT, Case, cases_of, files_in
from monitoring_pipeline_tests.conformance.exceptions import EXCEPTIONS, MOST
from monitoring_pipeline_tests.conformance.runner import Verdict, run

ABSENT = pytest.mark.skipif(not ROOT.is_dir(), reason=f"no conformance vectors at {ROOT}")
CASES = [case for file in files_in([ROOT]) for case in cases_of(file)] if ROOT.is_dir() else []


@ABSENT
@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_agrees_with_the_reference(case: Case) -> None:
    outcome = run(case)
    if outcome.reason is not None and outcome.verdict is Verdict.SKIPPED:
        pytest.skip(f"DECISION {outcome.reason.decision}: {outcome.reason.why}")
    assert not outcome.failures


@ABSENT
def test_the_command_ends_with_one_line_of_counts() -> None:
    out = io.StringIO()
    assert main([str(ROOT / "analysis" / "EventJobV3Test.json")], out=out) == 0
    assert out.getvalue() == "57 passed, 0 failed, 2 skipped\n"
    main(["-v", str(ROOT / "analysis" / "EventJobV3Test.json")], out=(told := io.StringIO()))
    assert "DECISION 6: An empty excludeSegments excludes nothing." in told.getvalue()


@ABSENT
def test_exceptions_are_cases_that_exist_and_few() -> None:
    assert set(EXCEPTIONS) <= {case.name for case in CASES}
    assert len(EXCEPTIONS) <= MOST
    assert all(1 <= reason.decision <= 27 and reason.why.endswith(".") for reason in EXCEPTIONS.values())


# --- nothing passes by leniency -----------------------------------------------------------------------------------


def corrupted(expected: Any) -> Iterator[tuple[str, Any]]:
    """The same expectation with one value after the other made wrong, and where."""
    if isinstance(expected, dict) and set(expected) == {"not_null"}:
        yield "", None
    elif isinstance(expected, dict) and expected:
        for key, value in expected.items():
            for at, wrong in corrupted(value):
                yield f".{key}{at}", {**expected, key: wrong}
    elif isinstance(expected, list) and expected and isinstance(expected[0], dict | list):
        for at, wrong in corrupted(expected[0]):
            yield f"[0]{at}", [wrong, *expected[1:]]
    elif isinstance(expected, list):
        yield "", [*expected, "no such entry"]
    elif isinstance(expected, bool):
        yield "", not expected
    elif isinstance(expected, int | float):
        yield "", -(abs(expected) + 1e6)
    elif expected is None:
        yield "", "something"
    else:
        yield "", f"{expected} and more"


def corruptions(case: Case) -> Iterator[tuple[str, Case]]:
    data = dict(case.data)
    for at, wrong in corrupted(data["expected"]) if data.get("expected") else ():
        if at == ".absent":
            continue  # what does not exist is absent, too
        yield f"expected{at}", Case(case.file, {**data, "expected": wrong}, case.siblings)
    for number, check in enumerate(data.get("checks") or []):
        for at, wrong in corrupted(check["expected"]):
            checks = copy.deepcopy(data["checks"])
            checks[number]["expected"] = wrong
            yield f"checks[{number}]{at}", Case(case.file, {**data, "checks": checks}, case.siblings)


def each_field_once() -> Iterator[Any]:
    """For every kind or file, every field that is expected anywhere, in the first case that passes with it."""
    seen: set[tuple[str, str]] = set()
    for case in CASES:
        if case.name in EXCEPTIONS:
            continue
        for at, wrong in corruptions(case):
            key = (case.kind or case.file, at.split("[")[0] if at.startswith("checks") else at)
            if key not in seen:
                seen.add(key)
                yield pytest.param(wrong, id=f"{case.name}:{at}")


@ABSENT
@pytest.mark.parametrize("case", list(each_field_once()))
def test_a_corrupted_expectation_fails(case: Case) -> None:
    assert run(case).verdict is Verdict.FAILED
