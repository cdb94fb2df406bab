"""The search space: what is suggested, what it means, and how many points there are."""

import itertools
import math
from typing import Any

import hypothesis
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studies.records import NewTrial
from sweeps.errors import SpaceError, SpecError
from sweeps.fields import FIELDS
from sweeps.settings import Choice, Range, Setting
from sweeps.space import Space, encode, fingerprint
from sweeps.spec import Spec
from toy_sweeps import PIXELS, TREE
from vae_models.config import (
    LIKELIHOODS,
    PRIORS,
    REGULARISERS,
    SCHEDULES,
    ModelConfig,
    ObjectiveConfig,
    TrainConfig,
    TrialConfig,
)


def space_of(space: dict[str, Any], **sections: dict[str, Any]) -> Space:
    document = {"study": {"name": "toy"}, "data": {"name": "digits"}, "space": space, **sections}
    return Space(Spec.from_dict(document), PIXELS)


def row_of(space: Space, **parameters: Any) -> NewTrial:
    return space.new_trial(0, space.suggest(optuna.trial.FixedTrial(parameters)))


def suggested(space: Space, **parameters: Any) -> TrialConfig:
    return space.suggest(optuna.trial.FixedTrial(parameters)).config


def test_every_field_of_a_trial_can_be_said_in_a_spec() -> None:
    config = TrialConfig().to_dict()
    names = [name for section in ("model", "objective", "train") for name in config[section]]
    assert list(FIELDS) == names


def test_conditions_stand_before_what_depends_on_them() -> None:
    order = list(FIELDS)
    for name, field in FIELDS.items():
        if field.condition is not None:
            assert order.index(field.condition.field) < order.index(name)


def test_a_suggestion_is_the_trial_that_it_names() -> None:
    space = space_of({"beta": [0.5, 2], "hidden": [[32], [64, 32]], "epochs": [1, 2]})
    suggestion = space.suggest(
        optuna.trial.FixedTrial({"beta": 2.0, "hidden": "[64, 32]", "epochs": 1})
    )
    assert suggestion.parameters == {"beta": 2.0, "hidden": [64, 32], "epochs": 1}
    assert suggestion.config == TrialConfig(
        model=ModelConfig(hidden=(64, 32)),
        objective=ObjectiveConfig(beta=2.0),
        train=TrainConfig(epochs=1),
    )


