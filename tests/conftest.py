"""What all tests share: one CPU thread a process, so that parallel tests do not fight for cores."""

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"
os.environ.pop("RDSWEEP_STORAGE", None)

from hypothesis import settings
from jaxtyping import install_import_hook

settings.register_profile("rdsweep", deadline=None)
settings.load_profile("rdsweep")

TENSOR_MODULES = [
    "aggregate_posterior",
    "bce_floor",
    "bernoulli_likelihood",
    "beta_likelihood",
    "capacity",
    "categorical256",
    "continuous_bernoulli",
    "conv_networks",
    "diagnostics",
    "discretized_logistic",
    "encoding",
    "evaluation",
    "exact_linear",
    "example_terms",
    "free_bits",
    "gaussian_likelihoods",
    "gaussian_optimal",
    "gaussian_pixel",
    "geco",
    "initialisation",
    "iwae",
    "kl",
    "laplace_likelihood",
    "likelihood",
    "likelihoods",
    "linear_networks",
    "minibatch_tc",
    "mixture_distribution",
    "mixture_prior",
    "mlp_networks",
    "mmd",
    "normal_priors",
    "pictures",
    "posterior",
    "posterior_heads",
    "precision",
    "prior",
    "prior_distributions",
    "priors",
    "reconstruction_losses",
    "regulariser",
    "regularisers",
    "resnet_networks",
    "slot",
    "soft_clamp",
    "squashed",
    "tcvae",
    "terms",
    "trainer",
    "unit_activity",
    "vae",
    "vamp_prior",
    "wae_mmd",
]
install_import_hook([f"vae_models.{name}" for name in TENSOR_MODULES], "beartype.beartype")
