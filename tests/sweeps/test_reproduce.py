"""A trial that is trained again from what is stored gives the same numbers, or says which differ."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rdsweep_command import Rdsweep
from sick_studies import STUDY, Patient
from studies.database import Database, open_database
from studies.queries import query_trials
from studies.queue import add_trials
from studies.records import EpochRecord, StudyRecord
from studies.study_records import get_study
from study_examples import EVALUATION, LATENTS, epoch_record, new_trial
from sweeps.agreement import Agreement, agreement_of
from sweeps.circumstances import ELSEWHERE, circumstances_of, trainers_of
from sweeps.errors import SweepError
from sweeps.reproduce import Reproduction, prepare_reproduction
from sweeps.rerun import Ending

SPEC = """
[study]
name = "small"
trials = 6
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
workers = 1
threads = 1
[space]
reduction = ["sum", "mean"]
beta = [0.1]
learning_rate = [1e-3, 1e15]
sigma2 = [1.0]
seed = [0]
"""


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Rdsweep:
    """A sweep of complete, reused and diverged trials."""
    runner = Rdsweep(tmp_path_factory.mktemp("swept"))
    runner("run", str(runner.write_spec(epochs=3, text=SPEC)), "--no-report")
    return runner


@pytest.fixture
def patient(swept: Rdsweep, tmp_path: Path) -> Patient:
    return Patient.copy_of(swept.folder, tmp_path / "copy")


def number_of(db: Database, where: str) -> int:
    return query_trials(db, STUDY, where=where)[0].number


def reproduced(patient: Patient, number: int, **options: Any) -> Reproduction:
    db = patient.open()
    found = prepare_reproduction(db, STUDY, number, **options)
    for _ in found.rerun:
        pass
    db.close()
    return found


class TestATrialThatIsTrainedAgain:
    @pytest.mark.parametrize(
        "where",
        [
            "state = 'complete' and reused_from is null",
            "state = 'complete' and reused_from is not null",
            "state = 'diverged' and reused_from is null",
        ],
        ids=["complete", "reused", "diverged"],
    )
    def test_is_equal_bit_for_bit(self, patient: Patient, where: str) -> None:
        db = patient.open()
        number = number_of(db, where)
        db.close()
        found = reproduced(patient, number)
        assert found.circumstances.exact
        assert found.agreement.bit_for_bit
        assert found.agreement.equal

    def test_leaves_the_database_as_it_was(self, patient: Patient) -> None:
        changes = "SELECT count(*) + sum(attempt) + sum(epoch) FROM rdsweep_trials"
        before = patient.one(changes), patient.one("SELECT count(*) FROM rdsweep_workers")
        reproduced(patient, 0)
        assert before == (
            patient.one(changes),
            patient.one("SELECT count(*) FROM rdsweep_workers"),
        )


class TestATamperedRecord:
    TAMPERINGS: Sequence[tuple[str, str]] = (
        ("UPDATE rdsweep_trials SET rate_nats = rate_nats * 1.0000001", "rate_nats"),
        ("UPDATE rdsweep_trials SET active_units = active_units + 1", "active_units"),
        ("UPDATE rdsweep_epochs SET objective = objective + 1e-9 WHERE epoch = 2", "objective"),
        ("UPDATE rdsweep_latents SET kl_nats = kl_nats + 1e-9 WHERE latent = 1", "kl_nats"),
    )

    @pytest.mark.parametrize(("statement", "name"), TAMPERINGS)
    def test_is_found_out(self, patient: Patient, statement: str, name: str) -> None:
        db = patient.open()
        number = number_of(db, "state = 'complete' and reused_from is null")
        db.close()
        patient.sql(statement)
        agreement = reproduced(patient, number).agreement
        assert not agreement.equal
        assert {pair.name for pair in agreement.beyond} == {name}

    def test_of_where_a_trial_diverged_is_found_out(self, patient: Patient) -> None:
        db = patient.open()
        number = number_of(db, "state = 'diverged' and reused_from is null")
        db.close()
        patient.sql("UPDATE rdsweep_trials SET error = 'elsewhere' WHERE state = 'diverged'")
        assert not reproduced(patient, number).agreement.equal


class TestTheCommand:
    def test_says_that_all_is_equal(self, swept: Rdsweep) -> None:
        db = open_database(swept.url)
        number = number_of(db, "state = 'complete' and reused_from is null")
        db.close()
        said = swept("reproduce", STUDY, str(number)).stdout
        assert "every number must be equal" in said
        assert "bit for bit equal: 3 epochs, " in said

    def test_names_the_trial_that_a_reused_one_took_its_results_from(self, swept: Rdsweep) -> None:
        db = open_database(swept.url)
        trial = query_trials(db, STUDY, where="reused_from is not null")[0]
        db.close()
        said = swept("reproduce", STUDY, str(trial.number)).stdout
        assert f"its results are those of trial {trial.reused_from}" in said

    def test_ends_with_1_where_a_number_differs(self, swept: Rdsweep, patient: Patient) -> None:
        patient.sql("UPDATE rdsweep_trials SET rate_nats = rate_nats + 0.5")
        number = patient.one(
            "SELECT number FROM rdsweep_trials WHERE state = 'complete' AND reused_from IS NULL"
        )
        options = ("reproduce", STUDY, str(number), "--storage", patient.url)
        said = swept(*options, status=1).stdout
        assert "not reproduced: 1 of " in said
        found = json.loads(swept(*options, "--json", status=1).stdout)
        assert (found["equal"], found["bit_for_bit"], found["tolerance"]) == (False, False, 0.0)
        (pair,) = (each for each in found["values"] if each["difference"] != 0)
        assert (pair["place"], pair["name"]) == ("metrics", "rate_nats")
        swept(*options, "--tolerance", "0.9")

    def test_refuses_data_that_are_not_the_studys(self, swept: Rdsweep, patient: Patient) -> None:
        changed = "json_set(data, '$.checksum', '0000')"
        patient.sql(f"UPDATE rdsweep_studies SET data = {changed}")
        said = swept("reproduce", STUDY, "0", "--storage", patient.url, status=2).stderr
        assert "The data must be what study 'small' was made with" in said
        assert len(said.strip().splitlines()) == 1


class TestWhatCannotBeReproduced:
    def test_is_a_trial_that_has_not_ended(self, patient: Patient) -> None:
        db = patient.open()
        add_trials(db, STUDY, [new_trial(50)])
        with pytest.raises(SweepError, match="trial 50 of study 'small' is queued; wait for its"):
            prepare_reproduction(db, STUDY, 50)
        db.close()

    def test_is_a_trial_that_failed(self, patient: Patient) -> None:
        patient.sql("UPDATE rdsweep_trials SET state = 'failed' WHERE number = 0")
        db = patient.open()
        with pytest.raises(SweepError, match="is failed; it left nothing to compare with"):
            prepare_reproduction(db, STUDY, 0)
        db.close()

    def test_is_a_trial_that_is_not_there(self, patient: Patient) -> None:
        db = patient.open()
        with pytest.raises(SweepError, match="there is no trial 999 of study 'small'"):
            prepare_reproduction(db, STUDY, 999)
        db.close()


class TestCircumstances:
    @pytest.mark.parametrize(
        ("key", "then"), [("torch", "1.0.0"), ("threads", 64), ("hardware", "an abacus")]
    )
    def test_that_differ_are_named_and_call_for_a_tolerance(
        self, patient: Patient, key: str, then: object
    ) -> None:
        db = patient.open()
        record = trainers_of(db, STUDY, 0)[0]
        db.close()
        changed = replace(record, versions={**record.versions, key: then})
        study = prepared_study(patient)
        found = circumstances_of(study, [changed], "cpu", 1)
        assert len(found.differences) == 1
        assert found.differences[0].startswith(f"{key} was {then}, and now is ")
        assert found.tolerance == ELSEWHERE
        assert circumstances_of(study, [changed], "cpu", 1, tolerance=0.2).tolerance == 0.2

    def test_of_a_gpu_and_a_cpu_differ(self, patient: Patient) -> None:
        db = patient.open()
        record = replace(trainers_of(db, STUDY, 0)[0], device="cuda:0")
        db.close()
        found = circumstances_of(prepared_study(patient), [record], "cpu", 1)
        assert "it was trained on cuda:0, and now is on cpu" in found.differences


def prepared_study(patient: Patient) -> StudyRecord:
    db = patient.open()
    found = get_study(db, STUDY)
    db.close()
    return found


def complete(*epochs: EpochRecord, **metrics: Any) -> Ending:
    return Ending(
        state="complete",
        error=None,
        epochs=epochs,
        metrics=replace(EVALUATION, **metrics),
        latents=LATENTS,
    )


def agreed(again: Ending, tolerance: float) -> Agreement:
    stored = complete(epoch_record(1), epoch_record(2))
    return agreement_of(stored, again, tolerance=tolerance)


class TestATolerance:
    """It holds relative to the stored number, or to 1 where that is smaller."""

    def test_lets_decisive_numbers_differ_by_so_much(self) -> None:
        again = complete(epoch_record(1), epoch_record(2), distortion_nll_nats=60.6)
        assert agreed(again, 0.011).equal
        assert not agreed(again, 0.009).equal
        assert not agreed(again, 0.011).bit_for_bit

    def test_is_not_for_what_jumps(self) -> None:
        again = complete(epoch_record(1), epoch_record(2), active_units=4)
        assert agreed(again, 1e-3).equal
        assert not agreed(again, 0).equal

    def test_does_not_excuse_an_epoch_that_is_missing(self) -> None:
        assert not agreed(complete(epoch_record(1)), 0.5).equal

    def test_does_not_excuse_another_end(self) -> None:
        again = Ending(state="diverged", error="NaN", epochs=(), metrics=None, latents=())
        assert not agreed(again, 0.5).equal

    def test_lets_a_trial_diverge_at_another_step(self) -> None:
        def diverged(error: str, *epochs: EpochRecord) -> Ending:
            return Ending(state="diverged", error=error, epochs=epochs, metrics=None, latents=())

        then, now = diverged("step 3"), diverged("step 9", epoch_record(1))
        assert agreement_of(then, now, tolerance=0.05).equal
        assert not agreement_of(then, now, tolerance=0).equal
