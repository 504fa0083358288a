"""The tables of the store, the same on SQLite and PostgreSQL.

Everything hangs on `dataset`, which carries the organisation; segments and column names are rows of their own, so
that a profile row holds three small integers instead of texts. Times are `int64` microseconds since 1970 in UTC,
JSON is text, counts inside `profile` are doubles like every other metric. The migrations under `migrations/` build
the same tables step by step; a test compares the two.

The key of `profile` starts with the bucket: writing one bucket appends to the end of the tree, reading a window for
every column and segment is one range scan, and a few chosen columns are found by seeking bucket by bucket. With the
column first a write touches as many pages as there are columns (1,000 columns × 90 buckets: 33 ms instead of 5 ms a
bucket), and reading is no faster.
"""

from __future__ import annotations

import sqlalchemy as sa

SCHEMA_VERSION = "0005"
"""The newest migration. Versions are four digits and sort as text."""

VERSION_TABLE = "monitoring_schema_version"
"""Alembic's version table, under a name of ours: Dagster may keep its own `alembic_version` in the same database."""

BASE_GRAIN = "base"
"""Grain of profiles at the dataset's own granularity."""

PROFILE_SCALARS: tuple[str, ...] = (
    "n",
    "n_null",
    "n_nan",
    "n_pos_inf",
    "n_neg_inf",
    "n_true",
    "t_bool",
    "t_integral",
    "t_fractional",
    "t_string",
    "t_object",
    "n_columns",
    "m_n",
    "mean",
    "m2",
    "min",
    "max",
    "unique_est",
    "unique_lower",
    "unique_upper",
    "quantile_5",
    "quantile_25",
    "quantile_50",
    "quantile_75",
    "quantile_90",
    "quantile_95",
    "quantile_99",
)
"""The scalar columns of `profile`: those of `profiling.profile.SCALARS`, spelled out so that opening the store loads
no sketch library. A test compares the two; adding one needs a migration."""

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

_Pk = sa.BigInteger().with_variant(
    sa.Integer(), "sqlite"
)  # SQLite numbers only an INTEGER PRIMARY KEY by itself
CURRENT = sa.literal_column("'current'", sa.Text())
"""Literal, because SQLite uses a partial index only for a condition that it can read when it plans."""


def _pk() -> sa.Column[int]:
    return sa.Column("pk", _Pk, primary_key=True)


def _dataset(*, primary_key: bool = False) -> sa.Column[int]:
    return sa.Column("dataset", _Pk, sa.ForeignKey("dataset.pk"), primary_key=primary_key, nullable=False)


def _text(name: str, *, primary_key: bool = False, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), primary_key=primary_key, nullable=nullable)


def _time(name: str, *, primary_key: bool = False, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), primary_key=primary_key, nullable=nullable, autoincrement=False)


def _count(name: str, *, primary_key: bool = False, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), primary_key=primary_key, nullable=nullable, autoincrement=False)


def _json(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.JSON(), nullable=False)


