"""Optuna's memory of a study is copied whole: a sampler goes on from the copy as from the original."""

import copy
import math
import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import NSGAIISampler
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import text

from copied_studies import DIRECTIONS, empty_databases, sql
from optuna_memory import optuna_storage, optuna_study
from studies.copying import CopyError, Errand, Route, StudyCopy, check_copy, copy_study
from studies.database import Database, open_database
from studies.queries import query_trials
from sweeps.optuna_copy import make_optuna_tables, tables_of
from sweeps.samplers import quiet_optuna
from toy_sweeps import BETA, TREE, ToySweep, trade_off

ERRAND = Errand(study="toy", name="toy")


@contextmanager
def copied_from(sweep: ToySweep, back_end: str, folder: Path) -> Iterator[Database]:
    """Yields a database of one kind with a copy of a sweep."""
    with empty_databases(("sqlite", back_end), folder) as (_, target):
        copied(sweep.db, target)
        yield target


def route(source: Database, target: Database) -> Route:
    make_optuna_tables(target)
    return Route(
        source=source,
        target=target,
        source_tables=tables_of(source),
        target_tables=tables_of(target),
    )


def copied(source: Database, target: Database) -> StudyCopy:
    return copy_study(route(source, target), ERRAND)


def memory(database: Database, *, keys: bool = False) -> list[FrozenTrial]:
    """All that Optuna itself reads of the study's trials."""
    trials = copy.deepcopy(optuna_study(database.url, "toy").get_trials(deepcopy=False))
    for trial in trials:
        trial._trial_id = trial._trial_id if keys else -1
    return trials


def unfinished(folder: Path, sampler: str = "tpe", trials: int = 30) -> ToySweep:
    """A sweep in its middle: 14 trials finished, one of them diverged, one running, one queued."""
    sweep = ToySweep.create(folder, TREE, sampler=sampler, trials=trials)
    desk = sweep.desk()
    for number in range(14):
        desk.refill(1)
        lease = sweep.take()
        assert lease is not None
        sweep.finish(lease, None if number == 5 else trade_off(lease))
    assert desk.refill(2).queued == 2
    assert sweep.take() is not None
    return sweep


# --- What Optuna reads ----------------------------------------------------------------------------


def strange_trials() -> list[FrozenTrial]:
    """Trials with what rdsweep never stores, but Optuna can."""
    distributions = {
        "log": FloatDistribution(1e-300, 1e300, log=True),
        "step": FloatDistribution(0.0, 1.0, step=0.1),
        "int": IntDistribution(1, 1000, log=True),
        "choice": CategoricalDistribution([None, True, 0, 0.1 + 0.2, "β=½ 'quoted' 🙂"]),
    }
    params = {"log": 0.1 + 0.2, "step": 0.3, "int": 77, "choice": "β=½ 'quoted' 🙂"}
    attributes = {"nested": {"β": [1, 2.5, None, math.inf]}, "text": "a\nb\t\\ \"'"}
    return [
        create_trial(
            state=state,
            values=values,
            params=params,
            distributions=distributions,
            user_attrs=attributes,
            system_attrs=attributes | {"constraints": [-0.1, 5e-324]},
            intermediate_values={0: 0.1, 7: math.inf, 9: -math.inf, 12: math.nan},
        )
        for state, values in [
            (TrialState.COMPLETE, [5e-324, 1.7976931348623157e308]),
            (TrialState.COMPLETE, [math.inf, -math.inf]),
            (TrialState.PRUNED, None),
            (TrialState.FAIL, None),
            (TrialState.RUNNING, None),
            (TrialState.WAITING, None),
        ]
    ]


@pytest.mark.parametrize("directions", DIRECTIONS[:2], ids="-to-".join)
def test_optuna_reads_the_same_trials_from_the_copy(
    tmp_path: Path, directions: tuple[str, str]
) -> None:
    """Every state, parameter, distribution, attribute, value and time, of every number."""
    sweep = unfinished(tmp_path / "toy")
    storage = optuna_storage(sweep.db.url)
    study_id = storage.get_study_id_from_name("toy")
    storage.set_study_system_attr(study_id, "nsga2:generation", {"1": [1, 2]})
    for trial in strange_trials():
        storage.create_new_trial(study_id, template_trial=trial)
    with empty_databases(directions, tmp_path) as (first, second):
        copied(sweep.db, first)
        done = copied(first, second)
        assert done.suggestions == len(memory(sweep.db)) == 22
        for database in first, second:
            assert list(map(said_of, memory(database))) == list(map(said_of, memory(sweep.db)))
            one, other = (optuna_study(each.url, "toy") for each in (sweep.db, database))
            assert other.directions == one.directions
            assert other.user_attrs == one.user_attrs
            assert attributes_of(other) == attributes_of(one) != {}


