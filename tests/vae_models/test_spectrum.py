"""Spectra against NumPy's covariance and against an exhaustive expectation."""

import itertools

import numpy as np
import pytest
from sklearn.datasets import load_digits

from vae_models.spectrum import covariance_spectrum, pixel_means

RANDOM = np.random.default_rng(0)


def _reference(examples: np.ndarray, scale: float) -> np.ndarray:
    rows = examples.reshape(len(examples), -1).astype(np.float64) * scale
    return np.linalg.eigvalsh(np.cov(rows, rowvar=False, ddof=0))[::-1]


@pytest.mark.parametrize("count", [5, 200, 3000])
def test_the_spectrum_of_bytes_is_that_of_their_covariance(count: int) -> None:
    """Also with fewer examples than pixels, where the other matrix is diagonalised."""
    images = RANDOM.integers(0, 256, (count, 3, 4, 5), dtype=np.uint8)
    spectrum = covariance_spectrum(images, 1 / 255)
    assert spectrum == pytest.approx(_reference(images, 1 / 255), abs=1e-12)
    assert spectrum.dtype == np.float64
    assert np.all(np.diff(spectrum) <= 0)
    assert spectrum.min() >= 0


def test_extreme_bytes_lose_no_digit() -> None:
    images = RANDOM.choice(np.array([0, 255], np.uint8), (5000, 1, 3, 3))
    assert covariance_spectrum(images, 1.0) == pytest.approx(_reference(images, 1.0), rel=1e-12)


def test_the_spectrum_of_floats_is_that_of_their_covariance() -> None:
    examples = RANDOM.standard_normal((5000, 1, 1, 6)).astype(np.float32) + 3
    assert covariance_spectrum(examples, 2.0) == pytest.approx(_reference(examples, 2.0), rel=1e-9)


def test_dynamic_binarisation_adds_the_variance_of_every_outcome() -> None:
    """Two images of two pixels: all outcomes of both, weighted by their probabilities."""
    levels = np.array([[1, 3], [2, 4]], np.uint8)
    outcomes, weights = [], []
    for row in levels / 4:
        for bits in itertools.product([0, 1], repeat=2):
            outcomes.append(bits)
            weights.append(np.prod(np.where(bits, row, 1 - row)) / len(levels))
    expected = np.cov(np.array(outcomes).T, aweights=weights, ddof=0)
    ours = covariance_spectrum(levels.reshape(2, 1, 1, 2), 1 / 4, dynamic=True)
    assert ours == pytest.approx(np.linalg.eigvalsh(expected)[::-1], abs=1e-12)


def test_dynamic_binarisation_with_fewer_images_than_pixels_keeps_all_its_variance() -> None:
    levels = RANDOM.integers(0, 256, (4, 1, 3, 3), dtype=np.uint8)
    p = levels / 255
    total = (p.mean(axis=0) * (1 - p.mean(axis=0))).sum()
    assert covariance_spectrum(levels, 1 / 255, dynamic=True).sum() == pytest.approx(total)


def test_pixel_means_are_in_model_units() -> None:
    images = RANDOM.integers(0, 256, (70, 1, 2, 2), dtype=np.uint8)
    assert pixel_means(images, 1 / 255) == pytest.approx(images.reshape(70, 4).mean(axis=0) / 255)


@pytest.mark.parametrize("scale", [1 / 16, 1 / 255])
def test_directions_in_which_nothing_varies_have_an_eigenvalue_of_exactly_zero(
    scale: float,
) -> None:
    digits = load_digits().images[:, None].astype(np.uint8)
    varying = int((digits.reshape(len(digits), -1).std(axis=0) > 0).sum())
    assert varying == 61
    assert np.count_nonzero(covariance_spectrum(digits, scale)) == varying
    assert np.count_nonzero(covariance_spectrum(digits * 0.1, scale)) == varying
    assert np.count_nonzero(covariance_spectrum(digits[:30], scale)) == 29
