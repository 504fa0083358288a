"""From the words of a vector to the objects of this system: sketches, `config` blocks, whole documents.

The vectors' configurations were made by builders that leave out what a document must say. What is filled in here says
nothing of its own: a baseline where one is required, a metric of the kind that the case is about.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from monitoring_pipeline.config import MonitorDocument, parse_config, parse_document
from monitoring_pipeline.config.analyzers import AnyConfig
from monitoring_pipeline.profiling.sketches import FrequentItems, Kll
from monitoring_pipeline.segments import segment_key
from monitoring_pipeline.timegrid import EPOCH, from_micros, parse_moment, to_micros, utc
from monitoring_pipeline_tests.conformance.cases import Json
from monitoring_pipeline_tests.conformance.comparing import number

_NEEDS_BASELINE = ("stddev", "seasonal", "diff", "drift", "frequent_string_comparison", "column_list")
_METRICS = {
    "drift": "histogram",
    "frequent_string_comparison": "frequent_items",
    "column_list": "column_list",
}


def milliseconds(moment: datetime) -> int:
    """Milliseconds since 1970."""
    return to_micros(moment) // 1000


def moment_of(value: Any) -> datetime:
    """A moment of a vector: milliseconds since 1970, or ISO-8601 text."""
    return parse_moment(value) if isinstance(value, str) else EPOCH + timedelta(milliseconds=float(value))


def values_of(updates: Any) -> list[Any]:
    """What a sketch was fed: a list of values, or `{"arange": {start, step, count}}`."""
    if isinstance(updates, Mapping):
        steps = updates["arange"]
        return [steps["start"] + steps["step"] * at for at in range(steps["count"])]
    return list(updates)


def is_items(sketch: Json) -> bool:
    """Whether a sketch of a vector counts texts; otherwise it ranks numbers."""
    return sketch.get("sketch") == "frequent_strings" or "frequent_strings_b64" in sketch


def kll_image(sketch: Json) -> bytes:
    """The image of a quantile sketch, given as bytes or as the values that it was fed."""
    if "kll_b64" in sketch:
        return base64.b64decode(sketch["kll_b64"])
    values = [number(value) for value in values_of(sketch["updates"])]
    return Kll.of(np.array(values, dtype=np.float64), k=sketch.get("k", 200)).to_image()


def items_image(sketch: Json) -> bytes:
    """The image of a frequent-items sketch, given as bytes, as counts or as the texts that it was fed."""
    if "frequent_strings_b64" in sketch:
        return base64.b64decode(sketch["frequent_strings_b64"])
    counts = sketch["counts"] if "counts" in sketch else Counter(values_of(sketch["updates"]))
    return FrequentItems.of(counts.items(), total=sum(counts.values())).to_image()


def completed_config(given: Json, *, buckets: int = 7, kind: str = "number") -> dict[str, Any]:
    """A `config` block with what a document must say and a builder leaves out.

    `buckets` is how many baseline buckets the case has; `kind` "text" asks for a metric that is a text.
    """
    config = {key: value for key, value in given.items() if not (key == "mode" and value is None)}
    type_ = str(config["type"])
    if not config.get("metric") and type_ not in ("conjunction", "disjunction"):
        config["metric"] = _METRICS.get(type_, "inferred_data_type" if kind == "text" else "median")
    if type_ == "stddev" and config["metric"] == "test":
        config["metric"] = "median"
    if type_ in _NEEDS_BASELINE and not config.get("baseline"):
        config["baseline"] = {"type": "TrailingWindow", "size": max(buckets, 1)}
    if type_ == "diff":
        config.setdefault("mode", "abs")
    undecided = not config.get("expected") and not config.get("baseline")
    if type_ in ("comparison", "list_comparison") and undecided:
        config["baseline"] = {"type": "TrailingWindow", "size": max(buckets, 1)}
        config.pop("expected", None)
    if type_ == "comparison":
        config.setdefault("operator", "eq")
    return config


def config_of(given: Json, *, buckets: int = 7, kind: str = "number") -> AnyConfig:
    """A `config` block of a vector. Raises DocumentError for one that is refused."""
    return parse_config(completed_config(given, buckets=buckets, kind=kind), source="vector")


def completed_analyzer(given: Json, *, buckets: int = 7) -> dict[str, Any]:
    """An analyzer with its `config` block completed, and with an id."""
    analyzer = {"id": "analyzer", **given}
    if "config" in analyzer:
        analyzer["config"] = completed_config(analyzer["config"], buckets=buckets)
    return analyzer


def document_of(
    analyzers: Sequence[Json], *, granularity: str = "daily", buckets: int = 7, **given: Any
) -> MonitorDocument:
    """A document with these analyzers. Raises DocumentError for one that is refused."""
    data = {
        "orgId": "org-0",
        "datasetId": "vector",
        "granularity": granularity,
        "analyzers": [completed_analyzer(one, buckets=buckets) for one in analyzers],
        "monitors": [],
        **given,
    }
    return parse_document(data, source="vector").document


def tags_key(tags: Iterable[Json | Sequence[str]]) -> str:
    """The canonical key of a segment given as a list of tags."""
    pairs = [(tag["key"], tag["value"]) if isinstance(tag, Mapping) else tag for tag in tags]
    return segment_key({str(key): str(value) for key, value in pairs})


def text_key(text: str) -> str:
    """The canonical key of a segment given as the reference's text, `k=v&k2=v2` in any order."""
    pairs = [part.partition("=") for part in text.split("&") if part]
    return segment_key({key: value for key, _, value in pairs})


def iso(moment: datetime) -> str:
    return utc(moment).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


__all__ = [
    "completed_analyzer",
    "completed_config",
    "config_of",
    "document_of",
    "from_micros",
    "is_items",
    "iso",
    "items_image",
    "kll_image",
    "milliseconds",
    "moment_of",
    "tags_key",
    "text_key",
    "values_of",
]
