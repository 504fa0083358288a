from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
from pydantic import Field

from monitoring_pipeline.config import plug_ins
from monitoring_pipeline.config.analyzers import CustomConfig, FixedConfig
from monitoring_pipeline.config.baselines import TrailingWindowBaseline
from monitoring_pipeline.config.document import json_schema
from monitoring_pipeline_tests.config.documents import (
    analyzer,
    document,
    monitor,
    problems_of,
    read,
    warnings_of,
)

DOUBLED = """
from pydantic import Field
from monitoring_pipeline.config.analyzers import CustomConfig

name = "doubled"

class Config(CustomConfig):
    times: float = Field(default=2, gt=1, description="How many times.")
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A workspace with an analyzer of its own."""
    (tmp_path / "analyzers").mkdir()
    (tmp_path / "analyzers" / "doubled.py").write_text(DOUBLED)
    plug_ins.use_folder(tmp_path)
    yield tmp_path
    plug_ins.use_folder(None)


def with_config(**config: Any) -> dict[str, Any]:
    return document([analyzer(config={"metric": "mean", **config})], [monitor()])


def test_a_plug_in_reads_the_config_of_the_type_that_bears_its_name(home: Path) -> None:
    window = {"type": "TrailingWindow", "size": 5}
    data = with_config(type="Doubled", times="3", baseline=window, minBatchSize=2, params={"seed": 1})
    loaded = read(data)
    found = loaded.document.analyzers[0]
    assert isinstance(found.config, CustomConfig)
    assert (found.config.type, found.metric, found.min_batch_size) == ("doubled", "mean", 2)
    assert isinstance(found.baseline, TrailingWindowBaseline)
    assert found.config.model_dump()["times"] == 3.0
    assert not loaded.warnings


def test_what_is_saved_reads_back_the_same(home: Path) -> None:
    loaded = read(with_config(type="doubled", times=3, note="kept"))
    saved = loaded.document.to_json()
    assert saved["analyzers"][0]["config"] == {
        "metric": "mean",
        "type": "doubled",
        "times": 3.0,
        "note": "kept",
    }
    assert read(saved).document == loaded.document


def test_a_mistake_in_the_config_is_told_with_its_place(home: Path) -> None:
    problems = problems_of(with_config(type="doubled", times=1, baseline={"type": "Sometimes"}))
    assert problems["$.analyzers[0].config.times"].accepted == "a number greater than 1"
    assert "$.analyzers[0].config.baseline.type" in problems
    missing = problems_of(document([analyzer(config={"type": "doubled"})], [monitor()]))
    assert "$.analyzers[0].config.metric" in missing


def test_unknown_keys_of_a_plug_in_are_warned_of(home: Path) -> None:
    warnings = warnings_of(with_config(type="doubled", time=3))
    assert 'did you mean "times"?' in warnings["$.analyzers[0].config.time"].accepted


def test_without_leave_the_files_of_a_workspace_are_not_run(home: Path) -> None:
    plug_ins.use_folder(None)
    problems = problems_of(with_config(type="doubled"))
    assert problems["$.analyzers[0].config.type"].found == '"doubled"'


def test_a_plug_in_that_cannot_be_loaded_is_told_where_it_is_used(home: Path) -> None:
    (home / "analyzers" / "broken.py").write_text("import no_such_module")
    plug_ins.use_folder(home)
    problems = problems_of(with_config(type="broken"))
    told = problems["$.analyzers[0].config.type"]
    assert "analyzers/broken.py cannot be loaded: No module named 'no_such_module'" in told.accepted
    assert read(with_config(type="doubled")).document.analyzers


def test_a_config_of_another_kind_is_refused(home: Path) -> None:
    (home / "analyzers" / "odd.py").write_text("name = 'odd'\nclass Config: pass")
    plug_ins.use_folder(home)
    told = problems_of(with_config(type="odd"))["$.analyzers[0].config.type"]
    assert told.accepted == "a plug-in whose Config is a CustomConfig; that of analyzers/odd.py is not"


def test_a_link_out_of_the_folder_is_not_followed(home: Path) -> None:
    outside = home / "outside.py"
    outside.write_text("raise SystemExit('it ran')")
    (home / "analyzers" / "linked.py").symlink_to(outside)
    (home / "analyzers" / "_private.py").write_text("raise SystemExit('it ran')")
    plug_ins.use_folder(home)
    told = problems_of(with_config(type="linked"))["$.analyzers[0].config.type"]
    assert "linked.py is a link that leads out of the folder analyzers" in told.accepted
    assert "private" not in {one.name for one in plug_ins.plug_ins()}


def test_a_file_that_changed_is_read_again(home: Path) -> None:
    path = home / "analyzers" / "doubled.py"
    path.write_text(DOUBLED.replace("gt=1", "gt=10"))
    os.utime(path, ns=(1, 1))
    plug_ins.use_folder(home)
    assert "$.analyzers[0].config.times" in problems_of(with_config(type="doubled", times=5))


def test_an_installed_package_brings_types_along(monkeypatch: pytest.MonkeyPatch) -> None:
    class Config(CustomConfig):
        share: float = Field(ge=0, le=1, description="A share.")

    class Installed:
        name: ClassVar[str] = "shared"

    Installed.Config = Config  # pyright: ignore[reportAttributeAccessIssue]
    module = ModuleType("some_package")
    module.algorithm = Installed()  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "some_package", module)
    entry = EntryPoint("shared", "some_package:algorithm", plug_ins.ENTRY_POINT_GROUP)
    monkeypatch.setattr(plug_ins, "_installed", lambda: (entry,))
    assert isinstance(read(with_config(type="shared", share=0.5)).document.analyzers[0].config, Config)
    assert "$.analyzers[0].config.share" in problems_of(with_config(type="shared", share=2))


def test_a_plug_in_does_not_take_the_place_of_a_built_in_type(home: Path) -> None:
    (home / "analyzers" / "fixed.py").write_text(DOUBLED.replace("doubled", "fixed"))
    plug_ins.use_folder(home)
    assert isinstance(read(with_config(type="fixed")).document.analyzers[0].config, FixedConfig)


def test_the_schema_for_editors_does_not_depend_on_plug_ins(home: Path) -> None:
    with_plug_in = json_schema()
    plug_ins.use_folder(None)
    assert json_schema() == with_plug_in
