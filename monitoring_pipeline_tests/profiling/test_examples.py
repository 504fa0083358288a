"""The examples in the documentation run."""

from __future__ import annotations

import doctest

import monitoring_pipeline.metrics
import monitoring_pipeline.profiling


def test_examples_give_what_they_say() -> None:
    for module in (monitoring_pipeline.profiling, monitoring_pipeline.metrics):
        outcome = doctest.testmod(module)
        assert outcome.attempted
        assert not outcome.failed
