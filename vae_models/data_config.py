"""Which data a study trains on: names, keys and their checks. Free of torch and NumPy.

Not every key means something for every set: a key that a set would ignore is refused, so that
two studies on the same data have the same configuration.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches

from vae_models.config_checks import as_float, as_whole, set_field
from vae_models.errors import ConfigError

__all__ = [
    "BINARISATIONS",
    "DATA_NAMES",
    "SPRITE_FACTORS",
    "DataConfig",
]

BINARISATIONS = ("none", "dynamic", "static", "threshold")

SPRITE_FACTORS: Mapping[str, int] = {"shape": 3, "scale": 6, "orientation": 40, "x": 32, "y": 32}
"""The factors of the sprites and how many values each takes, as in dSprites."""

_LIMITS = ("train_limit", "heldout_limit")
_IMAGES = ("binarisation", *_LIMITS)
_DOWNLOADED = ("root", "download", *_IMAGES)
_RESIZED = ("image_size", "colour")

_DOWNLOADED_SETS = (
    "mnist",
    "fashionmnist",
    "kmnist",
    "qmnist",
    "emnist",
    "emnist-byclass",
    "emnist-bymerge",
    "emnist-digits",
    "emnist-letters",
    "emnist-mnist",
    "usps",
    "cifar10",
    "cifar100",
    "svhn",
    "stl10",
    "fer2013",
    "pcam",
)
_UNSPLIT_SETS = ("semeion", "eurosat")
_RESIZED_SETS = (
    "celeba",
    "country211",
    "dtd",
    "fgvcaircraft",
    "flowers102",
    "food101",
    "gtsrb",
    "imagenette",
    "oxfordiiitpet",
    "renderedsst2",
    "stanfordcars",
)
_UNSPLIT_RESIZED_SETS = ("caltech101", "caltech256")

_KEYS: Mapping[str, tuple[str, ...]] = {
    "digits": ("heldout_fraction", *_IMAGES),
    "folder": ("root", "heldout_fraction", *_RESIZED, *_IMAGES),
    "gaussian": ("spectrum", "rotate", "train_size", "heldout_size"),
    "photos": (*_RESIZED, *_IMAGES),
    "sprites": ("image_size", "binarisation", "heldout_fraction", "train_size", "heldout_size"),
    **dict.fromkeys(_DOWNLOADED_SETS, _DOWNLOADED),
    **dict.fromkeys(_UNSPLIT_SETS, ("heldout_fraction", *_DOWNLOADED)),
    **dict.fromkeys(_RESIZED_SETS, (*_RESIZED, *_DOWNLOADED)),
    **dict.fromkeys(_UNSPLIT_RESIZED_SETS, ("heldout_fraction", *_RESIZED, *_DOWNLOADED)),
}

DATA_NAMES = tuple(_KEYS)
"""Every data set by its canonical name."""

_BY_FOLDED_NAME = {name.replace("-", ""): name for name in DATA_NAMES} | {
    "emnistbalanced": "emnist"
}
_SPRITE_COUNT = math.prod(SPRITE_FACTORS.values())
_SPRITE_DEFAULTS = {"image_size": 64, "train_size": 5000}
_PHOTO_DEFAULTS = {"image_size": 32}
_GAUSSIAN_DEFAULTS = {"train_size": 10_000, "heldout_size": 10_000}
_IMAGE_SIZES = {"sprites": (16, 1024), "photos": (8, 64)}  # of others from 2 to 1024
_DEFAULT_FRACTION = 1 / 6
_DIGITS_COUNT = 1797
_FEWEST = 2  # an error over the held-out examples, and a covariance of the others, needs two
_LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The data of a study. Equal data have equal configurations: names and defaults are filled in.

    Attributes:
        name: One of `DATA_NAMES`; case, hyphens and underscores do not matter on entry.
            ``emnist`` is its balanced split, ``emnist-letters`` and so on the others.
        root: Directory of the files: of the images for ``folder``, else torchvision's root.
        download: Whether missing files may be downloaded.
        binarisation: One of `BINARISATIONS`: ``dynamic`` draws each pixel anew for every batch
            (the held-out split once), ``static`` once for all with the seed, ``threshold`` sets
            pixels above one half.
        heldout_fraction: Share of held-out examples, for sets without a test split of their own.
        train_limit: At most so many training examples, the first ones.
        heldout_limit: At most so many held-out examples, the first ones.
        seed: Of the split, the rotation, the binarisation, the choice of sprites and the order
            of photos.
        image_size: Side in pixels (``folder`` and sets of varied size: required; sprites: 64;
            photos: 32).
        colour: Three channels instead of grey (``folder``, ``photos`` and sets of varied size).
        spectrum: Covariance eigenvalues of ``gaussian``, one for each dimension.
        rotate: Whether ``gaussian`` is rotated at random (Haar); else its covariance is diagonal.
        train_size: Number of training examples that are made (``gaussian``, ``sprites``).
        heldout_size: Number of held-out examples that are made (``gaussian``, ``sprites``, there
            by default what `heldout_fraction` makes of `train_size`).
    """

    name: str
    root: str = "data"
    download: bool = False
    binarisation: str = "none"
    heldout_fraction: float = _DEFAULT_FRACTION
    train_limit: int | None = None
    heldout_limit: int | None = None
    seed: int = 0
    image_size: int | None = None
    colour: bool = False
    spectrum: tuple[float, ...] | None = None
    rotate: bool = True
    train_size: int | None = None
    heldout_size: int | None = None

    def __post_init__(self) -> None:
        self._set(name=_canonical_name(self.name), root=_path(self.root))
        self._refuse_ignored_keys()
        if self.binarisation not in BINARISATIONS:
            raise ConfigError.unknown("binarisation", self.binarisation, BINARISATIONS)
        for key in ("download", "colour", "rotate"):
            self._check_flag(key)
        self._check_integer("seed", low=0, high=_LARGEST_SEED)
        for key in ("train_limit", "heldout_limit", "train_size", "heldout_size"):
            self._check_integer(key, low=_FEWEST)
        self._check_fraction()
        self._fill_in_defaults()
        self._check_image_size()

    def _set(self, **values: object) -> None:
        for key, value in values.items():
            set_field(self, key, value)

    def _refuse_ignored_keys(self) -> None:
        read = ("name", "seed", *_KEYS[self.name])
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in read and value != field.default:
                raise ConfigError(
                    f"`{field.name}` must be left out for data set {self.name!r}, which has no "
                    f"use for it, but got {field.name}={value!r}.{_instead(field.name, self.name)}"
                )

    def _check_flag(self, key: str) -> None:
        value = getattr(self, key)
        if not isinstance(value, bool):
            raise ConfigError(f"`{key}` must be true or false, but got {key}={value!r}.")

    def _check_integer(self, key: str, *, low: int, high: int | None = None) -> None:
        value = getattr(self, key)
        if value is None:
            return
        number = as_whole(value)
        if number is None or number < low or (high is not None and number > high):
            condition = f"{low} <= {key}" + ("" if high is None else f" <= {high}")
            subject = f"data set {self.name!r} (a whole number)"
            raise ConfigError.unmet(condition, subject, **{key: value})
        self._set(**{key: number})

    def _check_fraction(self) -> None:
        fraction = as_float(self.heldout_fraction)
        if not 0 < fraction < 1:
            raise ConfigError.unmet(
                "0 < heldout_fraction < 1", "a split", heldout_fraction=self.heldout_fraction
            )
        if self.name == "digits":
            heldout = round(_DIGITS_COUNT * fraction)
            if not _FEWEST <= heldout <= _DIGITS_COUNT - _FEWEST:
                raise ConfigError(
                    f"`heldout_fraction` must leave at least {_FEWEST} of the {_DIGITS_COUNT} "
                    f"digits in each split, but got heldout_fraction={fraction:g}."
                )
        self._set(heldout_fraction=fraction)

    def _fill_in_defaults(self) -> None:
        if self.name == "gaussian":
            self._set_missing(_GAUSSIAN_DEFAULTS)
            self._set(spectrum=_eigenvalues(self.spectrum))
        if self.name == "photos":
            self._set_missing(_PHOTO_DEFAULTS)
        if self.name == "sprites":
            self._set_missing(_SPRITE_DEFAULTS)
            self._fill_in_heldout_sprites()

    def _set_missing(self, defaults: Mapping[str, int]) -> None:
        missing = {key: value for key, value in defaults.items() if getattr(self, key) is None}
        self._set(**missing)

    def _fill_in_heldout_sprites(self) -> None:
        train, fraction = self.train_size or 0, self.heldout_fraction
        derived = max(_FEWEST, round(train * fraction / (1 - fraction)))
        heldout = derived if self.heldout_size is None else self.heldout_size
        if fraction != _DEFAULT_FRACTION and heldout != derived:
            raise ConfigError(
                "`heldout_size` and `heldout_fraction` must agree or one be left out, but got "
                f"heldout_size={heldout}, heldout_fraction={fraction:g} (with "
                f"train_size={train} that makes {derived})."
            )
        if train + heldout > _SPRITE_COUNT:
            raise ConfigError.unmet(
                f"train_size + heldout_size <= {_SPRITE_COUNT}",
                "the grid of sprites",
                train_size=train,
                heldout_size=heldout,
            )
        self._set(heldout_size=heldout)

    def _check_image_size(self) -> None:
        if self.image_size is None and "image_size" in _KEYS[self.name]:
            raise ConfigError(
                f"`image_size` must be given for data set {self.name!r}, whose images differ in "
                "size, but got none; for example image_size = 64."
            )
        low, high = _IMAGE_SIZES.get(self.name, (2, 1024))
        self._check_integer("image_size", low=low, high=high)


