"""The key of equivalent trials: equal where the gradients are parallel, else different."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from sweeps.equivalence import equivalence_of, fixed_sigma2, initial_sigma2
from vae_models.config import LIKELIHOODS, ModelConfig, TrialConfig
from vae_models.objective import REDUCTIONS
from vae_models.regulariser import PriorDraws
from vae_models.regularisers import regulariser_of
from vae_models.vae import build_vae

N, M, B = 64, 6, 32
ANNEALING = 0.7


def trial(**sections: Mapping[str, Any]) -> TrialConfig:
    model = {"hidden": (20,), "latent_dim": M, **sections.get("model", {})}
    train = {"batch_size": B, **sections.get("train", {})}
    return TrialConfig.from_dict(
        {"model": model, "objective": sections.get("objective", {}), "train": train}
    )


def key(**sections: Mapping[str, Any]) -> str:
    return equivalence_of(trial(**sections))


def gradient(config: TrialConfig) -> Tensor:
    """Of one step's loss, by the parameters of the encoder and the decoder."""
    vae = build_vae(config.model, (1, 8, 8), config.train.seed).double()
    generator = torch.Generator().manual_seed(0)
    images = torch.rand((B, 1, 8, 8), generator=generator, dtype=torch.float64)
    noise = torch.randn((2, B, M), generator=generator, dtype=torch.float64)
    draws = PriorDraws(noise[1], torch.rand(B, generator=generator, dtype=torch.float64))
    regulariser = regulariser_of(config, pixels=N, batch=B, examples=1000).double()
    regulariser(vae(images, noise[0]), ANNEALING, draws).value.backward()
    return torch.cat([p.grad.flatten() for p in vae.parameters() if p.grad is not None])


def of(regulariser: str, **values: Any) -> dict[str, Any]:
    return {"regulariser": regulariser, **values}


SAME: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    **{f"reduction {name}": ({}, {"objective": {"reduction": name}}) for name in REDUCTIONS},
    "variance and beta": (
        {"model": {"sigma2": 0.3}, "objective": {"beta": 2.0}},
        {"model": {"sigma2": 3.0}, "objective": {"beta": 0.2}},
    ),
    "mse and a variance of one half": (
        {"model": {"likelihood": "mse"}, "objective": {"beta": 2.0}},
        {"model": {"sigma2": 0.5}, "objective": {"beta": 2.0}},
    ),
    "mse and any variance": (
        {"model": {"likelihood": "mse"}, "objective": {"beta": 2.0, "reduction": "mean"}},
        {"model": {"sigma2": 0.1}, "objective": {"beta": 10.0}},
    ),
    "variance under free bits": (
        {"model": {"sigma2": 0.3}, "objective": of("free_bits", beta=2.0, free_nats=0.01)},
        {"model": {"sigma2": 0.6}, "objective": of("free_bits", beta=1.0, free_nats=0.01)},
    ),
    "variance under a total correlation": (
        {"model": {"sigma2": 0.3}, "objective": of("tcvae", beta=2.0)},
        {"model": {"sigma2": 0.6}, "objective": of("tcvae", beta=1.0, reduction="mean")},
    ),
    "variance under a sigmoid": (
        {"model": {"sigma2": 0.3}, "objective": of("squashed", beta=2.0)},
        {"model": {"sigma2": 0.6}, "objective": of("squashed", beta=1.0)},
    ),
    "variance and gamma": (
        {"model": {"sigma2": 0.3}, "objective": of("capacity", gamma=2.0)},
        {"model": {"sigma2": 0.6}, "objective": of("capacity", gamma=1.0, reduction="mean")},
    ),
    "variance and the weight of a discrepancy": (
        {"model": {"sigma2": 0.3}, "objective": of("wae_mmd", mmd_weight=2.0)},
        {"model": {"sigma2": 0.6}, "objective": of("wae_mmd", mmd_weight=1.0)},
    ),
    "reduction of a target": (
        {"objective": of("geco", target_se=3.0)},
        {"objective": of("geco", target_se=3.0, reduction="pixel_mean")},
    ),
    "beta that a target does not read": (
        {"objective": of("geco", target_se=3.0, beta=5.0)},
        {"objective": of("geco", target_se=3.0)},
    ),
    "mse of a target": (
        {"objective": of("geco", target_se=3.0), "model": {"likelihood": "mse"}},
        {"objective": of("geco", target_se=3.0), "model": {"sigma2": 0.5}},
    ),
    "variance of probabilities": (
        {"model": {"likelihood": "bernoulli", "sigma2": 3.0}},
        {"model": {"likelihood": "bernoulli"}},
    ),
    "cross-entropy and a Bernoulli": (
        {"model": {"likelihood": "bce"}},
        {"model": {"likelihood": "bernoulli"}, "objective": {"reduction": "mean"}},
    ),
    "widths of a convolution": (
        {"model": {"family": "conv", "hidden": (7,)}},
        {"model": {"family": "conv"}},
    ),
    "unit of no schedule": ({"objective": {"annealing_unit": "step"}}, {}),
    "digits of the same number": (
        {"objective": {"beta": 0.1 + 0.2}},
        {"objective": {"beta": 0.3}},
    ),
}


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME)
def test_trials_of_one_key_have_parallel_gradients(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert key(**one) == key(**other)
    cosine = cosine_similarity(gradient(trial(**one)), gradient(trial(**other)), dim=0)
    assert cosine >= 1 - 1e-9


OTHER_GRADIENTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "level": ({"objective": {"beta": 1.0}}, {"objective": {"beta": 30.0}}),
    "variance at the same beta": ({"model": {"sigma2": 0.05}}, {"model": {"sigma2": 1.0}}),
    "starting variance that is learned": (
        {"model": {"likelihood": "gaussian_learned", "sigma2": 0.05}, "objective": {"beta": 2.0}},
        {"model": {"likelihood": "gaussian_learned", "sigma2": 0.1}, "objective": {"beta": 1.0}},
    ),
    "variance at the same target": (
        {"objective": of("geco", target_se=3.0), "model": {"sigma2": 0.05}},
        {"objective": of("geco", target_se=3.0), "model": {"sigma2": 1.0}},
    ),
    "seed": ({"train": {"seed": 1}}, {}),
    "likelihood": ({"model": {"likelihood": "bernoulli"}}, {"model": {"likelihood": "mse"}}),
    "activation": ({"model": {"output_activation": "sigmoid"}}, {}),
    "regulariser": ({"objective": of("free_bits", free_nats=1.0)}, {}),
}

