"""The doctor finds what is wrong, mends what it safely can, and has nothing to say of what is well."""

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from old_databases import restore, rows_of
from rdsweep_command import Rdsweep
from sick_studies import STUDY, Patient, damage, write
from small_disk import small_disk
from studies.database import open_database, prepare_schema
from studies.errors import StudyNotFound
from studies.launchers import register_launcher
from studies.leases import take_trial
from studies.orders import order_stop
from studies.queue import add_trials, counts
from studies.sampler_lease import acquire_sampler
from studies.study_records import list_studies
from studies.tables import SCHEMA_VERSION
from studies.workers import list_workers, register_worker
from study_examples import new_trial
from sweeps.doctor import examine
from sweeps.doctor_disk import Mount, is_network, mount_of, mounts

SMALL = ("study.trials=3", "run.workers=1", "study.sampler=random")


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Rdsweep:
    """A finished sweep of three trials."""
    runner = Rdsweep(tmp_path_factory.mktemp("healthy"))
    changes = [part for line in SMALL for part in ("--set", line)]
    runner("run", str(runner.write_spec(epochs=1)), "--no-report", *changes)
    return runner


@pytest.fixture
def patient(healthy: Rdsweep, tmp_path: Path) -> Patient:
    return Patient.copy_of(healthy.folder, tmp_path / "copy")


class TestAHealthyStudy:
    def test_gives_nothing_to_complain_about(self, healthy: Rdsweep) -> None:
        said = healthy("doctor").stdout.splitlines()
        assert said[-1] == "all is well"
        assert all(line.startswith("ok ") for line in said[:-1])
        checks = {line.split()[1] for line in said[:-1]}
        everything = "database file journal soundness disk schema optuna workers record files"
        assert checks == set(everything.split())

    def test_is_read_to_the_last_byte_on_request(self, healthy: Rdsweep) -> None:
        said = healthy("doctor", "small", "--deep").stdout
        assert "all 3 recorded files are in" in said
        assert "with the recorded checksums" in said
        assert "pictures in the database have the recorded checksums" in said

    def test_is_told_to_programs(self, healthy: Rdsweep) -> None:
        found = json.loads(healthy("doctor", "--json").stdout)
        assert {each["level"] for each in found} == {"ok"}
        assert {each["study"] for each in found} == {None, "small"}

    def test_is_left_as_it_is(self, healthy: Rdsweep) -> None:
        db = open_database(healthy.url)
        before = rows_of(db)
        files = sorted(healthy.folder.rglob("*.safetensors"))
        healthy("doctor", "--fix")
        assert rows_of(db) == before
        assert sorted(healthy.folder.rglob("*.safetensors")) == files
        db.close()


class TestExitStatus:
    def test_is_1_while_problems_remain_and_0_once_they_are_fixed(
        self, healthy: Rdsweep, tmp_path: Path
    ) -> None:
        patient = Patient.copy_of(healthy.folder, tmp_path / "copy")
        patient.sql("UPDATE rdsweep_trials SET lease_until = 1 WHERE number = 0")
        said = healthy("doctor", "--storage", patient.url, status=1).stdout.splitlines()
        assert said[-1] == "1 problem"
        (line,) = (line for line in said if line.startswith("problem"))
        assert (
            "record       small: a trial that nobody runs has no lease, but not 0 → --fix" in line
        )
        said = healthy("doctor", "--storage", patient.url, "--fix").stdout.splitlines()
        assert said[-1] == "all is well"
        assert any(line.startswith("fixed    record       small: ended 1 leases") for line in said)
        healthy("doctor", "--storage", patient.url)

    def test_is_2_for_a_study_that_is_not_there(self, healthy: Rdsweep) -> None:
        assert "did you mean 'small'" in healthy("doctor", "smell", status=2).stderr


