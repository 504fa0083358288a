"""Views with plain names for people who read the store with SQL: `v_metric`, `v_anomaly` and their like.

The only part of the schema that others may rely on; docs/sql.md describes it. The migration that makes the views and
the test that compares them take their text from here. They are written so that a database can seek: the time of a row
comes from the small table that lists buckets (`batch`, `rollup`, `evaluation`), whose rows then lead to the few rows of
the big one by its whole key. A condition on a text or `timestamptz` costs a look at each bucket, not at each profile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy.engine import Connection

NAMES = ("v_metric", "v_metric_rollup", "v_batch", "v_verdict", "v_anomaly", "v_digest")
"""The views, each after those that it is made from."""


def create_views(connection: Connection) -> None:
    """Make the views; there must be none of their names."""
    for statement in statements(connection.dialect.name):
        connection.exec_driver_sql(statement)


def drop_views(connection: Connection) -> None:
    """Remove the views that there are. A migration that changes their tables does it first, and makes them again last."""
    for name in reversed(NAMES):
        connection.exec_driver_sql(f"DROP VIEW IF EXISTS {name}")


def statements(dialect: str) -> list[str]:
    """The statements that make the views, in order, for `sqlite` or `postgresql`."""
    words = _SQLITE if dialect == "sqlite" else _POSTGRESQL
    queries = {
        "v_metric": _metric(words, grain="'base'", tables=_BASE, conditions=_BASE_ON),
        "v_metric_rollup": _metric(words, grain="b.grain", tables=_ROLLUP, conditions=_ROLLUP_ON),
        "v_batch": _batch(words),
        "v_verdict": _verdict(words),
        "v_anomaly": _anomaly(words),
        "v_digest": _digest(words),
    }
    return [f"CREATE VIEW {name} AS {queries[name].strip()}" for name in NAMES]


@dataclass(frozen=True)
class _Dialect:
    """How a database says what SQL has no common words for. `{}` is an expression."""

    bucket: str
    """Microseconds of a bucket's start, which is a whole minute, as a time."""
    moment: str
    """Microseconds as a time."""
    json_text: str
    """A field of a JSON object as text; the second `{}` is its name."""
    json_values: str
    """A table of the texts in a JSON array, with the column `value`."""
    json_counts: str
    """A table of the counts in a JSON object of numbers, with the column `value`."""
    month_later: str
    """Microseconds of the start of the month after."""
    rounded: str
    """A number as text with at most four digits after the point."""
    period: str
    """A moment of the period that a digest is about, as a time; `{}` is `start` or `end`."""


_SQLITE = _Dialect(
    bucket="strftime('%Y-%m-%dT%H:%M:%SZ', {} / 1000000, 'unixepoch')",
    moment="strftime('%Y-%m-%dT%H:%M:%SZ', {} / 1000000, 'unixepoch')",
    json_text="json_extract({}, '$.{}')",
    json_values="json_each({})",
    json_counts="json_each({})",
    month_later="CAST(strftime('%s', {} / 1000000, 'unixepoch', '+1 month') AS INTEGER) * 1000000",
    rounded="printf('%.12g', round({}, 4))",
    period="strftime('%Y-%m-%dT%H:%M:%SZ', json_extract(g.content, '$.period.{}'))",
)
_POSTGRESQL = _Dialect(
    bucket="to_timestamp({} / 1000000)",
    moment="(timestamptz 'epoch' + {} * interval '1 microsecond')",
    json_text="({} ->> '{}')",
    json_values="json_array_elements_text({}) AS one(value)",
    json_counts="(SELECT j.value::bigint AS value FROM json_each_text({}) AS j) AS one",
    month_later="(extract(epoch FROM (to_timestamp({} / 1000000) AT TIME ZONE 'UTC' + interval '1 month') "
    "AT TIME ZONE 'UTC') * 1000000)::bigint",
    rounded="CASE WHEN abs({0}) < 1e15 THEN trim_scale(round(({0})::numeric, 4))::text ELSE ({0})::text END",
    period="(g.content #>> '{{period,{}}}')::timestamptz",
)

_RATIOS = (
    "n_null",
    "t_bool",
    "t_integral",
    "t_fractional",
    "t_string",
    "t_object",
    "n_true",
    "n_nan",
)
"""Counts that are metrics, `count_…`, and whose share of all values is one, `count_…_ratio`."""


