"""``rdsweep convert`` as a user runs it: what it prints, as text and as JSON, and what it refuses."""

import json
import subprocess
import sys
from typing import Any

import pytest

from rdsweep_command import Rdsweep
from vae_models.objective import BATCH_REDUCTIONS, REDUCTIONS

MEAN = ("--reduction", "mean", "--weight", "0.1", "--pixels", "784", "--latents", "20")
SUM = ("--reduction", "sum", "--weight", "1", "--pixels", "784", "--latents", "20")


def _text(rdsweep: Rdsweep, *arguments: str) -> list[str]:
    return rdsweep("convert", *arguments).stdout.splitlines()


def _json(rdsweep: Rdsweep, *arguments: str) -> dict[str, Any]:
    return dict(json.loads(rdsweep("convert", *arguments, "--json").stdout))


def test_a_table_names_beta_t_beta_norm_and_the_weight_in_every_mode(rdsweep: Rdsweep) -> None:
    lines = _text(rdsweep, *MEAN, "--batch", "40")
    numbers = {line.split()[0]: line.split()[1] for line in lines if line.startswith("  ")}
    expected = {"beta": "3.92", "t": "1.96", "beta_norm": "0.1", "latent_mean": "78.4"}
    assert expected.items() <= numbers.items()
    assert set(REDUCTIONS) <= set(numbers)
    assert any("the same optimum as SE/2 + 1.96·KL" in line for line in lines)


def test_json_has_numbers_null_and_sentences(rdsweep: Rdsweep) -> None:
    found = _json(rdsweep, *MEAN, "--likelihood", "bernoulli", "--batch", "40")
    assert list(found) == ["beta", "t", "beta_norm", "weights", "equivalent"]
    assert found["beta"] == pytest.approx(3.92)
    assert found["t"] is None
    assert found["weights"]["kl_batch_sum"] == pytest.approx(3.92 / 784 / 40)
    assert all(isinstance(sentence, str) for sentence in found["equivalent"])


@pytest.mark.parametrize(
    ("options", "t"),
    [
        ((), 0.5),
        (("--half",), 1.0),
        (("--sigma2", "0.04"), 0.04),
        (("--sigma2", "0.04", "--half"), 0.04),
        (("--data-scale", "255", "--half"), 1 / 255**2),
    ],
)
def test_every_option_of_the_error_term_reaches_the_level(
    rdsweep: Rdsweep, options: tuple[str, ...], t: float
) -> None:
    assert _json(rdsweep, *SUM, *options)["t"] == pytest.approx(t)


def test_to_prints_the_weight_of_that_mode_alone_on_the_first_line(rdsweep: Rdsweep) -> None:
    lines = _text(rdsweep, *MEAN, "--to", "latent_mean")
    assert lines[0] == "78.4"
    assert lines[1:] == _text(rdsweep, *MEAN)


def test_json_has_the_weight_of_that_mode_as_well(rdsweep: Rdsweep) -> None:
    found = _json(rdsweep, *MEAN, "--to", "latent_mean")
    assert found.pop("to") == pytest.approx(78.4)
    assert found == _json(rdsweep, *MEAN)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), True),
        (("--half",), False),
        (("--sigma2", "1"), False),
        (("--likelihood", "mse"), False),
        (("--likelihood", "bernoulli"), False),
    ],
)
def test_a_gaussian_whose_variance_was_not_said_is_told_what_a_spec_takes(
    rdsweep: Rdsweep, options: tuple[str, ...], told: bool
) -> None:
    note = "(a spec's `gaussian` has sigma2 = 1: --half)"
    assert (_text(rdsweep, *SUM, *options)[-1] == note) is told


def test_without_a_batch_size_it_says_which_modes_are_missing(rdsweep: Rdsweep) -> None:
    text = "\n".join(_text(rdsweep, *MEAN))
    assert f"({' and '.join(BATCH_REDUCTIONS)} depend on the batch size: say --batch)" in text
    assert set(_json(rdsweep, *MEAN)["weights"]) == set(REDUCTIONS) - set(BATCH_REDUCTIONS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*MEAN, "--to", "latentmean"), "--to must be one of 'sum', "),
        ((*MEAN, "--to", "latentmean"), "Did you mean 'latent_mean'?"),
        ((*MEAN, "--to", "kl_batch_sum"), "`--batch` must be given with --to kl_batch_sum"),
        ((*MEAN, "--reduction", "nll_batch_sum"), "`batch` must be given"),
        ((*MEAN, "--likelihood", "bernouli"), "Did you mean 'bernoulli'?"),
        ((*MEAN, "--weight", "-1"), "`0 <= weight < inf` must hold for a KL weight"),
        ((*MEAN, "--weight", "nan"), "`0 <= weight < inf` must hold for a KL weight"),
        ((*MEAN, "--pixels", "0"), "`1 <= pixels <= "),
        ((*MEAN, "--likelihood", "bce", "--half"), "`half` stands before a squared error"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    rdsweep: Rdsweep, arguments: tuple[str, ...], message: str
) -> None:
    done = rdsweep("convert", *arguments, status=2)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("rdsweep: ")
    assert message in line


def test_the_help_names_every_reduction(rdsweep: Rdsweep) -> None:
    text = " ".join(rdsweep("convert", "--help").stdout.split())
    assert all(mode in text for mode in REDUCTIONS)


def test_it_loads_no_torch_no_optuna_and_no_database() -> None:
    code = (
        "import sys; from sweeps.cli import app; "
        f"app(['convert', *{MEAN!r}], standalone_mode=False); "
        "print({'torch', 'numpy', 'optuna', 'sqlalchemy', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
