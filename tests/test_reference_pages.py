"""The pages that list settings and columns list all of them, and links lead somewhere."""

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

import pytest

from rdsweep_command import Rdsweep
from studies.queries import COLUMNS, DISPLAY_COLUMNS
from sweeps.fields import FIELDS
from sweeps.spec_sections import SAMPLERS
from vae_models.config import (
    FAMILIES,
    LIKELIHOODS,
    POSTERIORS,
    PRIORS,
    REGULARISERS,
    SCHEDULES,
)
from vae_models.evaluation_config import EvaluationConfig
from vae_models.objective import REDUCTIONS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
LINKING = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md"), *ROOT.glob("examples/*.md")])
ROWS: Mapping[str, tuple[str, ...]] = {
    "likelihood": LIKELIHOODS,
    "regulariser": REGULARISERS,
    "annealing": SCHEDULES,
    "prior": PRIORS,
    "posterior": POSTERIORS,
    "family": FAMILIES,
}
"""The tables of the page on settings: what stands in their first column."""

_BLOCKS = re.DOTALL | re.MULTILINE


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def rows_under(text: str, head: str) -> dict[str, str]:
    """The rows of the table whose first column has this head, by their own first words."""
    table = re.search(rf"^\| `?{head}`? \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert table, f"there must be a table with the column {head}"
    lines = table[1].splitlines()
    return {line.split("|")[1].strip(" `").partition("`")[0]: line for line in lines}


def code_of(text: str) -> set[str]:
    """Every word in backticks, outside blocks."""
    bare = re.sub(r"^```.*?^```", "", text, flags=_BLOCKS)
    spans = re.findall(r"`([^`]+)`", bare)
    return {word for span in spans for word in re.findall(r"\w+", span)}


@pytest.mark.parametrize("head", ROWS)
def test_a_table_of_settings_has_a_row_for_each_name(head: str) -> None:
    assert sorted(rows_under(page("settings.md"), head)) == sorted(ROWS[head])


def test_the_table_of_reductions_has_a_row_for_each() -> None:
    assert sorted(rows_under(page("launch.md"), "reduction")) == sorted(REDUCTIONS)


def test_every_field_of_a_trial_is_explained() -> None:
    known = code_of(page("settings.md")) | code_of(page("launch.md"))
    assert [name for name in FIELDS if name not in known] == []


@pytest.mark.parametrize("name", [n for n, field in FIELDS.items() if field.condition])
def test_a_parameter_stands_in_the_row_of_each_setting_that_reads_it(name: str) -> None:
    """But for those that a sentence below the table gives to many rows."""
    condition = FIELDS[name].condition
    assert condition is not None
    if name in ("output_activation", "annealing_unit"):
        return
    rows = rows_under(page("settings.md"), condition.field)
    readers = {value for value, row in rows.items() if _names(row, name)}
    assert readers == set(condition.values)


def _names(row: str, parameter: str) -> bool:
    """Whether its third column names the parameter."""
    cell = row.replace(r"\|", " ").split("|")[3]
    return bool(re.search(rf"\b{'β' if parameter == 'beta' else parameter}\b", cell))


def test_every_key_of_the_evaluation_is_explained() -> None:
    assert rows_under(page("launch.md"), "key").keys() == EvaluationConfig().to_dict().keys()


def test_every_sampler_is_named() -> None:
    assert [name for name in SAMPLERS if name not in code_of(page("launch.md"))] == []


def test_every_column_of_a_query_is_explained() -> None:
    text = page("query.md").partition("## Columns")[2].partition("## Conditions")[0]
    assert [name for name in COLUMNS if name not in code_of(text)] == []


def test_the_columns_that_a_table_shows_are_marked() -> None:
    marked = re.findall(r"`(\w+)` ·", page("query.md"))
    assert sorted(marked) == sorted(DISPLAY_COLUMNS)


@pytest.mark.parametrize("command", ["convert", "suggest"])
def test_what_a_page_says_that_a_command_prints_is_what_it_prints(
    command: str, tmp_path: Path
) -> None:
    block = rf"^```sh\nrdsweep ({command} [^\n]*)\n```\n\n```text\n(.*?)```"
    shown = re.search(block, page("launch.md"), _BLOCKS)
    assert shown, f"the page must show what {command} prints"
    rdsweep = Rdsweep(tmp_path)
    rdsweep("init", "sweep.toml")
    assert rdsweep(*shown[1].split()).stdout == shown[2]


def anchors_of(text: str) -> set[str]:
    """The anchors of the headings, as GitHub makes them."""
    titles = re.findall(
        r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=_BLOCKS), re.MULTILINE
    )
    bare = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title).lower() for title in titles)
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in bare}


@pytest.mark.parametrize("document", LINKING, ids=lambda path: path.name)
def test_every_link_to_a_place_in_a_page_leads_to_a_heading(document: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", document.read_text("utf-8")):
        place = document.parent / target if target else document
        assert anchor in anchors_of(place.read_text("utf-8")), f"{target}#{anchor}"


@pytest.mark.parametrize("document", LINKING, ids=lambda path: path.name)
def test_every_link_of_a_page_leads_to_a_file(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text("utf-8")):
        if "://" not in target:
            assert (document.parent / unquote(target)).exists(), target
