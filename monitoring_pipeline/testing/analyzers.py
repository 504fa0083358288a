"""What every analyzer must hold to, tested on arrays that are made up from a fixed seed.

Verdicts of the right shape and type; nothing, not even an anomaly, about what is missing; the same answer every time,
alone and among others, in any order of the series and of the targets; inputs that stay as they were.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.analysis.distributions import Items
from monitoring_pipeline.analysis.result import FailureType
from monitoring_pipeline.analysis.verdicts import (
    KINDS,
    Algorithm,
    Context,
    Needs,
    Verdicts,
    judge,
    kinds_of,
)
from monitoring_pipeline.config.analyzers import AnyConfig
from monitoring_pipeline.timegrid import Granularity

_FIRST = 20_000
"""Bucket index of the first target, a day of 2024."""

_NAMES = ("EU", "US", "APAC", "web", "shop", "call")


@dataclass(frozen=True)
class Case:
    """Inputs of one call. `missing` are targets that are not there, (n_series, n_targets)."""

    target: NDArray[Any]
    baseline: NDArray[Any]
    context: Context
    missing: NDArray[np.bool_]

    def only(self, rows: NDArray[np.int64], targets: NDArray[np.int64]) -> Case:
        """Some of the series and targets, in this order."""
        at = np.ix_(rows, targets)
        context, positions = self.context, self.context.positions
        return Case(
            self.target[at],
            self.baseline[at],
            replace(
                context,
                keys=tuple(context.keys[row] for row in rows.tolist()),
                targets=context.targets[targets],
                baseline_starts=None if context.baseline_starts is None else context.baseline_starts[targets],
                positions=None if positions is None else positions[at],
            ),
            self.missing[at],
        )


def check_analyzer(
    algorithm: Algorithm,
    config: AnyConfig,
    *,
    n_series: int = 5,
    n_targets: int = 4,
    n_window: int = 10,
    seed: int = 0,
    in_order: bool = False,
) -> None:
    """Hold an analyzer to its contract; raises AssertionError that says what it broke.

    `n_window` is what `series` has of buckets (as many as the analyzer's `reach` and its baseline have together).
    `in_order` is for one that walks over its targets: then they are only ever given together, ascending.
    """
    check_declaration(algorithm)
    for case in cases(algorithm, n_series=n_series, n_targets=n_targets, n_window=n_window, seed=seed):
        verdicts = _run(algorithm, config, case)
        check_verdicts(verdicts, case)
        rows, targets = np.arange(n_series), np.arange(n_targets)
        _check_same(verdicts, _run(algorithm, config, case), "the second time")
        turned = _run(algorithm, config, case.only(rows[::-1], targets))
        _check_same(verdicts, _part(turned, rows[::-1], targets), "in another order of the series")
        for row in rows:
            alone = _run(algorithm, config, case.only(rows[row : row + 1], targets))
            _check_same(_part(verdicts, rows[row : row + 1], targets), alone, "for a series alone")
        for at in () if in_order else targets:
            alone = _run(algorithm, config, case.only(rows, targets[at : at + 1]))
            _check_same(_part(verdicts, rows, targets[at : at + 1]), alone, "for a target alone")
        for nothing in (case.only(rows[:0], targets), case.only(rows, targets[:0])):
            check_verdicts(_run(algorithm, config, nothing), nothing)


def check_declaration(algorithm: Algorithm) -> None:
    """Check what an analyzer says about itself."""
    name = algorithm.name
    _demand(bool(name) and isinstance(name, str), "`name` must be a text that is not empty")
    _demand(algorithm.needs in get_args(Needs), f"`needs` must be one of {', '.join(get_args(Needs))}")
    _demand(callable(algorithm.evaluate), "`evaluate` must be a function")
    kinds = kinds_of(algorithm)
    _demand(bool(kinds) and set(kinds) <= set(KINDS), f"`kinds` must be some of {', '.join(KINDS)}")


def check_verdicts(verdicts: Verdicts, case: Case) -> None:
    """Check shapes, types, and that nothing is said about what is missing."""
    shape = case.missing.shape
    for one in fields(verdicts):
        if one.name != "columns":
            _demand(
                np.shape(getattr(verdicts, one.name)) == shape,
                f"{one.name} has the shape {np.shape(getattr(verdicts, one.name))}; it must be {shape}",
            )
    _demand(verdicts.anomaly.dtype == np.bool_, f"anomaly is {verdicts.anomaly.dtype}; it must be bool")
    for name in ("value", "lower", "upper"):
        kind = getattr(verdicts, name).dtype
        _demand(kind == np.float64, f"{name} is {kind}; it must be float64")
    for name, column in verdicts.columns.items():
        if isinstance(column, np.ndarray):
            _demand(column.shape == shape, f"column {name} has the shape {column.shape}; it must be {shape}")
    _demand(not (verdicts.anomaly & case.missing).any(), "a target that is missing is an anomaly")
    failed = np.array([one is not None for one in verdicts.failure.flat], dtype=np.bool_).reshape(shape)
    said = np.array([bool(one) for one in verdicts.explanation.flat], dtype=np.bool_).reshape(shape)
    known = all(one is None or isinstance(one, FailureType) for one in verdicts.failure.flat)
    _demand(known, "a failure must be a FailureType or None")
    _demand((failed == said).all(), "a failure must have an explanation, and nothing else one")
    _demand(not (verdicts.anomaly & failed).any(), "what failed is an anomaly")


def cases(algorithm: Algorithm, *, n_series: int, n_targets: int, n_window: int, seed: int) -> Iterator[Case]:
    """Inputs as the algorithm needs them: ordinary, with much missing, and with everything missing."""
    for share in (0.0, 0.3, 1.0):
        for kind in kinds_of(algorithm):
            random = np.random.default_rng(seed)
            shape = (n_series, n_targets)
            missing = random.random(shape) < share
            targets = _FIRST + np.arange(n_targets)
            target, baseline = _values(algorithm.needs, kind, shape, n_window, share, random)
            blank = np.full(target.shape, _blank(algorithm.needs, kind))
            where = missing.reshape(*shape, *(1,) * (target.ndim - 2))
            steps = np.cumsum(random.random(target.shape), axis=-1) if target.ndim == 3 else None
            context = Context(
                analyzer_id="contract",
                granularity=Granularity.DAILY,
                keys=tuple(("", f"column {row}") for row in range(n_series)),
                targets=targets,
                baseline_starts=targets - n_window,
                positions=steps,
            )
            # A distribution without data is no missing one: it may well be told from others.
            gone = missing & (algorithm.needs != "distribution")
            yield Case(np.where(where, blank, target), baseline, context, gone)


def _values(
    needs: str, kind: str, shape: tuple[int, int], n_window: int, share: float, random: np.random.Generator
) -> tuple[NDArray[Any], NDArray[Any]]:
    def thinned(values: NDArray[Any]) -> NDArray[Any]:
        absent = random.random(values.shape[:3] if needs == "series" else shape) < share
        absent = absent.reshape(*absent.shape, *(1,) * (values.ndim - absent.ndim))
        return np.where(absent, np.full(values.shape, _blank(needs, kind)), values)

    if needs == "items":
        return _items(shape, random), thinned(_items(shape, random))
    if needs == "distribution":
        target, baseline = (random.dirichlet(np.ones(6), size=shape) for _ in range(2))
        return target, thinned(baseline)
    if kind == "text":
        target, baseline = (random.choice(_NAMES, size=shape) for _ in range(2))
        return target, thinned(baseline)
    window = (*shape, n_window) if needs == "series" else shape
    return random.normal(10, 3, shape), thinned(random.normal(10, 1, window))


def _items(shape: tuple[int, int], random: np.random.Generator) -> NDArray[np.object_]:
    found = np.empty(shape, dtype=object)
    for at in np.ndindex(shape):
        names = random.choice(_NAMES, size=3, replace=False).tolist()
        found[at] = Items(dict.fromkeys(names, 1.0), 0.0, 3.0)
    return found


def _blank(needs: str, kind: str) -> object:
    """What stands for something that is not there."""
    if needs == "items":
        return None
    if needs == "distribution":
        return 0.0
    return "" if kind == "text" else np.nan


def _run(algorithm: Algorithm, config: AnyConfig, case: Case) -> Verdicts:
    before = (case.target.copy(), case.baseline.copy(), config.model_dump())
    verdicts: object = judge(algorithm, config, case.target, case.baseline, case.context)
    _demand(_equal(before[0], case.target), "the target was changed")
    _demand(_equal(before[1], case.baseline), "the baseline was changed")
    _demand(before[2] == config.model_dump(), "the config was changed")
    if not isinstance(verdicts, Verdicts):
        raise AssertionError(f"{algorithm.name} gave {type(verdicts).__name__} instead of Verdicts")
    return verdicts


def _part(verdicts: Verdicts, rows: NDArray[np.int64], targets: NDArray[np.int64]) -> Verdicts:
    at = np.ix_(rows, targets)
    arrays = {one.name: getattr(verdicts, one.name)[at] for one in fields(verdicts) if one.name != "columns"}
    columns = {
        name: value[at] if isinstance(value, np.ndarray) else value
        for name, value in verdicts.columns.items()
    }
    return Verdicts(**arrays, columns=columns)


def _check_same(one: Verdicts, other: Verdicts, when: str) -> None:
    for array in fields(one):
        if array.name != "columns":
            same = _equal(getattr(one, array.name), getattr(other, array.name))
            _demand(same, f"{array.name} is another one {when}")
    for name, value in one.columns.items():
        same = name in other.columns and _equal(np.asarray(value), np.asarray(other.columns[name]))
        _demand(same, f"column {name} is another one {when}")


def _equal(one: NDArray[Any], other: NDArray[Any]) -> bool:
    if one.dtype.kind == "f" and other.dtype.kind == "f":
        return np.array_equal(one, other, equal_nan=True)
    return one.shape == other.shape and one.tolist() == other.tolist()


def _demand(holds: bool, what: str) -> None:  # noqa: FBT001  reads as an assertion does
    if not holds:
        raise AssertionError(what)
