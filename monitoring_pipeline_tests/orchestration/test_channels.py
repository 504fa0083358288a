"""The channels as a resource of the code location."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from monitoring_pipeline.orchestration.definitions import build_definitions
from monitoring_pipeline.orchestration.resources import WorkspaceResource, channels_resource
from monitoring_pipeline.settings import Settings


def test_people_see_where_channels_lead_and_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_URL", "https://example.org/hush7")
    (tmp_path / "channels.yaml").write_text("channels: {hook: {type: webhook, url_env: HOOK_URL}}")
    resource = channels_resource(Settings(home=tmp_path), home=str(tmp_path))
    assert resource.configured["hook"] == "webhook: the address in HOOK_URL (HOOK_URL)"
    assert "hush7" not in repr(resource)
    with dg.build_init_resource_context() as context:
        assert list(resource.create_resource(context)) == ["console", "hook"]


def test_a_broken_file_is_shown_and_takes_no_code_location_down(tmp_path: Path) -> None:
    (tmp_path / "channels.yaml").write_text("channels: {team: {type: slack, token: hush7}}")
    definitions = build_definitions(WorkspaceResource(home=str(tmp_path)), Settings(home=tmp_path))
    assert definitions.resources is not None
    (shown,) = definitions.resources["channels"].configured.values()
    assert "cannot be used" in shown
    assert "hush7" not in shown
