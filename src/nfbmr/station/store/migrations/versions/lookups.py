"""An index for each filter; part ids sort by their bytes; requests that may come again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "lookups"
down_revision = "0002_learn"
branch_labels = None
depends_on = None

_CHANGED = {
    "inspections_time": ["time", "verdict"],
    "inspections_file": ["file", "bytes"],
}
_NEW = {
    "inspections_model_time": ["model", "time", "verdict"],
    "inspections_verdict_id": ["verdict", "id"],
    "inspections_label": ["label", "id"],
    "inspections_label_model": ["label", "model", "verdict"],
}


def upgrade() -> None:
    """Adds them."""
    op.add_column("inspections", sa.Column("request", sa.String(64)))
    op.create_index("inspections_request", "inspections", ["request"], unique=True)
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column("inspections", "part_id", type_=sa.String(200, collation="C"))
    for name in _CHANGED:
        op.drop_index(name, "inspections")
    for name, columns in (_CHANGED | _NEW).items():
        op.create_index(name, "inspections", columns)
