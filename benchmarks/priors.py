"""What a prior or a full covariance is worth: rate and ELBO on digits, at beta = 1.

The same network (128 hidden units, 8 latents, Bernoulli pixels, dynamic binarisation) and training
(100 epochs, cosine from 2e-3) under each prior, mean and standard deviation over the seeds.

    python benchmarks/priors.py [--seeds 5]
"""

import argparse
import statistics
from collections.abc import Mapping
from typing import Any

import torch

from vae_models.config import ModelConfig, TrainConfig, TrialConfig
from vae_models.data import DataSet, load_data
from vae_models.data_config import DataConfig
from vae_models.evaluation import Evaluation, evaluate
from vae_models.trainer import Trainer

SETTINGS: list[Mapping[str, Any]] = [
    {"prior": "standard"},
    {"prior": "scaled", "prior_scale": 5.0},
    {"prior": "scaled", "prior_scale": 0.2},
    {"prior": "learned"},
    {"prior": "mixture", "prior_components": 16},
    {"prior": "vamp", "prior_components": 16},
    {"prior": "vamp", "prior_components": 50},
    {"prior": "standard", "posterior": "full"},
    {"prior": "mixture", "prior_components": 16, "posterior": "full"},
]


def measure(settings: Mapping[str, Any], data: DataSet, seed: int) -> Evaluation:
    model = ModelConfig(hidden=(128,), latent_dim=8, likelihood="bernoulli", **settings)
    train = TrainConfig(
        epochs=100, batch_size=64, learning_rate=2e-3, lr_schedule="cosine", seed=seed
    )
    trainer = Trainer([TrialConfig(model=model, train=train)], data)
    for _ in trainer:
        pass
    return evaluate(trainer.model(0), data)


def spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    seeds = range(parser.parse_args().seeds)
    torch.set_num_threads(1)
    data = load_data(DataConfig(name="digits", binarisation="dynamic"))
    for settings in SETTINGS:
        points = [measure(settings, data, seed) for seed in seeds]
        elbo, rate = ([getattr(p, name) for p in points] for name in ("elbo_nats", "rate_nats"))
        print(f"{settings}: ELBO {spread(elbo)}, R {spread(rate)}", flush=True)


if __name__ == "__main__":
    main()
