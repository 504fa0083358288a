"""Changing a monitor document: file and store stay one, whoever else is at it and wherever the process dies."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitoring_pipeline.config.editing import with_disabled
from monitoring_pipeline.errors import ConflictError, DocumentError, UsageError
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.store.documents import apply_document, history, latest
from monitoring_pipeline.workspace import Workspace
from monitoring_pipeline_tests.workspaces import DOCUMENT, make_workspace

VOLUME, NULLS = "orders-volume-analyzer", "orders-nulls-analyzer"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A workspace without data, its document indented by four."""
    made = make_workspace(tmp_path / "data", days=0)
    path_of(made).write_text(json.dumps({**DOCUMENT, "note": "kept"}, indent=4) + "\n")
    return made


@pytest.fixture
def workspace(home: Path) -> Iterator[Workspace]:
    """The same, open and applied."""
    with Workspace(Settings(home=home, author="ann")) as opened:
        opened.apply("orders")
        yield opened


def path_of(home: Path) -> Path:
    return home / "datasets" / "orders" / "monitors.json"


def disable(workspace: Workspace, name: str, *, disabled: bool = True) -> int:
    return workspace.edit(
        "orders", lambda data, document: with_disabled(data, document, [name], disabled=disabled)
    ).version


def disabled_in(home: Path) -> list[str]:
    return [one["id"] for one in json.loads(path_of(home).read_text())["analyzers"] if one.get("disabled")]


def through_the_api(workspace: Workspace, **changes: object) -> int:
    last = latest(workspace.store, workspace.ref("orders"), "monitors")
    assert last is not None
    content = {**last.content, **changes}
    return apply_document(
        workspace.store,
        workspace.ref("orders"),
        "monitors",
        content,
        author="ben",
        origin="api",
        now=workspace.now(),
    ).version


def versions(workspace: Workspace) -> list[int]:
    return [one.version for one in history(workspace.store, workspace.ref("orders"), "monitors")]


def test_a_change_is_in_the_file_in_the_store_and_in_the_open_workspace(workspace: Workspace) -> None:
    before = path_of(workspace.home).read_text().splitlines()

    made = disable(workspace, NULLS)

    after = path_of(workspace.home).read_text().splitlines()
    assert [line for line in after if line not in before] == ['            "disabled": true']
    stored = latest(workspace.store, workspace.ref("orders"), "monitors")
    assert stored is not None
    assert (made, stored.version, stored.author, stored.origin) == (2, 2, "ann", "file")
    assert stored.content["note"] == "kept"
    assert workspace.dataset("orders").document.analyzer(NULLS).disabled


def test_undoing_a_change_gives_the_very_same_file(workspace: Workspace) -> None:
    before = path_of(workspace.home).read_bytes()
    disable(workspace, NULLS)
    assert disable(workspace, NULLS, disabled=False) == 3
    assert path_of(workspace.home).read_bytes() == before


def test_a_change_that_makes_the_document_invalid_changes_nothing(workspace: Workspace) -> None:
    before = path_of(workspace.home).read_bytes()
    with pytest.raises(DocumentError, match=r"\$\.monitors\[0\]\.analyzerIds"):
        workspace.edit("orders", lambda data, _: {**data, "analyzers": []})
    assert (path_of(workspace.home).read_bytes(), versions(workspace)) == (before, [1])


def test_a_file_that_lags_behind_the_api_is_not_edited(workspace: Workspace) -> None:
    through_the_api(workspace, note="changed")
    before = path_of(workspace.home).read_bytes()

    with pytest.raises(ConflictError) as caught:
        disable(workspace, NULLS)

    assert path_of(workspace.home).read_bytes() == before
    assert "by ben" in str(caught.value)
    assert '-  "note": "changed"' in str(caught.value)
    assert "monitor document rollback orders --to 2" in str(caught.value)
    assert "monitor apply orders --force" in str(caught.value)


def test_both_ways_out_of_a_conflict_work_and_lose_nothing(workspace: Workspace) -> None:
    api = through_the_api(workspace, note="changed")
    document = json.loads(path_of(workspace.home).read_text())
    path_of(workspace.home).write_text(json.dumps({**document, "note": "by hand"}))
    with pytest.raises(ConflictError):
        workspace.apply("orders")

    taken = workspace.roll_back("orders", api)

    assert json.loads(path_of(workspace.home).read_text())["note"] == "changed"
    notes = [one.content["note"] for one in history(workspace.store, workspace.ref("orders"), "monitors")]
    assert (taken.version, notes) == (4, ["changed", "by hand", "changed", "kept"])

    through_the_api(workspace, note="again")
    path_of(workspace.home).write_text(json.dumps({**document, "note": "by hand"}))
    forced = workspace.apply("orders", force=True)["monitors"]
    assert (forced.version, forced.content["note"]) == (6, "by hand")


def test_rolling_back_is_a_new_version_and_the_old_text(workspace: Workspace) -> None:
    before = path_of(workspace.home).read_bytes()
    disable(workspace, NULLS)

    made = workspace.roll_back("orders", 1)

    assert (made.version, versions(workspace)) == (3, [3, 2, 1])
    assert path_of(workspace.home).read_bytes() == before
    with pytest.raises(UsageError, match="has no version 9; there are 1 to 3"):
        workspace.roll_back("orders", 9)


