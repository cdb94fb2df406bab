"""GECO: the Lagrangian of a squared error to reach, and how its multiplier moves."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from regulariser_contract import (
    BATCH,
    EXAMPLES,
    LATENTS,
    PIXELS,
    SIGMA2,
    Pass,
    RegulariserContract,
    assert_close,
    made,
)
from vae_models.config import ModelConfig, ObjectiveConfig, TrialConfig
from vae_models.errors import ConfigError
from vae_models.geco import Geco
from vae_models.likelihoods import likelihood_of
from vae_models.regulariser import Regulariser
from vae_models.regularisers import regulariser_of

TARGET, START = 2.0, 1 / (2 * SIGMA2)


class TestGeco(RegulariserContract):
    objective = ObjectiveConfig(regulariser="geco", target_se=TARGET)
    kind = Geco

    def buffers(self, errors: Sequence[float]) -> list[dict[str, float]]:
        """The state after each of these batches, all of whose examples have one error."""
        regulariser, one, states = made(self.objective), Pass.drawn(), []
        for error in errors:
            regulariser(one._replace(error=torch.full_like(one.error, error)).terms, 1.0)
            states.append({name: b.item() for name, b in regulariser.state_dict().items()})
        return states

    def multipliers(self, errors: Sequence[float]) -> list[float]:
        return [state["multiplier"] for state in self.buffers(errors)]

    def test_the_loss_is_the_rate_and_the_weighted_distance_to_the_target(
        self, regulariser: Regulariser
    ) -> None:
        one = Pass.drawn()
        expected = 0.5 * one.rate + START * (one.error.mean() - TARGET)
        torch.testing.assert_close(regulariser(one.terms, 0.5).value, expected)

    def test_it_starts_as_the_kl_of_beta_one(self, regulariser: Regulariser) -> None:
        loss = regulariser(Pass.drawn().terms, 1.0)
        assert float(loss.nll_weight) == pytest.approx(1.0)
        assert float(loss.rate_weight) == 1.0

    def test_the_multiplier_grows_while_the_error_is_above_its_target(self) -> None:
        found = self.multipliers([1.25 * TARGET] * 50)
        assert found == sorted(found)
        assert found[0] > START

    def test_the_multiplier_shrinks_while_the_error_is_below_its_target(self) -> None:
        found = self.multipliers([0.75 * TARGET] * 50)
        assert found == sorted(found, reverse=True)
        assert found[0] < START

    def test_at_the_target_the_multiplier_rests(self) -> None:
        assert self.multipliers([TARGET] * 5) == pytest.approx([START] * 5, rel=1e-6)

    def test_a_step_is_the_exponential_of_the_excess_over_the_target(self) -> None:
        """The moving average of a constant excess is that excess, from the first step on."""
        found = self.multipliers([1.25 * TARGET] * 3)
        expected = [START * math.exp(0.03 * 0.25 * step) for step in (1, 2, 3)]
        assert found == pytest.approx(expected, rel=1e-6)

    def test_a_step_is_at_most_three_percent(self) -> None:
        assert self.multipliers([1e6]) == pytest.approx([START * math.exp(0.03)], rel=1e-6)
        assert self.multipliers([0.0]) == pytest.approx([START * math.exp(-0.03)], rel=1e-6)

    def test_the_excess_is_smoothed_over_the_last_steps(self) -> None:
        errors = [3.0, 1.0, 2.2, 7.0]
        average = errors[0] - TARGET
        for error, state in zip(errors, self.buffers(errors), strict=True):
            average = 0.95 * average + 0.05 * (error - TARGET)
            assert state["average_excess"] == pytest.approx(average, rel=1e-6)

    @pytest.mark.parametrize(("error", "factor"), [(1e30, 1e6), (0.0, 1e-6)])
    def test_a_target_out_of_reach_takes_the_multiplier_to_its_bound(
        self, error: float, factor: float
    ) -> None:
        assert self.multipliers([error] * 500)[-1] == pytest.approx(factor * START, rel=1e-6)

    @pytest.mark.parametrize("likelihood", ["gaussian", "mse"])
    def test_the_gradient_is_that_of_the_weighted_squared_error(self, likelihood: str) -> None:
        """By the decoder's output, although the loss reaches it by way of the NLL."""
        model = ModelConfig(
            family="linear", latent_dim=LATENTS, likelihood=likelihood, sigma2=SIGMA2
        )
        sizes = {"pixels": PIXELS, "batch": BATCH, "examples": EXAMPLES}
        geco = regulariser_of(TrialConfig(model=model, objective=self.objective), **sizes)
        generator = torch.Generator().manual_seed(0)
        images = torch.randn((BATCH, 1, 3, 4), generator=generator)
        output = torch.randn((BATCH, 1, 3, 4), generator=generator, requires_grad=True)
        nll, error = likelihood_of(model).observe(output, images).costs(images)
        terms = replace(Pass.drawn().terms, distortion_nll_nats=nll, distortion_se=error)
        start = geco.state_dict()["multiplier"].item()
        (found,) = torch.autograd.grad(geco(terms, 1.0).value, output)
        assert_close([found], [start * 2 * (output - images).detach() / BATCH], rtol=1e-5)

    def test_other_likelihoods_are_refused(self) -> None:
        with pytest.raises(ConfigError, match="'geco' aims at a squared error"):
            TrialConfig(model=ModelConfig(likelihood="bernoulli"), objective=self.objective)
