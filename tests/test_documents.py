"""The commands and programs in the documents run as they stand."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(sh|python|toml)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(document: Path) -> list[tuple[str, str]]:
    return [(kind, text) for kind, text in BLOCK.findall(document.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_examples_of_a_document_run_in_order_in_an_empty_folder(
    document: Path, tmp_path: Path
) -> None:
    """`sh` and `python` blocks run; a `toml` block is a spec that loads."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    command = f"{Path(sys.executable).parent}/rdsweep"
    for kind, text in blocks(document):
        if kind == "sh":
            arguments = [
                "bash",
                "-euo",
                "pipefail",
                "-c",
                f'rdsweep() {{ {command} "$@"; }}\n{text}',
            ]
        elif kind == "python":
            arguments = [sys.executable, "-c", text]
        else:
            (tmp_path / "block.toml").write_text(text)
            program = "from sweeps.spec import load_spec; load_spec('block.toml', [])"
            arguments = [sys.executable, "-c", program]
        done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"


def test_every_link_of_the_documents_leads_to_a_file() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name}: {target}"
