"""The algorithms by analyzer type: the built-in ones, and those that packages and the workspace bring along.

What a plug-in must look like is said in `analysis.verdicts`, where they are found in `config.plug_ins`. A plug-in that
cannot be loaded is listed with its error; asking for it raises that error, and the others go on working.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import cast, get_args

from monitoring_pipeline.analysis.algorithms import (
    column_list,
    comparison,
    diff,
    drift,
    fixed,
    frequent_string_comparison,
    list_comparison,
    monotonic,
    seasonal,
    stddev,
)
from monitoring_pipeline.analysis.verdicts import KINDS, Algorithm, Needs
from monitoring_pipeline.config.plug_ins import PlugIn, plug_ins
from monitoring_pipeline.errors import AnalysisError

BUILT_IN: tuple[Algorithm, ...] = (
    fixed,
    stddev,
    seasonal,
    diff,
    drift,
    comparison,
    list_comparison,
    frequent_string_comparison,
    monotonic,
    column_list,
)


@dataclass(frozen=True)
class Registry:
    """Algorithms by name, and the plug-ins that could not be loaded, with the error of each."""

    algorithms: Mapping[str, Algorithm]
    broken: Mapping[str, AnalysisError] = field(default_factory=dict)

    def find(self, name: str) -> Algorithm | None:
        """The algorithm of that name, None when there is none. Raises AnalysisError when its plug-in is broken."""
        if name in self.broken:
            raise self.broken[name]
        return self.algorithms.get(name)


def registry() -> Registry:
    """Everything that is built in, installed or in the workspace."""
    return _registry(plug_ins())


@cache
def _registry(found: tuple[PlugIn, ...]) -> Registry:
    return load(found)


def load(found: Iterable[PlugIn]) -> Registry:
    """The built-in algorithms and the given plug-ins. A plug-in may not take the name of another algorithm."""
    algorithms = {algorithm.name: algorithm for algorithm in BUILT_IN}
    broken: dict[str, AnalysisError] = {}
    for plug_in in found:
        where = f"the analyzer plug-in {plug_in.name} ({plug_in.value})"
        try:
            algorithm: object = plug_in.load()
        except Exception as error:  # noqa: BLE001  a plug-in may fail in any way, and must not take the others down
            broken[plug_in.name] = AnalysisError(f"{where} cannot be loaded: {type(error).__name__}: {error}")
            continue
        fault = _fault(algorithm, plug_in.name, taken=algorithms)
        if fault:
            broken[plug_in.name] = AnalysisError(f"{where} {fault}")
        else:
            algorithms[plug_in.name] = cast("Algorithm", algorithm)
    return Registry(algorithms, broken)


def _fault(algorithm: object, name: str, *, taken: Mapping[str, Algorithm]) -> str | None:
    if name in taken:
        return f"has the name of another algorithm: {name}"
    if getattr(algorithm, "name", None) != name:
        return f"says that its name is {getattr(algorithm, 'name', None)!r}, not {name!r}"
    if getattr(algorithm, "needs", None) not in get_args(Needs):
        return f"has no `needs` out of {', '.join(get_args(Needs))}"
    kinds = getattr(algorithm, "kinds", KINDS)
    if not isinstance(kinds, tuple) or not set(kinds) <= set(KINDS):
        return f"has `kinds` that are not a tuple out of {', '.join(KINDS)}"
    if not callable(getattr(algorithm, "evaluate", None)):
        return "has no function `evaluate(config, target, baseline)`"
    return None
