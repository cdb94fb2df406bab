"""Pictures of a model: reconstructions, prior samples, traversals."""

from typing import Any

import pytest
import torch

from vae_models.config import ModelConfig
from vae_models.data import DataSet, load_data
from vae_models.data_config import DataConfig
from vae_models.pictures import reconstruct, sample_prior, traverse
from vae_models.vae import VAE, build_vae

KL = (0.5, 3.0, 0.0, 1.5, 0.5)


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return load_data(DataConfig(name="digits"))


def _model(**settings: Any) -> VAE:
    config = {"hidden": (24,), "latent_dim": 5, "likelihood": "bernoulli", **settings}
    return build_vae(ModelConfig(**config), (1, 8, 8), seed=0)


def test_reconstructions_come_from_the_posterior_mean(digits: DataSet) -> None:
    model = _model()
    pictures = reconstruct(model, digits, count=5)
    assert pictures is not None
    originals, reconstructions = pictures
    images = digits.heldout[:5].float() / 16
    with torch.no_grad():
        expected = torch.sigmoid(model.decoder(model.encoder(images).mean))
    torch.testing.assert_close(originals, images)
    torch.testing.assert_close(reconstructions, expected)


def test_prior_samples_are_pictures_that_repeat(digits: DataSet) -> None:
    model = _model()
    samples = sample_prior(model, digits, count=3)
    assert samples is not None
    assert samples.shape == (3, 1, 8, 8)
    assert samples.min() >= 0
    assert samples.max() <= 1
    again = sample_prior(model, digits, count=3)
    assert again is not None
    assert torch.equal(samples, again)


def test_data_that_is_no_image_has_no_pictures() -> None:
    data = load_data(
        DataConfig(name="gaussian", spectrum=(2.0, 1.0), train_size=8, heldout_size=8)
    )
    model = build_vae(ModelConfig(family="linear", latent_dim=1), data.image_shape, seed=0)
    assert reconstruct(model, data) is None
    assert sample_prior(model, data) is None
    assert traverse(model, data, (1.0,)) is None


@pytest.mark.parametrize(
    ("settings", "scale"), [({}, 1.0), ({"prior": "scaled", "prior_scale": 0.2}, 0.2)], ids=str
)
def test_a_traversal_moves_one_latent_around_the_mean_of_the_first_held_out_image(
    digits: DataSet, settings: dict[str, Any], scale: float
) -> None:
    model = _model(**settings)
    found = traverse(model, digits, KL, count=3)
    assert found is not None
    assert found.latents == (1, 3, 0)
    assert found.images.shape == (3, 9, 1, 8, 8)
    with torch.no_grad():
        mean = model.encoder(digits.heldout[:1].float() / 16).mean[0]
        for row, latent in zip(found.images, found.latents, strict=True):
            for step, picture in enumerate(row):
                z = mean.clone()
                z[latent] += scale * (-3 + 0.75 * step)
                expected = torch.sigmoid(model.decoder(z.unsqueeze(0)))[0]
                torch.testing.assert_close(picture, expected, rtol=1e-5, atol=1e-6)


def test_the_middle_of_every_traversal_is_the_reconstruction(digits: DataSet) -> None:
    model = _model(posterior="full")
    found, pictures = traverse(model, digits, KL), reconstruct(model, digits, count=1)
    assert found is not None
    assert pictures is not None
    assert found.latents == (1, 3, 0, 4, 2)
    for row in found.images:
        torch.testing.assert_close(row[4], pictures[1][0])


def test_at_most_eight_latents_are_traversed(digits: DataSet) -> None:
    found = traverse(_model(latent_dim=12), digits, tuple(map(float, range(12))))
    assert found is not None
    assert found.latents == (11, 10, 9, 8, 7, 6, 5, 4)


@pytest.mark.parametrize("prior", ["learned", "mixture", "vamp"])
def test_the_reach_is_three_deviations_of_the_prior_as_it_was_learned(
    digits: DataSet, prior: str
) -> None:
    """A decoder that shows a latent as a grey level reads the reach off the picture."""
    config = ModelConfig(family="linear", latent_dim=1, prior=prior)
    model = build_vae(config, (1, 8, 8), seed=0)
    with torch.no_grad():
        model.get_parameter("decoder.output.weight").fill_(0.02)
        model.get_parameter("decoder.output.bias").fill_(0.5)
        model.get_parameter("encoder.mean.weight").zero_()
        model.get_parameter("encoder.mean.bias").zero_()
        generator = torch.Generator().manual_seed(1)
        noise = torch.randn((100_000, 1), generator=generator)
        choice = torch.rand(100_000, generator=generator)
        deviation = model.prior_distribution().sample(noise, choice).std().item()
    found = traverse(model, digits, (1.0,))
    assert found is not None
    reach = (found.images[0, :, 0, 0, 0] - 0.5) / 0.02
    assert reach[0] == pytest.approx(-3 * deviation, rel=0.06)
    assert reach[-1] == pytest.approx(3 * deviation, rel=0.06)


@pytest.mark.parametrize("latents", [1, 4])
def test_one_pixel_is_picture_enough(latents: int) -> None:
    images = torch.ones((2, 1, 1, 1))
    data = DataSet(name="made", train=images, heldout=images, scale=1.0)
    model = build_vae(ModelConfig(hidden=(3,), latent_dim=latents), (1, 1, 1), seed=0)
    found = traverse(model, data, (0.0,) * latents)
    assert found is not None
    assert found.images.shape == (latents, 9, 1, 1, 1)
