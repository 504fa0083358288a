"""The `config` block of each analyzer type: what is measured, with what it is compared, and when that is an anomaly.

One class per type, told apart by `type`. Defaults that the reference platform left open, or answered in two ways, are
settled in the descriptions. Bounds are strict everywhere: a value on a bound is no anomaly, and NaN never is.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, GetPydanticSchema, SerializeAsAny, model_validator
from pydantic_core import core_schema

from monitoring_pipeline.config.baselines import Baseline, TrailingBaseline
from monitoring_pipeline.config.fields import (
    Choice,
    DocumentModel,
    FiniteNumber,
    Listed,
    Number,
    NumberJson,
    Params,
    RangeField,
    Whole,
    plain,
    refuse,
    variants,
)
from monitoring_pipeline.config.plug_ins import claimed
from monitoring_pipeline.config.problems import choices_hint


class ThresholdType(Choice):
    """Which side alerts."""

    LOWER = "lower"
    UPPER = "upper"


class LimitType(Choice):
    """How calculated bounds and static thresholds combine."""

    OR = "or"
    AND = "and"

    @classmethod
    def _missing_(cls, value: object) -> Choice | None:
        aliases = {"disjunction": cls.OR, "conjunction": cls.AND}
        return super()._missing_(value) or aliases.get(plain(str(value)))


class DiffMode(Choice):
    """How a difference is expressed."""

    ABS = "abs"
    PCT = "pct"


class DriftAlgorithm(Choice):
    """Distances between two distributions."""

    HELLINGER = "hellinger"
    JENSENSHANNON = "jensenshannon"
    KL_DIVERGENCE = "kl_divergence"
    PSI = "psi"
    KS_TEST = "ks_test"
    VARIATION_DISTANCE = "variation_distance"
    CHI_SQUARE = "chi_square"
    WASSERSTEIN = "wasserstein"


class SeasonalAlgorithm(Choice):
    """Forecasting models."""

    ARIMA = "arima"


class ComparisonOperator(Choice):
    """How target (left) and expected value (right) must relate."""

    EQ = "eq"
    GT = "gt"
    LT = "lt"
    GE = "ge"
    LE = "le"


class ListOperator(Choice):
    """Whether the target must be among the expected values."""

    IN = "in"
    NOT_IN = "not_in"


class ItemsOperator(Choice):
    """How the target's and the baseline's sets of values must relate."""

    EQ = "eq"
    TARGET_INCLUDES_ALL_BASELINE = "target_includes_all_baseline"
    BASELINE_INCLUDES_ALL_TARGET = "baseline_includes_all_target"


class Direction(Choice):
    """A direction of change."""

    INCREASING = "INCREASING"
    DECREASING = "DECREASING"


class ColumnListMode(Choice):
    """Which changes of the list of columns alert."""

    ON_ADD_AND_REMOVE = "ON_ADD_AND_REMOVE"
    ON_ADD = "ON_ADD"
    ON_REMOVE = "ON_REMOVE"


# --- what the types share ----------------------------------------------------------------------------------------


def _one_of(*names: str, **aliases: str) -> GetPydanticSchema:
    """Text that is one of a few names, in any spelling, or another word for one of them."""
    spellings = {plain(name): name for name in names} | {
        plain(alias): name for alias, name in aliases.items()
    }

    def read(value: object) -> str:
        if isinstance(value, str) and plain(value) in spellings:
            return spellings[plain(value)]
        raise refuse(choices_hint(value, names))

    return GetPydanticSchema(
        get_pydantic_core_schema=lambda _source, _handler: core_schema.no_info_plain_validator_function(read),
        get_pydantic_json_schema=lambda _schema, _handler: {"type": "string", "enum": list(names)},
    )


class _Config(DocumentModel):
    version: Whole | None = Field(default=None, description="Kept for older documents; without effect.")
    schema_version: Whole | None = Field(
        default=None, description="Kept for older documents; without effect."
    )
    params: Params = Field(
        default_factory=dict, description="Further parameters of the algorithm, as text by name."
    )


class _Measured(_Config):
    metric: str = Field(
        min_length=1,
        max_length=100,
        description="What is measured, such as mean, count_null_ratio or classification.recall. '.' and '_' mean the "
        "same, upper and lower case too.",
        examples=[
            "mean",
            "median",
            "count_null_ratio",
            "unique_est",
            "missingDatapoint",
            "classification.recall",
        ],
    )


_MIN_BATCH_SIZE = (
    "Baseline buckets that must have the metric; with fewer the result says so and never alerts. "
    "Capped at the size of the baseline. Default "
)
_BASELINE = "What the target is compared with."


class _Compared(_Measured):
    min_batch_size: Whole = Field(default=1, ge=1, description=f"{_MIN_BATCH_SIZE}1.")
    baseline: Baseline = Field(description=_BASELINE)


class _Bounded(_Measured):
    max_upper_threshold: Number | None = Field(
        default=None, description="A static upper threshold beside the calculated bound. Default: none."
    )
    min_lower_threshold: Number | None = Field(
        default=None, description="A static lower threshold beside the calculated bound. Default: none."
    )
    threshold_type: ThresholdType | None = Field(
        default=None, description="upper or lower: only that side alerts. Default: both."
    )


# --- one class per type ------------------------------------------------------------------------------------------


class FixedConfig(_Measured):
    """Static bounds."""

    type: Literal["fixed"] = "fixed"
    upper: Number | None = Field(default=None, description="Alert above this value, in the metric's unit.")
    lower: Number | None = Field(default=None, description="Alert below this value, in the metric's unit.")
    n_consecutive: Whole = Field(
        default=1,
        ge=0,
        description="Alert only when the bounds are crossed in that many buckets in a row, the target the last of "
        "them. A missing bucket breaks the chain. 0 and 1 alert at once. Default 1.",
    )


class StddevConfig(_Bounded):
    """Bounds at mean ± factor · standard deviation of the baseline's values."""

    type: Literal["stddev"] = "stddev"
    factor: FiniteNumber = Field(
        default=3.0, ge=0, description="Standard deviations between the mean and each bound. Default 3."
    )
    min_batch_size: Whole = Field(default=3, ge=1, description=f"{_MIN_BATCH_SIZE}3.")
    limit_type: LimitType = Field(
        default=LimitType.OR,
        description="or: alert outside the calculated bound or the static threshold. and: only outside both, which "
        "silences small deviations; a side without a static threshold keeps its calculated bound. Default or.",
    )
    baseline: Baseline = Field(description=_BASELINE)


