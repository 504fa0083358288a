"""The examples in the docstrings work."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest

from monitoring_pipeline import segments
from monitoring_pipeline.config import problems, targets


@pytest.mark.parametrize("module", [segments, problems, targets])
def test_the_examples_of_a_module_work(module: ModuleType):
    tried = doctest.testmod(module)
    assert tried.attempted > 0
    assert tried.failed == 0
