"""What each setting did: the table over seeds, the planes by setting, and the tables of front trials."""

from collections.abc import Callable
from dataclasses import replace
from statistics import fmean, stdev

import numpy as np
import pytest

from reports.comparison import compare
from reports.dossier import TRAVERSAL_KINDS, Dossier
from reports.front_figure import draw_front
from reports.front_plane import caption_of as front_caption_of
from reports.front_plane import front_plane
from reports.front_tables import diagnostics_table, verdict_of, weights_table
from reports.settings_figure import SettingPanels, draw_settings, setting_panels
from reports.traversals_figure import Traversals, draw_traversals, traversals
from reports.varied_settings import marked_setting, varied_settings
from studies.records import ArtifactRecord, TrialRecord

MakeTrial = Callable[..., TrialRecord]
MakeDossier = Callable[..., Dossier]


def _seeded(make_trial: MakeTrial) -> list[TrialRecord]:
    """Two annealing shapes at two β, three seeds each; R and D differ by seed."""
    trials: list[TrialRecord] = []
    for annealing in ("linear", "constant"):
        for beta in (1.0, 0.1):
            for seed in (0, 1, 2):
                number = len(trials)
                parameters = {"beta": beta, "annealing": annealing, "seed": seed}
                trials.append(
                    make_trial(
                        number,
                        2.0 / beta + 0.1 * seed**2,
                        5.0 + beta + 0.2 * seed,
                        beta=beta,
                        annealing=annealing,
                        reduction="sum",
                        parameters=parameters,
                    )
                )
    return trials


def test_settings_are_averaged_over_their_seeds(
    make_trial: MakeTrial, make_dossier: MakeDossier
) -> None:
    comparison = compare(make_dossier(_seeded(make_trial)))
    assert comparison is not None
    assert comparison.columns == ("beta", "annealing")
    assert [group.values for group in comparison.groups] == [
        ("0.1", "constant"),
        ("0.1", "linear"),
        ("1", "constant"),
        ("1", "linear"),
    ]
    rates = [2.0, 2.1, 2.4]
    group = comparison.groups[2]
    assert group.trials == 3
    assert group.rate_nats.mean == pytest.approx(fmean(rates))
    assert group.rate_nats.deviation == pytest.approx(stdev(rates))
    assert group.rate_nats.text() == "2.167 ± 0.21"


def test_a_setting_that_a_trial_does_not_read_is_a_dash(
    make_trial: MakeTrial, make_dossier: MakeDossier
) -> None:
    trials = [
        make_trial(0, 1.0, 2.0, parameters={"regulariser": "kl", "beta": 1.0}),
        make_trial(1, 2.0, 1.0, parameters={"regulariser": "wae_mmd"}, beta=None),
    ]
    comparison = compare(make_dossier(trials))
    assert comparison is not None
    assert [group.values for group in comparison.groups] == [("kl", "1"), ("wae_mmd", "–")]


def test_settings_are_not_compared_where_every_trial_is_its_own(
    make_trial: MakeTrial, make_dossier: MakeDossier
) -> None:
    trials = [
        make_trial(n, 1.0 + n, 9.0 - 0.1 * n, parameters={"beta": n + 0.5}) for n in range(65)
    ]
    assert compare(make_dossier(trials)) is None
    assert compare(make_dossier(trials[:1])) is None


def test_the_setting_that_matters_most_is_told_apart_by_markers(make_trial: MakeTrial) -> None:
    plain = [make_trial(n, 1.0 + n, 9.0 - n, reduction="sum") for n in range(3)]
    assert marked_setting(plain) == "reduction"
    annealed = [replace(plain[0], annealing="constant"), *plain[1:]]
    assert marked_setting(annealed) == "annealing"
    remedies = [replace(annealed[0], regulariser="free_bits"), *annealed[1:]]
    assert marked_setting(remedies) == "regulariser"
    assert varied_settings(remedies)["regulariser"] == ("free_bits", "kl")


def test_a_trial_without_beta_is_drawn_grey_and_explained(
    make_trial: MakeTrial, make_dossier: MakeDossier
) -> None:
    trials = [
        make_trial(0, 1.0, 5.0),
        make_trial(1, 2.0, 3.0, beta=None, raw_weight=None, beta_norm=None, regulariser="wae_mmd"),
    ]
    plane = front_plane(make_dossier(trials))
    assert [point.beta for point in plane.points] == [trials[0].beta, None]
    assert "Grey markers have no β" in front_caption_of(plane)
    assert draw_front(plane).axes


def test_every_trial_stands_once_in_every_panel(
    make_trial: MakeTrial, make_dossier: MakeDossier
) -> None:
    panels = setting_panels(make_dossier(_seeded(make_trial)))
    assert [panel.setting for panel in panels.panels] == ["annealing"]
    (panel,) = panels.panels
    assert {value: len(points) for value, points in panel.points.items()} == {
        "constant": 6,
        "linear": 6,
    }
    assert draw_settings(panels).axes


def test_a_comparison_without_panels_is_refused(make_dossier: MakeDossier) -> None:
    panels = setting_panels(make_dossier([]))
    assert isinstance(panels, SettingPanels)
    with pytest.raises(ValueError, match="at least one panel"):
        draw_settings(panels)


