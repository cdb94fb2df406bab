"""The weighted KL."""

from regulariser_contract import Pass, RegulariserContract, assert_close
from vae_models.config import ObjectiveConfig
from vae_models.kl import KlRegulariser
from vae_models.regulariser import Regulariser


class TestKl(RegulariserContract):
    objective = ObjectiveConfig(beta=2.5)
    kind = KlRegulariser

    def test_the_loss_is_the_nll_and_the_weighted_kl(self, regulariser: Regulariser) -> None:
        one = Pass.drawn()
        expected = one.terms.distortion_nll_nats.mean() + 0.4 * 2.5 * one.rate
        assert_close([regulariser(one.terms, 0.4).value], [expected])