class TestUnits:
    """N = 64 pixels, M = 8 latents; the factors are those of theory.md, section 3."""

    @pytest.mark.parametrize(
        ("reduction", "factor"),
        [
            ("sum", 1),
            ("mean", 64 / 8),
            ("pixel_mean", 64),
            ("latent_mean", 1 / 8),
            ("batch_sum", 1),
        ],
    )
    def test_a_raw_weight_becomes_the_canonical_beta_of_its_reduction(
        self, reduction: str, factor: float
    ) -> None:
        space = space_of(
            {"beta": {"low": 0.1, "high": 1, "unit": "raw"}, "reduction": ["sum", reduction][-1:]},
            model={"latent_dim": 8},
        )
        config = suggested(space, raw_weight=0.5, reduction=reduction)
        assert config.objective.beta == pytest.approx(0.5 * factor)
        trial = space.new_trial(
            0, space.suggest(optuna.trial.FixedTrial({"raw_weight": 0.5, "reduction": reduction}))
        )
        assert trial.raw_weight == pytest.approx(0.5)
        assert trial.parameters == {"raw_weight": 0.5, "reduction": reduction}

    def test_a_normalised_beta_becomes_canonical_with_the_latents_of_the_trial(self) -> None:
        space = space_of(
            {"beta": [0.5], "latent_dim": [4, 8]}
            | {"beta": {"choices": [0.5, 1.0], "unit": "beta_norm"}}
        )
        for latents in (4, 8):
            config = suggested(space, beta_norm=0.5, latent_dim=latents)
            assert config.objective.beta == pytest.approx(0.5 * 64 / latents)

    def test_the_level_is_beta_times_a_fixed_variance_and_else_unknown(self) -> None:
        space = space_of(
            {"likelihood": list(LIKELIHOODS), "sigma2": [0.25]}, objective={"beta": 2.0}
        )
        rows = {
            name: row_of(space, likelihood=name, sigma2=0.25, beta=2.0) for name in LIKELIHOODS
        }
        levels = {name: row.level for name, row in rows.items() if row.level is not None}
        variances = {name: row.sigma2 for name, row in rows.items() if row.sigma2 is not None}
        assert levels == {"gaussian": 0.5, "mse": 1.0}
        assert variances == {"gaussian": 0.25, "gaussian_learned": 0.25, "mse": 0.5}

    def test_a_batch_counts_as_large_as_it_is_when_the_training_split_is_smaller(self) -> None:
        """Of 50 examples no batch has 128: a KL per pixel and example is N B = 64 · 50 of a sum."""
        document = {
            "study": {"name": "toy"},
            "data": {"name": "digits"},
            "train": {"batch_size": 128},
            "space": {
                "beta": {"choices": [0.5, 1.0], "unit": "raw"},
                "reduction": ["kl_batch_sum", "nll_batch_sum"],
            },
        }
        space = Space(Spec.from_dict(document), PIXELS, examples=50)
        for reduction, beta in (("kl_batch_sum", 0.5 * 64 * 50), ("nll_batch_sum", 0.5 / 50)):
            trial = row_of(space, raw_weight=0.5, reduction=reduction)
            assert trial.beta == pytest.approx(beta)
            assert trial.raw_weight == pytest.approx(0.5)
            assert trial.weights is not None
            assert trial.weights["kl_batch_sum"] == pytest.approx(beta / (64 * 50))
            assert trial.weights["nll_batch_sum"] == pytest.approx(beta * 50)


class TestATrialsRow:
    """N = 64 pixels, M = 8 latents, B = 128 examples."""

    def test_has_the_weight_to_paste_in_every_reduction(self) -> None:
        row = row_of(space_of({}, model={"latent_dim": 8}, objective={"beta": 2.0}))
        assert row.weights == pytest.approx(
            {
                "sum": 2.0,
                "mean": 2.0 * 8 / 64,
                "pixel_mean": 2.0 / 64,
                "latent_mean": 2.0 * 8,
                "batch_sum": 2.0,
                "kl_batch_sum": 2.0 / (64 * 128),
                "nll_batch_sum": 2.0 * 128,
            }
        )

    @pytest.mark.parametrize("regulariser", REGULARISERS)
    def test_has_a_beta_in_no_unit_where_its_loss_has_none(self, regulariser: str) -> None:
        extra = {"target_se": 3.0} if regulariser == "geco" else {}
        row = row_of(space_of({}, objective={"regulariser": regulariser, **extra}))
        missing = [
            getattr(row, name) is None
            for name in ("beta", "raw_weight", "beta_norm", "level", "weights")
        ]
        has_beta = regulariser in ("kl", "free_bits", "tcvae", "squashed")
        assert missing == [not has_beta] * 5
        assert row.regulariser == regulariser

    def test_names_its_prior_and_its_posterior(self) -> None:
        row = row_of(space_of({}, model={"prior": "mixture", "posterior": "full"}))
        assert (row.prior, row.posterior) == ("mixture", "full")
        assert row.config["model"]["prior_components"] == 16

    def test_has_the_key_of_its_equivalents(self) -> None:
        space = space_of({"reduction": ["sum", "mean"]})
        rows = [row_of(space, reduction=name) for name in ("sum", "mean")]
        assert rows[0].equivalence == rows[1].equivalence
        assert rows[0].config != rows[1].config


