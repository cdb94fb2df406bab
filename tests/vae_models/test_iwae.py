"""The importance-weighted bound against its definition and the exact likelihood."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from optimal_linear_vae import gaussian_images, optimal_linear_vae
from vae_models.config import LIKELIHOODS, ModelConfig
from vae_models.data import DataSet
from vae_models.evaluation import evaluate
from vae_models.iwae import iwae_bound
from vae_models.posterior import DiagonalNormal, FullNormal
from vae_models.splits import generator_of
from vae_models.vae import VAE, build_vae

SPECTRUM = (3.0, 1.5, 0.7, 0.2)
SIGMA2 = 0.5


def _loose_model() -> VAE:
    """A linear model whose posterior is a little off, so that every k has its own bound."""
    model = optimal_linear_vae(SPECTRUM, beta=1.0, sigma2=SIGMA2, latents=2)
    with torch.no_grad():
        model.get_parameter("encoder.raw_log_variance").add_(0.4)
        model.get_parameter("encoder.mean.bias").add_(0.3)
    return model


def _exact(model: VAE, images: Tensor) -> float:
    """E ln p(x) of the linear model, by a dense normal density."""
    weight = model.get_parameter("decoder.output.weight").detach().double()
    covariance = weight @ weight.T + SIGMA2 * torch.eye(len(weight), dtype=torch.float64)
    mean = torch.zeros(len(weight), dtype=torch.float64)
    dense: Distribution = MultivariateNormal(mean, covariance)
    return dense.log_prob(images.flatten(1).double()).mean().item()


def _other_model(**settings: Any) -> tuple[VAE, Tensor]:
    config = ModelConfig(**{"hidden": (8,), "latent_dim": 3, "sigma2": 0.2, **settings})
    images = torch.rand((5, 1, 2, 3), generator=torch.Generator().manual_seed(0))
    return build_vae(config, (1, 2, 3), seed=0), images


def _standard() -> Distribution:
    return Normal(0.0, 1.0)


def _posterior(model: VAE, image: Tensor) -> Distribution:
    q = model.encode(image)
    if isinstance(q, FullNormal):
        return MultivariateNormal(q.mean.double(), scale_tril=q.scale_tril.double())
    assert isinstance(q, DiagonalNormal)
    return Independent(Normal(q.mean.double(), (0.5 * q.log_variance.double()).exp()), 1)


@pytest.mark.parametrize(
    "settings", [{}, {"posterior": "full"}, {"family": "linear"}, {"latent_dim": 1}], ids=str
)
def test_the_bound_is_what_a_double_loop_over_examples_and_draws_gives(
    settings: dict[str, Any],
) -> None:
    model, images = _other_model(**settings)
    draws, latent_dim = 7, model.latent_dim
    noise = generator_of(4, "iwae").standard_normal((5, draws, latent_dim), dtype=np.float32)
    bounds, standard = [], _standard()
    with torch.no_grad():
        for image, rows in zip(images.unsqueeze(1), torch.from_numpy(noise), strict=True):
            q, weights = _posterior(model, image), []
            for row in rows:
                z = model.encode(image).sample(row.unsqueeze(0))
                mean = model.decoder(z).double()
                pixels: Distribution = Normal(mean, math.sqrt(0.2))
                log_ratio = standard.log_prob(z.double()).sum() - q.log_prob(z.double()).squeeze()
                weights.append(pixels.log_prob(image.double()).sum() + log_ratio)
            bounds.append(torch.stack(weights).exp().mean().log().item())
    found = iwae_bound(model, images, samples=draws, seed=4)
    assert (found.samples, found.examples) == (draws, 5)
    assert found.nats == pytest.approx(np.mean(bounds), rel=1e-5)
    assert found.stderr_nats == pytest.approx(np.std(bounds, ddof=1) / 5**0.5, rel=1e-4)


def test_it_rises_with_k_and_never_exceeds_the_exact_likelihood() -> None:
    model, images = _loose_model(), gaussian_images(SPECTRUM, 2000)
    exact = _exact(model, images)
    bounds = [iwae_bound(model, images, samples=k).nats for k in (1, 2, 4, 8, 64, 512)]
    steps = np.diff(bounds)
    assert (steps[:4] > 0.01).all()
    assert steps[4] > 0
    assert exact - 0.01 < bounds[-1] < exact + 0.003
    assert all(bound < exact for bound in bounds[:-1])


def test_five_thousand_draws_are_as_good_as_exact() -> None:
    model, images = _loose_model(), gaussian_images(SPECTRUM, 200)
    bound = iwae_bound(model, images, samples=5000)
    assert bound.nats == pytest.approx(_exact(model, images), abs=0.002)


def test_with_the_true_posterior_one_draw_is_exact() -> None:
    """β = 1 at the optimum: q(z|x) = p(z|x), every weight is p(x) itself."""
    model = optimal_linear_vae(SPECTRUM, beta=1.0, sigma2=SIGMA2, latents=2)
    images = gaussian_images(SPECTRUM, 50)
    for samples in (1, 10):
        found = iwae_bound(model, images, samples=samples).nats
        assert found == pytest.approx(_exact(model, images), abs=1e-4)


def test_one_draw_is_the_evidence_lower_bound() -> None:
    model, images = _loose_model(), gaussian_images(SPECTRUM, 20_000)
    data = DataSet(name="made", train=images, heldout=images, scale=1.0, peak=None)
    elbo = evaluate(model, data, samples=16).elbo_nats
    found = iwae_bound(model, images, samples=1)
    # The spread over draws is below that over examples, so this is far beyond its error.
    assert found.nats == pytest.approx(elbo, abs=2 * found.stderr_nats)


@pytest.mark.parametrize("settings", [{}, {"posterior": "full"}, {"prior": "mixture"}], ids=str)
@pytest.mark.parametrize("samples", [1, 6, 40])
def test_it_is_the_same_for_every_chunk_size(settings: dict[str, Any], samples: int) -> None:
    model, images = _other_model(**settings)
    bounds = [
        iwae_bound(model, images, samples=samples, chunk=chunk) for chunk in (1, 3, 7, 40, 10_000)
    ]
    for bound in bounds[1:]:
        assert bound.nats == pytest.approx(bounds[0].nats, rel=1e-5)
        assert bound.stderr_nats == pytest.approx(bounds[0].stderr_nats, rel=1e-4)


def test_it_repeats_with_its_seed_and_leaves_the_global_random_state_alone() -> None:
    model, images = _other_model()
    torch.manual_seed(7)
    expected = torch.rand(4)
    torch.manual_seed(7)
    first = iwae_bound(model, images, samples=5)
    assert torch.equal(torch.rand(4), expected)
    assert iwae_bound(model, images, samples=5) == first
    assert iwae_bound(model, images, samples=5, seed=1) != first


def test_no_more_is_decoded_at_a_time_than_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that memory is bounded, whatever k and however many examples."""
    model, images = _other_model()
    rows: list[int] = []
    decode: Callable[[Tensor], Any] = model.decode

    def counting(latents: Tensor) -> Any:
        rows.append(len(latents))
        return decode(latents)

    monkeypatch.setattr(model, "decode", counting)
    for samples in (1, 100, 5000):
        rows.clear()
        iwae_bound(model, images, samples=samples, chunk=128)
        assert max(rows) <= 128
        assert sum(rows) == 5 * samples


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_every_likelihood_has_a_finite_bound_above_that_of_one_draw(likelihood: str) -> None:
    model, images = _other_model(likelihood=likelihood)
    images = (images > 0.5).float() if likelihood in ("bernoulli", "bce") else images
    one = iwae_bound(model, images.repeat(800, 1, 1, 1), samples=1)
    many = iwae_bound(model, images.repeat(25, 1, 1, 1), samples=32)
    assert math.isfinite(many.nats)
    assert many.nats > one.nats


@pytest.mark.parametrize("value", [0.0, 1.0, 0.5])
@pytest.mark.parametrize("latents", [1, 5])
def test_two_constant_images_of_one_pixel_have_one(value: float, latents: int) -> None:
    model = build_vae(ModelConfig(hidden=(3,), latent_dim=latents), (1, 1, 1), seed=0)
    bound = iwae_bound(model, torch.full((2, 1, 1, 1), value), samples=3)
    assert math.isfinite(bound.nats)
    assert math.isfinite(bound.stderr_nats)


def test_weights_that_no_float_holds_are_summed_in_logarithms() -> None:
    """σ² = 1e-6: ln p(x|z) is about -1e5."""
    model, images = _other_model(sigma2=1e-6)
    bound = iwae_bound(model, images, samples=50)
    assert math.isfinite(bound.nats)
    assert bound.nats < -1e4
