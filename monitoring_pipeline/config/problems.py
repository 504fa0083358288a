"""Turns what validation found into problems that a person can mend: JSON path, what was found, what is accepted.

Nothing here knows the documents; the words come from the kind of error and from the validators in `fields.py`.
"""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from monitoring_pipeline.errors import DocumentError, Problem

T = TypeVar("T")
Step = str | int

_LONGEST = 60
# Keys whose value is one of several types told apart by `type`: pydantic adds the type's name to the location.
_VARIANT_KEYS = frozenset({"config", "schedule", "targetMatrix", "target_matrix", "baseline", "mode"})
# Keys whose value maps names that the user chose.
_FREE_KEYS = frozenset({"columns", "weights", "params"})
_MAX_DEPTH = 64
_MOST_NAMES = 200


def validated(adapter: TypeAdapter[T], data: object, *, source: str, one_of: bool = False) -> T:
    """`data` as the adapter's type. `one_of` says that the type is a union told apart by `type`.

    Raises DocumentError with all problems.
    """
    check_depth(data, source=source)
    try:
        return adapter.validate_python(data)
    except ValidationError as error:
        raise DocumentError(source, translate(error, one_of=one_of)) from None


def check_depth(data: object, *, source: str) -> None:
    """Raise DocumentError when objects and lists lie in each other deeper than any real document's."""
    stack = [(data, 0)]
    while stack:
        value, depth = stack.pop()
        if depth > _MAX_DEPTH:
            raise DocumentError(source, [too_deep()])
        if isinstance(value, Mapping):
            stack.extend((child, depth + 1) for child in value.values())
        elif isinstance(value, (list, tuple)):
            stack.extend((child, depth + 1) for child in value)


def too_deep() -> Problem:
    return Problem(
        "$", f"objects or lists nested more than {_MAX_DEPTH} deep", f"at most {_MAX_DEPTH} levels"
    )


def translate(
    error: ValidationError, *, one_of: bool = False, model: type[BaseModel] | None = None
) -> list[Problem]:
    """Problems of a validation error, in the order of the document.

    `model`, the class that was validated, lets an unknown key name the keys that exist.
    """
    problems = [
        _problem(details, one_of=one_of, model=model)
        for details in error.errors(include_url=False, include_input=True)
    ]
    return list(dict.fromkeys(problems))


def json_path(steps: Iterable[Step]) -> str:
    """A JSON path such as `$.analyzers[0].config.factor`.

    >>> json_path(["entitySchema", "columns", "my column", 0])
    '$.entitySchema.columns["my column"][0]'
    """
    return "$" + "".join(_step(step) for step in steps)


