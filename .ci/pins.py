"""Writes the newest versions that fit together into [tool.uv] constraint-dependencies."""

import re
import subprocess
import sys
from pathlib import Path

PROJECT = Path("pyproject.toml")
BLOCK = re.compile(r"(?<=constraint-dependencies = \[\n).*?(?=^\])", re.DOTALL | re.MULTILINE)


def main() -> None:
    """Resolves without the old pins and keeps the rest of pyproject.toml as it is."""
    text = PROJECT.read_text(encoding="utf-8")
    PROJECT.write_text(BLOCK.sub("", text), encoding="utf-8")
    command = ".uv/bin/uv pip compile --quiet --no-header --no-annotate --universal"
    command += f" --python-version 3.11 --all-extras --group dev --group bench {PROJECT}"
    try:
        resolved = subprocess.run(
            command.split(), check=True, capture_output=True, text=True
        ).stdout
    except subprocess.CalledProcessError as error:
        PROJECT.write_text(text, encoding="utf-8")
        sys.exit(error.stderr)
    pins = "".join(f'    "{line}",\n' for line in resolved.splitlines() if "==" in line)
    PROJECT.write_text(BLOCK.sub(lambda _: pins, text), encoding="utf-8")


if __name__ == "__main__":
    main()
