"""What a loss is equivalent to, in words."""

import math
from collections.abc import Iterator

from vae_models.code_weight import ADAPTIVE_LIKELIHOODS, CodeWeight
from vae_models.objective import BATCH_REDUCTIONS

__all__ = ["sentences_of"]

_OVERALL_SCALE = (
    "another mode at its own weight differs by a factor on the whole loss alone: the same optimum, "
    "and hardly another step of Adam, but other steps of plain SGD, gradient clipping and L2 decay"
)
_SETTLES = {
    "gaussian_learned": "at the mean squared error per pixel",
    "gaussian_optimal": "at the mean squared error per pixel",
    "gaussian_pixel": "at the expected squared error of each pixel",
}


def sentences_of(
    code: CodeWeight, *, beta: float, t: float | None, beta_norm: float
) -> tuple[str, ...]:
    """What is equivalent to a loss, from the closest statement to the remarks.

    Args:
        code: The loss.
        beta: Its canonical beta.
        t: Its level in squared units of the original data; None where there is none.
        beta_norm: Its normalised beta.
    """
    if beta == 0:
        return ("no KL at all: an autoencoder, whose latents nothing holds to the prior",)
    told = _of_the_rate(code, beta) if t is None else _of_the_level(code, beta, t)
    norm = (
        f"beta_norm = {beta_norm:.6g} is beta·M/N, the normalised beta of the beta-VAE paper: the "
        "weight of a KL averaged over latents beside an NLL averaged over pixels"
    )
    return (*told, norm, *_remarks(code), _OVERALL_SCALE)


def _of_the_level(code: CodeWeight, beta: float, t: float) -> Iterator[str]:
    scaled = code.data_scale != 1
    units = f", in units of the data before their scaling by {code.data_scale:g}" if scaled else ""
    yield (
        f"the same optimum as SE/2 + {t:.6g}·KL: a Gaussian decoder with sigma² = {t:.6g} at "
        f"beta = 1{units}"
    )
    yield (
        f"beta = {beta:.6g} for a Gaussian decoder with sigma² = {code.implied_sigma2:.6g}, "
        f"which is what {_error_term(code)} amounts to"
    )
    yield (
        "in a linear VAE, a latent stays in use only for a principal component of the "
        f"{'unscaled ' if scaled else ''}data with a variance above {t:.6g}"
    )


def _error_term(code: CodeWeight) -> str:
    if code.sigma2 is not None:
        return f"SE/(2·{code.sigma2:.6g})"
    return "a squared error with its ½" if code.half else "a squared error without ½"


def _of_the_rate(code: CodeWeight, beta: float) -> Iterator[str]:
    name = "BCE" if code.likelihood == "bce" else "NLL"
    exact = " (minus the ELBO)" if name == "NLL" and math.isclose(beta, 1, rel_tol=1e-9) else ""
    yield (
        f"the same optimum as {name} + {beta:.6g}·KL{exact}, the {name} in nats summed over the "
        "pixels and the KL summed over the latents"
    )
    yield f"one nat of KL counts as much as {beta:.6g} nats of {name}"


def _remarks(code: CodeWeight) -> Iterator[str]:
    if code.likelihood in ADAPTIVE_LIKELIHOODS:
        yield (
            f"sigma² settles by itself {_SETTLES[code.likelihood]}, whatever the data's scale: "
            "t = beta·sigma² is known after training only"
        )
    if code.likelihood == "laplace":
        yield (
            "the scale of the Laplace decoder settles by itself at the mean absolute error per "
            "pixel, whatever the data's scale (that of a plain L1 loss is fixed at one); it has no t, "
            "which is a matter of squared errors"
        )
    if code.likelihood == "bce":
        yield (
            "BCE is the NLL of a Bernoulli on pixels of zero or one; on grey pixels it is no "
            "likelihood, and beta = 1 is no ELBO"
        )
    if code.reduction in BATCH_REDUCTIONS:
        yield (
            f"the batch size is a part of the weight: at another one than {code.batch}, the same "
            "weight is another model"
        )
