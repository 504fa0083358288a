"""The monitor document of a dataset: its analyzers, its monitors, and what they need to know about the data.

`load_document` and `parse_document` are the door: they read everything that the reference platform accepted, refuse
what is invalid with all problems at once, and warn about what would do nothing. `json_schema` is for editors.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, ValidationError

from monitoring_pipeline.config.analyzers import Analyzer
from monitoring_pipeline.config.checks import document_errors, document_warnings, unknown_keys
from monitoring_pipeline.config.entity_schema import EntitySchema, WeightConfig
from monitoring_pipeline.config.fields import (
    DocumentModel,
    GranularityField,
    Listed,
    Metadata,
    Whole,
    as_list,
)
from monitoring_pipeline.config.monitors import Monitor
from monitoring_pipeline.config.problems import (
    check_depth,
    choices_hint,
    json_path,
    shorten,
    too_deep,
    translate,
)
from monitoring_pipeline.errors import DocumentError, Problem, UsageError

LARGEST_DOCUMENT = 10_000_000
"""Bytes of a file that is read at all."""

M = TypeVar("M", bound=DocumentModel)


class MonitorDocument(DocumentModel):
    """What is monitored about one dataset, and who is told."""

    schema_uri: str | None = Field(
        default=None, alias="$schema", description="Where editors find the JSON Schema of this document."
    )
    id: str | None = Field(default=None, description="Id of the document, usually a UUID.")
    schema_version: Whole = Field(default=1, ge=1, le=1, description="Version of the document format; 1.")
    metadata: Metadata | None = Field(default=None, description="Bookkeeping.")
    org_id: str = Field(min_length=1, max_length=100, description="Id of the organisation.")
    dataset_id: str = Field(
        min_length=1, max_length=100, description="Id of the dataset, as in dataset.yaml."
    )
    granularity: GranularityField = Field(
        description="Length of the dataset's buckets: hourly, daily, weekly (from Monday), monthly or PT15M; UTC."
    )
    allow_partial_target_batches: bool = Field(
        default=False,
        description="Analyse a bucket as soon as it has any data, without waiting for its end. Default false.",
    )
    entity_schema: EntitySchema | None = Field(
        default=None, description="What is known about the columns. Default: inferred from the data."
    )
    weight_config: WeightConfig | None = Field(
        default=None, description="Weights (importance) of the columns."
    )
    analyzers: Listed[Analyzer] = Field(description="What is analysed.")
    monitors: Listed[Monitor] = Field(description="Who is told about which anomalies.")

    def to_json(self) -> dict[str, Any]:
        """The document as JSON objects: camelCase, what was given, unknown keys included."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    def analyzer(self, analyzer_id: str) -> Analyzer:
        """The analyzer of that id. Raises UsageError."""
        try:
            return self._analyzers[analyzer_id]
        except KeyError:
            known = choices_hint(analyzer_id, list(self._analyzers)) if self._analyzers else "none"
            raise UsageError(
                f"{self.dataset_id} has no analyzer {analyzer_id!r}; its analyzers: {known}"
            ) from None

    def monitors_of(self, analyzer_id: str) -> tuple[Monitor, ...]:
        """The enabled monitors that listen to an analyzer."""
        return self._listeners.get(analyzer_id, ())

    @cached_property
    def _analyzers(self) -> Mapping[str, Analyzer]:
        return {analyzer.id: analyzer for analyzer in self.analyzers}

    @cached_property
    def _listeners(self) -> Mapping[str, tuple[Monitor, ...]]:
        listeners: dict[str, tuple[Monitor, ...]] = {}
        for monitor in self.monitors:
            for name in dict.fromkeys(monitor.analyzer_ids):
                if not monitor.disabled:
                    listeners[name] = (*listeners.get(name, ()), monitor)
        return listeners


@dataclass(frozen=True)
class LoadedDocument:
    """A document that can be used, and what is worth knowing about it."""

    document: MonitorDocument
    warnings: tuple[Problem, ...]


@dataclass(frozen=True)
class Fragment:
    """Analyzers and monitors without a document around them, as people copy them from guides and dashboards."""

    analyzers: tuple[Analyzer, ...]
    monitors: tuple[Monitor, ...]
    warnings: tuple[Problem, ...]


def load_document(path: Path) -> LoadedDocument:
    """Read a document from a JSON file. Raises DocumentError with all problems."""
    data, warnings = read_json(path)
    loaded = parse_document(data, source=str(path))
    return LoadedDocument(loaded.document, warnings + loaded.warnings)


def parse_document(data: object, *, source: str) -> LoadedDocument:
    """Read a document from JSON objects. Raises DocumentError with all problems; `source` names where it came from."""
    check_depth(data, source=source)
    try:
        document = MonitorDocument.model_validate(data)
    except ValidationError as error:
        # What can be read is checked as well, so that all problems are told at once.
        problems = [*translate(error), *_errors(data, _Readable.of(data), complete=True)]
        raise DocumentError(source, problems) from None
    parts = _Readable(dict(enumerate(document.analyzers)), dict(enumerate(document.monitors)))
    problems = _errors(data, parts, complete=True)
    if problems:
        raise DocumentError(source, problems)
    warnings = (
        *_missing_ids(data),
        *unknown_keys(document),
        *document_warnings(document.analyzers, document.monitors, granularity=document.granularity),
    )
    return LoadedDocument(document, warnings)


