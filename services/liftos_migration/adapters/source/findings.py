"""What is found wrong with the mapping of one table, in Postgres' own words where it has some."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

from liftos_migration.domain.preflight import Finding, Severity

NO_WAY_BACK: Final = "NO_WAY_BACK"
"""Code of what keeps from a cut-over, and from nothing before."""

ROWS_FAIL: Final = "ROWS_FAIL"
"""Code of rows that are refused one by one, and wait for a person then."""

_WARNINGS: Final = (NO_WAY_BACK, ROWS_FAIL)


class Findings:
    """Collects findings about a table.

    Args:
        connection: To the source, in a transaction.
        table: The table's name.
    """

    def __init__(self, connection: asyncpg.Connection, table: str) -> None:
        self._connection = connection
        self._table = table
        self.found: list[Finding] = []

    def add(self, code: str, place: str, found: str, *, wanted: str, remedy: str) -> None:
        """Add what stands in the way of a start, or of what comes later.

        Args:
            code: Stable word.
            place: Where in the mapping of the table.
            found: What there is.
            wanted: What is needed.
            remedy: What to do.
        """
        severity = Severity.WARNING if code in _WARNINGS else Severity.BLOCKER
        name = f"{self._table} {place}" if place else self._table
        self.found.append(Finding(severity, code, name, found, wanted, remedy))

    @property
    def is_startable(self) -> bool:
        """Whether nothing that was found blocks the start."""
        return all(each.severity is not Severity.BLOCKER for each in self.found)

    @asynccontextmanager
    async def asking(
        self, code: str, place: str, *, wanted: str, remedy: str
    ) -> AsyncIterator[None]:
        """Add what Postgres says against the statements within."""
        try:
            async with self._connection.transaction():
                yield
        except asyncpg.PostgresError as error:
            told = error.as_dict()
            hint = told.get("hint")
            self.add(
                code,
                place,
                f"Postgres says: {told.get('message', error)}",
                wanted=wanted,
                remedy=f"{remedy}; Postgres hints: {hint}" if hint else remedy,
            )
