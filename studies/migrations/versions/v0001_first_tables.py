"""First tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Goes from the version before to this one."""
    op.create_table(
        "rdsweep_studies",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column(
            "name", sa.String(length=255), nullable=False, comment="also the Optuna study's name"
        ),
        sa.Column(
            "spec", sa.JSON(none_as_null=True), nullable=False, comment="the whole normalised spec"
        ),
        sa.Column(
            "spec_hash",
            sa.String(length=255),
            nullable=False,
            comment="hash of what makes trials comparable",
        ),
        sa.Column(
            "distortion",
            sa.String(length=255),
            nullable=False,
            comment="distortion of the front: se or nll",
        ),
        sa.Column("trials_wanted", sa.Integer(), nullable=False),
        sa.Column("sampler", sa.String(length=255), nullable=False),
        sa.Column(
            "data",
            sa.JSON(none_as_null=True),
            nullable=False,
            comment="data set: name, checksum, sizes, shape",
        ),
        sa.Column(
            "spectrum",
            sa.JSON(none_as_null=True),
            nullable=False,
            comment="eigenvalues of the data's covariance, descending, squared model units",
        ),
        sa.Column(
            "rate_reference_nats",
            sa.Double(),
            nullable=False,
            comment="rate of the hypervolume's reference point, nats per example",
        ),
        sa.Column(
            "distortion_reference",
            sa.Double(),
            nullable=False,
            comment="distortion of the reference point, in the unit of the column distortion",
        ),
        sa.Column("artifacts_dir", sa.Text(), nullable=False),
        sa.Column("code_version", sa.String(length=255), nullable=False),
        sa.Column(
            "packages", sa.JSON(none_as_null=True), nullable=False, comment="package versions"
        ),
        sa.Column(
            "sampler_worker",
            sa.String(length=255),
            nullable=True,
            comment="holder of the sampler lease",
        ),
        sa.Column(
            "sampler_until",
            sa.Double(),
            nullable=True,
            comment="end of the sampler lease, UTC seconds since 1970",
        ),
        sa.Column("created_at", sa.Double(), nullable=False, comment="UTC seconds since 1970"),
        sa.CheckConstraint(
            "distortion in ('se', 'nll')", name=op.f("ck_rdsweep_studies_distortion")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rdsweep_studies")),
        sa.UniqueConstraint("name", name=op.f("uq_rdsweep_studies_name")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "rdsweep_trials",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False, comment="within the study, from 0"),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column(
            "parameters", sa.JSON(none_as_null=True), nullable=False, comment="as suggested"
        ),
        sa.Column(
            "config",
            sa.JSON(none_as_null=True),
            nullable=False,
            comment="model, objective and training",
        ),
        sa.Column(
            "beta",
            sa.Double(),
            nullable=False,
            comment="canonical: weight of R against the NLL in nats",
        ),
        sa.Column(
            "raw_weight", sa.Double(), nullable=False, comment="KL weight in the trial's reduction"
        ),
        sa.Column("beta_norm", sa.Double(), nullable=False, comment="beta * latents / pixels"),
        sa.Column(
            "level",
            sa.Double(),
            nullable=True,
            comment="t = beta * sigma2 of a Gaussian decoder, squared model units",
        ),
        sa.Column("latent_dim", sa.Integer(), nullable=False),
        sa.Column("reduction", sa.String(length=255), nullable=False),
        sa.Column("annealing", sa.String(length=255), nullable=False),
        sa.Column("likelihood", sa.String(length=255), nullable=False),
        sa.Column("family", sa.String(length=255), nullable=False),
        sa.Column(
            "sigma2",
            sa.Double(),
            nullable=True,
            comment="decoder variance, fixed or initial, squared model units",
        ),
        sa.Column("learning_rate", sa.Double(), nullable=False),
        sa.Column("batch_size", sa.Integer(), nullable=False, comment="examples per step"),
        sa.Column("epochs", sa.Integer(), nullable=False, comment="epochs to train"),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("rate_nats", sa.Double(), nullable=True, comment="nats per example"),
        sa.Column("rate_stderr_nats", sa.Double(), nullable=True, comment="nats per example"),
        sa.Column(
            "distortion_se",
            sa.Double(),
            nullable=True,
            comment="squared error summed over pixels, per example",
        ),
        sa.Column(
            "distortion_se_stderr",
            sa.Double(),
            nullable=True,
            comment="squared error summed over pixels, per example",
        ),
        sa.Column("distortion_nll_nats", sa.Double(), nullable=True, comment="nats per example"),
        sa.Column(
            "distortion_nll_stderr_nats", sa.Double(), nullable=True, comment="nats per example"
        ),
        sa.Column("elbo_nats", sa.Double(), nullable=True, comment="nats per example"),
        sa.Column("mse", sa.Double(), nullable=True, comment="squared error per pixel"),
        sa.Column("psnr_db", sa.Double(), nullable=True, comment="decibel"),
        sa.Column(
            "bits_per_dim",
            sa.Double(),
            nullable=True,
            comment="-ELBO in bits per pixel, only where it is a probability of discrete data",
        ),
        sa.Column(
            "active_units",
            sa.Integer(),
            nullable=True,
            comment="latents whose mean varies by more than active_threshold",
        ),
        sa.Column("active_threshold", sa.Double(), nullable=True, comment="on Cov_x(E_q[u|x])"),
        sa.Column("collapsed", sa.Boolean(), nullable=True, comment="no latent is active"),
        sa.Column(
            "sigma2_learned",
            sa.Double(),
            nullable=True,
            comment="decoder variance after training, squared model units",
        ),
        sa.Column(
            "seconds",
            sa.Double(),
            nullable=False,
            comment="seconds of training over all attempts (epochs only; without evaluation)",
        ),
        sa.Column(
            "epoch", sa.Integer(), nullable=False, comment="last finished epoch, from 1; 0 before"
        ),
        sa.Column(
            "attempt", sa.Integer(), nullable=False, comment="latest attempt, from 1; 0 before"
        ),
        sa.Column(
            "deaths", sa.Integer(), nullable=False, comment="attempts whose worker vanished"
        ),
        sa.Column("worker", sa.String(length=255), nullable=True, comment="of the last attempt"),
        sa.Column(
            "lease_until",
            sa.Double(),
            nullable=True,
            comment="end of the running attempt's lease, UTC seconds since 1970",
        ),
        sa.Column("error", sa.Text(), nullable=True, comment="why it diverged or failed"),
        sa.Column(
            "told", sa.Boolean(), nullable=False, comment="whether the sampler knows the outcome"
        ),
        sa.Column("created_at", sa.Double(), nullable=False, comment="UTC seconds since 1970"),
        sa.Column(
            "started_at",
            sa.Double(),
            nullable=True,
            comment="start of the first attempt, UTC seconds since 1970",
        ),
        sa.Column("finished_at", sa.Double(), nullable=True, comment="UTC seconds since 1970"),
        sa.CheckConstraint(
            "state in ('queued', 'running', 'complete', 'diverged', 'failed')",
            name=op.f("ck_rdsweep_trials_state"),
        ),
        sa.ForeignKeyConstraint(
            ["study_id"],
            ["rdsweep_studies.id"],
            name=op.f("fk_rdsweep_trials_study_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rdsweep_trials")),
        sa.UniqueConstraint("study_id", "number", name=op.f("uq_rdsweep_trials_study_id_number")),
        sa.UniqueConstraint("uuid", name=op.f("uq_rdsweep_trials_uuid")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("rdsweep_trials", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_rdsweep_trials_study_id_state_number"),
            ["study_id", "state", "number"],
            unique=False,
        )
        batch_op.create_index(
            batch_op.f("ix_rdsweep_trials_study_id_told_number"),
            ["study_id", "told", "number"],
            unique=False,
        )
        batch_op.create_index(batch_op.f("ix_rdsweep_trials_worker"), ["worker"], unique=False)

    op.create_table(
        "rdsweep_workers",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column(
            "process_started_at",
            sa.Double(),
            nullable=False,
            comment="by its machine's clock, UTC seconds since 1970",
        ),
        sa.Column("device", sa.String(length=255), nullable=False),
        sa.Column(
            "versions",
            sa.JSON(none_as_null=True),
            nullable=False,
            comment="versions in that process",
        ),
        sa.Column("started_at", sa.Double(), nullable=False, comment="UTC seconds since 1970"),
        sa.Column("seen_at", sa.Double(), nullable=False, comment="UTC seconds since 1970"),
        sa.Column("ended_at", sa.Double(), nullable=True, comment="UTC seconds since 1970"),
        sa.ForeignKeyConstraint(
            ["study_id"],
            ["rdsweep_studies.id"],
            name=op.f("fk_rdsweep_workers_study_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rdsweep_workers")),
    )
    with op.batch_alter_table("rdsweep_workers", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_rdsweep_workers_study_id"), ["study_id"], unique=False
        )

    op.create_table(
        "rdsweep_artifacts",
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("media_type", sa.String(length=255), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=True),
        sa.Column("path", sa.Text(), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False, comment="bytes"),
        sa.Column("created_at", sa.Double(), nullable=False, comment="UTC seconds since 1970"),
        sa.ForeignKeyConstraint(
            ["trial_id"],
            ["rdsweep_trials.id"],
            name=op.f("fk_rdsweep_artifacts_trial_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("trial_id", "kind", name=op.f("pk_rdsweep_artifacts")),
    )
    op.create_table(
        "rdsweep_attempts",
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False, comment="from 1"),
        sa.Column("worker", sa.String(length=255), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False, comment="UTC seconds since 1970"),
        sa.Column("ended_at", sa.Double(), nullable=True, comment="UTC seconds since 1970"),
        sa.Column(
            "seconds",
            sa.Double(),
            nullable=False,
            comment="seconds of training in this attempt (epochs only)",
        ),
        sa.Column(
            "outcome",
            sa.String(length=16),
            nullable=True,
            comment="complete, diverged, failed, released or lost; null while it runs",
        ),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["trial_id"],
            ["rdsweep_trials.id"],
            name=op.f("fk_rdsweep_attempts_trial_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("trial_id", "attempt", name=op.f("pk_rdsweep_attempts")),
    )
    op.create_table(
        "rdsweep_epochs",
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False, comment="from 1"),
        sa.Column("attempt", sa.Integer(), nullable=False, comment="the attempt that trained it"),
        sa.Column(
            "step",
            sa.BigInteger(),
            nullable=False,
            comment="optimiser steps since the trial's start",
        ),
        sa.Column("rate_nats", sa.Double(), nullable=False, comment="nats per example"),
        sa.Column(
            "distortion_se",
            sa.Double(),
            nullable=False,
            comment="squared error summed over pixels, per example",
        ),
        sa.Column("distortion_nll_nats", sa.Double(), nullable=False, comment="nats per example"),
        sa.Column(
            "objective",
            sa.Double(),
            nullable=False,
            comment="mean loss in the trial's training units",
        ),
        sa.Column(
            "annealing_weight",
            sa.Double(),
            nullable=False,
            comment="weight of the schedule, mean over the epoch's steps",
        ),
        sa.Column(
            "nll_weight",
            sa.Double(),
            nullable=False,
            comment="weight on the NLL in force, mean over the epoch's steps",
        ),
        sa.Column(
            "rate_weight",
            sa.Double(),
            nullable=False,
            comment="weight on the KL in force, annealing included, mean over the epoch's steps",
        ),
        sa.Column(
            "learning_rate",
            sa.Double(),
            nullable=True,
            comment="in force, mean over the epoch's steps",
        ),
        sa.Column("seconds", sa.Double(), nullable=False, comment="seconds"),
        sa.ForeignKeyConstraint(
            ["trial_id"],
            ["rdsweep_trials.id"],
            name=op.f("fk_rdsweep_epochs_trial_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("trial_id", "epoch", name=op.f("pk_rdsweep_epochs")),
    )
    op.create_table(
        "rdsweep_latents",
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("latent", sa.Integer(), nullable=False, comment="from 0"),
        sa.Column("kl_nats", sa.Double(), nullable=False, comment="nats per example"),
        sa.Column("mean_variance", sa.Double(), nullable=False, comment="Cov_x(E_q[u|x])"),
        sa.Column(
            "active", sa.Boolean(), nullable=False, comment="mean_variance is above the threshold"
        ),
        sa.ForeignKeyConstraint(
            ["trial_id"],
            ["rdsweep_trials.id"],
            name=op.f("fk_rdsweep_latents_trial_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("trial_id", "latent", name=op.f("pk_rdsweep_latents")),
    )
