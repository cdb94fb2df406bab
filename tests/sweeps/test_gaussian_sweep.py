"""A whole sweep where theory is exact: spec in, database out, numbers against the closed form."""

from pathlib import Path

import pytest

from rdsweep_command import Rdsweep
from studies.database import open_database
from studies.fronts import study_front
from studies.linear_vae import linear_vae
from studies.queries import query_trials
from studies.rate_distortion import shannon_rate
from studies.study_records import get_study

EXAMPLE = Path(__file__).parents[2] / "examples" / "gaussian.toml"


def test_every_stored_trial_lies_on_its_closed_form_and_none_below_the_bound(
    rdsweep: Rdsweep,
) -> None:
    rdsweep("run", str(EXAMPLE), "--set", "space.beta=[0.1, 1.0, 4.0]", "--set", "run.threads=1")
    db = open_database(rdsweep.url)
    spectrum = get_study(db, "gaussian").spec["data"]["spectrum"]
    trials = query_trials(db, "gaussian")
    assert len(trials) == 6
    for trial in trials:
        assert trial.level is not None
        assert trial.rate_nats is not None
        assert trial.distortion_se is not None
        exact = linear_vae(spectrum, trial.level, trial.latent_dim)
        assert trial.rate_nats == pytest.approx(exact.rate_nats, rel=0.02, abs=0.02)
        assert trial.distortion_se == pytest.approx(exact.distortion_se, rel=0.02, abs=0.02)
        assert trial.active_units == exact.active
        assert trial.psnr_db is None
        slack = 3 * ((trial.rate_stderr_nats or 0.0) + (trial.distortion_se_stderr or 0.0))
        assert trial.rate_nats > shannon_rate(spectrum, trial.distortion_se + slack) - slack
    assert len(study_front(db, "gaussian").trials) >= 3
    assert (rdsweep.folder / "gaussian-report" / "report.html").exists()
