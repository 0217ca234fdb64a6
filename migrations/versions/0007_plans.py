"""Propose to remove only what matches the keeper itself, and note what became of a file."""

from alembic import op

from imgdb.schema import run_frozen

revision = "0007_plans"
down_revision = "0006_quicker_searches"


def upgrade() -> None:
    run_frozen(op, __file__, "up")


def downgrade() -> None:
    run_frozen(op, __file__, "down")