class TestTheDatabase:
    def test_must_be_there(self, tmp_path: Path) -> None:
        (found,) = examine(f"sqlite:///{tmp_path / 'none.db'}")
        assert found.level == "problem"
        assert "there is no file" in found.message
        assert list(tmp_path.iterdir()) == []

    def test_must_be_one(self, tmp_path: Path) -> None:
        write(tmp_path / "notes.db", b"dear diary, " * 100)
        (found,) = examine(f"sqlite:///{tmp_path / 'notes.db'}")
        assert found.level == "problem"
        assert "must be an SQLite database" in found.message

    def test_must_have_our_tables(self, tmp_path: Path) -> None:
        db = open_database(f"sqlite:///{tmp_path / 'other.db'}")
        with db.write() as connection:
            connection.execute(text("CREATE TABLE mine (id INTEGER)"))
        found = [each for each in examine(db.url) if each.level == "problem"]
        db.close()
        assert [each.check for each in found] == ["journal", "schema"]
        assert "there are no rdsweep tables" in found[1].message

    def test_is_switched_to_wal(self, patient: Patient) -> None:
        db = patient.open()
        with db.engine.connect() as connection:
            connection.connection.execute("PRAGMA journal_mode = DELETE")
        db.close()
        found = patient.complaint()
        assert (found.check, found.level) == ("journal", "problem")
        assert "must be WAL, but it is delete" in found.message
        assert patient.fixed() == ["its journal mode is WAL now"]
        assert patient.one("PRAGMA journal_mode") == "wal"

    def test_that_is_damaged_is_said_to_be(self, patient: Patient) -> None:
        patient.one("PRAGMA wal_checkpoint(TRUNCATE)")
        file = Path(patient.url.removeprefix("sqlite:///"))
        root = patient.one("SELECT rootpage FROM sqlite_master WHERE name = 'rdsweep_latents'")
        damage(file, (root - 1) * patient.one("PRAGMA page_size"))
        found = [each for each in patient.complaints() if each.check == "soundness"]
        assert [each.level for each in found] == ["problem"]
        assert "damaged" in found[0].message

    def test_rows_that_belong_to_nothing_are_found(self, patient: Patient) -> None:
        db = patient.open()
        with db.engine.connect() as connection:
            driver: Any = connection.connection
            driver.execute("PRAGMA foreign_keys = OFF")
            driver.execute("DELETE FROM rdsweep_trials WHERE number = 2")
        db.close()
        found = [each for each in patient.complaints() if each.check == "soundness"]
        assert "belong to a trial or a study that is not there" in found[0].message

    def test_that_lacks_a_column_is_said_to(self, patient: Patient) -> None:
        patient.sql("ALTER TABLE rdsweep_trials DROP COLUMN mig")
        found = next(each for each in examine(patient.url) if each.level == "problem")
        assert "lack rdsweep_trials.mig" in found.message


class TestAnotherSchema:
    def test_of_an_older_version_is_brought_up_to_date(self, tmp_path: Path) -> None:
        db = restore(f"sqlite:///{tmp_path / 'old.db'}", "0001")
        trials = len(rows_of(db)["rdsweep_trials"])
        db.close()
        found = [each for each in examine(db.url) if each.check == "schema"]
        assert [each.level for each in found] == ["problem"]
        assert "the older version 0001" in found[0].message
        fixed = [each.fixed for each in examine(db.url, fix=True) if each.fixed]
        assert f"the tables were brought from version 0001 to {SCHEMA_VERSION}" in fixed
        assert len(rows_of(db)["rdsweep_trials"]) == trials
        assert [each.level for each in examine(db.url) if each.check == "schema"] == ["ok"]

    def test_stays_while_workers_of_that_version_are_at_work(self, tmp_path: Path) -> None:
        db = restore(f"sqlite:///{tmp_path / 'old.db'}", "0002")
        with db.write() as connection:
            connection.execute(
                text(
                    "UPDATE rdsweep_workers SET ended_at = NULL, "
                    "seen_at = (julianday('now') - 2440587.5) * 86400.0"
                )
            )
        assert len(rows_of(db)["rdsweep_workers"]) > 0
        found = [each for each in examine(db.url, fix=True) if each.check == "schema"]
        db.close()
        assert [each.level for each in found] == ["problem"]
        assert "it could not be fixed: No worker may be at work" in found[0].message

    def test_of_a_newer_version_is_left_alone(self, patient: Patient) -> None:
        patient.sql("UPDATE rdsweep_alembic_version SET version_num = '9999'")
        found = patient.complaint(fix=True)
        assert found.message.startswith("the tables have version 9999, which a newer rdsweep")


