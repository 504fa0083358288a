"""Errors that people see: what they say, and what the command line returns for them."""

from __future__ import annotations

import pytest

from monitoring_pipeline import errors
from monitoring_pipeline.errors import (
    ConflictError,
    DeliveryError,
    DocumentError,
    MissingExtraError,
    MonitoringError,
    Problem,
    StoreVersionError,
    UnknownDatasetError,
)

EVERY = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]


@pytest.mark.parametrize("kind", EVERY)
def test_every_error_is_a_monitoring_error_that_explains_itself(kind: type[MonitoringError]):
    assert issubclass(kind, MonitoringError)
    assert kind.__doc__
    assert kind.__name__ in (errors.__doc__ or "")


def test_mistakes_of_the_user_return_2_and_failures_of_the_pipeline_3():
    assert {
        kind.exit_code
        for kind in (DocumentError, UnknownDatasetError, MissingExtraError, ConflictError, StoreVersionError)
    } == {2}
    assert {
        kind.exit_code for kind in (MonitoringError, errors.StoreError, errors.SourceError, DeliveryError)
    } == {3}


def test_a_problem_reads_as_one_line():
    problem = Problem("$.analyzers[0].config.factor", '"three"', "a number")
    assert str(problem) == '$.analyzers[0].config.factor: found "three"; accepted: a number'


def test_a_document_error_lists_all_problems_under_its_source():
    first, second = Problem("$.a", "1", "2"), Problem("$.b", "3", "4")
    assert str(DocumentError("monitors.json", [first, second])) == (
        "monitors.json: 2 problems\n  $.a: found 1; accepted: 2\n  $.b: found 3; accepted: 4"
    )
    assert str(DocumentError("monitors.json", [first])).startswith("monitors.json: 1 problem\n")
    assert DocumentError("x", [first, second]).problems == (first, second)


def test_a_missing_extra_says_the_line_that_installs_it():
    assert "pip install 'monitoring-pipeline[postgres]'" in str(MissingExtraError("PostgreSQL", "postgres"))


def test_a_delivery_error_says_whether_to_try_again():
    assert DeliveryError("slow down", retry_after=30).retry_after == 30
    assert not DeliveryError("slow down").permanent
    assert DeliveryError("no such channel", permanent=True).permanent
