"""Every objective and diagnostic: trials without a beta, what was measured, what was reused."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from studies.migrations.sqlite_columns import allow_nulls

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_NULLABLE = {
    "beta": "canonical: weight of R against the NLL in nats; null if the regulariser has none",
    "raw_weight": "KL weight in the trial's reduction; null as beta",
    "beta_norm": "beta * latents / pixels; null as beta",
}


def upgrade() -> None:
    """Goes from the version before to this one."""
    if op.get_bind().dialect.name == "sqlite":
        allow_nulls(op.get_bind(), "rdsweep_trials", tuple(_NULLABLE))
    else:
        for name, comment in _NULLABLE.items():
            op.alter_column(
                "rdsweep_trials",
                name,
                existing_type=sa.Double(),
                nullable=True,
                comment=comment,
            )
    for table, column in _columns():
        op.add_column(table, column)
    op.create_index(
        op.f("ix_rdsweep_trials_study_id_equivalence_number"),
        "rdsweep_trials",
        ["study_id", "equivalence", "number"],
        unique=False,
    )


def _columns() -> list[tuple[str, sa.Column[object]]]:
    trials = [("rdsweep_trials", column) for column in _settings() + _diagnostics()]
    return trials + _parts()


def _settings() -> list[sa.Column[object]]:
    """Every trial before this version had the objective, prior and posterior of the defaults."""
    return [
        sa.Column(
            "regulariser",
            sa.String(length=255),
            server_default="kl",
            nullable=False,
            comment="what stands beside the NLL in the loss",
        ),
        sa.Column(
            "prior",
            sa.String(length=255),
            server_default="standard",
            nullable=False,
            comment="p(z)",
        ),
        sa.Column(
            "posterior",
            sa.String(length=255),
            server_default="diagonal",
            nullable=False,
            comment="covariance of q(z|x): diagonal or full",
        ),
        sa.Column(
            "weights",
            sa.JSON(none_as_null=True),
            nullable=True,
            comment="KL weight of the same beta in each reduction, by its name; null as beta",
        ),
        sa.Column(
            "equivalence",
            sa.String(length=64),
            nullable=True,
            comment="SHA-256 of the settings without what cannot change the model",
        ),
        sa.Column(
            "reused_from",
            sa.Integer(),
            nullable=True,
            comment="number of the equivalent trial whose results these are",
        ),
    ]


def _diagnostics() -> list[sa.Column[object]]:
    return [
        _number("mutual_information_nats", "I(x; z) under q, nats"),
        _number("marginal_kl_nats", "KL(q(z) || p(z)), nats"),
        _number("total_correlation_nats", "KL(q(z) || prod q(z_j)), nats"),
        _number("dimension_kl_nats", "sum over latents of KL(q(z_j) || p(z_j)), nats"),
        _count(
            "diagnostic_examples",
            "held-out examples behind the four estimates above and the IWAE bound",
        ),
        _number("iwae_nats", "importance-weighted bound on ln p(x), nats per example"),
        _number("iwae_stderr_nats", "nats per example"),
        _count("iwae_samples", "draws of z per example in it"),
        _number("exact_nll_nats", "exact -ln p(x) of a linear model, nats per example"),
        _number(
            "bce_floor_nats",
            "entropy of grey pixels, which binary cross-entropy keeps above, nats per example",
        ),
        sa.Column(
            "collapse",
            sa.String(length=16),
            nullable=True,
            comment="none, partial, collapsed or never_active",
        ),
        _count("collapse_epoch", "first epoch without any active latent, if collapsed"),
        _number("train_rate_nats", "on training examples, nats per example"),
        _number(
            "train_distortion_se",
            "on training examples, squared error summed over pixels, per example",
        ),
        _number("train_distortion_nll_nats", "on training examples, nats per example"),
        _number("mig", "mutual information gap, 0 to 1"),
        _number("dci_disentanglement", "0 to 1"),
        _number("dci_completeness", "0 to 1"),
        _number("dci_informativeness", "0 to 1"),
        _number("factorvae_score", "accuracy, 0 to 1"),
        _number("betavae_score", "accuracy, 0 to 1"),
        sa.Column(
            "notes",
            sa.JSON(none_as_null=True),
            nullable=True,
            comment="warnings about the metrics, in words",
        ),
    ]


def _parts() -> list[tuple[str, sa.Column[object]]]:
    return [
        ("rdsweep_epochs", _count("active_units", "latents active over the epoch's training data")),
        ("rdsweep_latents", _number("kl_std_nats", "standard deviation over the examples, nats")),
        ("rdsweep_latents", _number("kl_q10_nats", "10% quantile over the examples, nats")),
        ("rdsweep_latents", _number("kl_q90_nats", "90% quantile over the examples, nats")),
        (
            "rdsweep_latents",
            _count(
                "last_active_epoch", "last epoch with it active on training data, 0 for never"
            ),
        ),
    ]


def _number(name: str, comment: str) -> sa.Column[object]:
    return sa.Column(name, sa.Double(), nullable=True, comment=comment)


def _count(name: str, comment: str) -> sa.Column[object]:
    return sa.Column(name, sa.Integer(), nullable=True, comment=comment)
