"""Expressions of the mapping language: what they are made of, and the parser that reads them.

    expression := conjunction ("or" conjunction)*
    conjunction := negation ("and" negation)*
    negation := "not" negation | comparison
    comparison := sum [("==" | "!=" | "<" | "<=" | ">" | ">=") sum]
    sum := product (("+" | "-") product)*
    product := factor (("*" | "/") factor)*
    factor := "-" factor | number | 'text' | true | false | null | field
            | function "(" expression ("," expression)* ")" | "(" expression ")"

A field is a source path such as `metrics.cost`, or any name between backticks, as in
`` `Campaign name` ``. A quote within a text is doubled. There is nothing else: no attributes, no
calls but those of the table of functions, no loops; what is read is bounded in size and depth.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Final, TypeAlias, assert_never

from liftos_mapping.expression_functions import FUNCTIONS

MAXIMUM_LENGTH: Final = 2000
"""Characters of one expression."""

MAXIMUM_DEPTH: Final = 32
"""Brackets within each other."""

MAXIMUM_PARTS: Final = 200
"""Values and fields of one expression."""

_NAME: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_TOKEN: Final = re.compile(
    rf"""\s*(?:
      (?P<number>[0-9]+(?:\.[0-9]+)?)(?![A-Za-z0-9_.])
    | (?P<text>'(?:[^']|'')*')
    | (?P<quoted>`[^`\x00-\x1f]+`)
    | (?P<name>{_NAME}(?:\.{_NAME})*)
    | (?P<sign>==|!=|<=|>=|[-+*/<>(),])
    )""",
    re.VERBOSE | re.ASCII,
)
_ORDERINGS: Final = ("==", "!=", "<", "<=", ">", ">=")
_WORDS: Final[Mapping[str, bool | None]] = {"true": True, "false": False, "null": None}
_RESERVED: Final = frozenset({"and", "or", "not"})


class Operator(Enum):
    """What stands between two operands, or before one."""

    ADD = "+"
    SUBTRACT = "-"
    MULTIPLY = "*"
    DIVIDE = "/"
    EQUAL = "=="
    UNEQUAL = "!="
    LESS = "<"
    LESS_OR_EQUAL = "<="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="
    AND = "and"
    OR = "or"


@dataclass(frozen=True, slots=True)
class Literal:
    """A number, a text, true, false or null."""

    value: Decimal | str | bool | None


@dataclass(frozen=True, slots=True)
class Field:
    """What a raw row has under a path."""

    path: str


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    operand: "Expression"


@dataclass(frozen=True, slots=True)
class Binary:
    """Two operands and what is done with them."""

    operator: Operator
    left: "Expression"
    right: "Expression"


@dataclass(frozen=True, slots=True)
class Call:
    """A function of the table."""

    function: str
    arguments: tuple["Expression", ...]


@dataclass(frozen=True, slots=True)
class Lookup:
    """What a table has for a value as text; a value that it lacks is what `otherwise` is.

    Only a mapping makes it, of its `values`; there is no way to write it in an expression.
    """

    operand: "Expression"
    table: Mapping[str, Decimal | str | bool | None]
    otherwise: "Expression"


Expression: TypeAlias = Literal | Field | Not | Binary | Call | Lookup


class ExpressionError(ValueError):
    """An expression that cannot be read.

    Attributes:
        position: Index of the character where the trouble starts, from 0.
        problem: What is wrong and what would be right.
    """

    def __init__(self, position: int, problem: str) -> None:
        super().__init__(f"character {position}: {problem}")
        self.position = position
        self.problem = problem


def parse_expression(source: str) -> Expression:
    """Read an expression.

    Raises:
        ExpressionError: It is none, or too large.
    """
    if len(source) > MAXIMUM_LENGTH:
        raise ExpressionError(MAXIMUM_LENGTH, f"longer than {MAXIMUM_LENGTH} characters")
    return _Parser(source).whole()


def operands(expression: Expression) -> tuple[Expression, ...]:
    """The expressions that an expression is directly made of."""
    match expression:
        case Literal() | Field():
            return ()
        case Not(operand):
            return (operand,)
        case Binary(_, left, right):
            return (left, right)
        case Call(_, arguments):
            return arguments
        case Lookup(operand, _, otherwise):
            return (operand, otherwise)
        case _:
            assert_never(expression)


def fields_of(expression: Expression) -> frozenset[str]:
    """The paths that an expression reads."""
    # Parts that several expressions share are looked at once, or it would take exponential time.
    found: set[str] = set()
    seen: set[int] = set()
    left = [expression]
    while left:
        part = left.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, Field):
            found.add(part.path)
        left.extend(operands(part))
    return frozenset(found)


def substituted(expression: Expression, meanings: Mapping[str, Expression]) -> Expression:
    """The expression with other expressions in the place of the fields that they stand for."""
    match expression:
        case Literal():
            return expression
        case Field(path):
            return meanings.get(path, expression)
        case Not(operand):
            return Not(substituted(operand, meanings))
        case Binary(operator, left, right):
            return Binary(operator, substituted(left, meanings), substituted(right, meanings))
        case Call(function, arguments):
            return Call(function, tuple(substituted(it, meanings) for it in arguments))
        case Lookup(operand, table, otherwise):
            return Lookup(substituted(operand, meanings), table, substituted(otherwise, meanings))
        case _:
            assert_never(expression)


def height_of(expression: Expression) -> int:
    """How many expressions lie within each other, at most."""
    heights: dict[int, int] = {}
    left = [expression]
    while left:
        part = left[-1]
        inner = operands(part)
        unknown = [it for it in inner if id(it) not in heights]
        if unknown:
            left.extend(unknown)
            continue
        heights[id(part)] = 1 + max((heights[id(it)] for it in inner), default=0)
        left.pop()
    return heights[id(expression)]


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int


class _Parser:
    """Reads one expression by recursive descent, one method for each line of the grammar."""

    def __init__(self, source: str) -> None:
        self._tokens = list(_tokens(source))
        self._next = 0
        self._depth = 0
        self._parts = 0

    def whole(self) -> Expression:
        found = self._disjunction()
        if self._peek.kind != "end":
            raise self._unexpected("an operator or the end")
        return found

    @property
    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self, *texts: str) -> _Token | None:
        """Take the next token where it is one of these signs or words."""
        token = self._peek
        if token.kind not in ("sign", "name") or token.text not in texts:
            return None
        self._next += 1
        return token

    def _unexpected(self, wanted: str) -> ExpressionError:
        token = self._peek
        found = "the end" if token.kind == "end" else token.text
        return ExpressionError(token.position, f"expected {wanted}, found {found}")

    def _disjunction(self) -> Expression:
        self._depth += 1
        if self._depth > MAXIMUM_DEPTH:
            raise ExpressionError(self._peek.position, f"nested deeper than {MAXIMUM_DEPTH}")
        left = self._conjunction()
        while self._take("or"):
            left = Binary(Operator.OR, left, self._conjunction())
        self._depth -= 1
        return left

    def _conjunction(self) -> Expression:
        left = self._negation()
        while self._take("and"):
            left = Binary(Operator.AND, left, self._negation())
        return left

    def _negation(self) -> Expression:
        count = 0
        while self._take("not"):
            count += 1
        found = self._comparison()
        if count == 0:
            return found
        return Not(found) if count % 2 else Not(Not(found))

    def _comparison(self) -> Expression:
        left = self._sum()
        taken = self._take(*_ORDERINGS)
        if taken is None:
            return left
        found = Binary(Operator(taken.text), left, self._sum())
        if self._peek.text in _ORDERINGS:
            raise ExpressionError(self._peek.position, "join comparisons with and")
        return found

    def _sum(self) -> Expression:
        left = self._product()
        while taken := self._take("+", "-"):
            left = Binary(Operator(taken.text), left, self._product())
        return left

    def _product(self) -> Expression:
        left = self._factor()
        while taken := self._take("*", "/"):
            left = Binary(Operator(taken.text), left, self._factor())
        return left

    def _factor(self) -> Expression:
        count = 0
        while self._take("-"):
            count += 1
        found = self._atom()
        return Binary(Operator.MULTIPLY, Literal(Decimal((-1) ** count)), found) if count else found

    def _atom(self) -> Expression:
        token = self._peek
        self._parts += 1
        if self._parts > MAXIMUM_PARTS:
            raise ExpressionError(token.position, f"more than {MAXIMUM_PARTS} parts")
        if self._take("("):
            inner = self._disjunction()
            self._close()
            return inner
        if token.kind in ("sign", "end") or token.text in _RESERVED:
            raise self._unexpected("a value")
        self._next += 1
        match token.kind:
            case "number":
                return Literal(Decimal(token.text))
            case "text":
                return Literal(token.text[1:-1].replace("''", "'"))
            case "quoted":
                return Field(token.text[1:-1])
        if self._peek.text == "(" and self._peek.kind == "sign":
            return self._call(token)
        return Literal(_WORDS[token.text]) if token.text in _WORDS else Field(token.text)

    def _call(self, name: _Token) -> Expression:
        function = FUNCTIONS.get(name.text)
        if function is None:
            raise ExpressionError(
                name.position, f"no function {name.text}; there are {', '.join(FUNCTIONS)}"
            )
        self._next += 1
        arguments: list[Expression] = []
        while not (arguments == [] and self._peek.text == ")"):
            arguments.append(self._disjunction())
            if not self._take(","):
                break
        self._close()
        problem = function.arity_problem(len(arguments))
        if problem:
            raise ExpressionError(name.position, f"{name.text} takes {problem}")
        return Call(name.text, tuple(arguments))

    def _close(self) -> None:
        if not self._take(")"):
            raise self._unexpected("a closing bracket")


def _tokens(source: str) -> Iterator[_Token]:
    position, end = 0, len(source.rstrip())
    while position < end:
        match = _TOKEN.match(source, position)
        if match is None:
            start = len(source) - len(source[position:].lstrip())
            found = source[start]
            hint = "; write == to compare" if found == "=" else ""
            raise ExpressionError(start, f"cannot read {found!r} here{hint}")
        kind = str(match.lastgroup)
        yield _Token(kind, match.group(kind), match.start(kind))
        position = match.end()
    yield _Token("end", "", end)
