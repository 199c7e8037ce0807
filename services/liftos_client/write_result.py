"""What writes did, summed over their batches."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from liftos.common.v1.marketing_pb2 import ItemError

KEPT_ERRORS: Final = 10_000
"""How many item errors a result keeps; all are counted."""


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """One reason why a row was refused; the other rows stand.

    Attributes:
        row: Its place among all rows that were given, from 0.
        error: What is wrong with it.
    """

    row: int
    error: ItemError


@dataclass(slots=True)
class WriteResult:
    """What was written so far.

    Attributes:
        row_count: Rows that were sent and answered.
        upserted_count: Entries that are new or changed.
        unchanged_count: Entries that were there with the same contents.
        vanished_count: Entries that a slice no longer had, or that were deleted.
        refused_count: Rows that were refused.
        item_errors: Why; at most `KEPT_ERRORS` are kept.
        unreported_count: Rows of batches that were committed while the connection was lost: they
            are written, but what the service said about them did not arrive.
        last_sequence: Last sequence of the stream that was committed.
        write_token: Covers all of it; a read may be given the result itself.
    """

    row_count: int = 0
    upserted_count: int = 0
    unchanged_count: int = 0
    vanished_count: int = 0
    refused_count: int = 0
    item_errors: list[RefusedRow] = field(default_factory=list)
    unreported_count: int = 0
    last_sequence: int = 0
    write_token: str = ""

    def add_errors(self, errors: Iterable[ItemError], *, first_row: int) -> None:
        """Count and keep the item errors of a batch whose rows begin at `first_row`."""
        refused = set()
        for error in errors:
            refused.add(error.index)
            if len(self.item_errors) < KEPT_ERRORS:
                self.item_errors.append(RefusedRow(first_row + error.index, error))
        self.refused_count += len(refused)
