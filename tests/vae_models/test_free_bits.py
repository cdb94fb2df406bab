"""Free bits against their definition, and at both ends of what is free."""

import math
from dataclasses import replace

import pytest
import torch

from regulariser_contract import BATCH, LATENTS, Pass, RegulariserContract, assert_close, made
from vae_models.config import ObjectiveConfig
from vae_models.free_bits import FreeBits


def closed_form_nats(mean: float, log_variance: float) -> float:
    return 0.5 * (math.exp(log_variance) + mean**2 - 1 - log_variance)


class TestFreeBits(RegulariserContract):
    objective = ObjectiveConfig(regulariser="free_bits", beta=2.0, free_nats=0.5)
    kind = FreeBits

    @pytest.mark.parametrize("group_size", [1, 2, 3, 4, 7, 9])
    @pytest.mark.parametrize("free_nats", [0.3, 2.0, 4.0])
    def test_it_is_the_sum_over_groups_of_the_larger_of_free_and_mean_kl(
        self, group_size: int, free_nats: float
    ) -> None:
        one, penalty = Pass.drawn(latents=7), 0.0
        means, log_variances = one.mean.tolist(), one.log_variance.tolist()
        for start in range(0, 7, group_size):
            total = 0.0
            for example in range(BATCH):
                for latent in range(start, min(start + group_size, 7)):
                    total += closed_form_nats(
                        means[example][latent], log_variances[example][latent]
                    )
            penalty += max(free_nats, total / BATCH)
        settings = replace(self.objective, free_nats=free_nats, group_size=group_size)
        loss = made(settings, latents=7)(one.terms, 0.5)
        nll = one.terms.distortion_nll_nats.mean().item()
        assert loss.value.item() == pytest.approx(nll + 0.5 * 2.0 * penalty, rel=1e-12)

    @pytest.mark.parametrize("group_size", [0, 1, 2])
    def test_nothing_free_is_the_kl_to_the_last_bit(self, group_size: int) -> None:
        one = Pass.drawn()
        free = replace(self.objective, free_nats=0.0, group_size=group_size)
        ours, plain = (
            made(settings)(one.terms, 0.5) for settings in (free, ObjectiveConfig(beta=2.0))
        )
        assert torch.equal(ours.value, plain.value)
        assert all(map(torch.equal, one.gradient(ours.value), one.gradient(plain.value)))
        assert float(ours.rate_weight) == plain.rate_weight

    def test_with_nothing_free_a_negative_estimate_is_let_through(self) -> None:
        """A KL from one draw can be negative; cut at zero it would be biased."""
        terms = Pass.drawn().terms
        terms = replace(terms, rate_nats=torch.full((BATCH,), -3.0, dtype=torch.float64))
        nll = terms.distortion_nll_nats.mean().item()
        loss = made(replace(self.objective, free_nats=0.0, group_size=0))(terms, 1.0)
        assert loss.value.item() == pytest.approx(nll - 6.0)
        assert float(loss.rate_weight) == 2.0

    def test_with_something_free_a_negative_estimate_costs_nothing(self) -> None:
        terms = Pass.drawn().terms
        terms = replace(terms, rate_nats=torch.full((BATCH,), -3.0, dtype=torch.float64))
        nll = terms.distortion_nll_nats.mean().item()
        loss = made(replace(self.objective, free_nats=1.0, group_size=0))(terms, 1.0)
        assert loss.value.item() == pytest.approx(nll + 2.0)
        assert float(loss.rate_weight) == 0.0

    @pytest.mark.parametrize("group_size", [0, 1, 2])
    def test_more_free_than_there_is_pulls_at_nothing(self, group_size: int) -> None:
        one = Pass.drawn()
        settings = replace(self.objective, free_nats=1e6, group_size=group_size)
        loss = made(settings)(one.terms, 1.0)
        assert_close(one.gradient(loss.value), self.gradient_at_zero_annealing(one))
        assert float(loss.rate_weight) == 0.0

    def test_one_group_of_all_is_the_group_that_holds_all_latents(self) -> None:
        one = Pass.drawn()
        ours, theirs = (
            made(replace(self.objective, group_size=size))(one.terms, 1.0) for size in (0, LATENTS)
        )
        assert_close([ours.value], [theirs.value])

    def test_only_groups_above_their_free_nats_are_pulled(self) -> None:
        """And the rate's weight is the share of the KL that they hold."""
        mean = torch.tensor([[0.1, 3.0, 0.2]], dtype=torch.float64).expand(BATCH, -1)
        one = Pass.of(mean, torch.zeros_like(mean))
        loss = made(self.objective)(one.terms, 1.0)
        pulled = [bool(column.any()) for column in one.gradient(loss.value)[0].T]
        assert pulled == [False, True, False]
        share = 4.5 / (0.005 + 4.5 + 0.02)
        assert float(loss.rate_weight) == pytest.approx(2.0 * share)

    def test_the_free_nats_are_those_of_the_batch_not_of_each_example(self) -> None:
        """One example has 0 nats and the other 2, their mean is below 1.5."""
        mean = torch.tensor([[0.0], [2.0]], dtype=torch.float64)
        one = Pass.of(mean, torch.zeros_like(mean))
        settings = replace(self.objective, free_nats=1.5)
        loss = made(settings, batch=2, latents=1)(one.terms, 1.0)
        assert float(loss.rate_weight) == 0.0