def parse_fragment(data: object, *, source: str) -> Fragment:
    """Read `{"analyzers": […], "monitors": […]}`, either of which may be missing. Raises DocumentError.

    Monitors may name analyzers that are not in the fragment.
    """
    check_depth(data, source=source)
    if not isinstance(data, Mapping) or not {"analyzers", "monitors"} & data.keys():
        raise DocumentError(source, [Problem("$", shorten(data), 'an object with "analyzers" or "monitors"')])
    parts = _Readable.of(data)
    problems = [
        *_entry_problems(data, "analyzers", Analyzer),
        *_entry_problems(data, "monitors", Monitor),
        *_errors(data, parts, complete=False),
    ]
    if problems:
        raise DocumentError(source, problems)
    analyzers, monitors = tuple(parts.analyzers.values()), tuple(parts.monitors.values())
    warnings = (
        *_missing_ids(data),
        *unknown_keys(analyzers, ("analyzers",)),
        *unknown_keys(monitors, ("monitors",)),
        *document_warnings(analyzers, monitors, granularity=None),
    )
    return Fragment(analyzers, monitors, warnings)


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the monitor document, for editors."""
    schema = MonitorDocument.model_json_schema(by_alias=True, mode="validation")
    for part in (schema, *schema["$defs"].values()):
        fields = part.get("properties", {})
        for field in fields.values():
            field.pop("title", None)
        if "const" in fields.get("type", {}) or "enum" in fields.get("type", {}):
            fields["type"].setdefault("description", "Tells the variants apart.")
            part["required"] = ["type", *part.get("required", ())]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Monitor document"}


# --- reading a file ----------------------------------------------------------------------------------------------


def read_json(path: Path) -> tuple[object, tuple[Problem, ...]]:
    """What a JSON file holds, and what is odd about it. Raises DocumentError when it cannot be read."""
    source = str(path)
    repeated: Counter[str] = Counter()

    def keep_last(pairs: list[tuple[str, object]]) -> dict[str, object]:
        repeated.update(name for name, count in Counter(key for key, _ in pairs).items() if count > 1)
        return dict(pairs)

    try:
        size = path.stat().st_size
        if size > LARGEST_DOCUMENT:
            raise DocumentError(
                source, [Problem("$", f"{size:,} bytes", f"at most {LARGEST_DOCUMENT:,} bytes")]
            )
        text = path.read_text(encoding="utf-8-sig")
        # Bare NaN and Infinity are no JSON, but are written by many programs: read as text, which can be kept.
        data = json.loads(text, object_pairs_hook=keep_last, parse_constant=str)
    except OSError as error:
        raise DocumentError(source, [Problem("$", error.strerror or str(error), "a readable file")]) from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise DocumentError(source, [Problem(place, _around(error), f"JSON: {error.msg}")]) from None
    except UnicodeDecodeError as error:
        raise DocumentError(
            source, [Problem(f"byte {error.start}", "bytes that are not UTF-8", "UTF-8")]
        ) from None
    except RecursionError:
        raise DocumentError(source, [too_deep()]) from None
    except ValueError as error:
        raise DocumentError(source, [Problem("$", str(error), "JSON")]) from None
    warnings = tuple(
        Problem(
            "$", f"the key {shorten(name)} more than once in one object", "each key once; the last one counts"
        )
        for name in repeated
    )
    return data, warnings


def _around(error: json.JSONDecodeError) -> str:
    rest = error.doc[error.pos : error.pos + 200]
    return shorten(rest.split("\n", 1)[0]) if rest.strip() else "the end of the text"


# --- reading objects ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Readable:
    """The analyzers and monitors that can be read, by their place; the others have had their problems told."""

    analyzers: Mapping[int, Analyzer]
    monitors: Mapping[int, Monitor]

    @classmethod
    def of(cls, data: object) -> _Readable:
        return cls(_readable(data, "analyzers", Analyzer), _readable(data, "monitors", Monitor))


def _errors(data: object, parts: _Readable, *, complete: bool) -> list[Problem]:
    analyzer_ids = _given_ids(data, "analyzers") | {place: part.id for place, part in parts.analyzers.items()}
    monitor_ids = _given_ids(data, "monitors") | {place: part.id for place, part in parts.monitors.items()}
    return list(
        document_errors(
            parts.analyzers,
            parts.monitors,
            analyzer_ids=dict(sorted(analyzer_ids.items())),
            monitor_ids=dict(sorted(monitor_ids.items())),
            complete=complete,
        )
    )


def _entries(data: object, key: str) -> list[Any]:
    given = data.get(key) if isinstance(data, Mapping) else None
    entries = as_list(given) if given is not None else []
    return list(entries) if isinstance(entries, (list, tuple)) else []


def _readable(data: object, key: str, kind: type[M]) -> dict[int, M]:
    readable: dict[int, M] = {}
    for place, entry in enumerate(_entries(data, key)):
        with contextlib.suppress(ValidationError):
            readable[place] = kind.model_validate(entry)
    return readable


def _entry_problems(data: object, key: str, kind: type[DocumentModel]) -> Iterator[Problem]:
    for place, entry in enumerate(_entries(data, key)):
        try:
            kind.model_validate(entry)
        except ValidationError as error:
            at = json_path((key, place))
            for problem in translate(error):
                yield Problem(at + problem.path.removeprefix("$"), problem.found, problem.accepted)


def _given_ids(data: object, key: str) -> dict[int, str]:
    return {
        place: str(entry["id"])
        for place, entry in enumerate(_entries(data, key))
        if isinstance(entry, Mapping) and entry.get("id") is not None
    }


def _missing_ids(data: object) -> Iterator[Problem]:
    for key in ("analyzers", "monitors"):
        given = _given_ids(data, key)
        for place in range(len(_entries(data, key))):
            if place not in given:
                accepted = "an id of your own; one made from the content is used"
                yield Problem(json_path((key, place, "id")), "nothing", accepted)
