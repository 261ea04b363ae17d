"""Products that are learnt, and their pictures."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002_learn"
down_revision = "outputs"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_SHA256 = sa.String(64)
_TIME = sa.String(32)


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "learnings",
        sa.Column("id", _NUMBER, primary_key=True),
        sa.Column("folder", sa.String(32), nullable=False, unique=True),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("preset", sa.String(20), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("created", _TIME, nullable=False),
        sa.Column("actor", sa.String(100), nullable=False),
        sa.Column("asked", _TIME),
        sa.Column("starts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("progress", sa.JSON()),
        sa.Column("trouble", sa.Text(), nullable=False, server_default=""),
        sa.Column("result", sa.JSON()),
        sa.Column("placed", _TIME),
        sqlite_autoincrement=True,
    )
    op.create_index("learnings_state", "learnings", ["state", "asked"])
    op.create_table(
        "learn_pictures",
        sa.Column("id", _NUMBER, primary_key=True),
        sa.Column("learning", _NUMBER, sa.ForeignKey("learnings.id"), nullable=False),
        sa.Column("file", sa.String(40), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("picture", _SHA256, nullable=False),
        sa.Column("pixels", _SHA256, nullable=False),
        sa.Column("bytes", _NUMBER, nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("time", _TIME, nullable=False),
        sa.Column("actor", sa.String(100), nullable=False),
        sa.Column("heat", sa.LargeBinary()),
        sa.UniqueConstraint("learning", "pixels", name="learn_pictures_once"),
        sqlite_autoincrement=True,
    )
