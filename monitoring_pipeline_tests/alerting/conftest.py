"""Fixtures of the tests of alerting."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from monitoring_pipeline_tests.alerting.fake_slack import FakeSlack, fake_slack


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    with fake_slack() as running:
        yield running
