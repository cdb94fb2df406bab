"""With `dedupe`, what is one model is trained once; the other trials take its results over."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rdsweep_command import Rdsweep
from studies.database import open_database
from studies.outcomes import finish_trial
from studies.queries import artifacts_of, epochs_of, latents_of, query_trials
from studies.records import Lease, TrialRecord
from study_examples import EVALUATION
from sweeps.outcome_records import evaluation_record
from sweeps.progress import trial_line
from sweeps.reused_results import reuse_results, with_variance
from toy_sweeps import ToySweep
from vae_models.config import ModelConfig, TrainConfig, TrialConfig
from vae_models.data import load_data
from vae_models.data_config import DataConfig
from vae_models.diagnostics import diagnose
from vae_models.evaluation import evaluate
from vae_models.evaluation_config import EvaluationConfig
from vae_models.likelihoods import likelihood_of
from vae_models.trainer import Trainer

GRID = """
[study]
name = "small"
trials = 16
sampler = "grid"
dedupe = true
[data]
name = "digits"
[model]
hidden = [16]
[train]
epochs = {epochs}
batch_size = 64
[evaluation]
iwae_samples = 4
diagnostic_examples = 50
[run]
workers = 2
threads = 1
[space]
reduction = ["sum", "mean"]
beta = [0.1, 1.0]
sigma2 = [0.1, 1.0]
seed = [0, 1]
"""
EXAMPLES = 1497
MSE_NOTE = (
    "The loss is no likelihood as it is written; its nats are those of what it amounts to: "
    "gaussian with sigma2 = 1/2."
)
ENDED = "The annealing ended at 0.5 of the full weight"
NOT_COMPUTED = "The IWAE bound and the exact NLL were not computed under this variance."
LEVELS = {0.01, 0.1, 1.0}
"""t = beta sigma2: two of the four pairs are one model."""


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Rdsweep:
    """A finished sweep over 16 settings of 6 models, and a part of it without `dedupe`."""
    runner = Rdsweep(tmp_path_factory.mktemp("dedupe"))
    spec = str(runner.write_spec(text=GRID))
    runner("run", spec, "--no-report")
    changes = ("study.dedupe=false", "study.name=every", "train.seed=0", "model.sigma2=1.0")
    runner("run", spec, "--no-report", *(part for line in changes for part in ("--set", line)))
    return runner


def trials_of(rdsweep: Rdsweep, study: str = "small") -> list[TrialRecord]:
    return query_trials(open_database(rdsweep.url), study, order_by="number")


def model_of(trial: TrialRecord) -> tuple[float, int]:
    return float(f"{trial.level:.9g}"), trial.seed


def setting(trial: TrialRecord) -> tuple[object, ...]:
    return trial.reduction, trial.beta, trial.sigma2, trial.seed


class TestASweepOverOneModelInSeveralWays:
    def test_trains_each_model_once_and_completes(self, swept: Rdsweep) -> None:
        trials = trials_of(swept)
        assert [trial.state for trial in trials] == ["complete"] * 16
        trained = [trial for trial in trials if trial.reused_from is None]
        assert {model_of(trial) for trial in trained} == {(t, s) for t in LEVELS for s in (0, 1)}
        assert len(trained) == 6
        epochs = epochs_of(open_database(swept.url), "small")
        assert {number for number, rows in epochs.items() if rows} == {t.number for t in trained}

    def test_gives_all_trials_of_a_model_the_same_numbers(self, swept: Rdsweep) -> None:
        models = defaultdict(list)
        for trial in trials_of(swept):
            models[model_of(trial)].append(trial)
        db = open_database(swept.url)
        latents, pictures = latents_of(db, "small"), artifacts_of(db, "small", "reconstructions")
        for first, *others in models.values():
            for other in others:
                for name in ("rate_nats", "rate_stderr_nats", "distortion_se", "active_units"):
                    assert getattr(other, name) == getattr(first, name)
                assert latents[other.number] == latents[first.number]
                assert pictures[other.number] == pictures[first.number]

    def test_gives_each_trial_the_likelihood_of_its_own_variance(self, swept: Rdsweep) -> None:
        for trial in trials_of(swept):
            se, sigma2 = trial.distortion_se, trial.sigma2
            assert se is not None
            assert sigma2 is not None
            nll = se / (2 * sigma2) + 32 * math.log(2 * math.pi * sigma2)
            assert trial.distortion_nll_nats == pytest.approx(nll, rel=1e-6)
            assert trial.elbo_nats == pytest.approx(-(nll + (trial.rate_nats or 0)), rel=1e-6)

    def test_keeps_the_bound_by_importance_sampling_only_where_it_was_measured(
        self, swept: Rdsweep
    ) -> None:
        trials = {trial.number: trial for trial in trials_of(swept)}
        for trial in trials.values():
            source = trials[trial.number if trial.reused_from is None else trial.reused_from]
            same = source.sigma2 == trial.sigma2
            assert trial.iwae_nats == (source.iwae_nats if same else None)
            assert trial.iwae_samples == (4 if same else None)

    def test_comes_close_to_training_everything(self, swept: Rdsweep) -> None:
        """Apart from Adam's epsilon and rounding the trainings are one."""
        reused = {setting(trial): trial for trial in trials_of(swept)}
        trained = trials_of(swept, "every")
        assert len(trained) == 4
        assert {trial.reused_from for trial in trained} == {None}
        for trial in trained:
            twin = reused[setting(trial)]
            assert twin.rate_nats == pytest.approx(trial.rate_nats, rel=1e-2, abs=1e-3)
            assert twin.distortion_se == pytest.approx(trial.distortion_se, rel=1e-2)

    def test_says_which_trials_were_reused(self, swept: Rdsweep) -> None:
        assert "16 complete, 10 of them reused" in swept("status", "small").stdout
        reused = next(t for t in trials_of(swept) if t.reused_from is not None)
        line = trial_line(reused, "se", 1, 16)
        assert f"complete, reused from trial {reused.reused_from}: R=" in line

    def test_is_told_to_optuna_like_any_other(self, swept: Rdsweep) -> None:
        assert all(trial.told for trial in trials_of(swept))

    def test_is_warned_of_before_it_trains(self, swept: Rdsweep) -> None:
        said = swept("suggest", "small.toml").stderr
        assert "rdsweep: note: space.reduction has 2 values" in said
        assert "rdsweep: note: space.sigma2 and space.beta are both searched" in said
        assert "dedupe is on" in said


