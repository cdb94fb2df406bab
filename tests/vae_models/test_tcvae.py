"""The beta-TCVAE: the KL, and the extra weight of its total correlation."""

from dataclasses import replace

import torch

from regulariser_contract import (
    BATCH,
    EXAMPLES,
    PIXELS,
    Pass,
    RegulariserContract,
    assert_close,
    made,
    trial,
)
from vae_models.config import ObjectiveConfig
from vae_models.minibatch_tc import total_correlation_nats
from vae_models.regulariser import Regulariser
from vae_models.regularisers import regulariser_of
from vae_models.tcvae import BetaTcVae


class TestBetaTcVae(RegulariserContract):
    objective = ObjectiveConfig(regulariser="tcvae", beta=2.0, tc_weight=6.0)
    kind = BetaTcVae

    def test_the_total_correlation_weighs_more_than_the_rest_of_the_kl(
        self, regulariser: Regulariser
    ) -> None:
        one = Pass.drawn()
        terms = one.terms
        correlation = total_correlation_nats(terms.latents, one.posterior, EXAMPLES)
        penalty = one.rate + (6.0 - 1.0) * correlation
        expected = terms.distortion_nll_nats.mean() + 0.5 * 2.0 * penalty
        assert_close([regulariser(terms, 0.5).value], [expected])

    def test_a_weight_of_one_is_the_kl_to_the_last_bit(self) -> None:
        one = Pass.drawn()
        ours, plain = (
            made(settings)(one.terms, 0.5)
            for settings in (replace(self.objective, tc_weight=1.0), ObjectiveConfig(beta=2.0))
        )
        assert torch.equal(ours.value, plain.value)
        assert all(map(torch.equal, one.gradient(ours.value), one.gradient(plain.value)))

    def test_the_gradient_does_not_depend_on_the_number_of_examples(self) -> None:
        one = Pass.drawn()
        few, many = (
            regulariser_of(trial(self.objective), pixels=PIXELS, batch=BATCH, examples=count)
            for count in (BATCH, 10**6)
        )
        ours, theirs = (one.gradient(each(one.terms, 1.0).value) for each in (few, many))
        assert_close(ours, theirs)
