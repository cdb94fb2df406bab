"""What a spec says of launchers and databases: every mistake gets a line, and no secret is told."""

import tomllib
from importlib.resources import files

import pytest

from sweeps.errors import SpecError, SweepError
from sweeps.launcher import LAUNCHERS
from sweeps.spec import Spec
from sweeps.spec_sections import RunSpec
from sweeps.storage import storage_url

GOOD = {"study": {"name": "one"}, "data": {"name": "digits"}}


def problem_of(section: str, **keys: object) -> str:
    """The only line that a spec with these keys gets."""
    document = {**GOOD, section: {**GOOD.get(section, {}), **keys}}
    with pytest.raises(SpecError, match=section) as caught:
        Spec.from_dict(document)
    (line,) = caught.value.problems
    return line


RUNS = {
    "a launcher that is not there": (
        {"launcher": "slrum"},
        "'local', 'ray', 'slurm' or 'manual', but got \"slrum\" (a string); did you mean 'slurm'?",
    ),
    "more of a GPU than one": (
        {"gpus": 1.5},
        "must be -1, 0, a fraction of 1 or a whole number, but got 1.5.",
    ),
    "less of a GPU than none": ({"gpus": -0.5}, "a whole number, but got -0.5."),
    "no finite GPU": ({"gpus": float("inf")}, "must be a finite number"),
    "negative memory": (
        {"memory_gib": -1},
        "`memory_gib >= 0.0` must hold, but got memory_gib=-1",
    ),
    "part of a minute": ({"time_limit_minutes": 1.5}, "must be a whole number, but got 1.5"),
    "negative grace": ({"grace_seconds": -1}, "`grace_seconds >= 0` must hold"),
    "an address that is a number": (
        {"ray_address": 6379},
        'in quotes, but got 6379; write "6379"',
    ),
    "a parameter that is a list": (
        {"slurm": {"partition": ["gpu"]}},
        'must be a table of texts and numbers, such as { partition = "gpu" }, but got',
    ),
    "parameters that are none": ({"slurm": "gpu"}, 'such as { partition = "gpu" }, but got "gpu"'),
    "a misspelt key": ({"laucher": "ray"}, "did you mean 'launcher'?"),
}


@pytest.mark.parametrize(("keys", "part"), RUNS.values(), ids=RUNS)
def test_every_mistake_of_a_run_gets_one_line(keys: dict[str, object], part: str) -> None:
    line = problem_of("run", **keys)
    assert line.startswith("run.")
    assert part in line


@pytest.mark.parametrize("gpus", [-1, 0, 0.25, 1, 2.0])
def test_gpus_are_none_a_share_or_some(gpus: float) -> None:
    assert Spec.from_dict({**GOOD, "run": {"gpus": gpus}}).run.gpus == gpus


def test_a_spec_of_a_cluster_survives_its_way_through_the_database() -> None:
    slurm = {"partition": "gpu", "nice": 10, "exclusive": True}
    run = {"launcher": "slurm", "time_limit_minutes": 90, "memory_gib": 4, "slurm": slurm}
    spec = Spec.from_dict({**GOOD, "run": run})
    assert Spec.from_dict(spec.to_dict()) == spec
    assert spec.run.slurm == slurm


def test_the_default_spec_shows_every_key_of_a_run_with_its_default() -> None:
    text = files("sweeps").joinpath("default_spec.toml").read_text(encoding="utf-8")
    shown = tomllib.loads(text)["run"]
    defaults = RunSpec().model_dump()
    assert shown == {key: defaults[key] for key in shown}
    commented = [key for key in defaults if f"# {key} = " in text]
    assert sorted([*shown, *commented]) == sorted(defaults)
    assert all(name in text for name in LAUNCHERS)


URLS = {
    "usual": "postgresql+psycopg://me:pass-9aQ@host/sweeps",
    "with an @ and a slash in it": "postgresql://me:pass-9aQ@x/y@host/sweeps",
    "that begins with a slash": "postgresql://me:/pass-9aQ@host/sweeps",
    "as a parameter": "postgresql://me@host/sweeps?password=pass-9aQ",
    "of a key file": "postgresql://me@host/sweeps?sslmode=require&sslpassword=pass-9aQ",
    "of a misspelt scheme": "postgers://me:pass-9aQ@host/sweeps",
    "after one slash": "postgresql:/me:pass-9aQ@host/sweeps",
    "after no slash": "postgresql:me:pass-9aQ@host/sweeps",
    "without a scheme": "me:pass-9aQ@host/sweeps",
    "without a database": "postgresql://me:pass-9aQ@host",
}


@pytest.mark.parametrize("url", URLS.values(), ids=URLS)
def test_a_password_is_refused_in_a_spec_and_not_repeated(url: str) -> None:
    line = problem_of("study", storage=url)
    assert "must" in line
    assert "9aQ" not in line
    assert "***" in line


def test_the_line_says_where_a_password_belongs() -> None:
    assert problem_of("study", storage=URLS["usual"]) == (
        "study.storage: must hold no password, as whoever reads the spec would read it, but got "
        "'postgresql+psycopg://me:***@host/sweeps'; leave it to ~/.pgpass, or give the URL by "
        "$RDSWEEP_STORAGE or --storage."
    )


def test_a_url_in_a_list_is_not_repeated_either() -> None:
    assert "9aQ" not in problem_of("study", storage=[URLS["usual"]])


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me@host/sweeps",
        "postgresql://host:5432/sweeps",
        "postgresql+psycopg://postgres:@/sweeps?host=/run/postgresql",
        "sqlite:////tmp/a:b@c.db",
    ],
)
def test_a_url_without_a_password_is_left_as_it_is(url: str) -> None:
    assert Spec.from_dict({**GOOD, "study": {"name": "one", "storage": url}}).study.storage == url


BROKEN = ("misspelt scheme", "one slash", "no slash", "without a scheme", "without a database")


@pytest.mark.parametrize("url", [u for name, u in URLS.items() if name.endswith(BROKEN)])
def test_a_broken_url_is_shown_without_the_password(url: str) -> None:
    with pytest.raises(SweepError, match=r"--storage: must be .*:\*\*\*@host") as caught:
        storage_url(url)
    assert "9aQ" not in str(caught.value)
