"""Bring the second engine: fresh hashes and flushes, spaces with owners, searches by rule."""

from alembic import op

from imgdb.schema import run_frozen

revision = "0002_second_engine"
down_revision = "0001_initial"


def upgrade() -> None:
    run_frozen(op, __file__, "up")


def downgrade() -> None:
    run_frozen(op, __file__, "down")
