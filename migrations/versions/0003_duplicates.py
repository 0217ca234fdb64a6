"""Find duplicates with tiers, keepers and sides; forget marks of pictures that changed."""

from alembic import op

from imgdb.schema import run_frozen

revision = "0003_duplicates"
down_revision = "0002_quicker_import"


def upgrade() -> None:
    run_frozen(op, __file__, "up")


def downgrade() -> None:
    run_frozen(op, __file__, "down")
