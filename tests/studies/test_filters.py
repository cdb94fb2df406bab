"""The filter language against Python's own evaluation of the same sentence."""

import ast
import re
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from studies.errors import QueryError
from studies.filters import compile_filter

Row = dict[str, Any]
Spellings = tuple[str, str]  # the same sentence in Python, and in our language

TABLE = sa.Table(
    "rows",
    sa.MetaData(),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("beta", sa.Double),
    sa.Column("latent_dim", sa.Integer),
    sa.Column("rate_nats", sa.Double),
    sa.Column("reduction", sa.String(255)),
    sa.Column("collapsed", sa.Boolean),
    sa.Column("told", sa.Boolean),
    sa.Column("config", sa.JSON),
)
COLUMNS = dict(TABLE.c)
POSTGRESQL: sa.Dialect = sa.make_url("postgresql://").get_dialect()()
TEXTS = ["sum", "mean", "it's", 'so "called"', "back\\slash", "and or = <>", ""]
EMPTY: Row = dict.fromkeys(COLUMNS)


@pytest.fixture(scope="module")
def engine() -> Iterator[sa.Engine]:
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    TABLE.create(engine)
    yield engine
    engine.dispose()


def chosen(engine: sa.Engine, text: str, rows: list[Row]) -> set[int]:
    """Return the numbers of the rows that the database chooses."""
    with engine.connect() as connection, connection.begin() as transaction:
        if rows:
            connection.execute(sa.insert(TABLE), [EMPTY | row for row in rows])
        statement = sa.select(TABLE.c.number).where(compile_filter(text, COLUMNS))
        numbers = set(connection.scalars(statement))
        transaction.rollback()
    return numbers


# --- Random sentences -----------------------------------------------------------------------------


def quoted(text: str) -> Spellings:
    return repr(text), "'" + text.replace("'", "''") + "'"


def same(text: str) -> Spellings:
    return text, text


def joined(
    draw: st.DrawFn, left: Spellings, signs: list[Spellings], right: Spellings
) -> Spellings:
    sign = draw(st.sampled_from(signs))
    return f"({left[0]} {sign[0]} {right[0]})", f"({left[1]} {sign[1]} {right[1]})"


COMPARED: list[Spellings] = [
    ("==", "="), ("==", "=="), ("!=", "<>"), ("!=", "!="),
    *[(sign, sign) for sign in ("<", "<=", ">", ">=")],
]  # fmt: skip


@st.composite
def numbers(draw: st.DrawFn, depth: int = 2) -> Spellings:
    if depth == 0 or draw(st.booleans()):
        names = st.sampled_from(["beta", "latent_dim", "rate_nats", "number"])
        return same(draw(st.one_of(names, st.integers(-3, 9).map(str), st.just("2.5e-1"))))
    if draw(st.booleans()):
        divisor = draw(st.sampled_from(["2", "-4", "0.3"]))
        return joined(draw, draw(numbers(depth - 1)), [("/", "/")], same(divisor))
    signs = [("+", "+"), ("-", "-"), ("*", "*")]
    return joined(draw, draw(numbers(depth - 1)), signs, draw(numbers(depth - 1)))


@st.composite
def comparisons(draw: st.DrawFn) -> Spellings:
    match draw(st.integers(0, 5)):
        case 0:
            return joined(draw, draw(numbers()), COMPARED, draw(numbers()))
        case 1:  # chained
            parts = [draw(numbers(1)) for _ in range(3)]
            sign, other = draw(st.tuples(st.sampled_from(COMPARED), st.sampled_from(COMPARED)))
            spelled = [
                f"({parts[0][i]} {sign[i]} {parts[1][i]} {other[i]} {parts[2][i]})" for i in (0, 1)
            ]
            return spelled[0], spelled[1]
        case 2:
            return joined(draw, same("reduction"), COMPARED, quoted(draw(st.sampled_from(TEXTS))))
        case 3:
            texts = [quoted(t) for t in draw(st.lists(st.sampled_from(TEXTS), min_size=1))]
            members = f"({', '.join(t[0] for t in texts)},)", f"({', '.join(t[1] for t in texts)})"
            signs = [("in", "IN"), ("in", "in"), ("not in", "Not In")]
            return joined(draw, same("reduction"), signs, members)
        case 4:
            return same(draw(st.sampled_from(["collapsed", "told", "(collapsed == told)"])))
    column = same(draw(st.sampled_from(["rate_nats", "reduction", "collapsed"])))
    signs = [("is", "is"), ("is", "IS"), ("is not", "is not"), ("is not", "IS NOT")]
    return joined(draw, column, signs, ("None", draw(st.sampled_from(["null", "NULL", "None"]))))


