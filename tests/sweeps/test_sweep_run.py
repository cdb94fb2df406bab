"""Sweeps from end to end on one machine: worker processes, SQLite, interruptions, recovery."""

import csv
import io
import json
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import torch

from rdsweep_command import PATIENCE_SECONDS, Rdsweep
from studies.database import open_database
from studies.errors import StudiesError
from studies.launchers import list_launchers
from studies.queries import artifacts_of, epochs_of, query_trials
from studies.queue import counts
from studies.records import TrialRecord, TrialState
from studies.study_records import get_study, update_study
from studies.workers import list_workers

Wait = Callable[[Callable[[], bool]], None]


def trials_of(rdsweep: Rdsweep, where: str | None = None) -> list[TrialRecord]:
    return query_trials(open_database(rdsweep.url), "small", where=where, order_by="number")


def state_counts(rdsweep: Rdsweep) -> Mapping[TrialState, int]:
    try:
        return counts(open_database(rdsweep.url), "small")
    except StudiesError:  # not made yet
        return {}


def test_eight_trials_on_two_workers_all_finish_and_none_is_done_twice(finished: Rdsweep) -> None:
    trials = trials_of(finished)
    assert [trial.state for trial in trials] == ["complete"] * 8
    assert {trial.attempt for trial in trials} == {1}
    assert len({trial.uuid for trial in trials}) == 8
    assert all(trial.told for trial in trials)
    assert len(list_workers(open_database(finished.url), "small")) == 2
    assert Path(finished.folder / "small-report" / "report.html").exists()


def test_the_record_and_optuna_agree_on_every_trial(finished: Rdsweep) -> None:
    study = optuna.load_study(study_name="small", storage=finished.url)
    theirs = {trial.number: trial for trial in study.get_trials(deepcopy=False)}
    for trial in trials_of(finished):
        other = theirs[trial.number]
        assert other.state == optuna.trial.TrialState.COMPLETE
        assert other.values == [trial.rate_nats, trial.distortion_se]
        assert {name: other.params[name] for name in trial.parameters} == trial.parameters


def test_every_column_of_a_finished_trial_is_filled_in_consistently(finished: Rdsweep) -> None:
    for trial in trials_of(finished):
        assert trial.rate_nats is not None
        assert trial.distortion_se is not None
        assert trial.distortion_nll_nats is not None
        assert trial.elbo_nats == pytest.approx(-trial.rate_nats - trial.distortion_nll_nats)
        assert trial.mse == pytest.approx(trial.distortion_se / 64)
        assert trial.psnr_db == pytest.approx(-10 * torch.log10(torch.tensor(trial.mse)).item())
        assert trial.epoch == 2
        assert trial.collapsed == (trial.active_units == 0)
    assert all(len(es) == 2 for es in epochs_of(open_database(finished.url), "small").values())


def test_a_finished_study_goes_on_when_more_trials_are_wanted(rdsweep: Rdsweep) -> None:
    spec = rdsweep.write_spec()
    rdsweep("run", str(spec), "--no-report", "--set", "study.trials=2")
    before = trials_of(rdsweep)
    rdsweep("run", str(spec), "--no-report", "--set", "study.trials=5")
    after = trials_of(rdsweep)
    assert after[:2] == sorted(before, key=lambda trial: trial.number)
    assert [trial.number for trial in after] == [0, 1, 2, 3, 4]


def test_a_changed_spec_is_refused_and_changes_nothing(rdsweep: Rdsweep) -> None:
    spec = rdsweep.write_spec()
    rdsweep("run", str(spec), "--no-report", "--set", "study.trials=1")
    before = trials_of(rdsweep), get_study(open_database(rdsweep.url), "small")
    said = rdsweep("run", str(spec), "--no-report", "--set", "train.epochs=3", status=2).stderr
    assert "train.epochs" in said
    assert "study.name" in said
    assert "Traceback" not in said
    assert (trials_of(rdsweep), get_study(open_database(rdsweep.url), "small")) == before