def metric_expressions() -> dict[str, tuple[str, str]]:
    """Metric of the monitor document → level ("column" or "dataset") and its expression over the columns of `p`.

    All metrics that the scalars of a profile tell, save the types (`discrete`, `inferred_data_type`), whose rules are no
    formula.
    """
    return {
        **{name: ("column", expression) for name, expression in _column_metrics()},
        "shape_row_count": ("dataset", "p.n"),
        "shape_column_count": ("dataset", "p.n_columns"),
        "column_row_count_sum": ("dataset", "p.n * p.n_columns"),
    }


def _column_metrics() -> Iterator[tuple[str, str]]:
    yield "count", "p.n"
    for scalar in _RATIOS:
        name = f"count_{scalar[2:]}"
        yield name, f"p.{scalar}"
        yield f"{name}_ratio", f"p.{scalar} / nullif(p.n, 0)"
    yield "count_inf", "p.n_pos_inf + p.n_neg_inf"
    for name in ("unique_est", "unique_lower", "unique_upper"):
        yield name, f"p.{name}"
        yield f"{name}_ratio", f"p.{name} / nullif(p.n, 0)"
    for name in ("mean", "min", "max"):
        yield name, f'p."{name}"'
    variance = "CASE WHEN p.m_n > 1 THEN p.m2 / (p.m_n - 1) END"
    yield "variance", variance
    yield "stddev", f"sqrt({variance})"
    yield "median", "p.quantile_50"
    for rank in (5, 25, 50, 75, 90, 95, 99):
        yield f"quantile_{rank}", f"p.quantile_{rank}"
    for rank in (50, 95, 99):
        yield f"latency.p{rank}", f"p.quantile_{rank}"
    share = 'p.n_true / p.t_bool WHEN p.m_n > 0 AND p."min" >= 0 AND p."max" <= 1 THEN p.mean'
    yield "error_rate", f"CASE WHEN p.t_bool > 0 THEN {share} END"


_BASE = "CROSS JOIN batch b CROSS JOIN segment s"
_BASE_ON = "b.dataset = d.pk AND s.dataset = d.pk AND s.pk = b.segment"
_ROLLUP = "CROSS JOIN rollup b CROSS JOIN segment s"
_ROLLUP_ON = "b.dataset = d.pk AND b.revision >= 0 AND s.dataset = d.pk"


def _metric(words: _Dialect, *, grain: str, tables: str, conditions: str) -> str:
    """Long form, the metrics of columns and of whole segments apart, so that either is found by seeking.

    SQLite takes the tables of a CROSS JOIN in their order; left to itself it may begin with all profiles.
    """
    arms: list[str] = []
    for level, which in (("column", "<>"), ("dataset", "=")):
        metrics = {name: told for name, (found, told) in metric_expressions().items() if found == level}
        listed = ", ".join(f"('{name}')" for name in metrics)
        cases = " ".join(f"WHEN '{name}' THEN {expression}" for name, expression in metrics.items())
        arms.append(f"""
SELECT organisation, dataset, granularity, grain, bucket, bucket_epoch, segment, column_name, metric, value
FROM (
    SELECT d.organisation, d.dataset_id AS dataset, {_granularity(words)} AS granularity, {grain} AS grain,
        {words.bucket.format("b.bucket")} AS bucket, b.bucket / 1000000 AS bucket_epoch,
        s.key AS segment, c.name AS column_name, m.metric, CASE m.metric {cases} END AS value
    FROM dataset d CROSS JOIN (SELECT column1 AS metric FROM (VALUES {listed}) AS listed) m
    {tables} CROSS JOIN column_name c CROSS JOIN profile p
    WHERE {conditions} AND c.dataset = d.pk AND c.name {which} '' AND p.dataset = d.pk AND p.grain = {grain}
        AND p.bucket = b.bucket AND p.segment = s.pk AND p."column" = c.pk
) AS {level}_metrics
WHERE value IS NOT NULL""")  # noqa: S608 - nothing in it comes from outside
    return "UNION ALL".join(f"{arm}\n" for arm in arms)