def shorten(value: object) -> str:
    """A value as it stands in a document, cut to one short line; passwords inside URLs are left out."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            text = re.sub(r"//[^/@\s]+@", "//…@", value)
            return f'"{_cut(text)}"' if text else "an empty text"
        case Mapping() if value:
            return f"an object with {_cut(', '.join(str(key) or '(an empty key)' for key in value))}"
        case Mapping():
            return "an empty object"
        case list() | tuple():
            return f"a list of {len(value)}" if value else "an empty list"
        case _:
            return _cut(str(value))


def listing(names: Iterable[object]) -> str:
    """Names as a choice: `"a", "b" or "c"`."""
    quoted = [f'"{name}"' for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"


def choices_hint(found: object, names: Sequence[object]) -> str:
    """What is accepted instead of `found`, the likeliest name first."""
    match_ = near(str(found), [str(name) for name in names])
    return listing(names) + (f' (did you mean "{match_}"?)' if match_ else "")


def near(word: str, names: Iterable[str]) -> str | None:
    """The name that `word` was probably meant to be. Among very many names it does not search."""
    by_lower = {name.lower(): name for name in names}
    if len(by_lower) > _MOST_NAMES:
        return None
    matches = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[matches[0]] if matches else None


def _problem(details: ErrorDetails, *, one_of: bool, model: type[BaseModel] | None) -> Problem:
    kind, context, value = details["type"], details.get("ctx", {}), details["input"]
    steps = _without_variants(details["loc"], one_of=one_of)
    found, accepted = shorten(value), _accepted(kind, context, value, details["msg"])
    if kind == "refused":
        steps += [context["key"]] if context["key"] else []
        found = context["found"] or found
    elif kind == "missing":
        found = _found_instead(steps, value)
        accepted = _EXAMPLES.get(str(steps[-1]), "a value") + " (this key is required)"
    elif kind == "extra_forbidden" and model is not None:
        accepted = choices_hint(steps[-1], _keys_at(model, steps[:-1]))
        found = f'the unknown key "{steps[-1]}"'
    if "actions" in steps and steps[-1] in ("target", "destination") and isinstance(value, str):
        found = "text (not shown, it may be a secret)"
    return Problem(json_path(steps), found, accepted)


def _without_variants(location: tuple[Step, ...], *, one_of: bool) -> list[Step]:
    steps: list[Step] = []
    variant_follows = one_of
    for step in location:
        if variant_follows and isinstance(step, str):
            variant_follows = False
            continue
        chosen_by_user = bool(steps) and steps[-1] in _FREE_KEYS
        in_actions = isinstance(step, int) and bool(steps) and steps[-1] == "actions"
        variant_follows = (step in _VARIANT_KEYS and not chosen_by_user) or in_actions
        steps.append(step)
    return steps


def _found_instead(steps: Sequence[Step], value: object) -> str:
    if not isinstance(value, Mapping):
        return "nothing"
    alike = near(str(steps[-1]), [str(key) for key in value])
    return f'nothing (there is "{alike}")' if alike else "nothing"


# What a required key looks like when it is there.
_EXAMPLES: Mapping[str, str] = types.MappingProxyType(
    {
        "analyzerIds": "the ids of analyzers",
        "baseline": 'a baseline such as {"type": "TrailingWindow", "size": 7}',
        "config": 'a block such as {"type": "stddev", "metric": "mean", "baseline": {"type": "TrailingWindow"}}',
        "granularity": '"hourly", "daily", "weekly", "monthly" or "PT15M"',
        "metric": 'the name of a metric such as "mean"',
        "mode": '"abs" or "pct"',
        "source": "where the files are, such as {path: landing/rows/*.parquet}",
    }
)
_NUMBERS = frozenset({"float_type", "float_parsing"})
_WHOLE = frozenset({"int_type", "int_parsing", "int_from_float", "int_parsing_size", "finite_number"})
_OBJECTS = frozenset({"model_type", "model_attributes_type", "dict_type", "mapping_type"})
_LISTS = frozenset({"list_type", "tuple_type", "iterable_type"})
_LIMITS: Mapping[str, Callable[[Mapping[str, Any]], str]] = types.MappingProxyType(
    {
        "greater_than": lambda limits: f"a number greater than {limits['gt']:g}",
        "greater_than_equal": lambda limits: f"a number of at least {limits['ge']:g}",
        "less_than": lambda limits: f"a number less than {limits['lt']:g}",
        "less_than_equal": lambda limits: f"a number of at most {limits['le']:g}",
        "string_too_long": lambda limits: f"at most {limits['max_length']} characters",
        "too_short": lambda limits: f"at least {limits['min_length']} of them",
        "too_long": lambda limits: f"at most {limits['max_length']} of them",
    }
)


def _accepted(kind: str, context: Mapping[str, Any], value: object, message: str) -> str:
    if kind == "refused":
        return context["accepted"]
    if kind in _NUMBERS:
        return "a number"
    if kind in _WHOLE:
        return "a whole number"
    if kind in _OBJECTS:
        return "an object"
    if kind in _LISTS:
        return "a list"
    if kind in _LIMITS:
        return _LIMITS[kind](context)
    match kind:
        case "bool_type" | "bool_parsing":
            return "true or false"
        case "string_type":
            return "text" if value is None or isinstance(value, (Mapping, list, tuple)) else "text, in quotes"
        case "string_unicode":
            return "text without broken characters"
        case "string_too_short":
            return "a text that is not empty"
        case "enum" | "literal_error":
            return choices_hint(value, re.findall(r"'([^']*)'", context["expected"]) or [context["expected"]])
        case _:
            return message


def _keys_at(model: type[BaseModel], steps: Sequence[Step]) -> list[str]:
    for step in steps:
        if isinstance(step, str):
            inner = _model_in(model.model_fields[step].annotation)
            model = inner or model
    return list(model.model_fields)


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((inner for part in get_args(annotation) if (inner := _model_in(part))), None)


def _step(step: Step) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if re.fullmatch(r"[\w$-]+", step) else f'["{step}"]'


def _cut(text: str) -> str:
    line = " ".join(text.encode(errors="backslashreplace").decode().split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
