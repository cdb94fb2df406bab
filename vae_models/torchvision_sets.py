"""The single-label image sets of torchvision, by name.

Sets whose images are listed in the order of the file system (Omniglot, SUN397) are left out: the
same seed would not give the same data everywhere. Data set ``folder`` reads their files.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias, cast, final, runtime_checkable
from urllib.error import URLError

import numpy as np
import torchvision.datasets
from numpy.typing import NDArray
from PIL import Image

from vae_models.data_config import DataConfig
from vae_models.errors import DataError
from vae_models.folder import fit_image
from vae_models.splits import Splits, split_images

__all__ = ["SETS", "TorchvisionSet", "load"]

_NAMED = 3  # missing files that an error names
_LONGEST_CAUSE = 400  # characters of torchvision's own message


@runtime_checkable
class Source(Protocol):
    """What every data set of torchvision offers."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[Image.Image, object]: ...


@runtime_checkable
class InMemory(Protocol):
    """A data set of torchvision that holds all its images."""

    data: Any


Reader: TypeAlias = Callable[[Any], NDArray[np.uint8]]


@final
@dataclass(frozen=True, kw_only=True)
class TorchvisionSet:
    """How a set is called in torchvision, and what it needs on disk.

    Attributes:
        source: The class in `torchvision.datasets`.
        files: Files or directories under the root without which it cannot be read.
        train: Arguments that select the training split.
        heldout: Arguments that select the test split; None where the set has no split.
        images: All images of a split as bytes [n, C, H, W], where the class holds them as an
            array; None where it reads a file for each.
        can_download: Whether torchvision has a place to download it from.
    """

    source: str
    files: tuple[str, ...]
    train: Mapping[str, Any] = field(default_factory=lambda: {"train": True})
    heldout: Mapping[str, Any] | None = field(default_factory=lambda: {"train": False})
    images: Reader | None = None
    can_download: bool = True


def load(config: DataConfig) -> Splits:
    """The training and test splits, or a seeded split of a set that has none of its own.

    Raises:
        DataError: Files are missing and may not be downloaded, the download failed, or the files
            are corrupt.
    """
    entry = SETS[config.name]
    _require_files(entry, config)
    if entry.heldout is None:
        images = _images(entry, config, entry.train)
        train, heldout = split_images(images, config.heldout_fraction, config.seed)
    else:
        train = _images(entry, config, entry.train, config.train_limit)
        heldout = _images(entry, config, entry.heldout, config.heldout_limit)
    return Splits(train=train, heldout=heldout, scale=1 / 255)


def _images(
    entry: TorchvisionSet, config: DataConfig, split: Mapping[str, Any], limit: int | None = None
) -> NDArray[np.uint8]:
    """The first images of a split, [n, C, H, W]; all of them without a limit."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old pickles and odd metadata, not about us
            source = _open(entry, config, split)
            images = entry.images(source)[:limit] if entry.images else _read(source, config, limit)
    except Exception as error:  # parsers of broken files raise everything there is
        raise _failure(entry, config, error) from error
    return np.ascontiguousarray(images)


def _open(entry: TorchvisionSet, config: DataConfig, split: Mapping[str, Any]) -> Source:
    download = {"download": config.download} if entry.can_download else {}
    root = str(_root(config))
    kind = getattr(torchvision.datasets, entry.source)
    return cast("Source", kind(root=root, **split, **download))


def _read(source: Source, config: DataConfig, limit: int | None) -> NDArray[np.uint8]:
    count = len(source) if limit is None else min(limit, len(source))
    pictures = (source[index][0] for index in range(count))
    if config.image_size is None:
        return np.stack([_planes(np.asarray(picture, np.uint8)) for picture in pictures])
    size, colour = config.image_size, config.colour
    return np.stack([fit_image(picture, size, colour=colour) for picture in pictures])


def _planes(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return pixels[None] if pixels.ndim == len("HW") else pixels.transpose(2, 0, 1)


def _root(config: DataConfig) -> Path:
    return Path(config.root).expanduser()


def _missing(entry: TorchvisionSet, config: DataConfig) -> list[str]:
    return [name for name in entry.files if not (_root(config) / name).exists()]


def _require_files(entry: TorchvisionSet, config: DataConfig) -> None:
    missing = _missing(entry, config)
    if not missing or (config.download and entry.can_download):
        return
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    remedy = (
        "Set `download = true` to fetch them, or correct `root`."
        if entry.can_download
        else f"torchvision cannot download them (see its documentation of {entry.source})."
    )
    raise DataError(
        f"The files of data set {config.name!r} must lie under root {config.root!r}"
        f"{_in_full(config)}, but there is no {', '.join(missing[:_NAMED])}{more}. {remedy}"
    )


def _in_full(config: DataConfig) -> str:
    path = str(_root(config).absolute())
    return "" if path == config.root else f" ({path!r})"


def _failure(entry: TorchvisionSet, config: DataConfig, error: Exception) -> DataError:
    cause = (" ".join(str(error).split()) or type(error).__name__)[:_LONGEST_CAUSE]
    if config.download and (_missing(entry, config) or isinstance(error, URLError)):
        return DataError(
            f"Data set {config.name!r} must be downloaded to root {config.root!r}, but that "
            f"failed: {cause} Check the network, or put the files there by hand."
        )
    again = " and set `download = true`" if entry.can_download else " and put intact ones there"
    return DataError(
        f"The files of data set {config.name!r} under root {config.root!r} must be intact, but "
        f"torchvision cannot read them: {cause} Delete them{again}."
    )


def _grey(source: InMemory) -> NDArray[np.uint8]:
    return np.asarray(source.data, np.uint8)[:, None]


def _transposed(source: InMemory) -> NDArray[np.uint8]:
    """EMNIST is stored by columns; transposed, its digits stand upright like MNIST's."""
    return np.asarray(source.data, np.uint8).transpose(0, 2, 1)[:, None]


