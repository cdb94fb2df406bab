"""Data sets as tensors: fixed splits, what a batch of them is, and what a study records of them."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from numpy.typing import NDArray
from torch import Tensor

from vae_models import zero_rate
from vae_models.binarisation import binarise, draw_once
from vae_models.data_config import DataConfig
from vae_models.spectrum import covariance_spectrum, pixel_means
from vae_models.splits import Splits
from vae_models.sprites import Factors

__all__ = ["DataConfig", "DataSet", "load_data"]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class DataSet:
    """Training and held-out examples on one device, in a compact type.

    What a study records of them (`checksum`, `spectrum`, `mean_se`, `zero_rate_bernoulli_nats`)
    is computed when first asked for: a worker that only trains does not pay for it.

    Attributes:
        name: Of the data set.
        train: Training examples as stored (uint8 grey levels or float32 values).
        heldout: Held-out examples as stored.
        scale: Factor from stored values to model units.
        binarisation: One of `vae_models.data_config.BINARISATIONS`.
        seed: Of the held-out split's dynamic binarisation.
        peak: Largest value in model units: 1 for images, None where there is none.
        skipped: Files that could not be read, relative to the root.
        factors: What each example was made from, where that is known (sprites).
    """

    name: str
    train: Shaped[Tensor, "n channels height width"]
    heldout: Shaped[Tensor, "m channels height width"]
    scale: float
    binarisation: str = "none"
    seed: int = 0
    peak: float | None = 1.0
    skipped: tuple[str, ...] = ()
    factors: Factors | None = None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        channels, height, width = self.train.shape[1:]
        return channels, height, width

    @property
    def pixels(self) -> int:
        """N = C·H·W."""
        channels, height, width = self.image_shape
        return channels * height * width

    def to(self, device: torch.device | str) -> "DataSet":
        """The same data on another device; what was computed of it comes along."""
        moved = replace(self, train=self.train.to(device), heldout=self.heldout.to(device))
        computed = self.__dict__.keys() - {field.name for field in fields(self)}
        moved.__dict__.update({name: self.__dict__[name] for name in computed})
        return moved

    def batch(
        self, indices: Int[Tensor, " batch"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "batch channels height width"]:
        """Training examples in model units; under dynamic binarisation drawn anew at each call.

        Args:
            indices: Of the examples, on the device of the data.
            generator: Of the dynamic binarisation, on the device of the data; unused otherwise.
        """
        images = self.in_model_units(self.train.index_select(0, indices))
        if self.binarisation == "dynamic":
            return torch.bernoulli(images, generator=generator)
        return images

    def heldout_images(self) -> Float[Tensor, "m channels height width"]:
        """All held-out examples in model units, the same at each call and on each device."""
        if self.binarisation == "dynamic":
            return torch.from_numpy(self._seen_heldout()[0]).to(self.heldout.device).float()
        return self.in_model_units(self.heldout)

    def in_model_units(
        self, stored: Shaped[Tensor, "*batch channels height width"]
    ) -> Float[Tensor, "*batch channels height width"]:
        """Stored examples, on any device, as a model sees them, but for a dynamic binarisation."""
        images = stored.to(torch.float32)
        return images if self.scale == 1 else images * self.scale

    @cached_property
    def binary(self) -> bool:
        """Whether every value that a model sees is zero or one."""
        if self.binarisation != "none":
            return True
        return all(
            bool(((split == 0) | (split * self.scale == 1)).all())
            for split in (self.train, self.heldout)
        )

    @cached_property
    def checksum(self) -> str:
        """SHA-256 (hex) over everything that decides what a model sees, equal on every machine.

        That is both splits with shapes and types, the scale and the binarisation, with its seed
        where that draws the held-out split.
        """
        digest = hashlib.sha256()
        seed = self.seed if self.binarisation == "dynamic" else None
        digest.update(json.dumps([self.scale, self.binarisation, seed]).encode())
        for split in (self.train, self.heldout):
            stored = _numpy(split)
            digest.update(json.dumps([stored.dtype.name, *stored.shape]).encode())
            digest.update(stored.astype(stored.dtype.newbyteorder("<"), copy=False).data)
        return digest.hexdigest()

    @cached_property
    def spectrum(self) -> NDArray[np.float64]:
        """Covariance eigenvalues of the training split as the model sees it, descending, [N].

        In squared model units, divisor n, in expectation over a dynamic binarisation.
        """
        dynamic = self.binarisation == "dynamic"
        return covariance_spectrum(_numpy(self.train), self.scale, dynamic=dynamic)

    @cached_property
    def mean_se(self) -> float:
        """Squared error of the held-out split to the training mean, summed over pixels."""
        return zero_rate.squared_error(self._train_mean, *self._seen_heldout())

    @cached_property
    def zero_rate_bernoulli_nats(self) -> float | None:
        """NLL of the held-out split under the training means, nats; None if no image."""
        if self.peak is None:
            return None
        return zero_rate.bernoulli_nats(self._train_mean, len(self.train), *self._seen_heldout())

    @cached_property
    def _train_mean(self) -> NDArray[np.float64]:
        return pixel_means(_numpy(self.train), self.scale)

    def _seen_heldout(self) -> tuple[NDArray[Any], float]:
        """The held-out split as evaluation sees it, stored values and scale."""
        stored = _numpy(self.heldout)
        if self.binarisation == "dynamic":
            return draw_once(stored, self.scale, self.seed, "dynamic held-out"), 1.0
        return stored, self.scale


def load_data(config: DataConfig) -> DataSet:
    """The data set that a configuration names, on the CPU.

    Raises:
        DataError: Its files are missing, corrupt or too few, each with what to do about it.
    """
    splits = _loader_of(config.name)(config)
    splits = replace(
        splits,
        train=splits.train[: config.train_limit],
        heldout=splits.heldout[: config.heldout_limit],
    )
    splits = binarise(splits, config.binarisation, config.seed)
    return DataSet(
        name=config.name,
        train=torch.from_numpy(np.ascontiguousarray(splits.train)),
        heldout=torch.from_numpy(np.ascontiguousarray(splits.heldout)),
        scale=splits.scale,
        binarisation=config.binarisation,
        seed=config.seed,
        peak=splits.peak,
        skipped=splits.skipped,
        factors=splits.factors,
    )


def _loader_of(name: str) -> Callable[[DataConfig], Splits]:
    """The function that reads a set; scikit-learn and torchvision take seconds to import."""
    if name == "digits":
        from vae_models import digits

        return digits.load
    if name == "folder":
        from vae_models import folder

        return folder.load
    if name == "gaussian":
        from vae_models import gaussian

        return gaussian.load
    if name == "photos":
        from vae_models import photos

        return photos.load
    if name == "sprites":
        from vae_models import sprites

        return sprites.load
    from vae_models import torchvision_sets

    return torchvision_sets.load


def _numpy(stored: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = stored.cpu().contiguous().numpy()
    return array
