"""What the readiness sensor needs: a counter of changes per dataset, work that failed, and a way to stale results."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add `dataset.revision`, the table `failed_work` and the index of stale results."""
    op.add_column(
        "dataset", sa.Column("revision", sa.BigInteger(), server_default=sa.text("0"), nullable=False)
    )
    op.create_table(
        "failed_work",
        sa.Column("dataset", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("bucket", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("work", sa.Text(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("failed_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["dataset"], ["dataset.pk"], name=op.f("fk_failed_work_dataset")),
        sa.PrimaryKeyConstraint("dataset", "bucket", name=op.f("pk_failed_work")),
        comment="Buckets on which runs failed, and for what work: it is given up after some attempts",
    )
    op.create_index(
        "ix_analyzer_result_stale",
        "analyzer_result",
        ["dataset", "bucket"],
        unique=False,
        sqlite_where=sa.text("stale = 1 AND state = 'current'"),
        postgresql_where=sa.text("stale AND state = 'current'"),
    )
