"""groups of runs (sweeps, scoreboards), datasets shared with classes, where base models come from

As in 0002, no column that is added has a foreign key: SQLite could then drop it only by
rebuilding its table.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

JSON_VALUE = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
MOMENT = sa.DateTime(timezone=True)


def _text(name: str, length: int, default: str = "") -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=False, server_default=default)


def added() -> dict[str, list[sa.Column[Any]]]:
    """The new columns of each table, made anew, as a column belongs to one table object."""
    return {
        "runs": [
            sa.Column("group_id", sa.Uuid(), nullable=True),
            sa.Column("group_place", sa.Integer(), nullable=True),
        ],
        "datasets": [
            sa.Column("version", sa.Integer(), nullable=False, server_default="1"),
            _text("file_name", 255),
            _text("file_format", 16, "jsonl"),
        ],
        "language_models": [
            _text("origin", 16, "folder"),
            sa.Column("hub_id", sa.String(200), nullable=True),
            _text("revision", 64),
            _text("license", 120),
            sa.Column("retired_at", MOMENT, nullable=True),
        ],
    }


def upgrade() -> None:
    for table, columns in added().items():
        for column in columns:
            op.add_column(table, column)
    op.create_index("ix_runs_group_id_group_place", "runs", ["group_id", "group_place"])
    op.execute("UPDATE language_models SET origin = 'bundled' WHERE bundled")
    op.create_table(
        "run_groups",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("idempotency_key", sa.String(128), nullable=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("lab", sa.String(64), nullable=True),
        sa.Column("spec", JSON_VALUE, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("cancelled_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_run_groups"),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name="fk_run_groups_owner_id_users"),
        sa.UniqueConstraint(
            "owner_id", "idempotency_key", name="uq_run_groups_owner_id_idempotency_key"
        ),
    )
    op.create_index("ix_run_groups_owner_id", "run_groups", ["owner_id"])
    op.create_table(
        "dataset_shares",
        sa.Column("dataset_id", sa.Uuid(), nullable=False),
        sa.Column("classroom_id", sa.Uuid(), nullable=False),
        sa.Column("shared_by_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("dataset_id", "classroom_id", name="pk_dataset_shares"),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["datasets.id"],
            name="fk_dataset_shares_dataset_id_datasets",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["classroom_id"],
            ["classrooms.id"],
            name="fk_dataset_shares_classroom_id_classrooms",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["shared_by_id"], ["users.id"], name="fk_dataset_shares_shared_by_id_users"
        ),
    )
    op.create_index("ix_dataset_shares_classroom_id", "dataset_shares", ["classroom_id"])


def downgrade() -> None:
    op.drop_table("dataset_shares")
    op.drop_table("run_groups")
    op.drop_index("ix_runs_group_id_group_place", "runs")
    for table, columns in added().items():
        for column in reversed(columns):
            op.drop_column(table, column.name)
