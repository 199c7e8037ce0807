"""SQL expressions of a mapping: that they are one expression each, and which names they hold.

Whether an expression is right is for Postgres to say. Here it is only made sure that it stays
within the parentheses that it is put into, and that it gives the same each time.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final


class SqlTextError(ValueError):
    """A text is not one SQL expression; the message says why and what to do."""


class _Kind(Enum):
    SPACE = "space"
    COMMENT = "comment"
    TEXT = "text"
    NAME = "name"
    QUOTED_NAME = "quoted name"
    NUMBER = "number"
    PARAMETER = "parameter"
    PLACE = "place"
    SYMBOL = "symbol"


@dataclass(frozen=True, slots=True)
class _Token:
    kind: _Kind
    text: str


_TOKEN: Final = re.compile(
    r"""
      (?P<SPACE>\s+)
    | (?P<COMMENT>--|/\*)
    | (?P<TEXT>(?<![\w$])[eE]'(?:[^'\\]|''|\\.)*'
              |(?<![\w$])(?:[bBxXnN]|[uU]&)?'(?:[^']|'')*'
              |(?<![\w$])(?P<tag>\$(?:[A-Za-z_]\w*)?\$).*?(?P=tag))
    | (?P<QUOTED_NAME>(?:[uU]&)?"(?:[^"]|"")+")
    | (?P<NAME>[^\W\d][\w$]*)
    | (?P<NUMBER>\d[\w.]*|\.\d[\w.]*)
    | (?P<PLACE>\$\d+)
    | (?P<PARAMETER>(?<!:):[^\W\d]\w*)
    | (?P<SYMBOL>::|:=|[-+*/<>=~!@\#%^&|`?.,:;()\[\]{}])
    """,
    re.VERBOSE | re.DOTALL,
)

_NAMES: Final = re.compile(r'"(?:[^"]|"")+"|[^".]+')

_OPENING: Final = {"(": ")", "[": "]"}

_CHANGING: Final = frozenset(
    (
        "clock_timestamp",
        "current_date",
        "current_role",
        "current_time",
        "current_timestamp",
        "current_user",
        "currval",
        "gen_random_uuid",
        "lastval",
        "localtime",
        "localtimestamp",
        "nextval",
        "now",
        "pg_sleep",
        "random",
        "session_user",
        "set_config",
        "setval",
        "statement_timestamp",
        "timeofday",
        "transaction_timestamp",
        "txid_current",
    )
)
"""What gives another value each time, or changes something."""

ORG: Final = ":org"


def quoted(name: str) -> str:
    """Return a name as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def name_parts(name: str) -> tuple[str, ...]:
    """Return the names that a name as SQL writes it is made of, as the catalog holds them."""
    return tuple(
        each[1:-1].replace('""', '"') if each.startswith('"') else each
        for each in _NAMES.findall(name)
    )


def literal(text: str) -> str:
    """Return a text as a literal of SQL, whatever `standard_conforming_strings` is."""
    escaped = text.replace("'", "''")
    return f"E'{escaped.replace(chr(92), chr(92) * 2)}'" if "\\" in text else f"'{escaped}'"


def check(sql: str, *, several: bool = False) -> None:
    """Check that a text is one expression that gives the same each time.

    Args:
        sql: The text.
        several: Whether commas may separate several of them, as in an order.

    Raises:
        SqlTextError: It is not.
    """
    closing: list[str] = []
    empty = True
    for token in _tokens(sql):
        match token.kind:
            case _Kind.SPACE:
                continue
            case _Kind.COMMENT:
                raise SqlTextError(
                    "holds a comment; put it into the mapping's file, before the key"
                )
            case _Kind.PLACE | _Kind.PARAMETER if token.text != ORG:
                raise SqlTextError(f"holds the parameter {token.text}; only {ORG} is given")
            case _Kind.NAME if token.text.lower() in _CHANGING:
                raise SqlTextError(
                    f"holds {token.text}, which gives another value each time, so that a copy"
                    " could never be compared; use columns and constants"
                )
            case _Kind.SYMBOL:
                _nest(token.text, closing, several=several)
            case _:
                pass
        empty = False
    if empty:
        raise SqlTextError("is empty; write an SQL expression")
    if closing:
        raise SqlTextError(f"ends before {closing[-1]}; close every bracket")


def _nest(symbol: str, closing: list[str], *, several: bool) -> None:
    if symbol == ";":
        raise SqlTextError("holds a semicolon; write one expression")
    if symbol in _OPENING:
        closing.append(_OPENING[symbol])
    elif symbol in _OPENING.values():
        if not closing or closing.pop() != symbol:
            raise SqlTextError(f"closes a bracket with {symbol} that it did not open")
    elif symbol == "," and not closing and not several:
        raise SqlTextError("holds several expressions; write one")


def bound(sql: str, org: str) -> str:
    """Return an expression with the organisation in the places of `:org`."""
    given = f"{literal(org)}::text"
    return "".join(
        given if token.kind is _Kind.PARAMETER and token.text == ORG else token.text
        for token in _tokens(sql)
    )


@dataclass(frozen=True, slots=True)
class References:
    """What an expression names, as catalogs hold names.

    Attributes:
        columns: (qualifier, name) of what can be columns; the qualifier is empty where there is
            none.
        tables: What subqueries read, as (schema, table) by the name under which they do; the schema
            is empty where it is not said.
        functions: Names of functions that are called, without schema.
    """

    columns: frozenset[tuple[str, str]]
    tables: Mapping[str, tuple[str, str]]
    functions: frozenset[str]


def references(sql: str) -> References:
    """Return what an expression names.

    It is told by its words alone: the name of a type after `as` is taken for that of a column.
    """
    tokens = [token for token in _tokens(sql) if token.kind is not _Kind.SPACE]
    words = [_word(token) for token in tokens]
    columns: set[tuple[str, str]] = set()
    tables: dict[str, tuple[str, str]] = {}
    functions: set[str] = set()
    for place, word in enumerate(words):
        if word is None:
            continue
        before = tokens[place - 1].text if place else ""
        after = tokens[place + 1].text if place + 1 < len(tokens) else ""
        if after == "(":
            functions.add(word)
        elif before == ".":
            columns.add((words[place - 2] or "", word))
        elif before != "::" and after != ".":
            columns.add(("", word))
        if word in ("from", "join") and tokens[place].kind is _Kind.NAME:
            tables.update(_table_at(words, tokens, place + 1))
    return References(frozenset(columns), tables, frozenset(functions))


def _word(token: _Token) -> str | None:
    if token.kind is _Kind.QUOTED_NAME:
        return token.text[1:-1].replace('""', '"')
    return token.text.lower() if token.kind is _Kind.NAME else None


def _table_at(
    words: Sequence[str | None], tokens: Sequence[_Token], place: int
) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield the name of the table from here on, and what it is read as."""
    name: list[str] = []
    while place < len(words) and (word := words[place]) is not None:
        name.append(word)
        place += 1
        if place < len(words) and tokens[place].text == ".":
            place += 1
        else:
            break
    if not name or (place < len(tokens) and tokens[place].text == "("):
        return
    following = words[place : place + 2]
    if following[:1] == ["as"]:
        following = following[1:]
    alias = following[0] if following and following[0] not in _AFTER_TABLES else None
    schema = name[-2] if len(name) > 1 else ""
    yield alias or name[-1], (schema, name[-1])


_AFTER_TABLES: Final = frozenset(
    (
        "cross", "except", "fetch", "for", "full", "group", "having", "inner", "intersect", "join",
        "left", "limit", "natural", "offset", "on", "order", "right", "tablesample", "union",
        "using", "where", "window",
    )
)  # fmt: skip
"""Words that follow a table without being the name under which it is read."""


def _tokens(sql: str) -> Iterator[_Token]:
    place = 0
    while place < len(sql):
        found = _TOKEN.match(sql, place)
        if found is None:
            raise SqlTextError(
                f"cannot be read from {sql[place : place + 20]!r} on; close every quote"
            )
        assert found.lastgroup is not None
        yield _Token(_Kind[found.lastgroup], found.group())
        place = found.end()
