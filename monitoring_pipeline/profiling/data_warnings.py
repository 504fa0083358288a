"""What one should know before trusting a profile: data that could not be taken as it was, and what was made of it.

Nothing is lost without such a warning. Some are told by the counts of a profile (`mixed_types`, `folded_segments`),
so they are true of merged profiles and of those of whylogs as well; the others are recorded while rows come in.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final, Literal, get_args

from monitoring_pipeline.errors import ProfileError
from monitoring_pipeline.profiling import wire

WarningKind = Literal[
    "mixed_types",
    "only_counted",
    "too_many_columns",
    "too_many_segments",
    "repeated_column",
    "unreadable",
    "missing_column",
]
"""`mixed_types`: a column holds values of several types. `only_counted`: values of a type that nothing can be said of
but how many there are. `too_many_columns`: columns beyond `max_columns` are not profiled. `too_many_segments`: the
smallest segments are profiled together. `repeated_column`: of several columns with one name the first is used.
`unreadable`: lines of a file are no records. `missing_column`: what should be segmented by columns is not."""

_KINDS: Final = {kind: kind for kind in get_args(WarningKind)}
_NAMED = 3


@dataclass(frozen=True, order=True)
class DataWarning:
    """One of them. `column` is "" where it is about the whole."""

    kind: WarningKind
    column: str
    detail: str

    def __str__(self) -> str:
        return f"column {self.column!r}: {self.detail}" if self.column else self.detail


def only_counted(column: str, what: str) -> DataWarning:
    """Values of a type that has no sketch."""
    return DataWarning("only_counted", column, f"values of type {what} are only counted")


def mixed_types(column: str, counts: Iterable[tuple[str, int]]) -> DataWarning:
    """Values of several types; `counts` by name of the type."""
    told = ", ".join(f"{count:,} {name}" for name, count in counts)
    return DataWarning("mixed_types", column, f"holds values of several types: {told}")


def too_many_columns(left_out: Collection[str], limit: int) -> DataWarning:
    """Columns that are not profiled, in their order."""
    named = ", ".join(map(repr, list(left_out)[:_NAMED]))
    more = ", …" if len(left_out) > _NAMED else ""
    told = f"{len(left_out):,} columns beyond the {limit:,} of max_columns are not profiled: {named}{more}"
    return DataWarning("too_many_columns", "", told)


def too_many_segments(folded: int) -> DataWarning:
    """Segments that are profiled together."""
    told = f'at least {folded:,} segments beyond max_segments are profiled together, as "(other)"'
    return DataWarning("too_many_segments", "", told)


def repeated_column(column: str, path: str) -> DataWarning:
    """A name that several columns of a file have."""
    return DataWarning("repeated_column", column, f"only the first column of that name in {path} is used")


def unreadable(lines: int, path: str) -> DataWarning:
    """Lines of a file that are left out."""
    return DataWarning("unreadable", "", f"{lines:,} lines of {path} are no records and left out")


def missing_segments(names: Collection[str]) -> DataWarning:
    """Segments that are asked for, and that profiles made elsewhere do not have."""
    told = f"no profile is segmented by {', '.join(names)}, so there are no such segments"
    return DataWarning("missing_column", "", told)


def unknown_private(name: str) -> DataWarning:
    """A column that `privacy` names and the data does not have."""
    return DataWarning("missing_column", name, "privacy names it, and the data has no such column")


def pack(warnings: Collection[DataWarning]) -> bytes:
    """As bytes, one after the other."""
    texts = (text for one in warnings for text in (one.kind, one.column, one.detail))
    return len(warnings).to_bytes(4, "little") + b"".join(wire.chunk(text.encode()) for text in texts)


def unpack(reader: wire.Reader) -> tuple[DataWarning, ...]:
    """Inverse of `pack`. Raises ProfileError for a kind that this release does not know."""
    found: list[DataWarning] = []
    for _ in range(reader.number()):
        kind, column, detail = reader.text(), reader.text(), reader.text()
        if kind not in _KINDS:
            raise ProfileError(f"dataset profile: a warning of the unknown kind {kind!r}")
        found.append(DataWarning(_KINDS[kind], column, detail))
    return tuple(found)
