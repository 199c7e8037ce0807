"""The filter language of Klaviyo's API: read, checked against an endpoint's rules, applied.

    equals(name,"Autumn"),greater-or-equal(updated_at,2026-11-01T00:00:00Z)
    and(equals(metric_id,"RESQ6t"),less-than(datetime,2026-11-02T00:00:00Z))

Terms are joined by `and`, by name or by commas at the top; Klaviyo's reading endpoints know no
`or` and no `not`. Text is quoted, dates and numbers are bare.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum, unique
from typing import Final, assert_never

_MAXIMUM_LIST_ITEMS: Final = 100

Literal = str | bool | Decimal | datetime


@unique
class FilterOperator(StrEnum):
    """What a term of a filter can ask, by the words of the language."""

    EQUALS = "equals"
    LESS_THAN = "less-than"
    LESS_OR_EQUAL = "less-or-equal"
    GREATER_THAN = "greater-than"
    GREATER_OR_EQUAL = "greater-or-equal"
    CONTAINS = "contains"
    CONTAINS_ANY = "contains-any"
    CONTAINS_ALL = "contains-all"
    STARTS_WITH = "starts-with"
    ENDS_WITH = "ends-with"
    ANY = "any"
    HAS = "has"


@unique
class ValueKind(StrEnum):
    """What the values of a field are."""

    TEXT = "string"
    BOOLEAN = "boolean"
    NUMBER = "number"
    DATE_TIME = "date-time"
    PRESENCE = "presence"


_LISTS: Final = frozenset(
    {FilterOperator.ANY, FilterOperator.CONTAINS_ANY, FilterOperator.CONTAINS_ALL}
)


class FilterSyntaxError(Exception):
    """A filter that the language or the endpoint does not know; the message is Klaviyo's detail."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One term of a filter.

    Attributes:
        operator: What is asked.
        field: The field's name, as written.
        values: The operands: none for `has`, one for scalars, any number for lists.
        is_list: Whether the operand was written in brackets.
    """

    operator: FilterOperator
    field: str
    values: tuple[Literal, ...]
    is_list: bool = False


@dataclass(frozen=True, slots=True)
class FieldRule:
    """What an endpoint lets a filter ask of one field.

    Attributes:
        kind: What its values are.
        operators: The operators that may stand with it.
        allowed: The only values that may be named; empty where every value may.
    """

    kind: ValueKind
    operators: frozenset[FilterOperator]
    allowed: frozenset[str] = frozenset()


def rule(kind: ValueKind, *operators: FilterOperator, allowed: Iterable[str] = ()) -> FieldRule:
    """Return the rule for a field of `kind` that takes `operators`."""
    return FieldRule(kind, frozenset(operators), frozenset(allowed))


_OPERATOR_TEXT: Final = re.compile(r"[a-z]+(?:-[a-z]+)*(?=\()")
_FIELD_TEXT: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$.\- ]*")
_BARE_TEXT: Final = re.compile(r"[^,()\[\]\"'\s]+")
_NUMBER_TEXT: Final = re.compile(r"-?\d+(?:\.\d+)?")
_SPACE: Final = re.compile(r"\s*")


class _Reader:
    """Reads one filter from left to right."""

    __slots__ = ("_at", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def conditions(self) -> tuple[Condition, ...]:
        found = self._terms(closing=False)
        if self._at != len(self._text):
            raise self._error("the end of the filter")
        return tuple(found)

    def _terms(self, *, closing: bool) -> list[Condition]:
        found = list(self._term())
        while self._take(","):
            found += self._term()
        if closing:
            self._expect(")")
        return found

    def _term(self) -> list[Condition]:
        self._skip_space()
        word = self._match(_OPERATOR_TEXT, "an operator and '('")
        self._expect("(")
        if word == "and":
            return self._terms(closing=True)
        try:
            operator = FilterOperator(word)
        except ValueError as error:
            raise FilterSyntaxError(f"'{word}' is not a supported filter operator.") from error
        self._skip_space()
        field = self._match(_FIELD_TEXT, "a field name").strip()
        if operator is FilterOperator.HAS:
            self._expect(")")
            return [Condition(operator, field, ())]
        self._expect(",")
        is_list, values = self._operand()
        self._expect(")")
        return [Condition(operator, field, values, is_list)]

    def _operand(self) -> tuple[bool, tuple[Literal, ...]]:
        if not self._take("["):
            return False, (self._literal(),)
        values = [self._literal()]
        while self._take(","):
            values.append(self._literal())
        self._expect("]")
        return True, tuple(values)

    def _literal(self) -> Literal:
        self._skip_space()
        quote = self._text[self._at : self._at + 1]
        if quote in {'"', "'"}:
            return self._quoted(quote)
        bare = self._match(_BARE_TEXT, "a value")
        if bare in {"true", "false"}:
            return bare == "true"
        if _NUMBER_TEXT.fullmatch(bare):
            return Decimal(bare)
        return _moment(bare)

    def _quoted(self, quote: str) -> str:
        self._at += 1
        out: list[str] = []
        while self._at < len(self._text):
            character = self._text[self._at]
            self._at += 1
            if character == quote:
                return "".join(out)
            if character == "\\" and self._at < len(self._text):
                character = self._text[self._at]
                self._at += 1
            out.append(character)
        raise self._error(f"a closing {quote}")

    def _skip_space(self) -> None:
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _match(self, pattern: re.Pattern[str], wanted: str) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            raise self._error(wanted)
        self._at = found.end()
        return found.group()

    def _take(self, character: str) -> bool:
        self._skip_space()
        if not self._text.startswith(character, self._at):
            return False
        self._at += 1
        return True

    def _expect(self, character: str) -> None:
        if not self._take(character):
            raise self._error(f"'{character}'")

    def _error(self, wanted: str) -> FilterSyntaxError:
        return FilterSyntaxError(
            f"Invalid filter: expected {wanted} at position {self._at} of '{self._text}'."
        )


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise FilterSyntaxError(
            f"'{text}' is not a value: quote text, and write dates in ISO 8601."
        ) from error


def parse_filter(text: str) -> tuple[Condition, ...]:
    """Return the terms of `text`, in order.

    Raises:
        FilterSyntaxError: The text is no filter.
    """
    return _Reader(text).conditions()


def check_filter(
    conditions: Sequence[Condition],
    rules: Mapping[str, FieldRule],
    *,
    one_per_field: bool = False,
) -> None:
    """Hold a filter to what an endpoint allows.

    Args:
        conditions: The filter's terms.
        rules: The fields that may be filtered.
        one_per_field: Whether a field may stand in one term only, as in reports.

    Raises:
        FilterSyntaxError: A field, an operator or a value is not allowed.
    """
    seen: set[str] = set()
    for condition in conditions:
        field = condition.field
        if field not in rules:
            raise FilterSyntaxError(
                f"'{field}' is not a filterable field; allowed: {', '.join(sorted(rules))}."
            )
        field_rule = rules[field]
        if condition.operator not in field_rule.operators:
            raise FilterSyntaxError(
                f"'{condition.operator}' cannot be used on '{field}'; allowed:"
                f" {', '.join(sorted(field_rule.operators))}."
            )
        _check_operand(condition, field_rule)
        if one_per_field and field in seen:
            raise FilterSyntaxError(f"Only one filter can be used on '{field}'.")
        seen.add(field)


def _check_operand(condition: Condition, field_rule: FieldRule) -> None:
    if condition.operator is FilterOperator.HAS:
        return
    if condition.is_list is not (condition.operator in _LISTS):
        shape = "a list in brackets" if condition.operator in _LISTS else "one value"
        raise FilterSyntaxError(f"'{condition.operator}' on '{condition.field}' takes {shape}.")
    if len(condition.values) > _MAXIMUM_LIST_ITEMS:
        raise FilterSyntaxError(
            f"'{condition.field}' names {len(condition.values)} values; at most"
            f" {_MAXIMUM_LIST_ITEMS} are allowed."
        )
    for value in condition.values:
        if not _is_of_kind(value, field_rule.kind):
            raise FilterSyntaxError(f"'{condition.field}' takes a {field_rule.kind} value.")
        if field_rule.allowed and value not in field_rule.allowed:
            raise FilterSyntaxError(
                f"'{value}' is not a valid value of '{condition.field}'; allowed:"
                f" {', '.join(sorted(field_rule.allowed))}."
            )


def _is_of_kind(value: Literal, kind: ValueKind) -> bool:
    match kind:
        case ValueKind.TEXT:
            return isinstance(value, str)
        case ValueKind.BOOLEAN:
            return isinstance(value, bool)
        case ValueKind.NUMBER:
            return isinstance(value, Decimal)
        case ValueKind.DATE_TIME:
            return isinstance(value, datetime)
        case ValueKind.PRESENCE:
            return False
        case _:
            assert_never(kind)


def matches(conditions: Sequence[Condition], record: Mapping[str, object]) -> bool:
    """Return whether every term holds of `record`.

    Args:
        conditions: A checked filter.
        record: Values by field name: text, bool, numbers, aware datetimes, or a collection of text
            for fields with many values. Dates written without an offset are taken as UTC.
    """
    return all(_holds(condition, record.get(condition.field)) for condition in conditions)


def _holds(condition: Condition, actual: object) -> bool:  # noqa: PLR0911 - one arm each
    operator = condition.operator
    if operator is FilterOperator.HAS:
        return actual is not None
    if actual is None:
        return False
    wanted = [_comparable(value) for value in condition.values]
    held = _all_of(actual)
    first = wanted[0]
    match operator:
        case FilterOperator.EQUALS:
            return first in held
        case FilterOperator.ANY | FilterOperator.CONTAINS_ANY:
            return any(value in held for value in wanted)
        case FilterOperator.CONTAINS_ALL:
            return all(value in held for value in wanted)
        case FilterOperator.CONTAINS:
            return any(str(first).lower() in str(value).lower() for value in held)
        case FilterOperator.STARTS_WITH:
            return any(str(value).lower().startswith(str(first).lower()) for value in held)
        case FilterOperator.ENDS_WITH:
            return any(str(value).lower().endswith(str(first).lower()) for value in held)
        case (
            FilterOperator.LESS_THAN
            | FilterOperator.LESS_OR_EQUAL
            | FilterOperator.GREATER_THAN
            | FilterOperator.GREATER_OR_EQUAL
        ):
            return any(_in_order(operator, value, first) for value in held)
        case _:
            assert_never(operator)


def _in_order(operator: FilterOperator, left: object, right: object) -> bool:
    if isinstance(left, datetime) and isinstance(right, datetime):
        order = (left > right) - (left < right)
    else:
        order = (Decimal(str(left)) > Decimal(str(right))) - (
            Decimal(str(left)) < Decimal(str(right))
        )
    match operator:
        case FilterOperator.LESS_THAN:
            return order < 0
        case FilterOperator.LESS_OR_EQUAL:
            return order <= 0
        case FilterOperator.GREATER_THAN:
            return order > 0
        case _:
            return order >= 0


def _comparable(value: object) -> object:
    """Give dates an offset, so that any two can be compared."""
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    return value


def _all_of(actual: object) -> tuple[object, ...]:
    if isinstance(actual, (list, tuple, set, frozenset)):
        return tuple(_comparable(value) for value in actual)
    return (_comparable(actual),)
