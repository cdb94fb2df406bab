"""The filter language of ``--where``: comparisons over a trial's columns, compiled to SQL.

    beta < 1 and reduction = 'sum' and not collapsed
    0.1 <= beta < 1 or state in ('diverged', 'failed')
    rate_nats + distortion_nll_nats < 110 and psnr_db is not null

It reads like Python and like SQL: ``=`` is ``==``, ``<>`` is ``!=``, ``null`` is ``None``, and words
are keywords in any case. There are comparisons (chained ones too), ``in``, ``is null``, ``and``,
``or``, ``not``, parentheses, and ``+ - * /`` on numbers; nothing else, so that a filter can only
ever choose rows. A missing value follows SQL's rule: a comparison with it is never true, nor is
the comparison's ``not``. So does a division by zero.

Texts stand in single or double quotes; a doubled quote in them is one quote, and a backslash is a
backslash.
"""

import ast
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, final

import sqlalchemy as sa
from sqlalchemy.sql import ColumnElement

from studies.errors import QueryError

Kind = Literal["number", "text", "boolean", "null"]
Comparison = Callable[[Any, Any], ColumnElement[bool]]

MAX_DEPTH = 40
MAX_TOKENS = 1_000
"""SQLite refuses expressions that are nested 1000 deep, and a long `or` is such an expression."""

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number> (?: [0-9]+ (?:\.[0-9]*)? | \.[0-9]+ ) (?:[eE][+-]?[0-9]+)? (?!\w) )
      | (?P<name>   [^\W\d]\w* )
      | (?P<text>   '(?:[^']|'')*' | "(?:[^"]|"")*" )
      | (?P<sign>   <> | [<>=!]= | [-<>=+*/(),] )
    )""",
    re.VERBOSE,
)
_KEYWORDS = {
    "and": "and", "or": "or", "not": "not", "in": "in", "is": "is",
    "null": "None", "none": "None", "true": "True", "false": "False",
}  # fmt: skip
_KINDS: dict[type, Kind] = {int: "number", float: "number", str: "text", bool: "boolean"}
_SIGNS = {"=": "==", "<>": "!="}

_COMPARISONS: dict[type[ast.cmpop], Comparison] = {
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], ColumnElement[float]]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / sa.func.nullif(b, sa.cast(0.0, sa.Double)),
}


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Value:
    """A part of a filter that has a value in each row, and what kind of value."""

    sql: ColumnElement[Any]
    kind: Kind


def compile_filter(text: str, columns: Mapping[str, ColumnElement[Any]]) -> ColumnElement[bool]:
    """Return the SQL condition that a filter describes.

    Args:
        text: The filter.
        columns: What may be named in it; other names are refused, with the nearest of these.

    Raises:
        QueryError: If the filter cannot be read; one line that says what must hold.
    """
    return _Compiler(text=text, columns=columns).condition(_parse(text, columns))


def unknown_column(name: str, columns: Iterable[str]) -> QueryError:
    """Return the error for a column that does not exist, with the nearest that does."""
    hint = nearest_name(name, columns) or f"there are {', '.join(columns)}."
    return QueryError(f"A column must exist, but got {name!r}; {hint}")


def nearest_name(name: str, names: Iterable[str]) -> str:
    """Return the question whether the nearest of some names was meant, or nothing.

    A name that continues or contains what was written is nearer than one that resembles it.
    """
    names, wanted = tuple(names), name.lower()
    longer = [other for other in names if len(wanted) > 1 and wanted in other]
    longer.sort(key=lambda other: not other.startswith(wanted))
    nearest = longer or get_close_matches(wanted, names, n=1, cutoff=0.5)
    return f"did you mean {nearest[0]!r}?" if nearest else ""


def kind_of(column: ColumnElement[Any]) -> Kind | None:
    """Return what a column's values are; None for documents, which cannot be compared."""
    declared = column.type
    if isinstance(declared, sa.TypeDecorator):  # a type of ours, around one of SQL's
        declared = declared.impl_instance
    return _KINDS.get(declared.python_type)


# --- From text to a Python expression -------------------------------------------------------------


