"""Profiles that other data has replaced are kept, so that a verdict of then can be replayed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_SCALARS = (
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


def upgrade() -> None:
    """Add `superseded_batch` and `superseded_profile`."""
    op.create_table(
        "superseded_batch",
        *_key(),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("first_upload", sa.BigInteger(), nullable=False),
        sa.Column("last_upload", sa.BigInteger(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("profiled_at", sa.BigInteger(), nullable=False),
        sa.Column("quality", sa.JSON(), nullable=False),
        sa.Column("superseded_at", sa.BigInteger(), nullable=False),
        *_references("superseded_batch"),
        sa.PrimaryKeyConstraint("dataset", "bucket", "version", "segment", name=op.f("pk_superseded_batch")),
        comment="What `batch` said of a bucket before other data came, so that a verdict of then can be replayed",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "superseded_profile",
        *_key(),
        sa.Column("column", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        *(sa.Column(name, sa.Double(), nullable=True) for name in _SCALARS),
        sa.Column("components", sa.LargeBinary(), nullable=True),
        *_references("superseded_profile"),
        sa.ForeignKeyConstraint(["column"], ["column_name.pk"], name=op.f("fk_superseded_profile_column")),
        sa.PrimaryKeyConstraint(
            "dataset", "bucket", "version", "segment", "column", name=op.f("pk_superseded_profile")
        ),
        comment="Profiles of those versions, sketches included",
    )


def _key() -> list[sa.Column[int]]:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return [
        sa.Column("dataset", number, nullable=False),
        sa.Column("bucket", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("segment", number, nullable=False),
    ]


def _references(table: str) -> list[sa.ForeignKeyConstraint]:
    return [
        sa.ForeignKeyConstraint(["dataset"], ["dataset.pk"], name=op.f(f"fk_{table}_dataset")),
        sa.ForeignKeyConstraint(["segment"], ["segment.pk"], name=op.f(f"fk_{table}_segment")),
    ]
