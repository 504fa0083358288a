"""Levels and routes: who hears of what, when the monitor itself does not say."""

from __future__ import annotations

from typing import Any

import pytest

from monitoring_pipeline.alerting.routes import channels_of
from monitoring_pipeline.config.channels import RoutesSpec
from monitoring_pipeline_tests.alerting.builders import document, monitor

ROUTES = RoutesSpec(warning=("slack",), critical=("mail", "slack", "pager"))
CONFIGURED = ["console", "slack", "mail", "pager"]


def told(actions: list[dict[str, Any]], severity: int) -> tuple[str, ...]:
    (made,) = document(monitor(actions=actions, severity=severity)).monitors
    route = channels_of(made, CONFIGURED, routes=ROUTES)
    assert route.problems == ()
    return route.channels


BY_LEVEL = {"type": "global", "target": "routes"}
CONSOLE = {"type": "global", "target": "console"}
MAIL = {"type": "global", "target": "mail"}


@pytest.mark.parametrize("actions", [[], [CONSOLE], [BY_LEVEL]], ids=["none", "console", "routes"])
def test_a_monitor_that_names_nobody_goes_by_its_level(actions: list[dict[str, Any]]) -> None:
    assert told(actions, 1) == ("console", "mail", "slack", "pager")
    assert told(actions, 2) == ("console", "slack")
    assert told(actions, 3) == ("console",)


def test_a_monitor_that_names_its_channels_goes_there_and_nowhere_else() -> None:
    assert told([MAIL], 1) == ("console", "mail")


def test_a_monitor_may_name_the_routes_beside_its_channels() -> None:
    assert told([MAIL, BY_LEVEL], 2) == ("console", "mail", "slack")


def test_a_monitor_whose_own_channels_do_not_exist_goes_by_its_level_and_says_so() -> None:
    (made,) = document(monitor(actions=[{"type": "global", "target": "teams"}], severity=2)).monitors
    route = channels_of(made, CONFIGURED, routes=ROUTES)
    assert route.channels == ("console", "slack")
    assert "no channel 'teams' is configured" in route.problems[0]


def test_a_route_to_a_channel_that_is_not_set_up_is_reported() -> None:
    (made,) = document(monitor(actions=[], severity=2)).monitors
    route = channels_of(made, ["console"], routes=ROUTES)
    assert route.channels == ("console",)
    assert route.problems == (
        "channels.yaml, routes of warning: no channel 'slack' is configured; there are: console",
    )
