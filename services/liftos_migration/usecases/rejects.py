"""Refused rows as people decide on them, and as a worker tries them again."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from liftos_kit.core.clock import Clock
from liftos_kit.core.errors import OverloadedError, StateTransitionError
from liftos_kit.core.filters import Filter
from liftos_kit.core.paging import JsonValue
from liftos_kit.core.repeatable import AnsweredBeforeError, Repeatable
from liftos_migration.domain.names import migration_name
from liftos_migration.domain.states import MigrationState
from liftos_migration.reject_ports import Choice, RejectRuns, Rejects, StoredReject, Tried
from liftos_migration.usecases.catching_up import CatchingUp
from liftos_migration.usecases.migrations import MigrationAdministration
from liftos_migration.usecases.steps import StepContext
from liftos_migration.usecases.verification_work import VERIFIABLE

_LOOK_SECONDS: Final = 0.25
_LONGEST_SECONDS: Final = 50.0


class RejectAdministration:
    """Shows refused rows, lets them be tried again, and gives them up.

    Args:
        administration: Knows the migrations.
        store: Where refused rows are.
        clock: Time between two looks.
    """

    def __init__(
        self, administration: MigrationAdministration, store: Rejects, clock: Clock
    ) -> None:
        self._administration = administration
        self._store = store
        self._clock = clock

    async def list_page(
        self, org: str, migration: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> tuple[Sequence[StoredReject], JsonValue]:
        """Return a page of refused rows by table and key.

        Raises:
            NotFoundError: There is no such migration.
        """
        await self._administration.get(org, migration)
        return await self._store.list_page(org, migration, where=where, cursor=cursor, limit=limit)

    async def resolve(
        self,
        org: str,
        migration: str,
        choice: Choice,
        *,
        subject: str,
        reason: str,
        repeatable: Repeatable[Tried] | None,
    ) -> Tried | bytes:
        """Let a worker try refused rows again, as their source has them now, and wait for it.

        Returns:
            What it came to, or the answer that the same request was given before.

        Raises:
            NotFoundError: There is no such migration or row.
            OverloadedError: The worker has not come to it yet; it will.
            StateTransitionError: A row is not open, or nothing is applied in this state; a stopped
                migration tries them by itself where it goes on.
        """
        stored = await self._administration.get(org, migration)
        if stored.state not in VERIFIABLE:
            raise StateTransitionError(
                migration_name(org, migration),
                state=stored.state.name,
                allowed_states=[state.name for state in MigrationState if state in VERIFIABLE],
            )
        chosen = await self._store.ask(org, migration, choice, subject=subject, reason=reason)
        began = self._clock.monotonic_seconds()
        while (tried := await self._store.tried(org, migration, chosen)) is None:
            if self._clock.monotonic_seconds() - began > _LONGEST_SECONDS:
                raise OverloadedError(limit="migration workers")
            await self._clock.sleep(_LOOK_SECONDS)
        try:
            return await self._store.answer(org, tried, repeatable)
        except AnsweredBeforeError as answered:
            return answered.response

    async def waive(
        self,
        org: str,
        migration: str,
        choice: Choice,
        *,
        subject: str,
        reason: str,
        repeatable: Repeatable[int] | None,
    ) -> int | bytes:
        """Give refused rows up.

        Returns:
            How many, or the answer that the same request was given before.

        Raises:
            NotFoundError: There is no such migration or row.
            StateTransitionError: A row is not open.
        """
        await self._administration.get(org, migration)
        try:
            return await self._store.waive(
                org, migration, choice, subject=subject, reason=reason, repeatable=repeatable
            )
        except AnsweredBeforeError as answered:
            return answered.response


class TryWhatIsAsked:
    """Tries refused rows again; see `liftos_migration.usecases.steps.ContinuousWork`.

    Args:
        catching_up: Compares the tables that they are of, and writes what differs.
        runs: Where they are.
    """

    title = "try refused rows again"
    phases = VERIFIABLE

    def __init__(self, catching_up: CatchingUp, runs: RejectRuns) -> None:
        self._catching_up = catching_up
        self._runs = runs

    async def run(self, context: StepContext) -> None:
        """Try what is asked for, until it is to stop."""
        while not context.stop.is_set():
            asked = await self._runs.asked(context.lease)
            if asked:
                await self._catching_up.mend(context, sorted(set(asked.values())))
                await self._runs.end_asking(context.lease, asked.keys())
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await context.stop.wait()
