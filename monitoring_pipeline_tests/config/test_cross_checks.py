"""Contradictions between parts of a document are errors; settings that would do nothing are warnings."""

from __future__ import annotations

from typing import Any

import pytest

from .documents import analyzer, document, monitor, problems_of, read, warnings_of

TRAILING = {"type": "TrailingWindow", "size": 7}
FIXED = {"type": "fixed", "metric": "mean", "upper": 1}


def errors(*analyzers: dict[str, Any], monitors: list[dict[str, Any]] | None = None) -> list[str]:
    return list(problems_of(document(list(analyzers), monitors or [])))


def warnings(given: dict[str, Any], granularity: str = "daily") -> dict[str, str]:
    """Warnings about the only analyzer, by path inside it: what was found."""
    found = warnings_of(document([given], granularity=granularity)).items()
    return {path.removeprefix("$.analyzers[0]."): problem.found for path, problem in found}


# --- errors ------------------------------------------------------------------------------------------------------


def test_ids_are_unique():
    twice = document([analyzer(), analyzer()], [monitor(), monitor()])
    problems = problems_of(twice)
    assert list(problems) == ["$.analyzers[1].id", "$.monitors[1].id"]
    assert "$.analyzers[0]" in problems["$.analyzers[1].id"].found


def test_ids_are_compared_even_where_an_analyzer_cannot_be_read():
    broken = analyzer(config={"type": "fixed", "metric": "mean", "upper": "x"})
    assert errors(broken, analyzer()) == ["$.analyzers[0].config.upper", "$.analyzers[1].id"]


def test_a_monitor_names_analyzers_that_exist():
    problems = problems_of(document(monitors=[monitor(analyzerIds=["mean-of-all-column"])]))
    assert 'did you mean "mean-of-all-columns"?' in problems["$.monitors[0].analyzerIds[0]"].accepted


def test_a_monitor_may_name_an_analyzer_that_has_problems_of_its_own():
    broken = analyzer(config={"type": "fixed", "metric": "mean", "upper": "x"})
    assert errors(broken, monitors=[monitor()]) == ["$.analyzers[0].config.upper"]


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"type": "fixed", "metric": "mean", "lower": 1, "upper": 0.5}, "config.lower"),
        (
            {
                "type": "stddev",
                "metric": "mean",
                "minLowerThreshold": 2,
                "maxUpperThreshold": 1,
                "baseline": TRAILING,
            },
            "config.minLowerThreshold",
        ),
        (
            {
                "type": "seasonal",
                "metric": "mean",
                "minLowerThreshold": 2,
                "maxUpperThreshold": 1,
                "baseline": TRAILING,
            },
            "config.minLowerThreshold",
        ),
        ({"type": "comparison", "metric": "mean", "operator": "eq"}, "config.expected"),
        ({"type": "list_comparison", "metric": "mean", "operator": "in"}, "config.expected"),
        ({"type": "list_comparison", "metric": "mean", "operator": "in", "expected": []}, "config.expected"),
    ],
)
def test_contradictions_in_a_config(config: dict[str, Any], path: str):
    assert errors(analyzer(config=config)) == [f"$.analyzers[0].{path}"]


def test_equal_bounds_and_a_single_bound_are_fine():
    for bounds in ({"lower": 1, "upper": 1}, {"lower": 1}, {"upper": -1}, {}):
        read(document([analyzer(config={"type": "fixed", "metric": "mean", **bounds})]))


@pytest.mark.parametrize(
    ("metric", "group"), [("frequent_items", "group:continuous"), ("histogram", "group:discrete")]
)
def test_a_distribution_that_a_group_does_not_have(metric: str, group: str):
    given = analyzer(
        config={"type": "drift", "metric": metric, "baseline": TRAILING},
        targetMatrix={"type": "column", "include": ["a", group]},
    )
    assert errors(given) == ["$.analyzers[0].targetMatrix.include[1]"]


def test_a_monotonic_analyzer_needs_two_buckets():
    given = analyzer(config={"type": "monotonic", "metric": "count"}, targetSize=1)
    assert errors(given) == ["$.analyzers[0].targetSize"]


def test_uploads_are_not_analysed_one_by_one_against_a_baseline():
    assert errors(analyzer(disableTargetRollup=True)) == ["$.analyzers[0].disableTargetRollup"]
    read(document([analyzer(disableTargetRollup=True, config=FIXED)]))


def composite(*children: str, name: str = "both", kind: str = "conjunction") -> dict[str, Any]:
    return {"id": name, "config": {"type": kind, "analyzerIds": list(children)}}


