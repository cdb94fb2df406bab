"""The spec: what it accepts, and the one line it writes for each thing that is wrong."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.errors import SpecError
from sweeps.fields import FIELDS, REQUIRED, SECTIONS, Field
from sweeps.settings import Choice, Fixed, Range
from sweeps.spec import Spec, changes, load_spec
from sweeps.spec_sections import _KEYS
from vae_models.errors import ConfigError

GOOD = """
[study]
name = "mnist-beta"
[data]
name = "digits"
"""


TEMPLATE = Path(sys.modules["sweeps.spec"].__file__ or "").with_name("default_spec.toml")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sweep.toml"


def problems_of(path: Path, text: str, *overrides: str) -> tuple[str, ...]:
    path.write_text(GOOD + text)
    with pytest.raises(SpecError, match=":") as caught:
        load_spec(path, overrides)
    return caught.value.problems


def only_problem(path: Path, text: str, *overrides: str) -> str:
    problems = problems_of(path, text, *overrides)
    assert len(problems) == 1, problems
    assert "\n" not in problems[0]
    return problems[0]


def loaded(path: Path, text: str = "", *overrides: str) -> Spec:
    path.write_text(GOOD + text)
    return load_spec(path, overrides)


def test_the_example_of_the_design_loads(path: Path) -> None:
    spec = loaded(
        path,
        """
        [model]
        likelihood = "bernoulli"
        [train]
        epochs = 20
        [space]
        beta = { low = 0.01, high = 100, log = true }
        latent_dim = { low = 2, high = 64, log = true }
        reduction = ["sum", "mean", "pixel_mean", "latent_mean"]
        annealing = ["constant", "linear", "sigmoid", "cyclical"]
        """,
    )
    assert spec.settings["beta"] == Range(low=0.01, high=100.0, log=True)
    assert spec.settings["latent_dim"] == Range(low=2, high=64, log=True, whole=True)
    assert spec.settings["epochs"] == Fixed(value=20)
    assert spec.likelihoods == ("bernoulli",)
    assert list(spec.searched) == ["latent_dim", "beta", "reduction", "annealing"]


def test_the_default_spec_loads() -> None:
    assert load_spec(TEMPLATE).study.name == "sweep"


def choices_of_fields() -> Iterator[tuple[str, str]]:
    return ((name, value) for name, field in FIELDS.items() for value in field.known or ())


def needs(name: str, value: str) -> dict[str, str]:
    """What else a spec must say for a field to have a value."""
    if (name, value) == ("annealing_unit", value):
        return {"objective.annealing": "linear"}
    if name == "ramp_shape":
        return {"objective.annealing": "delayed"}
    return {
        FIELDS[key].key: example
        for key, example in REQUIRED.items()
        if (condition := FIELDS[key].condition) is not None
        and (condition.field, condition.values) == (name, (value,))
    }


EXAMPLES: dict[str, dict[str, Any]] = {
    field.name: {condition.field: condition.values[0]}
    for field in FIELDS.values()
    if (condition := field.condition) is not None
}
EXAMPLES["milestones"] |= {"milestone_weights": (0.1, 1.0)}
EXAMPLES["milestone_weights"] |= {"milestones": (0.25, 0.5)}
EXAMPLES["annealing"] = {}
"""Of every field, settings of others under which it counts."""


class TestTheDefaultSpec:
    """Its lines say ``key = value`` with a comment, behind a # where the key does not count."""

    @pytest.fixture
    def lines(self) -> dict[str, str]:
        found = re.findall(
            r"^(?:# )?(\w+) = (.+?)(?: {2,}#.*)?$", TEMPLATE.read_text(), re.MULTILINE
        )
        return dict(reversed(found))  # a field's own section comes before [space]

    @pytest.mark.parametrize("section", [name for name in _KEYS if name != "space"])
    def test_it_names_every_key(self, lines: dict[str, str], section: str) -> None:
        assert [key for key in _KEYS[section] if key not in lines] == []

    @pytest.mark.parametrize("field", FIELDS.values(), ids=lambda field: field.name)
    def test_it_names_every_default(self, lines: dict[str, str], field: Field) -> None:
        value = tomllib.loads(f"value = {lines[field.name]}")["value"]
        assert field.default in (None, field.read(value))
        assert field.objection(field.read(value), EXAMPLES.get(field.name, {})) is None

    @pytest.mark.parametrize("field", FIELDS.values(), ids=lambda field: field.name)
    def test_it_names_every_choice(self, field: Field) -> None:
        text = TEMPLATE.read_text()
        assert [name for name in field.known or () if not re.search(rf"\b{name}\b", text)] == []


DATA_SETS = {
    "digits": [],
    "mnist": ["data.name=mnist", "data.download=true", "data.train_limit=1000"],
    "folder": ["data.name=folder", "data.root=images", "data.image_size=32"],
    "celeba": ["data.name=celeba", "data.image_size=64", "data.colour=true"],
    "gaussian": ["data.name=gaussian", "data.spectrum=[4, 2, 1]"],
    "sprites": ["data.name=sprites", "data.image_size=32", "data.train_size=500"],
}


