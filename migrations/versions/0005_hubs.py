"""List the hashes that flood searches."""

from alembic import op

from imgdb.schema import run_frozen

revision = "0005_hubs"
down_revision = "0004_orientations"


def upgrade() -> None:
    run_frozen(op, __file__, "up")


def downgrade() -> None:
    run_frozen(op, __file__, "down")
