"""Metrics that users write themselves: an expression over other metrics, such as `count_null / count`.

Accepted are numbers, names of metrics, `+ - * / **`, comparisons (1 where they hold, 0 where not), parentheses, and
min, max, abs, log, exp and sqrt. The text is parsed into a tree and walked; nothing in it is ever executed, and how
long, deep and much it is is bounded, with everything that it leads to. All metrics of one expression belong to a column,
or all to the dataset. Where one of them is missing, and where the result is not finite, the metric is missing. Over
several buckets the other metrics are merged first.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.errors import UnknownMetricError, UsageError
from monitoring_pipeline.metrics.metric import Floats, Metric

LONGEST: Final = 1_000
"""Characters of an expression."""

LARGEST: Final = 1_000
"""Operations and names of an expression, with those of the metrics of the same kind that it names."""

_DEEPEST = 50
_LONGEST_CHAIN = 10
_SHOWN = 60
_STRANGE = re.compile(r"[^A-Za-z0-9_.+\-*/<>=!(), ]")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")

_OPERATORS: Final[Mapping[type[ast.operator], Callable[[Floats, Floats], Floats]]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
}
_COMPARISONS: Final[Mapping[type[ast.cmpop], Callable[[Floats, Floats], NDArray[np.bool_]]]] = {
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
}
_OF_ONE: Final[Mapping[str, Callable[[Floats], Floats]]] = {
    "abs": np.abs,
    "log": np.log,
    "exp": np.exp,
    "sqrt": np.sqrt,
}
_OF_SEVERAL: Final[Mapping[str, Callable[[Floats, Floats], Floats]]] = {
    "min": np.minimum,
    "max": np.maximum,
}

Evaluate = Callable[[Mapping[str, NDArray]], NDArray]
Find = Callable[[str], Metric]


class ExpressionError(UsageError):
    """An expression that is not one. The message names the character."""


@dataclass(frozen=True)
class _Worked:
    """The formula of a metric that is an expression, with how much there is to work out."""

    evaluate: Evaluate
    size: int
    depth: int

    def __call__(self, scalars: Mapping[str, NDArray]) -> NDArray:
        with np.errstate(all="ignore"):
            found = np.asarray(self.evaluate(scalars), np.float64)
        return np.where(np.isfinite(found), found, np.nan)


@dataclass(frozen=True)
class _Part:
    """A part of an expression: how to work it out, its metrics, and how it behaves when buckets are added up."""

    evaluate: Evaluate
    metrics: tuple[Metric, ...] = ()
    additive: bool = False
    size: int = 1
    depth: int = 1

    @property
    def constant(self) -> bool:
        return not self.metrics


def custom_metric(name: str, expression: str, find: Find, *, description: str = "") -> Metric:
    """A metric by that name whose value is the expression's; `find` gives the metrics that it names.

    Raises ExpressionError, with the place, for what is not accepted and for metrics that do not exist.

    >>> from monitoring_pipeline.metrics import metric
    >>> twice = custom_metric("double_nulls", "2 * count_null", metric)
    >>> twice.formula({"n_null": np.array([1.0, np.nan])})
    array([ 2., nan])
    """
    _refuse_strange(name)
    part = _Compiler(expression, find).compiled()
    levels = {metric.level for metric in part.metrics}
    if not part.metrics:
        raise ExpressionError(f"the expression {expression!r} names no metric")
    if len(levels) > 1:
        columns, datasets = (
            ", ".join(sorted({metric.name for metric in part.metrics if metric.level == level}))
            for level in ("column", "dataset")
        )
        raise ExpressionError(
            f"metrics of columns ({columns}) and of the dataset ({datasets}) cannot be mixed"
        )
    columns = {metric.column for metric in part.metrics}
    if len(columns) > 1:
        named = sorted({metric.name for metric in part.metrics})
        raise ExpressionError(f"metrics of different columns ({', '.join(named)}) cannot be mixed")
    leads_to = dict.fromkeys(f"{one.name} = {one.expression}" for one in part.metrics if one.expression)
    return Metric(
        name=name,
        level=part.metrics[0].level,
        unit="",
        kind="number",
        additive=part.additive,
        needs=tuple(dict.fromkeys(need for metric in part.metrics for need in metric.needs)),
        formula=_Worked(part.evaluate, part.size, part.depth),
        description=description or expression,
        expression="; ".join([expression, *leads_to]),
        column=columns.pop(),
    )


def custom_metrics(
    expressions: Mapping[str, str], find: Find, *, problems: dict[str, str] | None = None
) -> dict[str, Metric]:
    """Metrics by folded name (`folded`). An expression may name other ones of the same mapping, in any order.

    What is wrong with an expression, or with its name when that is taken, is an ExpressionError that names the metric,
    or with `problems` a message in there, by name.
    """
    named: dict[str, tuple[str, str]] = {}
    found: dict[str, Metric] = {}

    def lookup(name: str, above: tuple[str, ...]) -> Metric:
        key = folded(name)
        if key not in named:
            return find(name)
        if key in above:
            raise ExpressionError(f"it leads back to itself: {' → '.join([*above[above.index(key) :], key])}")
        if len(above) >= _LONGEST_CHAIN:
            raise ExpressionError(
                f"it leads over more than {_LONGEST_CHAIN} metrics: {' → '.join(above)} → …"
            )
        if key not in found:
            own, text = named[key]
            found[key] = custom_metric(own, text, lambda other: lookup(other, (*above, key)))
        return found[key]

    taken: list[str] = []
    for name, text in expressions.items():
        taken += [name] if folded(name) in named or _exists(name, find) else []
        named.setdefault(folded(name), (name, text))
    for name in expressions:
        try:
            if name in taken:
                raise _taken()
            lookup(name, ())
        except UsageError as error:
            if problems is None:
                raise ExpressionError(f"metric {name}: {error}") from None
            problems[name] = str(error)
    return found


def folded(name: str) -> str:
    """A metric's name as names are compared: in lower case, "." as "_"."""
    return name.strip().replace(".", "_").lower()


