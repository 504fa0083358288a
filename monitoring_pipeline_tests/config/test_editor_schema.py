"""The schema for editors knows the analyzers that the workspace brings along."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitoring_pipeline.config import plug_ins
from monitoring_pipeline.config.document import json_schema
from monitoring_pipeline.config.editor_schema import editor_schema

DOUBLED = """
from pydantic import Field
from monitoring_pipeline.config.analyzers import CustomConfig

class Config(CustomConfig):
    times: float = Field(default=2, gt=1, description="How many times.")
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "analyzers").mkdir()
    yield tmp_path
    plug_ins.use_folder(None)


def test_without_plug_ins_it_is_the_schema_of_everybody() -> None:
    assert editor_schema() == (json_schema(), ())


def test_a_plug_in_is_one_more_type_with_its_own_fields(home: Path) -> None:
    (home / "analyzers" / "doubled.py").write_text(DOUBLED)
    plug_ins.use_folder(home)

    schema, left_out = editor_schema()

    config = schema["$defs"]["Analyzer"]["properties"]["config"]
    own = schema["$defs"][config["discriminator"]["mapping"]["doubled"].rsplit("/", 1)[1]]
    assert own["properties"]["times"]["description"] == "How many times."
    assert own["properties"]["type"]["const"] == "doubled"
    assert set(own["required"]) == {"type", "metric"}
    assert config["oneOf"][-1] == {"$ref": config["discriminator"]["mapping"]["doubled"]}
    wanted = {part.split('"')[0] for part in json.dumps(schema).split("#/$defs/")[1:]}
    assert wanted == set(schema["$defs"])
    assert left_out == ()


def test_a_broken_plug_in_is_left_out_with_its_reason(home: Path) -> None:
    (home / "analyzers" / "broken.py").write_text("import nothing_of_that_name\n")
    plug_ins.use_folder(home)

    schema, left_out = editor_schema()

    assert schema == json_schema()
    assert "nothing_of_that_name" in left_out[0]
