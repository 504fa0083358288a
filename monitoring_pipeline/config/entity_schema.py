"""What is known about a dataset's columns beforehand: kind of values, role, weight (importance), metrics of its own.

Everything is optional: what the document does not say is inferred from the profiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from pydantic import Field, model_validator

from monitoring_pipeline.config.fields import (
    Choice,
    DocumentModel,
    FiniteNumber,
    Listed,
    Metadata,
    plain,
    refuse,
)
from monitoring_pipeline.config.targets import Segment
from monitoring_pipeline.segments import OVERALL


class Discreteness(Choice):
    """Whether a column's values can be counted or measured."""

    DISCRETE = "discrete"
    CONTINUOUS = "continuous"
    UNKNOWN = "unknown"


class DataType(Choice):
    """The commonest type of a column's values."""

    INTEGRAL = "integral"
    FRACTIONAL = "fractional"
    BOOL = "bool"
    STRING = "string"
    UNKNOWN = "unknown"
    NULL = "null"

    @classmethod
    def _missing_(cls, value: object) -> Choice | None:
        aliases = {"boolean": cls.BOOL, "integer": cls.INTEGRAL}
        return super()._missing_(value) or aliases.get(plain(str(value)))


class ColumnSchema(DocumentModel):
    """What is known about one column."""

    discreteness: Discreteness | None = Field(
        default=None,
        description="discrete: values that can be counted; continuous: values that are measured. Default: inferred.",
    )
    data_type: DataType | None = Field(
        default=None,
        description="Type of the values. Default: inferred. boolean and integer are read as well.",
    )
    classifier: str | None = Field(
        default=None,
        max_length=20,
        description='input or output. A column whose name contains "output" is an output in any case. '
        "Default: input.",
    )
    hidden: bool = Field(
        default=False, description="Leave the column out of lists and overviews. Default false."
    )
    tags: Listed[str] = Field(default=(), description="Labels for people.")

    def stated(self) -> dict[str, object]:
        """The fields that were given a value."""
        return {name: value for name in self.model_fields_set if (value := getattr(self, name)) is not None}


class CustomMetric(DocumentModel):
    """A metric of the dataset's own: a metric of one column, said of the whole dataset, or an expression."""

    label: str | None = Field(default=None, max_length=200, description="Name for people. Default: the name.")
    column: str | None = Field(
        default=None,
        max_length=1000,
        description="The column that builtinMetric is read off. Metrics of the dataset need none.",
    )
    builtin_metric: str | None = Field(
        default=None,
        max_length=100,
        description="A metric by name: of the column, such as mean, or of the dataset, such as classification.f1.",
    )
    default_metric: str | None = Field(
        default=None, max_length=100, description="Older name of builtinMetric, which wins over it."
    )
    expression: str | None = Field(
        default=None,
        max_length=10_000,
        description="Instead of builtinMetric an expression over other metrics, such as count_null / count. "
        "A text in place of the object is read as one.",
    )

    @property
    def metric(self) -> str | None:
        """Name of the metric that it is, when it is no expression."""
        return self.builtin_metric or self.default_metric

    @model_validator(mode="before")
    @classmethod
    def _bare_expression(cls, data: object) -> object:
        return {"expression": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _one_of_both(self) -> CustomMetric:
        if (self.metric is None) == (self.expression is None):
            found = "neither of them" if self.metric is None else "both"
            raise refuse("builtinMetric (with its column) or an expression, one of them", found=found)
        return self


class EntitySchema(DocumentModel):
    """The columns of a dataset, and metrics of its own."""

    metadata: Metadata | None = Field(default=None, description="Bookkeeping.")
    columns: dict[str, ColumnSchema] = Field(
        default_factory=dict, description="What is known about each column, by its name."
    )
    custom_metrics: dict[str, CustomMetric] = Field(
        default_factory=dict,
        description="Metrics of the dataset's own by name; analyzers of the whole dataset use them like any other.",
    )

    def column(self, name: str) -> ColumnSchema | None:
        """What is known about a column; None when nothing is."""
        return self.columns.get(name)

    def overridden_by(self, other: EntitySchema) -> EntitySchema:
        """This schema with everything that `other` says of a column put over it."""
        columns = dict(self.columns)
        for name, stated in other.columns.items():
            known = columns.get(name)
            columns[name] = stated if known is None else known.model_copy(update=stated.stated())
        return other.model_copy(update={"columns": columns})


class Weights(DocumentModel):
    """Weights of columns."""

    weights: dict[str, FiniteNumber | None] = Field(
        default_factory=dict, description="Weight (importance) by column name; null is unknown."
    )

    @model_validator(mode="before")
    @classmethod
    def _bare_map(cls, data: object) -> object:
        """The reference's engine also reads `{"a": 0.3}` where its schema says `{"weights": {"a": 0.3}}`."""
        if not isinstance(data, Mapping) or isinstance(data.get("weights"), Mapping) or "segment" in data:
            return data
        numbers = [value for value in data.values() if isinstance(value, (int, float))]
        return {"weights": data} if data and len(numbers) == len(data) else data


class SegmentWeights(Weights):
    """Weights of columns inside one segment."""

    segment: Segment = Field(default=Segment(), description="The segment. Default: the overall segment.")


class WeightConfig(DocumentModel):
    """Weights of columns, for `weight>X` targets and for the filters and ranking of notifications."""

    metadata: Metadata | None = Field(default=None, description="Bookkeeping.")
    default_weights: Weights = Field(default=Weights(), description="Weights where no segment has its own.")
    segment_weights: Listed[SegmentWeights] = Field(
        default=(), description="Weights inside segments; the first entry of a segment counts."
    )

    def weight(self, column: str, segment: str = OVERALL) -> float | None:
        """Weight of a column in the segment with that canonical key; None when unknown."""
        own = self._by_segment.get(segment, {}).get(column)
        return self.default_weights.weights.get(column) if own is None else own

    @cached_property
    def _by_segment(self) -> Mapping[str, Mapping[str, float | None]]:
        return {entry.segment.key: entry.weights for entry in reversed(self.segment_weights)}
