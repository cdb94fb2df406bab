"""Studies go into the database and come out as they were."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import pytest

from studies.database import Database
from studies.errors import RecordError, StudyExists, StudyNotFound
from studies.study_records import create_study, get_study, list_studies, update_study
from study_examples import STUDY


def test_a_study_comes_back_as_it_was_with_the_time_of_its_making(database: Database) -> None:
    stored = create_study(database, STUDY)
    assert stored.created_at is not None
    assert abs(stored.created_at - time.time()) < 5.0
    assert replace(stored, created_at=None) == STUDY
    assert get_study(database, STUDY.name) == stored


def test_a_name_is_taken_once(database: Database) -> None:
    create_study(database, STUDY)
    with pytest.raises(StudyExists, match="'digits-beta' exists already; continue it"):
        create_study(database, replace(STUDY, trials_wanted=99))
    assert get_study(database, STUDY.name).trials_wanted == STUDY.trials_wanted


def test_studies_are_listed_in_the_order_of_their_making(database: Database) -> None:
    names = ["b", "a", "c"]
    for name in names:
        create_study(database, replace(STUDY, name=name))
    assert [study.name for study in list_studies(database)] == names


def test_spec_sampler_and_wanted_trials_may_change_and_nothing_else(database: Database) -> None:
    before = create_study(database, STUDY)
    allowed: dict[str, Any] = {
        "spec": {"study": {}},
        "spec_hash": "f",
        "sampler": "gp",
        "trials_wanted": 500,
    }
    update_study(database, replace(STUDY, artifacts_url="elsewhere", spectrum=(1.0,), **allowed))
    assert get_study(database, STUDY.name) == replace(before, **allowed)
    with pytest.raises(StudyNotFound, match="got 'none'"):
        update_study(database, replace(STUDY, name="none"))


def test_a_missing_study_is_answered_with_what_there_is(database: Database) -> None:
    with pytest.raises(StudyNotFound, match="got 'digits'; it has no study yet"):
        get_study(database, "digits")
    create_study(database, STUDY)
    with pytest.raises(StudyNotFound, match=r"did you mean 'digits-beta'\?"):
        get_study(database, "digits_beta")
    with pytest.raises(StudyNotFound, match="got 'x'; it has 'digits-beta'"):
        get_study(database, "x")


def test_a_spectrum_must_be_finite() -> None:
    with pytest.raises(RecordError, match=r"`isfinite\(spectrum\)` must hold for StudyRecord"):
        replace(STUDY, spectrum=(1.0, math.nan))


def test_quotes_and_other_scripts_survive(database: Database) -> None:
    name = "β'; DROP TABLE rdsweep_studies; -- ñ 漢字"
    spec = {"note": name, "nested": {"list": [1, 2.5, None, True]}}
    assert create_study(database, replace(STUDY, name=name, spec=spec)).spec == spec