OTHER_PATHS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "epochs": ({"train": {"epochs": 3}}, {}),
    "batch size": ({"train": {"batch_size": 16}}, {}),
    "learning rate": ({"train": {"learning_rate": 0.1}}, {}),
    "schedule": ({"objective": {"annealing": "linear"}}, {}),
    "warm-up": (
        {"objective": {"annealing": "linear", "warmup": 0.1}},
        {"objective": {"annealing": "linear", "warmup": 0.2}},
    ),
    "target": (
        {"objective": of("geco", target_se=3.0)},
        {"objective": of("geco", target_se=4.0)},
    ),
    "latents": ({"model": {"latent_dim": 3}}, {}),
    "prior": ({"model": {"prior": "mixture"}}, {}),
    "posterior": ({"model": {"posterior": "full"}}, {}),
}


@pytest.mark.parametrize(
    ("one", "other"), (OTHER_GRADIENTS | OTHER_PATHS).values(), ids=OTHER_GRADIENTS | OTHER_PATHS
)
def test_what_changes_the_model_changes_the_key(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert key(**one) != key(**other)


@pytest.mark.parametrize(("one", "other"), OTHER_GRADIENTS.values(), ids=OTHER_GRADIENTS)
def test_their_gradients_are_indeed_not_parallel(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    first, second = gradient(trial(**one)), gradient(trial(**other))
    shared = min(len(first), len(second))
    assert cosine_similarity(first[:shared], second[:shared], dim=0) < 1 - 1e-5


def test_the_key_is_a_sha256_that_does_not_change_between_processes() -> None:
    assert len(key()) == 64
    assert set(key()) <= set("0123456789abcdef")
    assert key() == equivalence_of(TrialConfig.from_dict(trial().to_dict()))


def test_only_a_gaussian_of_fixed_variance_has_a_fixed_variance() -> None:
    fixed = {name: fixed_sigma2(ModelConfig(likelihood=name)) for name in LIKELIHOODS}
    assert {name: v for name, v in fixed.items() if v is not None} == {"gaussian": 1.0, "mse": 0.5}
    first = {name: initial_sigma2(ModelConfig(likelihood=name)) for name in LIKELIHOODS}
    assert {name for name, v in first.items() if v is not None} == {
        "gaussian",
        "gaussian_learned",
        "mse",
    }
