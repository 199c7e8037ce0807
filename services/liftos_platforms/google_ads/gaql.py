"""The Google Ads Query Language: text to syntax tree, strictly, without any knowledge of fields.

    query      = SELECT field {"," field} FROM resource
                 [ WHERE condition {AND condition} ]
                 [ ORDER BY ordering {"," ordering} ]
                 [ LIMIT integer ]
                 [ PARAMETERS word "=" literal {"," word "=" literal} ]
    condition  = field operator ( literal | "(" literal {"," literal} ")" )
               | field BETWEEN literal AND literal
               | field IS [ NOT ] NULL
    ordering   = field [ ASC | DESC ]
    literal    = number | quoted text | word

Keywords are read in any case. Conditions join with AND only. A query that departs from this is
refused with the name that the platform's `QueryError` has for the fault.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, NoReturn

MAXIMUM_LIST_VALUES: Final = 20_000


class GaqlError(Exception):
    """A query that the platform refuses.

    Attributes:
        code: Name of a value of the platform's `QueryError`, or of the error of its category.
        message: What is wrong, in one sentence.
        trigger: The piece of the query that is at fault, or empty.
        category: Field of the platform's `ErrorCode`.
    """

    def __init__(
        self, code: str, message: str, *, trigger: str = "", category: str = "query_error"
    ) -> None:
        super().__init__(message)
        self.category = category
        self.code = code
        self.message = message
        self.trigger = trigger


class LiteralKind(Enum):
    """How a literal was written."""

    NUMBER = "number"
    TEXT = "text"
    WORD = "word"


class Operator(Enum):
    """How a field is compared."""

    EQUAL = "="
    NOT_EQUAL = "!="
    LESS = "<"
    LESS_OR_EQUAL = "<="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="
    IN = "IN"
    NOT_IN = "NOT IN"
    LIKE = "LIKE"
    NOT_LIKE = "NOT LIKE"
    CONTAINS_ANY = "CONTAINS ANY"
    CONTAINS_ALL = "CONTAINS ALL"
    CONTAINS_NONE = "CONTAINS NONE"
    IS_NULL = "IS NULL"
    IS_NOT_NULL = "IS NOT NULL"
    DURING = "DURING"
    BETWEEN = "BETWEEN"
    REGEXP_MATCH = "REGEXP_MATCH"
    NOT_REGEXP_MATCH = "NOT REGEXP_MATCH"


LIST_OPERATORS: Final = frozenset(
    {
        Operator.IN,
        Operator.NOT_IN,
        Operator.CONTAINS_ANY,
        Operator.CONTAINS_ALL,
        Operator.CONTAINS_NONE,
    }
)

PATTERN_OPERATORS: Final = frozenset(
    {Operator.LIKE, Operator.NOT_LIKE, Operator.REGEXP_MATCH, Operator.NOT_REGEXP_MATCH}
)


@dataclass(frozen=True, slots=True)
class Literal:
    """A value in a query; `text` is without quotes and escapes."""

    kind: LiteralKind
    text: str


@dataclass(frozen=True, slots=True)
class Condition:
    """`field operator values`: none for IS NULL, two for BETWEEN, many for a list, else one."""

    field: str
    operator: Operator
    values: tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class Ordering:
    """One field to sort by."""

    field: str
    descending: bool


@dataclass(frozen=True, slots=True)
class Query:
    """A query as it was written.

    Attributes:
        select: Names of the fields, in order, each once.
        resource: The resource after FROM; empty where the query has none.
        where: Conditions that hold together.
        order_by: What to sort by, most significant first.
        limit: Most rows to return, None for all.
        parameters: Names and values after PARAMETERS.
    """

    select: tuple[str, ...]
    resource: str
    where: tuple[Condition, ...]
    order_by: tuple[Ordering, ...]
    limit: int | None
    parameters: Mapping[str, str]


class _Kind(Enum):
    NUMBER = "number"
    TEXT = "text"
    WORD = "word"
    SYMBOL = "symbol"
    END = "end"


@dataclass(frozen=True, slots=True)
class _Token:
    kind: _Kind
    text: str

    def is_word(self, word: str) -> bool:
        return self.kind is _Kind.WORD and self.text.upper() == word

    def is_symbol(self, symbol: str) -> bool:
        return self.kind is _Kind.SYMBOL and self.text == symbol


_PLAIN_TOKEN: Final = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<number>-?[0-9]+(?:\.[0-9]+)?(?![A-Za-z0-9_.]))"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_.]*)"
    r"|(?P<symbol><=|>=|!=|[=<>(),])"
)
_ESCAPED: Final = {"\\": "\\", "'": "'", '"': '"', "n": "\n", "t": "\t"}
_FIELD_NAME: Final = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)+")
_RESOURCE_NAME: Final = re.compile(r"[a-z][a-z_]*")
_CLAUSES: Final = ("SELECT", "FROM", "WHERE", "ORDER", "LIMIT", "PARAMETERS")
_LITERAL_KINDS: Final = {
    _Kind.NUMBER: LiteralKind.NUMBER,
    _Kind.TEXT: LiteralKind.TEXT,
    _Kind.WORD: LiteralKind.WORD,
}
_COMPARISONS: Final = {
    operator.value: operator
    for operator in (
        Operator.EQUAL,
        Operator.NOT_EQUAL,
        Operator.LESS,
        Operator.LESS_OR_EQUAL,
        Operator.GREATER,
        Operator.GREATER_OR_EQUAL,
    )
}
_WORD_OPERATORS: Final = {
    operator.value: operator for operator in Operator if operator.value[0].isalpha()
}


def parse_query(text: str, *, needs_resource: bool = True) -> Query:
    """Read a query.

    Args:
        text: The query.
        needs_resource: False for queries about fields, which have no FROM clause.

    Raises:
        GaqlError: The text is not a query.
    """
    parser = _Parser(_tokens(text))
    return parser.query(needs_resource=needs_resource)


def _tokens(text: str) -> list[_Token]:
    tokens = []
    position = 0
    while position < len(text):
        if text[position] in "'\"":
            token, position = _quoted(text, position)
            tokens.append(token)
            continue
        match = _PLAIN_TOKEN.match(text, position)
        if match is None:
            piece = text[position : position + 20].split(maxsplit=1)[0]
            if piece[0].isdigit() or piece[0] == "-":
                raise GaqlError("BAD_NUMBER", f"'{piece}' is not a number.", trigger=piece)
            raise GaqlError("BAD_SYMBOL", f"The symbol '{piece[0]}' has no meaning here.")
        position = match.end()
        if match.lastgroup is not None and match.lastgroup != "space":
            tokens.append(_Token(_Kind(match.lastgroup), match.group()))
    tokens.append(_Token(_Kind.END, ""))
    return tokens


def _quoted(text: str, start: int) -> tuple[_Token, int]:
    """Read the quoted text at `start`; return it and where it ends."""
    quote = text[start]
    characters: list[str] = []
    position = start + 1
    while position < len(text):
        character = text[position]
        if character == quote:
            return _Token(_Kind.TEXT, "".join(characters)), position + 1
        if character in "\r\n":
            raise GaqlError("PROHIBITED_NEWLINE_IN_STRING", "A text contains a line break.")
        if character == "\\":
            position += 1
            if position == len(text):
                break
            if text[position] not in _ESCAPED:
                escape = f"\\{text[position]}"
                raise GaqlError("BAD_ESCAPE_SEQUENCE", f"'{escape}' is no escape.", trigger=escape)
            character = _ESCAPED[text[position]]
        characters.append(character)
        position += 1
    raise GaqlError("STRING_NOT_TERMINATED", "A text lacks its closing quote.")


class _Parser:
    """Reads tokens from left to right, one clause after the other."""

    __slots__ = ("_position", "_tokens")

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._position = 0

    def query(self, *, needs_resource: bool) -> Query:
        if not self._take_word("SELECT"):
            raise GaqlError("EXPECTED_SELECT", "A query begins with SELECT.")
        select = self._fields()
        resource = self._resource(needed=needs_resource)
        where = self._conditions()
        order_by = self._orderings()
        limit = self._limit()
        parameters = self._parameters()
        if not self._is_at_end():
            self._refuse_input()
        return Query(select, resource, where, order_by, limit, parameters)

    @property
    def _next(self) -> _Token:
        return self._tokens[self._position]

    def _is_at_end(self) -> bool:
        return self._next.kind is _Kind.END

    def _advance(self) -> _Token:
        token = self._next
        if not self._is_at_end():
            self._position += 1
        return token

    def _take_word(self, word: str) -> bool:
        taken = self._next.is_word(word)
        if taken:
            self._position += 1
        return taken

    def _take_symbol(self, symbol: str) -> bool:
        taken = self._next.is_symbol(symbol)
        if taken:
            self._position += 1
        return taken

    def _refuse_input(self) -> NoReturn:
        if self._is_at_end():
            raise GaqlError("UNEXPECTED_END_OF_QUERY", "The query ends too early.")
        text = self._next.text
        raise GaqlError(
            "UNEXPECTED_INPUT", f"Error in query: unexpected input {text}.", trigger=text
        )

    def _field(self) -> str:
        token = self._next
        if token.kind is not _Kind.WORD or token.text.upper() in _CLAUSES:
            self._refuse_input()
        self._position += 1
        if _FIELD_NAME.fullmatch(token.text) is None and not self._is_bare_name(token.text):
            raise GaqlError(
                "BAD_FIELD_NAME", f"'{token.text}' is not a field name.", trigger=token.text
            )
        return token.text

    def _is_bare_name(self, text: str) -> bool:
        # Queries about fields name them without a resource: SELECT name, category.
        return _RESOURCE_NAME.fullmatch(text) is not None

    def _fields(self) -> tuple[str, ...]:
        names = [self._field()]
        while self._take_symbol(","):
            names.append(self._field())
        return tuple(dict.fromkeys(names))

    def _resource(self, *, needed: bool) -> str:
        if not self._take_word("FROM"):
            if needed:
                if not self._is_at_end() and self._next.text.upper() not in _CLAUSES:
                    self._refuse_input()
                raise GaqlError("EXPECTED_FROM", "A query names one resource after FROM.")
            return ""
        if not needed:
            raise GaqlError("UNEXPECTED_FROM_CLAUSE", "A query about fields has no FROM clause.")
        token = self._next
        if token.kind is not _Kind.WORD:
            self._refuse_input()
        self._position += 1
        if _RESOURCE_NAME.fullmatch(token.text) is None:
            raise GaqlError(
                "BAD_RESOURCE_TYPE_IN_FROM_CLAUSE",
                f"'{token.text}' is not a resource.",
                trigger=token.text,
            )
        return token.text

    def _conditions(self) -> tuple[Condition, ...]:
        if not self._take_word("WHERE"):
            return ()
        conditions = [self._condition()]
        while self._take_word("AND"):
            conditions.append(self._condition())
        return tuple(conditions)

    def _condition(self) -> Condition:
        field = self._field()
        operator = self._operator(field)
        if operator in (Operator.IS_NULL, Operator.IS_NOT_NULL):
            return Condition(field, operator, ())
        if operator is Operator.BETWEEN:
            return Condition(field, operator, self._two_values())
        if operator in LIST_OPERATORS:
            return Condition(field, operator, self._list())
        if self._next.is_symbol("("):
            raise GaqlError(
                "EXPECTED_SINGLE_VALUE", f"{operator.value} takes one value.", trigger=field
            )
        return Condition(field, operator, (self._literal(),))

    def _operator(self, field: str) -> Operator:
        token = self._next
        if token.kind is _Kind.SYMBOL and token.text in _COMPARISONS:
            self._position += 1
            return _COMPARISONS[token.text]
        if token.kind is _Kind.END:
            self._refuse_input()
        # The longest first, so that IS NOT NULL is not read as IS.
        for count in (3, 2, 1):
            words = self._tokens[self._position : self._position + count]
            if len(words) == count and all(word.kind is _Kind.WORD for word in words):
                operator = _WORD_OPERATORS.get(" ".join(word.text.upper() for word in words))
                if operator is not None:
                    self._position += count
                    return operator
        raise GaqlError(
            "BAD_OPERATOR", f"'{token.text}' is no operator for {field}.", trigger=token.text
        )

    def _literal(self) -> Literal:
        token = self._next
        kind = _LITERAL_KINDS.get(token.kind)
        if kind is None:
            self._refuse_input()
        self._position += 1
        return Literal(kind, token.text)

    def _two_values(self) -> tuple[Literal, Literal]:
        if self._next.is_symbol("("):
            raise GaqlError(
                "INVALID_VALUE_WITH_BETWEEN_OPERATOR", "BETWEEN takes two values, not a list."
            )
        if self._is_at_end() or self._next.is_word("AND"):
            raise GaqlError("EXPECTED_VALUE_WITH_BETWEEN_OPERATOR", "BETWEEN takes two values.")
        first = self._literal()
        if not self._take_word("AND"):
            raise GaqlError("EXPECTED_AND", "The two values of BETWEEN are joined with AND.")
        if self._is_at_end():
            raise GaqlError("EXPECTED_VALUE_WITH_BETWEEN_OPERATOR", "BETWEEN takes two values.")
        second = self._literal()
        if first.kind is not second.kind:
            raise GaqlError(
                "PROHIBITED_VALUE_COMBINATION_WITH_BETWEEN_OPERATOR",
                "The two values of BETWEEN are of one kind.",
            )
        return first, second

    def _list(self) -> tuple[Literal, ...]:
        if not self._take_symbol("("):
            raise GaqlError("EXPECTED_LIST", "The operator takes a list in parentheses.")
        if self._take_symbol(")"):
            raise GaqlError("PROHIBITED_EMPTY_LIST_IN_CONDITION", "A list has at least one value.")
        values = [self._literal()]
        while self._take_symbol(","):
            values.append(self._literal())
        if not self._take_symbol(")"):
            self._refuse_input()
        if len({value.kind for value in values}) > 1:
            raise GaqlError(
                "PROHIBITED_VALUE_COMBINATION_IN_LIST", "The values of a list are of one kind."
            )
        if len(values) > MAXIMUM_LIST_VALUES:
            raise GaqlError(
                "FILTER_HAS_TOO_MANY_VALUES",
                f"A list has at most {MAXIMUM_LIST_VALUES} values, not {len(values)}.",
            )
        return tuple(values)

    def _orderings(self) -> tuple[Ordering, ...]:
        if not self._take_word("ORDER"):
            return ()
        if not self._take_word("BY"):
            raise GaqlError("EXPECTED_BY", "ORDER is followed by BY.")
        orderings = [self._ordering()]
        while self._take_symbol(","):
            orderings.append(self._ordering())
        return tuple(orderings)

    def _ordering(self) -> Ordering:
        field = self._field()
        if self._take_word("DESC"):
            return Ordering(field, descending=True)
        self._take_word("ASC")
        return Ordering(field, descending=False)

    def _limit(self) -> int | None:
        if not self._take_word("LIMIT"):
            return None
        token = self._advance()
        if token.kind is not _Kind.NUMBER or "." in token.text:
            raise GaqlError("BAD_LIMIT_VALUE", "LIMIT takes an integer.", trigger=token.text)
        limit = int(token.text)
        if limit < 1:
            raise GaqlError("LIMIT_VALUE_TOO_LOW", "LIMIT is at least 1.", trigger=token.text)
        return limit

    def _parameters(self) -> dict[str, str]:
        if not self._take_word("PARAMETERS"):
            return {}
        parameters: dict[str, str] = {}
        while True:
            name = self._literal()
            if name.kind is not LiteralKind.WORD or name.text in parameters:
                raise GaqlError(
                    "BAD_PARAMETER_NAME", f"'{name.text}' is no parameter.", trigger=name.text
                )
            if not self._take_symbol("="):
                self._refuse_input()
            parameters[name.text] = self._literal().text
            if not self._take_symbol(","):
                return parameters
