"""Verifications as people ask for and see them."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from liftos_kit.core.errors import StateTransitionError
from liftos_kit.core.filters import Filter
from liftos_kit.core.paging import JsonValue
from liftos_kit.core.repeatable import AnsweredBeforeError, Repeatable
from liftos_migration.domain.differences import Difference
from liftos_migration.domain.names import migration_name
from liftos_migration.domain.states import MigrationState
from liftos_migration.usecases.migrations import MigrationAdministration
from liftos_migration.usecases.verification_work import VERIFIABLE
from liftos_migration.verification_run_ports import (
    NewVerification,
    StoredVerification,
    Verifications,
)

_ALLOWED: Final = tuple(state for state in MigrationState if state in VERIFIABLE)


class VerificationAdministration:
    """Asks for verifications and repairs, and shows what they came to.

    Args:
        administration: Knows the migrations.
        store: Where verifications are.
    """

    def __init__(self, administration: MigrationAdministration, store: Verifications) -> None:
        self._administration = administration
        self._store = store

    async def ask(
        self,
        org: str,
        migration: str,
        asked: NewVerification,
        repeatable: Repeatable[StoredVerification] | None,
    ) -> StoredVerification | bytes:
        """Ask for a verification, or for a repair with a fresh one.

        Returns:
            The verification, or the answer that the same request was given before.

        Raises:
            NotFoundError: There is no such migration.
            StateTransitionError: Nothing follows the source that could be compared.
        """
        stored = await self._administration.get(org, migration)
        if stored.state not in VERIFIABLE:
            raise StateTransitionError(
                migration_name(org, migration),
                state=stored.state.name,
                allowed_states=[state.name for state in _ALLOWED],
            )
        try:
            return await self._store.ask(org, migration, asked, repeatable)
        except AnsweredBeforeError as answered:
            return answered.response

    async def get(self, org: str, migration: str, verification: UUID) -> StoredVerification:
        """Return a verification.

        Raises:
            NotFoundError: There is none.
        """
        return await self._store.get(org, migration, verification)

    async def list_page(
        self, org: str, migration: str, *, cursor: JsonValue, limit: int
    ) -> tuple[Sequence[StoredVerification], JsonValue]:
        """Return a page of verifications, newest first.

        Raises:
            NotFoundError: There is no such migration.
        """
        await self._administration.get(org, migration)
        return await self._store.list_page(org, migration, cursor=cursor, limit=limit)

    async def list_differences(
        self,
        org: str,
        migration: str,
        verification: UUID,
        *,
        where: Filter | None,
        cursor: JsonValue,
        limit: int,
    ) -> tuple[Sequence[Difference], JsonValue]:
        """Return a page of records that differ.

        Raises:
            NotFoundError: There is no such verification.
        """
        await self._store.get(org, migration, verification)
        return await self._store.list_differences(
            org, migration, verification, where=where, cursor=cursor, limit=limit
        )

    async def count_differences(
        self, org: str, migration: str, verification: UUID, tables: Sequence[str]
    ) -> int:
        """Return how many records differ, of some tables or of all.

        Raises:
            NotFoundError: There is no such verification.
        """
        return await self._store.count_differences(org, migration, verification, tables)
