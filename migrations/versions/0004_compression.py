"""further models and datasets of a run, keys of served models, deleted runs

As in 0002, no column that is added has a foreign key: SQLite could then drop it only by
rebuilding its table.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("runs", sa.Column("deleted_at", MOMENT, nullable=True))
    op.add_column("runs", sa.Column("deleted_by_id", sa.Uuid(), nullable=True))
    op.create_index("ix_runs_parent_run_id", "runs", ["parent_run_id"])
    op.create_table(
        "run_resources",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("model_id", sa.Uuid(), nullable=True),
        sa.Column("dataset_id", sa.Uuid(), nullable=True),
        sa.Column("used_run_id", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("run_id", "name", name="pk_run_resources"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_run_resources_run_id_runs"),
        sa.ForeignKeyConstraint(
            ["model_id"], ["language_models.id"], name="fk_run_resources_model_id_language_models"
        ),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["datasets.id"], name="fk_run_resources_dataset_id_datasets"
        ),
        sa.ForeignKeyConstraint(
            ["used_run_id"], ["runs.id"], name="fk_run_resources_used_run_id_runs"
        ),
    )
    op.create_index("ix_run_resources_used_run_id", "run_resources", ["used_run_id"])
    op.create_index("ix_run_resources_dataset_id", "run_resources", ["dataset_id"])
    op.create_table(
        "endpoint_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("key_sha256", sa.String(64), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("last_used_at", MOMENT, nullable=True),
        sa.Column("revoked_at", MOMENT, nullable=True),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_endpoint_keys"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_endpoint_keys_run_id_runs"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_endpoint_keys_user_id_users"),
        sa.UniqueConstraint("key_sha256", name="uq_endpoint_keys_key_sha256"),
    )
    op.create_index("ix_endpoint_keys_run_id", "endpoint_keys", ["run_id"])
    op.create_index("ix_endpoint_keys_user_id", "endpoint_keys", ["user_id"])


def downgrade() -> None:
    op.drop_table("endpoint_keys")
    op.drop_table("run_resources")
    op.drop_index("ix_runs_parent_run_id", "runs")
    op.drop_column("runs", "deleted_by_id")
    op.drop_column("runs", "deleted_at")