def _canonical_name(name: object) -> str:
    folded = "".join(character for character in str(name).lower() if character not in "-_ ")
    if folded in _BY_FOLDED_NAME:
        return _BY_FOLDED_NAME[folded]
    near = get_close_matches(folded, _BY_FOLDED_NAME, n=1)
    hint = f" Did you mean {_BY_FOLDED_NAME[near[0]]!r}?" if near else ""
    names = ", ".join(repr(known) for known in DATA_NAMES)
    raise ConfigError(f"Data set `name` must be one of {names}, but got {name!r}.{hint}")


def _path(root: object) -> str:
    path = str(root)
    if not path.strip():
        raise ConfigError(f"`root` must be the path of a directory, but got root={root!r}.")
    return path


def _instead(key: str, name: str) -> str:
    """What to do about a key that the set ignores."""
    if key in _LIMITS and "train_size" in _KEYS[name]:
        return f" Use `{key.replace('limit', 'size')}`."
    if key == "heldout_fraction":
        return " It has a test split of its own." if name != "gaussian" else " Use heldout_size."
    users = [other for other, keys in _KEYS.items() if key in keys]
    return f" It belongs to {', '.join(users)}." if len(users) <= 4 else ""


def _eigenvalues(spectrum: object) -> tuple[float, ...]:
    if spectrum is None:
        raise ConfigError(
            "`spectrum` must be given for data set 'gaussian', but got none; for example "
            "spectrum = [4.0, 2.0, 1.0, 0.5]."
        )
    is_list = isinstance(spectrum, Iterable) and not isinstance(spectrum, str | bytes)
    values = tuple(as_float(value) for value in spectrum) if is_list else ()  # type: ignore[attr-defined]
    if not values or not all(0 <= value < math.inf for value in values) or max(values) == 0:
        raise ConfigError(
            "`spectrum` must be a list of eigenvalues `0 <= value < inf`, one of them above zero, "
            f"but got spectrum={spectrum!r}."
        )
    return values
