"""What a spec searches twice: settings that are one objective, told before anything is trained."""

from collections.abc import Iterator

from sweeps.settings import Fixed, Setting
from sweeps.spec import Spec
from sweeps.tree import tree_size

__all__ = ["redundancies"]

_SCALED = (
    "an overall scale of the loss, which changes Adam's steps only through its epsilon and the "
    "model hardly at all"
)
_REMEDY = "study.dedupe = true trains each setting once"
_DONE = "study.dedupe is on: each setting is trained once"
_IN_VAIN = "study.dedupe finds no equal settings in a range without step or points"
_UNITS = {"canonical": "canonical", "beta_norm": "normalised"}
_SAME_WEIGHTS = ("sum", "batch_sum")


def redundancies(spec: Spec) -> list[str]:
    """A sentence for each part of the search that reaches the same model in several ways.

    They are no mistakes: a sweep may be there to show just that.

    Args:
        spec: A valid spec.
    """
    return [*_reductions(spec), *_variances(spec), *_mean_squared_errors(spec)]


def _reductions(spec: Spec) -> Iterator[str]:
    names = [str(value) for value in spec.settings["reduction"].bounds]
    beta = spec.settings.get("beta")
    if len(names) < 2:
        return
    if beta is None or beta.unit != "raw":
        unit = "" if beta is None else f", and beta is {_UNITS[beta.unit]}"
        yield (
            f"space.reduction has {len(names)} values{unit}: each is {_SCALED}; "
            f"{_way_on(spec, 'beta in unit raw makes them differ' if beta else None)}."
        )
    elif _is_wide(beta):
        yield (
            "space.beta is in raw units and space.reduction is searched too: a raw weight in one "
            "reduction and another one in the next are the same model, reached twice; "
            f"{_way_on(spec, 'search beta in unit canonical instead')}."
        )
    elif set(_SAME_WEIGHTS) <= set(names):
        yield (
            "space.reduction has 'sum' and 'batch_sum': a raw weight means the same in both, and "
            f"the batch size is {_SCALED}; {_way_on(spec, 'keep one of them')}."
        )


def _variances(spec: Spec) -> Iterator[str]:
    sigma2, beta = spec.settings.get("sigma2"), spec.settings.get("beta")
    if "gaussian" in spec.likelihoods and _is_wide(sigma2) and _is_wide(beta):
        yield (
            "space.sigma2 and space.beta are both searched: with a fixed Gaussian variance only "
            "t = beta sigma2 counts for the model, though -log p(x) differs; "
            f"{_way_on(spec, 'fix sigma2, or let it be learned (gaussian_learned)')}."
        )


def _mean_squared_errors(spec: Spec) -> Iterator[str]:
    if {"gaussian", "mse"} <= set(spec.likelihoods):
        yield (
            "space.likelihood has 'gaussian' and 'mse': the second is the first with "
            "sigma2 = 1/2, the same model at the same t = beta sigma2; "
            f"{_way_on(spec, 'keep one of them')}."
        )


def _is_wide(setting: Setting | None) -> bool:
    return setting is not None and not isinstance(setting, Fixed) and setting.size != 1


def _way_on(spec: Spec, advice: str | None) -> str:
    """What to do about it; `dedupe` finds equal settings only where there is a list of them."""
    listed = tree_size(spec.settings, lambda setting: setting.grid_size) is not None
    on, off = (_DONE, _REMEDY) if listed else (_IN_VAIN, "")
    remedy = on if spec.study.dedupe else off
    joint = "; " if spec.study.dedupe else ", or "
    return joint.join(part for part in (advice, remedy) if part)
