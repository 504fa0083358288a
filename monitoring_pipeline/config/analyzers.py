"""One analyzer: what it looks at, how, and for which buckets.

The `config` blocks of all analyzer types come from `analyzer_types.py` and can be imported from here.
"""

from __future__ import annotations

from functools import cache

from pydantic import Field, TypeAdapter, model_validator

from monitoring_pipeline.config.analyzer_types import (
    ANALYZER_TYPES,
    AnalyzerConfig,
    AnyConfig,
    ColumnListConfig,
    ColumnListMode,
    ComparisonConfig,
    ComparisonOperator,
    ConjunctionConfig,
    CustomConfig,
    DiffConfig,
    DiffMode,
    Direction,
    DisjunctionConfig,
    DriftAlgorithm,
    DriftConfig,
    ExpectedValue,
    ExperimentalConfig,
    FixedConfig,
    FrequentStringComparisonConfig,
    ItemsOperator,
    LimitType,
    ListComparisonConfig,
    ListOperator,
    MonotonicConfig,
    SeasonalAlgorithm,
    SeasonalConfig,
    StddevConfig,
    ThresholdType,
)
from monitoring_pipeline.config.baselines import Baseline
from monitoring_pipeline.config.checks import analyzer_errors, config_errors
from monitoring_pipeline.config.fields import DocumentModel, DurationField, Listed, Metadata, Whole, with_id
from monitoring_pipeline.config.problems import validated
from monitoring_pipeline.config.schedules import AnalyzerSchedule, CronSchedule, FixedSchedule
from monitoring_pipeline.config.targets import TargetMatrix
from monitoring_pipeline.errors import DocumentError
from monitoring_pipeline.timegrid import Granularity

__all__ = [
    "ANALYZER_TYPES",
    "Analyzer",
    "AnalyzerConfig",
    "AnyConfig",
    "ColumnListConfig",
    "ColumnListMode",
    "ComparisonConfig",
    "ComparisonOperator",
    "ConjunctionConfig",
    "CustomConfig",
    "DiffConfig",
    "DiffMode",
    "Direction",
    "DisjunctionConfig",
    "DriftAlgorithm",
    "DriftConfig",
    "ExpectedValue",
    "ExperimentalConfig",
    "FixedConfig",
    "FrequentStringComparisonConfig",
    "ItemsOperator",
    "LimitType",
    "ListComparisonConfig",
    "ListOperator",
    "MonotonicConfig",
    "SeasonalAlgorithm",
    "SeasonalConfig",
    "StddevConfig",
    "ThresholdType",
    "parse_analyzer",
    "parse_config",
]


class Analyzer(DocumentModel):
    """What is analysed, how, and when."""

    metadata: Metadata | None = Field(default=None, description="Bookkeeping.")
    id: str = Field(
        min_length=1,
        max_length=256,
        description="Unique within the document; monitors refer to it. A document of the older generation may leave "
        "it out, and gets one made from the analyzer's content.",
    )
    display_name: str | None = Field(
        default=None, max_length=256, description="Name for people. Default: the id."
    )
    tags: Listed[str] = Field(default=(), description="Labels for people.")
    target_size: Whole = Field(
        default=1,
        ge=1,
        description="Buckets, the target the newest of them, that are merged into one target. A trailing baseline "
        "begins before all of them. Default 1; for monotonic analyzers the number of buckets compared, default 2.",
    )
    schedule: AnalyzerSchedule | None = Field(
        default=None,
        description="Which buckets are analysed, by their own time. Default: every bucket of the dataset.",
    )
    disabled: bool = Field(default=False, description="Do not run this analyzer. Default false.")
    disable_target_rollup: bool = Field(
        default=False,
        description="Analyse each upload on its own instead of the merged bucket; not with a baseline. Default false.",
    )
    target_matrix: TargetMatrix | None = Field(
        default=None, description="What the analyzer looks at. Composite analyzers need none."
    )
    data_readiness_duration: DurationField | None = Field(
        default=None,
        description="How long after its start a bucket is analysed at the earliest. P1DT12H on daily data waits "
        "until noon of the next day. Default: one granule, so P1D on daily data.",
    )
    batch_cool_down_period: DurationField | None = Field(
        default=None,
        description="Analyse a bucket only once its newest upload is at least this old. Default: no waiting.",
    )
    backfill_grace_period_duration: DurationField | None = Field(
        default=None,
        description="How far back buckets are analysed without being asked for. Default P30D for PT15M, hourly and "
        "daily data, P190D for weekly and monthly data.",
    )
    config: AnalyzerConfig = Field(description="The kind of analysis and its parameters.")

    @property
    def metric(self) -> str | None:
        """Name of the measured metric as the document writes it; None for composite analyzers."""
        return None if isinstance(self.config, ConjunctionConfig | DisjunctionConfig) else self.config.metric

    @property
    def baseline(self) -> Baseline | None:
        """What targets are compared with; None where nothing is."""
        if isinstance(self.config, FixedConfig | MonotonicConfig | ConjunctionConfig | DisjunctionConfig):
            return None
        return self.config.baseline

    @property
    def min_batch_size(self) -> int:
        """Baseline buckets that must have the metric; 0 where there is no baseline."""
        if isinstance(self.config, FixedConfig | MonotonicConfig | ConjunctionConfig | DisjunctionConfig):
            return 0
        return self.config.min_batch_size if self.config.baseline is not None else 0

    def schedule_for(self, granularity: Granularity) -> FixedSchedule | CronSchedule:
        """The schedule; without one, every bucket of the dataset's granularity."""
        return self.schedule or FixedSchedule(cadence=granularity)

    @model_validator(mode="before")
    @classmethod
    def _id_from_content(cls, data: object) -> object:
        return with_id(data, "analyzer")

    @model_validator(mode="after")
    def _monotonic_compares_two(self) -> Analyzer:
        if isinstance(self.config, MonotonicConfig) and "target_size" not in self.model_fields_set:
            object.__setattr__(self, "target_size", 2)  # a default that depends on the type: not "given"
        return self


def parse_analyzer(data: object, *, source: str) -> Analyzer:
    """An analyzer on its own. Raises DocumentError with all problems; `source` names where it came from."""
    analyzer = validated(_analyzer(), data, source=source)
    problems = list(analyzer_errors(analyzer, ()))
    if problems:
        raise DocumentError(source, problems)
    return analyzer


def parse_config(data: object, *, source: str) -> AnyConfig:
    """The `config` block of an analyzer on its own. Raises DocumentError with all problems."""
    config = validated(_config(), data, source=source, one_of=True)
    problems = list(config_errors(config, ()))
    if problems:
        raise DocumentError(source, problems)
    return config


@cache
def _analyzer() -> TypeAdapter[Analyzer]:
    return TypeAdapter(Analyzer)


@cache
def _config() -> TypeAdapter[AnyConfig]:
    return TypeAdapter(AnalyzerConfig)
