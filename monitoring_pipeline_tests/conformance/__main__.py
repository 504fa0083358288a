"""`python -m monitoring_pipeline_tests.conformance PATH…`: run vector files or folders of them."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from monitoring_pipeline_tests.conformance.cases import ROOT, VectorError, cases_of, files_in
from monitoring_pipeline_tests.conformance.runner import Outcome, Verdict, run


def main(arguments: Sequence[str] | None = None, *, out: TextIO | None = None) -> int:
    """Run the files and say what failed. Returns 0 when nothing did, 1 when something did, 2 for a wrong call."""
    shown = out or sys.stdout
    parser = argparse.ArgumentParser(
        prog="python -m monitoring_pipeline_tests.conformance",
        description="Runs test vectors of the reference platform through this system. Prints each failure with what "
        "was expected and found, and ends with one line: N passed, N failed, N skipped. Skipped are the exceptions: "
        "cases that this system answers differently on purpose. The exit code is 0 when nothing failed.",
    )
    parser.add_argument(
        "paths", nargs="*", type=Path, metavar="PATH", help=f"files or folders (default: {ROOT})"
    )
    parser.add_argument(
        *("-v", "--verbose", "--exceptions"),
        action="store_true",
        dest="exceptions",
        help="also print each exception with the decision that explains it",
    )
    asked = parser.parse_args(arguments)
    try:
        cases = [case for file in files_in(asked.paths or [ROOT]) for case in cases_of(file)]
    except VectorError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    counts = Counter[Verdict]()
    for case in cases:
        outcome = run(case)
        counts[outcome.verdict] += 1
        _tell(outcome, shown, exceptions=asked.exceptions)
    print(", ".join(f"{counts[verdict]} {verdict.value}" for verdict in Verdict), file=shown)
    return 1 if counts[Verdict.FAILED] else 0


def _tell(outcome: Outcome, out: TextIO, *, exceptions: bool) -> None:
    case, reason = outcome.case, outcome.reason
    if outcome.verdict is Verdict.FAILED:
        for failure in outcome.failures:
            print(f"FAILED {case.file} {case.id}: {failure}", file=out)
    elif outcome.verdict is Verdict.SKIPPED and exceptions and reason is not None:
        print(f"SKIPPED {case.file} {case.id}: DECISION {reason.decision}: {reason.why}", file=out)


if __name__ == "__main__":
    sys.exit(main())
