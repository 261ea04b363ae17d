"""What Alembic runs: the migrations, on the connection that the station gives it."""

from __future__ import annotations

from alembic import context

from nfbmr.station.store.schema import METADATA


def run() -> None:
    """Runs those that are missing, within the transaction of whoever opened the connection."""
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=METADATA,
        render_as_batch=True,
    )
    with context.begin_transaction():
        context.run_migrations()


if __name__ == "env_py":  # as Alembic calls the file when it runs it
    run()
