"""Senders that are killed at any instant, or work at the same time: nothing is lost, nothing comes twice without need.

`MONITORING_TEST_SENDERS` says how many are killed; `python -m monitoring_pipeline_tests.kills.senders` kills hundreds
and reports.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from monitoring_pipeline_tests.kills.senders import Nursery, campaign, together

KILLS = int(os.environ.get("MONITORING_TEST_SENDERS", "12"))


@pytest.fixture(scope="module")
def nurseries() -> Iterator[tuple[Nursery, Nursery]]:
    with Nursery() as one, Nursery() as other:
        yield one, other


@pytest.mark.slow
def test_every_message_is_accepted_and_none_twice_but_when_its_sender_died_before_it_could_note_that(
    nurseries: tuple[Nursery, Nursery], database_url: str
) -> None:
    report = campaign(database_url, nurseries[0], times=KILLS, chance=random.Random(7))
    assert report.problems == []
    assert report.killed == KILLS
    assert report.repeated == report.accepted_and_dead


@pytest.mark.slow
def test_two_senders_at_once_never_send_the_same_message_whatever_their_clocks_say(
    nurseries: tuple[Nursery, Nursery], database_url: str
) -> None:
    report = together(database_url, nurseries, rounds=1, chance=random.Random(8))
    assert report.problems == []
    assert report.repeated == 0
