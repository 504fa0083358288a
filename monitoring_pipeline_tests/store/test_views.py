from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from monitoring_pipeline.metrics import catalog
from monitoring_pipeline.profiling.profiler import profile
from monitoring_pipeline.store import profiles, schema, views
from monitoring_pipeline.store.database import Store, open_store, upgrade
from monitoring_pipeline.store.datasets import DatasetRef, datasets, register_dataset
from monitoring_pipeline.store.digests import (
    mark_delivered,
    mark_failed,
    pending_deliveries,
    record_digest,
)
from monitoring_pipeline.store.documents import apply_document
from monitoring_pipeline.store.profiles import write_batch
from monitoring_pipeline.store.results import write_results
from monitoring_pipeline.store.rollups import roll_up
from monitoring_pipeline.store.schema import PROFILE_SCALARS
from monitoring_pipeline.timegrid import EPOCH, Granularity, TimeRange, to_micros
from monitoring_pipeline_tests.store.first_release import first_release_file, first_release_on_postgres
from monitoring_pipeline_tests.store.stored_days import MONDAY, some_profile, some_table, write, write_days
from monitoring_pipeline_tests.workspaces import START

_DOCUMENTATION = Path(__file__).parents[2] / "docs" / "sql.md"
_EXAMPLES = re.findall(r"```sql\n(.*?)```", _DOCUMENTATION.read_text(), re.DOTALL)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def orders(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Twelve days of orders with verdicts, digests and roll-ups. Tests only read it."""
    folder = tmp_path_factory.mktemp("orders")
    url = f"sqlite:///{folder / 'store.db'}"
    if request.param == "sqlite":
        first_release_file(folder / "store.db")
    else:
        server: str = request.getfixturevalue("postgres_url")
        engine = sa.create_engine(server.replace("postgresql://", "postgresql+psycopg://"))
        with engine.begin() as connection:
            connection.execute(sa.text("CREATE SCHEMA views_of_orders"))
        engine.dispose()
        url = f"{server}&options=-csearch_path%3Dviews_of_orders"
        first_release_on_postgres(url, folder / "first.db")
    upgrade(url)
    store = open_store(url)
    roll_up(store, datasets(store)[0], Granularity.DAILY, now=START + timedelta(days=60))
    yield store
    store.close()


def told(store: Store, query: str) -> list[dict[str, object]]:
    """Rows of a query; times as datetimes on both databases."""
    with store.read() as connection:
        rows = connection.execute(sa.text(query)).mappings().all()
    return [{name: _moment(value) for name, value in row.items()} for row in rows]


def _moment(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]{8}Z", value):
        return datetime.fromisoformat(value)
    return value


def test_the_examples_of_the_documentation_find_something(orders: Store) -> None:
    assert len(_EXAMPLES) >= 9
    assert [query for query in _EXAMPLES if not told(orders, query)] == []


def test_v_metric_holds_every_metric_that_scalars_tell_with_its_value(orders: Store) -> None:
    (ref,) = datasets(orders)
    window = TimeRange(START, START + timedelta(days=12))
    expected: dict[tuple[str, str, int, str], float] = {}
    for level, columns in (("column", None), ("dataset", [""])):
        found = profiles.series(
            orders, ref, PROFILE_SCALARS, window, granularity=Granularity.DAILY, columns=columns
        )
        for metric in catalog().values():
            told_by_scalars = metric.needs and set(metric.needs) <= set(PROFILE_SCALARS)
            if metric.level != level or metric.kind != "number" or metric.source != "profile":
                continue
            if metric.name == "discrete" or not told_by_scalars:
                continue
            values = metric.formula({name: found.values[name] for name in metric.needs})
            for (segment, column), row in zip(found.keys, values, strict=True):
                for bucket, value in zip(found.buckets.tolist(), row.tolist(), strict=True):
                    if not np.isnan(value):
                        expected[segment, column, bucket // 1_000_000, metric.name] = value
    rows = told(orders, "SELECT segment, column_name, bucket_epoch, metric, value FROM v_metric")
    shown = {tuple(row.values())[:4]: row["value"] for row in rows}
    assert len(rows) == len(shown)
    assert shown.keys() == expected.keys()
    wrong = [key for key, value in expected.items() if shown[key] != pytest.approx(value, rel=1e-12)]
    assert not wrong


def test_v_metric_has_a_readable_time_and_the_grain(orders: Store) -> None:
    (row,) = told(
        orders,
        "SELECT * FROM v_metric WHERE dataset = 'orders' AND metric = 'shape_row_count' AND segment = '' "
        "AND bucket = '2026-03-10T00:00:00Z'",
    )
    assert row == {
        "organisation": "org-0", "dataset": "orders", "granularity": "daily", "grain": "base",
        "bucket": datetime(2026, 3, 10, tzinfo=UTC), "bucket_epoch": 1_773_100_800,
        "segment": "", "column_name": "", "metric": "shape_row_count", "value": 10.0,
    }  # fmt: skip


def test_v_metric_rollup_holds_weeks_and_months(orders: Store) -> None:
    rows = told(
        orders,
        "SELECT grain, bucket, value FROM v_metric_rollup WHERE metric = 'count' AND segment = '' "
        "AND column_name = 'amount' ORDER BY grain, bucket",
    )
    # One Sunday; then a week with 61 rows on the 9th counted in the next; 60 rows a day but for the 9th and the 10th.
    assert [tuple(row.values()) for row in rows] == [
        ("month", datetime(2026, 3, 1, tzinfo=UTC), 10 * 60 + 61 + 10),
        ("week", datetime(2026, 2, 23, tzinfo=UTC), 60),
        ("week", datetime(2026, 3, 2, tzinfo=UTC), 7 * 60),
        ("week", datetime(2026, 3, 9, tzinfo=UTC), 61 + 10 + 2 * 60),
    ]


def test_v_anomaly_says_what_was_expected_and_how_bad_it_is(orders: Store) -> None:
    rows = told(
        orders,
        "SELECT bucket, column_name, metric, value, expected_lower, expected_upper, severity, explanation "
        "FROM v_anomaly ORDER BY bucket",
    )
    assert [tuple(row.values()) for row in rows] == [
        (datetime(2026, 3, 10, tzinfo=UTC), "", "shape_row_count", 10.0, 50.0, None, 2,
         "shape_row_count 10, expected at least 50"),
        (datetime(2026, 3, 11, tzinfo=UTC), "amount", "count_null_ratio", 0.4, 0.0, 0.05, 2,
         "amount count_null_ratio 0.4, expected 0 to 0.05"),
    ]  # fmt: skip


def test_v_verdict_holds_each_current_result_once(orders: Store) -> None:
    with orders.read() as connection:
        table = schema.analyzer_result
        current = connection.execute(
            sa.select(sa.func.count()).where(table.c.state == "current").select_from(table)
        ).scalar_one()
    rows = told(orders, "SELECT analysis_id, verdict FROM v_verdict")
    assert len({row["analysis_id"] for row in rows}) == len(rows) == current
    assert sum(row["verdict"] == "anomaly" for row in rows) == 2


def test_v_verdict_holds_verdicts_that_are_to_be_judged_again(store: Store, ref: DatasetRef) -> None:
    write_days(store, ref, 1)
    row = {
        "analysis_id": "a", "result_id": "r", "run_id": "run", "analyzer_id": "volume", "analyzer_version": "1",
        "monitor_ids": [], "segment": "", "column": "", "bucket": to_micros(MONDAY), "created": 0,
        "granularity": "daily", "target_level": "dataset", "metric": "shape_row_count", "analyzer_type": "fixed",
        "metric_value": 30.0, "profile_version": 1, "details": {},
    }  # fmt: skip
    write_results(store, ref, [row], now=EPOCH)
    query = "SELECT stale, verdict, value FROM v_verdict"
    assert [tuple(one.values()) for one in told(store, query)] == [(False, "normal", 30.0)]
    write(store, ref, MONDAY, some_profile(3), fingerprint="other rows, as many")
    assert [tuple(one.values()) for one in told(store, query)] == [(False, "normal", 30.0)]
    write(store, ref, MONDAY, profile(some_table(3, rows=31)), fingerprint="more rows")
    assert [tuple(one.values()) for one in told(store, query)] == [(True, "normal", 30.0)]


def test_v_digest_tells_how_its_deliveries_stand(store: Store, ref: DatasetRef) -> None:
    def state() -> tuple[object, ...]:
        (row,) = told(
            store, "SELECT state, deliveries, delivered, failed, attempts, last_error FROM v_digest"
        )
        return tuple(row.values())

    digest = {"dedup_key": "1", "monitor_id": "m", "severity": 1}
    record_digest(store, ref, digest, ["slack", "mail"], EPOCH)
    assert state() == ("pending", 2, 0, 0, 0, None)
    slack, mail = (one.pk for one in pending_deliveries(store, EPOCH))
    mark_delivered(store, slack, now=EPOCH)
    assert state() == ("pending", 2, 1, 0, 0, None)
    mark_failed(store, mail, error="no such address", permanent=True)
    assert state() == ("failed", 2, 1, 1, 1, "no such address")
    with store.begin() as connection:
        connection.execute(sa.update(schema.delivery).values(state="delivered"))
    assert state()[0] == "delivered"
    with store.begin() as connection:
        connection.execute(sa.delete(schema.delivery))
    assert state() == ("none", 0, 0, 0, 0, None)


def test_v_digest_tells_what_a_message_was_about(orders: Store) -> None:
    first, _ = told(orders, "SELECT * FROM v_digest ORDER BY created")
    assert (first["monitor_name"], first["severity"], first["anomalies"]) == ("Orders arrive", 2, 1)
    assert (first["period_start"], first["period_end"]) == (
        datetime(2026, 3, 10, tzinfo=UTC), datetime(2026, 3, 11, tzinfo=UTC),
    )  # fmt: skip
    assert (first["state"], first["delivered"]) == ("delivered", 1)


@pytest.mark.parametrize(
    ("granularity", "bucket", "end"),
    [
        ("PT15M", datetime(2026, 1, 31, 23, 45, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)),
        ("hourly", datetime(2026, 1, 31, 23, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)),
        ("daily", datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)),
        ("weekly", datetime(2026, 1, 26, tzinfo=UTC), datetime(2026, 2, 2, tzinfo=UTC)),
        ("monthly", datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)),
    ],
)
def test_v_batch_counts_lateness_from_the_end_of_the_bucket(
    store: Store, ref: DatasetRef, granularity: str, bucket: datetime, end: datetime
) -> None:
    apply_document(store, ref, "dataset", {"granularity": granularity}, author="a", origin="file", now=EPOCH)
    write_batch(
        store, ref, bucket, some_profile(1), fingerprint="f", first_upload=end,
        last_upload=end + timedelta(minutes=90), files=3, quality={"late": 2, "bad_time": 5}, now=end,
    )  # fmt: skip
    rows = told(
        store,
        "SELECT granularity, late_seconds, quality_problems, files, rows FROM v_batch WHERE segment = ''",
    )
    assert [tuple(row.values()) for row in rows] == [(granularity, 5_400, 7, 3, 30)]


def test_without_a_description_granularity_and_lateness_are_unknown(store: Store, ref: DatasetRef) -> None:
    write_batch(
        store, ref, START, some_profile(1), fingerprint="f", first_upload=START, last_upload=START,
        files=1, quality={}, now=START,
    )  # fmt: skip
    rows = told(store, "SELECT granularity, late_seconds, quality_problems FROM v_batch WHERE segment = ''")
    assert [tuple(row.values()) for row in rows] == [(None, None, 0)]


def test_a_series_is_found_by_the_whole_key_of_a_profile(orders: Store) -> None:
    query = (
        "SELECT bucket, value FROM v_metric WHERE dataset = 'orders' AND metric = 'mean' AND segment = '' "
        "AND column_name = 'amount' AND bucket >= '2026-03-05T00:00:00Z'"
    )
    with orders.begin() as connection:
        if orders.is_sqlite:
            plan = [row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}")]
            whole = (
                "SEARCH p USING PRIMARY KEY (dataset=? AND grain=? AND bucket=? AND segment=? AND column=?)"
            )
            assert plan.count(whole) == 2
            assert not [step for step in plan if step.startswith(("SCAN p", "SCAN b"))]
            return
        connection.exec_driver_sql(
            "SET LOCAL enable_seqscan = off"
        )  # so few rows are quicker read at a stroke
        plan = [row[0] for row in connection.exec_driver_sql(f"EXPLAIN {query}")]
    text = "\n".join(plan)
    assert "pk_profile" in text
    assert "Seq Scan on profile" not in text


def test_views_are_made_again_as_they_were(store: Store) -> None:
    register_dataset(store, "org-0", "orders")
    with store.begin() as connection:
        views.drop_views(connection)
        assert sa.inspect(connection).get_view_names() == []
        views.create_views(connection)
    with store.read() as connection:
        assert set(sa.inspect(connection).get_view_names()) == set(views.NAMES)
