"""Optuna's storage as the desk sees it: a trial is written when its suggestion is whole, at once.

Optuna writes a trial before its first parameter, then every parameter by itself, and reads the
history again for each. The desk alone writes to Optuna's study while it holds the sampler lease, so
here a trial is held in memory until it is whole, and the history is read once for a batch.
"""

from __future__ import annotations

import copy
from collections.abc import Container, Mapping, Sequence
from datetime import datetime
from typing import Any, final

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage, RDBStorage, get_storage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState, create_trial

__all__ = ["PendingTrials"]

_PENDING = -1  # the key of the trial that has none yet


@final
class PendingTrials(BaseStorage):
    """A storage that holds the trial which is being suggested back, until `commit`.

    Args:
        backend: Where trials are stored.
    """

    def __init__(self, backend: RDBStorage) -> None:
        self._engine = backend.engine
        self._backend = get_storage(backend)  # remembers what can change no more
        self._history: list[FrozenTrial] | None = None
        self._pending: FrozenTrial | None = None
        self._fixed: Mapping[str, Any] = {}

    def close(self) -> None:
        """Closes the connections."""
        self._engine.dispose()

    # --- What the desk does -----------------------------------------------------------------------

    def refresh(self, study_id: int) -> Sequence[FrozenTrial]:
        """Reads what has changed, and returns the study's trials by number; not to be changed."""
        self._history = self._backend.get_all_trials(study_id, deepcopy=False)
        return self._history

    def fix(self, parameters: Mapping[str, Any]) -> None:
        """Gives the trials that are asked for from now on these parameters, not the sampler's."""
        self._fixed = parameters

    def commit(
        self,
        study_id: int,
        state: TrialState = TrialState.RUNNING,
        attributes: Mapping[str, Any] | None = None,
    ) -> int:
        """Writes the trial that was asked for, in one transaction; returns its number.

        Args:
            study_id: The study's key.
            state: The state that it begins in.
            attributes: User attributes that it gets besides those it has.
        """
        trial = self._held()
        self._pending = None
        trial.state = state
        trial.user_attrs.update(attributes or {})
        if state.is_finished():
            trial.datetime_complete = datetime.now()  # noqa: DTZ005  (Optuna's times are local)
        trial_id = self._backend.create_new_trial(study_id, template_trial=trial)
        stored = copy.copy(trial)
        stored._trial_id = trial_id  # noqa: SLF001
        stored.number = self._backend.get_trial_number_from_id(trial_id)
        if self._history is not None:
            self._history.append(stored)
        return stored.number

    # --- What Optuna does -------------------------------------------------------------------------

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Begins a trial in memory, or stores a whole one."""
        if template_trial is not None:
            return self._backend.create_new_trial(study_id, template_trial)
        fixed = {"fixed_params": dict(self._fixed)} if self._fixed else {}
        self._pending = create_trial(state=TrialState.RUNNING, system_attrs=fixed)
        self._pending._trial_id = _PENDING  # noqa: SLF001
        self._pending.number = len(self._history or self.refresh(study_id))
        self._pending.datetime_start = datetime.now()  # noqa: DTZ005
        return _PENDING

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Returns a trial."""
        return self._backend.get_trial(trial_id) if trial_id != _PENDING else self._held()

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Returns the trials as they were when `refresh` was called, and those stored since.

        Without those that wait in Optuna's own queue: the desk asks for them by `fix`.
        """
        history = self.refresh(study_id) if self._history is None else self._history
        found = [trial for trial in history if trial.state is not TrialState.WAITING]
        if states is not None:
            found = [trial for trial in found if trial.state in states]
        return copy.deepcopy(found) if deepcopy else found

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        """Gives a trial a parameter."""
        if trial_id != _PENDING:
            self._backend.set_trial_param(trial_id, param_name, param_value_internal, distribution)
            return
        self._held().params[param_name] = distribution.to_external_repr(param_value_internal)
        self._held().distributions[param_name] = distribution

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:  # noqa: ANN401
        """Gives a trial an attribute."""
        if trial_id != _PENDING:
            self._backend.set_trial_user_attr(trial_id, key, value)
            return
        self._held().user_attrs[key] = value

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:  # noqa: ANN401
        """Gives a trial an attribute of Optuna's."""
        if trial_id != _PENDING:
            self._backend.set_trial_system_attr(trial_id, key, value)
            return
        self._held().system_attrs[key] = value

    def _held(self) -> FrozenTrial:
        if self._pending is None:
            raise RuntimeError("A trial must have been asked for, but none is in hand.")
        return self._pending

    # --- What is passed on ------------------------------------------------------------------------

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Ends a trial, or takes it from Optuna's queue."""
        return self._backend.set_trial_state_values(trial_id, state, values)

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """Reports a value of a trial."""
        self._backend.set_trial_intermediate_value(trial_id, step, intermediate_value)

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        """Returns the key of a trial."""
        return self._backend.get_trial_id_from_study_id_trial_number(study_id, trial_number)

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        """Makes a study."""
        return self._backend.create_new_study(directions, study_name)

    def delete_study(self, study_id: int) -> None:
        """Deletes a study."""
        self._backend.delete_study(study_id)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:  # noqa: ANN401
        """Gives a study an attribute."""
        self._backend.set_study_user_attr(study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:  # noqa: ANN401
        """Gives a study an attribute of Optuna's."""
        self._backend.set_study_system_attr(study_id, key, value)

    def get_study_id_from_name(self, study_name: str) -> int:
        """Returns the key of a study."""
        return self._backend.get_study_id_from_name(study_name)

    def get_study_name_from_id(self, study_id: int) -> str:
        """Returns the name of a study."""
        return self._backend.get_study_name_from_id(study_id)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Returns the directions of a study."""
        return self._backend.get_study_directions(study_id)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """Returns the attributes of a study."""
        return self._backend.get_study_user_attrs(study_id)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """Returns Optuna's attributes of a study."""
        return self._backend.get_study_system_attrs(study_id)

    def get_all_studies(self) -> list[FrozenStudy]:
        """Returns all studies."""
        return self._backend.get_all_studies()
