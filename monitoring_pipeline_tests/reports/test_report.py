"""The report of a week: what it says of planted trouble, and that the page is safe to open, send and keep."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pytest

from monitoring_pipeline.errors import UnknownDatasetError, UsageError
from monitoring_pipeline.profiling.profiler import profile as profile_of
from monitoring_pipeline.reports import Period, Report, build_report, write_report
from monitoring_pipeline.reports.page import Broken, page_of
from monitoring_pipeline.reports.story import Story, story_of
from monitoring_pipeline.store import profiles
from monitoring_pipeline.timegrid import TimeRange
from monitoring_pipeline.workspace import Workspace
from monitoring_pipeline_tests.reports.shop import (
    BAD_FROM,
    DATASET,
    FIRST,
    LINK,
    NOW,
    SCRIPT,
    make_shop,
    opened,
)

WEEK = timedelta(weeks=1)
BAD = Period.last_week(NOW)
GOOD = Period(TimeRange(BAD.range.start - WEEK, BAD.range.start))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shop(tmp_path_factory.mktemp("shop") / "data")


@pytest.fixture(scope="module")
def workspace(home: Path) -> Iterator[Workspace]:
    with opened(home) as workspace:
        yield workspace


@pytest.fixture(scope="module")
def bad(workspace: Workspace) -> Story:
    return story_of(workspace, "shop", BAD)


@pytest.fixture(scope="module")
def report(workspace: Workspace) -> Report:
    return build_report(workspace, BAD)


def parsed(html: str) -> ElementTree.Element:
    """The page as XML, which is stricter than HTML: everything is closed, every text is escaped."""
    return ElementTree.fromstring(html.removeprefix("<!DOCTYPE html>"))  # noqa: S314 - made right here


def text_of(html: str) -> str:
    return " ".join(" ".join(parsed(html).itertext()).split())


def test_the_planted_drift_ranks_first_with_its_score_noise_and_threshold(bad: Story) -> None:
    first, *others = bad.drifts.columns
    # Gamma(3, 20) against Gamma(3, 40): Hellinger √(1 − (√2 / 1.5)³) = 0.402, by the densities.
    assert first.column == "amount"
    assert first.score == pytest.approx(0.402, abs=0.05)
    assert 0 < first.noise < 0.1
    assert first.beyond
    assert first.watch is not None
    assert (first.watch.analyzer_id, first.watch.threshold) == ("drift-analyzer", 0.3)
    assert not any(one.beyond for one in others)
    assert next(one for one in others if one.column == "mass").is_noise


def test_what_changed_is_said_in_sentences(bad: Story) -> None:
    said = "\n".join(bad.changes)
    assert "1 day of 7 without data: 2026-03-14" in said
    assert "2,400 rows, 14 % fewer than the week before" in said  # 6 days of 400 against 7
    assert "`coupon` nulls 0 % → 40 %" in said
    assert "`amount` drifted 0." in said
    assert "accuracy 90 % → 50 %, worse" in said
    assert f"`{LINK}` absent on 2 of 7 days" in said


def test_a_week_as_the_one_before_is_healthy_and_nothing_has_moved(workspace: Workspace) -> None:
    story = story_of(workspace, "shop", GOOD)
    assert (story.headline, story.state) == ("Healthy", "healthy")
    assert story.drifts.moved == ()
    assert story.changes == ("2,800 rows, as many as the week before",)
    assert build_report(workspace, GOOD).headline == "healthy"


def test_the_page_shows_incidents_with_the_sentences_that_people_were_sent(
    bad: Story, report: Report
) -> None:
    shown = text_of(report.html)
    assert {column for incident in bad.incidents for column in incident.columns} == {"amount", "coupon"}
    # The baseline has learnt the new amounts by the end of the week; people should look all the same.
    assert bad.headline == (
        "No incident open, 2 resolved; look at 1 day without data, drift of `amount`, accuracy and 4 more worse"
    )
    for incident in bad.incidents:
        assert incident.worst.sentence.replace("`", "") in shown.replace(" ,", ",")
    assert (report.open_incidents, report.resolved) == (0, 2)


def test_analyzers_that_could_not_judge_are_named_with_the_reason(bad: Story, report: Report) -> None:
    (failing,) = [one for one in bad.coverage.watchers if one.analyzer_id == "impossible-analyzer"]
    assert (failing.tally.verdicts, failing.tally.failed) == (0, 6)
    assert failing.tally.failures[0][0] == "InsufficientBaseline"
    assert "6 InsufficientBaseline" in text_of(report.html)


def test_performance_of_the_period_is_that_of_all_its_rows(bad: Story) -> None:
    accuracy = next(one for one in bad.performance.outcomes if one.title == "accuracy")
    assert (accuracy.before, accuracy.now) == (pytest.approx(0.9), pytest.approx(0.5))
    assert accuracy.verdict == "worse"
    assert np.isnan(accuracy.values[7 + 5])
    assert bad.performance.known == 1.0


def test_metrics_that_analyzers_name_are_shown_with_what_was_expected(bad: Story) -> None:
    (watched,) = [one for one in bad.performance.watched if one.title == "95th percentile"]
    assert (watched.column, watched.judged is not None) == ("mass", True)
    assert watched.judged is not None
    assert (watched.judged.lower[7] < watched.values[7]) & (watched.values[7] < watched.judged.upper[7])


def test_freshness_is_the_time_from_the_end_of_a_bucket_to_its_last_data(bad: Story, report: Report) -> None:
    assert bad.volume.lag == (7_200, 7_200)
    assert "came 2 h after its end" in text_of(report.html)
    assert bad.volume.missing == [5]


def test_the_page_is_well_formed_and_every_chart_and_table_can_be_read_aloud(report: Report) -> None:
    page = parsed(report.html)
    assert page.get("lang") == "en"
    charts = [*page.iter("svg")]
    assert len(charts) > 5
    assert all(chart.get("role") == "img" and chart.find("title") is not None for chart in charts)
    tables = [*page.iter("table")]
    assert tables
    for table in tables:
        assert table.find("caption") is not None
        assert all(head.get("scope") == "col" for head in table.iter("th"))
    ids = [one.get("id") for one in page.iter() if one.get("id")]
    assert len(ids) == len(set(ids))


def test_nothing_is_fetched_and_nothing_runs(report: Report) -> None:
    page = parsed(report.html)
    names = {one.tag for one in page.iter()}
    assert not names & {"script", "img", "link", "iframe", "object", "embed", "base", "form"}
    for element in page.iter():
        for attribute, value in element.attrib.items():
            assert not attribute.lower().startswith("on")
            assert attribute.lower() not in {"src", "srcset", "xlink:href", "background"}
            if attribute.lower() == "href":
                assert value.startswith("#")
            if attribute.lower() == "style":
                assert re.fullmatch(r"((fill|stroke):var\(--[a-z]+\);?)+", value)
    style = "".join(one.text or "" for one in page.iter("style"))
    assert "url(" not in style
    assert "@import" not in style
    # The only addresses are texts of the data.
    assert set(re.findall(r"https?://[a-z.]+", report.html)) == {"http://evil.example"}


def test_hostile_names_are_shown_as_text(report: Report) -> None:
    assert "<script" not in report.html
    assert "\x1b" not in report.html
    assert "<b>of a small" not in report.html
    assert "<script>alert('a')</script>\"&�[31m" in text_of(report.html)
    assert SCRIPT not in report.text


def test_the_same_store_gives_the_same_page(home: Path, report: Report) -> None:
    with opened(home) as workspace:
        assert build_report(workspace, BAD) == report


def test_a_message_can_carry_it(report: Report) -> None:
    assert report.subject.startswith("Monitoring report 2026-W11: ")
    assert "incident" in report.subject
    assert report.file_name == "2026-W11.html"
    assert "shop: " in report.text
    assert "`" not in report.text
    assert report.size == len(report.html.encode())


def test_a_broken_dataset_is_named_and_the_others_are_told_of(tmp_path: Path) -> None:
    home = make_shop(tmp_path / "data", days=3)
    folder = home / "datasets" / "hurt"
    folder.mkdir()
    (folder / "dataset.yaml").write_text("id: hurt\ngranularity: <never>\n")
    with opened(home) as workspace:
        made = build_report(workspace, Period(TimeRange(FIRST, FIRST + timedelta(days=3))))
    assert (made.datasets, made.broken) == (1, 1)
    assert "1 dataset cannot be read" in made.headline
    assert "hurt" in text_of(made.html)
    assert "never" in text_of(made.html)
    assert "2026-02-23 to 2026-02-25" in made.subject


def test_silence_is_never_called_health(tmp_path: Path, workspace: Workspace) -> None:
    home = tmp_path / "data"
    folder = home / "datasets" / "shop"
    folder.mkdir(parents=True)
    (folder / "dataset.yaml").write_text(DATASET)
    with opened(home) as empty:
        story = story_of(empty, "shop", GOOD)
        assert story.state in {"silent", "unwatched"}
        assert "healthy" not in build_report(empty, GOOD).headline
        assert parsed(build_report(empty, GOOD).html) is not None
    later = Period(TimeRange(NOW - timedelta(hours=3), NOW - timedelta(hours=2)))
    assert story_of(workspace, "shop", later).headline in {
        "No day ended in this time",
        f"{len(story_of(workspace, 'shop', later).open)} incidents open",
        "1 incident open",
    }


def test_days_that_are_missing_altogether_are_no_data(home: Path) -> None:
    after = Period(TimeRange(BAD.range.end, BAD.range.end + WEEK))
    with opened(home, now=NOW + 2 * WEEK) as workspace:
        story = story_of(workspace, "shop", after)
    assert len(story.volume.missing) == 7
    assert "7 days of 7 without data" in "\n".join(story.changes)
    assert story.state in {"silent", "incidents"}


@pytest.mark.parametrize(
    "period",
    [
        Period(TimeRange(NOW + WEEK, NOW + 2 * WEEK)),
        Period(TimeRange(FIRST, FIRST)),
        Period(TimeRange(FIRST - timedelta(days=20_000), NOW)),
    ],
)
def test_a_period_that_cannot_be_reported_is_refused(workspace: Workspace, period: Period) -> None:
    with pytest.raises(UsageError):
        build_report(workspace, period)


def test_an_unknown_dataset_is_refused_with_the_nearest_name(workspace: Workspace) -> None:
    with pytest.raises(UnknownDatasetError, match="shop"):
        build_report(workspace, BAD, ["shopp"])


def test_a_file_is_written_whole_and_what_cannot_be_written_is_said(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    write_report(report, path)
    write_report(report, path)
    assert path.read_text() == report.html
    assert [*path.parent.iterdir()] == [path]
    with pytest.raises(UsageError, match="cannot be written"):
        write_report(report, path / "below-a-file.html")


def test_many_datasets_share_the_room_and_all_are_in_the_index(bad: Story) -> None:
    stories = [replace(bad, dataset_id=f"shop-{number:04}") for number in range(80)]
    broken = [Broken("hurt", "x" * 5_000)]
    page = page_of(stories, broken, period=BAD, headline="much", written=NOW)
    assert len(page.encode()) < 2_000_000
    shown = text_of(page)
    assert all(f"shop-{number:04}" in shown for number in range(80))
    index = [one.get("href") for one in parsed(page).iter("a")]
    assert len(index) == 80


def test_more_datasets_than_fit_are_counted(bad: Story) -> None:
    lean = replace(bad, dataset_id="shop", incidents=(), columns=())
    page = page_of(
        [lean] * 3,
        [Broken(f"d{at}", "&" * 2_000) for at in range(2_500)],
        period=BAD,
        headline="x",
        written=NOW,
    )
    assert len(page.encode()) < 2_000_000
    assert "more datasets" in text_of(page)


@pytest.mark.slow
def test_a_thousand_columns_and_many_segments_stay_below_two_megabytes(tmp_path: Path) -> None:
    home = tmp_path / "data"
    folder = home / "datasets" / "shop"
    folder.mkdir(parents=True)
    (folder / "dataset.yaml").write_text(DATASET.replace("description", "segments: [region]\ndescription"))
    random = np.random.default_rng(1)
    with opened(home) as workspace:
        ref = workspace.ref("shop")
        for day in range(BAD_FROM - 2, BAD_FROM + 2):
            start = FIRST + timedelta(days=day)
            columns = {
                f"{at:04}<&'\">{'ü' * 120}": random.normal(at % 7 + 3 * (day >= BAD_FROM), 1, 40)
                for at in range(1_000)
            }
            table = pa.table(
                {"at": [start] * 40, "region": [f"<region {at % 20}>" for at in range(40)], **columns}
            )
            profiles.write_batch(
                workspace.store,
                ref,
                start,
                profile_of(table, segments=[["region"]]),
                fingerprint=str(day),
                first_upload=start,
                last_upload=start,
                files=1,
                quality={"<bad>": 3},
                now=start,
            )
        period = Period(TimeRange(FIRST + timedelta(days=BAD_FROM), FIRST + timedelta(days=BAD_FROM + 2)))
        story = story_of(workspace, "shop", period)
        made = build_report(workspace, period)
    assert len(story.drifts.moved) == 1_000
    assert made.size < 2_000_000
    assert len([*parsed(made.html).iter("svg")]) < 60
    assert "1,002 columns" in text_of(made.html)
