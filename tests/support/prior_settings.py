"""What a prior of each name needs in a configuration, for tests that go through all names."""

from typing import Any


def prior_settings(name: str) -> dict[str, Any]:
    """The name, and a scale for the only prior that has no default of its own."""
    return {"prior": name, **({"prior_scale": 1.0} if name == "scaled" else {})}
