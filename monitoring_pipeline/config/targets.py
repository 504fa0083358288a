"""What an analyzer looks at: which columns, or the dataset as a whole, and in which segments.

The two questions are pure functions: `selects_column` and `selects_segment`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache, cached_property
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, TypeAdapter, model_validator

from monitoring_pipeline.config.fields import DocumentModel, Listed, variants
from monitoring_pipeline.config.problems import validated
from monitoring_pipeline.segments import segment_key, segment_tags

if TYPE_CHECKING:
    from monitoring_pipeline.config.entity_schema import ColumnSchema

WILDCARD = "*"


class SegmentTag(DocumentModel):
    """One `key = value` condition of a segment."""

    key: str = Field(max_length=1000, description="Name of the segment column. Upper and lower case differ.")
    value: str = Field(
        max_length=1000,
        description="Its value; upper and lower case differ. * stands for each value in turn.",
    )


class Segment(DocumentModel):
    """One segment, or with `*` a family of segments. No tags at all means all data of the dataset together."""

    tags: Listed[SegmentTag] = Field(
        default=(), description="Conditions that hold together. An empty list is the overall segment."
    )

    @model_validator(mode="before")
    @classmethod
    def _bare_tags(cls, data: object) -> object:
        if isinstance(data, (list, tuple)):
            return {"tags": data}
        return (
            {"tags": [data]} if isinstance(data, Mapping) and "key" in data and "tags" not in data else data
        )

    @cached_property
    def wanted(self) -> Mapping[str, str]:
        """Conditions by key; a tag without key and value is none."""
        return {tag.key: tag.value for tag in self.tags if tag.key or tag.value}

    @property
    def key(self) -> str:
        """Canonical key of the segment (see `segments.segment_key`)."""
        return segment_key(self.wanted)

    def matches(self, tags: Mapping[str, str]) -> bool:
        """Whether a segment of the data with exactly these tags is meant: the same keys, each with a fitting value."""
        return self.wanted.keys() == tags.keys() and all(
            value in (WILDCARD, tags[key]) for key, value in self.wanted.items()
        )


_ALL_DATA = Segment()


class _Matrix(DocumentModel):
    segments: Listed[Segment] = Field(
        default=(),
        description='Segments to look at. Empty: the overall segment only. Add {"tags": []} to look at the overall '
        "segment besides the listed ones.",
    )
    exclude_segments: Listed[Segment] = Field(
        default=(), description="Segments to leave out, also where `segments` lists them. Empty: none."
    )


class ColumnMatrix(_Matrix):
    """Columns of the dataset, each looked at on its own."""

    type: Literal["column"] = "column"
    include: Listed[str] = Field(
        default=(),
        description="Columns to look at: names as profiled (upper and lower case differ), * for all, group:input, "
        "group:output, group:discrete, group:continuous, group:bool, group:int, group:frac, group:str, or weight>X "
        "for columns whose weight is at least X.",
        examples=[["*"], ["group:discrete", "favourite_animal"], ["weight>0.5"]],
    )
    exclude: Listed[str] = Field(
        default=(), description="Columns to leave out, written like `include`. Wins over `include`."
    )
    profile_id: str | None = Field(
        default=None,
        max_length=100,
        description="Look at this reference profile instead of the dataset's batches (ad hoc analysis only).",
    )


class DatasetMatrix(_Matrix):
    """The dataset as a whole: row counts, performance, missing data, time since the last upload."""

    type: Literal["dataset"] = "dataset"


def _matrix_type(data: Mapping[str, object]) -> str | None:
    return None if {"include", "exclude", "profileId", "profile_id"} & data.keys() else "dataset"


TargetMatrix = Annotated[
    ColumnMatrix | DatasetMatrix,
    Field(discriminator="type"),
    variants("column", "dataset", default=_matrix_type),
]


def parse_target_matrix(data: object, *, source: str) -> ColumnMatrix | DatasetMatrix:
    """A target matrix on its own. Raises DocumentError with all problems; `source` names where it came from."""
    return validated(_adapter(), data, source=source, one_of=True)


@cache
def _adapter() -> TypeAdapter[ColumnMatrix | DatasetMatrix]:
    return TypeAdapter(TargetMatrix)


def selects_segment(matrix: ColumnMatrix | DatasetMatrix, segment: str) -> bool:
    """Whether the matrix covers the segment with that canonical key.

    >>> by_region = DatasetMatrix(segments=(Segment(tags=(SegmentTag(key="region", value="*"),)),))
    >>> selects_segment(by_region, "region=EU"), selects_segment(by_region, "")
    (True, False)
    """
    tags = segment_tags(segment)
    included = any(wanted.matches(tags) for wanted in matrix.segments or (_ALL_DATA,))
    return included and not any(unwanted.matches(tags) for unwanted in matrix.exclude_segments)


def selects_column(
    matrix: ColumnMatrix | DatasetMatrix, column: str, *, schema: ColumnSchema | None, weight: float | None
) -> bool:
    """Whether the matrix covers the column. A dataset matrix covers none.

    `schema` is what is known about the column (None: nothing), `weight` its weight in the segment (None: unknown,
    which no `weight>X` selects).
    """
    if isinstance(matrix, DatasetMatrix):
        return False

    def named(tokens: Iterable[str]) -> bool:
        return any(_names(token, column, schema, weight) for token in tokens)

    return named(matrix.include) and not named(matrix.exclude)


def is_output(column: str, schema: ColumnSchema | None) -> bool:
    """Whether a column is an output: its name contains "output" in any case, or the schema says so."""
    said = schema is not None and schema.classifier is not None and schema.classifier.lower() == "output"
    return said or "output" in column.lower()


_DISCRETENESS = ("discrete", "continuous")
_DATA_TYPES = {"bool": "bool", "int": "integral", "frac": "fractional", "str": "string"}
GROUPS = ("input", "output", *_DISCRETENESS, *_DATA_TYPES)
"""Names that may follow `group:`."""

_WEIGHT = re.compile(r"weight\s*>=?\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)", re.IGNORECASE)


def unknown_tokens(tokens: Iterable[str]) -> list[str]:
    """Those that start like a group or a weight but are neither, and so name a column that hardly exists."""
    return [
        token
        for token in tokens
        if (token.lower().startswith("group:") and token[6:].strip().lower() not in GROUPS)
        or (re.match(r"weight\s*[<>=]", token, re.IGNORECASE) and not _WEIGHT.fullmatch(token.strip()))
    ]


def _names(token: str, column: str, schema: ColumnSchema | None, weight: float | None) -> bool:
    if token in (WILDCARD, column):
        return True
    if token.lower().startswith("group:"):
        return _in_group(token[6:].strip().lower(), column, schema)
    least = _WEIGHT.fullmatch(token.strip())
    return least is not None and weight is not None and weight >= float(least[1])


def _in_group(group: str, column: str, schema: ColumnSchema | None) -> bool:
    if group in ("input", "output"):
        return is_output(column, schema) == (group == "output")
    if schema is None:
        return False
    if group in _DISCRETENESS:
        return schema.discreteness == group
    return group in _DATA_TYPES and schema.data_type == _DATA_TYPES[group]
