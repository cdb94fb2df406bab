"""Sprites: what is drawn can be measured back from the pixels."""

import itertools

import numpy as np
import pytest

from vae_models.data import DataConfig, DataSet, load_data
from vae_models.data_config import SPRITE_FACTORS
from vae_models.sprites import SHAPES, draw_sprites

SIDE = 64
AREAS = {  # of the full-scale shapes in image sides², from geometry; the heart's area is 3.66197
    "square": (2 * 0.1703) ** 2,
    "ellipse": np.pi * 0.2303 * 0.1301,
    "heart": 3.66197 * 0.1903**2,
}


def _sprites(**settings: int) -> DataSet:
    config = DataConfig(name="sprites", **{"train_size": 300, "heldout_size": 60, **settings})  # type: ignore[arg-type]
    return load_data(config)


def _factors(data: DataSet) -> np.ndarray:
    assert data.factors is not None
    return data.factors.train


def test_the_centroid_of_the_white_pixels_is_the_position() -> None:
    data = _sprites()
    images = data.train[:, 0].double()
    centres = (np.arange(SIDE) + 0.5) / SIDE
    mass = images.sum(dim=(1, 2)).numpy()
    x = images.sum(dim=1).numpy() @ centres / mass
    y = images.sum(dim=2).numpy() @ centres / mass
    position = 0.25 + 0.5 * _factors(data)[:, 3:] / 31
    assert np.abs(np.stack([x, y], axis=1) - position).max() * SIDE < 0.5


def test_the_white_area_is_the_shape_s_area_at_its_scale() -> None:
    data = _sprites()
    area = data.train.double().sum(dim=(1, 2, 3)).numpy() / SIDE**2
    shape, scale = _factors(data)[:, 0], 0.5 + 0.1 * _factors(data)[:, 1]
    expected = np.array([AREAS[SHAPES[index]] for index in shape]) * scale**2
    assert area == pytest.approx(expected, rel=0.12)
    assert np.mean(area / expected) == pytest.approx(1, rel=0.005)


def test_the_long_axis_of_an_ellipse_points_along_its_orientation() -> None:
    rows = np.array([[1, 5, turn, 16, 16] for turn in range(40)])
    for turn, image in enumerate(draw_sprites(rows, SIDE)[:, 0]):
        down, right = np.nonzero(image)
        _, axes = np.linalg.eigh(np.cov(right, -down))
        wanted = 2 * np.pi * turn / 40
        along = axes[:, 1] @ [np.cos(wanted), np.sin(wanted)]
        assert abs(along) > np.cos(np.deg2rad(3))


def test_a_heart_stands_on_its_point_and_turns_counterclockwise() -> None:
    upright, upside_down = draw_sprites(np.array([[2, 5, 0, 16, 16], [2, 5, 20, 16, 16]]), SIDE)[
        :, 0
    ]
    widths = upright.sum(axis=1)
    rows = np.flatnonzero(widths)
    assert widths[rows[-1]] < widths[rows[0]]
    flipped = upside_down.sum(axis=1)
    assert flipped[np.flatnonzero(flipped)[0]] < flipped[np.flatnonzero(flipped)[-1]]


@pytest.mark.parametrize("side", [16, 28, 32, 64])
def test_sprites_of_every_size_are_drawn_without_grey_edges(side: int) -> None:
    rows = np.array(list(itertools.product(range(3), [0, 5], [0, 7], [0, 31], [0, 31])))
    images = draw_sprites(rows, side)
    assert images.shape == (len(rows), 1, side, side)
    assert set(np.unique(images)) == {0, 1}
    assert images.any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("shape", range(3))
def test_every_sprite_lies_wholly_in_the_image(shape: int) -> None:
    """None reaches farther from its centroid than the positions stay from the border."""
    side = 512
    image = draw_sprites(np.array([[shape, 5, 0, 0, 31]]), side)[0, 0]
    down, right = np.nonzero(image)
    reach = np.hypot((right + 0.5) / side - 0.25, (down + 0.5) / side - 0.75)
    assert reach.max() < 0.25


def test_sprites_that_differ_in_the_factors_differ_in_the_pixels() -> None:
    """Hearts have no symmetry under rotation, so that all five factors show."""
    rows = np.array(list(itertools.product([2], [0, 5], range(40), [10, 11], [20, 21])))
    images = draw_sprites(rows, SIDE).reshape(len(rows), -1)
    assert len(np.unique(images, axis=0)) == len(rows)


def test_a_square_is_the_set_of_pixels_whose_centres_it_covers() -> None:
    image = draw_sprites(np.array([[0, 5, 0, 16, 16]]), SIDE)[0, 0]
    centre = 0.25 + 0.5 * 16 / 31
    covered = [abs((i + 0.5) / SIDE - centre) <= 0.1703 for i in range(SIDE)]
    assert np.array_equal(image, np.outer(covered, covered))


def test_the_splits_are_distinct_cells_of_the_grid() -> None:
    data = _sprites(train_size=4000, heldout_size=1000)
    assert data.factors is not None
    both = np.concatenate([data.factors.train, data.factors.heldout])
    assert len(np.unique(both, axis=0)) == 5000
    assert data.factors.names == tuple(SPRITE_FACTORS)
    assert np.array_equal(both.max(axis=0) + 1, data.factors.sizes)
    assert len(data.train) == 4000
    assert len(data.heldout) == 1000


@pytest.mark.parametrize("sizes", [{}, {"train_size": 7}, {"heldout_size": 3}])
def test_the_factors_of_both_splits_are_those_that_their_images_were_drawn_from(
    sizes: dict[str, int],
) -> None:
    data = _sprites(image_size=32, **sizes).to("cpu")
    assert data.factors is not None
    for images, factors in (
        (data.train, data.factors.train),
        (data.heldout_images(), data.factors.heldout),
    ):
        assert np.array_equal(images.numpy(), draw_sprites(factors, 32))


def test_the_default_is_5000_sprites_and_1000_held_out_of_64_pixels() -> None:
    config = DataConfig(name="sprites")
    assert (config.train_size, config.heldout_size, config.image_size) == (5000, 1000, 64)


def test_the_seed_decides_which_sprites_are_chosen() -> None:
    assert _sprites(seed=1).checksum == _sprites(seed=1).checksum
    assert _sprites(seed=1).checksum != _sprites(seed=2).checksum
