"""Hypervolume, training, latents and reconstructions: their records, and what they refuse."""

import math
import pickle
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import moocore
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from reports.dossier import Dossier
from reports.hypervolume_figure import draw_hypervolume, hypervolume_growth
from reports.latents_figure import draw_latents, latent_map
from reports.picture_rows import PictureRow
from reports.reconstructions_figure import draw_reconstructions, reconstructions
from reports.samples_figure import draw_samples, samples
from reports.training_figure import draw_training, pushed_apart, training_curves
from studies.records import ArtifactRecord, LatentRecord, TrialRecord

MakeTrial = Callable[..., TrialRecord]
MakeDossier = Callable[..., Dossier]
MakePictures = Callable[[NDArray[Any]], ArtifactRecord]


def test_the_hypervolume_grows_in_the_order_of_finishing_as_moocore_computes_it(
    make_trial: MakeTrial, make_dossier: MakeDossier
) -> None:
    generator = np.random.default_rng(1)
    trials = [
        make_trial(n, *generator.uniform(0, 15, 2).tolist(), finished_at=float(finished))
        for n, finished in enumerate(generator.permutation(20))
    ]
    growth = hypervolume_growth(make_dossier(trials))
    ordered = sorted(trials, key=lambda trial: trial.finished_at or 0.0)
    assert growth.numbers == tuple(trial.number for trial in ordered)
    points = np.array([(trial.rate_nats, trial.distortion_se) for trial in ordered])
    for count in range(1, 21):
        expected = moocore.hypervolume(points[:count], ref=[20.0, 14.0])
        assert growth.hypervolumes[count - 1] == pytest.approx(expected)


def test_trials_without_a_result_take_a_place_and_add_nothing(
    curve: list[TrialRecord], make_dossier: MakeDossier
) -> None:
    failed = replace(curve[13], finished_at=103.5)
    growth = hypervolume_growth(make_dossier([*curve[:13], failed]))
    assert growth.without_result == (1, 6)  # the diverged one has no time and stands first
    assert growth.hypervolumes[0] == 0.0
    assert growth.hypervolumes[5] == growth.hypervolumes[4]
    assert 6 not in growth.improvements()
    draw_hypervolume(growth)


def test_late_growth_is_the_share_of_the_last_quarter(
    make_trial: MakeTrial, make_dossier: MakeDossier
) -> None:
    trials = [make_trial(n, 10.0, 13.0 - n) for n in range(8)]  # each adds a strip of 10 × 1
    assert hypervolume_growth(make_dossier(trials)).late_share() == pytest.approx(2 / 8)


def test_missing_epochs_are_gaps_and_not_straight_lines(
    curve: list[TrialRecord], make_dossier: MakeDossier
) -> None:
    dossier = make_dossier(curve)
    stored = dossier.epochs[1]
    dossier = replace(dossier, epochs={1: (stored[0], stored[1], stored[4])})
    (drawn,) = training_curves(dossier).front
    assert drawn.epochs == (1, 2, 3, 4, 5)
    assert [math.isnan(rate) for rate in drawn.rates_nats] == [False, False, True, True, False]
    assert drawn.weights[1] == stored[1].annealing_weight
    draw_training(training_curves(dossier))


@pytest.mark.parametrize(
    ("kind", "field"), [("se", "distortion_se"), ("nll", "distortion_nll_nats")]
)
def test_training_shows_the_distortion_of_the_study(
    kind: str, field: str, curve: list[TrialRecord], make_dossier: MakeDossier
) -> None:
    dossier = make_dossier(curve, distortion=kind)
    for drawn in training_curves(dossier).front:
        stored = dossier.epochs[drawn.number]
        assert drawn.distortions == tuple(getattr(record, field) for record in stored)


def test_at_most_eight_front_trials_are_drawn_and_collapsed_ones_apart(
    make_trial: MakeTrial, make_dossier: MakeDossier
) -> None:
    front = [make_trial(n, float(n), 20.0 - n) for n in range(30)]
    behind = [make_trial(n, 40.0, 40.0, collapsed=True) for n in range(30, 50)]
    curves = training_curves(make_dossier([*front, *behind]))
    assert len(curves.front) == 8
    assert (curves.front[0].number, curves.front[-1].number) == (0, 29)
    assert {curve.number for curve in curves.collapsed} <= set(range(30, 50))
    assert len(curves.collapsed) == 12


@given(st.lists(st.floats(-0.5, 1.5), max_size=8))
def test_labels_are_pushed_apart_in_their_order_and_stay_beside_the_panel(
    heights: list[float],
) -> None:
    gap = 0.085
    placed = pushed_apart(heights, gap)
    assert all(b - a >= gap - 1e-9 for a, b in pairwise(sorted(placed)))
    assert all(-0.05 <= place <= 1.05 for place in placed)
    pairs = list(zip(heights, placed, strict=True))
    assert all(p <= q for h, p in pairs for g, q in pairs if h < g)


def test_latents_stand_active_first_then_by_kl_and_a_column_sums_to_the_rate(
    curve: list[TrialRecord], make_dossier: MakeDossier
) -> None:
    latents = latent_map(make_dossier(curve))
    matrix = latents.matrix()
    assert matrix.shape == (8, len(latents.uses))
    assert matrix.sum(axis=0) == pytest.approx([use.rate_nats for use in latents.uses])
    assert (np.diff(matrix, axis=0) <= 0).all()
    assert {use.active for use in latents.uses} == {3}
    assert latents.threshold == 0.01