def test_a_seeded_study_on_one_worker_repeats_its_trials_and_their_metrics(
    rdsweep: Rdsweep,
) -> None:
    spec = rdsweep.write_spec()
    options = ("--set", "study.sampler=tpe", "--set", "study.trials=4", "--workers", "1")
    rdsweep("run", str(spec), "--no-report", *options)
    again = ("--storage", f"sqlite:///{rdsweep.folder / 'again.db'}")
    rdsweep("run", str(spec), "--no-report", *options, *again)
    first = trials_of(rdsweep)
    second = query_trials(open_database(again[1]), "small", order_by="number")
    assert [(t.parameters, t.rate_nats, t.distortion_se) for t in first] == [
        (t.parameters, t.rate_nats, t.distortion_se) for t in second
    ]


def test_a_killed_workers_trial_goes_on_under_the_same_number(
    rdsweep: Rdsweep, eventually: Wait
) -> None:
    spec = rdsweep.write_spec(epochs=150)
    process = rdsweep.start("run", str(spec), "--no-report", "--set", "study.trials=4")
    eventually(lambda: state_counts(rdsweep).get("complete", 0) >= 1)
    early = "state = 'running' and 0 < epoch < 75"
    eventually(lambda: bool(trials_of(rdsweep, where=early)))
    victim = trials_of(rdsweep, where=early)[0]
    finished = trials_of(rdsweep, where="state = 'complete'")
    workers = {w.id: w for w in list_workers(open_database(rdsweep.url), "small")}
    assert victim.worker is not None
    os.kill(workers[victim.worker].pid, signal.SIGKILL)
    said, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, said
    assert "SIGKILL" in said
    trials = {trial.number: trial for trial in trials_of(rdsweep)}
    assert {trial.state for trial in trials.values()} == {"complete"}
    assert trials[victim.number].uuid == victim.uuid
    assert trials[victim.number].attempt == 2
    assert all(trials[t.number].finished_at == t.finished_at for t in finished)


def test_when_everything_is_killed_the_next_run_goes_on_at_once(
    rdsweep: Rdsweep, eventually: Wait
) -> None:
    spec = rdsweep.write_spec(epochs=40)
    options = (
        "run",
        str(spec),
        "--no-report",
        "--set",
        "study.trials=4",
        "--set",
        "run.lease_seconds=3600",
    )
    process = rdsweep.start(*options)
    eventually(lambda: state_counts(rdsweep).get("complete", 0) >= 1)
    eventually(lambda: state_counts(rdsweep).get("running", 0) >= 1)
    process.kill()
    for worker in list_workers(open_database(rdsweep.url), "small"):
        os.kill(worker.pid, signal.SIGKILL)
    process.wait()
    finished = trials_of(rdsweep, where="state = 'complete'")
    rdsweep(*options)
    trials = {trial.number: trial for trial in trials_of(rdsweep)}
    assert len(trials) == 4
    assert {trial.state for trial in trials.values()} == {"complete"}
    assert all(replace(trials[t.number], told=t.told) == t for t in finished)


def test_ctrl_c_stops_at_an_epoch_and_the_resumed_metrics_are_those_of_an_uninterrupted_run(
    rdsweep: Rdsweep, eventually: Wait
) -> None:
    spec = rdsweep.write_spec(epochs=60)
    options = ("run", str(spec), "--no-report", "--set", "study.trials=1")
    process = rdsweep.start(*options)
    eventually(lambda: any(t.epoch for t in trials_of_or_none(rdsweep)))
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130, said
    assert "go on with" in said
    left = trials_of(rdsweep)[0]
    assert left.state == "queued"
    assert left.epoch is not None
    assert 0 < left.epoch < 60
    rdsweep(*options)
    whole = f"sqlite:///{rdsweep.folder / 'whole.db'}"
    rdsweep(*options, "--storage", whole)
    for mine, other in zip(
        trials_of(rdsweep),
        query_trials(open_database(whole), "small", order_by="number"),
        strict=True,
    ):
        assert (mine.rate_nats, mine.distortion_se) == (other.rate_nats, other.distortion_se)
    assert trials_of(rdsweep)[0].attempt == 2


def test_a_second_ctrl_c_stops_at_once_and_costs_the_trial_no_attempt(
    rdsweep: Rdsweep, eventually: Wait
) -> None:
    spec = rdsweep.write_spec(epochs=100_000)
    process = rdsweep.start("run", str(spec), "--no-report", "--set", "study.max_attempts=1")
    eventually(lambda: any(t.epoch for t in trials_of_or_none(rdsweep)))
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130, said
    assert {trial.state for trial in trials_of(rdsweep)} == {"queued"}