def test_the_numbers_under_another_variance_are_those_that_the_model_would_have() -> None:
    data = load_data(DataConfig(name="digits"))
    sizes = EvaluationConfig(iwae_samples=2, diagnostic_examples=20)
    config = TrialConfig(
        model=ModelConfig(hidden=(16,), latent_dim=4, sigma2=0.3), train=TrainConfig(epochs=1)
    )
    trainer = Trainer([config], data)
    list(trainer)
    model = trainer.model(0)
    records = []
    for sigma2 in (0.3, 0.05):
        model.likelihood = likelihood_of(ModelConfig(sigma2=sigma2))
        found = evaluate(model, data)
        more = diagnose(model, data, found, sizes, last_active_epochs=(1,) * 4, epochs=1)
        records.append(evaluation_record(found, more, None))
    computed = with_variance(records[0], 0.05, data.pixels)
    for name in (
        "distortion_nll_nats",
        "distortion_nll_stderr_nats",
        "elbo_nats",
        "train_distortion_nll_nats",
    ):
        assert getattr(computed, name) == pytest.approx(getattr(records[1], name), rel=1e-5)
    unmeasured = ("iwae_nats", "iwae_stderr_nats", "iwae_samples", "exact_nll_nats")
    assert [name for name in unmeasured if getattr(computed, name) is not None] == []
    assert computed.rate_nats == records[1].rate_nats
    assert computed.distortion_se == records[1].distortion_se


