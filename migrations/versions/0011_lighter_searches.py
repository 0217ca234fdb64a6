"""Ask for a few hundred hashes at once, and for the nearest in small spaces, in less time."""

from alembic import op

from imgdb.schema import run_frozen

revision = "0011_lighter_searches"
down_revision = "0010_regions"


def upgrade() -> None:
    run_frozen(op, __file__, "up")


def downgrade() -> None:
    run_frozen(op, __file__, "down")
