"""Nothing that settings can name goes without the tests that hold for all of its kind."""

from pathlib import Path

from contract_coverage import inheritors
from likelihood_contract import LikelihoodContract
from prior_contract import PriorContract
from regulariser_contract import RegulariserContract
from vae_models.config import LIKELIHOODS, PRIORS, REGULARISERS

HERE = Path(__file__).parent


def test_every_likelihood_has_tests_that_inherit_the_contract() -> None:
    tested = {found.config.likelihood for found in inheritors(LikelihoodContract, HERE)}  # type: ignore[type-abstract]
    assert tested == set(LIKELIHOODS)


def test_every_prior_has_tests_that_inherit_the_contract() -> None:
    tested = {found.settings["prior"] for found in inheritors(PriorContract, HERE)}  # type: ignore[type-abstract]
    assert tested == set(PRIORS)


def test_every_regulariser_has_tests_that_inherit_the_contract() -> None:
    tested = {found.objective.regulariser for found in inheritors(RegulariserContract, HERE)}
    assert tested == set(REGULARISERS)
