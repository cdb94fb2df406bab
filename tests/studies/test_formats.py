"""Trials as text, for people and for programs."""

import csv
import io
import json
import math
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studies.errors import QueryError
from studies.formats import STYLES, columns_of, render_rows
from studies.queries import COLUMNS, DISPLAY_COLUMNS
from studies.records import TrialRecord
from study_examples import new_trial


def trial(number: int = 0, **changes: Any) -> TrialRecord:
    """A trial that has not begun, except for the changes."""
    empty: dict[str, Any] = dict.fromkeys(COLUMNS)
    settings = vars(new_trial(number))
    rest = {
        "study": "digits", "uuid": "u", "state": "queued", "seconds": 0.0, "epoch": 0,
        "attempt": 0, "told": False, "created_at": 0.0,
    }  # fmt: skip
    return TrialRecord(**empty | settings | rest | changes)


TRIALS = [
    trial(7, state="complete", rate_nats=25.628113, mse=0.0123456, collapsed=False, seconds=61.5),
    trial(12, state="failed", beta=1e-5, collapsed=True, error="Traceback:\n  File x\nBoom"),
]


def test_a_table_is_aligned_rounded_and_says_yes_and_no() -> None:
    columns = "number,state,beta,rate_nats,mse,collapsed,seconds"
    assert render_rows(TRIALS, columns=columns) == (
        "number  state          beta  rate_nats      mse  collapsed  seconds\n"
        "------  --------  ---------  ---------  -------  ---------  -------\n"
        "     7  complete      7.500      25.63  0.01235  no           61.50\n"
        "    12  failed    1.000e-05                      yes              0\n"
    )


def test_a_table_shows_the_main_columns_unless_told_otherwise() -> None:
    assert render_rows(TRIALS).split("\n")[0].split() == list(DISPLAY_COLUMNS)


def test_a_table_without_trials_is_its_head() -> None:
    assert render_rows([], columns="number,beta") == "number  beta\n------  ----\n"


def test_a_traceback_takes_one_line_of_a_table_and_cannot_steer_the_terminal() -> None:
    text = render_rows([trial(error="\x1b[31mred\n" + "x" * 100)], columns="error,number")
    line = text.splitlines()[2]
    assert line.startswith(" [31mred xxxx")
    assert "…" in line
    assert len(text.splitlines()) == 3


def test_times_in_a_table_are_dates() -> None:
    text = render_rows([trial(created_at=1_700_000_000.25)], columns="created_at")
    assert text.splitlines()[2] == "2023-11-14 22:13:20"


@given(st.floats(-1e300, 1e300))
def test_a_rounded_number_is_right_to_three_digits_at_least(value: float) -> None:
    shown = float(render_rows([trial(elbo_nats=value)], columns="elbo_nats").splitlines()[2])
    assert math.isclose(shown, value, rel_tol=6e-4)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_csv_json_and_json_lines_keep_every_digit(value: float) -> None:
    trials, column = [trial(elbo_nats=value)], ["elbo_nats"]
    assert float(render_rows(trials, columns=column, style="csv").splitlines()[1]) == value
    assert json.loads(render_rows(trials, columns=column, style="json")) == [{"elbo_nats": value}]
    assert json.loads(render_rows(trials, columns=column, style="jsonl")) == {"elbo_nats": value}


@pytest.mark.parametrize("style", ["json", "jsonl"])
def test_json_holds_every_column_of_every_trial(style: str) -> None:
    text = render_rows(TRIALS, style=style)
    rows = (
        json.loads(text) if style == "json" else [json.loads(line) for line in text.splitlines()]
    )
    assert [list(row) for row in rows] == [list(COLUMNS)] * 2
    assert [TrialRecord(**row) for row in rows] == TRIALS


def test_csv_leaves_missing_values_empty_and_quotes_what_it_must() -> None:
    rows = list(csv.DictReader(io.StringIO(render_rows(TRIALS, style="csv"))))
    assert list(rows[0]) == list(COLUMNS)
    assert (rows[0]["error"], rows[1]["error"]) == ("", TRIALS[1].error)
    assert (rows[0]["collapsed"], rows[1]["collapsed"]) == ("false", "true")
    assert json.loads(rows[0]["config"]) == TRIALS[0].config


def test_json_says_null_where_it_has_no_word() -> None:
    broken = trial(psnr_db=math.inf, parameters={"beta": [math.nan, 1.0]})
    (row,) = json.loads(render_rows([broken], columns="psnr_db,parameters", style="json"))
    assert row == {"psnr_db": None, "parameters": {"beta": [None, 1.0]}}
    assert "inf" in render_rows([broken], columns="psnr_db", style="csv")


def test_documents_are_json_and_an_empty_one_leaves_its_cell_blank() -> None:
    trials = [
        trial(1, weights={"sum": 0.25, "mean": 0.5}, notes=("I saturates.", "β σ²")),
        trial(2, beta=None, weights=None),
    ]
    columns = "number,weights,notes,beta"
    table = render_rows(trials, columns=columns).splitlines()
    assert re.split("  +", table[2].strip()) == [
        "1", '{"sum": 0.25, "mean": 0.5}', '["I saturates.", "β σ²"]', "1.500",
    ]  # fmt: skip
    assert table[3].split() == ["2"]
    rows = list(csv.DictReader(io.StringIO(render_rows(trials, columns=columns, style="csv"))))
    assert json.loads(rows[0]["weights"]) == {"sum": 0.25, "mean": 0.5}
    assert [row["notes"] for row in rows] == ['["I saturates.", "β σ²"]', "[]"]
    assert (rows[1]["beta"], rows[1]["weights"]) == ("", "")
    (_, without) = json.loads(render_rows(trials, columns=columns, style="json"))
    assert without == {"number": 2, "weights": None, "notes": [], "beta": None}


def test_no_trials_are_an_empty_list_a_head_or_nothing() -> None:
    assert json.loads(render_rows([], style="json")) == []
    assert render_rows([], style="jsonl") == ""
    assert render_rows([], columns="number", style="csv") == "number\n"


def test_columns_come_in_the_order_they_were_named_in_once_each() -> None:
    assert columns_of(" mse ,number,mse") == ("mse", "number")
    assert columns_of(["mse", "number"]) == ("mse", "number")


@pytest.mark.parametrize("style", STYLES)
def test_a_column_that_does_not_exist_is_refused_also_without_trials(style: str) -> None:
    with pytest.raises(QueryError, match="got 'rate'; did you mean 'rate_nats'"):
        render_rows([], columns="number,rate", style=style)
    with pytest.raises(QueryError, match="must be names such as `number,beta`, but got ' ,'"):
        render_rows([], columns=" ,", style=style)


def test_a_format_that_does_not_exist_is_refused_with_the_nearest() -> None:
    with pytest.raises(QueryError, match="got 'jsno'; did you mean 'json'"):
        render_rows(TRIALS, style="jsno")


def test_other_alphabets_stay_readable() -> None:
    text = render_rows([replace(TRIALS[0], error="β σ²")], columns="error", style="jsonl")
    assert text == '{"error": "β σ²"}\n'
