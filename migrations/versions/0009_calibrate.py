"""Measure what the hashes find, and set the default of a space."""

from alembic import op

from imgdb.schema import run_frozen

revision = "0009_calibrate"
down_revision = "0008_turned_copies"


def upgrade() -> None:
    run_frozen(op, __file__, "up")


def downgrade() -> None:
    run_frozen(op, __file__, "down")