class TestDisks:
    def test_that_are_small_are_told(self, healthy: Rdsweep, tmp_path: Path) -> None:
        with small_disk(tmp_path / "small", "size=30m,nr_inodes=400") as disk:
            patient = Patient.copy_of(healthy.folder, disk / "copy")
            found = [each for each in patient.complaints() if each.check == "disk"]
        assert [each.level for each in found] == ["problem", "problem"]
        assert "GiB free for the database: less than 1 GiB" in found[0].message
        assert "for models and checkpoints: less than 1 GiB" in found[1].message

    def test_with_little_room_are_worth_a_note(self, healthy: Rdsweep, tmp_path: Path) -> None:
        with small_disk(tmp_path / "small", "size=2g") as disk:
            patient = Patient.copy_of(healthy.folder, disk / "copy")
            found = [each for each in patient.complaints() if each.check == "disk"]
        assert [each.level for each in found] == ["note", "note"]

    def test_with_room_for_few_files_are_told(self, healthy: Rdsweep, tmp_path: Path) -> None:
        with small_disk(tmp_path / "small", "size=8g,nr_inodes=500") as disk:
            patient = Patient.copy_of(healthy.folder, disk / "copy")
            found = [each for each in patient.complaints() if each.check == "disk"]
        assert [each.level for each in found] == ["problem", "problem"]
        assert "more files only (inodes)" in found[0].message

    def test_that_are_read_only_are_told(self, healthy: Rdsweep, tmp_path: Path) -> None:
        with small_disk(tmp_path / "small", "size=2g") as disk:
            patient = Patient.copy_of(healthy.folder, disk / "copy")
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
            found = [each.message for each in patient.complaints() if each.level == "problem"]
        assert "must be writable for a sweep" in found[0], found

    MOUNTS = (
        Mount("/", "ext4"),
        Mount("/home", "nfs4"),
        Mount("/home/me/fast", "xfs"),
        Mount("/home/me/cloud", "fuse.sshfs"),
        Mount("/homes", "tmpfs"),
        Mount("/scratch", "autofs"),
        Mount("/scratch", "lustre"),
    )

    @pytest.mark.parametrize(
        ("path", "kind", "network"),
        [
            ("/var/sweeps.db", "ext4", False),
            ("/home/sweeps.db", "nfs4", True),
            ("/home/me/fast/a/b/sweeps.db", "xfs", False),
            ("/home/me/faster/sweeps.db", "nfs4", True),
            ("/home/me/cloud/sweeps.db", "fuse.sshfs", True),
            ("/homes/sweeps.db", "tmpfs", False),
            ("/scratch/sweeps.db", "lustre", True),
        ],
    )
    def test_of_a_network_are_known_by_the_nearest_mount(
        self, path: str, kind: str, network: bool
    ) -> None:
        mount = mount_of(Path(path), self.MOUNTS)
        assert mount is not None
        assert mount.kind == kind
        assert is_network(mount) is network

    def test_of_this_machine_are_found(self, tmp_path: Path) -> None:
        with small_disk(tmp_path / "small", "size=1m") as disk:
            (disk / "deeper").mkdir()
            assert mount_of(disk / "deeper", mounts()) == Mount(str(disk), "tmpfs")