dataset = sa.Table(
    "dataset",
    metadata,
    _pk(),
    _text("organisation"),
    _text("dataset_id"),
    _time("registered_at"),
    sa.Column("revision", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
    sa.UniqueConstraint("organisation", "dataset_id"),
)

segment = sa.Table(
    "segment", metadata, _pk(), _dataset(), _text("key"), sa.UniqueConstraint("dataset", "key")
)

column_name = sa.Table(
    "column_name", metadata, _pk(), _dataset(), _text("name"), sa.UniqueConstraint("dataset", "name")
)


def _profile_key() -> list[sa.Column[int] | sa.Column[str]]:
    return [
        _dataset(primary_key=True),
        _text("grain", primary_key=True),
        _time("bucket", primary_key=True),
        sa.Column("segment", _Pk, sa.ForeignKey("segment.pk"), primary_key=True, nullable=False),
        sa.Column("column", _Pk, sa.ForeignKey("column_name.pk"), primary_key=True, nullable=False),
    ]


profile = sa.Table(
    "profile",
    metadata,
    *_profile_key(),
    *(sa.Column(name, sa.Double(), nullable=True) for name in PROFILE_SCALARS),
    sqlite_with_rowid=False,
)

profile_sketch = sa.Table(
    "profile_sketch",
    metadata,
    *_profile_key(),
    sa.Column("components", sa.LargeBinary(), nullable=False),
    comment="Compressed sketches, apart from the scalars so that a series scan never reads their pages",
)

batch = sa.Table(
    "batch",
    metadata,
    _dataset(primary_key=True),
    _time("bucket", primary_key=True),
    sa.Column("segment", _Pk, sa.ForeignKey("segment.pk"), primary_key=True, nullable=False),
    _count("rows"),
    _count("files"),
    _time("first_upload"),
    _time("last_upload"),
    _count("version"),
    _text("fingerprint"),
    _time("profiled_at"),
    _json("quality"),
    sqlite_with_rowid=False,
)


def _version_key() -> list[sa.Column[int] | sa.Column[str]]:
    return [
        _dataset(primary_key=True),
        _time("bucket", primary_key=True),
        _count("version", primary_key=True),
        sa.Column("segment", _Pk, sa.ForeignKey("segment.pk"), primary_key=True, nullable=False),
    ]


superseded_batch = sa.Table(
    "superseded_batch",
    metadata,
    *_version_key(),
    _count("rows"),
    _count("files"),
    _time("first_upload"),
    _time("last_upload"),
    _text("fingerprint"),
    _time("profiled_at"),
    _json("quality"),
    _time("superseded_at"),
    comment="What `batch` said of a bucket before other data came, so that a verdict of then can be replayed",
    sqlite_with_rowid=False,
)

superseded_profile = sa.Table(
    "superseded_profile",
    metadata,
    *_version_key(),
    sa.Column("column", _Pk, sa.ForeignKey("column_name.pk"), primary_key=True, nullable=False),
    *(sa.Column(name, sa.Double(), nullable=True) for name in PROFILE_SCALARS),
    sa.Column("components", sa.LargeBinary(), nullable=True),
    comment="Profiles of those versions, sketches included",
)

changed_bucket = sa.Table(
    "changed_bucket",
    metadata,
    _dataset(primary_key=True),
    _time("bucket", primary_key=True),
    _count("revision"),
    comment="Buckets that were written since their roll-ups were made, and the dataset's revision by then",
    sqlite_with_rowid=False,
)

rollup = sa.Table(
    "rollup",
    metadata,
    _dataset(primary_key=True),
    _text("grain", primary_key=True),
    _time("bucket", primary_key=True),
    _count("revision"),
    _count("batches"),
    _time("made_at"),
    comment="Blocks of coarser grains that `profile` holds, as of which revision of the dataset",
    sqlite_with_rowid=False,
)

forgotten_bucket = sa.Table(
    "forgotten_bucket",
    metadata,
    _dataset(primary_key=True),
    _time("bucket", primary_key=True),
    _text("cause"),
    _time("forgotten_at"),
    comment="Buckets whose profiles were removed on purpose: by retention, which keeps batch and roll-ups, or by a person",
    sqlite_with_rowid=False,
)

reference_profile = sa.Table(
    "reference_profile",
    metadata,
    _dataset(primary_key=True),
    _text("profile_id", primary_key=True),
    sa.Column("segment", _Pk, sa.ForeignKey("segment.pk"), primary_key=True, nullable=False),
    sa.Column("column", _Pk, sa.ForeignKey("column_name.pk"), primary_key=True, nullable=False),
    _time("created"),
    sa.Column("profile", sa.LargeBinary(), nullable=False),
)

source_file = sa.Table(
    "source_file",
    metadata,
    _dataset(primary_key=True),
    _text("path", primary_key=True),
    _json("entry"),
)

entity_schema = sa.Table(
    "entity_schema",
    metadata,
    _dataset(primary_key=True),
    _json("content"),
    _time("updated"),
)

analyzer_result = sa.Table(
    "analyzer_result",
    metadata,
    _pk(),
    _text("analysis_id"),
    _text("result_id"),
    _text("run_id"),
    _text("analyzer_id"),
    _text("analyzer_version"),
    _json("monitor_ids"),
    _dataset(),
    _text("segment"),
    _text("column"),
    _time("bucket"),
    _time("created"),
    _text("granularity"),
    _text("target_level"),
    _text("metric", nullable=True),
    _text("analyzer_type"),
    _text("algorithm", nullable=True),
    _text("algorithm_mode", nullable=True),
    _count("anomaly_count", nullable=True),
    _text("failure_type", nullable=True),
    _text("failure_explanation", nullable=True),
    _count("target_count", nullable=True),
    _count("target_batches_with_profile_count", nullable=True),
    _count("baseline_count", nullable=True),
    _count("baseline_batches_with_profile_count", nullable=True),
    _count("expected_baseline_count", nullable=True),
    _count("minimum_batch_size", nullable=True),
    sa.Column("is_rollup", sa.Boolean(), nullable=True),
    sa.Column("segment_weight", sa.Double(), nullable=True),
    _text("reference_profile_id", nullable=True),
    _count("profile_version", nullable=True),
    sa.Column("state", sa.Text(), nullable=False),
    sa.Column("stale", sa.Boolean(), nullable=False),
    sa.Column("user_initiated_backfill", sa.Boolean(), nullable=False),
    *(
        sa.Column(name, sa.Double(), nullable=True)
        for name in (
            "metric_value",
            "calculated_upper",
            "calculated_lower",
            "absolute_upper",
            "absolute_lower",
            "factor",
        )
    ),
    _text("threshold_type", nullable=True),
    *(
        sa.Column(name, sa.Double(), nullable=True)
        for name in ("drift_value", "drift_threshold", "diff_value", "diff_threshold")
    ),
    _text("diff_mode", nullable=True),
    _json("details"),
    sa.Index(
        "uq_analyzer_result_current",
        "dataset",
        "bucket",
        "analyzer_id",
        "analyzer_version",
        "segment",
        "column",
        unique=True,
        sqlite_where=sa.text("state = 'current'"),
        postgresql_where=sa.text("state = 'current'"),
    ),
    sa.Index("ix_analyzer_result_run", "dataset", "run_id"),
    sa.Index("ix_analyzer_result_analysis", "dataset", "analysis_id"),
    sa.Index(
        "ix_analyzer_result_stale",
        "dataset",
        "bucket",
        sqlite_where=sa.text("stale = 1 AND state = 'current'"),
        postgresql_where=sa.text("stale AND state = 'current'"),
    ),
    sa.Index(
        "ix_analyzer_result_anomaly",
        "dataset",
        "bucket",
        sqlite_where=sa.text("state = 'current' AND anomaly_count > 0"),
        postgresql_where=sa.text("state = 'current' AND anomaly_count > 0"),
    ),
)

evaluation = sa.Table(
    "evaluation",
    metadata,
    _dataset(primary_key=True),
    _time("bucket", primary_key=True),
    _text("analyzer_id", primary_key=True),
    _text("analyzer_version", primary_key=True),
    _time("evaluated_at"),
    comment="Which analyzer has judged which bucket, also where it had nothing to say and left no result",
    sqlite_with_rowid=False,
)

analysis_run = sa.Table(
    "analysis_run",
    metadata,
    _dataset(primary_key=True),
    _text("run_id", primary_key=True),
    _time("written_at"),
    _time("told_at", nullable=True),
    comment="Runs that left results, and whether monitors have spoken about them: a run that died before is told later",
)

failed_work = sa.Table(
    "failed_work",
    metadata,
    _dataset(primary_key=True),
    _time("bucket", primary_key=True),
    _text("work"),
    _count("attempts"),
    _text("run_id"),
    _text("error"),
    _time("failed_at"),
    comment="Buckets on which runs failed, and for what work: it is given up after some attempts",
)

digest = sa.Table(
    "digest",
    metadata,
    _pk(),
    _dataset(),
    _text("dedup_key"),
    _text("monitor_id"),
    _text("run_id", nullable=True),
    _count("severity", nullable=True),
    _time("created"),
    _json("content"),
    sa.Column("kind", sa.Text(), nullable=False, server_default=sa.text("'digest'")),
    sa.UniqueConstraint("dataset", "dedup_key"),
    sa.Index("ix_digest_run", "dataset", "run_id"),
)

digest_incident = sa.Table(
    "digest_incident",
    metadata,
    sa.Column(
        "digest", _Pk, sa.ForeignKey("digest.pk", ondelete="CASCADE"), primary_key=True, nullable=False
    ),
    _text("incident_id", primary_key=True),
    _dataset(),
    _time("until", nullable=True),
    sa.Index("ix_digest_incident_incident", "dataset", "incident_id"),
    comment="Which message speaks of which incident, and the incident's end then: later ones belong into its thread",
    sqlite_with_rowid=False,
)

delivery = sa.Table(
    "delivery",
    metadata,
    _pk(),
    sa.Column("digest", _Pk, sa.ForeignKey("digest.pk"), nullable=False),
    _text("channel"),
    _text("state"),
    _count("attempts"),
    _time("next_attempt"),
    _time("claimed_until", nullable=True),
    _time("delivered_at", nullable=True),
    _text("receipt", nullable=True),
    _text("error", nullable=True),
    sa.UniqueConstraint("digest", "channel"),
    sa.Index("ix_delivery_due", "state", "next_attempt"),
)

channel_state = sa.Table(
    "channel_state",
    metadata,
    _text("channel", primary_key=True),
    _time("failing_since", nullable=True),
    _count("failures"),
    _time("rested_at", nullable=True),
    _time("rests_until", nullable=True),
    _text("error", nullable=True),
    _text("outage", nullable=True),
    comment="Channels that have refused messages: since when, until when they are left alone, and the key of the message that told of it",
    sqlite_with_rowid=False,
)

incident = sa.Table(
    "incident",
    metadata,
    _dataset(primary_key=True),
    _text("incident_id", primary_key=True),
    _text("status"),
    _count("severity"),
    _text("title"),
    _time("start_time"),
    _time("end_time"),
    _time("opened"),
    _time("updated"),
    _time("resolved", nullable=True),
    _json("content"),
    _time("reopened_at", nullable=True),
    _time("acknowledged_at", nullable=True),
    _text("acknowledged_by", nullable=True),
    _text("assignee", nullable=True),
    _time("snoozed_until", nullable=True),
    _text("verdict", nullable=True),
    _count("quiet_severity", nullable=True),
    sa.Column("muted", sa.JSON(none_as_null=True), nullable=True),
    sa.Index("ix_incident_status", "status", "resolved"),
)

incident_event = sa.Table(
    "incident_event",
    metadata,
    _pk(),
    _dataset(),
    _text("incident_id"),
    _time("moment"),
    _text("author"),
    _text("action"),
    _text("note", nullable=True),
    _json("details"),
    sa.Index("ix_incident_event_incident", "dataset", "incident_id"),
    comment="What people did about incidents: who, when, what; never changed, only added to",
)

bad_bucket = sa.Table(
    "bad_bucket",
    metadata,
    _pk(),
    _dataset(),
    _time("bucket"),
    _text("incident_id"),
    _time("since"),
    _time("until", nullable=True),
    sa.Index("ix_bad_bucket_bucket", "dataset", "bucket"),
    comment="Buckets that a person called bad, from when until when: baselines leave them out for as long",
)

held_anomaly = sa.Table(
    "held_anomaly",
    metadata,
    _dataset(primary_key=True),
    _text("monitor_id", primary_key=True),
    _text("analysis_id", primary_key=True),
    _time("bucket"),
    _time("found"),
    comment="Anomalies that a monitor tells of when its schedule comes; gone once a digest holds them",
    sqlite_with_rowid=False,
)

monitor_spoken = sa.Table(
    "monitor_spoken",
    metadata,
    _dataset(primary_key=True),
    _text("monitor_id", primary_key=True),
    _time("moment"),
    comment="The last moment of each monitor's schedule that has passed, whether there was anything to tell or not",
    sqlite_with_rowid=False,
)

report_sent = sa.Table(
    "report_sent",
    metadata,
    _text("report", primary_key=True),
    _text("channel", primary_key=True),
    _time("moment"),
    _text("receipt"),
    comment="Which report has gone to which channel, so that it does not go there twice",
    sqlite_with_rowid=False,
)

feedback = sa.Table(
    "feedback",
    metadata,
    _pk(),
    _dataset(),
    _text("analysis_id"),
    _text("author"),
    _text("verdict"),
    _text("note", nullable=True),
    _time("created"),
    sa.Index("ix_feedback_analysis", "dataset", "analysis_id"),
)

document_version = sa.Table(
    "document_version",
    metadata,
    _dataset(primary_key=True),
    _text("kind", primary_key=True),
    sa.Column("version", sa.BigInteger(), primary_key=True, autoincrement=False),
    _text("hash"),
    _text("author"),
    _text("origin"),
    _time("created"),
    _text("diff"),
    _json("content"),
)

upload = sa.Table(
    "upload",
    metadata,
    _pk(),
    _dataset(),
    _text("name"),
    _text("sha256"),
    _count("size"),
    _text("state"),
    _text("error", nullable=True),
    _time("received"),
    sa.UniqueConstraint("dataset", "sha256"),
)

api_key = sa.Table(
    "api_key",
    metadata,
    _pk(),
    _text("organisation"),
    _text("name"),
    _text("hash"),
    _json("scopes"),
    _time("created"),
    _time("expires", nullable=True),
    _time("revoked", nullable=True),
    sa.UniqueConstraint("hash"),
)

audit = sa.Table(
    "audit",
    metadata,
    _pk(),
    _text("organisation"),
    _time("moment"),
    _text("actor"),
    _text("action"),
    _json("details"),
    sa.Index("ix_audit_moment", "organisation", "moment"),
)
