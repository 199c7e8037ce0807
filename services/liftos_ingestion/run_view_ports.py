"""Runs as people look at them."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias
from uuid import UUID

from liftos_ingestion.run_ports import NewRun
from liftos_kit.core.filters import Filter
from liftos_kit.core.paging import JsonValue
from liftos_kit.core.repeatable import Repeatable

Row: TypeAlias = Mapping[str, Any]
Page: TypeAlias = tuple[Sequence[Row], JsonValue]
"""Rows, and the cursor of the next page; None at the end."""


class RunViews(Protocol):
    """Runs, their slices and what they found, as rows; and runs as people start and stop them."""

    async def get(self, org: str, run: UUID) -> Row | None:
        """Return a run with `accounts`; None where there is none."""

    async def revision(self, org: str, run: UUID) -> int | None:
        """Return what grows with each change of a run; None where there is none."""

    async def list_runs(
        self, org: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> Page:
        """Return runs, newest first."""

    async def list_slices(
        self, org: str, run: UUID, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> Page:
        """Return the slices of a run by account, level and first day."""

    async def list_objects(
        self, org: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> Page:
        """Return objects by platform, account, level and id."""

    async def list_reconciliations(
        self, org: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> Page:
        """Return reconciliations, newest first."""

    async def start(self, org: str, run: NewRun, repeatable: Repeatable[Row] | None) -> Row:
        """Start a run and return it.

        Raises:
            AnsweredBeforeError: The same request was done before.
            RequestIdReusedError: Another request was.
        """

    async def cancel(
        self, org: str, run: UUID, reason: str, repeatable: Repeatable[Row] | None
    ) -> Row:
        """Cancel a run and return it.

        Raises:
            AnsweredBeforeError: The same request was done before.
            NotFoundError: There is none.
            RequestIdReusedError: Another request was.
            StateTransitionError: It has ended, or is being cancelled.
        """


class RunHistory(Protocol):
    """What earlier runs tell about those to come."""

    async def rows_a_day(
        self, org: str, platform: str
    ) -> Mapping[tuple[str, str, str, str], float]:
        """Return how many rows a day had lately, by account, level, attribution and date basis."""