def test_workers_leave_when_the_process_that_started_them_is_killed(
    rdsweep: Rdsweep, eventually: Wait
) -> None:
    process = rdsweep.start("run", str(rdsweep.write_spec(epochs=100_000)), "--no-report")
    eventually(lambda: any(t.epoch for t in trials_of_or_none(rdsweep)))
    process.kill()
    process.wait()
    db = open_database(rdsweep.url)
    eventually(lambda: not list_workers(db, "small", ended=False))
    assert {trial.state for trial in trials_of(rdsweep)} == {"queued"}


def test_a_second_run_of_the_same_study_joins_the_first(
    rdsweep: Rdsweep, eventually: Wait
) -> None:
    options = ("run", str(rdsweep.write_spec(epochs=20)), "--no-report", "--workers", "1")
    runs = [rdsweep.start(*options, "--set", "study.trials=500") for _ in range(2)]
    running = "state = 'running' and epoch >= 1"
    eventually(lambda: len(trials_of_or_none(rdsweep, running)) == 2)
    db = open_database(rdsweep.url)
    wanted = len(trials_of(rdsweep)) + 1
    update_study(db, replace(get_study(db, "small"), trials_wanted=wanted))
    for run in runs:
        said, _ = run.communicate(timeout=PATIENCE_SECONDS)
        assert run.returncode == 0, said
    trials = trials_of(rdsweep)
    assert [(trial.state, trial.attempt) for trial in trials] == [("complete", 1)] * wanted
    assert len({worker.launcher_id for worker in list_workers(db, "small")}) == 2
    assert all(one.ended_at is not None for one in list_launchers(db, "small"))


def test_when_every_worker_fails_the_run_says_so_and_does_not_pretend_to_be_done(
    rdsweep: Rdsweep,
) -> None:
    """Optuna's side of the study is gone: no worker can suggest anything."""
    spec = rdsweep.write_spec()
    rdsweep("run", str(spec), "--no-report", "--set", "study.trials=1")
    optuna.delete_study(study_name="small", storage=rdsweep.url)
    said = rdsweep("run", str(spec), "--no-report", "--workers", "1", status=2).stderr
    assert "Every worker ended before the sweep was finished" in said
    assert "Traceback" not in said


def trials_of_or_none(rdsweep: Rdsweep, where: str | None = None) -> list[TrialRecord]:
    try:
        return trials_of(rdsweep, where=where)
    except StudiesError:
        return []


def test_a_diverging_trial_is_recorded_and_the_sweep_goes_on(rdsweep: Rdsweep) -> None:
    spec = rdsweep.write_spec()
    options = ("--set", "space.learning_rate=[1e-3, 1e12]", "--set", "study.trials=6")
    rdsweep("run", str(spec), *options, "--workers", "1")
    trials = trials_of(rdsweep)
    wild = [trial for trial in trials if trial.learning_rate > 1]
    tame = [trial for trial in trials if trial.learning_rate < 1]
    assert wild
    assert tame
    assert {trial.state for trial in tame} == {"complete"}
    assert {trial.state for trial in wild} == {"diverged"}
    assert all("epoch" in (t.error or "") and "step" in (t.error or "") for t in wild)
    theirs = optuna.load_study(study_name="small", storage=rdsweep.url).get_trials(deepcopy=False)
    infeasible = {t.number for t in theirs if any(c > 0 for c in t.constraints.values())}
    assert infeasible == {trial.number for trial in wild}


def test_a_crash_of_a_trial_is_recorded_as_failed_with_its_traceback(rdsweep: Rdsweep) -> None:
    """A hidden layer of 10^9 units cannot be allocated: the trial fails, the sweep goes on."""
    spec = rdsweep.write_spec()
    rdsweep(
        "run",
        str(spec),
        "--no-report",
        "--set",
        "space.hidden=[[8], [4000000000]]",
        "--set",
        "study.trials=6",
        "--workers",
        "1",
    )
    trials = trials_of(rdsweep)
    failed = [trial for trial in trials if trial.state == "failed"]
    assert failed
    assert all("Traceback" in (trial.error or "") for trial in failed)
    assert any(trial.state == "complete" for trial in trials)
    said = rdsweep("status", "small").stdout
    assert "Traceback" not in said
    assert f"trial {failed[0].number} failed" in said