class TestNotes:
    SPACE = {"likelihood": ["mse", "gaussian"], "sigma2": [0.25], "beta": [1.0, 2.0]}  # noqa: RUF012
    ANNEALING = {  # noqa: RUF012
        "annealing": "stepwise",
        "milestones": [0.0],
        "milestone_weights": [0.5],
    }
    KEPT = "I(x; z) is within 1 nat of ln 50."

    def notes(
        self, folder: Path, measured: Sequence[str], **changes: Any
    ) -> list[tuple[Any, ...]]:
        """(likelihood, beta, notes) of the two trials of one model, the trained one first."""
        space = {**self.SPACE, **self.ANNEALING}
        sweep = ToySweep.create(folder, space, trials=4, sampler="grid", dedupe=True)
        sweep.desk().refill(4)
        found = []
        while lease := sweep.take():
            model, beta = lease.config["model"], lease.config["objective"]["beta"]
            level = beta * (0.5 if model["likelihood"] == "mse" else model["sigma2"])
            if level != 0.5:
                sweep.fail(lease)
                continue
            if not reuse_results(sweep.db, lease, 64, EXAMPLES):
                own = [
                    *([MSE_NOTE] if model["likelihood"] == "mse" else []),
                    *measured,
                    f"{ENDED}: the beta in force at the end was {0.5 * beta:.4g}.",
                ]
                finish_trial(
                    sweep.db, lease, replace(EVALUATION, notes=tuple(own), **changes), [], []
                )
            trial = next(t for t in sweep.trials() if t.number == lease.number)
            found.append((model["likelihood"], beta, trial.notes))
        return found

    def test_they_are_those_of_the_trial_itself(self, tmp_path: Path) -> None:
        found = self.notes(tmp_path, [self.KEPT, "`exact_nll_nats` was inf and is not stored."])
        _, (likelihood, beta, notes) = found
        assert (MSE_NOTE in notes) == (likelihood == "mse")
        assert f"in force at the end was {0.5 * beta:.4g}." in " ".join(notes)
        assert sum("in force" in note for note in notes) == 1
        assert self.KEPT in notes
        assert sum("exact_nll_nats" in note for note in notes) == 0
        assert NOT_COMPUTED in notes

    def test_nothing_is_missed_that_was_not_measured(self, tmp_path: Path) -> None:
        names = ("iwae_nats", "iwae_stderr_nats", "iwae_samples", "exact_nll_nats")
        _, (_, _, notes) = self.notes(tmp_path, [], **dict.fromkeys(names))
        assert NOT_COMPUTED not in notes


class TestOneWorkersTurn:
    """On trials that are not trained: ToySweep stores their outcomes."""

    SPACE = {"reduction": ["sum", "mean"], "beta": [0.5], "sigma2": [0.5]}  # noqa: RUF012

    @pytest.fixture
    def sweep(self, tmp_path: Path) -> ToySweep:
        sweep = ToySweep.create(tmp_path, self.SPACE, trials=2, sampler="grid", dedupe=True)
        sweep.desk().refill(2)
        return sweep

    def take(self, sweep: ToySweep) -> Lease:
        lease = sweep.take()
        assert lease is not None
        return lease

    def test_the_first_trial_has_nothing_to_reuse(self, sweep: ToySweep) -> None:
        assert not reuse_results(sweep.db, self.take(sweep), 64, EXAMPLES)

    def test_the_second_takes_over_what_the_first_gave(self, sweep: ToySweep) -> None:
        sweep.finish(self.take(sweep), (3.0, 5.0))
        assert reuse_results(sweep.db, self.take(sweep), 64, EXAMPLES)
        first, second = sweep.trials()
        assert second.reused_from == first.number
        assert second.reduction != first.reduction
        assert (second.rate_nats, second.distortion_nll_nats) == (3.0, 5.0)
        assert second.iwae_nats == EVALUATION.iwae_nats

    def test_what_diverged_diverges_again_and_names_the_trial(self, sweep: ToySweep) -> None:
        sweep.finish(self.take(sweep), None)
        assert reuse_results(sweep.db, self.take(sweep), 64, EXAMPLES)
        first, second = sweep.trials()
        assert second.state == "diverged"
        assert second.rate_nats is None
        line = trial_line(second, "se", 2, 2)
        assert f"diverged, reused from trial {first.number}: the loss was NaN" in line

    def test_a_crash_of_ours_is_not_reused(self, sweep: ToySweep) -> None:
        sweep.fail(self.take(sweep))
        assert not reuse_results(sweep.db, self.take(sweep), 64, EXAMPLES)

    def test_a_trial_of_an_earlier_version_has_no_key_and_is_trained(
        self, sweep: ToySweep
    ) -> None:
        sweep.finish(self.take(sweep), (3.0, 5.0))
        assert not reuse_results(
            sweep.db, replace(self.take(sweep), equivalence=None), 64, EXAMPLES
        )