def _parse(text: str, columns: Mapping[str, object]) -> ast.expr:
    """Return the syntax tree of the filter, after its SQL words are made Python's."""
    if not text.strip():
        raise _refusal(text, "it is empty")
    tokens = _tokens(text, columns)
    if len(tokens) > MAX_TOKENS:
        raise _refusal(text, f"it has {len(tokens)} words and signs, more than {MAX_TOKENS}")
    source = " ".join(tokens)
    try:
        tree = ast.parse(source, mode="eval").body
        depth = _depth(tree)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise _refusal(text, _reason(error, source)) from error
    if depth > MAX_DEPTH:
        raise _refusal(text, f"it is nested {depth} deep, more than {MAX_DEPTH}")
    return tree


def _tokens(text: str, columns: Mapping[str, object]) -> list[str]:
    """Return the filter's words and signs as Python writes them."""
    tokens, position, end = [], 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            raise _refusal(text, f"it cannot be read from {_shortened(text[position:].strip())!r}")
        tokens.append(_python_token(match, text, columns))
        position = match.end()
    return tokens


def _python_token(match: re.Match[str], text: str, columns: Mapping[str, object]) -> str:
    token = match[0].strip()
    if match["number"]:
        return repr(_number(token, text))
    if match["text"]:
        if not token.isprintable():
            raise _refusal(text, f"{_shortened(token)!r} holds a character that is not printable")
        quote = token[0]
        return repr(token[1:-1].replace(quote * 2, quote))
    if match["name"]:
        return _python_name(token, text, columns)
    return _SIGNS.get(token, token)


def _python_name(token: str, text: str, columns: Mapping[str, object]) -> str:
    if token in columns:
        return token
    if token.lower() in _KEYWORDS:
        return _KEYWORDS[token.lower()]
    error = unknown_column(token, columns)
    if re.search(rf"(=|<>|\bin\b.*)\s*{re.escape(token)}\b", text, re.IGNORECASE):
        raise QueryError(f"{error} A text value stands in quotes: '{token}'.")
    raise error


def _number(token: str, text: str) -> float:
    """Return an integer if SQL's integers can hold it, else a float."""
    if token.isdecimal() and len(token) < 19:  # below 2⁶³
        return int(token)
    if not math.isfinite(float(token)):
        raise _refusal(text, f"{_shortened(token)} is no finite number")
    return float(token)


def _depth(tree: ast.AST) -> int:
    level, depth = [tree], 0
    while level:
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        depth += 1
    return depth


def _reason(error: BaseException, source: str) -> str:
    if not isinstance(error, SyntaxError) or "nested" in str(error.msg):
        return "it is nested too deep"
    if "never closed" in error.msg:
        return "a parenthesis is never closed"
    rest = source[error.offset - 1 :].strip() if error.offset else ""
    return f"it cannot be read from {_shortened(rest)!r}" if rest else "it breaks off"


def _refusal(text: str, reason: str) -> QueryError:
    return QueryError(
        "A filter must be comparisons such as `beta < 1 and reduction = 'sum'`, but got "
        f"{_shortened(text)!r}: {reason}."
    )


def _shortened(text: str, width: int = 60) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


# --- From the expression to SQL -------------------------------------------------------------------


