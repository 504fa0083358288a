"""Roll-ups, what retention and people have removed, and which buckets have changed since their roll-ups were made."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add `changed_bucket`, `rollup` and `forgotten_bucket`; every bucket that is there has yet to be rolled up."""
    op.create_table(
        "changed_bucket",
        *_key("bucket"),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["dataset"], ["dataset.pk"], name=op.f("fk_changed_bucket_dataset")),
        sa.PrimaryKeyConstraint("dataset", "bucket", name=op.f("pk_changed_bucket")),
        comment="Buckets that were written since their roll-ups were made, and the dataset's revision by then",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rollup",
        *_key("grain", "bucket"),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("batches", sa.BigInteger(), nullable=False),
        sa.Column("made_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["dataset"], ["dataset.pk"], name=op.f("fk_rollup_dataset")),
        sa.PrimaryKeyConstraint("dataset", "grain", "bucket", name=op.f("pk_rollup")),
        comment="Blocks of coarser grains that `profile` holds, as of which revision of the dataset",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "forgotten_bucket",
        *_key("bucket"),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("forgotten_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["dataset"], ["dataset.pk"], name=op.f("fk_forgotten_bucket_dataset")),
        sa.PrimaryKeyConstraint("dataset", "bucket", name=op.f("pk_forgotten_bucket")),
        comment="Buckets whose profiles were removed on purpose: by retention, which keeps batch and roll-ups, or by a person",
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO changed_bucket (dataset, bucket, revision) "
        "SELECT DISTINCT batch.dataset, batch.bucket, dataset.revision "
        "FROM batch JOIN dataset ON dataset.pk = batch.dataset"
    )


def _key(*names: str) -> list[sa.Column[int] | sa.Column[str]]:
    return [
        sa.Column("dataset", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        *(
            sa.Column(name, sa.Text(), nullable=False)
            if name == "grain"
            else sa.Column(name, sa.BigInteger(), autoincrement=False, nullable=False)
            for name in names
        ),
    ]
