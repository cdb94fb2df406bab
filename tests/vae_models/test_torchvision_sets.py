"""Torchvision's sets: small files in the real layouts, and the real MNIST where there is one."""

import bz2
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torchvision.datasets
from PIL import Image
from torchvision.datasets.utils import calculate_md5

from vae_models.data import DataConfig, DataSet, load_data
from vae_models.data_config import DATA_NAMES
from vae_models.errors import DataError
from vae_models.torchvision_sets import SETS

RANDOM = np.random.default_rng(0)
REPOSITORY = Path(__file__).parents[2]
REAL_MNIST = Path(
    os.environ.get("RDSWEEP_TEST_MNIST") or REPOSITORY.parent / "shared/data/mnist10k"
)
UNREACHABLE = "http://127.0.0.1:9/"


def _bytes(*shape: int) -> np.ndarray:
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def _write_idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = {1: 8, 4: 12}[array.itemsize]
    header = bytes([0, 0, kind, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    path.write_bytes(header + array.astype(array.dtype.newbyteorder(">")).tobytes())


def _write_mnist(root: Path, folder: str = "MNIST") -> tuple[np.ndarray, np.ndarray]:
    splits = _bytes(12, 28, 28), _bytes(7, 28, 28)
    for name, images in zip(("train", "t10k"), splits, strict=True):
        _write_idx(root / folder / f"raw/{name}-images-idx3-ubyte", images)
        _write_idx(root / folder / f"raw/{name}-labels-idx1-ubyte", np.zeros(len(images), "u1"))
    return splits


def _load(name: str, root: Path, **settings: object) -> DataSet:
    return load_data(DataConfig(name=name, root=str(root), **settings))  # type: ignore[arg-type]


def test_the_names_in_a_spec_are_the_sets_that_can_be_read() -> None:
    assert set(SETS) == set(DATA_NAMES) - {"digits", "folder", "gaussian", "photos", "sprites"}
    for entry in SETS.values():
        assert hasattr(torchvision.datasets, entry.source)


@pytest.mark.parametrize(
    ("name", "folder"),
    [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST"), ("KMNIST", "KMNIST")],
)
def test_sets_in_mnist_s_layout_give_their_two_splits(
    tmp_path: Path, name: str, folder: str
) -> None:
    train, heldout = _write_mnist(tmp_path, folder)
    data = _load(name, tmp_path)
    assert np.array_equal(data.train[:, 0], train)
    assert np.array_equal(data.heldout[:, 0], heldout)
    assert data.scale == pytest.approx(1 / 255)


def test_limits_take_the_first_images_of_each_split(tmp_path: Path) -> None:
    train, heldout = _write_mnist(tmp_path)
    data = _load("mnist", tmp_path, train_limit=5, heldout_limit=2)
    assert np.array_equal(data.train[:, 0], train[:5])
    assert np.array_equal(data.heldout[:, 0], heldout[:2])


def test_qmnist_gives_its_training_set_and_its_60000_of_test(tmp_path: Path) -> None:
    images = _bytes(3, 28, 28)
    for split in ("train", "test"):
        _write_idx(tmp_path / f"QMNIST/raw/qmnist-{split}-images-idx3-ubyte", images)
        labels = np.zeros((3, 8), np.int32)
        _write_idx(tmp_path / f"QMNIST/raw/qmnist-{split}-labels-idx2-int", labels)
    assert np.array_equal(_load("qmnist", tmp_path).heldout[:, 0], images)


@pytest.mark.parametrize(
    ("name", "split"), [("emnist", "balanced"), ("emnist-letters", "letters")]
)
def test_emnist_is_turned_upright(tmp_path: Path, name: str, split: str) -> None:
    """It is stored by columns: what lies in a file's row is a column of the letter."""
    images = _bytes(4, 28, 28)
    for part in ("train", "test"):
        stem = f"EMNIST/raw/emnist-{split}-{part}"
        _write_idx(tmp_path / f"{stem}-images-idx3-ubyte", images)
        _write_idx(tmp_path / f"{stem}-labels-idx1-ubyte", np.zeros(4, np.uint8))
    data = _load(name, tmp_path)
    assert np.array_equal(data.train[:, 0], images.transpose(0, 2, 1))


def test_usps_is_read_from_its_compressed_text(tmp_path: Path) -> None:
    line = "3 " + " ".join(f"{i + 1}:{-1 if i % 2 else 1}" for i in range(256))
    for name in ("usps.bz2", "usps.t.bz2"):
        (tmp_path / name).write_bytes(bz2.compress(f"{line}\n{line}\n".encode()))
    data = _load("usps", tmp_path)
    assert data.image_shape == (1, 16, 16)
    assert data.train[0].flatten()[:4].tolist() == [255, 0, 255, 0]


def _write_cifar10(root: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """The batches in CIFAR's pickles, with the checksums that torchvision looks for."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    images = _bytes(12, 3, 32, 32)
    kind = torchvision.datasets.CIFAR10
    names = [name for name, _ in kind.train_list + kind.test_list]
    for index, name in enumerate(names):
        batch = {"data": images[2 * index : 2 * index + 2].reshape(2, -1), "labels": [0, 1]}
        (folder / name).write_bytes(pickle.dumps(batch))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": ["a", "b"]}))
    sums = {name: calculate_md5(folder / name) for name in [*names, "batches.meta"]}
    monkeypatch.setattr(kind, "train_list", [[n, sums[n]] for n in names[:-1]])
    monkeypatch.setattr(kind, "test_list", [[names[-1], sums[names[-1]]]])
    monkeypatch.setitem(kind.meta, "md5", sums["batches.meta"])
    return images


def test_cifar_keeps_its_channels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = _write_cifar10(tmp_path, monkeypatch)
    data = _load("CIFAR10", tmp_path)
    assert data.image_shape == (3, 32, 32)
    assert np.array_equal(data.train, images[:10])
    assert np.array_equal(data.heldout, images[10:])


def test_svhn_keeps_its_channels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = _bytes(5, 3, 32, 32)
    split_list: dict[str, Any] = torchvision.datasets.SVHN.split_list
    for split in ("train", "test"):
        path = tmp_path / f"{split}_32x32.mat"
        labels = np.arange(1, 6)[:, None]
        scipy.io.savemat(path, {"X": images.transpose(2, 3, 1, 0), "y": labels})
        monkeypatch.setitem(split_list, split, ["", path.name, calculate_md5(path)])
    data = _load("svhn", tmp_path)
    assert np.array_equal(data.train, images)


def _write_images(folder: Path, count: int, size: tuple[int, int]) -> None:
    folder.mkdir(parents=True)
    for index in range(count):
        Image.fromarray(_bytes(size[1], size[0], 3)).save(folder / f"{index:03}.png")


def test_a_set_of_files_of_one_size_and_no_split_is_split_by_the_seed(tmp_path: Path) -> None:
    for kind in ("Forest", "River"):
        folder = tmp_path / "eurosat/2750" / kind
        folder.mkdir(parents=True)
        for index in range(6):
            Image.fromarray(_bytes(64, 64, 3)).save(folder / f"{index}.jpg")
    data = _load("EuroSAT", tmp_path, heldout_fraction=0.25)
    assert data.image_shape == (3, 64, 64)
    assert (len(data.train), len(data.heldout)) == (9, 3)
    other = _load("eurosat", tmp_path, heldout_fraction=0.25, seed=1)
    assert other.checksum != data.checksum
    assert len(_load("eurosat", tmp_path, train_limit=4).train) == 4


def test_a_set_of_varied_sizes_is_resized(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for index, size in enumerate([(40, 30), (25, 60)]):
            _write_images(tmp_path / f"country211/{split}/{index}", 2, size)
    grey = _load("country211", tmp_path, image_size=16, train_limit=3)
    assert (grey.image_shape, len(grey.train), len(grey.heldout)) == ((1, 16, 16), 3, 4)
    assert _load("country211", tmp_path, image_size=16, colour=True).image_shape == (3, 16, 16)


def test_missing_files_are_named_with_their_place_and_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"data set 'mnist' must lie under root '.*', but there is no "
        r"MNIST/raw/train-images-idx3-ubyte, .* and 1 more\. Set `download = true`",
    ) as caught:
        _load("mnist", tmp_path / "nowhere")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "nowhere").exists()


def test_one_missing_file_is_named_alone(tmp_path: Path) -> None:
    _write_mnist(tmp_path)
    (tmp_path / "MNIST/raw/t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"there is no MNIST/raw/t10k-labels-idx1-ubyte\. Set"):
        _load("mnist", tmp_path)


def test_a_relative_root_is_also_shown_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=rf"under root 'data' \('{tmp_path}/data'\), but there"):
        _load("mnist", Path("data"))


def test_what_torchvision_cannot_download_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no fer2013\. torchvision cannot download them"):
        _load("fer2013", tmp_path, download=True)


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_a_failed_download_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [UNREACHABLE])
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "url", UNREACHABLE + "cifar.tar.gz")
    with pytest.raises(
        DataError, match=rf"'{name}' must be downloaded to root '.*', but that failed: .*refused"
    ) as caught:
        _load(name, tmp_path, download=True)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("content", [b"", b"not an idx file", b"\0\0\x08\x03\0\0\0\x05"])
def test_a_corrupt_file_is_one_line_that_says_to_delete_it(tmp_path: Path, content: bytes) -> None:
    _write_mnist(tmp_path)
    (tmp_path / "MNIST/raw/train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(
        DataError,
        match=r"files of data set 'mnist' .* must be intact, .* Delete them and set `download",
    ) as caught:
        _load("mnist", tmp_path)
    assert "\n" not in str(caught.value)


def test_a_truncated_split_of_mnist_is_refused(tmp_path: Path) -> None:
    _write_mnist(tmp_path)
    path = tmp_path / "MNIST/raw/t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="must be intact"):
        _load("mnist", tmp_path)


def test_corrupt_cifar_is_told_from_missing_cifar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_cifar10(tmp_path, monkeypatch)
    (tmp_path / "cifar-10-batches-py/test_batch").write_bytes(b"x")
    with pytest.raises(DataError, match=r"'cifar10' .* must be intact"):
        _load("cifar10", tmp_path)


@pytest.mark.real_data
def test_real_mnist_has_its_known_mean_deviation_and_zero_rate_cost() -> None:
    """Mean 0.13 and deviation 0.31 of pixels are the well-known ones of MNIST (0.1307, 0.3081)."""
    if not (REAL_MNIST / "MNIST/raw").is_dir():
        pytest.skip(f"no MNIST/raw under {REAL_MNIST}; set RDSWEEP_TEST_MNIST to its root")
    data = _load("mnist", REAL_MNIST, train_limit=10_000)
    pixels = data.train.double() / 255
    assert data.image_shape == (1, 28, 28)
    assert pixels.mean().item() == pytest.approx(0.1307, abs=0.002)
    assert pixels.std().item() == pytest.approx(0.3081, abs=0.003)
    assert data.spectrum.sum() == pytest.approx(pixels.var(dim=0, correction=0).sum().item())
    assert data.mean_se == pytest.approx(data.spectrum.sum(), rel=0.02)
    assert len(data.heldout) == 10_000
