"""Everything that imgdb had before its revisions were squashed into this one."""

from alembic import op

from imgdb.schema import run_frozen

revision = "0001_initial"
down_revision = None


def upgrade() -> None:
    run_frozen(op, __file__, "up")


def downgrade() -> None:
    run_frozen(op, __file__, "down")