def _channels_last(source: InMemory) -> NDArray[np.uint8]:
    return np.asarray(source.data, np.uint8).transpose(0, 3, 1, 2)


def _channels_first(source: InMemory) -> NDArray[np.uint8]:
    return np.asarray(source.data, np.uint8)


def _idx_files(folder: str, *splits: str, labels: str = "labels-idx1-ubyte") -> tuple[str, ...]:
    return tuple(
        f"{folder}/raw/{split}-{content}"
        for split in splits
        for content in ("images-idx3-ubyte", labels)
    )


def _mnist_like(source: str) -> TorchvisionSet:
    return TorchvisionSet(source=source, files=_idx_files(source, "train", "t10k"), images=_grey)


def _emnist(split: str) -> TorchvisionSet:
    return TorchvisionSet(
        source="EMNIST",
        files=_idx_files("EMNIST", f"emnist-{split}-train", f"emnist-{split}-test"),
        train={"split": split, "train": True},
        heldout={"split": split, "train": False},
        images=_transposed,
    )


def _by_split(
    source: str,
    *files: str,
    train: str = "train",
    heldout: str = "test",
    images: Reader | None = None,
    can_download: bool = True,
) -> TorchvisionSet:
    """A class whose splits are chosen by `split=`."""
    return TorchvisionSet(
        source=source,
        files=files,
        train={"split": train},
        heldout={"split": heldout},
        images=images,
        can_download=can_download,
    )


def _unsplit(source: str, *files: str, images: Reader | None = None) -> TorchvisionSet:
    return TorchvisionSet(source=source, files=files, train={}, heldout=None, images=images)


_CIFAR10_FILES = (*(f"data_batch_{part}" for part in range(1, 6)), "test_batch", "batches.meta")
_PCAM_FILES = tuple(
    f"pcam/camelyonpatch_level_2_split_{split}_{content}.h5"
    for split in ("train", "test")
    for content in "xy"
)

SETS: Mapping[str, TorchvisionSet] = {
    "mnist": _mnist_like("MNIST"),
    "fashionmnist": _mnist_like("FashionMNIST"),
    "kmnist": _mnist_like("KMNIST"),
    "qmnist": TorchvisionSet(
        source="QMNIST",
        files=_idx_files("QMNIST", "qmnist-train", "qmnist-test", labels="labels-idx2-int"),
        images=_grey,
    ),
    "emnist": _emnist("balanced"),
    "emnist-byclass": _emnist("byclass"),
    "emnist-bymerge": _emnist("bymerge"),
    "emnist-digits": _emnist("digits"),
    "emnist-letters": _emnist("letters"),
    "emnist-mnist": _emnist("mnist"),
    "usps": TorchvisionSet(source="USPS", files=("usps.bz2", "usps.t.bz2"), images=_grey),
    "semeion": _unsplit("SEMEION", "semeion.data", images=_grey),
    "cifar10": TorchvisionSet(
        source="CIFAR10",
        files=tuple(f"cifar-10-batches-py/{name}" for name in _CIFAR10_FILES),
        images=_channels_last,
    ),
    "cifar100": TorchvisionSet(
        source="CIFAR100",
        files=tuple(f"cifar-100-python/{name}" for name in ("train", "test", "meta")),
        images=_channels_last,
    ),
    "svhn": _by_split("SVHN", "train_32x32.mat", "test_32x32.mat", images=_channels_first),
    "stl10": _by_split(
        "STL10",
        *(
            f"stl10_binary/{split}_{content}.bin"
            for split in ("train", "test")
            for content in "Xy"
        ),
        images=_channels_first,
    ),
    "fer2013": _by_split("FER2013", "fer2013", can_download=False),
    "pcam": _by_split("PCAM", *_PCAM_FILES),
    "eurosat": _unsplit("EuroSAT", "eurosat/2750"),
    "caltech101": _unsplit("Caltech101", "caltech101/101_ObjectCategories"),
    "caltech256": _unsplit("Caltech256", "caltech256/256_ObjectCategories"),
    "celeba": _by_split("CelebA", "celeba/img_align_celeba", "celeba/list_eval_partition.txt"),
    "country211": _by_split("Country211", "country211/train", "country211/test"),
    "dtd": _by_split("DTD", "dtd/dtd/images"),
    "fgvcaircraft": _by_split("FGVCAircraft", "fgvc-aircraft-2013b/data", train="trainval"),
    "flowers102": _by_split("Flowers102", "flowers-102/jpg", "flowers-102/setid.mat"),
    "food101": _by_split("Food101", "food-101/meta", "food-101/images"),
    "gtsrb": _by_split("GTSRB", "gtsrb/GTSRB/Training", "gtsrb/GTSRB/Final_Test/Images"),
    "imagenette": _by_split("Imagenette", "imagenette2/train", "imagenette2/val", heldout="val"),
    "oxfordiiitpet": _by_split(
        "OxfordIIITPet", "oxford-iiit-pet/images", "oxford-iiit-pet/annotations", train="trainval"
    ),
    "renderedsst2": _by_split("RenderedSST2", "rendered-sst2/train", "rendered-sst2/test"),
    "stanfordcars": _by_split(
        "StanfordCars", "stanford_cars/devkit", "stanford_cars/cars_train", can_download=False
    ),
}
