"""What is invalid is refused with every problem at once: where, what was found, what is accepted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitoring_pipeline.config.analyzers import parse_analyzer, parse_config
from monitoring_pipeline.config.document import (
    LARGEST_DOCUMENT,
    MonitorDocument,
    load_document,
    parse_document,
    parse_fragment,
)
from monitoring_pipeline.config.monitors import parse_monitor
from monitoring_pipeline.config.targets import parse_target_matrix
from monitoring_pipeline.errors import DocumentError, Problem

from .documents import analyzer, document, monitor, problems_of

TRAILING = {"type": "TrailingWindow", "size": 7}


def config(**changes: Any) -> dict[str, Any]:
    return {"type": "stddev", "metric": "mean", "baseline": TRAILING, **changes}


def problem(given: dict[str, Any], path: str) -> Problem:
    """The only problem of a document with one analyzer of this config."""
    problems = problems_of(document([analyzer(config=given)]))
    assert list(problems) == [f"$.analyzers[0].config.{path}"]
    return problems[f"$.analyzers[0].config.{path}"]


def test_every_problem_is_told_at_once_with_its_path():
    broken = document(
        [
            analyzer(id="a", config=config(factor="three", type="stdev")),
            analyzer(id="b", config=config(factor="three")),
            analyzer(id="b", config={"type": "fixed", "metric": "min", "lower": 2, "upper": 1}),
        ],
        [monitor(analyzerIds=["c"], mode={"type": "weird"}), monitor(analyzerIds=["c"])],
        granularity="dayly",
        orgId=None,
    )
    assert set(problems_of(broken)) == {
        "$.orgId",
        "$.granularity",
        "$.analyzers[0].config.type",
        "$.analyzers[1].config.factor",
        "$.analyzers[2].id",
        "$.analyzers[2].config.lower",
        "$.monitors[0].mode.type",
        "$.monitors[1].id",
        "$.monitors[1].analyzerIds[0]",
    }


def test_a_required_key_that_is_missing():
    given = document()
    del given["granularity"]
    found = problems_of(given)["$.granularity"]
    assert found.found == "nothing"
    assert "daily" in found.accepted
    assert "required" in found.accepted


def test_a_missing_key_points_at_its_likely_misspelling():
    given = {("datasetID" if key == "datasetId" else key): value for key, value in document().items()}
    assert problems_of(given)["$.datasetId"].found == 'nothing (there is "datasetID")'


def test_an_unknown_type_lists_the_types_and_a_near_one():
    wrong = problem(config(type="seasnal"), "type")
    assert wrong.found == '"seasnal"'
    assert '"frequent_string_comparison"' in wrong.accepted
    assert 'did you mean "seasonal"?' in wrong.accepted


def test_a_missing_type_lists_the_types():
    wrong = problem({"metric": "mean"}, "type")
    assert wrong.found == "nothing"
    assert '"stddev"' in wrong.accepted


def test_an_unknown_choice_lists_the_choices_and_a_near_one():
    wrong = problem(config(thresholdType="uper"), "thresholdType")
    assert wrong == Problem(
        "$.analyzers[0].config.thresholdType", '"uper"', '"lower" or "upper" (did you mean "upper"?)'
    )


@pytest.mark.parametrize(
    ("given", "path", "found", "accepted"),
    [
        (config(factor="three"), "factor", '"three"', "a number"),
        (config(factor=True), "factor", "true", "a number"),
        (config(factor=[1]), "factor", "a list of 1", "a number"),
        (config(factor="NaN"), "factor", '"NaN"', "a number; NaN compares with nothing"),
        (config(factor="Infinity"), "factor", '"Infinity"', "a finite number"),
        (config(factor=-1), "factor", "-1", "a number of at least 0"),
        (config(factor=""), "factor", "an empty text", "a number"),
        (config(minBatchSize=1.5), "minBatchSize", "1.5", "a whole number"),
        (config(minBatchSize=0), "minBatchSize", "0", "a number of at least 1"),
        (config(metric={"name": "mean"}), "metric", "an object with name", "text"),
        (config(metric=""), "metric", "an empty text", "a text that is not empty"),
        (config(baseline={**TRAILING, "size": 0}), "baseline.size", "0", "a number of at least 1"),
        (config(baseline={**TRAILING, "offset": -1}), "baseline.offset", "-1", "a number of at least 0"),
        (config(baseline=7), "baseline", "7", 'an object with a "type": "TrailingWindow", '),
        (config(type="diff", mode="pct", threshold=-5), "threshold", "-5", "a number of at least 0"),
        (config(type="diff", mode="pct"), "threshold", "nothing", "a value (this key is required)"),
        (config(type="seasonal", alpha=1), "alpha", "1", "a number less than 1"),
        (config(type="seasonal", alpha=0), "alpha", "0", "a number greater than 0"),
        (config(type="drift"), "metric", '"mean"', '"histogram" or "frequent_items"'),
        (config(type="fixed", nConsecutive=-1), "nConsecutive", "-1", "a number of at least 0"),
        (config(type="monotonic", numBuckets=0), "numBuckets", "0", "a number of at least 1"),
        (config(type="list_comparison", expected=[{}]), "expected[0]", "an empty object", "a value such as"),
        (config(params={"a": {"b": 1}}), "params.a", "an object with b", "text"),
    ],
)
def test_a_value_that_makes_no_sense(given: dict[str, Any], path: str, found: str, accepted: str):
    wrong = problem(given, path)
    assert wrong.found == found
    assert wrong.accepted.startswith(accepted)


def test_a_seasonal_analyzer_takes_only_a_trailing_window():
    wrong = problem(
        config(type="seasonal", baseline={"type": "Reference", "profileId": "ref-1"}), "baseline.type"
    )
    assert wrong.accepted == '"TrailingWindow"'


@pytest.mark.parametrize("value", ["P1H", "1 day", "", "P", "PT", "-PT1H", "P99999999999D", True, [], -5])
def test_a_duration_that_cannot_be_read(value: object):
    wrong = problems_of(document([analyzer(dataReadinessDuration=value)]))[
        "$.analyzers[0].dataReadinessDuration"
    ]
    assert "ISO-8601 duration such as PT6H" in wrong.accepted


def test_an_individual_cadence_is_refused_with_a_reason():
    wrong = problems_of(document([analyzer(schedule={"type": "fixed", "cadence": "individual"})]))
    assert "not one by one" in wrong["$.analyzers[0].schedule.cadence"].accepted


@pytest.mark.parametrize("cron", ["daily", "* * *", "61 * * * *", "0 0 32 1 *", "R * * * *", 5])
def test_a_cron_expression_that_cannot_be_read(cron: object):
    wrong = problems_of(document([analyzer(schedule={"type": "cron", "cron": cron})]))
    assert "cron expression of five fields" in wrong["$.analyzers[0].schedule.cron"].accepted


@pytest.mark.parametrize("end", ["2026-01-01T00:00:00Z", "yesterday", None, 5])
def test_a_time_range_needs_two_moments_in_order(end: object):
    ranges = [{"start": "2026-01-02T00:00:00Z", "end": end}]
    wrong = problems_of(
        document([analyzer(schedule={"type": "fixed", "cadence": "daily", "exclusionRanges": ranges})])
    )
    assert list(wrong) == ["$.analyzers[0].schedule.exclusionRanges[0].end"]


def test_columns_may_be_called_like_keys_of_the_document():
    schema = {"columns": {"config": {"discreteness": "sometimes"}, "my column": {"hidden": "maybe"}}}
    assert set(problems_of(document(entitySchema=schema))) == {
        "$.entitySchema.columns.config.discreteness",
        '$.entitySchema.columns["my column"].hidden',
    }


def test_secrets_never_stand_in_a_problem():
    secret = "https://hooks.example/T000/SECRET"
    actions = [
        {"type": "slack", "target": secret + "x" * 3000},
        {"type": "slakc", "target": secret},
        {"type": "email", "destination": {"secret": secret}},
    ]
    with pytest.raises(DocumentError) as refused:
        parse_document(document(monitors=[monitor(actions=actions)]), source="monitors.json")
    assert len(refused.value.problems) == 3
    assert "SECRET" not in str(refused.value)


def test_an_action_needs_somebody_to_tell():
    wrong = problems_of(document(monitors=[monitor(actions=[{"type": "global"}, {"type": "email"}])]))
    assert list(wrong) == ["$.monitors[0].actions[0].target", "$.monitors[0].actions[1].target"]


def test_what_was_found_is_cut_to_one_line():
    wrong = problem(config(thresholdType="long\n" * 100), "thresholdType")
    assert len(wrong.found) < 70
    assert "\n" not in wrong.found


@pytest.mark.parametrize("data", [None, 5, "text", [], [{}]])
def test_a_document_is_an_object(data: object):
    assert problems_of(data)["$"].accepted == "an object"


def test_the_error_names_the_source_and_reads_line_by_line():
    with pytest.raises(DocumentError) as refused:
        parse_document(document(granularity="dayly", orgId=""), source="data/monitors.json")
    lines = str(refused.value).splitlines()
    assert lines[0] == "data/monitors.json: 2 problems"
    assert lines[1].startswith("  $.orgId: found an empty text; accepted: ")
    assert refused.value.exit_code == 2


# --- fragments ---------------------------------------------------------------------------------------------------


def test_fragments_tell_their_problems_from_their_own_root():
    with pytest.raises(DocumentError, match=r"\$\.config\.factor"):
        parse_analyzer(analyzer(config=config(factor="x")), source="")
    with pytest.raises(DocumentError, match=r"\$\.factor"):
        parse_config(config(factor="x"), source="")
    with pytest.raises(DocumentError, match=r"\$\.config\.lower"):
        parse_analyzer(analyzer(config={"type": "fixed", "metric": "min", "lower": 2, "upper": 1}), source="")
    with pytest.raises(DocumentError, match=r"\$\.lower"):
        parse_config({"type": "fixed", "metric": "min", "lower": 2, "upper": 1}, source="")
    with pytest.raises(DocumentError, match=r"\$\.severity"):
        parse_monitor(monitor(severity="high"), source="")
    with pytest.raises(DocumentError, match=r"\$\.include\[0\]"):
        parse_target_matrix({"type": "column", "include": [{}]}, source="")
    with pytest.raises(DocumentError, match=r"\$\.monitors\[0\]\.severity"):
        parse_fragment({"monitors": [monitor(severity="high")]}, source="")
    with pytest.raises(DocumentError, match='"analyzers" or "monitors"'):
        parse_fragment({}, source="")


# --- files -------------------------------------------------------------------------------------------------------


def refused_file(path: Path) -> Problem:
    with pytest.raises(DocumentError) as refused:
        load_document(path)
    (only,) = refused.value.problems
    assert refused.value.source == str(path)
    return only


def test_invalid_json_is_one_problem_with_line_and_column(tmp_path: Path):
    path = tmp_path / "monitors.json"
    path.write_text('{\n  "orgId": "org-0"\n  "datasetId": "a"\n}')
    wrong = refused_file(path)
    assert wrong.path == "line 3, column 3"
    assert "datasetId" in wrong.found
    assert "JSON" in wrong.accepted


@pytest.mark.parametrize("text", ["", "{", "nonsense", '{"a": 1,}', "[1, 2", '"\\x"'])
def test_text_that_is_no_json(tmp_path: Path, text: str):
    path = tmp_path / "monitors.json"
    path.write_text(text)
    assert refused_file(path).path.startswith("line 1, column ")


def test_a_file_that_is_not_utf_8(tmp_path: Path):
    path = tmp_path / "monitors.json"
    path.write_bytes(b'{"a": "\xff"}')
    assert "UTF-8" in refused_file(path).accepted


def test_a_file_that_is_not_there(tmp_path: Path):
    assert "No such file" in refused_file(tmp_path / "missing.json").found
    assert "a readable file" in refused_file(tmp_path).accepted


def test_a_file_beyond_the_size_limit_is_not_read(tmp_path: Path):
    path = tmp_path / "monitors.json"
    path.write_bytes(b" " * (LARGEST_DOCUMENT + 1))
    assert "at most 10,000,000 bytes" in refused_file(path).accepted


@pytest.mark.parametrize("depth", [100, 900, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_a_nesting_bomb_is_refused(tmp_path: Path, depth: int, opening: str, closing: str):
    path = tmp_path / "monitors.json"
    path.write_text(opening * depth + "1" + closing * depth)
    assert "at most 64 levels" in refused_file(path).accepted


def test_a_number_of_absurd_length_is_refused(tmp_path: Path):
    path = tmp_path / "monitors.json"
    path.write_text('{"a": ' + "9" * 5000 + "}")
    refused_file(path)


# --- anything at all ---------------------------------------------------------------------------------------------

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
WORDS = st.sampled_from(
    ["", "x", ".7", "Infinity", "NaN", "P1D", "daily", "2026-01-01", "group:x", "weight>x", "\ud800"]
)
ANYTHING = st.recursive(
    SCALARS | WORDS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "tags", "key", "value", "start", "end", "str", "x", "", "id"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


def places(value: Any, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, child in inside for place in places(child, (*at, key)))]


EXAMPLES = [
    json.loads(path.read_text()) for path in sorted((Path(__file__).parent / "seed_examples").glob("*.json"))
]
WHOLE = [example for example in EXAMPLES if "type" in example.get("config", {}) and "id" in example]


@given(data=st.data(), whole=st.sampled_from(WHOLE), anything=ANYTHING)
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_whatever_stands_in_a_document_it_loads_or_is_refused(
    data: st.DataObject, whole: dict[str, Any], anything: Any
):
    given_document = json.loads(json.dumps(document([whole], [monitor(analyzerIds=[whole["id"]])])))
    *way, last = data.draw(st.sampled_from(places(given_document)[1:]))
    holder = given_document
    for step in way:
        holder = holder[step]
    holder[last] = anything
    outcome = attempt(given_document)
    if isinstance(outcome, DocumentError):
        assert all(problem.path and problem.found and problem.accepted for problem in outcome.problems)
        assert not any(word in str(outcome) for word in ("pydantic", "Input should", "function-"))
    else:
        text = json.dumps(outcome.to_json(), allow_nan=False)
        again = parse_document(json.loads(text), source="monitors.json").document
        assert again.to_json() == outcome.to_json()


def attempt(data: object) -> MonitorDocument | DocumentError:
    try:
        return parse_document(data, source="monitors.json").document
    except DocumentError as refused:
        return refused


@given(ANYTHING)
@settings(deadline=None)
def test_anything_as_a_document_is_refused_politely(anything: Any):
    with pytest.raises(DocumentError):
        parse_document(anything, source="monitors.json")
