"""Import new rows by plain INSERT."""

from alembic import op

from imgdb.schema import run_frozen

revision = "0002_quicker_import"
down_revision = "0001_initial"


def upgrade() -> None:
    run_frozen(op, __file__, "up")


def downgrade() -> None:
    run_frozen(op, __file__, "down")
