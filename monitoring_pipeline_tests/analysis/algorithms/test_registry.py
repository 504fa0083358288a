from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from types import ModuleType

import numpy as np
import pytest

from monitoring_pipeline.analysis.algorithms import BUILT_IN, load, registry
from monitoring_pipeline.analysis.verdicts import Verdicts, no_failures
from monitoring_pipeline.errors import AnalysisError


class Doubled:
    """An analyzer of a user's own: an anomaly when the target is more than twice the newest baseline value."""

    name = "doubled"
    needs = "series"

    def evaluate(self, _config: object, target: np.ndarray, baseline: np.ndarray) -> Verdicts:
        bound = 2 * baseline[..., -1]
        return Verdicts(
            target > bound, target, np.full(target.shape, np.nan), bound, *no_failures(target.shape)
        )


@pytest.fixture
def plug_in(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module that a package would bring along."""
    module = ModuleType("some_package")
    monkeypatch.setitem(sys.modules, "some_package", module)
    return module


def entry(name: str, value: str = "some_package:algorithm") -> EntryPoint:
    return EntryPoint(name, value, "monitoring_pipeline.analyzers")


def test_the_built_in_algorithms_are_there() -> None:
    assert {"fixed", "stddev", "diff", "drift"} <= set(registry().algorithms)
    assert registry().find("no-such-algorithm") is None


def test_a_plug_in_is_found_by_its_name(plug_in: ModuleType) -> None:
    plug_in.algorithm = Doubled()  # pyright: ignore[reportAttributeAccessIssue]
    assert load([entry("doubled")]).find("doubled") is plug_in.algorithm


def test_a_plug_in_that_cannot_be_loaded_is_a_named_error_and_takes_no_other_down() -> None:
    loaded = load([entry("lost", "no_such_package:algorithm")])
    with pytest.raises(AnalysisError, match=r"lost \(no_such_package:algorithm\) cannot be loaded"):
        loaded.find("lost")
    assert len(loaded.algorithms) == len(BUILT_IN)


@pytest.mark.parametrize(
    ("attribute", "value", "fault"),
    [
        ("needs", "everything", "has no `needs` out of series, merged, distribution"),
        ("name", "tripled", "says that its name is 'tripled', not 'doubled'"),
        ("evaluate", None, "has no function `evaluate"),
    ],
)
def test_a_plug_in_of_another_shape_says_what_is_wrong(
    plug_in: ModuleType, attribute: str, value: object, fault: str
) -> None:
    algorithm = Doubled()
    setattr(algorithm, attribute, value)
    plug_in.algorithm = algorithm  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(AnalysisError, match=fault):
        load([entry("doubled")]).find("doubled")


def test_a_plug_in_cannot_take_the_place_of_a_built_in_algorithm(plug_in: ModuleType) -> None:
    algorithm = Doubled()
    algorithm.name = "drift"
    plug_in.algorithm = algorithm  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(AnalysisError, match="the name of another algorithm"):
        load([entry("drift")]).find("drift")


@pytest.mark.parametrize("algorithm", BUILT_IN, ids=lambda algorithm: algorithm.name)
def test_every_algorithm_says_what_it_does(algorithm: ModuleType) -> None:
    assert algorithm.__doc__
    assert algorithm.evaluate.__doc__
    assert ">>>" in algorithm.evaluate.__doc__
