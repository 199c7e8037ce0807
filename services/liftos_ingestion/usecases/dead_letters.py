"""Dead letters as people look at them, give them up and have them tried again."""

from uuid import UUID

from liftos_ingestion.dead_letter_ports import DeadLetterStore, Selection
from liftos_ingestion.run_view_ports import Page, Row
from liftos_kit.core.errors import NotFoundError
from liftos_kit.core.filters import Filter
from liftos_kit.core.paging import JsonValue
from liftos_kit.core.repeatable import AnsweredBeforeError, Repeatable


class DeadLetters:
    """Shows dead letters, gives them up, and starts runs that try them again.

    Args:
        store: Where they are.
    """

    def __init__(self, store: DeadLetterStore) -> None:
        self._store = store

    async def get(self, org: str, run: UUID, dead_letter: UUID) -> Row:
        """Return a dead letter. The run in its name is the one that met it last, or was before.

        Raises:
            NotFoundError: There is none.
        """
        row = await self._store.get(org, dead_letter)
        if row is None:
            raise NotFoundError(f"orgs/{org}/runs/{run.hex}/deadLetters/{dead_letter.hex}")
        return row

    async def list_dead_letters(
        self, org: str, run: UUID | None, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> Page:
        """Return a page of dead letters, newest first."""
        return await self._store.list_dead_letters(
            org, run, where=where, cursor=cursor, limit=limit
        )

    async def discard(
        self, org: str, selection: Selection, reason: str, *, repeatable: Repeatable[int] | None
    ) -> int | bytes:
        """Give dead letters up.

        Returns:
            How many, or the answer that the same request was given before.

        Raises:
            NotFoundError: One that is named does not exist.
            StateTransitionError: One that is named is not open.
        """
        try:
            return await self._store.discard(org, selection, reason, repeatable)
        except AnsweredBeforeError as answered:
            return answered.response

    async def replay(
        self,
        org: str,
        selection: Selection,
        subject: str,
        *,
        repeatable: Repeatable[tuple[Row, int]] | None,
    ) -> tuple[Row, int] | bytes:
        """Start a run that tries dead letters again with the mapping of now.

        Returns:
            The run and how many it tries, or the answer that the same request was given before.

        Raises:
            InvalidFieldsError: There are none, or they are of several connections.
            NotFoundError: One that is named does not exist.
            StateTransitionError: One that is named is not open.
        """
        try:
            return await self._store.start_replay(org, selection, subject, repeatable)
        except AnsweredBeforeError as answered:
            return answered.response