def test_the_line_divides_active_latents_from_the_others_even_where_kl_does_not(
    curve: list[TrialRecord], make_dossier: MakeDossier
) -> None:
    unusual = (
        LatentRecord(latent=0, kl_nats=2.0, mean_variance=0.001, active=False),
        LatentRecord(latent=1, kl_nats=0.1, mean_variance=0.5, active=True),
    )
    dossier = replace(make_dossier(curve[:2]), latents={1: unusual})
    latents = latent_map(dossier)
    assert latents.uses[0].kl_nats == (0.1, 2.0)
    axes = draw_latents(latents).axes[0]
    assert set(np.asarray(axes.lines[-1].get_ydata())) == {1.5}


def test_hundreds_of_dead_latents_are_cut_off_but_never_an_active_one(
    curve: list[TrialRecord], make_dossier: MakeDossier
) -> None:
    def many(active: int) -> tuple[LatentRecord, ...]:
        return tuple(
            LatentRecord(latent=n, kl_nats=1.0, mean_variance=1.0, active=n < active)
            for n in range(512)
        )

    few = latent_map(replace(make_dossier(curve[:2]), latents={1: many(5)}))
    lots = latent_map(replace(make_dossier(curve[:2]), latents={1: many(300)}))
    assert few.rows() == 64
    assert lots.rows() > 300


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["float16", "uint8"])
def test_reconstructions_show_the_stored_pixels_from_low_to_high_rate(
    channels: int,
    kind: str,
    curve: list[TrialRecord],
    make_dossier: MakeDossier,
    make_pictures: MakePictures,
) -> None:
    generator = np.random.default_rng(2)
    levels = generator.integers(0, 256, size=(2, 4, channels, 8, 9))
    array = levels.astype(kind) if kind == "uint8" else (levels / 255).astype(kind)
    dossier = replace(
        make_dossier(curve[:4]), reconstructions={n: make_pictures(array) for n in range(4)}
    )
    pictures = reconstructions(dossier)
    assert [row.rate_nats for row in pictures.rows] == sorted(
        row.rate_nats for row in pictures.rows
    )
    assert pictures.originals is not None
    for shown, stored in ((pictures.originals, levels[0]), (pictures.rows[0].images, levels[1])):
        assert shown.shape == (4, 8, 9, channels)
        assert np.moveaxis(shown, 3, 1) == pytest.approx(stored / 255, abs=1e-3)
    draw_reconstructions(pictures)


def test_pictures_that_cannot_be_read_are_named_and_never_unpickled(
    curve: list[TrialRecord], make_dossier: MakeDossier, make_pictures: MakePictures
) -> None:
    good = make_pictures(np.zeros((2, 3, 1, 8, 8), dtype=np.uint8))
    content = good.content
    assert content is not None
    bad = {
        1: replace(good, content=content[:200]),
        3: replace(good, content=pickle.dumps([1, 2])),
        4: make_pictures(np.zeros((2, 8, 8))),
        6: make_pictures(np.array([{"an": "object"}], dtype=object)),
        7: replace(good, content=None, path="not-there.npy"),
        9: make_pictures(np.full((2, 3, 1, 8, 8), "text")),
        10: make_pictures(np.zeros((2, 0, 1, 8, 8))),
    }
    dossier = replace(make_dossier(curve), reconstructions={0: good, **bad})
    shown = {trial.number for trial in dossier.shown_front()}
    assert shown >= {0, 9, 10}
    pictures = reconstructions(dossier)
    assert [row.number for row in pictures.rows] == [0]
    assert set(pictures.unreadable) == shown & bad.keys()


def test_drawing_no_pictures_says_what_must_be_there(make_dossier: MakeDossier) -> None:
    with pytest.raises(ValueError, match="must hold at least one trial's pictures, but got none"):
        draw_reconstructions(reconstructions(make_dossier([])))
    with pytest.raises(ValueError, match="must hold at least one trial's pictures, but got none"):
        draw_samples(samples(make_dossier([])))


@pytest.mark.parametrize("channels", [1, 3])
def test_samples_show_the_stored_pixels_of_the_trials_that_have_them(
    channels: int,
    curve: list[TrialRecord],
    make_dossier: MakeDossier,
    make_pictures: MakePictures,
) -> None:
    levels = np.random.default_rng(3).integers(0, 256, size=(12, channels, 9, 8), dtype=np.uint8)
    stored = {3: make_pictures(levels), 0: make_pictures(levels[::-1])}
    bad = {1: make_pictures(levels[None]), 4: make_pictures(levels[:3])}
    pictures = samples(replace(make_dossier(curve), samples=stored | bad))
    assert [row.number for row in pictures.rows] == [0, 3]
    assert pictures.unreadable == (1, 4)
    shown = pictures.rows[1].images
    assert np.moveaxis(shown, 3, 1) == pytest.approx(levels[:10] / 255)
    assert len(draw_samples(pictures).axes) == 2


def test_pictures_are_labelled_with_a_rate_that_is_never_a_bare_zero() -> None:
    images = np.zeros((1, 8, 8, 1))
    row = PictureRow(number=3, beta=64.0, rate_nats=0.0004, distortion=13.02, images=images)
    assert row.label() == "trial 3, β = 64\nR <0.01 nats, D = 13.0"
    assert "R = 5.12 nats" in replace(row, rate_nats=5.123).label()