def _batch(words: _Dialect) -> str:
    first, last, profiled = (
        words.moment.format(f"b.{name}") for name in ("first_upload", "last_upload", "profiled_at")
    )
    return f"""
SELECT organisation, dataset, granularity, bucket, bucket_epoch, segment, rows, files,
    first_upload, last_upload, (last_upload_micros - bucket_end) / 1000000 AS late_seconds,
    version, profiled_at, quality_problems, quality
FROM (
    SELECT d.organisation, d.dataset_id AS dataset, {_granularity(words)} AS granularity,
        {words.bucket.format("b.bucket")} AS bucket, b.bucket / 1000000 AS bucket_epoch, s.key AS segment,
        b.rows, b.files, {first} AS first_upload, {last} AS last_upload,
        {profiled} AS profiled_at, b.version, b.last_upload AS last_upload_micros,
        {_end(words)} AS bucket_end, b.quality,
        coalesce((SELECT CAST(sum(value) AS BIGINT) FROM {words.json_counts.format("b.quality")}), 0)
            AS quality_problems
    FROM dataset d {_BASE}
    WHERE {_BASE_ON}
) AS told
"""  # noqa: S608 - nothing in it comes from outside


def _end(words: _Dialect) -> str:
    """The end of a bucket, in microseconds."""
    lengths = {"PT15M": 900, "hourly": 3_600, "daily": 86_400, "weekly": 604_800}
    fixed = " ".join(
        f"WHEN '{name}' THEN b.bucket + {seconds * 1_000_000}" for name, seconds in lengths.items()
    )
    month = words.month_later.format("b.bucket")
    return f"CASE {_granularity(words)} {fixed} WHEN 'monthly' THEN {month} END"


def _verdict(words: _Dialect) -> str:
    """Verdicts by their evaluations; then those whose evaluation was forgotten, because other data came for the bucket."""
    evaluated = """r.dataset = b.dataset AND r.bucket = b.bucket AND r.analyzer_id = b.analyzer_id
    AND r.analyzer_version = b.analyzer_version"""
    told = f"""{_verdict_columns(words)},
    CASE WHEN r.failure_type IS NOT NULL THEN 'failed' WHEN r.anomaly_count > 0 THEN 'anomaly' ELSE 'normal' END
        AS verdict,
    r.failure_type, r.failure_explanation"""
    return f"""
SELECT {told}
FROM dataset d CROSS JOIN evaluation b CROSS JOIN analyzer_result r
WHERE b.dataset = d.pk AND r.dataset = d.pk AND {evaluated} AND r.state = 'current'
UNION ALL
SELECT {told}
FROM dataset d {_BASE} CROSS JOIN analyzer_result r
WHERE {_BASE_ON} AND s.key = '' AND r.dataset = d.pk AND r.bucket = b.bucket AND r.state = 'current'
    AND NOT EXISTS (SELECT 1 FROM evaluation e WHERE {evaluated.replace("b.", "e.")})
"""  # noqa: S608 - nothing in it comes from outside


def _anomaly(words: _Dialect) -> str:
    columns = _verdict_columns(words).replace("b.bucket", "r.bucket")
    return f"""
SELECT {columns},
    (SELECT min(g.severity) FROM digest g WHERE g.dataset = d.pk AND g.run_id = r.run_id AND g.monitor_id IN
        (SELECT value FROM {words.json_values.format("r.monitor_ids")})) AS severity,
    {_explanation(words)} AS explanation
FROM dataset d CROSS JOIN analyzer_result r
WHERE r.dataset = d.pk AND r.state = 'current' AND r.anomaly_count > 0
"""  # noqa: S608 - nothing in it comes from outside


def _verdict_columns(words: _Dialect) -> str:
    return f"""d.organisation, d.dataset_id AS dataset, r.granularity,
    {words.bucket.format("b.bucket")} AS bucket, b.bucket / 1000000 AS bucket_epoch,
    r.segment, r."column" AS column_name, r.metric, r.analyzer_id, r.analyzer_type, r.algorithm, r.monitor_ids,
    coalesce(r.metric_value, r.drift_value) AS value, {_LOWER} AS expected_lower,
    coalesce({_UPPER}, r.drift_threshold) AS expected_upper,
    r.stale, {words.moment.format("r.created")} AS judged_at, r.run_id, r.analysis_id"""


def _bound(side: str, other: str) -> str:
    """The bound on one side that a value was held to, null where it was free."""
    found = f"coalesce(r.calculated_{side}, r.absolute_{side})"
    return f"CASE WHEN abs({found}) < 1e308 AND lower(coalesce(r.threshold_type, '')) <> '{other}' THEN {found} END"


