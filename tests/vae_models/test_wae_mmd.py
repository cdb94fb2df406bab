"""The Wasserstein autoencoder: the draws of the whole batch are compared with the prior."""

import math
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
from vae_models.mmd import squared_mmd
from vae_models.prior_distributions import NormalPrior
from vae_models.regulariser import Regulariser
from vae_models.regularisers import regulariser_of
from vae_models.wae_mmd import WaeMmd


class TestWaeMmd(RegulariserContract):
    objective = ObjectiveConfig(regulariser="wae_mmd", mmd_weight=20.0)
    kind = WaeMmd
    least_batch = 2

    def test_no_weight_is_the_autoencoder(self) -> None:
        one = Pass.drawn()
        loss = made(replace(self.objective, mmd_weight=0.0))(one.terms, 1.0, one.draws)
        assert torch.equal(loss.value, one.terms.distortion_nll_nats.mean())
        assert not any(bool(gradient.any()) for gradient in one.gradient(loss.value))

    def test_the_kernels_are_as_wide_as_two_draws_from_the_prior_are_apart(
        self, regulariser: Regulariser
    ) -> None:
        """The mean squared distance of two draws from N(0, I) is 2 M."""
        one = Pass.drawn()
        terms = one.terms
        penalty = squared_mmd(terms.latents, one.draws.noise, 2.0 * LATENTS)
        expected = terms.distortion_nll_nats.mean() + 0.5 * 20.0 * penalty
        assert_close([regulariser(terms, 0.5, one.draws).value], [expected])

    def test_a_prior_of_another_scale_is_the_same_objective_in_other_units(self) -> None:
        one, scale = Pass.drawn(), 4.0
        model = ModelConfig(
            family="linear", latent_dim=LATENTS, prior="scaled", prior_scale=scale, sigma2=SIGMA2
        )
        sizes = {"pixels": PIXELS, "batch": BATCH, "examples": EXAMPLES}
        wide = regulariser_of(TrialConfig(model=model, objective=self.objective), **sizes)
        terms = one.terms
        prior = NormalPrior(log_scale=math.log(scale))
        stretched = replace(terms, latents=scale * terms.latents, prior=prior)
        plain = made(self.objective)(terms, 1.0, one.draws)
        assert_close([wide(stretched, 1.0, one.draws).value], [plain.value])

    @pytest.mark.parametrize(("scale", "growth"), [(0.3, -1), (2.0, 1)])
    def test_crowded_latents_are_pushed_apart_and_scattered_ones_pulled_in(
        self, scale: float, growth: int
    ) -> None:
        """By the sign of the loss's derivative along a growth of all means."""
        means = scale * Pass.drawn(batch=64).mean.detach()
        one = Pass.of(means, torch.full_like(means, -20.0))
        loss = made(self.objective, batch=64)(one.terms, 1.0, one.draws)
        along = (one.gradient(loss.value)[0] * means).sum().item()
        assert growth * along > 0

    def test_one_example_has_no_pair(self) -> None:
        with pytest.raises(
            ConfigError,
            match=r"^`batch >= 2` must hold for regulariser 'wae_mmd' .*got batch=1\.$",
        ):
            made(self.objective, batch=1)

    def test_it_cannot_go_without_draws(self, regulariser: Regulariser) -> None:
        with pytest.raises(ValueError, match="`draws` must be given to regulariser 'wae_mmd'"):
            regulariser(Pass.drawn().terms, 1.0)
