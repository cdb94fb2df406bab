"""The KL through a sigmoid."""

import math
from dataclasses import replace

import pytest
import torch

from regulariser_contract import BATCH, Pass, RegulariserContract, derivative
from vae_models.config import ObjectiveConfig
from vae_models.regulariser import Loss, Regulariser
from vae_models.squashed import Squashed


class TestSquashed(RegulariserContract):
    objective = ObjectiveConfig(regulariser="squashed", beta=3.0)
    kind = Squashed

    def test_every_examples_kl_goes_through_a_sigmoid(self, regulariser: Regulariser) -> None:
        terms = Pass.drawn().terms
        squashed = sum(1 / (1 + math.exp(-rate)) for rate in terms.rate_nats.tolist()) / BATCH
        nll = terms.distortion_nll_nats.mean().item()
        found = regulariser(terms, 0.5).value.item()
        assert found == pytest.approx(nll + 0.5 * 3.0 * squashed, rel=1e-12)

    def test_the_weight_is_the_derivative_by_the_same_nats_for_every_example(
        self, regulariser: Regulariser
    ) -> None:
        terms = Pass.drawn().terms
        shift = torch.zeros((), dtype=torch.float64, requires_grad=True)
        loss = regulariser(replace(terms, rate_nats=terms.rate_nats + shift), 1.0)
        assert float(loss.rate_weight) == pytest.approx(derivative(loss.value, shift))

    @pytest.mark.parametrize(
        ("nats", "pull"), [(0.0, 0.25), (4.0, 0.0176627), (10.0, 4.53958e-5), (50.0, 1.92875e-22)]
    )
    def test_the_pull_fades_as_the_kl_grows(
        self, regulariser: Regulariser, nats: float, pull: float
    ) -> None:
        """Over that of the plain KL; as exp(-K), far out."""
        rate = torch.full((BATCH,), nats, dtype=torch.float64)
        loss: Loss = regulariser(replace(Pass.drawn().terms, rate_nats=rate), 1.0)
        assert float(loss.rate_weight) / 3.0 == pytest.approx(pull, rel=1e-5)
