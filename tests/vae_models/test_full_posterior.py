"""A full-covariance posterior on linear data: the optimum in any rotation, and none below it."""

import pytest
import torch
from torch import Tensor

from exact_linear_points import (
    closed_form,
    exact_point,
    exact_terms,
    linear_parts,
    rotated_optimum,
)
from vae_models.vae import VAE


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _loss(vae: VAE) -> Tensor:
    costs = [terms.distortion_nll_nats + terms.rate_nats for terms in exact_terms(vae)]
    return torch.stack(costs).mean()


@pytest.mark.parametrize(("t", "latents"), [(0.1, 8), (1.0, 3), (3.0, 10)])
def test_a_full_posterior_reaches_the_linear_optimum_in_any_rotation(
    t: float, latents: int
) -> None:
    rotation = torch.linalg.qr(_normal(latents, latents)).Q
    vae = rotated_optimum(t, rotation, "full")
    assert exact_point(vae) == pytest.approx(closed_form(t, latents), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(("t", "latents"), [(0.1, 8), (1.0, 3)])
def test_a_diagonal_posterior_reaches_it_in_one_rotation_only(t: float, latents: int) -> None:
    """Even with the best variances for the rotated decoder, 1 / (1 + ‖w_j‖²/t)."""
    rotation = torch.linalg.qr(_normal(latents, latents)).Q
    vae = rotated_optimum(t, rotation, "diagonal")
    encoder, decoder = linear_parts(vae)
    with torch.no_grad():
        precision = 1 + decoder.output.weight.square().sum(0) / t
        encoder.raw_log_variance.copy_(-precision.log())
    rate, error = exact_point(vae)
    best_rate, best_error = closed_form(t, latents)
    assert error / 2 + t * rate > best_error / 2 + t * best_rate + 0.01


def test_a_full_posterior_gets_no_lower_than_the_linear_optimum() -> None:
    """Ten random changes of every parameter raise the loss, and its gradient there is zero."""
    t, latents = 0.5, 4
    rotation = torch.linalg.qr(_normal(latents, latents)).Q
    vae = rotated_optimum(t, rotation, "full")
    best = _loss(vae)
    best.backward()  # type: ignore[no-untyped-call]
    for parameter in vae.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().max() < 1e-5
    state = {name: tensor.clone() for name, tensor in vae.state_dict().items()}
    for seed in range(10):
        vae.load_state_dict({n: s + 0.05 * _normal(*s.shape, seed=seed) for n, s in state.items()})
        assert _loss(vae) > best
