"""What is watched of each part beside its score."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "looks"
down_revision = "lookups"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds it; rows from before have none."""
    op.add_column("inspections", sa.Column("looks", sa.JSON(none_as_null=True)))
