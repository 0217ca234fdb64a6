"""File what an import brings by COPY, and see more quickly what is worth compacting."""

from alembic import op

from imgdb.schema import run_frozen

revision = "0012_bulk_imports"
down_revision = "0011_lighter_searches"


def upgrade() -> None:
    run_frozen(op, __file__, "up")


def downgrade() -> None:
    run_frozen(op, __file__, "down")
