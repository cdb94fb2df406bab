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
    "conv_networks",
    "evaluation",
    "likelihoods",
    "linear_networks",
    "mlp_networks",
    "posterior",
    "slot",
    "soft_clamp",
    "trainer",
    "vae",
]
install_import_hook([f"vae_models.{name}" for name in TENSOR_MODULES], "beartype.beartype")
