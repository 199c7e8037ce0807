r"""Filters: a subset of AIP-160, parsed, checked, evaluated and translated.

    filter     = and_or
    and_or     = not { "AND" not } | not { "OR" not }
    not        = { "NOT" } primary
    primary    = "(" and_or ")" | field operator literal
    operator   = "=" | "!=" | "<" | "<=" | ">" | ">=" | ":"
    literal    = quoted | bare

AND and OR do not mix without parentheses: AIP-160 and SQL bind them the other way round, and a
reader of either must not be surprised. `:` means "has": `field:*` is true where the field is set,
`text_field:"Spring*"` where it begins so. Quoted text takes the escapes `\"`, `\'`, `\\`, `\*`.

A comparison with an unset field is false, whatever the operator, and NOT of it is true.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from enum import Enum
from typing import Final, assert_never
from uuid import UUID

from liftos_kit.core.errors import FilterError

MAXIMUM_CHARACTERS: Final = 2_000
MAXIMUM_DEPTH: Final = 32
MAXIMUM_TERMS: Final = 100

_INT64: Final = range(-(2**63), 2**63)

Value = str | int | float | bool | date


class FieldType(Enum):
    """What a field holds, which decides its operators and literals."""

    TEXT = "text"
    INTEGER = "integer"
    REAL = "real"
    BOOLEAN = "boolean"
    DATE = "date"
    ENUM = "enum"
    UUID = "uuid"  # in filters also the resource name that ends in it; in terms its text


@dataclass(frozen=True, slots=True)
class FilterField:
    """A field that filters may use.

    Attributes:
        type: What it holds.
        values: The allowed literals of an ENUM.
    """

    type: FieldType
    values: tuple[str, ...] = ()


class Operator(Enum):
    """How a field is compared with a literal."""

    EQUAL = "="
    NOT_EQUAL = "!="
    LESS = "<"
    LESS_OR_EQUAL = "<="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="


@dataclass(frozen=True, slots=True)
class Comparison:
    """`field operator value`; text compares by code point."""

    field: str
    operator: Operator
    value: Value


@dataclass(frozen=True, slots=True)
class Prefix:
    """`field:"prefix*"`."""

    field: str
    prefix: str


@dataclass(frozen=True, slots=True)
class Present:
    """`field:*`, true where the field is set."""

    field: str


@dataclass(frozen=True, slots=True)
class Not:
    """True where the term is not."""

    term: "Filter"


@dataclass(frozen=True, slots=True)
class And:
    """True where all terms are; at least two."""

    terms: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """True where any term is; at least two."""

    terms: tuple["Filter", ...]


Filter = Comparison | Prefix | Present | Not | And | Or


def parse_filter(text: str, schema: Mapping[str, FilterField]) -> Filter | None:
    """Read a filter and check it against the fields it may use.

    Args:
        text: The filter; only blanks means no filter.
        schema: The fields, by name.

    Returns:
        The filter, or None where there is none.

    Raises:
        FilterError: The text is no filter, too long, too deep, has too many terms, names an
            unknown field, or compares one with a literal of another type.
    """
    if len(text) > MAXIMUM_CHARACTERS:
        raise FilterError(
            f"the filter has {len(text)} characters; write at most {MAXIMUM_CHARACTERS}",
            position=MAXIMUM_CHARACTERS,
        )
    tokens = _tokens(text)
    if tokens[0].kind is _Kind.END:
        return None
    return _Parser(tokens, schema).parse()


def format_filter(term: Filter) -> str:
    """Return the text of a filter; `parse_filter` reads it back as the same filter."""
    match term:
        case Comparison(field, operator, value):
            return f"{field}{operator.value}{_format_literal(value)}"
        case Prefix(field, prefix):
            return f'{field}:"{_escape(prefix)}*"'
        case Present(field):
            return f"{field}:*"
        case Not(inner):
            return f"NOT {_format_operand(inner)}"
        case And(terms):
            return " AND ".join(map(_format_operand, terms))
        case Or(terms):
            return " OR ".join(map(_format_operand, terms))
        case _:
            assert_never(term)


def evaluate(term: Filter | None, row: Mapping[str, Value | None]) -> bool:
    """Tell whether a row passes; a field that is absent or None is unset."""
    match term:
        case None:
            return True
        case Comparison(field, operator, value):
            found = row.get(field)
            return found is not None and _COMPARE[operator](found, value)
        case Prefix(field, prefix):
            found = row.get(field)
            return isinstance(found, str) and found.startswith(prefix)
        case Present(field):
            return row.get(field) is not None
        case Not(inner):
            return not evaluate(inner, row)
        case And(terms) | Or(terms):
            holds = all if isinstance(term, And) else any
            return holds(evaluate(inner, row) for inner in terms)
        case _:
            assert_never(term)


def to_sql(
    term: Filter | None, *, columns: Mapping[str, str], first_parameter: int
) -> tuple[str, list[object]]:
    """Translate a filter to a Postgres condition for WHERE or FILTER.

    Literals become parameters, never text. In the condition null stands for false, as those
    clauses take it, and `NOT coalesce(…, false)` keeps NOT two-valued.

    Args:
        term: The filter; None is always true.
        columns: SQL expression of each field.
        first_parameter: Number of the first parameter, as 3 for `$3`.

    Returns:
        The condition and its parameters.
    """
    parameters: list[object] = []

    def parameter(value: Value) -> str:
        parameters.append(value)
        return f"${first_parameter + len(parameters) - 1}::{_sql_type(value)}"

    def condition(term: Filter) -> str:
        match term:
            case Comparison(field, operator, value):
                column = columns[field]
                if isinstance(value, str) and operator not in _EQUALITIES:
                    # Byte order of UTF-8 is code point order, as in `evaluate`.
                    column = f'{column} COLLATE "C"'
                return f"{column} {_SQL_OPERATOR[operator]} {parameter(value)}"
            case Prefix(field, prefix):
                return f"starts_with({columns[field]}, {parameter(prefix)})"
            case Present(field):
                return f"{columns[field]} IS NOT NULL"
            case Not(inner):
                return f"NOT coalesce({condition(inner)}, false)"
            case And(terms):
                return f"({' AND '.join(map(condition, terms))})"
            case Or(terms):
                return f"({' OR '.join(map(condition, terms))})"
            case _:
                assert_never(term)

    return ("true" if term is None else condition(term)), parameters


def to_milvus(term: Filter | None, *, fields: Mapping[str, str]) -> str:
    """Translate a filter to a Milvus boolean expression; empty where there is none.

    Milvus Lite takes no expression templates, so literals become text, escaped in
    `milvus_literal` alone. NOT is pushed to the comparisons, where an unset field makes it true.

    Args:
        term: The filter.
        fields: Name in the collection of each field.
    """
    return "" if term is None else _milvus(term, fields, negated=False)


def milvus_literal(value: Value) -> str:
    """Return a literal of a Milvus expression that stands for exactly this value."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case date():
            return f'"{value.isoformat()}"'
        case str():
            return f'"{value.translate(_MILVUS_ESCAPES)}"'
        case _:
            assert_never(value)