def said_of(trial: FrozenTrial) -> str:
    """All of a trial; Optuna reads dictionaries in the order in which a database gives the rows."""
    unordered = ("params", "distributions", "user_attrs", "system_attrs", "intermediate_values")
    ordered = {name: sorted(getattr(trial, name).items()) for name in unordered}
    rest = [trial.number, trial.state, trial.values, trial.datetime_start, trial.datetime_complete]
    return repr((*rest, ordered))


def test_the_parents_of_a_generation_are_the_same_trials_in_the_copy(tmp_path: Path) -> None:
    """NSGA-II remembers them by keys, which are others in the copy."""
    sweep = unfinished(tmp_path / "toy", "nsga2")
    storage = optuna_storage(sweep.db.url)
    study_id = storage.get_study_id_from_name("toy")
    parents = [storage.get_trial_id_from_study_id_trial_number(study_id, n) for n in (3, 8, 11)]
    storage.set_study_system_attr(study_id, "NSGAIISampler:parent:1", parents)
    with empty_databases(("postgresql", "sqlite"), tmp_path) as databases:
        source = sweep.db
        for target in databases:
            make_optuna_tables(target)
            other = optuna_storage(target.url)
            for number in range(3):  # so that the keys differ
                other.create_new_trial(study_with(other, f"other-{number}"))
            first, again = copied(source, target), copied(source, target)
            assert (first.changed, again.changed) == (True, False)
            assert again.checksum == first.checksum
            copy_of = optuna_study(target.url, "toy")
            found = NSGAIISampler().get_parent_population(copy_of, 1)
            assert [trial.number for trial in found] == [3, 8, 11]
            assert [trial._trial_id for trial in found] != parents
            source = target


def study_with(storage: RDBStorage, name: str) -> int:
    return storage.create_new_study([StudyDirection.MINIMIZE] * 2, name)


def attributes_of(study: optuna.Study) -> dict[str, object]:
    return study._storage.get_study_system_attrs(study._study_id)


@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsga2", "sobol", "random"])
def test_a_sampler_suggests_the_same_from_the_copy_as_from_the_original(
    tmp_path: Path, sampler: str
) -> None:
    sweep = unfinished(tmp_path / "toy", sampler)
    with copied_from(sweep, "postgresql", tmp_path) as target:
        twin = ToySweep(target, sweep.spec)
        for each in sweep, twin:
            assert each.desk("next").refill(4).queued == 4
        mine, theirs = (
            query_trials(each.db, "toy", where="number > 15") for each in (sweep, twin)
        )
        assert [trial.number for trial in theirs] == [trial.number for trial in mine]
        assert [trial.parameters for trial in theirs] == [trial.parameters for trial in mine]
        assert len({str(trial.parameters) for trial in theirs}) >= 4  # and those that were reused


def test_a_sweep_is_finished_in_the_copy(tmp_path: Path) -> None:
    """What was running or untold is trained and told there, under the same numbers."""
    sweep = unfinished(tmp_path / "toy", trials=18)
    with copied_from(sweep, "postgresql", tmp_path) as target:
        twin = ToySweep(target, sweep.spec)
        twin.drive(trade_off)
        trials = twin.trials()
        assert [trial.number for trial in trials] == list(range(18))
        assert {trial.state for trial in trials} == {"complete", "diverged"}
        assert all(trial.told for trial in trials)
        assert all(trial.state is TrialState.COMPLETE for trial in memory(target))


# --- Once more, and what is refused ---------------------------------------------------------------


@pytest.mark.parametrize("back_end", ["sqlite", "postgresql"])
def test_what_optuna_learnt_since_is_brought_along(tmp_path: Path, back_end: str) -> None:
    sweep = unfinished(tmp_path / "toy")
    with copied_from(sweep, back_end, tmp_path) as target:
        assert not copied(sweep.db, target).changed
        before = {trial.number: trial._trial_id for trial in memory(target, keys=True)}
        sweep.drive(trade_off)
        assert copied(sweep.db, target).changed
        assert memory(target) == memory(sweep.db)
        after = {trial.number: trial._trial_id for trial in memory(target, keys=True)}
        assert {number: after[number] for number in before} == before
        assert not copied(sweep.db, target).changed