def test_a_composite_of_two_existing_analyzers_is_fine():
    one_column = {"type": "column", "include": ["income"]}
    given = document(
        [
            analyzer(id="a", targetMatrix=one_column),
            analyzer(id="b", targetMatrix=one_column),
            composite("a", "b"),
        ],
        [monitor(analyzerIds=["both"])],
    )
    assert read(given).warnings == ()


def test_an_analyzer_serves_one_composite_only_and_a_document_has_ten_of_them():
    shared = [analyzer(id=name) for name in "abc"]
    given = [*shared, composite("a", "b"), composite("b", "c", name="either", kind="disjunction")]
    assert errors(*given) == ["$.analyzers[4].config.analyzerIds[0]"]
    children = [analyzer(id=f"{side}{at}") for at in range(11) for side in "ab"]
    assert errors(*children, *(composite(f"a{at}", f"b{at}", name=f"c{at}") for at in range(11))) == [
        "$.analyzers"
    ]


def test_verdicts_that_hardly_ever_meet_are_warned_of():
    one = {"type": "column", "include": ["income"]}
    in_berlin = {**one, "segments": [{"tags": [{"key": "city", "value": "Berlin"}]}]}
    weekly = {"type": "fixed", "cadence": "weekly"}
    apart = analyzer(id="b", targetMatrix=in_berlin, schedule=weekly)
    given = document(
        [analyzer(id="a", targetMatrix=one), apart, composite("a", "b")], [monitor(analyzerIds=["both"])]
    )
    assert [warning.path for warning in read(given).warnings] == [
        "$.analyzers[1].targetMatrix.segments",
        "$.analyzers[1].schedule",
    ]


@pytest.mark.parametrize("include", [["*"], ["income", "age"], ["group:input"], ["weight>0.5"]])
def test_a_composite_of_many_columns_says_whether_it_judges_them_one_by_one(include: list[str]):
    many = {"type": "column", "include": include}
    children = [analyzer(id=name, targetMatrix=many) for name in "ab"]
    heard = [monitor(analyzerIds=["both"])]
    paths = [one.path for one in read(document([*children, composite("a", "b")], heard)).warnings]
    assert paths == ["$.analyzers[0].targetMatrix", "$.analyzers[1].targetMatrix"]
    assert read(document([*children, {**composite("a", "b"), "targetMatrix": many}], heard)).warnings == ()


@pytest.mark.parametrize(
    ("children", "paths"),
    [
        (["a"], ["analyzerIds"]),
        ([], ["analyzerIds"]),
        (["a", "a"], ["analyzerIds"]),
        (["a", "missing"], ["analyzerIds[1]"]),
        (["a", "both"], ["analyzerIds[1]"]),
        (["a", "either"], ["analyzerIds[1]"]),
        ([f"c{number}" for number in range(11)], ["analyzerIds"]),
    ],
)
def test_composites_have_two_to_ten_children_that_exist_and_are_not_composite(
    children: list[str], paths: list[str]
):
    given = [
        composite(*children),
        analyzer(id="a"),
        analyzer(id="b"),
        composite("d", "e", name="either", kind="disjunction"),
        *(analyzer(id=name) for name in ("d", "e", *(f"c{number}" for number in range(11)))),
    ]
    assert errors(*given) == [f"$.analyzers[0].config.{path}" for path in paths]


# --- warnings ----------------------------------------------------------------------------------------------------


def test_an_analyzer_without_a_schedule_runs_for_every_bucket_and_says_so():
    given = analyzer()
    del given["schedule"]
    loaded = read(document([given], granularity="hourly"))
    (warning,) = loaded.warnings
    assert warning.path == "$.analyzers[0].schedule"
    assert "hourly" in warning.accepted
    assert "schedule" not in loaded.document.to_json()["analyzers"][0]


def test_an_analyzer_that_looks_at_nothing():
    assert list(warnings(analyzer(targetMatrix={"type": "column", "include": []}))) == [
        "targetMatrix.include"
    ]
    assert list(warnings(analyzer(targetMatrix={"type": "column"}))) == ["targetMatrix.include"]
    assert list(warnings(analyzer(targetMatrix=None))) == ["targetMatrix"]
    drift = {"type": "drift", "metric": "histogram", "baseline": TRAILING}
    assert list(warnings(analyzer(targetMatrix={"type": "dataset"}, config=drift))) == ["targetMatrix.type"]


def test_groups_that_do_not_exist():
    matrix = {
        "type": "column",
        "include": ["group:discreet", "group:INT", "weight>x"],
        "exclude": ["group:output", "group:"],
    }
    assert list(warnings(analyzer(targetMatrix=matrix))) == [
        "targetMatrix.include[0]",
        "targetMatrix.include[2]",
        "targetMatrix.exclude[1]",
    ]