class TestOptuna:
    def test_is_told_what_the_record_wrongly_counts_as_told(self, patient: Patient) -> None:
        patient.sql(
            "DELETE FROM trial_values WHERE trial_id = (SELECT trial_id FROM trials "
            "WHERE number = 1)"
        )
        patient.sql("UPDATE trials SET state = 'RUNNING' WHERE number = 1")
        found = patient.complaint()
        assert (found.check, found.level) == ("optuna", "problem")
        assert found.message == "the record counts trial 1 as told, but Optuna was not"
        assert patient.fixed() == ["told Optuna 1 outcomes"]
        rate = patient.trials()[1].rate_nats
        assert patient.one(
            "SELECT value FROM trial_values JOIN trials USING (trial_id) "
            "WHERE number = 1 AND objective = 0"
        ) == pytest.approx(rate, rel=1e-15)

    def test_is_told_what_it_has_not_heard_yet(self, patient: Patient) -> None:
        patient.sql("UPDATE trials SET state = 'RUNNING' WHERE number = 2")
        patient.sql("UPDATE rdsweep_trials SET told = 0 WHERE number = 2")
        found = patient.complaint()
        assert (found.level, found.message) == ("note", "Optuna has not been told of trial 2")
        assert patient.fixed() == ["told Optuna 1 outcomes"]

    def test_is_not_expected_to_have_heard_while_somebody_tells_it(self, patient: Patient) -> None:
        patient.sql("UPDATE trials SET state = 'RUNNING' WHERE number = 2")
        patient.sql("UPDATE rdsweep_trials SET told = 0 WHERE number = 2")
        db = patient.open()
        acquire_sampler(db, STUDY, "w/desk", 60.0)
        db.close()
        assert patient.complaints() == []

    IRREPARABLE: tuple[tuple[str, str], ...] = (
        (
            "UPDATE trial_values SET value = value + 1e-3 WHERE objective = 1 AND trial_id = 1",
            r"told something else than the record has of trial 0$",
        ),
        (
            "UPDATE rdsweep_trials SET rate_nats = rate_nats * 1.000001 WHERE number = 2",
            r"told something else than the record has of trial 2$",
        ),
        (
            "UPDATE trials SET state = 'FAIL' WHERE number = 1",
            r"told something else than the record has of trial 1$",
        ),
        (
            "UPDATE trials SET number = 77, state = 'FAIL' WHERE number = 1",
            r"Optuna lacks trial 1 of the record$",
        ),
        (
            "DELETE FROM rdsweep_trials WHERE number = 1",
            r"Optuna has results of trial 1 that the record lacks$",
        ),
    )

    @pytest.mark.parametrize(("statement", "message"), IRREPARABLE)
    def test_that_knows_something_else_is_told_of_and_left_alone(
        self, patient: Patient, statement: str, message: str
    ) -> None:
        patient.sql(statement)
        found = [each for each in patient.complaints(fix=True) if each.check == "optuna"]
        assert [each.level for each in found] == ["problem"]
        assert re.search(message, found[0].message)

    def test_that_was_told_of_a_running_trial_is_told_of(self, patient: Patient) -> None:
        db = patient.open()
        add_trials(db, STUDY, [new_trial(3)])
        db.close()
        patient.sql(
            "INSERT INTO trials (trial_id, number, study_id, state) VALUES (99, 3, 1, 'COMPLETE')"
        )
        assert "Optuna has a result of trial 3, unfinished" in patient.complaint().message

    def test_may_be_ahead_of_the_queue(self, patient: Patient) -> None:
        patient.sql(
            "INSERT INTO trials (trial_id, number, study_id, state) VALUES (99, 3, 1, 'RUNNING')"
        )
        found = patient.complaint()
        assert (found.level, found.message) == (
            "note",
            "Optuna suggested trial 3 that nobody queued yet",
        )

    def test_must_have_the_study(self, patient: Patient) -> None:
        patient.sql("UPDATE studies SET study_name = 'moved'")
        found = patient.complaints()
        assert [each.level for each in found] == ["note", "problem"]
        assert "a study 'moved' of ours with 3 trials that the record lacks" in found[0].message
        assert "Optuna has none of that name" in found[1].message

    def test_must_have_our_own_study(self, patient: Patient) -> None:
        patient.sql("DELETE FROM study_user_attributes")
        assert "Optuna has one that is not ours" in patient.complaint().message