class SeasonalConfig(_Bounded):
    """Bounds around the forecast of a seasonal ARIMA model, (1,0,0)(2,1,0) with the season of the granularity."""

    type: Literal["seasonal"] = "seasonal"
    algorithm: SeasonalAlgorithm = Field(default=SeasonalAlgorithm.ARIMA, description="Only arima.")
    min_batch_size: Whole = Field(default=30, ge=1, description=f"{_MIN_BATCH_SIZE}30.")
    alpha: FiniteNumber = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="The interval covers 1 − alpha of what the model expects: 0.05 is a 95% interval. A larger alpha "
        "gives a narrower interval and more alerts. Default 0.05.",
    )
    baseline: TrailingBaseline = Field(description="A trailing window; 90 buckets are a good start.")
    stddev_time_ranges: Listed[RangeField] = Field(
        default=(),
        description="Times of expected unrest (UTC, end excluded), such as the holiday season: left out of the "
        "training data of other times, and anomalies inside are replaced with probability 0.8 instead of 0.5.",
    )
    stddev_max_batch_size: Whole | None = Field(
        default=None, ge=1, description="Kept for older documents; without effect."
    )
    stddev_factor: FiniteNumber = Field(
        default=1.0,
        ge=0,
        description="Bounds lie at most this many standard deviations of the baseline from the forecast. Default 1.0.",
    )