def test_a_broken_file_is_kept_and_replaced_by_the_old_version(home: Path, workspace: Workspace) -> None:
    path_of(home).write_text("{broken")
    with Workspace(Settings(home=home)) as later:
        assert later.roll_back("orders", 1).version == 1
        assert later.dataset("orders").document.analyzer(VOLUME)
    assert path_of(home).with_name("monitors.json.broken").read_text() == "{broken"


def test_without_a_file_the_stored_document_is_edited_and_a_file_made(workspace: Workspace) -> None:
    path_of(workspace.home).unlink()
    assert workspace.apply("orders")["monitors"].version == 1
    disable(workspace, NULLS)
    assert disabled_in(workspace.home) == [NULLS]


def test_a_link_and_permissions_survive(workspace: Workspace, tmp_path: Path) -> None:
    real = tmp_path / "elsewhere.json"
    shutil.move(path_of(workspace.home), real)
    real.chmod(0o640)
    path_of(workspace.home).symlink_to(real)

    disable(workspace, NULLS)

    assert path_of(workspace.home).is_symlink()
    assert '"disabled": true' in real.read_text()
    assert real.stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_one_clear_message(workspace: Workspace) -> None:
    path_of(workspace.home).parent.chmod(0o500)
    try:
        with pytest.raises(DocumentError, match="cannot be written"):
            disable(workspace, NULLS)
    finally:
        path_of(workspace.home).parent.chmod(0o700)
    assert versions(workspace) == [1]


def test_what_another_process_applied_meanwhile_is_not_undone(home: Path, workspace: Workspace) -> None:
    with Workspace(Settings(home=home)) as slow:
        assert not slow.dataset("orders").document.analyzer(NULLS).disabled
        disable(workspace, NULLS)
        assert slow.apply("orders")["monitors"].version == 2
        assert slow.dataset("orders").document.analyzer(NULLS).disabled


def process(home: Path, program: str) -> subprocess.Popen[str]:
    lines = """
        import os, sys
        from monitoring_pipeline.config.editing import with_disabled
        from monitoring_pipeline.settings import Settings
        from monitoring_pipeline.workspace import Workspace
        workspace = Workspace(Settings())
        def disable(name):
            workspace.edit("orders", lambda data, document: with_disabled(data, document, [name], disabled=True))
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(lines) + textwrap.dedent(program)],
        env={**os.environ, "MONITORING_HOME": str(home)},
        text=True,
    )


def test_two_changes_at_once_are_two_versions_and_neither_is_lost(home: Path, workspace: Workspace) -> None:
    started = [process(home, f"disable({name!r})") for name in (VOLUME, NULLS)]
    assert [one.wait() for one in started] == [0, 0]
    assert versions(workspace) == [3, 2, 1]
    assert disabled_in(home) == [VOLUME, NULLS]


def test_two_applies_at_once_make_one_version(home: Path, workspace: Workspace) -> None:
    path_of(home).write_text(json.dumps({**DOCUMENT, "note": "by hand"}))
    started = [process(home, "workspace.apply('orders')") for _ in range(3)]
    assert [one.wait() for one in started] == [0, 0, 0]
    assert versions(workspace) == [2, 1]


def test_a_process_killed_after_the_file_was_written_is_healed_by_the_next_apply(
    home: Path, workspace: Workspace
) -> None:
    killed = process(
        home,
        f"""
        import monitoring_pipeline.workspace as module
        write = module.write_text
        def write_and_die(path, text):
            write(path, text)
            os.kill(os.getpid(), 9)
        module.write_text = write_and_die
        disable({NULLS!r})
        """,
    )
    assert killed.wait() == -9
    assert (disabled_in(home), versions(workspace)) == ([NULLS], [1])

    with Workspace(Settings(home=home)) as later:
        assert later.apply("orders")["monitors"].version == 2
    assert [path.name for path in path_of(home).parent.iterdir() if ".tmp" in path.name] == []


def test_a_process_killed_before_the_file_was_replaced_leaves_everything_as_it_was(
    home: Path, workspace: Workspace
) -> None:
    before = path_of(home).read_bytes()
    killed = process(
        home,
        f"""
        os.fsync = lambda handle: os.kill(os.getpid(), 9)
        disable({NULLS!r})
        """,
    )
    assert killed.wait() == -9
    assert (path_of(home).read_bytes(), versions(workspace)) == (before, [1])
    assert disable(workspace, NULLS) == 2


def test_the_author_is_who_the_settings_say(home: Path) -> None:
    with Workspace(Settings(home=home, author="pipeline@ci")) as workspace:
        assert workspace.apply("orders")["monitors"].author == "pipeline@ci"


def test_what_was_edited_by_hand_is_a_version_of_its_own_before_a_command_changes_it(
    workspace: Workspace,
) -> None:
    document = json.loads(path_of(workspace.home).read_text())
    path_of(workspace.home).write_text(json.dumps({**document, "note": "by hand"}))

    assert disable(workspace, NULLS) == 3

    notes = [one.content["note"] for one in history(workspace.store, workspace.ref("orders"), "monitors")]
    assert notes == ["by hand", "by hand", "kept"]
