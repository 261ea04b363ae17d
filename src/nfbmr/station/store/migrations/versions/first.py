"""The tables as they first were."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_SHA256 = sa.String(64)
_TIME = sa.String(32)


def upgrade() -> None:
    """Makes them."""
    op.create_table(
        "calibrations",
        sa.Column("hash", _SHA256, primary_key=True),
        sa.Column("time", _TIME, nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
    )
    op.create_table(
        "facts",
        sa.Column("key", sa.String(40), primary_key=True),
        sa.Column("value", sa.Text(), nullable=False),
    )
    _inspections()
    op.create_table(
        "heatmaps",
        sa.Column("inspection", _NUMBER, sa.ForeignKey("inspections.id"), primary_key=True),
        sa.Column("png", sa.LargeBinary(), nullable=False),
    )
    _events()


def _inspections() -> None:
    op.create_table(
        "inspections",
        sa.Column("id", _NUMBER, primary_key=True),
        sa.Column("time", _TIME, nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("product", sa.Text(), nullable=False),
        sa.Column("part_id", sa.String(200), nullable=False),
        sa.Column("source", sa.String(40), nullable=False),
        sa.Column("actor", sa.String(100), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("picture", _SHA256, nullable=False),
        sa.Column("file", sa.String(100)),
        sa.Column("bytes", _NUMBER, nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("bundle", _SHA256, nullable=False),
        sa.Column("calibration", _SHA256, sa.ForeignKey("calibrations.hash"), nullable=False),
        sa.Column("runtime", sa.String(100), nullable=False),
        sa.Column("threshold", sa.Float(), nullable=False),
        sa.Column("look_threshold", sa.Float(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("p_value", sa.Float(), nullable=False),
        sa.Column("verdict", sa.String(10), nullable=False),
        sa.Column("regions", sa.JSON(), nullable=False),
        sa.Column("milliseconds", sa.Float(), nullable=False),
        sa.Column("label", sa.String(10)),
        sa.Column("note", sa.Text(), nullable=False, server_default=""),
        sa.Column("labelled_by", sa.String(100)),
        sa.Column("labelled_at", _TIME),
        sqlite_autoincrement=True,
    )
    for name, columns in (
        ("inspections_time", ["time"]),
        ("inspections_model", ["model", "id"]),
        ("inspections_verdict", ["verdict", "label", "id"]),
        ("inspections_part", ["part_id"]),
        ("inspections_file", ["file"]),
    ):
        op.create_index(name, "inspections", columns)


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("time", _TIME, nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("subject", sa.String(200), nullable=False),
        sa.Column("actor", sa.String(100), nullable=False),
        sa.Column("old", sa.JSON()),
        sa.Column("new", sa.JSON()),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("previous", _SHA256, nullable=False),
        sa.Column("hash", _SHA256, nullable=False, unique=True),
    )
    op.create_index("events_subject", "events", ["kind", "subject", "number"])
