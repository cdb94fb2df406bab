"""Linear VAEs at their analytic optimum, made without training (theory.md section 2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vae_models.config import ModelConfig
from vae_models.vae import VAE, build_vae


def optimal_linear_vae(
    spectrum: Sequence[float], *, beta: float, sigma2: float, latents: int
) -> VAE:
    """The optimum for data N(0, diag spectrum), with t = beta sigma2.

    w_i² = λ_i - t, s_i = t/λ_i, v_i = √(λ_i - t)/λ_i where λ_i > t; the other latents are idle.
    """
    pixels, t = len(spectrum), beta * sigma2
    config = ModelConfig(family="linear", latent_dim=latents, sigma2=sigma2)
    model = build_vae(config, (1, 1, pixels), seed=0)
    decoder, encoder = torch.zeros(pixels, latents), torch.zeros(latents, pixels)
    variances = torch.ones(latents)
    for i, value in enumerate(spectrum[:latents]):
        if value > t:
            decoder[i, i] = (value - t) ** 0.5
            encoder[i, i] = (value - t) ** 0.5 / value
            variances[i] = t / value
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(
                {
                    "encoder.mean.weight": encoder,
                    "encoder.mean.bias": torch.zeros(latents),
                    "encoder.raw_log_variance": variances.log(),
                    "decoder.output.weight": decoder,
                    "decoder.output.bias": torch.zeros(pixels),
                }[name]
            )
    return model


def gaussian_images(spectrum: Sequence[float], count: int, seed: int = 0) -> Tensor:
    """Draws from N(0, diag spectrum) as images [count, 1, 1, N]."""
    generator = torch.Generator().manual_seed(seed)
    deviations = torch.tensor(spectrum).sqrt()
    return (torch.randn((count, len(spectrum)), generator=generator) * deviations)[:, None, None]
