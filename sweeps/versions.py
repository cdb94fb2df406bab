"""Which code and packages made a number."""

import platform
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("rdsweep", "torch", "torchvision", "optuna", "sqlalchemy", "numpy", "scikit-learn")


def code_version() -> str:
    """Rdsweep's own version, "unknown" where it runs without being installed."""
    return package_versions()["rdsweep"]


def package_versions() -> dict[str, str]:
    """The version of Python and of each package that can move a number."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "unknown"
    return versions
