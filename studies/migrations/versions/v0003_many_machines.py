"""Many machines: orders to stop, launchers, what hinders a worker; files by URL."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Goes from the version before to this one."""
    _rename_artifacts()
    _add_study_columns()
    _create_launchers()
    _add_worker_columns()


def _rename_artifacts() -> None:
    op.execute("ALTER TABLE rdsweep_studies RENAME COLUMN artifacts_dir TO artifacts_url")
    if op.get_bind().dialect.name != "sqlite":  # which has no comments on columns
        op.alter_column(
            "rdsweep_studies",
            "artifacts_url",
            existing_type=sa.Text(),
            comment="directory or URL of checkpoints and other large files",
        )


def _add_study_columns() -> None:
    op.add_column(
        "rdsweep_studies",
        sa.Column(
            "stop",
            sa.String(length=16),
            nullable=True,
            comment="order to all workers: drain or now; null while they go on",
        ),
    )
    op.add_column(
        "rdsweep_studies",
        sa.Column(
            "exhausted",
            sa.Boolean(),
            server_default=sa.false(),
            nullable=False,
            comment="whether the space holds no setting that was not tried",
        ),
    )


def _create_launchers() -> None:
    op.create_table(
        "rdsweep_launchers",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=255), nullable=False, comment="local, ray, slurm, …"),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column(
            "process_started_at",
            sa.Double(),
            nullable=False,
            comment="by its machine's clock, UTC seconds since 1970",
        ),
        sa.Column(
            "workers_wanted", sa.Integer(), nullable=False, comment="how many it keeps running"
        ),
        sa.Column(
            "started_at", sa.Double(), nullable=False, comment="UTC seconds since 1970"
        ),
        sa.Column("seen_at", sa.Double(), nullable=False, comment="UTC seconds since 1970"),
        sa.Column("ended_at", sa.Double(), nullable=True, comment="UTC seconds since 1970"),
        sa.ForeignKeyConstraint(
            ["study_id"],
            ["rdsweep_studies.id"],
            name=op.f("fk_rdsweep_launchers_study_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rdsweep_launchers")),
    )
    op.create_index(
        op.f("ix_rdsweep_launchers_study_id"), "rdsweep_launchers", ["study_id"], unique=False
    )


def _add_worker_columns() -> None:
    columns: list[sa.Column[object]] = [
        sa.Column(
            "launcher_id",
            sa.String(length=64),
            nullable=True,
            comment="of the launcher that started it; null if started by hand",
        ),
        sa.Column(
            "stop",
            sa.String(length=16),
            nullable=True,
            comment="order to this worker: drain or now; null while it goes on",
        ),
        sa.Column("reason", sa.Text(), nullable=True, comment="why it ended"),
        sa.Column(
            "note", sa.Text(), nullable=True, comment="what hinders it at the moment, in one line"
        ),
    ]
    for column in columns:
        op.add_column("rdsweep_workers", column)