class TestWorkers:
    def register(self, patient: Patient, **more: Any) -> None:
        db = patient.open()
        add_trials(db, STUDY, [new_trial(3)])
        register_worker(
            db,
            STUDY,
            "w",
            **{
                "host": "elsewhere",
                "pid": 1,
                "process_started_at": 0.0,
                "device": "cpu",
                "versions": {},
                **more,
            },
        )
        assert take_trial(db, STUDY, "w", lease_seconds=500.0, max_attempts=3) is not None
        db.close()
        patient.sql(
            "INSERT INTO trials (trial_id, number, study_id, state) VALUES (99, 3, 1, 'RUNNING')"
        )

    def test_that_live_are_let_alone(self, patient: Patient) -> None:
        self.register(patient)
        assert patient.complaints(fix=True) == []
        assert patient.trials()[3].state == "running"

    def test_whose_process_is_gone_give_their_trials_back(self, patient: Patient) -> None:
        ended = subprocess.Popen(["true"])
        ended.wait()
        self.register(patient, host=socket.gethostname(), pid=ended.pid)
        found = patient.complaint()
        assert found.level == "note"
        assert "has not ended, but its process is gone" in found.message
        place = f"{socket.gethostname()}:{ended.pid}"
        fixed = f"worker {place} counts as ended; trial 3 is in the queue again"
        assert patient.fixed() == [fixed]
        assert patient.trials()[3].state == "queued"

    def test_that_are_silent_elsewhere_give_their_trials_back(self, patient: Patient) -> None:
        self.register(patient)
        patient.sql("UPDATE rdsweep_workers SET seen_at = seen_at - 1000")
        message = patient.complaint().message
        assert re.search(
            r"nothing was heard of it for 16 min [45]\d s", message
        )  # 1000 s and more
        assert patient.fixed() == [
            "worker elsewhere:1 counts as ended; trial 3 is in the queue again"
        ]

    def test_that_ended_with_a_trial_in_hand_leave_it_to_others(self, patient: Patient) -> None:
        self.register(patient)
        patient.sql("UPDATE rdsweep_workers SET ended_at = seen_at")
        assert "trial 3 has lost its worker, and its lease lasts" in patient.complaint().message
        patient.sql("UPDATE rdsweep_trials SET lease_until = lease_until - 600 WHERE number = 3")
        assert "the lease on trial 3 (epoch 0/20) ran out 1 min" in patient.complaint().message
        assert patient.fixed() == ["trial 3 is in the queue again"]

    def test_of_a_sampler_that_are_gone_free_it(self, patient: Patient) -> None:
        db = patient.open()
        acquire_sampler(db, STUDY, "w/desk", -90.0)
        db.close()
        found = patient.complaint()
        assert found.message == "the sampler lease of w/desk ran out 1 min 30 s ago"
        assert patient.fixed() == ["the sampler lease is free"]

    def test_have_launchers_that_may_be_gone(self, patient: Patient) -> None:
        db = patient.open()
        register_launcher(
            db,
            STUDY,
            "l",
            kind="local",
            host="elsewhere",
            pid=5,
            process_started_at=0.0,
            workers_wanted=2,
        )
        db.close()
        assert patient.complaints() == []
        patient.sql("UPDATE rdsweep_launchers SET seen_at = seen_at - 600")
        assert "local launcher elsewhere:5 has not ended" in patient.complaint().message
        assert patient.fixed() == ["launcher elsewhere:5 counts as ended"]

    def test_may_be_ordered_to_stop(self, patient: Patient) -> None:
        db = patient.open()
        order_stop(db, STUDY, "drain")
        db.close()
        found = patient.complaint(fix=True)
        assert (found.level, found.fixed) == ("note", None)
        assert "ordered to stop (drain)" in found.message


