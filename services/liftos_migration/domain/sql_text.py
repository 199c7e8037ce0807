"""SQL expressions of a mapping: that they are one expression each, and which names they hold.

Whether an expression is right is for Postgres to say. Here it is only made sure that it stays
within the parentheses that it is put into, and that it gives the same each time.
"""

import re
from collections.abc import Iterator
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


def names(sql: str) -> frozenset[str]:
    """Return the names in a text that can be those of columns and tables, as catalogs hold them.

    Names of functions and types are not among them where they can be told from the rest.
    """
    tokens = [token for token in _tokens(sql) if token.kind is not _Kind.SPACE]
    found = set()
    for place, token in enumerate(tokens):
        if token.kind not in (_Kind.NAME, _Kind.QUOTED_NAME):
            continue
        before = tokens[place - 1].text if place else ""
        after = tokens[place + 1].text if place + 1 < len(tokens) else ""
        if before != "::" and after != "(":
            found.add(
                token.text[1:-1].replace('""', '"')
                if token.kind is _Kind.QUOTED_NAME
                else token.text.lower()
            )
    return frozenset(found)


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
