"""Networks of every family: shapes, seeds, and the terms of a training pass."""

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from prior_settings import prior_settings
from vae_models.config import FAMILIES, LIKELIHOODS, POSTERIORS, PRIORS, ModelConfig
from vae_models.data import load_data
from vae_models.data_config import DataConfig
from vae_models.vae import VAE, build_vae

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
    (2, 9, 1),
    (1, 1, 1),
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
    assert posterior.mean.shape == posterior.marginal_variance.shape == (3, 5)
    assert vae.decode(posterior.mean).mean.shape == images.shape
    terms = vae(images, torch.randn(3, 5))
    assert terms.rate_nats.shape == terms.distortion_nll_nats.shape == (3,)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_decoder_gives_as_many_channels_as_the_likelihood_wants(
    family: str, likelihood: str
) -> None:
    vae = build_vae(ModelConfig(family=family, likelihood=likelihood), (3, 9, 6), seed=0)
    output = vae.decoder(torch.randn(2, 16))
    assert output.shape == (2, 3 * vae.likelihood.outputs_per_pixel, 9, 6)
    assert vae.decode(torch.randn(2, 16)).mean.shape == (2, 3, 9, 6)


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


@pytest.mark.parametrize("family", ["conv", "resnet"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 64, 64)], ids=str)
def test_a_convolutional_encoder_passes_its_signal_on(
    family: str, shape: tuple[int, int, int]
) -> None:
    """Fresh hidden layers keep the second moment, up to padding, so that latents do not start out collapsed."""
    vae = build_vae(ModelConfig(family=family), shape, seed=0)
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
def test_a_full_covariance_needs_half_a_square_of_outputs_more(family: str) -> None:
    """M = 6: 15 entries below the diagonal, in the encoder's last layer or shared by all."""
    diagonal, full = (
        build_vae(
            ModelConfig(family=family, hidden=(12,), latent_dim=6, posterior=posterior),
            (1, 8, 8),
            seed=0,
        )
        for posterior in POSTERIORS
    )
    inputs = {"linear": 0, "mlp": 12, "conv": 256, "resnet": 64 * 2 * 2}[family]
    extra = sum(p.numel() for p in full.parameters()) - sum(
        p.numel() for p in diagonal.parameters()
    )
    assert extra == 15 * (inputs + 1)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("family", FAMILIES)
def test_weights_depend_on_the_seed_only(family: str, prior: str) -> None:
    config = ModelConfig(family=family, hidden=(12,), **prior_settings(prior))
    first = build_vae(config, (1, 8, 8), seed=3)
    torch.manual_seed(123)
    assert _equal(first, build_vae(config, (1, 8, 8), seed=3))
    assert not _equal(first, build_vae(config, (1, 8, 8), seed=4))


@pytest.mark.parametrize("prior", PRIORS)
def test_the_networks_start_the_same_under_every_prior(prior: str) -> None:
    plain = _state(build_vae(ModelConfig(hidden=(12,)), (1, 8, 8), seed=3))
    other = _state(
        build_vae(ModelConfig(hidden=(12,), **prior_settings(prior)), (1, 8, 8), seed=3)
    )
    assert all(torch.equal(other[name], tensor) for name, tensor in plain.items())


@pytest.mark.parametrize("family", FAMILIES)
def test_building_leaves_the_global_random_state_alone(family: str) -> None:
    torch.manual_seed(7)
    expected = torch.rand(4)
    torch.manual_seed(7)
    build_vae(ModelConfig(family=family, prior="mixture"), (1, 8, 8), seed=0)
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_every_parameter_gets_a_gradient_under_every_likelihood(likelihood: str) -> None:
    _check_gradients(ModelConfig(hidden=(12,), likelihood=likelihood))


@pytest.mark.parametrize("posterior", POSTERIORS)
@pytest.mark.parametrize("prior", ["standard", "scaled", "learned", "mixture"])
@pytest.mark.parametrize("family", ["linear", "mlp", "conv"])
def test_every_parameter_gets_a_gradient_under_every_prior(
    family: str, prior: str, posterior: str
) -> None:
    settings = prior_settings(prior)
    _check_gradients(ModelConfig(family=family, hidden=(12,), posterior=posterior, **settings))


def _check_gradients(config: ModelConfig) -> None:
    vae = build_vae(config, (1, 8, 8), seed=0)
    levels = torch.randint(1, 255, (6, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    terms = vae(levels / 255, torch.randn(6, 16))
    loss: Tensor = terms.rate_nats.mean() + terms.distortion_nll_nats.mean()
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in vae.parameters())


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_the_terms_are_those_of_torch_distributions(posterior: str) -> None:
    """In float64: the rate, the draw, and the cost of decoding that draw."""
    config = ModelConfig(hidden=(12,), latent_dim=4, posterior=posterior, sigma2=0.5)
    vae = build_vae(config, (1, 4, 4), seed=0).double()
    images = torch.rand(6, 1, 4, 4, dtype=torch.float64)
    noise = torch.randn(6, 4, dtype=torch.float64)
    terms = vae(images, noise)
    encoded = vae.encode(images)
    unit = torch.eye(4, dtype=torch.float64)
    columns = [encoded.sample(unit[j].expand(6, 4)) - encoded.mean for j in range(4)]
    factor = torch.stack(columns, dim=-1)
    normal = MultivariateNormal(encoded.mean, scale_tril=factor)
    prior = MultivariateNormal(torch.zeros_like(noise[0]), unit)
    torch.testing.assert_close(terms.rate_nats, kl_divergence(normal, prior))
    drawn = encoded.mean + (factor @ noise.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(terms.latents, drawn)
    nll, error = vae.decode(drawn).costs(images)
    torch.testing.assert_close(terms.distortion_nll_nats, nll)
    torch.testing.assert_close(terms.distortion_se, error)


def test_a_pass_shows_its_images_to_the_prior_first() -> None:
    vae = build_vae(ModelConfig(hidden=(12,), prior="vamp", prior_components=3), (1, 4, 4), 0)
    images = 100 + torch.rand(6, 1, 4, 4)
    vae(images, torch.zeros(6, 16))
    pseudo_inputs = vae.prior.get_parameter("pseudo_inputs")
    assert (pseudo_inputs - images[:3]).abs().max() < 0.1


@pytest.mark.parametrize("family", ["conv", "resnet"])
def test_a_fresh_model_takes_a_batch_of_real_images(family: str) -> None:
    data = load_data(DataConfig(name="digits"))
    vae = build_vae(ModelConfig(family=family, likelihood="bernoulli"), data.image_shape, seed=0)
    terms = vae(data.heldout_images()[:4], torch.zeros(4, 16))
    assert torch.isfinite(terms.distortion_nll_nats).all()
