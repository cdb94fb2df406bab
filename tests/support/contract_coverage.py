"""Which tests inherit a contract, in whichever files of a folder they stand."""

from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TypeVar

_Contract = TypeVar("_Contract")


def inheritors(contract: type[_Contract], folder: Path) -> Iterator[type[_Contract]]:
    """The classes of tests that inherit a contract, from the files that import it."""
    for path in sorted(folder.glob("test_*.py")):
        if f"from {contract.__module__} import" in path.read_text():
            for name, value in vars(_module(path)).items():
                if name.startswith("Test") and issubclass(value, contract):
                    yield value


def _module(path: Path) -> ModuleType:
    spec = spec_from_file_location(f"read_for_its_contracts.{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