def test_a_suggestion_that_only_the_targets_optuna_has_is_not_lost(tmp_path: Path) -> None:
    sweep = unfinished(tmp_path / "toy")
    with copied_from(sweep, "sqlite", tmp_path) as target:
        optuna_study(target.url, "toy").ask()
        before = memory(target)
        with pytest.raises(
            CopyError, match=r"but it has \(Optuna's trial 16\); copy it the other"
        ):
            check_copy(route(sweep.db, target), ERRAND)
        optuna_study(sweep.db.url, "toy").ask()
        with pytest.raises(CopyError, match=r"got on in both \(Optuna's trial 16\)"):
            copied(sweep.db, target)
        assert memory(target) == before


def test_somebody_elses_study_in_optuna_is_not_written_over(tmp_path: Path) -> None:
    sweep = unfinished(tmp_path / "toy")
    with empty_databases(("sqlite", "sqlite"), tmp_path) as (_, target):
        make_optuna_tables(target)
        storage = optuna_storage(target.url)
        study = optuna.create_study(storage=storage, study_name="toy")
        study.tell(study.ask(), 1.0)
        with pytest.raises(
            CopyError, match="has another study of Optuna's named 'toy'; give this"
        ):
            copied(sweep.db, target)
        assert [trial.values for trial in study.get_trials()] == [[1.0]]


def test_another_study_of_optunas_keeps_its_trials(tmp_path: Path) -> None:
    """Optuna's keys are given out anew, so they never meet those of the target."""
    sweep, other = (unfinished(tmp_path / name) for name in ("toy", "other"))
    sql(other.db, "UPDATE rdsweep_studies SET name = 'other'")
    sql(other.db, "UPDATE studies SET study_name = 'other'")
    with empty_databases(("sqlite", "postgresql"), tmp_path) as (_, target):
        copy_study(route(other.db, target), Errand(study="other", name="other"))
        copied(sweep.db, target)
        theirs = optuna_study(target.url, "other").get_trials()
        wanted = optuna_study(other.db.url, "other").get_trials()
        assert [trial.params for trial in theirs] == [trial.params for trial in wanted]
        assert memory(target) == memory(sweep.db)
        with quiet_optuna():
            optuna.delete_study(study_name="other", storage=optuna_storage(target.url))
        assert memory(target) == memory(sweep.db)
        keys = memory(target, keys=True)
        asked = optuna_study(target.url, "toy").ask()
        assert asked._trial_id > max(trial._trial_id for trial in keys)


def test_a_record_without_optunas_study_is_copied_alone(tmp_path: Path) -> None:
    sweep = ToySweep.create(tmp_path / "toy", {"beta": BETA})
    with quiet_optuna():
        optuna.delete_study(study_name="toy", storage=optuna_storage(sweep.db.url))
    with empty_databases(("sqlite", "sqlite"), tmp_path) as (_, target):
        assert copied(sweep.db, target).suggestions is None
        assert not copied(sweep.db, target).changed


# --- What goes wrong ------------------------------------------------------------------------------


def die_in_optunas_part(source: str, target: str, trials: int) -> None:
    """Copies a study, and is killed when all of its record and some of Optuna's are written."""

    def kill(done: int, _all: int) -> None:
        if done > 2 * trials:
            os.kill(os.getpid(), signal.SIGKILL)

    copy_study(route(open_database(source), open_database(target)), ERRAND, kill)


@pytest.mark.parametrize("back_end", ["sqlite", "postgresql"])
def test_our_record_and_optunas_memory_are_copied_both_or_not_at_all(
    tmp_path: Path, back_end: str
) -> None:
    sweep = unfinished(tmp_path / "toy")
    with empty_databases(("sqlite", back_end), tmp_path) as (_, target):
        process = multiprocessing.get_context("spawn").Process(
            target=die_in_optunas_part, args=(sweep.db.url, target.url, len(sweep.trials()))
        )
        process.start()
        process.join(timeout=180)
        assert process.exitcode == -signal.SIGKILL
        with target.read() as connection:
            for table in "studies", "trials", "rdsweep_studies", "rdsweep_trials":
                assert connection.scalar(text(f"SELECT count(*) FROM {table}")) == 0
        assert copied(sweep.db, target).is_new
        assert memory(target) == memory(sweep.db)
