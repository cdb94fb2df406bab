"""Settings to copy, reasons of bad trials, and numbers as text."""

import tomllib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.distortion import measure_named
from reports.dossier import Dossier
from reports.numbers_text import duration, short, tick, trimmed, with_error
from reports.settings_toml import settings_toml
from reports.troubles import summary_line, troubles
from studies.linear_vae import linear_vae
from studies.records import TrialRecord

_SCALARS = (
    st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
_SETTINGS = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    _SCALARS | st.lists(_SCALARS) | st.dictionaries(st.text("abc", min_size=1), _SCALARS),
    min_size=1,
)


@given(_SETTINGS, _SETTINGS, _SETTINGS)
def test_settings_read_back_from_toml_as_they_were(
    model: dict[str, Any], objective: dict[str, Any], train: dict[str, Any]
) -> None:
    config = {"model": model, "objective": objective, "train": train}
    assert tomllib.loads(settings_toml(config)) == config


def test_settings_without_a_value_are_left_out() -> None:
    text = settings_toml(
        {"model": {"hidden": [512, 64]}, "objective": {"warmup": None, "beta": 1.0}}
    )
    assert text == "[model]\nhidden = [512, 64]\n\n[objective]\nbeta = 1.0\n"


@pytest.mark.parametrize("level", [1.0, 2.4, 2.6, 4.7, 4.94, 4.96, 5.0, 9.0])
@pytest.mark.parametrize("threshold", [0.0, 0.01, 0.5])
def test_a_collapse_is_laid_to_the_objective_where_the_best_linear_vae_has_no_active_unit(
    level: float,
    threshold: float,
    make_trial: Callable[..., TrialRecord],
    make_dossier: Callable[..., Dossier],
) -> None:
    changes = {"collapsed": True, "level": level, "active_threshold": threshold}
    dossier = make_dossier([make_trial(0, 0.01, 13.0, **changes)])
    best = linear_vae(dossier.study.spectrum, level, 8)
    (trouble,) = troubles(dossier)
    expected = not (best.mean_variances > threshold).any()
    assert ("To be expected" in trouble.reason) == expected
    assert ("Not the objective's doing" in trouble.reason) != expected


def test_the_reason_of_a_collapse_names_the_level_and_its_limit(
    make_trial: Callable[..., TrialRecord], make_dossier: Callable[..., Dossier]
) -> None:
    levels = {0: 4.96, 1: 4.94, 2: None}  # the spectrum's largest eigenvalue is 5
    trials = [
        make_trial(n, 0.01, 13.0, collapsed=True, level=level) for n, level in levels.items()
    ]
    above, below, unknown = (trouble.reason for trouble in troubles(make_dossier(trials)))
    assert "To be expected: t = βσ² = 4.960 is at or above 0.99 λ₁ = 4.950" in above
    assert "Not the objective's doing: t = βσ² = 4.940 is below 0.99 λ₁ = 4.950" in below
    assert unknown == "None of 8 latents is active; R = 0.0100 nats."


def test_a_traceback_is_summed_up_by_its_last_line_and_kept_whole(
    curve: list[TrialRecord], make_dossier: Callable[..., Dossier]
) -> None:
    collapsed, diverged, failed = troubles(make_dossier(curve))
    assert (collapsed.kind, diverged.kind, failed.kind) == ("collapsed", "diverged", "failed")
    assert diverged.reason == "epoch 2, step 31: the objective is nan"
    assert diverged.details is None
    assert failed.reason == "RuntimeError: out of memory"
    assert failed.details == curve[13].error


@pytest.mark.parametrize("message", ["", " \n\n"])
def test_a_message_without_words_is_said_to_be_missing(message: str) -> None:
    assert summary_line(message) == "no reason was stored"


def test_a_failure_without_any_message_is_still_listed(
    curve: list[TrialRecord], make_dossier: Callable[..., Dossier]
) -> None:
    silent = replace(curve[13], error=None)
    (trouble,) = troubles(make_dossier([silent]))
    assert (trouble.reason, trouble.details) == ("no reason was stored", None)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (None, "–"),
        (1234.56, "1235"),
        (12.3456, "12.3"),
        (-0.012345, "−0.0123"),
        (3.2e-7, "3.20e−7"),
        (2.5e7, "2.50e7"),
        (float("inf"), "inf"),
        (float("-inf"), "−inf"),
    ],
)
def test_numbers_have_three_digits_and_no_needless_exponent(value: float, text: str) -> None:
    assert short(value) == text


def test_an_error_rules_the_digits_of_its_value() -> None:
    assert with_error(4.0443, 0.04049) == "4.044 ± 0.040"
    assert with_error(123.4, 12.0) == "123 ± 12"
    assert with_error(4.0443, None) == "4.044"
    assert with_error(4.0443, 0.0) == "4.044"
    assert with_error(None, 1.0) == "–"


def test_trimmed_numbers_and_ticks_have_no_zeros_at_the_end() -> None:
    assert [trimmed(80.0, 4), trimmed(0.1), trimmed(100.0), trimmed(1e-7)] == [
        "80",
        "0.1",
        "100",
        "1.00e−7",
    ]
    assert [tick(0.01), tick(-5.0), tick(1e-5)] == ["0.01", "−5", "1e−5"]


def test_durations_choose_their_unit() -> None:
    texts = [duration(90.0), duration(600.0), duration(3 * 3600.0), duration(None)]
    assert texts == ["90 s", "10 min", "3 h", "–"]


def test_an_unknown_distortion_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="must be 'se' or 'nll', but got 'mse'"):
        measure_named("mse")
