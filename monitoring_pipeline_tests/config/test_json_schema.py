"""The JSON Schema that editors use."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from monitoring_pipeline.config.analyzer_types import ANALYZER_TYPES
from monitoring_pipeline.config.document import json_schema


def fields(schema: Any, at: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        for name, field in schema.get("properties", {}).items():
            if isinstance(field, dict):
                yield f"{at}.{name}", field
        for key, part in schema.items():
            yield from fields(part, f"{at}.{key}")
    elif isinstance(schema, list):
        for part in schema:
            yield from fields(part, at)


def test_it_is_draft_2020_12_with_a_title():
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == "Monitor document"
    json.dumps(schema, allow_nan=False)


def test_every_field_and_every_object_is_described():
    schema = json_schema()
    assert [path for path, field in fields(schema) if not field.get("description")] == []
    assert [name for name, part in schema["$defs"].items() if not part.get("description")] == []


def test_every_field_is_camel_case():
    names = {path.rsplit(".", 1)[1] for path, _ in fields(json_schema())}
    assert [name for name in names if "_" in name] == []
    assert {
        "orgId",
        "allowPartialTargetBatches",
        "nConsecutive",
        "batchCoolDownPeriod",
        "stddevTimeRanges",
    } <= names


def test_every_reference_leads_somewhere():
    schema = json_schema()
    text = json.dumps(schema)
    wanted = {part.split('"')[0] for part in text.split("#/$defs/")[1:]}
    assert wanted == set(schema["$defs"])


def test_every_analyzer_type_is_a_variant_that_requires_its_type():
    schema = json_schema()
    mapping = schema["$defs"]["Analyzer"]["properties"]["config"]["discriminator"]["mapping"]
    assert set(mapping) == set(ANALYZER_TYPES)
    for reference in mapping.values():
        assert "type" in schema["$defs"][reference.rsplit("/", 1)[1]]["required"]


def test_defaults_are_told():
    config = json_schema()["$defs"]["StddevConfig"]["properties"]
    assert (config["factor"]["default"], config["minBatchSize"]["default"]) == (3.0, 3)


def test_reading_documents_needs_no_heavy_packages():
    code = (
        "import sys, monitoring_pipeline.config\n"
        "heavy = {'pandas', 'pyarrow', 'dagster', 'numpy', 'yaml', 'croniter', 'sqlalchemy'}\n"
        "print(sorted(heavy & {name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