def test_queries_in_every_format_name_the_same_trials(finished: Rdsweep) -> None:
    options = ("query", "small", "--columns", "number,beta,rate_nats", "--order-by", "number")
    rows = list(csv.DictReader(io.StringIO(finished(*options, "--format", "csv").stdout)))
    objects = json.loads(finished(*options, "--format", "json").stdout)
    lines = [json.loads(x) for x in finished(*options, "--format", "jsonl").stdout.splitlines()]
    assert objects == lines
    assert [int(row["number"]) for row in rows] == [x["number"] for x in objects]
    assert [float(row["beta"]) for row in rows] == [x["beta"] for x in objects]
    states = json.loads(finished("status", "--json").stdout)[0]["states"]
    assert states["complete"] == 8


def test_front_lists_only_trials_that_no_other_beats(finished: Rdsweep) -> None:
    listed = {
        x["number"] for x in json.loads(finished("front", "small", "--format", "json").stdout)
    }
    points = {t.number: (t.rate_nats or 0.0, t.distortion_se or 0.0) for t in trials_of(finished)}
    beaten = {
        number
        for number, (r, d) in points.items()
        for r2, d2 in points.values()
        if r2 <= r and d2 <= d and (r2, d2) != (r, d)
    }
    assert listed == set(points) - beaten


def test_stored_metrics_are_those_that_torch_distributions_gives_for_the_checkpoint(
    finished: Rdsweep,
) -> None:
    from torch.distributions import Normal, kl_divergence

    from vae_models.checkpoints import load_checkpoint
    from vae_models.config import TrialConfig
    from vae_models.data import load_data
    from vae_models.data_config import DataConfig
    from vae_models.vae import build_vae

    heldout = load_data(DataConfig(name="digits")).heldout_images()
    generator = torch.Generator().manual_seed(5)
    db = open_database(finished.url)
    paths, files = artifacts_of(db, "small", "checkpoint"), get_study(db, "small").artifacts_url
    for trial in trials_of(finished):
        config = TrialConfig.from_dict(trial.config)
        model = build_vae(config.model, (1, 8, 8), seed=0)
        path = paths[trial.number].path
        assert path is not None
        model.load_state_dict(load_checkpoint(Path(files, path)).model)
        with torch.no_grad():
            q = model.encode(heldout)
            posterior = Normal(q.mean, q.marginal_variance.sqrt())
            rate = kl_divergence(posterior, Normal(0.0, 1.0)).sum(1).mean().item()
            draws = []
            for _ in range(20):
                noise = torch.randn(q.mean.shape, generator=generator)
                x = model.decode(posterior.loc + posterior.scale * noise).mean
                draws.append(((heldout - x) ** 2).flatten(1).sum(1).mean().item())
        assert trial.rate_nats == pytest.approx(rate, rel=1e-4)
        assert trial.distortion_se == pytest.approx(sum(draws) / 20, rel=0.03)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "nowhere.toml"), "nowhere.toml"),
        (("query", "small"), "database must exist"),
        (("front", "small", "--storage", "nonsense"), "nonsense"),
    ],
)
def test_a_users_mistake_gives_one_line_and_no_traceback(
    rdsweep: Rdsweep, arguments: tuple[str, ...], message: str
) -> None:
    said = rdsweep(*arguments, status=2).stderr
    assert message in said
    assert len(said.strip().splitlines()) == 1
    assert list(rdsweep.folder.iterdir()) == []


def test_init_writes_a_spec_that_says_what_it_can_and_never_overwrites(rdsweep: Rdsweep) -> None:
    rdsweep("init", "mine.toml")
    text = (rdsweep.folder / "mine.toml").read_text()
    said = rdsweep("init", "mine.toml", status=2).stderr
    assert "must not exist yet" in said
    assert (rdsweep.folder / "mine.toml").read_text() == text
    rdsweep(
        "run",
        "mine.toml",
        "--set",
        "study.trials=1",
        "--set",
        "train.epochs=1",
        "--set",
        "data.name=digits",
    )