_EQUALITIES: Final = (Operator.EQUAL, Operator.NOT_EQUAL)
_OPERATORS_OF_TYPE: Final[Mapping[FieldType, tuple[Operator, ...]]] = {
    FieldType.TEXT: tuple(Operator),
    FieldType.INTEGER: tuple(Operator),
    FieldType.REAL: tuple(Operator),
    FieldType.DATE: tuple(Operator),
    FieldType.BOOLEAN: _EQUALITIES,
    FieldType.ENUM: _EQUALITIES,
    FieldType.UUID: _EQUALITIES,
}
_SQL_OPERATOR: Final[Mapping[Operator, str]] = {
    operator: "<>" if operator is Operator.NOT_EQUAL else operator.value for operator in Operator
}
_MILVUS_OPERATOR: Final[Mapping[Operator, str]] = {
    operator: "==" if operator is Operator.EQUAL else operator.value for operator in Operator
}
_OPPOSITE: Final[Mapping[Operator, Operator]] = {
    Operator.EQUAL: Operator.NOT_EQUAL,
    Operator.NOT_EQUAL: Operator.EQUAL,
    Operator.LESS: Operator.GREATER_OR_EQUAL,
    Operator.LESS_OR_EQUAL: Operator.GREATER,
    Operator.GREATER: Operator.LESS_OR_EQUAL,
    Operator.GREATER_OR_EQUAL: Operator.LESS,
}
_MILVUS_ESCAPES: Final = str.maketrans(
    {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
)


def _less(left: Value, right: Value) -> bool:
    return left < right  # type: ignore[operator]  # the schema made both of one type


_COMPARE: Final[Mapping[Operator, Callable[[Value, Value], bool]]] = {
    Operator.EQUAL: lambda left, right: left == right,
    Operator.NOT_EQUAL: lambda left, right: left != right,
    Operator.LESS: _less,
    Operator.LESS_OR_EQUAL: lambda left, right: left == right or _less(left, right),
    Operator.GREATER: lambda left, right: _less(right, left),
    Operator.GREATER_OR_EQUAL: lambda left, right: left == right or _less(right, left),
}


def _sql_type(value: Value) -> str:
    match value:
        case bool():
            return "boolean"
        case int():
            return "bigint"
        case float():
            return "double precision"
        case date():
            return "date"
        case str():
            return "text"
        case _:
            assert_never(value)


def _milvus(term: Filter, fields: Mapping[str, str], *, negated: bool) -> str:
    match term:
        case Comparison(field, operator, value):
            name, literal = fields[field], milvus_literal(value)
            if not negated:
                return f"{name} {_MILVUS_OPERATOR[operator]} {literal}"
            return f"({name} is null or {name} {_MILVUS_OPERATOR[_OPPOSITE[operator]]} {literal})"
        case Prefix(field, prefix):
            return _milvus_prefix(fields[field], prefix, negated=negated)
        case Present(field):
            return f"{fields[field]} is {'null' if negated else 'not null'}"
        case Not(inner):
            return _milvus(inner, fields, negated=not negated)
        case And(terms) | Or(terms):
            word = " and " if isinstance(term, And) != negated else " or "
            return f"({word.join(_milvus(inner, fields, negated=negated) for inner in terms)})"
        case _:
            assert_never(term)


def _milvus_prefix(name: str, prefix: str, *, negated: bool) -> str:
    # A range of code points needs no wildcards, and so no second kind of escape.
    low, end = milvus_literal(prefix), _after_prefix(prefix)
    if negated:
        above = "" if end is None else f" or {name} >= {milvus_literal(end)}"
        return f"({name} is null or {name} < {low}{above})"
    return f"({name} >= {low}{'' if end is None else f' and {name} < {milvus_literal(end)}'})"


def _after_prefix(prefix: str) -> str | None:
    """Return the least text above all texts that begin with `prefix`, or None."""
    kept = prefix.rstrip("\U0010ffff")
    if not kept:
        return None
    following = ord(kept[-1]) + 1
    if 0xD800 <= following <= 0xDFFF:
        following = 0xE000
    return kept[:-1] + chr(following)


def _format_operand(term: Filter) -> str:
    text = format_filter(term)
    return f"({text})" if isinstance(term, And | Or) else text


def _format_literal(value: Value) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case date():
            return value.isoformat()
        case str():
            return f'"{_escape(value)}"'
        case _:
            assert_never(value)


def _escape(text: str) -> str:
    return re.sub(r'["\\*]', r"\\\g<0>", text)


class _Kind(Enum):
    OPEN = "("
    CLOSE = ")"
    OPERATOR = "an operator"
    BARE = "a word"
    QUOTED = "quoted text"
    END = "the end"


@dataclass(frozen=True, slots=True)
class _Token:
    """A piece of the filter; `stars` are the indexes of wildcards in its text."""

    kind: _Kind
    text: str
    position: int
    stars: tuple[int, ...] = ()


_TOKEN: Final = re.compile(
    r"""(?P<BLANK>[ \t\r\n]+)|(?P<OPEN>\()|(?P<CLOSE>\))|(?P<OPERATOR>!=|<=|>=|[=<>:])
    |(?P<BARE>[^\s()"'\\<>=!:,\x00-\x1f\x7f]+)|(?P<QUOTED>["'])""",
    re.VERBOSE,
)


def _tokens(text: str) -> Sequence[_Token]:
    tokens: list[_Token] = []
    position = 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None or found.lastgroup is None:
            raise FilterError(f"{text[position]!r} means nothing here", position=position)
        if found.lastgroup == "QUOTED":
            token, position = _read_quoted(text, position)
            tokens.append(token)
            continue
        if found.lastgroup != "BLANK":
            stars = tuple(index for index, each in enumerate(found[0]) if each == "*")
            tokens.append(_Token(_Kind[found.lastgroup], found[0], position, stars))
        position = found.end()
    tokens.append(_Token(_Kind.END, "", len(text)))
    return tokens


def _read_quoted(text: str, start: int) -> tuple[_Token, int]:
    quote, characters, stars = text[start], list[str](), list[int]()
    position = start + 1
    while position < len(text):
        character = text[position]
        if character == quote:
            token = _Token(_Kind.QUOTED, "".join(characters), start, tuple(stars))
            return token, position + 1
        if character == "\\":
            position += 1
            character = text[position : position + 1]
            if character not in ('"', "'", "\\", "*"):
                raise FilterError(
                    r"""a backslash escapes only ", ', \ and *""", position=position - 1
                )
        elif character == "*":
            stars.append(len(characters))
        elif character < " " or character == "\x7f":
            raise FilterError("control characters are not allowed in text", position=position)
        characters.append(character)
        position += 1
    raise FilterError(f"the text is not closed by {quote}", position=start)


class _Parser:
    """Reads tokens by recursive descent, counting depth and terms."""

    def __init__(self, tokens: Sequence[_Token], schema: Mapping[str, FilterField]) -> None:
        self._tokens = tokens
        self._schema = schema
        self._index = 0
        self._terms = 0

    def parse(self) -> Filter:
        term = self._and_or(depth=0)
        token = self._next()
        if token.kind is not _Kind.END:
            raise FilterError(
                f"expected AND, OR or the end, not {_shown(token)}", position=token.position
            )
        return term

    def _next(self) -> _Token:
        token = self._tokens[self._index]
        self._index = min(self._index + 1, len(self._tokens) - 1)
        return token

    def _word(self) -> str:
        token = self._tokens[self._index]
        return token.text if token.kind is _Kind.BARE else ""

    def _and_or(self, depth: int) -> Filter:
        first = self._not(depth)
        word = self._word()
        if word not in ("AND", "OR"):
            return first
        terms = [first]
        while self._word() in ("AND", "OR"):
            token = self._next()
            if token.text != word:
                raise FilterError(
                    "AND and OR do not mix without parentheses", position=token.position
                )
            terms.append(self._not(depth))
        return And(tuple(terms)) if word == "AND" else Or(tuple(terms))

    def _not(self, depth: int) -> Filter:
        if depth > MAXIMUM_DEPTH:
            raise FilterError(
                f"more than {MAXIMUM_DEPTH} levels of parentheses and NOT",
                position=self._tokens[self._index].position,
            )
        if self._word() == "NOT":
            self._next()
            return Not(self._not(depth + 1))
        token = self._next()
        if token.kind is not _Kind.OPEN:
            return self._comparison(token)
        term = self._and_or(depth + 1)
        close = self._next()
        if close.kind is not _Kind.CLOSE:
            raise FilterError(f"expected ), not {_shown(close)}", position=close.position)
        return term

    def _comparison(self, token: _Token) -> Filter:
        self._terms += 1
        if self._terms > MAXIMUM_TERMS:
            raise FilterError(f"more than {MAXIMUM_TERMS} comparisons", position=token.position)
        if token.kind is not _Kind.BARE:
            raise FilterError(f"expected a field, not {_shown(token)}", position=token.position)
        field = self._schema.get(token.text)
        if field is None:
            raise FilterError(_unknown_field(token.text, self._schema), position=token.position)
        operator = self._next()
        if operator.kind is not _Kind.OPERATOR:
            raise FilterError(
                f"expected an operator after {token.text}, not {_shown(operator)}",
                position=operator.position,
            )
        literal = self._next()
        reserved = literal.kind is _Kind.BARE and literal.text in ("AND", "OR", "NOT")
        if literal.kind not in (_Kind.BARE, _Kind.QUOTED) or reserved:
            raise FilterError(
                f"expected a value after {operator.text}, not {_shown(literal)}",
                position=literal.position,
            )
        if operator.text == ":":
            return _has(token.text, field, literal)
        allowed = _OPERATORS_OF_TYPE[field.type]
        if Operator(operator.text) not in allowed:
            names = ", ".join(each.value for each in allowed)
            raise FilterError(
                f"{token.text} is compared by {names} or :*", position=operator.position
            )
        value = _value(token.text, field, literal)
        return Comparison(token.text, Operator(operator.text), value)


def _shown(token: _Token) -> str:
    return token.kind.value if token.kind is _Kind.END else repr(token.text)


def _unknown_field(name: str, schema: Mapping[str, FilterField]) -> str:
    if close := get_close_matches(name, schema, n=2):
        return f"{name!r} is no field; did you mean {' or '.join(close)}?"
    fields = ", ".join(sorted(schema))
    return f"{name!r} is no field that can be filtered, as no metric is; the fields are {fields}"


def _has(name: str, field: FilterField, literal: _Token) -> Filter:
    if literal.kind is _Kind.BARE and literal.text == "*":
        return Present(name)
    if field.type is not FieldType.TEXT:
        raise FilterError(
            f"{name} takes : only as {name}:*, which asks whether it is set",
            position=literal.position,
        )
    last = len(literal.text) - 1
    match literal.stars:
        case ():
            return Comparison(name, Operator.EQUAL, literal.text)
        case (star,) if star == last:
            return Prefix(name, literal.text[:-1])
        case _:
            raise FilterError(
                r"a * only ends the text; write \* for the character", position=literal.position
            )


def _value(name: str, field: FilterField, literal: _Token) -> Value:
    text, bare = literal.text, literal.kind is _Kind.BARE
    value: Value | None = None
    match field.type:
        case FieldType.TEXT:
            value, wanted = text, "text"
        case FieldType.INTEGER:
            wanted = "a whole number of 64 bits, without quotes"
            if bare and re.fullmatch(r"[+-]?[0-9]{1,19}", text):
                number = int(text)
                value = number if number in _INT64 else None
        case FieldType.REAL:
            wanted = "a number, without quotes"
            if bare and re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
                value = float(text) if math.isfinite(float(text)) else None
        case FieldType.BOOLEAN:
            wanted = "true or false"
            value = {"true": True, "false": False}.get(text) if bare else None
        case FieldType.DATE:
            wanted = "a date as 2026-01-31"
            value = _date(text)
        case FieldType.ENUM:
            wanted = f"one of {', '.join(field.values)}"
            value = text if text in field.values else None
        case FieldType.UUID:
            wanted = "an id of 32 hexadecimal digits, or the name that ends in it"
            value = _uuid(text)
        case _:
            assert_never(field.type)
    if value is None:
        raise FilterError(f"{name} is {wanted}, not {text!r}", position=literal.position)
    return value


def _uuid(text: str) -> str | None:
    try:
        return str(UUID(text.rpartition("/")[2]))
    except ValueError:
        return None


def _date(text: str) -> date | None:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text, re.ASCII):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
