"""The older message of whylogs: what it writes where there are performance metrics, and all that whylogs 0.x wrote.

A file holds one message or several, each with its length before it, or one alone without. The messages: whylogs,
`proto/v0/v0_messages.proto`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from monitoring_pipeline.errors import ProfileError
from monitoring_pipeline.profiling.whylogs.messages import (
    HLL,
    ITEMS,
    KLL,
    LONGEST_NAME,
    M2,
    MEAN,
    MOST_LABELS,
    Components,
    Message,
    Model,
    ScoreCell,
    column_name,
    put_text,
)
from monitoring_pipeline.profiling.whylogs.protobuf import (
    Value,
    delimited,
    double,
    entry,
    fields,
    signed,
    text,
    unsigned,
    view,
    within,
)

_TYPES = {0: "object", 2: "fractional", 3: "integral", 4: "boolean", 5: "string"}
_NULLS = 1
_FIELDS = frozenset({1, 2, 10})


def read_v0(data: memoryview, *, most: int) -> list[Message]:
    """At most so many messages, with their lengths before them; or one without."""
    try:
        found, at = [], 0
        while at < len(data):
            if len(found) == most:
                raise ProfileError(f"more than {most} messages in one file")
            with within(f"message {len(found) + 1}"):
                message, at = delimited(data, at)
                found.append(_message(message))
    except ProfileError:
        try:
            return [_message(data)]
        except ProfileError:
            pass
        raise
    return found


@dataclass
class _Properties:
    dataset_time: int = 0
    creation_time: int = 0
    tags: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)


def _message(message: memoryview) -> Message:
    properties, model = None, None
    columns: dict[str, Components] = {}
    for number, value in fields(message):
        if number not in _FIELDS:
            raise ProfileError(f"field {number}, which a profile does not have")
        if number == 1:
            properties = _properties(view(value))
        elif number == 2:
            key, column = entry(value)
            name = column_name(key, others=len(columns))
            with within(f"column {name!r}"):
                columns[name] = _column(memoryview(b"") if column is None else view(column))
        else:
            with within("model metrics"):
                model = _model(view(value))
    if properties is None:
        raise ProfileError("no properties")
    return Message(
        columns=columns,
        dataset_time=properties.dataset_time,
        creation_time=properties.creation_time,
        tags=properties.tags,
        metadata=properties.metadata,
        model=model,
    )


def _properties(message: memoryview) -> _Properties:
    found = _Properties()
    for number, value in fields(message):
        if number == 4:
            found.creation_time = unsigned(value)
        elif number == 5:
            found.dataset_time = unsigned(value)
        elif number == 6:
            put_text(found.tags, value)
        elif number == 7:
            put_text(found.metadata, value)
    return found


def _column(message: memoryview) -> Components:
    column = Components()
    counts, types, numbers = {"n": 0, "null": 0, "true": 0}, dict.fromkeys(_TYPES.values(), 0), None
    for number, value in fields(message):
        if number == 2:
            for inner, count in fields(view(value)):
                if inner == 1:
                    counts["n"] = signed(count)
                elif inner in (2, 3):
                    counts["true" if inner == 2 else "null"] = _boxed(count)
        elif number == 3:
            for inner, counted in fields(view(value)):
                if inner == 1:
                    key, count = entry(counted)
                    kind, seen = 0 if key is None else unsigned(key), 0 if count is None else signed(count)
                    if kind == _NULLS:
                        counts["null"] = max(counts["null"], seen)
                    elif kind in _TYPES:
                        types[_TYPES[kind]] = seen
        elif number == 4:
            numbers = _numbers(view(value))
        elif number in (7, 8):
            image = _image(value)
            if image:
                column.sketches[ITEMS if number == 7 else HLL] = image
    # whylogs 0.x counted missing values among the types only.
    counts["n"] = max(counts["n"], counts["null"] + sum(types.values()))
    if numbers is not None and not counts["true"] and types["boolean"] == sum(types.values()):
        # whylogs 1.x leaves the count of true values out; where there is nothing else, their mean has it.
        share = numbers.mean if 0 <= numbers.mean <= 1 else 0.0
        counts["true"] = round(share * types["boolean"])
    column.whole.update({f"counts/{name}": count for name, count in counts.items()})
    column.whole.update({f"types/{name}": count for name, count in types.items()})
    if numbers is not None:
        column.real.update({MEAN: numbers.mean, M2: numbers.m2})
        if numbers.kll:
            column.sketches[KLL] = numbers.kll
    return column


def _boxed(message: Value) -> int:
    """A number that may be absent: google.protobuf.Int64Value."""
    return next((signed(value) for number, value in fields(view(message)) if number == 1), 0)


def _image(message: Value) -> bytes:
    return next((bytes(view(value)) for number, value in fields(view(message)) if number == 1), b"")


def _numbers(message: memoryview) -> ScoreCell:
    n, mean, m2, kll = 0, 0.0, 0.0, b""
    for number, value in fields(message):
        if number == 1:
            for inner, moment in fields(view(value)):
                if inner == 1:
                    n = signed(moment)
                elif inner == 2:
                    m2 = double(moment)
                elif inner == 3:
                    mean = double(moment)
        elif number == 4:
            kll = bytes(view(value))
    return ScoreCell(n=n, mean=mean, m2=m2, kll=kll or None)


def _model(message: memoryview) -> Model:
    labels, cells, regression = (), (), ()
    for number, value in fields(message):
        if number != 10:
            continue
        for inner, metrics in fields(view(value)):
            if inner == 1:
                labels, cells = _matrix(view(metrics))
            elif inner == 3:
                regression = _regression(view(metrics))
    return Model(labels, cells, regression)


def _matrix(message: memoryview) -> tuple[tuple[str, ...], tuple[ScoreCell, ...]]:
    labels: list[str] = []
    cells: list[ScoreCell] = []
    for number, value in fields(message):
        if number == 1:
            labels.append(text(value, limit=LONGEST_NAME))
        elif number == 10:
            cells.append(_numbers(view(value)))
        if len(labels) > MOST_LABELS or len(cells) > MOST_LABELS**2:
            raise ProfileError(f"a confusion matrix of more than {MOST_LABELS} labels")
    if len(cells) != len(labels) ** 2:
        raise ProfileError(f"a confusion matrix of {len(labels)} labels with {len(cells)} cells")
    if len(set(labels)) != len(labels):
        raise ProfileError("a confusion matrix in which a label comes twice")
    _check_counts([cell.n for cell in cells])
    return tuple(labels), tuple(cells)


def _regression(message: memoryview) -> tuple[float, ...]:
    n, sums = 0, dict.fromkeys((4, 5, 6), 0.0)
    for number, value in fields(message):
        if number == 3:
            n = signed(value)
        elif number in sums:
            sums[number] = double(value)
    _check_counts([n])
    return (n, *sums.values()) if n else ()


def _check_counts(counts: list[int]) -> None:
    if min(counts, default=0) < 0 or sum(counts) >> 53:
        raise ProfileError("counts of predictions that cannot be")
