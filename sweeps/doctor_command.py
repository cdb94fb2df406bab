"""``rdsweep doctor``: what is wrong with a database and its studies, and what to do about it."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sweeps.command_options import Storage

if TYPE_CHECKING:
    from sweeps.findings import Finding

__all__ = ["doctor"]

Study = Annotated[str | None, typer.Argument(metavar="[STUDY]", help="Only this study.")]
Fix = Annotated[
    bool, typer.Option("--fix", help="Repair what can be repaired without losing anything.")
]
Deep = Annotated[
    bool, typer.Option("--deep", help="Read every stored file, and compare its checksum.")
]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


def doctor(
    study: Study = None,
    storage: Storage = None,
    fix: Fix = False,
    deep: Deep = False,
    as_json: AsJson = False,
) -> None:
    """Check a database, its studies and their files; exit status 1 if problems remain."""
    from sweeps.doctor import examine
    from sweeps.storage import storage_url

    found = []
    for finding in examine(storage_url(storage), study, fix=fix, deep=deep):
        found.append(finding)
        if not as_json:
            typer.echo(_line(finding))
    problems = sum(finding.level == "problem" for finding in found)
    if as_json:
        typer.echo(json.dumps([_object(each) for each in found], ensure_ascii=False, indent=2))
    else:
        typer.echo(_conclusion(found, problems))
    raise typer.Exit(1 if problems else 0)


def _line(finding: "Finding") -> str:
    label = "fixed" if finding.fixed else finding.level
    study = f"{finding.study}: " if finding.study else ""
    text = finding.fixed or finding.message
    remedy = f" → {finding.remedy}" if finding.remedy and not finding.fixed else ""
    return f"{label:<7}  {finding.check:<11}  {study}{text}{remedy}"


def _conclusion(found: "list[Finding]", problems: int) -> str:
    notes = sum(finding.level == "note" for finding in found)
    if not problems and not notes:
        return "all is well"
    counted = [(problems, "problem"), (notes, "note")]
    return ", ".join(f"{n} {name}{'s' if n > 1 else ''}" for n, name in counted if n)


def _object(finding: "Finding") -> dict[str, Any]:
    names = ("check", "level", "study", "message", "remedy", "fixed")
    return {name: getattr(finding, name) for name in names}