MANY_OBJECTIVES: dict[str, Any] = {
    "regulariser": ["kl", "capacity", "geco", "free_bits"],
    "beta": {"low": 0.01, "high": 100, "log": True},
    "capacity_nats": {"low": 1, "high": 30},
    "target_se": {"low": 1, "high": 9},
    "free_nats": [0.1, 0.5],
    "annealing": ["constant", "cosine", "delayed", "stepwise", "cyclical"],
    "warmup": {"low": 0.1, "high": 0.5},
    "delay": [0.1, 0.2],
    "ramp_shape": ["linear", "sigmoid"],
    "milestones": [[0.0, 0.5], [0.25, 0.75]],
    "milestone_weights": [[0.1, 1.0], [0.5, 1.0]],
}


class TestConditionsOnSeveralValues:
    @pytest.mark.parametrize(
        ("chosen", "asked"),
        [
            ({"regulariser": "kl", "annealing": "constant"}, {"beta"}),
            ({"regulariser": "free_bits", "annealing": "constant"}, {"beta", "free_nats"}),
            ({"regulariser": "geco", "annealing": "cosine"}, {"target_se", "warmup"}),
            (
                {"regulariser": "capacity", "annealing": "delayed"},
                {"capacity_nats", "warmup", "delay", "ramp_shape"},
            ),
            ({"regulariser": "kl", "annealing": "cyclical"}, {"beta", "ramp_shape"}),
            (
                {"regulariser": "kl", "annealing": "stepwise"},
                {"beta", "milestones", "milestone_weights"},
            ),
        ],
    )
    def test_only_what_is_read_is_asked_for(self, chosen: dict[str, str], asked: set[str]) -> None:
        space = space_of(MANY_OBJECTIVES)
        point = {
            name: chosen.get(name, encode(setting.at(0.5)))
            for name, setting in space.parameters.items()
        }
        suggestion = space.suggest(optuna.trial.FixedTrial(point))
        assert set(suggestion.parameters) == {*chosen, *asked}
        assert row_of(space, **point).parameters == suggestion.parameters

    def test_lists_come_back_from_optuna_and_from_the_record(self) -> None:
        space = space_of(
            {"milestone_weights": [[0.1, 1.0], [0.5, 1.0]]},
            objective={"annealing": "stepwise", "milestones": [0.25, 0.5]},
        )
        row = row_of(space, milestone_weights="[0.5, 1.0]")
        assert row.parameters == {"milestone_weights": [0.5, 1.0]}
        assert space.encode(row.parameters) == {"milestone_weights": "[0.5, 1.0]"}
        assert TrialConfig.from_dict(row.config).objective.milestone_weights == (0.5, 1.0)

    def test_a_beta_in_another_unit_may_be_missing_too(self) -> None:
        beta = {"low": 0.1, "high": 1, "unit": "raw"}
        space = space_of({"regulariser": ["kl", "wae_mmd"], "beta": beta})
        assert row_of(space, regulariser="kl", raw_weight=0.5).raw_weight == 0.5
        assert row_of(space, regulariser="wae_mmd").parameters == {"regulariser": "wae_mmd"}

    def test_a_tree_of_all_names_is_counted_without_walking_it(self) -> None:
        space = space_of(
            {
                "regulariser": ["kl", "tcvae", "wae_mmd"],
                "beta": [1, 2, 3],
                "tc_weight": [1, 2],
                "mmd_weight": [1, 2, 3, 4],
                "prior": list(PRIORS),
                "prior_scale": [0.5, 1, 2],
                "prior_components": [2, 4],
                "likelihood": list(LIKELIHOODS),
                "sigma2": [0.1, 1],
                "annealing": [name for name in SCHEDULES if name != "stepwise"],
                "warmup": [0.1, 0.2],
                "seed": {"low": 0, "high": 9},
            }
        )
        regularisers = 3 + 3 * 2 + 4
        priors = 1 + 3 + 1 + 2 + 2
        likelihoods = 10 + 2 * 2
        schedules = 3 + 3 * 2  # constant, sigmoid, cyclical; those with a warm-up
        assert space.size == regularisers * priors * likelihoods * schedules * 10


