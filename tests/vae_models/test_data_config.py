"""Names and keys of data sets: what is filled in, what is refused, and in which words."""

import subprocess
import sys
from typing import Any

import pytest

from vae_models.data_config import DATA_NAMES, DataConfig
from vae_models.errors import ConfigError


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        ("MNIST", "mnist"),
        ("mnist", "mnist"),
        ("Fashion-MNIST", "fashionmnist"),
        ("fashion_mnist", "fashionmnist"),
        ("CIFAR-10", "cifar10"),
        ("EMNIST", "emnist"),
        ("emnist-balanced", "emnist"),
        ("EMNIST-Letters", "emnist-letters"),
        ("Digits", "digits"),
    ],
)
def test_a_name_is_found_whatever_its_case_and_hyphens(given: str, canonical: str) -> None:
    assert DataConfig(name=given).name == canonical


def test_equal_data_have_equal_configurations() -> None:
    plain = DataConfig(name="sprites")
    assert plain == DataConfig(name="Sprites", image_size=64, train_size=5000, heldout_size=1000)
    assert hash(plain) == hash(DataConfig(name="sprites", heldout_fraction=1 / 6))
    integers = DataConfig(name="gaussian", spectrum=[2, 1])  # type: ignore[arg-type]
    assert integers == DataConfig(name="gaussian", spectrum=(2.0, 1.0), train_size=10_000)


def test_the_heldout_fraction_of_sprites_decides_their_heldout_size() -> None:
    config = DataConfig(name="sprites", train_size=300, heldout_fraction=0.25)
    assert config.heldout_size == 100


def test_the_fewest_sprites_still_leave_two_to_measure_an_error_on() -> None:
    assert DataConfig(name="sprites", train_size=2).heldout_size == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "mnits"}, r"must be one of .* but got 'mnits'\. Did you mean 'mnist'\?"),
        ({"name": "fashon-mnist"}, r"Did you mean 'fashionmnist'\?"),
        ({"name": "zzzzz"}, r"but got 'zzzzz'\.$"),
        (
            {"name": "mnist", "colour": True},
            r"`colour` must be left out for data set 'mnist'.*got colour=True",
        ),
        ({"name": "mnist", "image_size": 32}, r"`image_size` must be left out .* 'mnist'"),
        ({"name": "mnist", "spectrum": (1.0,)}, r"`spectrum` .* It belongs to gaussian\."),
        ({"name": "mnist", "heldout_fraction": 0.5}, r"It has a test split of its own"),
        ({"name": "digits", "root": "elsewhere"}, r"`root` must be left out .* 'digits'"),
        ({"name": "sprites", "train_limit": 5}, r"`train_limit` .* Use `train_size`\."),
        (
            {"name": "gaussian", "spectrum": (1.0,), "binarisation": "static"},
            r"`binarisation` must be left out for data set 'gaussian'",
        ),
        ({"name": "digits", "binarisation": "dynamik"}, r"Did you mean 'dynamic'\?"),
        ({"name": "digits", "seed": -1}, r"`0 <= seed <= \d+` .* got seed=-1"),
        ({"name": "digits", "seed": 0.5}, r"whole number.* got seed=0\.5"),
        ({"name": "digits", "train_limit": 0}, r"`2 <= train_limit` .* got train_limit=0"),
        ({"name": "mnist", "heldout_limit": 1}, r"`2 <= heldout_limit` .* got heldout_limit=1"),
        ({"name": "sprites", "heldout_size": 1}, r"`2 <= heldout_size` .* got heldout_size=1"),
        (
            {"name": "digits", "heldout_fraction": 0.0005},
            r"leave at least 2 of the 1797 digits in each split, but got .*=0\.0005",
        ),
        ({"name": "digits", "heldout_fraction": 0.9995}, r"leave at least 2 of the 1797 digits"),
        ({"name": "digits", "heldout_limit": True}, r"whole number.* got heldout_limit=True"),
        ({"name": "digits", "heldout_fraction": 1}, r"`0 < heldout_fraction < 1` must hold"),
        ({"name": "digits", "heldout_fraction": "x"}, r"`0 < heldout_fraction < 1` must hold"),
        (
            {"name": "mnist", "download": 1},
            r"`download` must be true or false, but got download=1",
        ),
        ({"name": "mnist", "root": " "}, r"`root` must be the path of a directory"),
        ({"name": "folder"}, r"`image_size` must be given for data set 'folder'"),
        ({"name": "celeba"}, r"`image_size` must be given for data set 'celeba'"),
        ({"name": "folder", "image_size": 1}, r"`2 <= image_size <= 1024` .* got image_size=1"),
        ({"name": "sprites", "image_size": 8}, r"`16 <= image_size <= 1024` .* got image_size=8"),
        (
            {"name": "sprites", "train_size": 737_279, "heldout_size": 2},
            r"`train_size \+ heldout_size <= 737280` must hold",
        ),
        (
            {"name": "sprites", "heldout_fraction": 0.5, "heldout_size": 7},
            r"`heldout_size` and `heldout_fraction` must agree .* that makes 5000",
        ),
        ({"name": "gaussian"}, r"`spectrum` must be given for data set 'gaussian'"),
        ({"name": "gaussian", "spectrum": ()}, r"`spectrum` must be a list of eigenvalues"),
        ({"name": "gaussian", "spectrum": (1.0, -1.0)}, r"`0 <= value < inf`.*got .*-1\.0"),
        ({"name": "gaussian", "spectrum": (0.0, 0.0)}, r"one of them above zero"),
        ({"name": "gaussian", "spectrum": 3.0}, r"`spectrum` must be a list .* got spectrum=3\.0"),
        ({"name": "gaussian", "spectrum": ("a",)}, r"`spectrum` must be a list of eigenvalues"),
    ],
)
def test_a_bad_setting_says_what_must_hold_in_one_line(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        DataConfig(**settings)
    assert "\n" not in str(caught.value)


def test_every_name_makes_a_configuration() -> None:
    needed = {"gaussian": {"spectrum": (1.0,)}}
    for name in DATA_NAMES:
        try:
            config = DataConfig(name=name, **needed.get(name, {}))  # type: ignore[arg-type]
        except ConfigError:
            config = DataConfig(name=name, image_size=32)
        assert config.name == name


def test_configurations_are_validated_without_torch_and_numpy() -> None:
    code = "import sys, vae_models.data_config; print({'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