def test_weights_to_paste_stand_in_every_mode_and_only_where_there_is_a_beta(
    make_trial: MakeTrial,
) -> None:
    trials = [
        make_trial(0, 1.0, 5.0, beta=2.0, weights={"sum": 2.0, "mean": 0.25}),
        make_trial(1, 2.0, 3.0, beta=None, beta_norm=None, weights=None),
    ]
    table = weights_table(trials)
    assert table.columns == ("trials", "beside", "β", "t = βσ²", "β_norm", "sum", "mean")
    assert [(*row[:2], *row[-2:]) for row in table.rows] == [("0", "NLL, nats", "2", "0.25")]


@pytest.mark.parametrize(
    ("changes", "rows"),
    [
        (
            {"likelihood": "gaussian", "sigma2": 0.1, "level": 0.2},
            [("NLL, nats", "0.2", "2"), ("squared error, no ½", "0.2", "0.4")],
        ),
        ({"likelihood": "mse", "sigma2": 0.5, "level": 1.0}, [("squared error, no ½", "1", "2")]),
        (
            {"likelihood": "gaussian_optimal", "level": None, "sigma2_learned": 0.05},
            [("NLL, nats", "0.1", "2"), ("squared error, no ½", "0.1", "0.2")],
        ),
    ],
)
def test_a_gaussian_trial_has_its_weight_beside_plain_squared_error_too(
    changes: dict[str, object], rows: list[tuple[str, ...]], make_trial: MakeTrial
) -> None:
    """SE + bK is the model at t = b/2 (theory: losses that are the same loss)."""
    trials = [make_trial(n, 1.0, 5.0, beta=2.0, weights={"sum": 2.0}, **changes) for n in (0, 1)]
    table = weights_table(trials)
    assert [(row[1], row[3], row[5]) for row in table.rows] == rows
    assert {row[0] for row in table.rows} == {"0, 1"}


def test_diagnostics_that_no_trial_has_are_left_out(make_trial: MakeTrial) -> None:
    trial = make_trial(0, 3.0, 5.0, mutual_information_nats=2.5, train_rate_nats=2.75)
    table = diagnostics_table([trial, make_trial(1, 4.0, 4.0)], {})
    assert table.columns == ("trial", "I(x;z) (nats)", "R gap (nats)")
    assert table.rows == (("0", "2.50", "0.250"), ("1", "–", "–"))
    assert diagnostics_table([make_trial(1, 4.0, 4.0)], {}).rows == ()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"collapse": "none"}, "none"),
        ({"collapse": "never_active"}, "never active"),
        ({"collapse": "collapsed", "collapse_epoch": 7}, "collapsed in epoch 7"),
        ({"collapse": "partial", "active_units": 3}, "partial: 5 inactive"),
        ({}, "–"),
    ],
)
def test_a_verdict_is_said_in_a_few_words(
    changes: dict[str, object], words: str, make_trial: MakeTrial
) -> None:
    assert verdict_of(make_trial(0, 1.0, 2.0, **changes)) == words


def test_a_partial_collapse_names_the_latents(
    make_trial: MakeTrial, make_dossier: MakeDossier
) -> None:
    trial = make_trial(0, 3.0, 5.0, collapse="partial", active_units=3)
    latents = make_dossier([trial]).latents
    table = diagnostics_table([trial], latents)
    assert table.rows == (("0", "partial: latents 0, 2, 4, 6, 7 inactive"),)


def test_the_traversals_are_those_of_the_middle_of_the_front(
    make_trial: MakeTrial,
    make_dossier: MakeDossier,
    make_pictures: Callable[..., ArtifactRecord],
) -> None:
    trials = [make_trial(n, 1.0 + n, 9.0 - n) for n in range(5)]
    pictures = np.full((2, 9, 3, 4, 4), 255, dtype=np.uint8)
    stored = dict(
        zip(
            TRAVERSAL_KINDS,
            (make_pictures(pictures), make_pictures(np.array([3, 1]))),
            strict=True,
        )
    )
    dossier = replace(make_dossier(trials), traversals={trial.number: stored for trial in trials})
    found = traversals(dossier)
    assert found.number == 2
    assert [row.latent for row in found.rows] == [3, 1]
    assert found.rows[0].images.shape == (9, 4, 4, 3)
    assert found.rows[0].label() == "latent 3\nKL = 0.900 nats"
    assert draw_traversals(found).axes


def test_traversals_that_cannot_be_read_are_no_pictures(
    make_trial: MakeTrial,
    make_dossier: MakeDossier,
    make_pictures: Callable[..., ArtifactRecord],
) -> None:
    broken = dict.fromkeys(TRAVERSAL_KINDS, make_pictures(np.array([1, 2])))
    dossier = replace(make_dossier([make_trial(0, 1.0, 2.0)]), traversals={0: broken})
    assert traversals(dossier).rows == ()
    with pytest.raises(ValueError, match="at least one latent"):
        draw_traversals(Traversals(number=None, rows=()))
