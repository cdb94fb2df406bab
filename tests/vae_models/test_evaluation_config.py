"""What an evaluation may spend, checked and normalised."""

import subprocess
import sys
from dataclasses import fields
from typing import Any

import pytest

from vae_models.errors import ConfigError
from vae_models.evaluation_config import EvaluationConfig


def test_a_configuration_survives_json_and_equal_ones_are_equal() -> None:
    config = EvaluationConfig(samples=4.0, iwae_samples=0, diagnostic_examples=2)  # type: ignore[arg-type]
    assert EvaluationConfig.from_dict(config.to_dict()) == config
    assert isinstance(config.samples, int)
    assert set(config.to_dict()) == {field.name for field in fields(EvaluationConfig)}


def test_what_is_left_out_takes_its_default() -> None:
    assert EvaluationConfig.from_dict({}) == EvaluationConfig(
        samples=1, iwae_samples=64, diagnostic_examples=1000, disentanglement=True
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"samples": 0}, r"`samples >= 1` must hold .* got samples=0"),
        ({"samples": 1.5}, r"`samples >= 1` .*\(a whole number\).* got samples=1.5"),
        ({"iwae_samples": -1}, r"`iwae_samples >= 0` must hold .* got iwae_samples=-1"),
        ({"iwae_samples": True}, r"`iwae_samples >= 0` must hold .* got iwae_samples=True"),
        (
            {"diagnostic_examples": 1},
            r"`diagnostic_examples == 0 or diagnostic_examples >= 2` .* got diagnostic_examples=1",
        ),
        ({"disentanglement": 1}, r"`disentanglement` must be true or false, but got .*=1"),
        ({"iwae_sample": 5}, r"A key of evaluation must be one of .*Did you mean 'iwae_samples'"),
    ],
)
def test_what_no_evaluation_can_have_is_refused_in_one_line(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        EvaluationConfig.from_dict(settings)


def test_the_module_can_be_read_without_torch() -> None:
    code = "import sys, vae_models.evaluation_config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
