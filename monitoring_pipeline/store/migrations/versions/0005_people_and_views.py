"""What people say about incidents, how digests reach them, and views with plain names for SQL users."""

from __future__ import annotations

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the tables, columns and views of this release."""
