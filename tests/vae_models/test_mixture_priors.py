"""Mixtures as priors: of learned Gaussians, and of the posteriors at learned pseudo-inputs."""

import math
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from prior_contract import (
    POSTERIORS,
    SHAPE,
    PriorContract,
    bent_scale,
    no_encoder,
    normal_draws,
    reference_of,
    toy_posterior,
)
from vae_models.errors import ConfigError
from vae_models.mixture_distribution import MixturePrior
from vae_models.mixture_prior import GaussianMixturePrior
from vae_models.posterior_heads import FullHead
from vae_models.prior_distributions import NormalPrior, PriorDistribution
from vae_models.vae import VAE
from vae_models.vamp_prior import VampPrior


class MixtureContract(PriorContract):
    """What holds for every mixture."""

    def test_it_says_that_its_divergence_is_an_estimate(self, prior: PriorDistribution) -> None:
        assert not prior.closed_form

    @pytest.mark.parametrize("kind", POSTERIORS)
    def test_kl_nats_is_the_difference_of_the_log_densities_at_the_draw(
        self, vae: VAE, prior: PriorDistribution, latents: int, kind: str
    ) -> None:
        posterior = toy_posterior(kind, 5, latents)
        draws = posterior.sample(normal_draws(5, latents, seed=2))
        expected = reference_of(posterior).log_prob(draws) - self.reference(vae).log_prob(draws)
        torch.testing.assert_close(prior.kl_nats(posterior, draws), expected)

    def test_a_choice_takes_the_component_where_the_cumulative_weights_pass_it(self) -> None:
        weights = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
        means = torch.tensor([[-1.0], [0.0], [1.0]], dtype=torch.float64)
        mixture = MixturePrior(weights.log(), means, torch.zeros_like(means))
        choice = torch.tensor([0.0, 0.19, 0.21, 0.69, 0.71, 0.999], dtype=torch.float64)
        drawn = mixture.sample(torch.zeros(6, 1, dtype=torch.float64), choice)
        assert drawn[:, 0].tolist() == [-1, -1, 0, 0, 1, 1]


class TestGaussianMixturePrior(MixtureContract):
    settings: ClassVar = {"prior": "mixture", "prior_components": 5}

    def components(self, vae: VAE) -> tuple[Tensor, Tensor, Tensor]:
        prior = vae.prior
        assert isinstance(prior, GaussianMixturePrior)
        weights = prior.logits.detach().softmax(0)
        return weights, prior.means.detach(), bent_scale(prior.raw_log_scales.detach())

    @pytest.mark.parametrize("components", [1, 2, 16])
    def test_it_starts_with_mean_zero_and_variance_one(self, components: int) -> None:
        prior = GaussianMixturePrior(components, 7)
        mixture = prior(no_encoder)
        torch.testing.assert_close(mixture.log_weights.exp().sum(), torch.tensor(1.0))
        second = mixture.means.square() + torch.exp(2 * mixture.log_scales)
        torch.testing.assert_close(mixture.means.mean(0), torch.zeros(7), atol=1e-4, rtol=0)
        torch.testing.assert_close(second.mean(0), torch.ones(7), atol=1e-3, rtol=0)

    def test_its_components_start_at_different_places(self) -> None:
        means = GaussianMixturePrior(16, 3).means.detach()
        distances = torch.cdist(means, means) + 10 * torch.eye(16)
        assert distances.min() > 1e-3

    def test_one_component_is_the_learned_normal_prior(self) -> None:
        one = GaussianMixturePrior(1, 3)(no_encoder)
        draws = torch.randn(5, 3)
        expected = NormalPrior().log_prob(draws)
        torch.testing.assert_close(one.log_prob(draws), expected, rtol=1e-3, atol=1e-3)


class TestVampPrior(MixtureContract):
    settings: ClassVar = {"prior": "vamp", "prior_components": 5}

    def components(self, vae: VAE) -> tuple[Tensor, Tensor, Tensor]:
        prior = vae.prior
        assert isinstance(prior, VampPrior)
        with torch.no_grad():
            posterior = vae.encode(prior.pseudo_inputs)
        scales = posterior.marginal_variance.sqrt()
        return torch.full((5,), 0.2, dtype=torch.float64), posterior.mean, scales

    @pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (1000.0, -5000.0), (1e-3, 2.0)])
    def test_it_starts_in_the_first_batch_whatever_the_range_of_the_data(
        self, scale: float, shift: float
    ) -> None:
        prior = VampPrior(5, SHAPE)
        images = scale * torch.rand(8, *SHAPE) + shift
        prior.observe(images)
        gap = (prior.pseudo_inputs - images[:5]).abs()
        assert (gap < 0.05 * images.std()).all()

    def test_no_later_batch_moves_it(self) -> None:
        prior = VampPrior(5, SHAPE)
        prior.observe(torch.rand(8, *SHAPE))
        before = prior.pseudo_inputs.detach().clone()
        prior.observe(torch.rand(8, *SHAPE))
        assert torch.equal(prior.pseudo_inputs, before)

    def test_more_components_than_examples_start_apart(self) -> None:
        prior = VampPrior(7, SHAPE)
        prior.observe(torch.rand(3, *SHAPE))
        flat = prior.pseudo_inputs.detach().flatten(1)
        assert (torch.cdist(flat, flat) + torch.eye(7)).min() > 1e-4

    @pytest.mark.parametrize("images", [torch.full((1, 1, 1, 1), 0.3), torch.zeros(4, 1, 1, 1)])
    def test_it_starts_in_a_batch_of_one_pixel_and_in_constant_images(
        self, images: Tensor
    ) -> None:
        prior = VampPrior(2, (1, 1, 1))
        prior.observe(images)
        assert torch.equal(prior.pseudo_inputs, images[:1].expand(2, 1, 1, 1))

    def test_a_restored_prior_does_not_start_again(self) -> None:
        trained, restored = VampPrior(5, SHAPE), VampPrior(5, SHAPE)
        trained.observe(torch.rand(8, *SHAPE))
        restored.load_state_dict(trained.state_dict())
        restored.observe(torch.rand(8, *SHAPE))
        assert torch.equal(restored.pseudo_inputs, trained.pseudo_inputs)

    def test_it_refuses_full_posteriors(self) -> None:
        prior = VampPrior(5, SHAPE)
        with pytest.raises(ConfigError, match="Prior 'vamp' must have posterior='diagonal'"):
            prior(lambda images: FullHead(2)(images.flatten(1)[:, [0, 1, 2, 3, 0]]))

    def test_its_mean_over_components_is_the_aggregate_of_their_posteriors(self) -> None:
        """With the training images as pseudo-inputs it is q(z), which no prior can beat."""
        vae = self.model(2)
        images = normal_draws(5, *SHAPE)
        assert isinstance(vae.prior, VampPrior)
        with torch.no_grad():
            vae.prior.pseudo_inputs.copy_(images)
        draws = normal_draws(6, 1, 2)
        posterior = vae.encode(images)
        aggregate = torch.logsumexp(posterior.log_prob(draws), dim=1) - math.log(5)
        log_prob = vae.prior_distribution().log_prob(draws[:, 0])
        torch.testing.assert_close(log_prob, aggregate)
