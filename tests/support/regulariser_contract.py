"""What holds for every regulariser, and passes through a model to try them on."""

import math
from abc import ABC
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, NamedTuple, final

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from vae_models.config import ModelConfig, ObjectiveConfig, TrainConfig, TrialConfig
from vae_models.data import load_data
from vae_models.data_config import DataConfig
from vae_models.objective import REDUCTIONS, raw_weight_of, weights_of
from vae_models.posterior import DiagonalNormal, Posterior
from vae_models.prior_distributions import NormalPrior, PriorDistribution
from vae_models.regulariser import PriorDraws, Regulariser, stacked
from vae_models.regularisers import regulariser_of
from vae_models.terms import Terms
from vae_models.trainer import Diverged, EpochResult, Trainer

PIXELS, EXAMPLES, SIGMA2 = 12, 1000, 0.3
BATCH, LATENTS = 5, 3


@final
class ScaledPrior(PriorDistribution):
    """N(0, I) whose KLs are all multiplied by one factor, to differentiate by."""

    def __init__(self, factor: Tensor) -> None:
        self.factor = factor
        self.normal = NormalPrior()
        self.in_use = self.normal.in_use

    def using(self, in_use: Tensor) -> PriorDistribution:
        raise NotImplementedError

    @property
    def closed_form(self) -> bool:
        return True

    @property
    def scale(self) -> float:
        return 1.0

    def log_prob(self, latents: Tensor) -> Tensor:
        return self.normal.log_prob(latents)

    def marginal_log_prob(self, latents: Tensor) -> Tensor:
        return self.normal.marginal_log_prob(latents)

    def sample(self, noise: Tensor, choice: Tensor) -> Tensor:
        return self.normal.sample(noise, choice)

    def kl_nats(
        self, posterior: Posterior, latents: Tensor, noise: Tensor | None = None
    ) -> Tensor:
        return self.factor * self.normal.kl_nats(posterior, latents, noise)

    def latent_kl_nats(self, posterior: Posterior, latents: Tensor) -> Tensor:
        return self.factor * self.normal.latent_kl_nats(posterior, latents)


class Pass(NamedTuple):
    """A pass through a model whose terms are functions of these leaves."""

    mean: Tensor
    log_variance: Tensor
    nll_shift: Tensor
    kl_factor: Tensor
    error: Tensor
    noise: Tensor
    draws: PriorDraws

    @classmethod
    def of(cls, mean: Tensor, log_variance: Tensor, error: float = 7.0, seed: int = 0) -> "Pass":
        generator = torch.Generator().manual_seed(10_000 + seed)  # not that of `drawn`
        kind: Any = {"generator": generator, "dtype": mean.dtype}
        prior_noise = torch.randn(mean.shape, **kind)
        return cls(
            mean=mean.clone().requires_grad_(),
            log_variance=log_variance.clone().requires_grad_(),
            nll_shift=torch.zeros((), dtype=mean.dtype, requires_grad=True),
            kl_factor=torch.ones((), dtype=mean.dtype, requires_grad=True),
            error=error * torch.rand(len(mean), **kind) + 0.5,
            noise=torch.randn(mean.shape, **kind),
            draws=PriorDraws(prior_noise, torch.rand(len(mean), **kind)),
        )

    @classmethod
    def drawn(cls, batch: int = BATCH, latents: int = LATENTS, seed: int = 0) -> "Pass":
        """A pass of rates between about 0.1 and 5 nats a latent, in float64."""
        generator = torch.Generator().manual_seed(seed)
        kind: Any = {"generator": generator, "dtype": torch.float64}
        mean = torch.randn((batch, latents), **kind)
        return cls.of(mean, -4 * torch.rand((batch, latents), **kind), seed=seed)

    @property
    def posterior(self) -> DiagonalNormal:
        return DiagonalNormal(self.mean, self.log_variance)

    @property
    def terms(self) -> Terms:
        """The NLL of a Gaussian decoder whose error is given, and comes without a gradient."""
        posterior, prior = self.posterior, ScaledPrior(self.kl_factor)
        latents = posterior.sample(self.noise)
        volume = PIXELS / 2 * math.log(2 * math.pi * SIGMA2)
        nll = self.error / (2 * SIGMA2) + volume + self.nll_shift
        rate = prior.kl_nats(posterior, latents)
        return Terms(rate, nll, self.error, posterior, latents, prior)

    @property
    def rate(self) -> Tensor:
        """The batch mean of the KL, by torch.distributions."""
        deviation = (0.5 * self.log_variance).exp()
        unit = Normal(torch.zeros_like(deviation), torch.ones_like(deviation))
        kl: Tensor = kl_divergence(Normal(self.mean, deviation), unit)
        return kl.sum(1).mean()

    def gradient(self, value: Tensor) -> list[Tensor]:
        """By the posterior's parameters."""
        leaves = (self.mean, self.log_variance)
        found = torch.autograd.grad(value, leaves, retain_graph=True, allow_unused=True)
        return [
            torch.zeros_like(leaf) if grad is None else grad
            for leaf, grad in zip(leaves, found, strict=True)
        ]