class TestTree:
    def test_its_size_is_the_number_of_its_points(self) -> None:
        space = space_of(
            {
                "annealing": ["constant", "linear", "cyclical"],
                "warmup": [0.1, 0.5, 0.9],
                "cycles": [2, 4],
                "family": ["linear", "mlp"],
                "hidden": [[32], [64, 32]],
                "latent_dim": {"low": 2, "high": 4},
            }
        )
        expected = (1 + 2) * (1 + 3 + 2) * 3
        points = space.points()
        assert space.size == expected == len(points)
        assert len({fingerprint(point) for point in points}) == expected

    def test_its_points_are_those_that_it_suggests(self) -> None:
        space = space_of(
            {"annealing": ["constant", "linear"], "warmup": [0.1, 0.5], "hidden": [[8], [4]]}
        )
        for point in space.points():
            suggestion = space.suggest(optuna.trial.FixedTrial(dict(space.encode(point))))
            assert suggestion.parameters == point

    def test_a_range_of_numbers_makes_it_infinite(self) -> None:
        space = space_of(dict(TREE))
        assert space.size is None
        with pytest.raises(SpaceError, match="got infinitely many; give its ranges steps"):
            space.points()

    def test_points_make_a_grid_of_it_without_making_it_discrete(self) -> None:
        space = space_of({"beta": {"low": 0.01, "high": 100, "log": True, "points": 5}})
        assert [p["beta"] for p in space.grid()] == pytest.approx([0.01, 0.1, 1, 10, 100])
        assert space.grid_size == 5
        assert space.size is None

    def test_too_large_a_space_is_not_listed(self) -> None:
        space = space_of({"epochs": {"low": 1, "high": 200_000}})
        with pytest.raises(SpaceError, match="at most 100,000 to be listed, but got 200,000"):
            space.points()

    def test_billions_of_points_are_counted_without_listing_them(self) -> None:
        space = space_of(
            {
                "seed": {"low": 0, "high": 2**40 - 1},
                "learning_rate": {"low": 1e-9, "high": 1, "step": 1e-9},
            }
        )
        assert space.size == space.grid_size == 2**40 * 10**9

    def test_whole_numbers_of_a_grid_that_coincide_count_once(self) -> None:
        space = space_of({"latent_dim": {"low": 1, "high": 3, "points": 9}})
        assert space.grid_size == 3 == len(space.grid())


def ranges() -> st.SearchStrategy[Range]:
    def build(low: int, width: int, log: bool, whole: bool, step: int | None) -> Range:
        step = None if log or step is None or step > width else step
        scale = 1 if whole else 0.25
        return (
            Range(
                low=low * scale,
                high=(low + width) * scale,
                log=log,
                step=None if step is None else step * scale,
                whole=whole,
            )
            if not whole
            else Range(low=low, high=low + width, log=log, step=step, whole=True)
        )

    return st.builds(
        build,
        st.integers(1, 50),
        st.integers(1, 100),
        st.booleans(),
        st.booleans(),
        st.none() | st.integers(1, 7),
    )


def space_of_range(setting: Range) -> Space:
    name = "epochs" if setting.whole else "beta"
    return space_of({name: setting.to_plain()})


@given(ranges(), st.floats(0, 1, exclude_max=True))
def test_a_share_of_a_range_is_a_number_of_it(setting: Range, share: float) -> None:
    value = setting.at(share)
    assert setting.low <= float(str(value)) <= setting.high
    (distribution,) = space_of_range(setting).distributions().values()
    assert distribution._contains(distribution.to_internal_repr(value))
    points = setting.points()
    if points is not None:
        assert fingerprint({"x": value}) in {fingerprint({"x": point}) for point in points}


@pytest.mark.parametrize(
    "setting",
    [
        Choice(choices=("a", "b", "c")),
        Range(low=1, high=9, step=2, whole=True),
        Range(low=0.0, high=1.0, step=0.1),
        Range(low=2, high=6, whole=True),
    ],
)
def test_equal_shares_fall_on_every_point_equally_often(setting: Setting) -> None:
    points = setting.points() or ()
    shares = [(index + 0.5) / (100 * len(points)) for index in range(100 * len(points))]
    landed = [setting.at(share) for share in shares]
    assert [len(list(group)) for _, group in itertools.groupby(landed)] == [100] * len(points)