class TestFiles:
    def test_that_are_missing_cut_or_changed_are_found(self, patient: Patient) -> None:
        patient.model(0).unlink()
        cut, changed = patient.model(1), patient.model(2)
        cut.write_bytes(cut.read_bytes()[:-1])
        damage(changed, 200, 8)
        messages = [each.message for each in patient.complaints(fix=True)]
        assert messages == [
            "the model of trial 0 is missing",
            "the model of trial 1 has another size than recorded",
        ]
        messages = [each.message for each in patient.complaints(deep=True)]
        assert messages[2:] == ["the model of trial 2 has another checksum than recorded"]

    def test_pictures_that_were_changed_are_found(self, patient: Patient) -> None:
        patient.sql(
            "UPDATE rdsweep_artifacts SET content = zeroblob(size) WHERE kind = 'samples' AND "
            "trial_id = (SELECT id FROM rdsweep_trials WHERE number = 1)"
        )
        assert patient.complaints() == []
        found = patient.complaint(deep=True)
        assert found.message == "pictures of trial 1 (samples) have another checksum than recorded"

    def test_left_over_from_finished_trials_are_deleted(self, patient: Patient) -> None:
        left = [
            write(patient.folder(number) / f"checkpoint-00000{number}-001.safetensors")
            for number in (1, 2)
        ]
        models = [patient.model(number) for number in range(3)]
        found = patient.complaint()
        assert found.level == "note"
        assert "2 checkpoints (0.0 MiB) of finished trials that no record needs" in found.message
        assert patient.fixed() == ["deleted 2 checkpoints (0.0 MiB) of finished trials"]
        assert not any(path.exists() for path in left)
        assert all(path.exists() for path in models)

    def test_half_written_by_killed_workers_are_deleted(self, patient: Patient) -> None:
        name = f".model-001.safetensors.{'0' * 32}.part"
        part = write(patient.folder(1) / name)
        assert "1 half-written files of killed writers" in patient.complaint().message
        assert patient.fixed() == ["deleted 1 half-written files"]
        assert not part.exists()

    def test_that_are_not_ours_are_let_alone(self, patient: Patient) -> None:
        strange = [
            write(patient.folder(1) / "notes.txt"),
            write(patient.folder(1) / ".notes.txt.part"),
            write(patient.folder(1) / "checkpoint-best.safetensors"),
            write(patient.files / "checkpoint-000001-001.safetensors"),
            write(patient.files / STUDY / "logs" / "worker-9.log"),
        ]
        assert patient.complaints(fix=True) == []
        assert all(path.exists() for path in strange)

    def test_of_an_unfinished_trial_are_let_alone(self, patient: Patient) -> None:
        db = patient.open()
        add_trials(db, STUDY, [new_trial(3)])
        db.close()
        patient.sql(
            "INSERT INTO trials (trial_id, number, study_id, state) VALUES (99, 3, 1, 'RUNNING')"
        )
        folder = patient.folder(3)
        kept = [
            write(folder / "checkpoint-000007-002.safetensors"),
            write(folder / f".checkpoint-000008-002.safetensors.{'0' * 32}.part"),
        ]
        assert patient.complaints(fix=True) == []
        assert all(path.exists() for path in kept)

    def test_of_a_trial_without_its_model_are_all_that_is_left_of_it(
        self, patient: Patient
    ) -> None:
        patient.model(1).unlink()
        kept = write(patient.folder(1) / "checkpoint-000001-001.safetensors")
        assert [each.level for each in patient.complaints(fix=True)] == ["problem"]
        assert kept.exists()

    def test_of_a_study_that_is_gone_are_told_of_and_kept(self, patient: Patient) -> None:
        gone = write(patient.files / "gone" / "00004-0a1b2c3d" / "model-001.safetensors")
        former = write(patient.files / STUDY / "00001-ffffffff" / "model-001.safetensors")
        found = patient.complaint(fix=True)
        assert found.level == "note"
        assert "2 files (0.0 MiB)" in found.message
        assert found.message.endswith("gone/00004-0a1b2c3d, small/00001-ffffffff")
        assert gone.exists()
        assert former.exists()

    def test_in_a_directory_that_is_not_there_cannot_be_read(self, patient: Patient) -> None:
        patient.files.rename(patient.files.with_name("elsewhere"))
        found = patient.complaint()
        assert found.level == "problem"
        assert "must exist on this machine" in found.message


def test_only_the_named_study_is_looked_at(patient: Patient) -> None:
    patient.sql("UPDATE rdsweep_studies SET name = 'other'")
    with pytest.raises(StudyNotFound, match="got 'small'"):
        list(examine(patient.url, STUDY))


def test_a_sweep_gives_nothing_to_complain_about_while_it_runs_and_loses_a_worker(
    rdsweep: Rdsweep, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    """Not one problem in examinations of a sweep at work, of which a worker is killed."""
    spec = rdsweep.write_spec(epochs=3)
    sweep = rdsweep.start("run", str(spec), "--no-report", "--set", "study.trials=12")
    db = open_database(rdsweep.url)
    eventually(lambda: (rdsweep.folder / "rdsweep.db").exists())
    prepare_schema(db)

    def finished() -> int:
        return counts(db, STUDY)["complete"]

    def begun() -> bool:
        return bool(list_studies(db)) and finished() > 0

    eventually(begun)
    found = []
    killed = False
    while sweep.poll() is None:
        found += [each for each in examine(rdsweep.url) if each.level == "problem"]
        if not killed:
            os.kill(list_workers(db, STUDY, ended=False)[0].pid, signal.SIGKILL)
            killed = True
    assert sweep.returncode == 0
    assert found == []
    assert [each for each in examine(rdsweep.url) if each.level != "ok"] == []
    db.close()