class TestNaturalOverridesOfTheTemplate:
    @pytest.mark.parametrize(("name", "value"), list(choices_of_fields()))
    def test_every_choice_of_a_field_can_be_fixed(self, name: str, value: str) -> None:
        field = FIELDS[name]
        fixed = [f"{field.key}={value}", *(f"{key}={v}" for key, v in needs(name, value).items())]
        assert load_spec(TEMPLATE, fixed).settings[name] == Fixed(value=value)

    @pytest.mark.parametrize("overrides", DATA_SETS.values(), ids=DATA_SETS)
    def test_every_kind_of_data_can_be_named(self, overrides: list[str]) -> None:
        assert load_spec(TEMPLATE, overrides)

    @pytest.mark.parametrize(
        "overrides",
        [
            ["model.hidden=[256, 64]"],
            ["model.family=conv", "data.binarisation=dynamic", "model.likelihood=bernoulli"],
            ["space.family=['linear', 'mlp']", "space.hidden=[[64], [256, 64]]"],
            ["model.likelihood=gaussian_learned", "model.sigma2=0.1"],
            ["space.sigma2={low=0.1, high=10, log=true}"],
            ["space.likelihood=['gaussian', 'bernoulli']"],
            [
                "space.likelihood=['gaussian_optimal', 'laplace']",
                "model.output_activation=sigmoid",
            ],
            ["space.regulariser=['kl', 'free_bits', 'wae_mmd']", "objective.mmd_weight=3"],
            ["space.regulariser=['kl', 'geco']", "space.target_se={low=1, high=9}"],
            ["objective.regulariser=free_bits", "model.posterior=full", "objective.group_size=0"],
            ["space.prior=['standard', 'mixture']", "space.prior_components=[4, 16]"],
            ["objective.annealing=cosine", "objective.warmup=0.3"],
            ["objective.annealing=delayed", "objective.delay=0.2", "objective.warmup=0.3"],
            [
                "objective.annealing=stepwise",
                "objective.milestones=[0, 0.5]",
                "space.milestone_weights=[[0, 1], [0.5, 1]]",
            ],
            ["objective.annealing=linear", "objective.warmup=0.3"],
            ["objective.annealing=sigmoid", "objective.annealing_unit=epoch"],
            ["space.annealing=['constant', 'cyclical']", "space.cycles=[2, 4]"],
            ["objective.beta=1"],
            ["objective.beta={value=0.1, unit='raw'}", "objective.reduction=mean"],
            ["space.beta.unit=beta_norm", "model.latent_dim=8"],
            ["study.distortion=nll"],
            ["train.lr_schedule=cosine", "space.seed=[0, 1, 2]"],
            ["study.sampler=grid", "space.beta.points=9", "space.latent_dim.points=3"],
            *[[f"study.sampler={name}"] for name in ("random", "sobol", "tpe", "nsga2", "gp")],
        ],
    )
    def test_what_is_often_tried_is_not_refused(self, overrides: list[str]) -> None:
        assert load_spec(TEMPLATE, overrides)


@pytest.mark.parametrize("name", REQUIRED)
def test_only_required_fields_lack_a_default_that_works(name: str) -> None:
    condition = FIELDS[name].condition
    assert condition is not None
    given: dict[str, Any] = {condition.field: condition.values[0]}
    given |= {n: value for n, value in EXAMPLES[name].items() if n in REQUIRED}
    with pytest.raises(ConfigError, match=name):
        SECTIONS[FIELDS[name].section](**given)


def test_every_other_choice_needs_nothing() -> None:
    for name, value in choices_of_fields():
        given: dict[str, Any] = {name: value}
        if not needs(name, value):
            assert SECTIONS[FIELDS[name].section](**given)


def test_milestones_are_fixed_by_a_list_and_chosen_from_a_list_of_lists(path: Path) -> None:
    stepwise = '[objective]\nannealing = "stepwise"\nmilestones = [0, 0.5]\n'
    spec = loaded(path, stepwise + "[space]\nmilestone_weights = [[0.25, 1], [1, 0]]")
    assert spec.settings["milestones"] == Fixed(value=(0.0, 0.5))
    assert spec.settings["milestone_weights"] == Choice(choices=((0.25, 1.0), (1.0, 0.0)))
    assert (
        json.dumps(spec.to_dict()["space"]) == '{"milestone_weights": [[0.25, 1.0], [1.0, 0.0]]}'
    )
    assert Spec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_what_no_trial_reads_is_no_part_of_the_normalised_spec(path: Path) -> None:
    spec = loaded(path, '[objective]\nregulariser = "wae_mmd"\n[model]\nlikelihood = "beta"')
    document = spec.to_dict()
    assert document["objective"]["mmd_weight"] == 10.0
    unread = ("beta", "gamma", "sigma2", "output_activation", "prior_scale", "annealing_unit")
    assert [name for name in unread if name in spec.settings] == []


def test_the_evaluation_has_a_section(path: Path) -> None:
    spec = loaded(path, "[evaluation]\niwae_samples = 5000", "evaluation.samples=3")
    assert (spec.evaluation.iwae_samples, spec.evaluation.samples) == (5000, 3)
    assert spec.to_dict()["evaluation"]["diagnostic_examples"] == 1000
    assert Spec.from_dict(spec.to_dict()) == spec


def test_hidden_is_fixed_by_a_list_and_chosen_from_a_list_of_lists(path: Path) -> None:
    assert loaded(path, "[space]\nhidden = [256, 64]").settings["hidden"] == Fixed(value=(256, 64))
    chosen = loaded(path, "[space]\nhidden = [[512], [256, 64]]").settings["hidden"]
    assert chosen == Choice(choices=((512,), (256, 64)))


def test_beta_can_be_fixed_in_another_unit(path: Path) -> None:
    spec = loaded(path, '[objective]\nbeta = { value = 0.1, unit = "raw" }')
    assert spec.settings["beta"] == Fixed(value=0.1, unit="raw")


