"""Networks of every family: shapes, seeds, and terms that torch.distributions agrees with."""

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from vae_models.config import FAMILIES, LIKELIHOODS, ModelConfig
from vae_models.data import load_data
from vae_models.data_config import DataConfig
from vae_models.objective import Weights
from vae_models.posterior import posterior_of
from vae_models.vae import VAE, Terms, build_vae, training_loss

SHAPES = [
    (1, 8, 8),
    (3, 8, 8),
    (1, 15, 15),
    (1, 28, 28),
    (3, 32, 32),
    (3, 33, 47),
    (1, 64, 64),
    (3, 64, 64),
    (1, 3, 3),
    (1, 1, 5),
]


def _state(vae: VAE) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in vae.state_dict().items()}


def _equal(one: VAE, other: VAE) -> bool:
    ours, theirs = _state(one), _state(other)
    return all(torch.equal(ours[name], theirs[name]) for name in ours.keys() | theirs.keys())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_decoded_image_has_the_shape_of_the_encoded_one(
    family: str, shape: tuple[int, int, int]
) -> None:
    vae = build_vae(ModelConfig(family=family, hidden=(12, 7), latent_dim=5), shape, seed=0)
    images = torch.rand((3, *shape))
    posterior = vae.encode(images)
    assert posterior.mean.shape == posterior.log_variance.shape == (3, 5)
    assert vae.decode(posterior.mean).mean.shape == images.shape
    terms = vae(images, torch.randn(3, 5))
    assert terms.rate_nats.shape == terms.distortion_nll_nats.shape == (3,)


def test_a_64x64_convolutional_network_is_that_of_the_disentanglement_literature() -> None:
    """Locatello et al. 2019: 32-32-64-64 channels, k4, s2, then 256 units; and back."""
    vae = build_vae(ModelConfig(family="conv", latent_dim=10), (1, 64, 64), seed=0)
    weights = [tuple(w.shape) for name, w in vae.named_parameters() if name.endswith("weight")]
    assert weights == [
        (32, 1, 4, 4),
        (32, 32, 4, 4),
        (64, 32, 4, 4),
        (64, 64, 4, 4),
        (256, 1024),
        (20, 256),
        (256, 10),
        (1024, 256),
        (64, 64, 4, 4),
        (64, 32, 4, 4),
        (32, 32, 4, 4),
        (32, 1, 4, 4),
    ]


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 64, 64)], ids=str)
def test_a_convolutional_encoder_passes_its_signal_on(shape: tuple[int, int, int]) -> None:
    """Fresh hidden layers keep the second moment, up to padding, so that latents do not start out collapsed."""
    vae = build_vae(ModelConfig(family="conv"), shape, seed=0)
    signal = torch.randn((256, *shape))
    moment = signal.square().mean()
    for layer in list(vae.encoder.get_submodule("layers").children())[:-1]:
        signal = layer(signal)
    assert moment / 30 < signal.square().mean() < 5 * moment


def test_an_mlp_decoder_mirrors_its_encoder() -> None:
    vae = build_vae(ModelConfig(hidden=(12, 7), latent_dim=3), (1, 4, 4), seed=0)
    weights = [tuple(w.shape) for name, w in vae.named_parameters() if name.endswith("weight")]
    assert weights == [(12, 16), (7, 12), (6, 7), (7, 3), (12, 7), (16, 12)]


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_depend_on_the_seed_only(family: str) -> None:
    config = ModelConfig(family=family, hidden=(12,))
    first = build_vae(config, (1, 8, 8), seed=3)
    torch.manual_seed(123)
    assert _equal(first, build_vae(config, (1, 8, 8), seed=3))
    assert not _equal(first, build_vae(config, (1, 8, 8), seed=4))


@pytest.mark.parametrize("family", FAMILIES)
def test_building_leaves_the_global_random_state_alone(family: str) -> None:
    torch.manual_seed(7)
    expected = torch.rand(4)
    torch.manual_seed(7)
    build_vae(ModelConfig(family=family), (1, 8, 8), seed=0)
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_every_parameter_gets_a_gradient(likelihood: str) -> None:
    vae = build_vae(ModelConfig(hidden=(12,), likelihood=likelihood), (1, 8, 8), seed=0)
    terms = vae(torch.rand(6, 1, 8, 8), torch.randn(6, 16))
    training_loss(terms, Weights(nll=1, rate=1), 1.0).backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in vae.parameters())


def test_the_kl_and_the_draws_are_those_of_torch_distributions() -> None:
    mean, log_variance, noise = torch.randn(3, 6, 4, dtype=torch.float64)
    posterior = posterior_of(mean, log_variance)
    normal = Normal(mean, torch.exp(0.5 * log_variance))
    prior = Normal(torch.zeros_like(mean), 1.0)
    expected = kl_divergence(normal, prior)
    torch.testing.assert_close(posterior.kl_nats(), expected, rtol=1e-6, atol=1e-6)
    drawn = normal.mean + normal.stddev * noise
    torch.testing.assert_close(posterior.sample(noise), drawn, rtol=1e-6, atol=1e-6)


def test_extreme_log_variances_stay_finite_and_keep_a_gradient() -> None:
    raw = torch.tensor([[-60.0, -25.0, 0.0, 12.0, 60.0]], requires_grad=True)
    posterior = posterior_of(torch.zeros_like(raw), raw)
    assert posterior.log_variance.min() >= -20
    assert posterior.log_variance.max() <= 20
    posterior.kl_nats().sum().backward()  # type: ignore[no-untyped-call]
    assert raw.grad is not None
    assert torch.isfinite(raw.grad).all()
    assert raw.grad[0, -1] > 0


def test_the_training_loss_is_the_weighted_mean_of_its_terms() -> None:
    rate, nll, error = torch.tensor([[1.0, 3.0], [10.0, 30.0], [7.0, 9.0]])
    terms = Terms(rate_nats=rate, distortion_nll_nats=nll, distortion_se=error)
    loss = training_loss(terms, Weights(nll=0.5, rate=4.0), 0.25)
    assert loss.item() == pytest.approx(0.5 * 20 + 0.25 * 4 * 2)


def test_a_fresh_model_takes_a_batch_of_real_images() -> None:
    data = load_data(DataConfig(name="digits"))
    vae = build_vae(ModelConfig(family="conv", likelihood="bernoulli"), data.image_shape, seed=0)
    terms = vae(data.heldout_images()[:4], torch.zeros(4, 16))
    assert torch.isfinite(terms.distortion_nll_nats).all()
