from __future__ import annotations

from datetime import UTC, datetime, timedelta
from multiprocessing.context import ForkServerContext

import pytest

from monitoring_pipeline.errors import ConflictError
from monitoring_pipeline.store.database import Store, open_store
from monitoring_pipeline.store.datasets import DatasetRef, register_dataset
from monitoring_pipeline.store.documents import DocumentVersion, Origin, apply_document, history, latest

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def _apply(
    store: Store,
    ref: DatasetRef,
    factor: float,
    *,
    origin: Origin = "file",
    hours: int = 0,
    force: bool = False,
) -> DocumentVersion:
    return apply_document(
        store, ref, "monitors", {"analyzers": [{"id": "drift", "factor": factor}], "id": "m"},
        author="ada", origin=origin, now=NOW + timedelta(hours=hours), force=force,
    )  # fmt: skip


def test_the_first_document_is_version_one_with_everything_added(store: Store, ref: DatasetRef) -> None:
    made = _apply(store, ref, 2)
    assert (made.version, made.changed, made.author, made.origin, made.created) == (
        1,
        True,
        "ada",
        "file",
        NOW,
    )
    assert '+      "factor": 2,' in made.diff.splitlines()


def test_the_same_content_makes_no_new_version_whatever_the_order_of_its_keys(
    store: Store, ref: DatasetRef
) -> None:
    first = _apply(store, ref, 2)
    again = apply_document(
        store, ref, "monitors", {"id": "m", "analyzers": [{"factor": 2, "id": "drift"}]},
        author="bob", origin="file", now=NOW + timedelta(days=1),
    )  # fmt: skip
    assert (again.version, again.changed, again.author, again.hash) == (1, False, "ada", first.hash)
    assert len(history(store, ref, "monitors")) == 1


def test_a_change_shows_the_lines_that_differ(store: Store, ref: DatasetRef) -> None:
    _apply(store, ref, 2)
    changed = _apply(store, ref, 3)
    assert changed.version == 2
    assert [
        line for line in changed.diff.splitlines() if line[0] in "+-" and line[:3] not in ("+++", "---")
    ] == [
        '-      "factor": 2,',
        '+      "factor": 3,',
    ]


def test_history_is_newest_first_and_kinds_are_apart(store: Store, ref: DatasetRef) -> None:
    for factor in (1, 2, 3):
        _apply(store, ref, factor)
    apply_document(store, ref, "dataset", {"id": "x"}, author="ada", origin="file", now=NOW)
    assert [version.version for version in history(store, ref, "monitors")] == [3, 2, 1]
    newest = latest(store, ref, "monitors")
    assert newest is not None
    assert newest.content == {"analyzers": [{"id": "drift", "factor": 3}], "id": "m"}
    assert latest(store, ref, "nothing") is None


def test_going_back_to_old_content_is_a_new_version(store: Store, ref: DatasetRef) -> None:
    _apply(store, ref, 1)
    _apply(store, ref, 2)
    assert _apply(store, ref, 1).version == 3


def test_an_unchanged_file_does_not_undo_what_came_through_the_api(store: Store, ref: DatasetRef) -> None:
    _apply(store, ref, 1)
    edited = _apply(store, ref, 2, origin="api")
    held = _apply(store, ref, 1)
    assert (held.version, held.changed, held.content) == (2, False, edited.content)


def test_a_file_that_caught_up_with_the_api_is_no_conflict(store: Store, ref: DatasetRef) -> None:
    _apply(store, ref, 1)
    _apply(store, ref, 2, origin="api")
    assert _apply(store, ref, 2).changed is False


def test_a_file_and_the_api_that_both_changed_conflict_and_both_are_shown(
    store: Store, ref: DatasetRef
) -> None:
    _apply(store, ref, 1)
    _apply(store, ref, 2, origin="api", hours=5)
    with pytest.raises(ConflictError) as caught:
        _apply(store, ref, 3, hours=6)
    text = str(caught.value)
    assert "lead-scoring" in text
    assert "ada" in text
    assert "2026-03-01T05:00:00+00:00" in text
    assert '-      "factor": 2,' in text
    assert '+      "factor": 3,' in text
    assert [version.version for version in history(store, ref, "monitors")] == [2, 1]


def test_a_document_that_only_the_api_wrote_conflicts_with_another_file(
    store: Store, ref: DatasetRef
) -> None:
    _apply(store, ref, 2, origin="api")
    with pytest.raises(ConflictError):
        _apply(store, ref, 3)


def test_force_lets_the_file_win(store: Store, ref: DatasetRef) -> None:
    _apply(store, ref, 1)
    _apply(store, ref, 2, origin="api")
    assert _apply(store, ref, 3, force=True).version == 3


def _apply_many(url: str, writer: int) -> None:
    store = open_store(url)
    ref = register_dataset(store, "org-0", "shared")
    for number in range(10):
        apply_document(
            store,
            ref,
            "monitors",
            {"writer": writer, "number": number},
            author=str(writer),
            origin="api",
            now=NOW,
        )
    store.close()


def test_writers_at_the_same_time_each_get_a_version_of_their_own(
    database_url: str, processes: ForkServerContext
) -> None:
    open_store(database_url).close()
    started = [processes.Process(target=_apply_many, args=(database_url, writer)) for writer in range(2)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0, 0]
    store = open_store(database_url)
    versions = history(store, register_dataset(store, "org-0", "shared"), "monitors")
    store.close()
    assert [version.version for version in versions] == list(range(20, 0, -1))
