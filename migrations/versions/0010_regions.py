"""Store regions of images, and find the images that share them."""

from alembic import op

from imgdb.schema import run_frozen

revision = "0010_regions"
down_revision = "0009_calibrate"


def upgrade() -> None:
    run_frozen(op, __file__, "up")


def downgrade() -> None:
    run_frozen(op, __file__, "down")
