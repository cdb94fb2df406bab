"""Which latents count as active while a model trains."""

import pytest
import torch

from vae_models.mixture_distribution import MixturePrior
from vae_models.prior_distributions import NormalPrior
from vae_models.unit_activity import ACTIVE_VARIANCE, UnitActivity, moments


def _means(*deviations: float) -> torch.Tensor:
    """Posterior means of 1000 examples with these standard deviations, exactly, around 3."""
    signs = torch.tensor([1.0, -1.0]).repeat(500)
    return 3.0 + signs.unsqueeze(1) * torch.tensor(deviations)


def _end_epoch(activity: UnitActivity, epoch: int, *batches: torch.Tensor) -> int:
    sums = torch.stack([moments(batch, 1.0) for batch in batches]).sum(0)
    return activity.end_epoch(epoch, sums.tolist(), sum(map(len, batches)))


def test_a_latent_is_active_where_its_mean_varies_by_more_than_the_threshold() -> None:
    edge = ACTIVE_VARIANCE**0.5
    activity = UnitActivity(3)
    assert _end_epoch(activity, 1, _means(1.01 * edge, 0.99 * edge, 0.0)) == 1
    assert activity.last_active_epochs == (1, 0, 0)


def test_batches_count_together_and_epochs_apart() -> None:
    activity = UnitActivity(1)
    ones = torch.full((10, 1), 1.0)
    assert _end_epoch(activity, 1, ones, -ones) == 1
    assert _end_epoch(activity, 2, ones) == 0
    assert activity.last_active_epochs == (1,)


def test_the_variance_counts_in_units_of_the_priors() -> None:
    """A prior of scale s has posteriors of scale s: the same model, rescaled."""
    for scale in (1e-3, 1e3):
        sums = moments(scale * _means(0.5, 0.05), torch.tensor([scale, scale]))
        assert UnitActivity(2).end_epoch(1, sums.tolist(), 1000) == 1


def test_what_was_active_is_taken_up_again() -> None:
    activity = UnitActivity(2)
    activity.restore((4, 0))
    assert _end_epoch(activity, 5, _means(0.0, 0.0)) == 0
    assert activity.last_active_epochs == (4, 0)


def test_the_scale_of_a_mixture_is_that_of_its_draws() -> None:
    generator = torch.Generator().manual_seed(0)
    prior = MixturePrior(
        log_weights=torch.tensor([0.2, 0.5, 0.3]).log(),
        means=torch.tensor([[0.0, 4.0], [1.0, -2.0], [-3.0, 0.5]]),
        log_scales=torch.tensor([[0.0, -1.0], [0.5, 0.3], [-0.4, 0.0]]),
    )
    noise = torch.randn((200_000, 2), generator=generator)
    drawn = prior.sample(noise, torch.rand(200_000, generator=generator))
    torch.testing.assert_close(prior.scale, drawn.std(0), rtol=0.01, atol=0.0)
    assert NormalPrior(log_scale=0.0).scale == pytest.approx(1.0)
