"""The whole report: what is on disk and in the page, at every moment of a study's life."""

import base64
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from PIL import Image
from sqlalchemy import event

from reports.dossier import gather_dossier
from reports.report import write_report
from studies.database import Database
from studies.errors import StudyNotFound
from studies.records import TrialRecord

Store = Callable[..., Database]

NOON = datetime(2030, 1, 2, 12, 0, tzinfo=UTC)
NAMES = (
    "front",
    "settings",
    "hypervolume",
    "training",
    "latents",
    "reconstructions",
    "samples",
    "traversals",
)
_VOID = {"meta", "link", "img", "br", "hr", "input"}


class _Document(HTMLParser):
    """Reads a page, and insists that every element is closed where it was opened."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def attributes(self, *names: str) -> list[str]:
        return [a[name] or "" for _, a in self.elements for name in names if name in a]


def _read(path: Path) -> _Document:
    return _Document(path.read_text(encoding="utf-8"))


def _figures(out: Path) -> set[str]:
    return {path.name for path in (out / "figures").iterdir()}


def _assert_self_contained(path: Path) -> None:
    document = _read(path)
    for address in document.attributes("src", "href", "srcset", "data", "action"):
        kind = address.split(":")[0] if ":" in address else address[0]
        assert kind in {"data", "#", "f"}, address
        if kind == "f":
            assert (path.parent / address).is_file()
    tags = {tag for tag, _ in document.elements}
    assert not tags & {"script", "iframe", "object", "embed", "base"}
    text = path.read_text(encoding="utf-8")
    assert "@import" not in text
    assert "url(" not in text


def test_a_report_is_a_page_that_stands_alone_and_figures_in_three_formats(
    store: Store, curve: list[TrialRecord], tmp_path: Path
) -> None:
    out = tmp_path / "deep" / "out"
    page = write_report(store(curve), "digits-beta", out, generated_at=NOON)
    assert page == out / "report.html"
    assert _figures(out) == {f"{n}.{kind}" for n in NAMES for kind in ("png", "svg", "pdf")}
    _assert_self_contained(page)
    for name in NAMES:
        with Image.open(out / "figures" / f"{name}.png") as image:
            assert min(image.info["dpi"]) >= 200
        svg = ET.parse(out / "figures" / f"{name}.svg").getroot()
        links = [v for e in svg.iter() for k, v in e.attrib.items() if k.endswith("href")]
        assert all(link.startswith(("#", "data:")) for link in links)
        assert (out / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF-")
    images = [a for tag, a in _read(page).elements if tag == "img"]
    assert len(images) == len(NAMES)
    for attributes in images:
        assert len(attributes["alt"] or "") > 20
        ET.fromstring(base64.b64decode((attributes["src"] or "").partition(",")[2]))


def test_the_page_tells_the_numbers_and_where_they_come_from(
    store: Store, curve: list[TrialRecord], tmp_path: Path
) -> None:
    document = _read(write_report(store(curve), "digits-beta", tmp_path, generated_at=NOON))
    text = document.text()
    for part in (
        "digits-beta",
        "2030-01-02 12:00 UTC",
        "12 of 16",
        "1 queued, 1 diverged, 1 failed",
        "0123456789ab ",
        "rdsweep 0.1.0",
        "torch 2.15.0",
        "bernoulli",
        "BCE here is not a likelihood",
        "RuntimeError: out of memory",
        "None of 8 latents is active",
    ):
        assert part in text
    ids = document.attributes("id")
    assert len(ids) == len(set(ids))
    assert {a[1:] for a in document.attributes("href") if a.startswith("#")} <= set(ids)


def test_the_same_database_gives_the_same_bytes(
    store: Store, curve: list[TrialRecord], tmp_path: Path
) -> None:
    database = store(curve)
    contents = []
    for name in ("one", "two"):
        write_report(database, "digits-beta", tmp_path / name, generated_at=NOON)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        contents.append({path.name: path.read_bytes() for path in files})
    assert contents[0] == contents[1]
    assert len(contents[0]) == 25


def test_a_study_without_trials_has_a_report(store: Store, tmp_path: Path) -> None:
    page = write_report(store([]), "digits-beta", tmp_path, generated_at=NOON)
    _assert_self_contained(page)
    assert "none has been suggested yet" in _read(page).text()
    assert _figures(tmp_path) == {"front.png", "front.svg", "front.pdf"}


def test_a_study_that_only_runs_has_a_report(
    store: Store, curve: list[TrialRecord], tmp_path: Path
) -> None:
    running = [replace(trial, state="running") for trial in curve[:3]]
    text = _read(write_report(store(running), "digits-beta", tmp_path, generated_at=NOON)).text()
    assert "3 running" in text
    assert "The sweep has not finished" in text


def test_one_complete_trial_has_every_figure(
    store: Store, curve: list[TrialRecord], tmp_path: Path
) -> None:
    first = replace(curve[4], number=0)
    page = write_report(store([first]), "digits-beta", tmp_path, generated_at=NOON)
    assert {name.split(".")[0] for name in _figures(tmp_path)} == {*NAMES} - {"settings"}
    assert "1 of 16" in _read(page).text()


def test_data_that_are_no_images_have_no_pictures(
    store: Store, curve: list[TrialRecord], tmp_path: Path
) -> None:
    trials = [replace(trial, psnr_db=None) for trial in curve]
    data = {"name": "gaussian", "binarisation": "none"}
    spec = {"data": {"name": "gaussian", "spectrum": [0.5, 5.0, 3.0]}}
    page = write_report(
        store(trials, images=False, data=data, spec=spec),
        "digits-beta",
        tmp_path,
        generated_at=NOON,
    )
    assert not any(name.startswith(("reconstructions", "samples")) for name in _figures(tmp_path))
    assert "No front trial has stored pictures" in _read(page).text()
    assert "Shannon bound of this Gaussian source" in _read(page).text()


def test_a_figure_that_cannot_be_drawn_any_more_does_not_stay_behind(
    store: Store, curve: list[TrialRecord], tmp_path: Path
) -> None:
    write_report(store(curve[:2]), "digits-beta", tmp_path, generated_at=NOON)
    write_report(store([]), "digits-beta", tmp_path, generated_at=NOON)
    assert _figures(tmp_path) == {"front.png", "front.svg", "front.pdf"}


def test_a_study_in_nats_of_two_likelihoods_says_why_it_has_no_front(
    store: Store, curve: list[TrialRecord], tmp_path: Path
) -> None:
    trials = [curve[0], replace(curve[1], likelihood="gaussian")]
    page = write_report(
        store(trials, distortion="nll"), "digits-beta", tmp_path, generated_at=NOON
    )
    assert "bernoulli and gaussian" in _read(page).text()
    assert not any(name.startswith(("front", "hypervolume")) for name in _figures(tmp_path))


@pytest.mark.parametrize(
    ("data", "noted"),
    [
        ({"name": "digits", "binarisation": "none"}, True),
        ({"name": "digits", "binarisation": "threshold"}, False),
        ({"name": "sprites", "binarisation": "none"}, False),
    ],
)
def test_cross_entropy_of_grey_pixels_is_called_no_likelihood(
    data: dict[str, Any], noted: bool, store: Store, curve: list[TrialRecord], tmp_path: Path
) -> None:
    queued = [replace(curve[0], state="queued")]
    page = write_report(store(queued, data=data), "digits-beta", tmp_path, generated_at=NOON)
    assert ("BCE here is not a likelihood" in _read(page).text()) == noted


def test_hostile_strings_stay_text_on_the_page_and_in_the_figures(
    store: Store, curve: list[TrialRecord], tmp_path: Path
) -> None:
    evil = '</pre><script>alert("$x_{1}$ & \u2603")</script>'
    trials = [
        replace(trial, error=trial.error and f"{evil}\n{evil}", annealing=evil, likelihood=evil)
        for trial in curve
    ]
    trials[1] = replace(trials[1], reduction=r"$\frac{</svg>", config={"model": {"family": evil}})
    data = {"name": evil, "checksum": evil, "binarisation": evil, "image_shape": [evil]}
    database = store(trials, name=evil, data=data, packages={evil: evil})
    page = write_report(database, evil, tmp_path, generated_at=NOON)
    _assert_self_contained(page)
    document = _read(page)
    assert document.text().count('</pre><script>alert("$x_{1}$ & \u2603")</script>') > 10
    for name in NAMES:
        ET.parse(tmp_path / "figures" / f"{name}.svg")


@contextmanager
def _counted(database: Database) -> Iterator[list[str]]:
    statements: list[str] = []

    def note(_c: Any, _u: Any, statement: str, *_: Any) -> None:
        if statement.lstrip().upper().startswith("SELECT"):
            statements.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    yield statements
    event.remove(database.engine, "before_cursor_execute", note)


def test_more_trials_take_no_more_statements(store: Store, curve: list[TrialRecord]) -> None:
    counts = []
    for trials in (curve[:3], curve):
        with _counted(database := store(trials)) as statements:
            statements.clear()
            gather_dossier(database, "digits-beta")
        counts.append(len(statements))
    assert counts[0] == counts[1] <= 15


def test_an_unknown_study_is_refused_before_anything_is_written(
    store: Store, tmp_path: Path
) -> None:
    with pytest.raises(StudyNotFound, match="did you mean 'digits-beta'"):
        write_report(store([]), "digits-betta", tmp_path / "out", generated_at=NOON)
    assert not (tmp_path / "out").exists()


def test_reports_load_neither_torch_nor_the_state_of_pyplot() -> None:
    code = "import sys, reports.report; print({'torch', 'optuna', 'matplotlib.pyplot'} & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"
