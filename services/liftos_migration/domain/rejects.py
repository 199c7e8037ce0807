"""Records that could not be taken in."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from liftos_migration.domain.changes import Key


class RejectState(IntEnum):
    """What became of a refused record; the numbers are the contract's."""

    OPEN = 1
    RESOLVED = 2
    WAIVED = 3


@dataclass(frozen=True, slots=True)
class RecordError:
    """Why a record was refused.

    Attributes:
        rule: Stable word of the rule, or SQLSTATE of the source.
        message: What was found and what is allowed.
        field: Of the record; empty where it is the whole.
    """

    rule: str
    message: str
    field: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """A record of a batch that was refused; the others stand.

    Attributes:
        place: In the batch, from 0.
        errors: Every rule that it breaks.
    """

    place: int
    errors: tuple[RecordError, ...]


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that waits for a person.

    Attributes:
        table: The mapped table.
        key: Of the record.
        errors: Every rule that it breaks.
        row: The record as far as it is known.
    """

    table: str
    key: Key
    errors: Sequence[RecordError]
    row: dict[str, object]
