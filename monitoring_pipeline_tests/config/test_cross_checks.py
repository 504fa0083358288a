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
    given = document(
        [analyzer(id="a"), analyzer(id="b"), composite("a", "b")], [monitor(analyzerIds=["both"])]
    )
    assert read(given).warnings == ()


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
        composite("a", "b", name="either", kind="disjunction"),
        *(analyzer(id=f"c{number}") for number in range(11)),
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
    given = document([analyzer(config=config)], [monitor(schedule=never)])
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