@st.composite
def sentences(draw: st.DrawFn, depth: int = 3) -> Spellings:
    if depth == 0 or draw(st.integers(0, 3)) == 0:
        return draw(comparisons())
    one = draw(sentences(depth - 1))
    if draw(st.integers(0, 2)) == 0:
        return f"(not {one[0]})", f"({draw(st.sampled_from(['not', 'NOT']))} {one[1]})"
    signs = [("and", "AND"), ("and", "and"), ("or", "or"), ("or", "Or")]
    return joined(draw, one, signs, draw(sentences(depth - 1)))


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "beta": st.floats(-5, 5),
    "latent_dim": st.integers(-3, 9),
    "rate_nats": st.one_of(st.integers(-3, 9).map(float), st.floats(-5, 5)),
    "reduction": st.sampled_from(TEXTS),
    "collapsed": st.booleans(),
    "told": st.booleans(),
}
WHOLE_ROWS = st.lists(st.fixed_dictionaries(VALUES), max_size=12)
ROWS_WITH_NULLS = st.lists(
    st.fixed_dictionaries({name: st.none() | value for name, value in VALUES.items()}),
    max_size=12,
)


def numbered(rows: list[Row]) -> list[Row]:
    return [row | {"number": number} for number, row in enumerate(rows)]


@settings(deadline=None, max_examples=200)
@given(sentences(), WHOLE_ROWS.map(numbered))
def test_a_filter_chooses_the_rows_for_which_python_finds_it_true(
    engine: sa.Engine, sentence: Spellings, rows: list[Row]
) -> None:
    python, ours = sentence
    expected = {row["number"] for row in rows if eval(python, {}, row)}
    assert chosen(engine, ours, rows) == expected


@settings(deadline=None, max_examples=200)
@given(sentences(), ROWS_WITH_NULLS.map(numbered))
def test_a_comparison_with_a_missing_value_is_neither_true_nor_false(
    engine: sa.Engine, sentence: Spellings, rows: list[Row]
) -> None:
    python, ours = sentence
    tree = ast.parse(python, mode="eval").body
    expected = {row["number"] for row in rows if three_valued(tree, row) is True}
    assert chosen(engine, ours, rows) == expected


def three_valued(node: ast.expr, row: Row) -> Any:
    """Evaluate by SQL's rules: None is unknown, and spreads unless the other side decides."""
    match node:
        case ast.BoolOp(op=op, values=values):
            decisive = isinstance(op, ast.Or)
            results = [three_valued(value, row) for value in values]
            if decisive in results:
                return decisive
            return None if None in results else not decisive
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            result = three_valued(operand, row)
            return None if result is None else not result
        case ast.Compare(left=left, ops=[ast.Is() | ast.IsNot() as op]):
            return (three_valued(left, row) is None) == isinstance(op, ast.Is)
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            operands = [left, *comparators]
            pairs = [
                strict(ast.Compare(left=a, ops=[op], comparators=[b]), row)
                for a, op, b in zip(operands, ops, operands[1:], strict=False)
            ]
            return False if False in pairs else None if None in pairs else True
    return strict(node, row)


def strict(node: ast.expr, row: Row) -> Any:
    """Evaluate with Python, unless a column in it is missing."""
    names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    if any(row[name] is None for name in names):
        return None
    return eval(ast.unparse(node), {}, row)


# --- Sentences by hand ----------------------------------------------------------------------------

