"""Find turned and mirrored duplicates."""

from alembic import op

from imgdb.schema import run_frozen

revision = "0008_turned_copies"
down_revision = "0007_plans"


def upgrade() -> None:
    run_frozen(op, __file__, "up")


def downgrade() -> None:
    run_frozen(op, __file__, "down")
