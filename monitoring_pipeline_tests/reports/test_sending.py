"""A report reaches each channel once, whoever writes it again, and a channel that refuses it gets it later."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from monitoring_pipeline.alerting.digests import Digest
from monitoring_pipeline.alerting.formats.text import text_of
from monitoring_pipeline.alerting.messages import Message
from monitoring_pipeline.errors import DeliveryError, UsageError
from monitoring_pipeline.reports import Period, Report, build_report, report_channels, send_report
from monitoring_pipeline.reports.sending import message_of_report
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.timegrid import TimeRange
from monitoring_pipeline.workspace import Workspace
from monitoring_pipeline_tests.workspaces import make_workspace

WEEK = Period(TimeRange(datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 9, tzinfo=UTC)))
NOW = datetime(2026, 3, 9, 6, tzinfo=UTC)


class Chat:
    """A channel that keeps what it is told, and refuses as often as it is asked to."""

    name = "chat"

    def __init__(self, *, refuses: int = 0) -> None:
        self.refuses = refuses
        self.said: list[tuple[str, Message]] = []

    def send(self, digest: Digest, *, thread: str | None = None) -> str:
        raise NotImplementedError

    def say(self, message: Message, *, key: str, thread: str | None = None) -> str:
        del thread
        if self.refuses:
            self.refuses -= 1
            raise DeliveryError("busy")
        self.said.append((key, message))
        return "receipt"


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace(Settings(home=make_workspace(tmp_path, days=3), now=NOW)) as opened:
        yield opened


@pytest.fixture
def report(workspace: Workspace) -> Report:
    return build_report(workspace, WEEK)


def test_a_report_goes_to_a_channel_once_unless_somebody_insists(
    workspace: Workspace, report: Report
) -> None:
    chat, path = Chat(), workspace.home / "reports" / report.file_name

    first = send_report(workspace, report, path, ["chat"], channels={"chat": chat})
    second = send_report(workspace, report, path, ["chat", "chat"], channels={"chat": chat})
    other = send_report(workspace, report, path, ["chat"], channels={"chat": chat}, called="another.html")
    third = send_report(workspace, report, path, ["chat"], channels={"chat": chat}, again=True)

    assert [one.words for one in (*first, *second, *other, *third)] == [
        "chat: sent",
        "chat: sent already, 2026-03-09 06:00 UTC",
        "chat: sent",
        "chat: sent",
    ]
    assert len({key for key, _ in chat.said}) == len(chat.said) == 3


def test_what_a_channel_refuses_is_sent_the_next_time(workspace: Workspace, report: Report) -> None:
    chat, path = Chat(refuses=1), Path("week.html")

    (failed,) = send_report(workspace, report, path, ["chat"], channels={"chat": chat})
    (done,) = send_report(workspace, report, path, ["chat"], channels={"chat": chat})

    assert (failed.problem, failed.permanent) == ("busy", False)
    assert (done.problem, len(chat.said)) == ("", 1)


def test_a_channel_that_does_not_exist_is_an_error_that_names_the_others(
    workspace: Workspace, report: Report
) -> None:
    with pytest.raises(UsageError, match=r"no channel 'mail' is configured; there are: chat"):
        send_report(workspace, report, Path("week.html"), ["mail"], channels={"chat": Chat()})


def test_the_summary_says_what_the_page_says_and_where_it_is(report: Report) -> None:
    text = text_of(message_of_report(report, kept="/srv/reports/2026-W10.html"))
    assert "Monitoring report 2026-W10" in text
    assert "orders" in text
    assert "/srv/reports/2026-W10.html" in text


def test_the_weekly_report_goes_where_the_routes_say(workspace: Workspace) -> None:
    assert report_channels(workspace) == ()
    (workspace.home / "channels.yaml").write_text("routes: {report: [console]}\n")
    assert report_channels(workspace) == ("console",)
