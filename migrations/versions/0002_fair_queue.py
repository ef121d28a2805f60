"""fair queue: what scheduling reads as columns, limits and lab sessions of classes, canaries

No column here has a foreign key: SQLite could then drop it only by rebuilding `runs`, and
the trigger that ends a run once would be lost with the old table.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

JSON_VALUE = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
MOMENT = sa.DateTime(timezone=True)


def added() -> dict[str, list[sa.Column[Any]]]:
    """The new columns of each table, made anew, as a column belongs to one table object."""
    return {
        "runs": [
            sa.Column("memory_bytes", sa.BigInteger(), nullable=False, server_default="0"),
            sa.Column("seconds_low", sa.Float(53), nullable=True),
            sa.Column("seconds_high", sa.Float(53), nullable=True),
            sa.Column("fingerprint", sa.String(64), nullable=True),
            sa.Column("same_as_id", sa.Uuid(), nullable=True),
            sa.Column("retry_of_id", sa.Uuid(), nullable=True),
            sa.Column("boosted_at", MOMENT, nullable=True),
        ],
        "devices": [
            sa.Column("fault", JSON_VALUE, nullable=True),
            sa.Column("canary_sent", sa.BigInteger(), nullable=False, server_default="0"),
            sa.Column("canary_heard", sa.BigInteger(), nullable=False, server_default="0"),
            sa.Column("canary_heard_at", MOMENT, nullable=True),
        ],
        "classrooms": [
            sa.Column("max_waiting", sa.Integer(), nullable=True),
            sa.Column("max_running", sa.Integer(), nullable=True),
            sa.Column("max_device_seconds", sa.Integer(), nullable=True),
            sa.Column("max_waiting_per_person", sa.Integer(), nullable=True),
            sa.Column("max_running_per_person", sa.Integer(), nullable=True),
            sa.Column("max_device_seconds_per_person", sa.Integer(), nullable=True),
            sa.Column("offers_same_work", sa.Boolean(), nullable=False, server_default=sa.true()),
        ],
    }


INDEXES = {
    "ix_runs_state_position": ("runs", ["state", "position"], False),
    "ix_runs_state_lab_classroom_id": ("runs", ["state", "lab", "classroom_id"], False),
    "ix_runs_owner_id_state_position": ("runs", ["owner_id", "state", "position"], False),
    "ix_runs_fingerprint": ("runs", ["fingerprint"], False),
    "ix_runs_same_as_id": ("runs", ["same_as_id"], False),
    "ix_runs_retry_of_id": ("runs", ["retry_of_id"], True),
    # The use of the last hours is summed up at each decision of the scheduler.
    "ix_attempts_finished_at": ("attempts", ["finished_at"], False),
}
# Runs of the previous release keep their estimates, where the scheduler now looks for them.
SQLITE_ESTIMATES = """
UPDATE runs SET memory_bytes = COALESCE(json_extract(estimate, '$.memory_bytes'), 0),
  seconds_low = json_extract(estimate, '$.seconds[0]'),
  seconds_high = json_extract(estimate, '$.seconds[1]')
"""
POSTGRES_ESTIMATES = """
UPDATE runs SET memory_bytes = COALESCE((estimate ->> 'memory_bytes')::double precision, 0),
  seconds_low = (estimate -> 'seconds' ->> 0)::double precision,
  seconds_high = (estimate -> 'seconds' ->> 1)::double precision
"""


def upgrade() -> None:
    for table, columns in added().items():
        for column in columns:
            op.add_column(table, column)
    for name, (table, columns_of_index, unique) in INDEXES.items():
        op.create_index(name, table, columns_of_index, unique=unique)
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    op.execute(SQLITE_ESTIMATES if is_sqlite else POSTGRES_ESTIMATES)
    op.create_table(
        "class_sessions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("classroom_id", sa.Uuid(), nullable=False),
        sa.Column("starts_at", MOMENT, nullable=False),
        sa.Column("ends_at", MOMENT, nullable=False),
        sa.Column("slice_seconds", sa.Integer(), nullable=False),
        sa.Column("created_by_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_class_sessions"),
        sa.ForeignKeyConstraint(
            ["classroom_id"],
            ["classrooms.id"],
            name="fk_class_sessions_classroom_id_classrooms",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["created_by_id"], ["users.id"], name="fk_class_sessions_created_by_id_users"
        ),
    )
    op.create_index("ix_class_sessions_classroom_id", "class_sessions", ["classroom_id"])
    op.create_index("ix_class_sessions_ends_at", "class_sessions", ["ends_at"])


def downgrade() -> None:
    op.drop_table("class_sessions")
    for name, (table, _columns, _unique) in INDEXES.items():
        op.drop_index(name, table)
    for table, columns in added().items():
        for column in reversed(columns):
            op.drop_column(table, column.name)