def derivative(value: Tensor, leaf: Tensor) -> float:
    """By a number; zero where the value does not depend on it."""
    (found,) = torch.autograd.grad(value, leaf, retain_graph=True, allow_unused=True)
    return 0.0 if found is None else found.item()


def assert_close(ours: Sequence[Tensor], theirs: Sequence[Tensor], rtol: float = 1e-9) -> None:
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=rtol, atol=1e-3 * rtol)


def trial(objective: ObjectiveConfig, latents: int = LATENTS) -> TrialConfig:
    model = ModelConfig(family="linear", latent_dim=latents, sigma2=SIGMA2)
    return TrialConfig(model=model, objective=objective)


def made(objective: ObjectiveConfig, *, batch: int = BATCH, latents: int = LATENTS) -> Regulariser:
    """In float64."""
    sizes = {"pixels": PIXELS, "batch": batch, "examples": EXAMPLES}
    return regulariser_of(trial(objective, latents), **sizes).double()


class RegulariserContract(ABC):
    """What holds for every regulariser; a new one inherits these tests."""

    objective: ObjectiveConfig
    kind: type[Regulariser]
    least_batch = 1

    @pytest.fixture
    def regulariser(self) -> Regulariser:
        return made(self.objective)

    def gradient_at_zero_annealing(self, one: Pass) -> list[Tensor]:
        """Nothing pulls at the posterior, unless a regulariser says otherwise."""
        return [torch.zeros_like(one.mean), torch.zeros_like(one.log_variance)]

    def test_the_settings_name_it(self, regulariser: Regulariser) -> None:
        assert type(regulariser) is self.kind

    def test_it_has_no_parameters(self, regulariser: Regulariser) -> None:
        assert list(regulariser.parameters()) == []

    @pytest.mark.parametrize("annealing", [0.0, 0.3, 1.0])
    def test_the_weights_are_the_derivatives_of_the_loss(
        self, regulariser: Regulariser, annealing: float
    ) -> None:
        """By the mean NLL, and by the mean KL when all KLs grow by one factor."""
        mean = torch.tensor([[1.0, -2.0, 0.3]], dtype=torch.float64).expand(BATCH, -1)
        one = Pass.of(mean, torch.full_like(mean, -1.0))
        regulariser(one.terms, annealing, one.draws)  # what adapts is no longer at its start
        loss = regulariser(one.terms, annealing, one.draws)
        assert float(loss.nll_weight) == pytest.approx(derivative(loss.value, one.nll_shift))
        by_factor = derivative(loss.value, one.kl_factor)
        assert float(loss.rate_weight) * one.rate.item() == pytest.approx(by_factor, abs=1e-12)

    def test_the_weights_carry_no_gradient(self, regulariser: Regulariser) -> None:
        one = Pass.drawn()
        loss = regulariser(one.terms, 0.5, one.draws)
        weights = torch.stack(
            [torch.as_tensor(loss.nll_weight), torch.as_tensor(loss.rate_weight)]
        )
        assert not weights.requires_grad

    def test_annealing_zero_is_what_it_says(self, regulariser: Regulariser) -> None:
        one = Pass.drawn()
        loss = regulariser(one.terms, 0.0, one.draws)
        assert_close(one.gradient(loss.value), self.gradient_at_zero_annealing(one))

    @pytest.mark.parametrize("reduction", REDUCTIONS)
    def test_a_reduction_at_equal_beta_is_an_overall_scale_of_the_loss(
        self, reduction: str
    ) -> None:
        sizes = {"pixels": PIXELS, "latents": LATENTS, "batch": BATCH}
        beta = self.objective.beta
        scale = weights_of(reduction, raw_weight_of(reduction, beta, **sizes), **sizes).nll
        one = Pass.drawn()
        plain, scaled = (
            made(replace(self.objective, reduction=name))(one.terms, 0.7, one.draws)
            for name in ("sum", reduction)
        )
        for field in ("value", "nll_weight", "rate_weight"):
            expected, found = (
                torch.as_tensor(getattr(loss, field), dtype=torch.float64)
                for loss in (plain, scaled)
            )
            assert_close([found], [scale * expected], rtol=2e-7)  # weights are in float32

    def test_a_state_dict_goes_on_as_if_it_had_never_stopped(
        self, regulariser: Regulariser
    ) -> None:
        passes = [Pass.drawn(seed=seed) for seed in range(8)]
        for one in passes[:4]:
            regulariser(one.terms, 0.8, one.draws)
        resumed = made(self.objective)
        resumed.load_state_dict(regulariser.state_dict())
        for one in passes[4:]:
            losses = [each(one.terms, 0.8, one.draws) for each in (regulariser, resumed)]
            first, second = (stacked(loss, torch.device("cpu")) for loss in losses)
            assert torch.equal(first, second)

    @pytest.mark.parametrize(
        ("batch", "latents", "mean", "log_variance"),
        [
            pytest.param(BATCH, 1, 0.5, -1.0, id="one latent"),
            pytest.param(1, LATENTS, 0.5, -1.0, id="one example"),
            pytest.param(1, 1, 0.5, -1.0, id="one example of one latent"),
            pytest.param(BATCH, LATENTS, 0.0, 0.0, id="no KL"),
            pytest.param(BATCH, LATENTS, 1000.0, -1.0, id="a KL of 1e6"),
            pytest.param(BATCH, LATENTS, 0.0, -20.0, id="points"),
            pytest.param(BATCH, LATENTS, 0.0, 20.0, id="clouds"),
        ],
    )
    def test_extremes_give_finite_numbers_in_float32(
        self, batch: int, latents: int, mean: float, log_variance: float
    ) -> None:
        batch = max(batch, self.least_batch)
        shape = (batch, latents)
        one = Pass.of(torch.full(shape, mean), torch.full(shape, log_variance))
        regulariser = made(self.objective, batch=batch, latents=latents).float()
        for _ in range(3):
            loss = regulariser(one.terms, 1.0, one.draws)
            numbers = [stacked(loss, torch.device("cpu")), *one.gradient(loss.value)]
            assert all(torch.isfinite(number).all() for number in numbers)

    def test_training_goes_on_from_a_checkpoint_bit_for_bit(self) -> None:
        data = load_data(
            DataConfig(name="gaussian", spectrum=(2.0, 1.0, 0.1), train_size=64, heldout_size=8)
        )
        settings = replace(trial(self.objective, 2), train=TrainConfig(epochs=4, batch_size=16))
        expected = [_timeless(result) for result in Trainer([settings], data)]
        halfway = Trainer([settings], data)
        found = [_timeless(result) for result in islice(halfway, 2)]
        resumed = Trainer([settings], data, checkpoints=[halfway.checkpoint(0)])
        found += [_timeless(result) for result in resumed]
        assert found == expected
        assert len(expected) == 4

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
    def test_it_trains_on_the_gpu(self) -> None:
        data = load_data(
            DataConfig(name="gaussian", spectrum=(2.0, 1.0, 0.1), train_size=64, heldout_size=8)
        )
        settings = replace(trial(self.objective, 2), train=TrainConfig(epochs=2, batch_size=16))
        results = [_timeless(result) for result in Trainer([settings], data, device="cuda")]
        assert [result.epoch for result in results] == [1, 2]


def _timeless(result: EpochResult | Diverged) -> EpochResult:
    assert isinstance(result, EpochResult)
    return replace(result, seconds=0.0)