@final
@dataclass(frozen=True, kw_only=True)
class _Compiler:
    """Turns the nodes of the syntax tree that the language has into SQL, and refuses the others."""

    text: str
    columns: Mapping[str, ColumnElement[Any]]

    def condition(self, node: ast.expr) -> ColumnElement[bool]:
        match node:
            case ast.BoolOp(op=ast.And(), values=values):
                return sa.and_(*map(self.condition, values))
            case ast.BoolOp(op=ast.Or(), values=values):
                return sa.or_(*map(self.condition, values))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return sa.not_(self.condition(operand))
            case ast.Compare():
                return self.comparisons(node)
        value = self.value(node)
        if value.kind != "boolean":
            raise self.refusal(f"{ast.unparse(node)} is no condition, but a {value.kind}")
        return value.sql

    def comparisons(self, node: ast.Compare) -> ColumnElement[bool]:
        """Return ``a < b < c`` as ``a < b and b < c``."""
        operands = [node.left, *node.comparators]
        return sa.and_(
            *[
                self.comparison(left, sign, right)
                for left, sign, right in zip(operands, node.ops, operands[1:], strict=False)
            ]
        )

    def comparison(self, left: ast.expr, sign: ast.cmpop, right: ast.expr) -> ColumnElement[bool]:
        match sign:
            case ast.In():
                return self.membership(left, right)
            case ast.NotIn():
                return sa.not_(self.membership(left, right))
            case ast.Is():
                return self.identity(left, right)
            case ast.IsNot():
                return sa.not_(self.identity(left, right))
        one, other = self.value(left), self.value(right)
        if "null" in (one.kind, other.kind):
            raise self.refusal("nothing equals null; write `is null` or `is not null`")
        self.check_kinds(left, one, right, other)
        if one.kind == "boolean" and not isinstance(sign, ast.Eq | ast.NotEq):
            raise self.refusal(f"{ast.unparse(left)} is true or false, which have no order")
        return _COMPARISONS[type(sign)](one.sql, other.sql)

    def membership(self, left: ast.expr, right: ast.expr) -> ColumnElement[bool]:
        one = self.value(left)
        members = right.elts if isinstance(right, ast.Tuple) else [right]
        others = [self.value(member) for member in members]
        for member, other in zip(members, others, strict=True):
            if not _is_constant(member):
                raise self.refusal(
                    f"{ast.unparse(member)} is no number or text; `in` wants a list of them"
                )
            self.check_kinds(left, one, member, other)
        return one.sql.in_([other.sql for other in others])

    def identity(self, left: ast.expr, right: ast.expr) -> ColumnElement[bool]:
        one, other = self.value(left), self.value(right)
        if not isinstance(right, ast.Constant) or other.kind not in ("null", "boolean"):
            raise self.refusal("after `is` comes null, true or false")
        if other.kind == "boolean":
            self.check_kinds(left, one, right, other)
        return one.sql.is_(other.sql)

    def value(self, node: ast.expr) -> Value:
        match node:
            case ast.Name(id=name):
                kind = kind_of(self.columns[name])
                if kind is None:
                    raise self.refusal(f"{name} is a document, which no filter can compare")
                return Value(sql=self.columns[name], kind=kind)
            case ast.Constant(value=constant):
                return _constant(constant)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return Value(sql=-self.number(operand), kind="number")
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return Value(sql=self.number(operand), kind="number")
            case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _ARITHMETIC:
                result = _ARITHMETIC[type(sign)](self.number(left), self.number(right))
                return Value(sql=result, kind="number")
            case ast.BoolOp() | ast.Compare() | ast.UnaryOp(op=ast.Not()):
                return Value(sql=self.condition(node), kind="boolean")
        raise self.refusal(f"{_shortened(ast.unparse(node))!r} is not part of the language")

    def number(self, node: ast.expr) -> ColumnElement[float]:
        """Return an operand as a double, so that no database divides or overflows as integers."""
        value = self.value(node)
        if value.kind != "number":
            raise self.refusal(f"{ast.unparse(node)} is no number to calculate with")
        return sa.cast(value.sql, sa.Double)

    def check_kinds(self, left: ast.expr, one: Value, right: ast.expr, other: Value) -> None:
        if one.kind != other.kind:
            raise self.refusal(
                f"{ast.unparse(left)} is a {one.kind}, but {ast.unparse(right)} a {other.kind}"
            )

    def refusal(self, reason: str) -> QueryError:
        return _refusal(self.text, reason)


def _is_constant(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        return _is_constant(node.operand)
    return isinstance(node, ast.Constant)


def _constant(value: object) -> Value:
    """Return a value that stands in the filter itself; numbers and texts become parameters."""
    match value:
        case None:
            return Value(sql=sa.null(), kind="null")
        case bool():
            return Value(sql=sa.true() if value else sa.false(), kind="boolean")
        case str():
            return Value(sql=sa.literal(value, sa.String), kind="text")
    kind = sa.BigInteger if isinstance(value, int) else sa.Double
    return Value(sql=sa.literal(value, kind), kind="number")
