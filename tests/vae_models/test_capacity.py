"""The distance of the KL to a capacity, and at which capacity it is the plain KL."""

from dataclasses import replace

import pytest
from torch import Tensor

from regulariser_contract import Pass, RegulariserContract, assert_close, made
from vae_models.capacity import Capacity
from vae_models.config import ObjectiveConfig


class TestCapacity(RegulariserContract):
    objective = ObjectiveConfig(regulariser="capacity", gamma=30.0, capacity_nats=4.0)
    kind = Capacity

    def gradient_at_zero_annealing(self, one: Pass) -> list[Tensor]:
        """C is zero then: the KL with beta = gamma."""
        return one.gradient(30.0 * one.rate)

    @pytest.mark.parametrize("capacity", [0.0, 2.0, 50.0])
    def test_the_loss_is_the_distance_of_the_mean_kl_to_the_annealed_capacity(
        self, capacity: float
    ) -> None:
        one = Pass.drawn()
        settings = replace(self.objective, capacity_nats=capacity)
        distance = abs(one.rate.item() - 0.5 * capacity)
        nll = one.terms.distortion_nll_nats.mean().item()
        loss = made(settings)(one.terms, 0.5)
        assert loss.value.item() == pytest.approx(nll + 30.0 * distance, rel=1e-12)

    def test_no_capacity_is_the_kl_with_beta_gamma(self) -> None:
        one = Pass.drawn()
        none = replace(self.objective, capacity_nats=0.0)
        ours, plain = (
            made(settings)(one.terms, 1.0) for settings in (none, ObjectiveConfig(beta=30.0))
        )
        assert_close([ours.value], [plain.value])
        assert_close(one.gradient(ours.value), one.gradient(plain.value))
        assert float(ours.rate_weight) == plain.rate_weight

    def test_below_the_capacity_the_kl_is_pushed_up(self) -> None:
        one = Pass.drawn()
        loss = made(replace(self.objective, capacity_nats=50.0))(one.terms, 1.0)
        assert float(loss.rate_weight) == -30.0
        assert_close(one.gradient(loss.value), one.gradient(-30.0 * one.rate))
