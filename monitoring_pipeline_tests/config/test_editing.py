"""Changing a monitor document: what is asked for happens, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from monitoring_pipeline.config.document import MonitorDocument
from monitoring_pipeline.config.editing import find_part, unheard, with_added, with_disabled, without
from monitoring_pipeline.errors import UsageError
from monitoring_pipeline_tests.config.documents import analyzer, document, monitor, read

FIXED = {"type": "fixed", "metric": "min", "lower": 0}


def two_of_each() -> dict[str, Any]:
    return document(
        [analyzer(id="a", note="kept"), analyzer(id="b"), analyzer(id="alone")],
        [monitor(id="both", analyzerIds=["a", "b"]), monitor(id="one", analyzerIds=["b"])],
        extra={"kept": True},
    )


def parsed(data: dict[str, Any]) -> MonitorDocument:
    return read(data).document


def ids(data: dict[str, Any], key: str) -> list[str]:
    return [entry["id"] for entry in data[key]]


def test_switching_off_and_on_again_leaves_the_document_as_it_was() -> None:
    data = two_of_each()

    off = with_disabled(data, parsed(data), ["a", "one"], disabled=True)
    on = with_disabled(off, parsed(off), ["a", "one"], disabled=False)

    assert [one.id for one in (*parsed(off).analyzers, *parsed(off).monitors) if one.disabled] == ["a", "one"]
    assert json.dumps(on) == json.dumps(data)


def test_what_is_off_already_is_left_alone() -> None:
    data = document([analyzer(disabled="true")])
    assert with_disabled(data, parsed(data), ["mean-of-all-columns"], disabled=True) == data


def test_a_part_without_an_id_keeps_the_one_it_had() -> None:
    data = document([analyzer(id=None)], [])
    name = parsed(data).analyzers[0].id

    off = with_disabled(data, parsed(data), [name], disabled=True)

    assert [(one.id, one.disabled) for one in parsed(off).analyzers] == [(name, True)]


def test_a_single_analyzer_may_stand_without_a_list() -> None:
    data = document(analyzer(), monitor())
    off = with_disabled(data, parsed(data), ["mean-of-all-columns"], disabled=True)
    assert off["analyzers"] == {**analyzer(), "disabled": True}


def test_a_deleted_analyzer_leaves_the_monitors_that_name_others() -> None:
    data = two_of_each()
    left = without(data, parsed(data), ["a"])
    assert (ids(left, "analyzers"), left["monitors"][0]["analyzerIds"]) == (["b", "alone"], ["b"])
    assert left["extra"] == {"kept": True}


def test_a_monitor_is_never_left_with_nothing() -> None:
    data = two_of_each()
    with pytest.raises(UsageError, match="monitor one would be left without analyzers"):
        without(data, parsed(data), ["b"])
    assert ids(without(data, parsed(data), ["b", "one"]), "monitors") == ["both"]


def test_an_analyzer_that_another_needs_is_not_deleted_alone() -> None:
    data = document(
        [
            analyzer(id="a"),
            analyzer(id="b"),
            {"id": "c", "config": {"type": "conjunction", "analyzerIds": ["a", "b"]}},
        ],
        [monitor(analyzerIds=["c"])],
    )
    with pytest.raises(UsageError, match="needed by analyzer c"):
        without(data, parsed(data), ["a"])


def test_a_monitor_goes_alone_or_with_the_analyzers_that_only_it_names() -> None:
    data = two_of_each()
    alone = without(data, parsed(data), ["both"])
    together = without(data, parsed(data), ["both"], with_analyzers=True)

    assert (ids(alone, "monitors"), ids(alone, "analyzers")) == (["one"], ["a", "b", "alone"])
    assert ids(together, "analyzers") == ["b", "alone"]
    assert unheard(parsed(alone), ["a", "b"]) == ("a",)


def test_ids_are_looked_up_with_help() -> None:
    data = document([analyzer(id="x")], [monitor(id="x", analyzerIds=["x"])])
    with pytest.raises(UsageError, match="monitor:x or analyzer:x"):
        find_part(parsed(data), "x")
    assert find_part(parsed(data), "monitor:x").kind == "monitor"
    assert find_part(parsed(data), "analyzer:x").kind == "analyzer"
    with pytest.raises(UsageError, match="did you mean 'both'"):
        find_part(parsed(two_of_each()), "boht")


def test_adding_twice_is_adding_once() -> None:
    data = two_of_each()
    new = analyzer(id="new", config=FIXED), monitor(id="new-monitor", analyzerIds=["new"])

    first = with_added(data, parsed(data), analyzers=[new[0]], monitors=[new[1]])
    again = with_added(first.data, parsed(first.data), analyzers=[new[0]], monitors=[new[1]])

    assert first.added == ("analyzer new", "monitor new-monitor")
    assert (again.data, again.added, again.present) == (
        first.data,
        (),
        ("analyzer new", "monitor new-monitor"),
    )


def test_what_somebody_tuned_since_stays_tuned() -> None:
    tuned = document([analyzer(id="new", config={**FIXED, "lower": 5})], [monitor(analyzerIds=["new"])])
    again = with_added(tuned, parsed(tuned), analyzers=[analyzer(id="new", config=FIXED)], monitors=[])
    assert again.data == tuned


def test_something_else_of_the_same_id_is_refused() -> None:
    data = two_of_each()
    with pytest.raises(UsageError, match=r"analyzer a \(stddev mean\).*--suffix"):
        with_added(data, parsed(data), analyzers=[analyzer(id="a", config=FIXED)], monitors=[])
    with pytest.raises(UsageError, match=r"monitor one \(of b\)"):
        with_added(data, parsed(data), analyzers=[], monitors=[monitor(id="one", analyzerIds=["z"])])


def test_a_monitor_that_is_there_gets_the_analyzers_it_lacks() -> None:
    data = two_of_each()
    new = [analyzer(id="new", config=FIXED)]
    grown = with_added(
        data, parsed(data), analyzers=new, monitors=[monitor(id="one", analyzerIds=["b", "new"])]
    )
    assert grown.data["monitors"][1]["analyzerIds"] == ["b", "new"]
    assert grown.added == ("analyzer new", "new to monitor one")


def test_keys_in_the_spelling_of_python_stay_so() -> None:
    named = {**monitor(), "analyzer_ids": ["a", "b"]}
    del named["analyzerIds"]
    data = document([analyzer(id="a"), analyzer(id="b")], [named])
    left = without(data, parsed(data), ["a"])
    assert left["monitors"][0]["analyzer_ids"] == ["b"]
    assert "analyzerIds" not in left["monitors"][0]