def test_shares_of_a_log_range_are_even_in_the_logarithm() -> None:
    setting = Range(low=0.01, high=100.0, log=True)
    logs = [math.log10(float(str(setting.at(share)))) for share in (0.0, 0.25, 0.5, 0.75)]
    assert logs == pytest.approx([-2, -1, 0, 1])


FLOATS = [0.0, 5e-324, 1e-300, 1e-6, 0.1, 0.5, 1.0, 2.0, 100.0, 1e300]
WHOLES = [0, 1, 2, 7, 1000, 2**31, 2**53, 2**63 - 1, 2**63, 10**30]


def numbers(values: list[Any]) -> st.SearchStrategy[Any]:
    """A number, a choice or a range that is odd wherever it can be."""
    ends = st.lists(st.sampled_from(values), min_size=2, max_size=2, unique=True).map(sorted)
    shapes = st.sampled_from([{}, {"log": True}, {"points": 3}, *({"step": v} for v in values)])
    ranges = st.builds(lambda pair, rest: {"low": pair[0], "high": pair[1]} | rest, ends, shapes)
    choices = st.lists(st.sampled_from(values), min_size=1, max_size=3, unique=True)
    return st.one_of(st.sampled_from(values), choices, ranges)


def wild_documents() -> st.SearchStrategy[dict[str, Any]]:
    """Specs, good ones and bad ones, in whose trials every field can count."""
    by_kind = {
        "int": numbers(WHOLES),
        "float": numbers(FLOATS),
        "ints": st.sampled_from([[], [8], [0], [[8], []], [[8], [16, 8]]]),
        "floats": st.sampled_from([[], [0.5], [0.0, 1], [0.5, 0.25], [2], [[0.5], [0.25]]]),
    }
    fields = {name: by_kind[f.kind] for name, f in FIELDS.items() if f.known is None}
    fields["beta"] = st.builds(
        lambda beta, unit: beta | {"unit": unit} if isinstance(beta, dict) else beta,
        fields["beta"],
        st.sampled_from(["canonical", "raw", "beta_norm"]),
    )
    names = st.fixed_dictionaries(
        {},
        optional={
            name: st.lists(st.sampled_from(field.known), min_size=1, max_size=3, unique=True)
            for name, field in FIELDS.items()
            if field.known is not None
        },
    )
    spaces = st.sets(st.sampled_from(list(fields)), min_size=1, max_size=4).flatmap(
        lambda chosen: st.fixed_dictionaries({name: fields[name] for name in sorted(chosen)})
    )
    return st.builds(
        lambda names, space, sampler: {
            "study": {"name": "wild", "sampler": sampler},
            "data": {"name": "digits"},
            "space": names | {n: v for n, v in space.items() if can_be_read(n, names)},
        },
        names,
        spaces,
        st.sampled_from(["auto", "grid"]),
    )


def can_be_read(name: str, chosen: dict[str, list[str]]) -> bool:
    condition = FIELDS[name].condition
    if condition is None:
        return True
    values = chosen.get(condition.field, [FIELDS[condition.field].default])
    return any(value in condition.values for value in values)


@hypothesis.settings(max_examples=400)
@given(wild_documents(), st.lists(st.floats(0, 1, exclude_max=True), min_size=30, max_size=30))
def test_no_trial_of_a_spec_that_passed_is_refused_later(
    document: dict[str, Any], shares: list[float]
) -> None:
    try:
        spec = Spec.from_dict(document)
    except SpecError:
        return
    space = Space(spec, PIXELS)
    point = {
        name: encode(setting.at(share))
        for (name, setting), share in zip(space.parameters.items(), shares, strict=False)
    }
    assert space.new_trial(0, space.suggest(optuna.trial.FixedTrial(point))).number == 0
    assert space.distributions().keys() == point.keys()
    if spec.study.sampler == "grid":
        assert len(space.grid()) == space.grid_size
