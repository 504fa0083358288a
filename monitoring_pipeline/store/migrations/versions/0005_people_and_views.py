"""What people say about incidents, how digests reach them, and views with plain names for SQL users."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from monitoring_pipeline.store import views

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the tables, columns and views of this release."""
    _add_people()
    _add_delivery()
    _add_held_back()
    _add_views()


def _add_people() -> None:
    """What people say about an incident, with its history, and the buckets that they called bad."""
    for name in ("reopened_at", "acknowledged_at", "snoozed_until", "quiet_severity"):
        op.add_column("incident", sa.Column(name, sa.BigInteger(), autoincrement=False, nullable=True))
    for name in ("acknowledged_by", "assignee", "verdict"):
        op.add_column("incident", sa.Column(name, sa.Text(), nullable=True))
    op.add_column("incident", sa.Column("muted", sa.JSON(), nullable=True))
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "incident_event",
        sa.Column("pk", number, nullable=False),
        sa.Column("dataset", number, nullable=False),
        sa.Column("incident_id", sa.Text(), nullable=False),
        sa.Column("moment", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["dataset"], ["dataset.pk"], name=op.f("fk_incident_event_dataset")),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_incident_event")),
        comment="What people did about incidents: who, when, what; never changed, only added to",
    )
    op.create_index("ix_incident_event_incident", "incident_event", ["dataset", "incident_id"], unique=False)
    op.create_table(
        "bad_bucket",
        sa.Column("pk", number, nullable=False),
        sa.Column("dataset", number, nullable=False),
        sa.Column("bucket", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("incident_id", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("until", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.ForeignKeyConstraint(["dataset"], ["dataset.pk"], name=op.f("fk_bad_bucket_dataset")),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_bad_bucket")),
        comment="Buckets that a person called bad, from when until when: baselines leave them out for as long",
    )
    op.create_index("ix_bad_bucket_bucket", "bad_bucket", ["dataset", "bucket"], unique=False)


def _add_delivery() -> None:
    """Kinds of messages, which message speaks of which incident, and the state of each channel."""
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("digest", sa.Column("kind", sa.Text(), nullable=False, server_default=sa.text("'digest'")))
    op.create_table(
        "digest_incident",
        sa.Column("digest", number, nullable=False),
        sa.Column("incident_id", sa.Text(), nullable=False),
        sa.Column("dataset", number, nullable=False),
        sa.Column("until", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.ForeignKeyConstraint(
            ["digest"], ["digest.pk"], name=op.f("fk_digest_incident_digest"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["dataset"], ["dataset.pk"], name=op.f("fk_digest_incident_dataset")),
        sa.PrimaryKeyConstraint("digest", "incident_id", name=op.f("pk_digest_incident")),
        comment="Which message speaks of which incident, and the incident's end then: later ones belong into its thread",
        sqlite_with_rowid=False,
    )
    op.create_index("ix_incident_status", "incident", ["status", "resolved"], unique=False)
    op.create_index(
        "ix_digest_incident_incident", "digest_incident", ["dataset", "incident_id"], unique=False
    )
    op.create_table(
        "channel_state",
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("failing_since", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("failures", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("rested_at", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("rests_until", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("outage", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("channel", name=op.f("pk_channel_state")),
        comment="Channels that have refused messages: since when, until when they are left alone, and the key of the message that told of it",
        sqlite_with_rowid=False,
    )


def _add_held_back() -> None:
    """Anomalies that wait for the schedule of a monitor, up to when each has spoken, and reports that were sent."""
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "held_anomaly",
        sa.Column("dataset", number, nullable=False),
        sa.Column("monitor_id", sa.Text(), nullable=False),
        sa.Column("analysis_id", sa.Text(), nullable=False),
        sa.Column("bucket", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("found", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["dataset"], ["dataset.pk"], name=op.f("fk_held_anomaly_dataset")),
        sa.PrimaryKeyConstraint("dataset", "monitor_id", "analysis_id", name=op.f("pk_held_anomaly")),
        comment="Anomalies that a monitor tells of when its schedule comes; gone once a digest holds them",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "monitor_spoken",
        sa.Column("dataset", number, nullable=False),
        sa.Column("monitor_id", sa.Text(), nullable=False),
        sa.Column("moment", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["dataset"], ["dataset.pk"], name=op.f("fk_monitor_spoken_dataset")),
        sa.PrimaryKeyConstraint("dataset", "monitor_id", name=op.f("pk_monitor_spoken")),
        comment="The last moment of each monitor's schedule that has passed, whether there was anything to tell or not",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "report_sent",
        sa.Column("report", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("moment", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("receipt", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("report", "channel", name=op.f("pk_report_sent")),
        comment="Which report has gone to which channel, so that it does not go there twice",
        sqlite_with_rowid=False,
    )


def _add_views() -> None:
    """Views for people, and the indexes that they seek by."""
    if not sa.inspect(op.get_bind()).has_table("analysis_run"):  # the very first stores were made without it
        op.create_table(
            "analysis_run",
            sa.Column("dataset", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
            sa.Column("run_id", sa.Text(), nullable=False),
            sa.Column("written_at", sa.BigInteger(), autoincrement=False, nullable=False),
            sa.Column("told_at", sa.BigInteger(), autoincrement=False, nullable=True),
            sa.ForeignKeyConstraint(["dataset"], ["dataset.pk"], name=op.f("fk_analysis_run_dataset")),
            sa.PrimaryKeyConstraint("dataset", "run_id", name=op.f("pk_analysis_run")),
            comment="Runs that left results, and whether monitors have spoken about them: a run that died before is told later",
        )
    op.create_index(
        "ix_analyzer_result_anomaly",
        "analyzer_result",
        ["dataset", "bucket"],
        unique=False,
        sqlite_where=sa.text("state = 'current' AND anomaly_count > 0"),
        postgresql_where=sa.text("state = 'current' AND anomaly_count > 0"),
    )
    op.create_index("ix_digest_run", "digest", ["dataset", "run_id"], unique=False)
    views.create_views(op.get_bind())