def check_name(name: str, find: Find) -> None:
    """Raises ExpressionError when no metric of a dataset's own can have that name, or one that `find` gives has it."""
    _refuse_strange(name)
    if _exists(name, find):
        raise _taken()


def _refuse_strange(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ExpressionError(
            f"a metric cannot be called {name!r}; accepted are letters, digits and _, with dots between"
        )


def _taken() -> ExpressionError:
    return ExpressionError("there is a metric of that name already; case and dots do not tell them apart")


def _exists(name: str, find: Find) -> bool:
    try:
        find(name)
    except UnknownMetricError:
        return False
    return True


class _Compiler:
    """Turns the tree of one expression into functions on arrays."""

    def __init__(self, expression: str, find: Find) -> None:
        self._text = " ".join(expression.split())
        self._find = find

    def compiled(self) -> _Part:
        """The whole expression."""
        if len(self._text) > LONGEST:
            raise ExpressionError(
                f"the expression has {len(self._text):,} characters; accepted are at most {LONGEST:,}"
            )
        strange = _STRANGE.search(self._text)
        if strange is not None:
            raise self._refused(strange.start() + 1, f"{strange[0]!r} is not accepted")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about what is refused below
                tree = ast.parse(self._text, mode="eval")
        except SyntaxError as error:
            raise self._refused(error.offset or len(self._text) + 1, error.msg) from None
        except (ValueError, RecursionError, MemoryError) as error:
            raise ExpressionError(f"the expression cannot be read: {error}") from None
        return self._part(tree.body, 0)

    def _part(self, node: ast.expr, above: int) -> _Part:
        if above > _DEEPEST:
            raise self._at(node, f"more than {_DEEPEST} levels of nesting")
        part = self._read(node, above + 1)
        if part.size > LARGEST or part.depth > _DEEPEST:
            limits = f"{LARGEST:,} operations or {_DEEPEST} levels of nesting"
            raise self._at(node, f"with the metrics that it names, more than {limits}")
        return part

    def _read(self, node: ast.expr, deeper: int) -> _Part:
        match node:
            case ast.Constant(value=value):
                return self._number(node, value)
            case ast.Name() | ast.Attribute():
                return self._named(node)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
                part = self._part(operand, deeper)
                factor = -1.0 if isinstance(sign, ast.USub) else 1.0
                return _apply(lambda one: factor * one, [part], additive=part.additive)
            case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _OPERATORS:
                return _combined(operator, self._part(left, deeper), self._part(right, deeper))
            case ast.Compare(left=left, ops=[operator], comparators=[right]) if (
                type(operator) in _COMPARISONS
            ):
                compare = _COMPARISONS[type(operator)]
                return _apply(
                    lambda one, other: _unless_missing(compare(one, other), one, other),
                    [self._part(left, deeper), self._part(right, deeper)],
                )
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return self._called(node, name, [self._part(one, deeper) for one in arguments])
            case _:
                raise self._at(
                    node,
                    "only numbers, metrics, + - * / **, one comparison at a time and "
                    f"{', '.join([*_OF_SEVERAL, *_OF_ONE])} are accepted",
                )

    def _number(self, node: ast.expr, value: object) -> _Part:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self._at(node, "not a number")
        try:
            number = np.asarray(value, np.float64)
        except OverflowError:
            raise self._at(node, "a number that is too large") from None
        return _Part(lambda _scalars: number)

    def _named(self, node: ast.expr) -> _Part:
        name = _dotted(node)
        if name is None:
            raise self._at(node, "a dot is only accepted inside the name of a metric")
        try:
            metric = self._find(name)
        except UnknownMetricError as error:
            raise self._at(node, str(error)) from None
        if metric.kind != "number" or metric.source != "profile":
            raise self._at(node, f"{metric.name} is not a number that a profile tells")
        own = metric.formula
        size, depth = (own.size + 1, own.depth + 1) if isinstance(own, _Worked) else (1, 1)
        return _Part(metric.formula, (metric,), metric.additive, size, depth)

    def _called(self, node: ast.expr, name: str, arguments: Sequence[_Part]) -> _Part:
        if name in _OF_ONE and len(arguments) == 1:
            function = _OF_ONE[name]
            return _apply(lambda one: function(one), arguments)
        if name in _OF_SEVERAL and len(arguments) >= 2:
            several = _OF_SEVERAL[name]
            found = arguments[0]
            for other in arguments[1:]:
                found = _apply(several, [found, other])
            return found
        known = name in _OF_ONE or name in _OF_SEVERAL
        accepted = ", ".join([*(f"{one}(a, b, …)" for one in _OF_SEVERAL), *(f"{one}(a)" for one in _OF_ONE)])
        what = f"{name} does not take {len(arguments)} values" if known else f"no function is called {name}"
        raise self._at(node, f"{what}; accepted: {accepted}")

    def _at(self, node: ast.expr, message: str) -> ExpressionError:
        return self._refused(node.col_offset + 1, message)

    def _refused(self, place: int, message: str) -> ExpressionError:
        start, end = max(place - _SHOWN, 0), place + _SHOWN
        before, after = "…" if start else "", "…" if end < len(self._text) else ""
        shown = f"{before}{self._text[start:end]}{after}"
        return ExpressionError(f"at character {place} of {shown!r}: {message}")


def _dotted(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    above = _dotted(node.value) if isinstance(node, ast.Attribute) else None
    return f"{above}.{node.attr}" if above is not None and isinstance(node, ast.Attribute) else None


def _combined(operator: ast.operator, left: _Part, right: _Part) -> _Part:
    """An operation; sums and multiples of what adds up over buckets add up too."""
    match operator:
        case ast.Add() | ast.Sub():
            additive = left.additive and right.additive
        case ast.Mult():
            additive = (left.additive and right.constant) or (left.constant and right.additive)
        case ast.Div():
            additive = left.additive and right.constant
        case _:
            additive = False
    return _apply(_OPERATORS[type(operator)], [left, right], additive=additive)


def _apply(function: Callable[..., NDArray], parts: Sequence[_Part], *, additive: bool = False) -> _Part:
    return _Part(
        lambda scalars: function(*(np.asarray(part.evaluate(scalars), np.float64) for part in parts)),
        tuple(metric for part in parts for metric in part.metrics),
        additive,
        1 + sum(part.size for part in parts),
        1 + max(part.depth for part in parts),
    )


def _unless_missing(holds: NDArray[np.bool_], one: Floats, other: Floats) -> Floats:
    return np.where(np.isnan(one) | np.isnan(other), np.nan, holds.astype(np.float64))