def test_an_analyzer_that_nobody_listens_to():
    muted = document(monitors=[monitor(disabled=True)])
    assert list(warnings_of(muted)) == ["$.analyzers[0].id"]
    assert list(warnings_of(document(monitors=[]))) == ["$.analyzers[0].id"]
    assert list(warnings_of(document([analyzer(disabled=True)], []))) == []


@pytest.mark.parametrize(
    ("cron", "granularity", "warned"),
    [
        ("0 9-17 * * *", "hourly", False),
        ("30 * * * *", "hourly", True),
        ("30 * * * *", "PT15M", False),
        ("20 * * * *", "PT15M", True),
        ("0 0 * * 1-5", "daily", False),
        ("0 6 * * *", "daily", True),
        ("30 0 * * *", "daily", True),
        ("0 0 * * 1", "weekly", False),
        ("0 0 * * 2-5", "weekly", True),
        ("0 0 1 * *", "monthly", False),
        ("0 0 2 * *", "monthly", True),
        ("0 0 * * 1-5", "monthly", False),
        ("0 0 29 2 *", "daily", False),
        ("0 0 30 2 *", "daily", True),
        ("0 0 30 2 *", "hourly", True),
    ],
)
def test_a_cron_expression_that_never_picks_a_bucket(cron: str, granularity: str, warned: bool):
    """The guide's "Limitations by Dataset Granularity"."""
    found = warnings(analyzer(schedule={"type": "cron", "cron": cron}), granularity)
    assert list(found) == (["schedule.cron"] if warned else [])


def test_cron_expressions_of_baselines_and_monitors_are_checked_too():
    never = {"type": "cron", "cron": "0 6 * * *"}
    config = {"type": "stddev", "metric": "mean", "baseline": {**TRAILING, "exclusionSchedule": never}}
    no_day = {"type": "cron", "cron": "0 6 31 2 *"}  # monitors speak at any moment that there is
    given = document(
        [analyzer(config=config)], [monitor(schedule=no_day), monitor(id="at-six", schedule=never)]
    )
    assert list(warnings_of(given)) == [
        "$.analyzers[0].config.baseline.exclusionSchedule.cron",
        "$.monitors[0].schedule.cron",
    ]


def test_settings_that_never_alert():
    assert list(warnings(analyzer(config={"type": "fixed", "metric": "mean"}))) == ["config"]
    monotonic = {"type": "monotonic", "metric": "count", "numBuckets": 3}
    assert list(warnings(analyzer(config=monotonic, targetSize=3))) == ["config.numBuckets"]
    same = {
        "type": "diff",
        "metric": "mean",
        "mode": "abs",
        "threshold": 1,
        "baseline": {"type": "CurrentBatch"},
    }
    assert list(warnings(analyzer(config=same))) == ["config.baseline"]


def test_more_buckets_wanted_than_the_window_has():
    config = {"type": "seasonal", "metric": "mean", "baseline": {"type": "TrailingWindow", "size": 14}}
    assert list(warnings(analyzer(config=config))) == ["config.minBatchSize"]


def test_a_monitor_that_tells_nobody_or_nothing():
    assert list(warnings_of(document(monitors=[monitor(actions=[])]))) == ["$.monitors[0].actions"]
    assert list(warnings_of(document(monitors=[monitor(), monitor(id="b", analyzerIds=[])]))) == [
        "$.monitors[1].analyzerIds"
    ]
    mode = {"type": "DIGEST", "filter": {"minWeight": 0.8, "maxWeight": 0.5}}
    assert list(warnings_of(document(monitors=[monitor(mode=mode)]))) == [
        "$.monitors[0].mode.filter.minWeight"
    ]
    assert list(warnings_of(document(monitors=[monitor(severity=7)]))) == ["$.monitors[0].severity"]


def test_short_ids_as_in_the_guide_are_fine():
    assert read(document([analyzer(id="m")], [monitor(id="n", analyzerIds=["m"])])).warnings == ()


@pytest.mark.parametrize(
    "schedule", [{"type": "cron"}, {"type": "cron", "cron": None}, {"type": "cron", "cron": " "}]
)
def test_a_blank_cron_expression_never_runs_and_says_so(schedule: dict[str, Any]) -> None:
    loaded = read(document([analyzer(schedule=schedule)], [monitor(analyzerIds=["mean-of-all-columns"])]))
    assert [warning.path for warning in loaded.warnings] == ["$.analyzers[0].schedule.cron"]
    assert "never picks a bucket" in loaded.warnings[0].found


def test_the_name_of_the_column_list_in_the_reference_is_read() -> None:
    config = {"type": "column_list", "metric": "field_list", "baseline": {"type": "TrailingWindow"}}
    given = analyzer(config=config, targetMatrix={"type": "dataset"})
    assert read(document([given])).document.analyzers[0].metric == "column_list"
