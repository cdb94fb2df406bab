"""Quasi-random suggestions: the n-th trial is the n-th point of one scrambled Sobol sequence."""

from collections.abc import Sequence
from typing import Any, final

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from sweeps.space import Space, encode

__all__ = ["SobolSampler"]


@final
class SobolSampler(BaseSampler):
    """Spreads trials evenly over the whole space, conditional parameters included.

    Optuna's own QMCSampler takes its dimensions from the first trial that finished: parameters
    that this one lacks are drawn at random ever after, and a change of its space starts the
    sequence again. Here every parameter of the space has its own dimension, and the position in
    the sequence is the trial's number, so that a restart goes on where it stopped.

    Owen, A. B. (1998). Scrambling Sobol' and Niederreiter–Xing points. Journal of Complexity 14.

    Args:
        space: The search space.
        seed: Of the scrambling; the same for all trials of a study.
    """

    def __init__(self, space: Space, seed: int) -> None:
        self._settings = space.parameters
        self._distributions = space.distributions()
        self._seed = seed

    def infer_relative_search_space(
        self,
        study: Study,  # noqa: ARG002 - the space is known without looking at trials
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        """The whole space."""
        return self._distributions

    def sample_relative(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],  # noqa: ARG002
    ) -> dict[str, Any]:
        """The point of this trial's number."""
        shares = self._point(trial.number)
        return {
            name: encode(setting.at(share))
            for (name, setting), share in zip(self._settings.items(), shares, strict=True)
        }

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,  # noqa: ARG002
    ) -> Any:  # noqa: ANN401 - the signature is Optuna's
        """The same point's coordinate; Optuna asks for parameters of one value this way."""
        return self.sample_relative(study, trial, {})[param_name]

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Nothing is learned."""

    def _point(self, index: int) -> Sequence[float]:
        from scipy.stats.qmc import Sobol

        if not self._settings:
            return ()
        engine = Sobol(len(self._settings), scramble=True, seed=self._seed)
        if index:
            engine.fast_forward(index)
        return [float(share) for share in engine.random(1)[0]]
