"""Search with many queries at once, and for the nearest of far queries, in less time."""

from alembic import op

from imgdb.schema import run_frozen

revision = "0006_quicker_searches"
down_revision = "0005_hubs"


def upgrade() -> None:
    run_frozen(op, __file__, "up")


def downgrade() -> None:
    run_frozen(op, __file__, "down")
