"""Outputs with their outbox, and sources of pictures."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "outputs"
down_revision = "0001"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.String(32)


def upgrade() -> None:
    """Makes their tables, and what tells one arrival of a picture from another."""
    op.add_column("inspections", sa.Column("arrival", sa.String(64)))
    op.create_index("inspections_arrival", "inspections", ["arrival"], unique=True)
    op.create_index("inspections_source", "inspections", ["source", "id"])
    op.create_table(
        "outputs",
        sa.Column("name", sa.String(40), primary_key=True),
        sa.Column("tells", sa.String(10), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("delivered_at", _TIME),
        sa.Column("failing", sa.Boolean(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("error_at", _TIME),
        sa.Column("given_up", _NUMBER, nullable=False),
    )
    op.create_table(
        "outbox",
        sa.Column("number", _NUMBER, primary_key=True),
        sa.Column("output", sa.String(40), nullable=False),
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("time", _TIME, nullable=False),
        sa.Column("topic", sa.String(200), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("refused", sa.Boolean(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("outbox_waiting", "outbox", ["output", "refused", "number"])
    op.create_index("outbox_time", "outbox", ["time"])
    op.create_table(
        "sources",
        sa.Column("name", sa.String(40), primary_key=True),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("failing", sa.Boolean(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("error_at", _TIME),
    )
