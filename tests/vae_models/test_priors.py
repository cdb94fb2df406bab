"""Normal priors: fixed, scaled and learned, with the divergence in closed form."""

from typing import ClassVar

import pytest
import torch
from torch import Tensor
from torch.distributions import (
    Distribution,
    Independent,
    MultivariateNormal,
    Normal,
    kl_divergence,
)

from prior_contract import (
    POSTERIORS,
    PriorContract,
    bent_scale,
    no_encoder,
    normal_draws,
    reference_of,
    toy_posterior,
)
from vae_models.errors import ConfigError
from vae_models.normal_priors import LearnedNormalPrior, ScaledNormalPrior
from vae_models.posterior import DiagonalNormal
from vae_models.prior_distributions import NormalPrior, PriorDistribution
from vae_models.vae import VAE


class NormalPriorContract(PriorContract):
    """What holds for every normal prior: the divergence in closed form."""

    @pytest.mark.parametrize("kind", POSTERIORS)
    def test_kl_nats_is_that_of_torch_distributions(
        self, vae: VAE, prior: PriorDistribution, latents: int, kind: str
    ) -> None:
        _, means, scales = self.components(vae)
        normal: Distribution = Independent(Normal(means[0], scales[0]), 1)
        if kind == "full":
            normal = MultivariateNormal(means[0], scale_tril=torch.diag(scales[0]))
        posterior = toy_posterior(kind, 5, latents)
        expected = kl_divergence(reference_of(posterior), normal)
        torch.testing.assert_close(prior.kl_nats(posterior, posterior.mean), expected)

    @pytest.mark.parametrize("kind", POSTERIORS)
    def test_latent_kl_nats_is_that_of_the_marginals(
        self, vae: VAE, prior: PriorDistribution, latents: int, kind: str
    ) -> None:
        _, means, scales = self.components(vae)
        posterior = toy_posterior(kind, 5, latents)
        marginal = Normal(posterior.mean, posterior.marginal_variance.sqrt())
        expected = kl_divergence(marginal, Normal(means[0], scales[0]))
        by_latent = prior.latent_kl_nats(posterior, posterior.mean)
        torch.testing.assert_close(by_latent, expected)
        if kind == "diagonal":
            total = prior.kl_nats(posterior, posterior.mean)
            torch.testing.assert_close(by_latent.sum(1), total)

    def test_it_says_that_its_divergence_is_exact(self, prior: PriorDistribution) -> None:
        assert prior.closed_form


class TestStandardNormalPrior(NormalPriorContract):
    settings: ClassVar = {"prior": "standard"}

    def components(self, vae: VAE) -> tuple[Tensor, Tensor, Tensor]:
        one = torch.ones(1, vae.latent_dim, dtype=torch.float64)
        return one[0, :1], 0 * one, one


class TestScaledNormalPrior(NormalPriorContract):
    settings: ClassVar = {"prior": "scaled", "prior_scale": 2.5}

    def components(self, vae: VAE) -> tuple[Tensor, Tensor, Tensor]:
        one = torch.ones(1, vae.latent_dim, dtype=torch.float64)
        return one[0, :1], 0 * one, 2.5 * one

    def test_a_scale_of_one_is_the_standard_prior(self) -> None:
        assert ScaledNormalPrior(1.0)(no_encoder) == NormalPrior()

    @pytest.mark.parametrize("scale", [1e-6, 1e6])
    def test_the_most_extreme_scales_give_a_finite_rate(self, scale: float) -> None:
        posterior = toy_posterior("diagonal", 2, 3)
        narrow = DiagonalNormal(posterior.mean.float(), posterior.marginal_variance.float().log())
        prior = ScaledNormalPrior(scale)(no_encoder)
        assert torch.isfinite(prior.kl_nats(narrow, narrow.mean)).all()
        assert torch.isfinite(prior.latent_kl_nats(narrow, narrow.mean)).all()

    @pytest.mark.parametrize("scale", [1e-300, 1e-7, 1e7, 1e300])
    def test_more_extreme_scales_are_refused(self, scale: float) -> None:
        with pytest.raises(ConfigError, match=r"`1e-06 <= prior_scale <= 1e\+06` must hold"):
            ScaledNormalPrior(scale)


class TestLearnedNormalPrior(NormalPriorContract):
    settings: ClassVar = {"prior": "learned"}

    def components(self, vae: VAE) -> tuple[Tensor, Tensor, Tensor]:
        prior = vae.prior
        assert isinstance(prior, LearnedNormalPrior)
        scales = bent_scale(prior.raw_log_scale.detach())
        return torch.ones(1, dtype=torch.float64), prior.mean.detach()[None], scales[None]

    def test_it_starts_as_the_standard_prior(self) -> None:
        draws = normal_draws(5, 3)
        start = LearnedNormalPrior(3).double()(no_encoder)
        torch.testing.assert_close(start.log_prob(draws), NormalPrior().log_prob(draws))
