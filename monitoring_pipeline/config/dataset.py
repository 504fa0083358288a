"""The description of one dataset, `dataset.yaml`: where its data comes from, how it is cut into buckets and segments.

Unlike the monitor document it is ours alone, so it is strict: an unknown key is an error that names the likely one.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from monitoring_pipeline.config.fields import (
    Choice,
    GranularityField,
    Listed,
    Moment,
    Whole,
    as_list,
    refuse,
)
from monitoring_pipeline.config.privacy import PrivacySpec
from monitoring_pipeline.config.problems import check_depth, shorten, too_deep, translate
from monitoring_pipeline.config.retention import RetentionSpec
from monitoring_pipeline.errors import DocumentError, Problem
from monitoring_pipeline.timegrid import Granularity

if TYPE_CHECKING:
    import yaml

LARGEST_DESCRIPTION = 200_000
"""Bytes of a file that is read at all."""

_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def _safe_id(value: object) -> object:
    if isinstance(value, str) and not _SAFE_ID.fullmatch(value):
        raise refuse("1 to 100 letters, digits, '.', '_' or '-', the first a letter or digit")
    return value


def _owner(value: object) -> object:
    if isinstance(value, str) and not re.fullmatch(r"team:[\w.-]+|[^@\s]+@[^@\s]+\.[^@\s]+", value):
        raise refuse('an e-mail address, or "team:" and the name of a team')
    return value


def _start(value: object) -> object:
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return value


def _segment(value: object) -> object:
    names = as_list(value)
    if isinstance(names, (list, tuple)):
        if not names:
            raise refuse("names of columns; the overall segment is always there")
        if len({str(name) for name in names}) < len(names):
            raise refuse("each column once")
    return names


SafeId = Annotated[str, BeforeValidator(_safe_id)]
ColumnName = Annotated[str, Field(min_length=1)]


def _label(value: object) -> object:
    """Yes and no, and whole numbers, as the texts that profiles call them by."""
    if isinstance(value, bool):
        return str(value)
    return str(value) if isinstance(value, int) else value


Label = Annotated[str, BeforeValidator(_label), Field(min_length=1)]
Paths = Annotated[Listed[Annotated[str, Field(min_length=1)]], Field(min_length=1)]


class _Described(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileFormat(Choice):
    """Formats of files that hold rows."""

    PARQUET = "parquet"
    CSV = "csv"
    JSONL = "jsonl"


class SourceFormat(Choice):
    """Formats of files that a source can read: rows, or profiles that whylogs made of them."""

    PARQUET = "parquet"
    CSV = "csv"
    JSONL = "jsonl"
    WHYLOGS = "whylogs"


class FilesSourceSpec(_Described):
    """Files that hold the rows, or profiles of them."""

    type: Literal["files"] = Field(default="files", description="Kind of source.")
    path: Paths = Field(
        description="File, folder or glob, or a list of them: relative to the workspace's home, absolute, or an "
        "fsspec URL such as s3://bucket/rows/**/*.parquet."
    )
    format: SourceFormat | None = Field(
        default=None,
        description="parquet, csv or jsonl, by default as the extension of each file says; whylogs for files of "
        "profiles, each of the bucket of its dataset timestamp.",
    )
    date_in_path: str | None = Field(
        default=None,
        description="A strptime pattern that is searched in the path, such as date=%Y-%m-%d, and gives the bucket of "
        "all rows of the file instead of the timestamp column (of a profile: of its dataset timestamp).",
    )
    file_sequence: bool = Field(
        default=False,
        description="Files are numbered in their names and carry no date: the first is the bucket of `start`, each "
        "following number the next bucket. Default false.",
    )

    @property
    def profiles(self) -> bool:
        """Whether the files hold profiles, and no rows."""
        return self.format is SourceFormat.WHYLOGS


class OutcomesSpec(_Described):
    """Files that arrive later and add columns, not rows, to the bucket of their timestamp."""

    path: Paths = Field(description="Where the files are, written like the source's path.")
    timestamp: ColumnName | None = Field(
        default=None, description="Column that tells the bucket. Default: the dataset's timestamp column."
    )
    format: FileFormat | None = Field(
        default=None, description="parquet, csv or jsonl. Default: by the extension of each file."
    )


class ColumnRoles(_Described):
    """Columns with a meaning of their own; each may be left out."""

    id: ColumnName | None = Field(default=None, description="Column that identifies a row.")
    prediction: ColumnName | None = Field(default=None, description="Column with the model's answer.")
    score: ColumnName | None = Field(
        default=None, description="Column with the model's score or probability."
    )
    target: ColumnName | None = Field(default=None, description="Column with what came true.")
    weight: ColumnName | None = Field(default=None, description="Column with the weight of the row.")
    value: ColumnName | None = Field(
        default=None, description="Column with what the row is worth: a number that is summed per outcome."
    )
    positive: Label | None = Field(
        default=None,
        description="The label, not a column, that precision, recall, scores and value are told of, against all "
        'others. Default: of two labels "1", else "True", else the first; of more, the mean over all.',
    )

    @property
    def judged(self) -> bool:
        """Whether predictions can be held against what came true."""
        return self.target is not None and (self.prediction is not None or self.score is not None)


class ProfileSettings(_Described):
    """How finely the data is profiled. The defaults suit most data (figures in PERFORMANCE)."""

    kll_k: Whole = Field(
        default=512,
        ge=8,
        le=65535,
        description="Accuracy of the quantile sketches of the overall segment; 1024 where small drifts matter. "
        "Default 512.",
    )
    kll_k_segments: Whole = Field(
        default=200, ge=8, le=65535, description="The same inside segments. Default 200."
    )
    hll_lg_k: Whole = Field(
        default=12,
        ge=4,
        le=21,
        description="Base-2 logarithm of the registers that count distinct values. Default 12.",
    )
    frequent_items: bool = Field(
        default=True, description="Keep the most frequent values; false for sensitive data. Default true."
    )
    max_segments: Whole = Field(
        default=10_000,
        ge=1,
        description='Segments of one bucket that are profiled on their own; the rest is counted as "other". '
        "Default 10,000.",
    )
    max_columns: Whole = Field(
        default=10_000,
        ge=1,
        description="Columns that are profiled; of a wider table the rest is left out, with a warning. "
        "Default 10,000.",
    )


class DatasetSpec(_Described):
    """One dataset."""

    id: SafeId = Field(description="Unique within the organisation; also the name of its folder.")
    organisation: SafeId | None = Field(
        default=None, description="Default: the organisation of the settings."
    )
    description: str = Field(default="", description="What the data is.")
    owner: Annotated[str, BeforeValidator(_owner)] | None = Field(
        default=None, description="Who answers for it: an e-mail address or team:<name>."
    )
    granularity: GranularityField = Field(
        description="Length of a bucket: PT15M, hourly, daily, weekly, monthly."
    )
    start: Annotated[Moment, BeforeValidator(_start)] | None = Field(
        default=None,
        description="A moment in the first bucket, UTC; rows of earlier buckets are left outside. "
        "Read back as the start of that bucket.",
    )
    source: FilesSourceSpec = Field(description="Where the rows come from.")
    timestamp: ColumnName | None = Field(
        default=None,
        description="Column with the time of a row. Needed unless the source has date_in_path or holds profiles.",
    )
    outcomes: OutcomesSpec | None = Field(default=None, description="Files with what came true.")
    upstream: Listed[SafeId] = Field(
        default=(),
        description="Datasets that this one is made from; an incident of theirs is named as the likely cause of ours.",
    )
    segments: Listed[Annotated[tuple[ColumnName, ...], BeforeValidator(_segment)]] = Field(
        default=(), description="Sets of columns; the data is also profiled per combination of their values."
    )
    columns: ColumnRoles = Field(default=ColumnRoles(), description="Columns with a meaning of their own.")
    exclude: Listed[ColumnName] = Field(default=(), description="Columns that are not profiled.")
    metrics: dict[str, str] = Field(
        default_factory=dict,
        description="Metrics of your own by name: an expression over other metrics, such as count_null / count.",
    )
    profile: ProfileSettings = Field(
        default=ProfileSettings(), description="How finely the data is profiled."
    )
    retention: RetentionSpec = Field(
        default=RetentionSpec(), description="How long the store keeps what it knows. Default: for ever."
    )
    privacy: PrivacySpec = Field(
        default=PrivacySpec(),
        description="What profiles must not remember of columns. Default: nothing is held back.",
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_not_given(cls, data: object) -> object:
        return (
            {key: data[key] for key in data if data[key] is not None} if isinstance(data, Mapping) else data
        )

    @model_validator(mode="after")
    def _filled_in(self) -> DatasetSpec:
        if self.start is not None:
            object.__setattr__(self, "start", self.granularity.floor(self.start))
        if self.outcomes is not None and self.outcomes.timestamp is None:
            outcomes = self.outcomes.model_copy(update={"timestamp": self.timestamp})
            object.__setattr__(self, "outcomes", outcomes)
        return self


def load_dataset(path: Path) -> DatasetSpec:
    """Read a dataset description from a YAML file. Raises DocumentError with all problems."""
    return parse_dataset(read_yaml(path), source=str(path))


def parse_dataset(data: object, *, source: str) -> DatasetSpec:
    """Read a dataset description from objects. Raises DocumentError with all problems."""
    check_depth(data, source=source)
    try:
        spec = DatasetSpec.model_validate(data)
    except ValidationError as error:
        raise DocumentError(source, translate(error, model=DatasetSpec)) from None
    problems = _contradictions(spec)
    if problems:
        raise DocumentError(source, problems)
    return spec


def _contradictions(spec: DatasetSpec) -> list[Problem]:
    problems = _of_profiles(spec) if spec.source.profiles else []
    problems += spec.retention.problems(spec.granularity)
    pattern = spec.source.date_in_path
    told = pattern is not None or spec.source.file_sequence or spec.source.profiles
    if spec.timestamp is None and not told:
        problems.append(
            Problem(
                "$.timestamp",
                "nothing",
                "the column with the time of a row, source.date_in_path or source.file_sequence",
            )
        )
    if spec.source.file_sequence and pattern is not None:
        problems.append(Problem("$.source.file_sequence", "true beside date_in_path", "one of the two"))
    if spec.source.file_sequence and spec.start is None:
        problems.append(
            Problem("$.start", "nothing", "the bucket of the first numbered file, such as 2026-01-31")
        )
    if pattern is not None and not _tells_bucket(pattern, spec.granularity):
        problems.append(
            Problem(
                "$.source.date_in_path",
                shorten(pattern),
                f"a strptime pattern that tells the bucket of {spec.granularity} data, such as date=%Y-%m-%d",
            )
        )
    if spec.outcomes is not None and spec.outcomes.timestamp is None and not spec.source.profiles:
        problems.append(Problem("$.outcomes.timestamp", "nothing", "the column that tells the bucket"))
    seen: set[frozenset[str]] = set()
    for place, segment in enumerate(spec.segments):
        if frozenset(segment) in seen:
            problems.append(
                Problem(f"$.segments[{place}]", shorten(", ".join(segment)), "each set of columns once")
            )
        seen.add(frozenset(segment))
    return problems + _private_segments(spec)


def _private_segments(spec: DatasetSpec) -> list[Problem]:
    """Segments are stored by the values of their columns, so these cannot be private."""
    return [
        Problem(
            f"$.segments[{place}]",
            f"{shorten(name)}, of which privacy keeps values back ({rule})",
            "columns whose values may be read, as they name the segments: leave the segment out, or say so with "
            f"privacy.columns.{name}: {{frequent_items: on, extremes: exact}}",
        )
        for place, segment in enumerate(spec.segments)
        for name in segment
        if not (rule := spec.privacy.rule(name)).open
    ]


_SKETCH_SIZES = ("kll_k", "kll_k_segments", "hll_lg_k")


def _of_profiles(spec: DatasetSpec) -> list[Problem]:
    """What makes no sense where the rows were profiled elsewhere."""
    problems: list[Problem] = []
    if spec.timestamp is not None:
        accepted = "no column: a whylogs profile has a time of its own, and source.date_in_path overrides it"
        problems.append(Problem("$.timestamp", shorten(spec.timestamp), accepted))
    if spec.outcomes is not None:
        accepted = "none beside format whylogs: outcomes need rows; performance in the profiles is taken over"
        problems.append(Problem("$.outcomes", "files of outcomes", accepted))
    problems += [
        Problem(
            f"$.profile.{name}",
            str(getattr(spec.profile, name)),
            "nothing beside format whylogs: sketches are as precise as whylogs made them",
        )
        for name in _SKETCH_SIZES
        if name in spec.profile.model_fields_set
    ]
    return problems


_EXAMPLES = (
    datetime(2024, 2, 29, 23, 45, tzinfo=UTC),
    datetime(2025, 11, 3, 8, 30, tzinfo=UTC),
    datetime(2026, 1, 1, 0, 15, tzinfo=UTC),
)


def _tells_bucket(pattern: str, granularity: Granularity) -> bool:
    """Whether moments that are written with the pattern can be read back into their bucket."""
    try:
        read = [
            datetime.strptime(moment.strftime(pattern), pattern).replace(tzinfo=UTC) for moment in _EXAMPLES
        ]
    except ValueError:
        return False
    return all(
        granularity.floor(again) == granularity.floor(moment)
        for again, moment in zip(read, _EXAMPLES, strict=True)
    )


# --- reading a file ----------------------------------------------------------------------------------------------


def read_yaml(path: Path) -> object:
    import yaml

    source = str(path)
    try:
        size = path.stat().st_size
        if size > LARGEST_DESCRIPTION:
            raise DocumentError(
                source, [Problem("$", f"{size:,} bytes", f"at most {LARGEST_DESCRIPTION:,} bytes")]
            )
        text = path.read_text(encoding="utf-8-sig")
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            problems = _unsafe(node)
            if problems:
                raise DocumentError(source, problems)
            return loader.construct_document(node) if node is not None else None
        finally:
            loader.dispose()
    except OSError as error:
        raise DocumentError(source, [Problem("$", error.strerror or str(error), "a readable file")]) from None
    except UnicodeDecodeError as error:
        raise DocumentError(
            source, [Problem(f"byte {error.start}", "bytes that are not UTF-8", "UTF-8")]
        ) from None
    except RecursionError:
        raise DocumentError(source, [too_deep()]) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        found = ": ".join(part for part in (error.context, error.problem) if part)
        raise DocumentError(source, [Problem(_place(mark), found, "YAML")]) from None
    except (yaml.YAMLError, ValueError) as error:
        raise DocumentError(source, [Problem("$", shorten(str(error)), "YAML")]) from None


def _unsafe(root: yaml.Node | None) -> list[Problem]:
    """Keys given twice, and aliases, which can blow a small file up to any size."""
    from yaml import MappingNode, ScalarNode, SequenceNode

    problems: list[Problem] = []
    visited: set[int] = set()
    stack = [] if root is None else [root]
    while stack:
        node = stack.pop()
        if id(node) in visited:
            problems.append(
                Problem(_place(node.start_mark), "an anchor that is used again", "the value written out")
            )
            continue
        visited.add(id(node))
        if isinstance(node, SequenceNode):
            stack.extend(reversed(node.value))
        elif isinstance(node, MappingNode):
            seen: set[Hashable] = set()
            for key, _ in node.value:
                if isinstance(key, ScalarNode) and key.value in seen:
                    problems.append(
                        Problem(_place(key.start_mark), f'the key "{key.value}" again', "each key once")
                    )
                seen.add(key.value if isinstance(key, ScalarNode) else id(key))
            stack.extend(value for _, value in reversed(node.value))
    return problems


def _place(mark: yaml.Mark | None) -> str:
    return "$" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}"