_LOWER, _UPPER = _bound("lower", "upper"), _bound("upper", "lower")


def _explanation(words: _Dialect) -> str:
    """A verdict in words; the digests' own sentences know more."""
    value, drift, most, diff, allowed, lower, upper = (
        words.rounded.format(expression)
        for expression in (
            "r.metric_value",
            "r.drift_value",
            "r.drift_threshold",
            "r.diff_value",
            "r.diff_threshold",
            _LOWER,
            _UPPER,
        )
    )
    percent = "CASE WHEN r.diff_mode = 'pct' THEN ' percent' ELSE '' END"
    return f"""CASE WHEN r."column" <> '' THEN r."column" || ' ' ELSE '' END || coalesce(r.metric, r.analyzer_type) || CASE
        WHEN lower(r.metric) = 'missingdatapoint' THEN ': no data'
        WHEN r.drift_value IS NOT NULL THEN ' drift ' || {drift} || coalesce(' (' || r.algorithm || ')', '')
            || coalesce(', expected at most ' || {most}, '')
        WHEN r.diff_value IS NOT NULL THEN coalesce(' ' || {value}, '') || ', ' || {diff} || {percent}
            || ' from its baseline' || coalesce(', allowed ' || {allowed} || {percent}, '')
        WHEN r.metric_value IS NULL THEN ' is not as expected: ' || CAST(r.details AS TEXT)
        ELSE ' ' || {value} || CASE
            WHEN {_LOWER} IS NOT NULL AND {_UPPER} IS NOT NULL THEN ', expected ' || {lower} || ' to ' || {upper}
            WHEN {_LOWER} IS NOT NULL THEN ', expected at least ' || {lower}
            WHEN {_UPPER} IS NOT NULL THEN ', expected at most ' || {upper}
            ELSE '' END
        END || CASE WHEN r.segment <> '' THEN ', segment ' || r.segment ELSE '' END"""


def _digest(words: _Dialect) -> str:
    def field(name: str) -> str:
        return words.json_text.format("g.content", name)

    return f"""
SELECT organisation, dataset, kind, created, created_epoch, monitor_id, monitor_name, severity, run_id,
    anomalies, period_start, period_end, deliveries, delivered, failed, attempts,
    CASE WHEN deliveries = 0 THEN 'none' WHEN failed > 0 THEN 'failed' WHEN delivered < deliveries THEN 'pending'
        ELSE 'delivered' END AS state,
    delivered_at, last_error, dedup_key, content
FROM (
    SELECT d.organisation, d.dataset_id AS dataset, g.kind, {words.moment.format("g.created")} AS created,
        g.created / 1000000 AS created_epoch, g.monitor_id, {field("monitor_name")} AS monitor_name, g.severity,
        g.run_id, CAST({field("anomaly_count")} AS BIGINT) AS anomalies,
        {words.period.format("start")} AS period_start, {words.period.format("end")} AS period_end,
        {_of_deliveries("count(*)")} AS deliveries,
        {_of_deliveries("count(CASE y.state WHEN 'delivered' THEN 1 END)")} AS delivered,
        {_of_deliveries("count(CASE y.state WHEN 'failed' THEN 1 END)")} AS failed,
        {_of_deliveries("coalesce(CAST(sum(y.attempts) AS BIGINT), 0)")} AS attempts,
        {_of_deliveries(words.moment.format("max(y.delivered_at)"))} AS delivered_at,
        {_of_deliveries("max(y.error)")} AS last_error,
        g.dedup_key, g.content
    FROM dataset d CROSS JOIN digest g
    WHERE g.dataset = d.pk
) AS told
"""  # noqa: S608 - nothing in it comes from outside


def _of_deliveries(expression: str) -> str:
    return f"(SELECT {expression} FROM delivery y WHERE y.digest = g.pk)"  # noqa: S608


def _granularity(words: _Dialect) -> str:
    """The length of a dataset's buckets, as its newest description says."""
    return (
        f"(SELECT {words.json_text.format('v.content', 'granularity')} FROM document_version v "  # noqa: S608
        "WHERE v.dataset = d.pk AND v.kind = 'dataset' ORDER BY v.version DESC LIMIT 1)"
    )
