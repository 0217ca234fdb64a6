"""Search for a picture in any orientation, and collapse what floods the answer."""

from alembic import op

from imgdb.schema import run_frozen

revision = "0004_orientations"
down_revision = "0003_duplicates"


def upgrade() -> None:
    run_frozen(op, __file__, "up")


def downgrade() -> None:
    run_frozen(op, __file__, "down")
