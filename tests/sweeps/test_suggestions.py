"""The suggestion desk: nobody gets the same trial twice, and nothing is lost on the way."""

import json
import math
import os
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import event

from optuna_memory import optuna_study
from studies.queue import counts
from studies.sampler_lease import acquire_sampler, release_sampler
from studies.study_records import get_study, update_study
from sweeps.errors import SuggestionError
from sweeps.space import fingerprint
from sweeps.suggestions import Refill
from toy_sweeps import BETA, TREE, ToySweep, trade_off

SAMPLERS = ["random", "sobol", "tpe", "nsga2", "gp"]
SMALL = {"latent_dim": [2, 4, 8], "reduction": ["sum", "mean"], "learning_rate": [1e-3, 1e-2]}


def optuna_trials(sweep: ToySweep) -> list[optuna.trial.FrozenTrial]:
    return optuna_study(sweep.db.url, "toy").get_trials(deepcopy=False)


def driven(folder: Path, space: Any, **study: Any) -> list[dict[str, Any]]:
    sweep = ToySweep.create(folder, space, **study)
    sweep.drive(trade_off)
    return [trial.parameters for trial in sweep.trials()]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_seeded_study_driven_in_order_repeats(tmp_path: Path, sampler: str) -> None:
    trials = 14 if sampler == "gp" else 30  # a GP is fitted anew for each trial after the tenth
    first = driven(tmp_path / "a", TREE, sampler=sampler, trials=trials)
    assert len(first) == trials
    assert first == driven(tmp_path / "b", TREE, sampler=sampler, trials=trials)


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_a_seeded_study_repeats_in_another_process(tmp_path: Path, sampler: str) -> None:
    code = (
        "import json, sys; from pathlib import Path; sys.path[:0] = [sys.argv[1]]\n"
        "from toy_sweeps import TREE, ToySweep, trade_off\n"
        "sweep = ToySweep.create(Path(sys.argv[2]), TREE, sampler=sys.argv[3], trials=16)\n"
        "sweep.drive(trade_off); print(json.dumps([t.parameters for t in sweep.trials()]))"
    )
    support = Path(__file__).parents[1] / "support"
    printed = [
        subprocess.run(
            [sys.executable, "-c", code, str(support), str(tmp_path / hash_seed), sampler],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(support.parents[1])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert printed[0] == printed[1]
    assert len(json.loads(printed[0])) == 16


@pytest.mark.parametrize("sampler", ["random", "sobol"])
def test_another_seed_gives_other_trials(tmp_path: Path, sampler: str) -> None:
    first = driven(tmp_path / "a", TREE, sampler=sampler, trials=5)
    other = driven(tmp_path / "b", TREE, sampler=sampler, trials=5, seed=1)
    assert all(one != another for one, another in zip(first, other, strict=True))


@pytest.mark.parametrize("sampler", ["random", "sobol"])
def test_trials_of_samplers_without_memory_do_not_depend_on_the_batches(
    tmp_path: Path, sampler: str
) -> None:
    one, four = (
        ToySweep.create(tmp_path / name, TREE, sampler=sampler, trials=12) for name in "ab"
    )
    one.drive(trade_off, batch=1)
    four.drive(trade_off, batch=4)
    assert [t.parameters for t in one.trials()] == [t.parameters for t in four.trials()]


@pytest.mark.parametrize("sampler", [*SAMPLERS, "grid", "auto"])
def test_a_discrete_space_is_covered_without_duplicates_and_then_exhausted(
    tmp_path: Path, sampler: str
) -> None:
    sweep = ToySweep.create(tmp_path, SMALL, sampler=sampler, trials=20)
    sweep.drive(trade_off, batch=4)
    suggested = Counter(fingerprint(trial.parameters) for trial in sweep.trials())
    assert len(suggested) == 3 * 2 * 2
    assert set(suggested.values()) == {1}
    asked = len(optuna_trials(sweep))
    assert sweep.desk().refill(1) == Refill(exhausted=True)
    assert len(optuna_trials(sweep)) == asked


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(
    "space",
    [
        {"latent_dim": {"low": 2, "high": 9}, "reduction": ["sum", "mean", "pixel_mean"]},
        {"annealing": ["constant", "linear"], "warmup": {"low": 0.1, "high": 0.9}},
        {"regulariser": ["kl", "wae_mmd"], "beta": BETA},
    ],
    ids=["discrete", "with a branch of one point", "with a beta that one loss lacks"],
)
def test_a_batch_holds_no_trial_twice_nor_one_from_before(
    tmp_path: Path, sampler: str, space: dict[str, Any]
) -> None:
    sweep = ToySweep.create(tmp_path, space, sampler=sampler, trials=11)
    sweep.drive(trade_off, batch=11)
    update_study(sweep.db, replace(get_study(sweep.db, "toy"), trials_wanted=16))
    assert sweep.desk().refill(5) == Refill(queued=5)
    assert len({fingerprint(trial.parameters) for trial in sweep.trials()}) == 16


def test_a_batch_takes_the_same_statements_however_long_the_history(tmp_path: Path) -> None:
    statements = []
    for finished in (8, 16):
        sweep = ToySweep.create(
            tmp_path / str(finished), {"beta": BETA}, sampler="random", trials=finished
        )
        sweep.drive(trade_off, batch=8)
        update_study(sweep.db, replace(get_study(sweep.db, "toy"), trials_wanted=finished + 8))
        desk = sweep.desk()
        seen: list[str] = []
        event.listen(
            desk._storage._engine,
            "before_cursor_execute",
            lambda *args, seen=seen: seen.append(args[2]),
        )
        assert desk.refill(8) == Refill(queued=8)
        statements.append(len(seen))
    assert statements[0] == statements[1] > 0


def test_a_duplicate_ends_as_failed_in_optuna_and_names_its_twin(tmp_path: Path) -> None:
    sweep = ToySweep.create(tmp_path, SMALL, sampler="random", trials=12)
    sweep.drive(trade_off)
    stored = {trial.number: trial for trial in sweep.trials()}
    rejected = [trial for trial in optuna_trials(sweep) if trial.number not in stored]
    assert rejected
    for trial in rejected:
        assert trial.state is TrialState.FAIL
        twin = stored[trial.user_attrs["rdsweep:duplicate_of"]]
        assert fingerprint(twin.parameters) == fingerprint(trial.params)


def test_the_order_of_a_grid_is_shuffled_by_the_seed(tmp_path: Path) -> None:
    first, same, other = (
        driven(tmp_path / str(index), SMALL, sampler="grid", trials=12, seed=seed)
        for index, seed in enumerate([0, 0, 1])
    )
    assert first == same
    assert first != other
    assert sorted(map(fingerprint, first)) == sorted(map(fingerprint, other))


@pytest.mark.parametrize("sampler", ["random", "sobol", "tpe"])
def test_conditional_parameters_are_suggested_only_where_they_count(
    tmp_path: Path, sampler: str
) -> None:
    for parameters in driven(tmp_path, TREE, sampler=sampler, trials=30):
        assert ("warmup" in parameters) == (parameters["annealing"] == "linear")
        assert ("cycles" in parameters) == (parameters["annealing"] == "cyclical")
        assert ("hidden" in parameters) == (parameters["family"] == "mlp")


def test_the_study_never_gets_more_trials_than_it_wants(tmp_path: Path) -> None:
    sweep = ToySweep.create(tmp_path, {"beta": BETA}, sampler="random", trials=5)
    desk = sweep.desk()
    assert desk.refill(3) == Refill(queued=3)
    assert desk.refill(3) == Refill(queued=2)
    assert desk.refill(3) == Refill(queued=0)
    update_study(sweep.db, replace(get_study(sweep.db, "toy"), trials_wanted=6))
    assert desk.refill(3) == Refill(queued=1)


def test_a_continued_study_never_repeats_a_point(tmp_path: Path) -> None:
    sweep = ToySweep.create(tmp_path, {"beta": BETA}, sampler="tpe", trials=15)
    sweep.drive(trade_off)
    update_study(sweep.db, replace(get_study(sweep.db, "toy"), trials_wanted=30))
    sweep.drive(trade_off)
    assert len({trial.parameters["beta"] for trial in sweep.trials()}) == 30


class TestTelling:
    def test_optuna_hears_every_outcome_as_the_record_has_it(self, tmp_path: Path) -> None:
        sweep = ToySweep.create(tmp_path, {"beta": BETA}, sampler="random", trials=3)
        desk = sweep.desk()
        desk.refill(3)
        complete, diverged, failed = (sweep.take() for _ in range(3))
        assert complete is not None
        assert diverged is not None
        assert failed is not None
        sweep.finish(complete, (3.0, 4.0))
        sweep.finish(diverged, None)
        sweep.fail(failed)
        assert desk.settle() == 3
        assert desk.settle() == 0
        told = optuna_trials(sweep)
        assert [t.state for t in told] == [
            TrialState.COMPLETE,
            TrialState.COMPLETE,
            TrialState.FAIL,
        ]
        assert told[0].values == [3.0, 4.0]
        assert told[0].constraints == {"diverged": 0.0}
        assert told[1].values == [math.inf, math.inf]
        assert told[1].constraints == {"diverged": 1.0}
        assert all(trial.told for trial in sweep.trials())

    def test_the_distortion_is_that_of_the_study(self, tmp_path: Path) -> None:
        sweep = ToySweep.create(tmp_path, {"beta": BETA}, trials=1, distortion="nll")
        desk = sweep.desk()
        desk.refill(1)
        lease = sweep.take()
        assert lease is not None
        sweep.finish(lease, (3.0, 7.0))
        desk.settle()
        assert optuna_trials(sweep)[0].values == [3.0, 7.0]

    def test_an_outcome_stored_before_a_crash_is_told_by_the_next_desk(
        self, tmp_path: Path
    ) -> None:
        sweep = ToySweep.create(tmp_path, {"beta": BETA}, sampler="random", trials=4)
        sweep.desk("first").refill(2)
        for _ in range(2):
            lease = sweep.take()
            assert lease is not None
            sweep.finish(lease, (1.0, 2.0))
        assert sweep.desk("second").settle() == 2
        assert {trial.state for trial in optuna_trials(sweep)} == {TrialState.COMPLETE}

    def test_a_crash_between_telling_and_noting_it_does_no_harm(self, tmp_path: Path) -> None:
        sweep = ToySweep.create(tmp_path, {"beta": BETA}, sampler="random", trials=4)
        desk = sweep.desk()
        desk.refill(1)
        lease = sweep.take()
        assert lease is not None
        sweep.finish(lease, (1.0, 2.0))
        optuna_study(sweep.db.url, "toy").tell(lease.number, [1.0, 2.0])
        assert desk.settle() == 1
        assert sweep.desk().settle() == 0

    def test_a_crash_between_constraint_and_telling_does_no_harm(self, tmp_path: Path) -> None:
        sweep = ToySweep.create(tmp_path, {"beta": BETA}, sampler="random", trials=4)
        desk = sweep.desk()
        desk.refill(1)
        lease = sweep.take()
        assert lease is not None
        sweep.finish(lease, None)
        desk._constrain(desk._trial_id(lease.number), 1.0)
        assert desk.settle() == 1
        assert optuna_trials(sweep)[0].constraints == {"diverged": 1.0}

    def test_a_trial_that_optuna_lost_is_named(self, tmp_path: Path) -> None:
        sweep = ToySweep.create(tmp_path, {"beta": BETA}, sampler="random", trials=4)
        desk = sweep.desk()
        desk.refill(1)
        lease = sweep.take()
        assert lease is not None
        sweep.finish(lease, (1.0, 2.0))
        storage = optuna_study(sweep.db.url, "toy")._storage
        optuna.delete_study(study_name="toy", storage=storage)
        optuna.create_study(study_name="toy", storage=storage, directions=["minimize"] * 2)
        load_optuna = optuna.load_study(study_name="toy", storage=storage)
        load_optuna.set_user_attr("rdsweep", True)
        with pytest.raises(SuggestionError, match="it lacks trial 0"):
            sweep.desk().settle()

    def test_numbers_are_never_given_out_again_when_optuna_lost_finished_trials(
        self, tmp_path: Path
    ) -> None:
        sweep = ToySweep.create(tmp_path, {"beta": BETA}, sampler="random", trials=4)
        desk = sweep.desk()
        desk.refill(1)
        lease = sweep.take()
        assert lease is not None
        sweep.finish(lease, (1.0, 2.0))
        desk.settle()
        storage = optuna_study(sweep.db.url, "toy")._storage
        optuna.delete_study(study_name="toy", storage=storage)
        again = optuna.create_study(study_name="toy", storage=storage, directions=["minimize"] * 2)
        again.set_user_attr("rdsweep", True)
        with pytest.raises(SuggestionError, match="it lacks trial 0"):
            sweep.desk().refill(1)


class TestOrphans:
    def test_a_whole_suggestion_that_was_never_stored_is_queued(self, tmp_path: Path) -> None:
        sweep = ToySweep.create(tmp_path, TREE, sampler="random", trials=4)
        crashed = sweep.desk()
        assert acquire_sampler(sweep.db, "toy", "worker", 60)
        suggestion = crashed._ask("random", 4)
        number = crashed._commit()
        assert sum(counts(sweep.db, "toy").values()) == 0
        release_sampler(sweep.db, "toy", "worker")  # in life, the lease of the dead runs out
        assert sweep.desk("second").refill(1) == Refill(queued=1)
        (recovered,) = sweep.trials()
        assert recovered.number == number
        assert recovered.parameters == suggestion.parameters
        assert recovered.config == suggestion.config.to_dict()

    def test_half_a_suggestion_ends_as_failed(self, tmp_path: Path) -> None:
        sweep = ToySweep.create(tmp_path, TREE, sampler="random", trials=4)
        half = optuna_study(sweep.db.url, "toy").ask()
        assert sweep.desk().refill(1) == Refill(queued=1)
        assert optuna_trials(sweep)[half.number].state is TrialState.FAIL
        assert [trial.number for trial in sweep.trials()] == [half.number + 1]

    def test_a_trial_that_runs_is_no_orphan(self, tmp_path: Path) -> None:
        sweep = ToySweep.create(tmp_path, TREE, sampler="random", trials=4)
        sweep.desk("first").refill(1)
        sweep.take()
        sweep.desk("second").refill(1)
        assert [t.state for t in optuna_trials(sweep)] == [TrialState.RUNNING] * 2

    def test_a_point_that_was_left_waiting_is_used_once(self, tmp_path: Path) -> None:
        sweep = ToySweep.create(tmp_path, SMALL, sampler="grid", trials=12)
        point = {"latent_dim": 8, "reduction": "mean", "learning_rate": 1e-2}
        memory = optuna_study(sweep.db.url)
        memory.enqueue_trial(point)
        sweep.drive(trade_off)
        assert sweep.trials()[0].parameters == point
        assert len({fingerprint(trial.parameters) for trial in sweep.trials()}) == 12
        assert memory.get_trials(states=[TrialState.WAITING]) == []

    def test_a_point_that_was_enqueued_in_part_is_filled_up(self, tmp_path: Path) -> None:
        sweep = ToySweep.create(tmp_path, TREE, sampler="tpe", trials=4)
        optuna_study(sweep.db.url).enqueue_trial({"latent_dim": 5})
        sweep.drive(trade_off)
        assert sweep.trials()[0].latent_dim == 5


class TestTwoDesks:
    def test_a_desk_without_the_lease_does_nothing(self, tmp_path: Path) -> None:
        sweep = ToySweep.create(tmp_path, {"beta": BETA}, sampler="random", trials=4)
        assert acquire_sampler(sweep.db, "toy", "other", 60)
        assert sweep.desk().refill(2) == Refill(held_elsewhere=True)
        assert sweep.trials() == []
        release_sampler(sweep.db, "toy", "other")
        assert sweep.desk().refill(2) == Refill(queued=2)

    def test_a_desk_that_lost_its_lease_stores_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sweep = ToySweep.create(tmp_path, {"beta": BETA}, sampler="random", trials=4)
        slow = sweep.desk("slow")
        ask = slow._ask

        def ask_slowly(*arguments: Any) -> Any:
            asked = ask(*arguments)
            release_sampler(sweep.db, "toy", "slow")
            assert acquire_sampler(sweep.db, "toy", "quick", 60)
            return asked

        monkeypatch.setattr(slow, "_ask", ask_slowly)
        assert slow.refill(1) == Refill(held_elsewhere=True)
        assert sweep.trials() == []

    @pytest.mark.parametrize("stalled_in", ["ask", "suggest"])
    def test_a_desk_that_stalls_beyond_its_lease_leaves_the_work_to_the_next(
        self, tmp_path: Path, stalled_in: str
    ) -> None:
        sweep = ToySweep.create(tmp_path, {"beta": BETA}, sampler="random", trials=4)
        slow = sweep.desk("slow")
        place: Any = slow._optuna if stalled_in == "ask" else slow._space
        call = getattr(place, stalled_in)

        def stall(*args: Any) -> Any:
            returned = call(*args)
            release_sampler(sweep.db, "toy", "slow")  # in life, the lease runs out
            assert sweep.desk("quick").refill(1) == Refill(queued=1)
            return returned

        setattr(place, stalled_in, stall)
        assert slow.refill(3) == Refill(held_elsewhere=True)
        assert [trial.number for trial in sweep.trials()] == [0]
        late = optuna_trials(sweep)[1]
        assert late.params == sweep.trials()[0].parameters  # from the same seed, as trial 0
        setattr(place, stalled_in, call)
        assert slow.refill(3) == Refill(queued=3)
        assert [trial.number for trial in sweep.trials()] == [0, 2, 3, 4]
        assert optuna_trials(sweep)[1].state is TrialState.FAIL

    def test_many_desks_at_once_never_queue_a_trial_twice(self, tmp_path: Path) -> None:
        sweep = ToySweep.create(tmp_path, SMALL, sampler="random", trials=12)
        problems: list[BaseException] = []

        def work(name: str) -> None:
            try:
                desk = sweep.desk(name)
                while sum(counts(sweep.db, "toy").values()) < 12:
                    desk.refill(1)
            except BaseException as error:
                problems.append(error)
                raise

        threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert problems == []
        assert len({fingerprint(trial.parameters) for trial in sweep.trials()}) == 12
        assert len(sweep.trials()) == 12
