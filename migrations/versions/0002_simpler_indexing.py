"""Say index where SQL said file, guard collections in one way, and write each number once."""

from alembic import op

from imgdb.schema import run_frozen

revision = "0002_simpler_indexing"
down_revision = "0001_initial"


def upgrade() -> None:
    run_frozen(op, __file__, "up")


def downgrade() -> None:
    run_frozen(op, __file__, "down")