def test_reading_a_spec_imports_neither_torch_nor_optuna_nor_sqlalchemy() -> None:
    code = (
        "import sys, sweeps.spec; "
        "print([m for m in ('torch', 'optuna', 'sqlalchemy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class TestOverrides:
    def test_an_override_sets_a_value(self, path: Path) -> None:
        spec = loaded(path, "[train]\nepochs = 2", "train.epochs=5", "study.sampler=tpe")
        assert spec.settings["epochs"] == Fixed(value=5)
        assert spec.study.sampler == "tpe"

    def test_an_override_sets_a_range(self, path: Path) -> None:
        spec = loaded(path, "", "space.beta={low=0.1, high=10, log=true}", "space.beta.high=20")
        assert spec.settings["beta"] == Range(low=0.1, high=20.0, log=True)

    def test_an_override_that_fixes_a_field_ends_its_search(self, path: Path) -> None:
        spec = loaded(path, "[space]\nepochs = [1, 2]", "train.epochs=5")
        assert spec.settings["epochs"] == Fixed(value=5)

    def test_an_override_that_searches_a_field_unfixes_it(self, path: Path) -> None:
        spec = loaded(path, "[train]\nepochs = 5", "space.epochs=[1, 2]")
        assert spec.settings["epochs"] == Choice(choices=(1, 2))

    @pytest.mark.parametrize("override", ["epochs=5", "train.epochs", ".=1"])
    def test_an_override_needs_a_section_and_a_value(self, path: Path, override: str) -> None:
        assert "`section.key=value`" in only_problem(path, "", override)

    def test_an_override_must_be_toml(self, path: Path) -> None:
        assert "the value must be TOML" in only_problem(path, "", "space.beta={low=")


class TestOverridesOfWhatOthersDependOn:
    """What the file says of fields that no trial reads any more is dropped, as if never said."""

    TEXT = """
    [model]
    likelihood = "gaussian"
    sigma2 = 0.25
    [space]
    annealing = ["linear", "sigmoid"]
    warmup = [0.1, 0.2]
    beta = { low = 0.1, high = 1 }
    """

    @pytest.mark.parametrize(
        ("override", "dropped"),
        [
            ("model.likelihood=bernoulli", "sigma2"),
            ("space.likelihood=[mse, bernoulli]", "sigma2"),
            ("space.likelihood={choices=['mse', 'bernoulli']}", "sigma2"),
            ("objective.annealing=constant", "warmup"),
            ("objective.regulariser=wae_mmd", "beta"),
        ],
    )
    def test_it_takes_along_what_depended_on_it(
        self, path: Path, override: str, dropped: str
    ) -> None:
        override = override.replace("[mse, bernoulli]", "['mse', 'bernoulli']")
        assert dropped in loaded(path, self.TEXT).settings
        assert dropped not in loaded(path, self.TEXT, override).settings

    def test_it_leaves_what_still_counts(self, path: Path) -> None:
        spec = loaded(path, self.TEXT, "model.likelihood=gaussian_learned")
        assert spec.settings["sigma2"] == Fixed(value=0.25)

    def test_what_is_overridden_itself_is_told_where_it_does_not_count(self, path: Path) -> None:
        problem = only_problem(path, self.TEXT, "model.likelihood=bernoulli", "model.sigma2=1")
        assert problem.startswith("model.sigma2: counts only where likelihood is")

    def test_a_misspelt_name_drops_nothing(self, path: Path) -> None:
        problem = only_problem(path, self.TEXT, "objective.regulariser=wae_mdm")
        assert problem.endswith("did you mean 'wae_mmd'?")


class TestFiles:
    def test_a_missing_file_is_named_with_its_neighbours(self, tmp_path: Path) -> None:
        (tmp_path / "sweep.toml").write_text(GOOD)
        with pytest.raises(SpecError, match=r"no file .*swep.toml; did you mean .*sweep.toml\?"):
            load_spec(tmp_path / "swep.toml")

    def test_a_missing_file_in_an_empty_place_points_to_init(self, tmp_path: Path) -> None:
        with pytest.raises(SpecError, match="rdsweep init"):
            load_spec(tmp_path / "sweep.toml")

    def test_broken_toml_is_told_with_its_line(self, path: Path) -> None:
        path.write_text('[study]\nname = "a\n')
        with pytest.raises(SpecError, match=r"sweep.toml: a spec must be TOML.*line 2"):
            load_spec(path)

    def test_text_that_is_not_utf8_is_told(self, path: Path) -> None:
        path.write_bytes(b"\xff\xfe")
        with pytest.raises(SpecError, match="must be UTF-8"):
            load_spec(path)

    def test_a_directory_is_no_spec(self, tmp_path: Path) -> None:
        with pytest.raises(SpecError, match="must be readable"):
            load_spec(tmp_path)


LINES = {
    "unknown section": (
        "[modle]\nfamily = 'mlp'",
        (
            "modle: a section must be one of [study], [data], [model], [objective], [train], "
            "[evaluation], [run], [space], but got 'modle'; did you mean 'model'?"
        ),
    ),
    "unknown key": ("[model]\nfamiliy = 'mlp'", "model.familiy: * did you mean 'family'?"),
    "key of another section": (
        "[model]\nepochs = 3",
        "model.epochs: * did you mean to put it under [train]?",
    ),
    "several ways at once": (
        "[space]\nbeta = { choices = [1, 2], low = 1 }",
        (
            "space.beta: a table says value, choices, or low and high, but got choices and low; "
            "keep one of them."
        ),
    ),
    "key without a section": (
        "[space]\ntrials = 3",
        "space.trials: * did you mean to put it under [study]?",
    ),
    "misspelt key of another section": (
        "[model]\nepochss = 3",
        "model.epochss: * did you mean 'epochs' under [train]?",
    ),
    "string for a number": (
        '[objective]\nbeta = "0.1"',
        'objective.beta: must be a number, but got "0.1" (a string); write 0.1 without quotes.',
    ),
    "bool for an integer": (
        "[train]\nepochs = true",
        "train.epochs: must be a whole number, but got true.",
    ),
    "fraction for an integer": (
        "[train]\nepochs = 2.0",
        "train.epochs: must be a whole number, but got 2.0; write 2.",
    ),
    "number for a list": (
        "[model]\nhidden = 512",
        "model.hidden: must be a list of whole numbers, but got 512; write [512].",
    ),
    "bool for an integer in [run]": (
        "[run]\nworkers = true",
        "run.workers: must be a whole number, but got true.",
    ),
    "string for an integer in [run]": (
        '[run]\nworkers = "2"',
        'run.workers: must be a whole number, but got "2" (a string); write 2 without quotes.',
    ),
    "no trial at a time": (
        "[run]\npack = 0",
        'run.pack: must be "auto" or a whole number of at least 1, but got 0.',
    ),
    "a truth for a pack": (
        "[run]\npack = true",
        'run.pack: must be "auto" or a whole number of at least 1, but got true.',
    ),
    "a text for a pack": (
        '[run]\npack = "8"',
        'run.pack: must be "auto" or a whole number of at least 1, but got "8" (a string).',
    ),
    "half a pack": (
        "[run]\npack = 1.5",
        'run.pack: must be "auto" or a whole number of at least 1, but got 1.5.',
    ),
    "an unknown precision": (
        '[run]\nprecision = "bf16"',
        "run.precision: must be one of 'auto', 'float32' or 'bfloat16', but got \"bf16\"*",
    ),
    "negative workers": (
        "[run]\nworkers = -1",
        "run.workers: `workers >= 0` must hold, but got workers=-1.",
    ),
    "no lease": (
        "[run]\nlease_seconds = 0",
        "run.lease_seconds: `lease_seconds > 0` must hold, but got lease_seconds=0*",
    ),
    "unknown device": (
        '[run]\ndevice = "gpu"',
        'run.device: must be "auto", "cpu", "mps", "cuda" or "cuda:N", but got "gpu"*',
    ),
    "unknown choice": (
        '[model]\nfamily = "mpl"',
        (
            "model.family: must be one of 'linear', 'mlp', 'conv', 'resnet', but got \"mpl\" "
            "(a string); did you mean 'mlp'?"
        ),
    ),
    "unknown choice in a list": (
        '[space]\nreduction = ["sum", "maen"]',
        "space.reduction[1]: must be one of * did you mean 'mean'?",
    ),
    "empty choice": (
        "[space]\nreduction = []",
        "space.reduction: a choice needs at least one value, but got []; remove it or fill it.",
    ),
    "empty choice of hidden": ("[space]\nhidden = []", "space.hidden: a choice needs at least*"),
    "same choice twice": (
        "[space]\nbeta = [1, 2, 1.0]",
        "space.beta: choices must differ, but got 1.0; remove the second one.",
    ),
    "list in a section": (
        "[train]\nepochs = [1, 2]",
        "train.epochs: a section holds fixed values, but got [1, 2]; write it as space.epochs.",
    ),
    "range in a section": (
        "[train]\nlearning_rate = { low = 1e-4, high = 1e-2 }",
        (
            "train.learning_rate: a section holds fixed values, but got a table; "
            "write it as space.learning_rate."
        ),
    ),
    "reversed range": (
        "[space]\nbeta = { low = 10, high = 1 }",
        "space.beta: `low < high` must hold for a range, but got low=10.0, high=1.0; swap them.",
    ),
    "empty range": (
        "[space]\nbeta = { low = 1, high = 1 }",
        (
            "space.beta: `low < high` must hold for a range, but got low=1.0, high=1.0; "
            "write 1.0 to fix it."
        ),
    ),
    "range without an end": (
        "[space]\nbeta = { low = 1 }",
        "space.beta: a range needs low and high, but got no high; add high = …",
    ),
    "infinite range": (
        "[space]\nbeta = { low = 1, high = inf }",
        "space.beta.high: must be a number, but got inf.",
    ),
    "log range from zero": (
        "[space]\nbeta = { low = 0, high = 1, log = true }",
        (
            "space.beta: `low > 0` must hold for a log range, but got low=0.0, high=1.0; "
            "raise low or remove log = true."
        ),
    ),
    "log with a step": (
        "[space]\nbeta = { low = 1, high = 9, log = true, step = 1 }",
        "space.beta: a log range has no step, but got step=1.0; *",
    ),
    "log that is no truth": (
        '[space]\nbeta = { low = 1, high = 9, log = "yes" }',
        'space.beta.log: must be true or false, but got "yes"*',
    ),
    "step of zero": (
        "[space]\nbeta = { low = 1, high = 9, step = 0 }",
        "space.beta.step: `step > 0` must hold, but got step=0.0.",
    ),
    "step beyond the range": (
        "[space]\nepochs = { low = 1, high = 9, step = 20 }",
        "space.epochs: `step <= high - low` must hold, but got low=1, high=9, step=20; lower it.",
    ),
    "step and points": (
        "[space]\nbeta = { low = 1, high = 9, step = 1, points = 3 }",
        "space.beta: a range has a step or a number of points, *",
    ),
    "one point": (
        "[space]\nbeta = { low = 1, high = 9, points = 1 }",
        (
            "space.beta.points: `2 <= points <= 100000` must hold for the grid on a range, "
            "but got points=1."
        ),
    ),
    "endless points": (
        "[space]\nbeta = { low = 1, high = 9, points = 1000000000 }",
        "space.beta.points: `2 <= points <= 100000` must hold*",
    ),
    "endless steps": (
        "[space]\nbeta = { low = 0, high = 1, step = 1e-300 }",
        "space.beta: `(high - low) / step <= 9007199254740992` must hold*",
    ),
    "whole numbers beyond a float": (
        "[space]\nseed = { low = 0, high = 9223372036854775807 }",
        "space.seed: `high <= 9007199254740992` must hold for a range*",
    ),
    "beta without a canonical value": (
        '[objective]\nbeta = { value = 1e25, unit = "beta_norm" }',
        ("objective.beta: `beta <= 1e+20` must hold for unit 'beta_norm', but got beta=1e+25."),
    ),
    "variance that cannot be learned": (
        '[model]\nlikelihood = "gaussian_learned"\nsigma2 = 1e-6',
        "model.sigma2: `6.14421e-06 < sigma2 < inf` must hold for ModelConfig, but got sigma2=1e-06.",
    ),
    "variance that one likelihood of two cannot learn": (
        '[space]\nlikelihood = ["gaussian", "gaussian_learned"]\nsigma2 = { low = 1e-6, high = 1 }',
        (
            "space.sigma2: `6.14421e-06 < sigma2 < inf` must hold for ModelConfig, "
            "but got sigma2=1e-06 where likelihood is 'gaussian_learned'."
        ),
    ),
    "no widths": ("[model]\nhidden = []", "model.hidden: `len(hidden) >= 1` must hold*"),
    "misspelt key of a range": (
        "[space]\nbeta = { lwo = 1, high = 9 }",
        "space.beta.lwo: a key here must be one of * did you mean 'low'?",
    ),
    "range of names": (
        "[space]\nfamily = { low = 1, high = 9 }",
        'space.family: a range needs numbers, but got a table; write a list such as ["mlp"].',
    ),
    "fraction in a range of integers": (
        "[space]\nlatent_dim = { low = 2.5, high = 9 }",
        "space.latent_dim.low: must be a whole number, but got 2.5.",
    ),
    "unit of another field": (
        '[space]\nsigma2 = { low = 1, high = 9, unit = "raw" }',
        'space.sigma2.unit: only beta has a unit, but got "raw" (a string); remove it.',
    ),
    "unknown unit": (
        '[space]\nbeta = { low = 1, high = 9, unit = "rwa" }',
        "space.beta.unit: must be one of * did you mean 'raw'?",
    ),
    "forbidden value": (
        "[train]\nlearning_rate = -1",
        "train.learning_rate: `0 < learning_rate < inf` must hold*",
    ),
    "forbidden end": (
        "[space]\nlatent_dim = { low = 0, high = 9 }",
        "space.latent_dim: `latent_dim >= 1` must hold*",
    ),
    "warm-up beyond the training": (
        '[objective]\nannealing = "linear"\nwarmup = 5',
        "objective.warmup: `0 <= warmup <= 1` must hold*",
    ),
    "warm-up without a linear schedule": (
        '[space]\nwarmup = { low = 0.1, high = 0.9 }\nannealing = ["constant", "sigmoid"]',
        (
            "space.warmup: counts only where annealing is 'linear' or 'cosine' or 'delayed', but "
            "annealing is always 'constant' or 'sigmoid'; remove it, or let annealing be 'linear'."
        ),
    ),
    "fixed midpoint without a sigmoid": (
        "[objective]\nmidpoint = 0.5",
        "objective.midpoint: counts only where annealing is 'sigmoid'*",
    ),
    "cycles without a cyclical schedule": (
        "[space]\ncycles = [2, 4]",
        "space.cycles: counts only where annealing is 'cyclical'*",
    ),
    "unit of no schedule": (
        '[objective]\nannealing_unit = "step"',
        "objective.annealing_unit: counts only where annealing is *",
    ),
    "widths without an mlp": (
        '[model]\nfamily = "conv"\nhidden = [64]',
        "model.hidden: counts only where family is 'mlp'*",
    ),
    "variance without a Gaussian": (
        '[model]\nlikelihood = "bernoulli"\nsigma2 = 0.5',
        (
            "model.sigma2: counts only where likelihood is 'gaussian' or 'gaussian_learned', but "
            "likelihood is always 'bernoulli'*"
        ),
    ),
    "beta without a reader": (
        '[objective]\nregulariser = "capacity"\nbeta = 2',
        (
            "objective.beta: counts only where regulariser is 'kl' or 'free_bits' or 'tcvae' or "
            "'squashed', but regulariser is always 'capacity'; remove it, or let regulariser be 'kl'."
        ),
    ),
    "capacity without its regulariser": (
        "[objective]\ncapacity_nats = 5",
        "objective.capacity_nats: counts only where regulariser is 'capacity', *",
    ),
    "components of a single normal": (
        "[model]\nprior_components = 5",
        "model.prior_components: counts only where prior is 'mixture' or 'vamp', *",
    ),
    "activation of logits": (
        '[model]\nlikelihood = "bernoulli"\noutput_activation = "sigmoid"',
        "model.output_activation: counts only where likelihood is 'gaussian' or *",
    ),
    "ramp shape of a sigmoid": (
        '[objective]\nannealing = "sigmoid"\nramp_shape = "cosine"',
        "objective.ramp_shape: counts only where annealing is 'cyclical' or 'delayed', *",
    ),
    "no target": (
        '[objective]\nregulariser = "geco"',
        (
            "objective.target_se: must be given where regulariser is 'geco', but got nothing; "
            "write target_se = 10.0 under [objective]."
        ),
    ),
    "no target among several regularisers": (
        '[space]\nregulariser = ["kl", "geco"]',
        "objective.target_se: must be given where regulariser is 'geco', *",
    ),
    "target of a likelihood without an error": (
        '[objective]\nregulariser = "geco"\ntarget_se = 3\n[model]\nlikelihood = "bernoulli"',
        (
            "objective.regulariser: Regulariser 'geco' aims at a squared error and must have "
            "likelihood='gaussian' or 'mse', but got likelihood='bernoulli'."
        ),
    ),
    "target of one likelihood of two": (
        (
            '[objective]\nregulariser = "geco"\ntarget_se = 3\n'
            '[space]\nlikelihood = ["gaussian", "laplace"]'
        ),
        (
            "objective.regulariser: * but got likelihood='laplace'. Every combination is tried: "
            "narrow likelihood, or make two sweeps."
        ),
    ),
    "free bits per latent of a full covariance": (
        '[objective]\nregulariser = "free_bits"\n[model]\nposterior = "full"',
        "objective.group_size: Free bits per group need a KL that is a sum over latents: *",
    ),
    "free bits per group under a mixture": (
        (
            '[objective]\nregulariser = "free_bits"\n'
            '[space]\nprior = ["standard", "mixture"]\ngroup_size = [0, 4]'
        ),
        (
            "space.group_size: Free bits per group need * takes all latents as one group. Every "
            "combination is tried: narrow group_size or prior, or make two sweeps."
        ),
    ),
    "covariance of many latents": (
        '[model]\nposterior = "full"\n[space]\nlatent_dim = { low = 2, high = 128 }',
        (
            "space.latent_dim: `latent_dim <= 64` must hold for posterior 'full', but got "
            "latent_dim=128. Every combination is tried: narrow latent_dim, or make two sweeps."
        ),
    ),
    "covariance under a VampPrior": (
        '[model]\nposterior = "full"\nprior = "vamp"',
        "model.prior: Prior 'vamp' mixes the posteriors of its pseudo-inputs and must have *",
    ),
    "discrepancy of a batch of one": (
        '[objective]\nregulariser = "wae_mmd"\n[train]\nbatch_size = 1',
        "train.batch_size: `batch_size >= 2` must hold for regulariser 'wae_mmd', *",
    ),
    "no milestones": (
        '[objective]\nannealing = "stepwise"\nmilestone_weights = [1.0]',
        "objective.milestones: must be given where annealing is 'stepwise', but got nothing; *",
    ),
    "number for milestones": (
        '[objective]\nannealing = "stepwise"\nmilestones = 0.5\nmilestone_weights = [1.0]',
        "objective.milestones: must be a list of numbers, but got 0.5; write [0.5].",
    ),
    "milestones beyond the training": (
        '[objective]\nannealing = "stepwise"\nmilestones = [5]\nmilestone_weights = [1.0]',
        "objective.milestones: `0 <= milestones[i] <= 1` must hold*",
    ),
    "weights above one": (
        '[objective]\nannealing = "stepwise"\nmilestones = [0.5]\nmilestone_weights = [2]',
        "objective.milestone_weights: `0 <= milestone_weights[i] <= 1` must hold*",
    ),
    "fewer weights than milestones": (
        (
            '[objective]\nannealing = "stepwise"\nmilestones = [0.2, 0.5]\n'
            "[space]\nmilestone_weights = [[0.5, 1], [1]]"
        ),
        "objective.milestones: `len(milestones) == len(milestone_weights) >= 1 and * is (1.0,).",
    ),
    "range of milestones": (
        (
            '[objective]\nannealing = "stepwise"\nmilestone_weights = [1]\n'
            "[space]\nmilestones = { low = 0, high = 1 }"
        ),
        "space.milestones: a range needs numbers, but got a table; write a list such as *",
    ),
    "misspelt key of the evaluation": (
        "[evaluation]\niwae_sample = 5",
        "evaluation.iwae_sample: * did you mean 'iwae_samples'?",
    ),
    "no draws": (
        "[evaluation]\nsamples = 0",
        "evaluation.samples: `samples >= 1` must hold *",
    ),
    "fixed and searched": (
        "[train]\nepochs = 5\n[space]\nepochs = [1, 2]",
        (
            "space.epochs: a field must be fixed in [train] or searched in [space], but got both; "
            "remove one of train.epochs and space.epochs."
        ),
    ),
}


@pytest.mark.parametrize(("text", "line"), LINES.values(), ids=LINES)
def test_every_mistake_gets_one_line(path: Path, text: str, line: str) -> None:
    problem = only_problem(path, text)
    begin, star, rest = line.partition("*")
    assert problem.startswith(begin)
    assert problem.endswith(rest) if star else problem == line


STUDY_LINES = {
    "grid of a continuous range": (
        ["study.sampler=grid", "space.beta={low=1, high=9}"],
        "space.beta: a range needs a step or a number of points for the grid sampler",
    ),
    "grid of too many points": (
        ["study.sampler=grid", "space.epochs={low=1, high=200000}"],
        (
            "study.sampler: a grid must have at most 100,000 points, but got 200,000; "
            'give the ranges fewer points, or write "sobol".'
        ),
    ),
    "grid of many axes": (
        [
            "study.sampler=grid",
            *(
                f"space.{name}={{low=0.1, high=0.9, points=50}}"
                for name in ("beta", "sigma2", "learning_rate")
            ),
        ],
        "a grid must have at most 100,000 points, but got 125,000",
    ),
    "nats of two measures": (
        ["study.distortion=nll", 'space.likelihood=["gaussian", "bernoulli"]'],
        "nats of a Gaussian density and of binary probabilities do not compare",
    ),
    "nats of two densities": (
        ["study.distortion=nll", 'space.likelihood=["beta", "continuous_bernoulli"]'],
        "nats of a beta density and of a continuous Bernoulli density do not compare",
    ),
    "nats of levels and of a density": (
        ["study.distortion=nll", 'space.likelihood=["laplace", "categorical256"]'],
        "nats of a Laplace density and of probabilities of 256 levels do not compare",
    ),
    "word for a truth": (["study.dedupe=yes"], "study.dedupe: must be true or false, but got"),
    "misspelt sampler": (["study.sampler=nsga"], "did you mean 'nsga2'?"),
    "misspelt distortion": (["study.distortion=nlll"], "did you mean 'nll'?"),
    "no trials": (["study.trials=0"], "`trials >= 1` must hold, but got trials=0"),
    "number for a name": (
        ["study.name=2024"],
        'must be a text in quotes, but got 2024; write "2024"',
    ),
    "empty name": (['study.name=""'], "must neither be empty"),
    "name that is a path": (
        ["study.name=a/b"],
        "must be fit for a file name, but got 'a/b' with '/'",
    ),
    "name that is hidden": (["study.name=.a"], "must not begin with a dot"),
    "endless name": ([f"study.name={'a' * 101}"], "at most 100 characters, but got 101"),
    "storage without a scheme": (["study.storage=a.db"], "did you mean sqlite:///a.db?"),
    "storage with two slashes": (["study.storage=sqlite://a.db"], "write three slashes"),
    "storage in memory": (["study.storage=sqlite:///:memory:"], "workers cannot share a memory"),
    "storage without a database": (["study.storage=postgresql://host"], "name the database"),
    "misspelt scheme": (["study.storage=sqllite:///a.db"], "did you mean 'sqlite'?"),
    "bernoulli of real numbers": (
        ["data.name=gaussian", "data.spectrum=[2, 1]", "model.likelihood=bernoulli"],
        "model.likelihood: 'bernoulli' needs pixels between 0 and 1",
    ),
    "beta of real numbers": (
        ["data.name=gaussian", "data.spectrum=[2, 1]", "space.likelihood=['gaussian', 'beta']"],
        "space.likelihood: 'beta' needs pixels between 0 and 1",
    ),
    "misspelt data set": (["data.name=digitss"], "Did you mean 'digits'?"),
    "bad share of data": (["data.heldout_fraction=2"], "data.heldout_fraction: `0 < heldout_"),
    "key of other data": (["data.image_size=8"], "data.image_size: `image_size` must be left out"),
}


@pytest.mark.parametrize(("overrides", "part"), STUDY_LINES.values(), ids=STUDY_LINES)
def test_every_mistake_of_the_study_gets_one_line(
    path: Path, overrides: list[str], part: str
) -> None:
    assert part in only_problem(path, "", *overrides)


def test_a_study_needs_a_name_and_data(path: Path) -> None:
    path.write_text("[train]\nepochs = 1\n")
    with pytest.raises(SpecError, match=r"study.name: must be given[\s\S]*data.name: must be"):
        load_spec(path)


def test_several_problems_are_told_together_each_with_the_file(path: Path) -> None:
    path.write_text(GOOD + "[train]\nepochs = 0\nlr = 1\n[space]\nbeta = { low = 2, high = 1 }")
    with pytest.raises(SpecError, match="swap them") as caught:
        load_spec(path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert all(line.startswith("sweep.toml: ") for line in lines)


def test_gaussian_likelihoods_share_the_axis_of_nats(path: Path) -> None:
    spec = loaded(
        path, "", "study.distortion=nll", 'space.likelihood=["gaussian", "gaussian_learned"]'
    )
    assert spec.study.distortion == "nll"


def documents() -> st.SearchStrategy[dict[str, Any]]:
    spaces = st.fixed_dictionaries(
        {},
        optional={
            "beta": st.one_of(
                st.floats(1e-3, 1e3),
                st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True),
                st.sampled_from(["canonical", "raw", "beta_norm"]).map(
                    lambda unit: {"low": 1e-3, "high": 1, "log": True, "unit": unit}
                ),
            ),
            "latent_dim": st.integers(1, 9).map(lambda low: {"low": low, "high": 10, "points": 2}),
            "hidden": st.sampled_from([[64], [[64], [32, 32]]]),
            "annealing": st.sampled_from(["linear", ["linear", "constant", "cosine"]]),
            "regulariser": st.sampled_from(["kl", ["kl", "free_bits", "tcvae"]]),
            "prior": st.sampled_from(["learned", ["standard", "learned"]]),
            "learning_rate": st.sampled_from([1, {"low": 1e-4, "high": 1e-2, "step": 1e-3}]),
        },
    )
    return spaces.map(
        lambda space: {"study": {"name": "a"}, "data": {"name": "digits"}, "space": space}
    )


@given(documents())
def test_a_spec_survives_the_way_through_its_dictionary(document: dict[str, Any]) -> None:
    spec = Spec.from_dict(document)
    again = Spec.from_dict(spec.to_dict())
    assert again == spec
    assert again.to_dict() == spec.to_dict()
    assert again.hash == spec.hash
    assert changes(spec.to_dict(), again.to_dict()) == []


class TestChanges:
    @pytest.mark.parametrize(
        "override",
        [
            "study.trials=9",
            "study.sampler=random",
            "study.seed=9",
            "study.storage=sqlite:///other.db",
            "study.artifacts=there",
            "study.max_attempts=9",
            "run.workers=9",
            "space.beta.low=0.001",
            "space.beta.high=3",
            "space.beta.points=3",
            "study.dedupe=true",
            "data.root=there",
            "data.download=true",
        ],
    )
    def test_what_leaves_trials_comparable_may_change(self, path: Path, override: str) -> None:
        text = "[space]\nbeta = { low = 0.01, high = 1, log = true }\n"
        text += '[data]\nname = "mnist"'
        path.write_text('[study]\nname = "a"\n' + text)
        old, new = load_spec(path), load_spec(path, [override])
        assert old != new
        assert changes(old.to_dict(), new.to_dict()) == []
        assert old.hash == new.hash

    @pytest.mark.parametrize(
        ("override", "line"),
        [
            ("data.seed=1", "data.seed: must stay the same within a study, but was 'nothing'"),
            ("model.latent_dim=3", "model.latent_dim: must stay the same .* was 16 and is now 3"),
            ("objective.beta=1", "objective.beta: must stay the same"),
            ("train.epochs=3", "train.epochs: must stay the same"),
            ("study.distortion=nll", "study.distortion: must stay the same"),
            ("space.beta.log=false", "space.beta: must stay the same"),
            ("space.beta.unit=raw", "space.beta: must stay the same"),
            ("space.epochs=[1, 2]", "space.epochs: must stay the same"),
            ("model.posterior=full", "model.posterior: .* was 'diagonal' and is now 'full'"),
            ("evaluation.samples=9", "evaluation.samples: .* was 1 and is now 9"),
        ],
    )
    def test_what_mixes_incomparable_trials_is_told_with_the_way_on(
        self, path: Path, override: str, line: str
    ) -> None:
        text = "[space]\nbeta = { low = 0.01, high = 1, log = true }"
        old, new = loaded(path, text), loaded(path, text, override)
        assert old.hash != new.hash
        (problem,) = changes(old.to_dict(), new.to_dict())
        with pytest.raises(SpecError, match=line):
            raise SpecError([problem])
        assert problem.endswith("go on under a new name: --set study.name=mnist-beta-2")

    def test_a_study_of_version_1_goes_on_though_that_knew_fewer_fields(self) -> None:
        """The document is what rdsweep 0.1 stored of a spec with every kind of setting."""
        old = json.loads(Path(__file__).with_name("spec_of_version_1.json").read_text())
        spec = Spec.from_dict(old)
        assert changes(old, spec.to_dict()) == []
        assert spec.settings["posterior"] == Fixed(value="diagonal")
        assert spec.settings["output_activation"] == Fixed(value="none")
        assert spec.evaluation.iwae_samples == 64
        assert not spec.study.dedupe

    @pytest.mark.parametrize(
        ("section", "value", "line"),
        [
            ("model", {"prior": "vamp"}, "model.prior: must .* was 'standard' and is now 'vamp'"),
            ("model", {"latent_dim": 3}, "model.latent_dim: must stay the same"),
            ("evaluation", {"iwae_samples": 5}, "evaluation.iwae_samples: .* was 64 and is now 5"),
        ],
    )
    def test_it_does_not_take_in_what_that_version_did_not_know(
        self, section: str, value: dict[str, Any], line: str
    ) -> None:
        old = json.loads(Path(__file__).with_name("spec_of_version_1.json").read_text())
        new = Spec.from_dict(old).to_dict()
        new[section] |= value
        for name in value:
            new["space"].pop(name, None)
        with pytest.raises(SpecError, match=line):
            raise SpecError(changes(old, Spec.from_dict(new).to_dict()))

    def test_the_next_name_counts_on(self, path: Path) -> None:
        old, new = loaded(path), loaded(path, "", "train.epochs=3", "study.name=a-2")
        assert changes(old.to_dict(), new.to_dict())[0].endswith("--set study.name=a-3")

    @pytest.mark.parametrize("name", ["my study", "größe", "a$b", "it's", "2024-05-09", "a=b"])
    def test_the_way_on_can_be_pasted_into_a_shell(self, path: Path, name: str) -> None:
        fixed = f'study.name="{name}"'
        old, new = loaded(path, "", fixed), loaded(path, "", fixed, "train.epochs=3")
        (problem,) = changes(old.to_dict(), new.to_dict())
        option, *given = shlex.split(problem.rpartition("under a new name: ")[2])
        assert (option, len(given)) == ("--set", 1)
        stem = name.removesuffix("-09")
        assert loaded(path, "", *given).study.name == f"{stem}-{10 if stem != name else 2}"
