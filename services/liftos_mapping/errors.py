"""What can be wrong with a raw row, and with a call."""

from dataclasses import dataclass
from enum import StrEnum


class RowErrorCode(StrEnum):
    """Why a raw row gives no entry; stable words for programs."""

    NOT_AN_OBJECT = "NOT_AN_OBJECT"
    WRONG_SHAPE = "WRONG_SHAPE"
    AMBIGUOUS = "AMBIGUOUS"
    MISSING = "MISSING"
    NOT_TEXT = "NOT_TEXT"
    INEXACT_ID = "INEXACT_ID"
    NOT_A_NUMBER = "NOT_A_NUMBER"
    NOT_FINITE = "NOT_FINITE"
    NOT_WHOLE = "NOT_WHOLE"
    NEGATIVE = "NEGATIVE"
    OUT_OF_RANGE = "OUT_OF_RANGE"
    NOT_A_DATE = "NOT_A_DATE"
    NOT_DAILY = "NOT_DAILY"
    NOT_A_BOOLEAN = "NOT_A_BOOLEAN"
    SERIES_LENGTH = "SERIES_LENGTH"
    DUPLICATE_ACTION = "DUPLICATE_ACTION"
    ACCOUNT_MISMATCH = "ACCOUNT_MISMATCH"
    CURRENCY_MISMATCH = "CURRENCY_MISMATCH"
    LEVEL_MISMATCH = "LEVEL_MISMATCH"
    CONTRADICTION = "CONTRADICTION"


@dataclass(frozen=True, slots=True)
class RowError:
    """One reason why one raw row, or one day of it, gave no entry.

    Attributes:
        index: The position of the raw row in the call, from 0.
        field: The source field in the source's spelling where it has one, else the column.
        code: The kind of error.
        message: What is wrong and what to send instead.
    """

    index: int
    field: str
    code: RowErrorCode
    message: str


class UnknownPlatformError(ValueError):
    """No mapping exists for the platform."""

    def __init__(self, platform: str, known: tuple[str, ...]) -> None:
        super().__init__(
            f"no mapping for platform {platform!r}; raw rows can be read of {', '.join(known)}"
        )
        self.platform = platform
        self.known = known


class TransformContextError(ValueError):
    """The context of a call holds a value that no entry can have."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"context.{field}: {message}")
        self.field = field
        self.message = message


class MappingError(ValueError):
    """A platform's mapping names a column, conversion or level that does not exist."""
