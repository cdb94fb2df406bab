"""The loop that people write, as one process of training.py: Adam, a DataLoader, `.item()` each step.

As in https://github.com/pytorch/examples/tree/main/vae: torchvision's data set with ToTensor, one
loading process and pinned memory on a GPU. With `Job.tensors` the images are a TensorDataset.
"""

from typing import Any, final

import numpy as np
import torch
import torchvision.datasets
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset
from torchvision.transforms import ToTensor

from cases import LEARNING_RATE, Case, plain_networks
from loops import Job, Train, serve
from vae_models.vae import VAE


@final
class PlainVAE(nn.Module):
    """The network as tutorials write it."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        return self.decoder(z), mean, log_variance


@final
class ArrayImages(Dataset[tuple[Tensor, int]]):
    """Images of an array, one by one through ToTensor, as torchvision's are."""

    def __init__(self, images: NDArray[np.float32]) -> None:
        self._images = images
        self._transform = ToTensor()

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._transform(self._images[index]), 0


def losses(model: PlainVAE, x: Tensor) -> tuple[Tensor, Tensor]:
    logits, mean, log_variance = model(x)
    nll = functional.binary_cross_entropy_with_logits(
        logits.flatten(1), x.flatten(1), reduction="sum"
    ) / len(x)
    rate = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum() / len(x)
    return nll, rate


def train_epoch(
    model: PlainVAE, loader: DataLoader[Any], optimiser: torch.optim.Adam, beta: float, device: str
) -> float:
    model.train()
    total = 0.0
    for batch in loader:
        x = batch[0].to(device)
        optimiser.zero_grad()
        nll, rate = losses(model, x)
        loss = nll + beta * rate
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        total += loss.item()
    return total / len(loader)


def hand_loop(job: Job) -> Train:
    """The loop over a case's images, which are opened once for all trials of the process."""
    images = _tensors(job.case) if job.tensors else _files(job.case)
    loader = DataLoader(
        images,
        batch_size=job.case.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=job.loader_workers,
        pin_memory=job.device != "cpu",
    )

    def train(vae: VAE, beta: float) -> float:
        model = PlainVAE(*plain_networks(vae))
        optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
        losses_of_epochs = [
            train_epoch(model, loader, optimiser, beta, job.device) for _ in range(job.case.epochs)
        ]
        return losses_of_epochs[-1]

    return train


def _files(case: Case) -> Dataset[Any]:
    if case.data["name"] == "mnist":
        mnist = torchvision.datasets.MNIST(case.data["root"], train=True, transform=ToTensor())
        return Subset(mnist, range(case.examples))
    rows = _all_images(case).permute(0, 2, 3, 1)  # ToTensor takes channels last
    return ArrayImages(rows.contiguous().numpy())


def _tensors(case: Case) -> Dataset[Any]:
    return TensorDataset(_all_images(case))


def _all_images(case: Case) -> Tensor:
    from vae_models.data import load_data

    data = load_data(case.data_config)
    return data.batch(torch.arange(len(data.train)))


if __name__ == "__main__":
    serve(hand_loop)
