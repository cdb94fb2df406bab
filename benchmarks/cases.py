"""What the loops of training.py are compared on: data, network, and settings of (beta, M)."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias, final

from torch import nn

from vae_models.config import ModelConfig
from vae_models.data_config import DataConfig
from vae_models.vae import VAE, build_vae

LEARNING_RATE = 1e-3
SEED = 0
"""Of the weights, in all loops."""

OTHERS_SEED = 1
"""Of order and noise in the others' loops: with `SEED` they would repeat the weights' numbers."""

Fields: TypeAlias = Mapping[str, str | int]

_BETAS = (0.1, 8.0)
_LATENTS = (2, 64)
_MOST_LATENTS = 10  # numbers of latents between 2 and 64 that differ when rounded


@final
@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is searched: one trial's beta (sum reduction) and its number of latents."""

    beta: float
    latents: int


@final
@dataclass(frozen=True, kw_only=True)
class Case:
    """One comparison, the same for all loops: Bernoulli on the pixels as they are, Adam, no schedule.

    Attributes:
        name: As in ``--case``.
        data: The [data] section of a spec.
        image_shape: Channels, height, width.
        examples: Of the training split: whole batches, so that no loop drops or adds one.
        family: Of the networks; an MLP has one hidden layer of 512.
        batch_size: Examples per step.
        epochs: Passes over the training split.
    """

    name: str
    data: Fields
    image_shape: tuple[int, int, int]
    examples: int
    family: str
    batch_size: int
    epochs: int

    @property
    def data_config(self) -> DataConfig:
        return DataConfig(**self.data)  # type: ignore[arg-type]

    @property
    def steps(self) -> int:
        """Optimiser steps of a trial."""
        return self.epochs * (self.examples // self.batch_size)

    def lasting(self, epochs: int) -> "Case":
        """The same with another number of epochs."""
        return replace(self, epochs=epochs)

    def model(self, latents: int) -> ModelConfig:
        """The settings of the model with so many latents."""
        return ModelConfig(family=self.family, likelihood="bernoulli", latent_dim=latents)

    def build(self, latents: int) -> VAE:
        """The model with the weights that every loop starts from."""
        return build_vae(self.model(latents), self.image_shape, SEED)

    def spec(self, name: str, settings: Iterable[Setting]) -> str:
        """A spec of rdsweep for the grid of settings."""
        betas, latents = axes(settings)
        return f"""
[study]
name = "{name}"
trials = {len(betas) * len(latents)}
sampler = "grid"
distortion = "nll"
[data]
{_lines(self.data)}
[model]
family = "{self.family}"
likelihood = "bernoulli"
[train]
epochs = {self.epochs}
batch_size = {self.batch_size}
learning_rate = {LEARNING_RATE}
seed = {SEED}
[space]
beta = {list(betas)}
latent_dim = {list(latents)}
"""


def case_of(name: str, mnist: Path) -> Case:
    """A case by its name."""
    digits: Fields = {
        "name": "mnist",
        "root": str(mnist),
        "train_limit": 9984,
        "heldout_limit": 10_000,
    }
    sprites: Fields = {
        "name": "sprites",
        "image_size": 64,
        "train_size": 2048,
        "heldout_size": 512,
    }
    mlp = Case(
        name="mlp",
        data=digits,
        image_shape=(1, 28, 28),
        examples=9984,
        family="mlp",
        batch_size=128,
        epochs=10,
    )
    cases = {
        "mlp": mlp,
        "conv28": replace(mlp, name="conv28", family="conv", batch_size=64, epochs=3),
        "conv64": replace(
            mlp,
            name="conv64",
            data=sprites,
            image_shape=(1, 64, 64),
            examples=2048,
            family="conv",
            batch_size=64,
            epochs=1,
        ),
    }
    return cases[name]


def tiny(case: Case) -> Case:
    """The same networks on so few small images that a trial takes a second."""
    name = f"tiny-{case.name}"
    if case.name != "conv64":
        data: Fields = {"name": "digits", "train_limit": 1024}
        shape, examples = (1, 8, 8), 1024
    else:
        data = {"name": "sprites", "image_size": 16, "train_size": 256, "heldout_size": 64}
        shape, examples = (1, 16, 16), 256
    return replace(case, name=name, data=data, image_shape=shape, examples=examples, epochs=1)


def grid(trials: int) -> list[Setting]:
    """So many settings: every number of latents with every beta, both evenly spaced in the log."""
    most = min(math.isqrt(trials), _MOST_LATENTS)
    count = max(divisor for divisor in range(1, most + 1) if trials % divisor == 0)
    latents = [round(value) for value in _spaced(*_LATENTS, count)]
    betas = [float(f"{value:.3g}") for value in _spaced(*_BETAS, trials // count)]
    return [Setting(beta=beta, latents=number) for number in latents for beta in betas]


def axes(settings: Iterable[Setting]) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """The betas and the numbers of latents of a grid."""
    settings = list(settings)
    betas = dict.fromkeys(setting.beta for setting in settings)
    return tuple(betas), tuple(dict.fromkeys(setting.latents for setting in settings))


def plain_networks(vae: VAE) -> tuple[nn.Module, nn.Module]:
    """A model's encoder (to M means and M log-variances) and decoder as stacks of torch's layers.

    They share their weights with the model, so that it can be measured after they are trained.
    """
    encoder = vae.encoder.get_submodule("layers")
    decoder = vae.decoder.get_submodule("layers")
    takes_rows = isinstance(next(iter(encoder.children())), nn.Linear)
    return (nn.Sequential(nn.Flatten(), encoder) if takes_rows else encoder), decoder


def _spaced(low: float, high: float, count: int) -> list[float]:
    if count == 1:
        return [math.sqrt(low * high)]
    return [low * (high / low) ** (index / (count - 1)) for index in range(count)]


def _lines(table: Fields) -> str:
    return "\n".join(f"{key} = {json.dumps(value)}" for key, value in table.items())
