"""The examples in the docstrings work."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest

from monitoring_pipeline.analysis import distances, draws, expected, grubbs, operational, result, student
from monitoring_pipeline.analysis.algorithms import BUILT_IN

MODULES = [distances, draws, expected, grubbs, operational, result, student, *BUILT_IN]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_the_examples_of_a_module_work(module: ModuleType) -> None:
    tried = doctest.testmod(module)
    assert tried.attempted > 0
    assert tried.failed == 0
