"""Note what became of a file when a plan was carried out."""

from alembic import op

from imgdb.schema import run_frozen

revision = "0006_note_file"
down_revision = "0005_hubs"


def upgrade() -> None:
    run_frozen(op, __file__, "up")


def downgrade() -> None:
    run_frozen(op, __file__, "down")