class DiffConfig(_Compared):
    """Distance from the baseline's value, absolute or in percent."""

    type: Literal["diff"] = "diff"
    mode: DiffMode = Field(description="abs: in the metric's unit. pct: in percent of the baseline's value.")
    threshold: Number = Field(
        ge=0, description="Alert when the difference is larger; 50 with pct means 50 %."
    )
    threshold_type: ThresholdType | None = Field(
        default=None, description="upper: alert on increases only, lower: on decreases only. Default: both."
    )


class DriftConfig(_Compared):
    """Distance between the distributions of target and baseline."""

    type: Literal["drift"] = "drift"
    metric: Annotated[str, _one_of("histogram", "frequent_items")] = Field(
        description="histogram for continuous columns, frequent_items for discrete ones (nulls do not count)."
    )
    algorithm: DriftAlgorithm = Field(
        default=DriftAlgorithm.HELLINGER,
        description="hellinger, variation_distance and chi_square (0 to 1, symmetric), jensenshannon (0 to 0.83, "
        "natural logarithm), kl_divergence, psi; for histogram also ks_test (0 to 1: the statistic D, not a p-value) "
        "and wasserstein (in standard deviations of the baseline). Default hellinger.",
    )
    threshold: Number = Field(
        default=0.7,
        ge=0,
        description="Alert when the distance is larger, in the algorithm's unit. Default 0.7.",
    )


def _bare_value(value: object) -> object:
    match value:
        case bool():
            return {"str": "true" if value else "false"}
        case int():
            return {"int": value}
        case float():
            return {"float": value}
        case str():
            return {"str": value}
        case _:
            return value


def _expected_number(value: object) -> object:
    if isinstance(value, bool):
        raise refuse("a number")
    return value


class ExpectedValue(DocumentModel):
    """A value with its type. A bare number or text is read as well."""

    text: str | None = Field(default=None, alias="str", max_length=100, description="The value as text.")
    whole: Whole | None = Field(default=None, alias="int", description="The value as a whole number.")
    number: Annotated[float, BeforeValidator(_expected_number), NumberJson] | None = Field(
        default=None,
        alias="float",
        description="The value as a number, compared to one unit in the last place.",
    )

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, data: object) -> object:
        return _bare_value(data)

    @model_validator(mode="after")
    def _has_value(self) -> ExpectedValue:
        if self.text is None and self.whole is None and self.number is None:
            raise refuse('a value such as {"int": 10}, {"float": 0.5} or {"str": "EU"}')
        return self


class ComparisonConfig(_Measured):
    """One relation that must hold: target operator expected. Alerts when it does not."""

    type: Literal["comparison"] = "comparison"
    operator: ComparisonOperator = Field(
        description="eq, gt, lt, ge or le. The target is the left side: gt holds when target > expected."
    )
    expected: ExpectedValue | None = Field(
        default=None, description="The right side. Default: the baseline's value."
    )
    min_batch_size: Whole = Field(default=1, ge=1, description=f"{_MIN_BATCH_SIZE}1.")
    baseline: Baseline | None = Field(
        default=None, description="Gives the expected value when `expected` does not."
    )


class ListComparisonConfig(_Measured):
    """The metric is expected among a set of values, or never among them."""

    type: Literal["list_comparison"] = "list_comparison"
    operator: ListOperator = Field(
        default=ListOperator.IN,
        description="in: alert when the value is not among the expected. not_in: alert when it is. Default in.",
    )
    expected: Listed[ExpectedValue] = Field(
        default=(), description="The expected values. Default: the baseline's value."
    )
    min_batch_size: Whole = Field(default=1, ge=1, description=f"{_MIN_BATCH_SIZE}1.")
    baseline: Baseline | None = Field(
        default=None, description="Gives the expected value when `expected` does not."
    )


