"""`rdsweep suggest`, and the same notes from `rdsweep run`, as a user meets them."""

import tomllib

from rdsweep_command import Rdsweep


def test_it_says_where_the_curve_lies_and_trains_nothing(rdsweep: Rdsweep) -> None:
    said = rdsweep("suggest", str(rdsweep.write_spec()))
    assert said.stdout.startswith("digits: 64 pixels, 1497 training examples\n")
    assert "all have collapsed: the KL is zero from here on" in said.stdout
    assert "rdsweep: note: space.reduction has 5 values" in said.stderr
    assert [path.name for path in rdsweep.folder.iterdir()] == ["small.toml"]


def test_its_lines_can_be_pasted_and_silence_the_note(rdsweep: Rdsweep) -> None:
    spec = str(rdsweep.write_spec())
    collapsed = ("--set", "space.beta={low=100, high=200}", "--set", "objective.reduction=sum")
    said = rdsweep("suggest", spec, "--toml", *collapsed)
    assert "rdsweep: note: space.beta: beta starts at 100, but the KL" in said.stderr
    beta = tomllib.loads(said.stdout)["beta"]
    pasted = f"space.beta={{low={beta['low']}, high={beta['high']}, log=true}}"
    again = rdsweep("suggest", spec, "--toml", "--set", "objective.reduction=sum", "--set", pasted)
    assert again.stderr == ""
    assert again.stdout == said.stdout


def test_run_tells_before_it_trains_that_the_kl_will_vanish(rdsweep: Rdsweep) -> None:
    spec = str(rdsweep.write_spec(epochs=1))
    options = ("--set", "objective.beta=50", "--set", "objective.reduction=sum")
    said = rdsweep("run", spec, "--no-report", "--set", "study.trials=1", *options)
    assert "rdsweep: note: objective.beta: beta is 50, but the KL of a linear VAE" in said.stderr


def test_a_likelihood_that_cannot_have_the_data_is_told_before_anything_is_made(
    rdsweep: Rdsweep,
) -> None:
    spec = str(rdsweep.write_spec())
    sprites = ("data.name=sprites", "data.image_size=64", "data.train_size=50")
    overrides = [part for line in sprites for part in ("--set", line)]
    categorical = ("--set", "model.likelihood=categorical256")
    said = rdsweep("run", spec, *overrides, *categorical, status=2)
    assert "`pixels <= 3072` must hold for likelihood 'categorical256'" in said.stderr
    assert len(said.stderr.splitlines()) == 1
    assert [path.name for path in rdsweep.folder.iterdir()] == ["small.toml"]


def test_a_mistake_in_the_spec_is_one_line(rdsweep: Rdsweep) -> None:
    spec = str(rdsweep.write_spec())
    said = rdsweep("suggest", spec, "--set", "model.priro=vamp", status=2)
    assert said.stderr.startswith("rdsweep: small.toml: model.priro: ")
    assert len(said.stderr.splitlines()) == 1
