"""The rows that were refused: all counted, the first shown, all of them in a file where asked."""

import csv
import heapq
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from liftos_cli.errors import CommandError
from liftos_cli.importing.row_files import RefusedRow

_SHOWN: Final = 20
_HEADER: Final = ("file", "row", "field", "rule", "message")


class _RowWriter(Protocol):
    def writerow(self, row: Sequence[object], /) -> object: ...


class Refusals:
    """What was refused of files that are read one after the other, told in the order of their rows.

    Attributes:
        shown: The first reasons that are settled, each with its file.
        reason_count: How many reasons there were; a row may have several.
    """

    def __init__(self, writer: _RowWriter | None) -> None:
        self._writer = writer
        self._rows: set[tuple[str, int]] = set()
        self._waiting: list[tuple[int, int, str, RefusedRow]] = []
        self.shown: list[tuple[str, RefusedRow]] = []
        self.reason_count = 0

    @property
    def row_count(self) -> int:
        """How many rows were refused."""
        return len(self._rows)

    def add(self, file: str, refused: RefusedRow) -> None:
        """Keep one reason; it is told once its row is settled."""
        self._rows.add((file, refused.row))
        self.reason_count += 1
        heapq.heappush(self._waiting, (refused.row, self.reason_count, file, refused))

    def settle(self, last_row: int | None = None) -> None:
        """Tell what is kept of all rows up to one, about which nothing more will be added.

        Args:
            last_row: Its number in the file that is being read; None for all of the file.
        """
        while self._waiting and (last_row is None or self._waiting[0][0] <= last_row):
            *_, file, refused = heapq.heappop(self._waiting)
            if len(self.shown) < _SHOWN:
                self.shown.append((file, refused))
            if self._writer is not None:
                self._writer.writerow(
                    (file, refused.row, refused.field, refused.rule, refused.message)
                )


@contextmanager
def collect_refusals(errors_file: Path | None) -> Iterator[Refusals]:
    """Give a collector that also writes a CSV file, where one is named.

    Raises:
        CommandError: The file cannot be written.
    """
    if errors_file is None:
        yield Refusals(None)
        return
    try:
        stream = errors_file.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise CommandError(
            f"{errors_file} cannot be written ({error.strerror})", advice="name another file"
        ) from None
    with stream:
        writer = csv.writer(stream)
        writer.writerow(_HEADER)
        refusals = Refusals(writer)
        try:
            yield refusals
        finally:
            refusals.settle()
