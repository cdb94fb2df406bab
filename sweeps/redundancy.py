"""What a spec searches twice: settings that are one objective, told before anything is trained."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

from sweeps.equivalence import WEIGHTS
from sweeps.listed_models import ListedModels, is_listed
from sweeps.settings import Fixed, Setting
from sweeps.space import Space
from sweeps.spec import Spec

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
_WEIGHTS = ("beta", *WEIGHTS.values())


@final
@dataclass(frozen=True, kw_only=True)
class _Part:
    """A part of a search that reaches the same model in several ways.

    Attributes:
        field: In which settings of the same model differ.
        others: In which they may differ too.
        text: Why they are the same.
        ranged: What is added where they cannot be counted.
        advice: What to do about it beside training each setting once; None for nothing.
    """

    field: str
    others: tuple[str, ...] = ()
    text: str
    ranged: str = ""
    advice: str | None = None


def redundancies(spec: Spec, space: Space) -> list[str]:
    """A sentence for each part of the search that reaches the same model in several ways.

    They are no mistakes: a sweep may be there to show just that. Where the settings have a list
    they are counted, and a part without any that is the same model as another is not spoken of.

    Args:
        spec: A valid spec.
        space: Its space.
    """
    parts = [*_reductions(spec), *_variances(spec), *_pairs_of_likelihoods(spec)]
    listed = ListedModels.of(spec, space)
    if listed is None:
        return [
            _sentence(part.text + part.ranged, _way_on(spec, space, part.advice)) for part in parts
        ]
    return _counted(spec, space, parts, listed)


def _counted(spec: Spec, space: Space, parts: list[_Part], listed: ListedModels) -> list[str]:
    if not listed.repeated:
        return []
    found = [(part, listed.repeated_over(part.field, part.others)) for part in parts]
    sentences = [
        _sentence(part.text, _share(count, listed), _way_on(spec, space, part.advice))
        for part, count in found
        if count
    ]
    together = _sentence(f"space: {_share(listed.repeated, listed)}", _way_on(spec, space))
    return sentences or [together]


def _sentence(*clauses: str) -> str:
    return "; ".join(clause for clause in clauses if clause) + "."


def _share(count: int, listed: ListedModels) -> str:
    return f"{count} of {len(listed)} settings are the same model as another"


def _reductions(spec: Spec) -> Iterator[_Part]:
    names = [str(value) for value in spec.settings["reduction"].bounds]
    beta = spec.settings.get("beta")
    if len(names) < 2:
        return
    if beta is None or beta.unit != "raw":
        unit = "" if beta is None else f", and beta is {_UNITS[beta.unit]}"
        yield _Part(
            field="reduction",
            others=("beta",),
            text=f"space.reduction has {len(names)} values{unit}: each is {_SCALED}",
            advice="beta in unit raw makes them differ" if beta else None,
        )
    elif _is_wide(beta):
        yield _Part(
            field="reduction",
            others=("beta",),
            text="space.beta is in raw units and space.reduction is searched too: a raw weight in "
            "one reduction and another one in the next are the same model",
            ranged=", reached twice",
            advice="search beta in unit canonical instead",
        )
    elif set(_SAME_WEIGHTS) <= set(names):
        yield _Part(
            field="reduction",
            others=("beta",),
            text="space.reduction has 'sum' and 'batch_sum': a raw weight means the same in both, "
            f"and the batch size is {_SCALED}",
            advice="keep one of them",
        )


def _variances(spec: Spec) -> Iterator[_Part]:
    if "gaussian" not in spec.likelihoods or not _is_wide(spec.settings.get("sigma2")):
        return
    for name in _WEIGHTS:
        if _is_wide(spec.settings.get(name)):
            counts = "t = beta sigma2" if name == "beta" else f"the product {name} sigma2"
            yield _Part(
                field="sigma2",
                others=(name,),
                text=f"space.sigma2 and space.{name} are both searched: with a fixed Gaussian "
                f"variance only {counts} counts for the model, though -log p(x) differs",
                advice="fix sigma2, or let it be learned (gaussian_learned)",
            )


def _pairs_of_likelihoods(spec: Spec) -> Iterator[_Part]:
    if {"gaussian", "mse"} <= set(spec.likelihoods):
        yield _Part(
            field="likelihood",
            others=("sigma2", *_WEIGHTS),
            text="space.likelihood has 'gaussian' and 'mse': the second is the first with "
            "sigma2 = 1/2, the same model at the same t = beta sigma2",
            advice="keep one of them",
        )
    if {"bernoulli", "bce"} <= set(spec.likelihoods):
        yield _Part(
            field="likelihood",
            text="space.likelihood has 'bernoulli' and 'bce': on binary data they are the same "
            "loss",
            advice="keep one of them",
        )


def _is_wide(setting: Setting | None) -> bool:
    return setting is not None and not isinstance(setting, Fixed) and setting.size != 1


def _way_on(spec: Spec, space: Space, advice: str | None = None) -> str:
    """What to do about it; `dedupe` finds equal settings only where there is a list of them."""
    on, off = (_DONE, _REMEDY) if is_listed(spec, space) else (_IN_VAIN, "")
    remedy = on if spec.study.dedupe else off
    joint = "; " if spec.study.dedupe else ", or "
    return joint.join(text for text in (advice, remedy) if text)