ROWS = [
    {"number": 0, "beta": 0.05, "latent_dim": 2, "reduction": "sum", "collapsed": False},
    {"number": 1, "beta": 0.5, "latent_dim": 8, "reduction": "mean", "collapsed": False},
    {"number": 2, "beta": 4.0, "latent_dim": 8, "reduction": "it's", "collapsed": True},
    {"number": 3, "beta": 9.0, "latent_dim": 0, "reduction": "sum", "collapsed": None},
]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("beta < 1 and reduction = 'sum' and not collapsed", {0}),
        ("0.1 < beta < 5", {1, 2}),
        ('reduction == "it\'s"', {2}),
        ("reduction = 'it''s'", {2}),
        ("reduction in ('sum')", {0, 3}),
        ("reduction in ('sum', 'mean') AND NOT latent_dim IN (2, -1)", {1, 3}),
        ("reduction in ()", set()),
        ("collapsed", {2}),
        ("not collapsed", {0, 1}),
        ("collapsed = true or collapsed IS NULL", {2, 3}),
        ("collapsed is not true", {0, 1, 3}),
        ("collapsed is false", {0, 1}),
        ("(beta < 1) = (latent_dim < 4)", {0, 2}),
        ("true", {0, 1, 2, 3}),
        ("beta / latent_dim > 0.3", {2}),
        ("not beta / latent_dim > 0.3", {0, 1}),  # the division by zero is unknown
        ("latent_dim / 16 = 0.5", {1, 2}),  # no division of integers
        ("beta * 1000000000000 * latent_dim > 1e12", {1, 2}),
        ("-beta < -1", {2, 3}),
        ("beta=4. or(beta=.5)", {1, 2}),
        ("beta > 1e-1 and beta < 9e18 and latent_dim < 99999999999999999999999", {1, 2, 3}),
        ("\n  beta\t>\n 5 ", {3}),
    ],
)
def test_filters_by_hand(engine: sa.Engine, text: str, numbers: set[int]) -> None:
    assert chosen(engine, text, ROWS) == numbers


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "got '': it is empty"),
        ("betta < 1", "A column must exist, but got 'betta'; did you mean 'beta'?"),
        ("Beta < 1", "A column must exist, but got 'Beta'; did you mean 'beta'?"),
        ("qqqq < 1", "A column must exist, but got 'qqqq'; there are number, beta, latent_dim"),
        ("reduction = sum", "A text value stands in quotes: 'sum'."),
        ("reduction in (sum, mean)", "A text value stands in quotes: 'sum'."),
        ("reduction", "reduction is no condition, but a text"),
        ("beta + 1", "beta + 1 is no condition, but a number"),
        ("beta = 'high'", "beta is a number, but 'high' a text"),
        ("collapsed = 1", "collapsed is a boolean, but 1 a number"),
        ("beta in (1, 'high')", "beta is a number, but 'high' a text"),
        ("beta in (latent_dim, 1)", "latent_dim is no number or text; `in` wants a list of them"),
        ("collapsed < told", "collapsed is true or false, which have no order"),
        ("beta = null", "nothing equals null; write `is null` or `is not null`"),
        ("beta is 1", "after `is` comes null, true or false"),
        ("beta is true", "beta is a number, but True a boolean"),
        ("reduction + 1 < 2", "reduction is no number to calculate with"),
        ("config = 'a'", "config is a document, which no filter can compare"),
        ("beta <", "it breaks off"),
        ("beta < 1 and", "it breaks off"),
        ("(beta < 1", "a parenthesis is never closed"),
        ("beta < 1)", "it cannot be read from ')'"),
        ("beta 1", "it cannot be read from '1'"),
        ("beta < 1; drop table rows", "it cannot be read from '; drop table rows'"),
        ("reduction = 'sum", 'it cannot be read from "\'sum"'),
        ("beta < 1abc", "it cannot be read from '1abc'"),
        ("beta ** 2 < 1", "it cannot be read from '* 2 < 1'"),
        ("beta(1) < 1", "'beta(1)' is not part of the language"),
        ("(beta, 1) = 1", "'(beta, 1)' is not part of the language"),
        ("beta // 2 < 1", "it cannot be read from '/ 2 < 1'"),
        ("beta < 1e999", "1e999 is no finite number"),
        ("__import__ = 1", "A column must exist, but got '__import__'"),
        ("lambda = 1", "A column must exist, but got 'lambda'"),
        ("reduction = 'a\x00'", "holds a character that is not printable"),
        ("(" * 250 + "beta" + ")" * 250 + " < 1", "it is nested too deep"),
        ("not " * 100 + "told", "it is nested 102 deep, more than 40"),
        ("told" + " or told" * 600, "it has 1201 words and signs, more than 1000"),
    ],
)
def test_a_filter_that_cannot_be_understood_is_refused_in_one_line(
    text: str, message: str
) -> None:
    with pytest.raises(QueryError, match=re.escape(message)) as caught:
        compile_filter(text, COLUMNS)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 300


@given(st.text(alphabet="beta<=>()'\"+-*/,. 01andorist\n\\", max_size=40))
def test_no_text_whatever_ends_in_another_error(text: str) -> None:
    try:
        condition = compile_filter(text, COLUMNS)
    except QueryError:
        return
    str(condition)


def test_values_travel_as_parameters_never_as_sql() -> None:
    condition = compile_filter("reduction = 'x'' or 1=1 --'", COLUMNS)
    compiled = condition.compile()
    assert "1=1" not in str(compiled)
    assert list(compiled.params.values()) == ["x' or 1=1 --"]


def test_the_longest_filter_is_not_too_deep_for_sqlite(engine: sa.Engine) -> None:
    text = "number = 3" + " or number = 3" * 249
    assert chosen(engine, text, ROWS) == {3}
    assert chosen(engine, "told" + " or told" * 499, ROWS) == set()
    assert chosen(engine, "beta" + " < 1" * 499, ROWS) == set()


def test_filters_compile_for_postgresql_too() -> None:
    condition = compile_filter("collapsed is not true and beta / 0 < 1 and told", COLUMNS)
    sql = str(condition.compile(dialect=POSTGRESQL))
    assert "rows.collapsed IS NOT true" in sql
    assert "nullif(" in sql
    assert "rows.told" in sql