class FrequentStringComparisonConfig(_Compared):
    """Compares the sets of values of target and baseline, for columns with fewer than about 100 values."""

    type: Literal["frequent_string_comparison"] = "frequent_string_comparison"
    metric: Annotated[str, _one_of("frequent_items")] = Field(
        default="frequent_items", description="Always frequent_items."
    )
    operator: ItemsOperator = Field(
        description="eq: both have the same values. target_includes_all_baseline: no value vanished. "
        "baseline_includes_all_target: no new value appeared. Alerts when that does not hold."
    )


class MonotonicConfig(_Measured):
    """Counts the steps in one direction among the last `targetSize` buckets."""

    type: Literal["monotonic"] = "monotonic"
    direction: Direction = Field(
        default=Direction.INCREASING, description="The anomalous direction. Default INCREASING."
    )
    num_buckets: Whole = Field(
        default=1, ge=1, description="Alert when at least that many steps go in the direction. Default 1."
    )


class ColumnListConfig(_Compared):
    """Columns that appear or vanish."""

    type: Literal["column_list"] = "column_list"
    metric: Annotated[str, _one_of("column_list", field_list="column_list")] = Field(
        default="column_list",
        description="Always column_list; field_list, the name in the reference's engine, is read as well.",
    )
    mode: ColumnListMode = Field(
        default=ColumnListMode.ON_ADD_AND_REMOVE,
        description="Which changes alert. Default ON_ADD_AND_REMOVE.",
    )
    exclude: Listed[str] = Field(
        default=(), description="Names of columns that may come and go; * stands for any characters."
    )


class _Composite(_Config):
    analyzer_ids: Listed[str] = Field(
        description="Ids of 2 to 10 analyzers that are not composite themselves."
    )


class ConjunctionConfig(_Composite):
    """Alerts when all of its analyzers do, for the same bucket."""

    type: Literal["conjunction"] = "conjunction"


class DisjunctionConfig(_Composite):
    """Alerts when any of its analyzers does, for the same bucket."""

    type: Literal["disjunction"] = "disjunction"


class ExperimentalConfig(_Measured):
    """An algorithm of your own, registered under the entry point group `monitoring_pipeline.analyzers`."""

    type: Literal["experimental", "custom"] = "experimental"
    implementation: str = Field(min_length=1, max_length=100, description="Name of the entry point.")
    stub: str | None = Field(default=None, description="Kept for older documents; without effect.")
    min_batch_size: Whole = Field(default=1, ge=1, description=f"{_MIN_BATCH_SIZE}1.")
    baseline: Baseline | None = Field(default=None, description=_BASELINE)


class CustomConfig(_Measured):
    """The `config` block of an analyzer type that a plug-in brings along; a subclass adds fields of its own."""

    type: str = Field(description="Name of the plug-in.")
    min_batch_size: Whole = Field(default=1, ge=1, description=f"{_MIN_BATCH_SIZE}1.")
    baseline: Baseline | None = Field(default=None, description=_BASELINE)


BuiltInConfig = (
    FixedConfig
    | StddevConfig
    | SeasonalConfig
    | DiffConfig
    | DriftConfig
    | ComparisonConfig
    | ListComparisonConfig
    | FrequentStringComparisonConfig
    | MonotonicConfig
    | ColumnListConfig
    | ConjunctionConfig
    | DisjunctionConfig
    | ExperimentalConfig
)
AnyConfig = BuiltInConfig | CustomConfig
ANALYZER_TYPES = (
    "fixed",
    "stddev",
    "seasonal",
    "diff",
    "drift",
    "comparison",
    "list_comparison",
    "frequent_string_comparison",
    "monotonic",
    "column_list",
    "conjunction",
    "disjunction",
    "experimental",
    "custom",
)
AnalyzerConfig = SerializeAsAny[
    Annotated[
        BuiltInConfig,
        Field(discriminator="type"),
        variants(*ANALYZER_TYPES),
        claimed(CustomConfig, ANALYZER_TYPES),
    ]
]
