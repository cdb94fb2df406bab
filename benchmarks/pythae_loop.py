"""pythae's BetaVAE and trainer, as one process of training.py. Nothing else imports pythae.

Its best case: the images are a tensor in memory, made into its data set once; bars and logs are
silenced (TQDM_DISABLE=1); no checkpoints, no evaluation. What its trainer does beside the training
by itself stays: a copy of the model whenever the loss falls, and the model's files at the end.
"""

import logging
import os
import shutil
from typing import final

import torch
from pythae.data.datasets import BaseDataset
from pythae.models import BetaVAE, BetaVAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from torch import Tensor, nn

from cases import LEARNING_RATE, OTHERS_SEED, plain_networks
from loops import Job, Train, serve
from vae_models.data import load_data
from vae_models.vae import VAE


@final
class Encoder(BaseEncoder):  # type: ignore[misc]
    """An encoder of torch's layers as pythae wants it."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor) -> ModelOutput:
        mean, log_variance = self.layers(x).chunk(2, dim=1)
        return ModelOutput(embedding=mean, log_covariance=log_variance)


@final
class Decoder(BaseDecoder):  # type: ignore[misc]
    """A decoder of torch's layers as pythae wants it: probabilities, not logits."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=torch.sigmoid(self.layers(z)))


def pythae_model(vae: VAE, beta: float, input_dim: tuple[int, int, int]) -> BetaVAE:
    """A BetaVAE of pythae on the layers of our model."""
    encoder, decoder = plain_networks(vae)
    config = BetaVAEConfig(
        input_dim=input_dim, latent_dim=vae.latent_dim, reconstruction_loss="bce", beta=beta
    )
    return BetaVAE(config, encoder=Encoder(encoder), decoder=Decoder(decoder))


def pythae_loop(job: Job) -> Train:
    """The trainer over a case's images."""
    logging.disable(logging.WARNING)
    data = load_data(job.case.data_config)
    images = data.batch(torch.arange(len(data.train)))
    train_data = BaseDataset(images, torch.zeros(len(images)))
    folder = job.folder / f"pythae-{os.getpid()}"

    def train(vae: VAE, beta: float) -> float:
        config = BaseTrainerConfig(
            output_dir=str(folder),
            per_device_train_batch_size=job.case.batch_size,
            num_epochs=job.case.epochs,
            train_dataloader_num_workers=job.loader_workers,
            learning_rate=LEARNING_RATE,
            seed=OTHERS_SEED,
            no_cuda=job.device == "cpu",
        )
        model = pythae_model(vae, beta, job.case.image_shape)
        BaseTrainer(model, train_data, training_config=config).train()
        shutil.rmtree(folder)
        return 0.0  # its trainer gives no loss away

    return train


if __name__ == "__main__":
    serve(pythae_loop)
