"""What becomes of each part of a source: SQL that the source's own Postgres evaluates.

A `TableMapping` gives, for each field of what its rows become, an expression over the columns of
its table. Nothing else transforms anything: the same expressions copy, catch up and verify.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum


class Target(IntEnum):
    """What the rows of a table become; the numbers are the contract's."""

    UNDECIDED = 0
    ENTRIES = 1
    ARTIFACTS = 2
    NOTES = 3
    TABLE_ARTIFACT = 4
    EXCHANGE_RATES = 5
    PART = 6


class Rows(IntEnum):
    """How many rows make one record; the numbers are the contract's."""

    ONE = 1
    NEWEST = 2
    GROUPED = 3


class Reverse(IntEnum):
    """What happens to a table on the way back; the numbers are the contract's."""

    REFUSE = 1
    INVERSE = 2
    READ_ONLY = 3


class Rounding(IntEnum):
    """How a number becomes one of fewer digits; the numbers are the contract's."""

    NONE = 0
    """It has no more digits than its field."""
    HALF_AWAY = 1
    """To the nearest; halves away from zero."""
    HALF_EVEN = 2
    """To the nearest; halves to the even neighbour."""


class KeyClass(IntEnum):
    """What Redis keys are for; the numbers are the contract's."""

    UNDECIDED = 0
    DERIVED_CACHE = 1
    STATE = 2
    CONFIGURATION = 3


@dataclass(frozen=True, slots=True)
class Rule:
    """How one field comes about.

    Attributes:
        field: Of the target, such as `spend_micros` or `body.parameters`.
        expression: SQL over the columns of the table; `:org` is the organisation.
        rounding: What is done to more digits than the field has.
    """

    field: str
    expression: str
    rounding: Rounding = Rounding.NONE


@dataclass(frozen=True, slots=True)
class InverseRule:
    """How one column comes about again.

    Attributes:
        column: Of the table.
        expression: SQL over the fields of the target, and over columns of `inverse_rows`.
        tolerance: Most that the number may differ from what it was, as a decimal; empty where it
            has to be equal.
    """

    column: str
    expression: str
    tolerance: str = ""


@dataclass(frozen=True, slots=True)
class TableMapping:
    """What the rows of one table become.

    Attributes:
        table: As SQL writes it, such as `public.campaigns`.
        target: What they become.
        rules: How its fields come about.
        key_columns: What identifies a record; none takes the primary key.
        row_filter: SQL condition; rows for which it does not hold stay behind.
        rows: How many rows make a record.
        order_by: For NEWEST: the first row of a record by this order is taken.
        scope: Of artifacts and notes.
        part_of: For PART: the table whose records hold the rows.
        reverse: What happens on the way back.
        inverse: How columns come about again.
        inverse_rows: SQL of a FROM item over the target's fields that has one row for each row of
            the table; empty where a record is one row.
        inverse_filter: SQL condition over the target's fields; records for which it does not hold
            are not of this table.
    """

    table: str
    target: Target
    rules: tuple[Rule, ...] = ()
    key_columns: tuple[str, ...] = ()
    row_filter: str = ""
    rows: Rows = Rows.ONE
    order_by: str = ""
    scope: str = ""
    part_of: str = ""
    reverse: Reverse = Reverse.REFUSE
    inverse: tuple[InverseRule, ...] = ()
    inverse_rows: str = ""
    inverse_filter: str = ""

    def expressions(self) -> Iterator[str]:
        """Yield all SQL that reads the table."""
        yield from (rule.expression for rule in self.rules)
        yield from (each for each in (self.row_filter, self.order_by) if each)


@dataclass(frozen=True, slots=True)
class KeyMapping:
    """What becomes of the Redis keys that begin alike; scope is that of the artifacts."""

    prefix: str
    key_class: KeyClass
    scope: str = ""


@dataclass(frozen=True, slots=True)
class Waiver:
    """A part that does not move.

    Attributes:
        object: As in the inventory; `schema.table.column` for a column, and
            `schema.table:filtered` for the rows that a filter leaves behind.
        reason: Why.
        subject: Who waived it; empty where it was not said.
    """

    object: str
    reason: str
    subject: str = ""


FILTERED = ":filtered"
"""Ends the name of the rows that a filter leaves behind."""


@dataclass(frozen=True, slots=True)
class Mapping:
    """What becomes of every part of a source; `version` is a word of the author's."""

    tables: tuple[TableMapping, ...] = ()
    keys: tuple[KeyMapping, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    version: str = ""

    def table(self, name: str) -> TableMapping | None:
        """Return the mapping of a table, by its name as SQL writes it."""
        return next((each for each in self.tables if each.table == name), None)

    def parts_of(self, name: str) -> tuple[TableMapping, ...]:
        """Return the tables whose rows are within the records of a table."""
        return tuple(each for each in self.tables if each.part_of == name)

    def waived(self, name: str) -> Waiver | None:
        """Return the waiver of a part."""
        return next((each for each in self.waivers if each.object == name), None)
