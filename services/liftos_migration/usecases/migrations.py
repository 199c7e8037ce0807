"""Migrations as people make, change and steer them."""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, NoReturn

from liftos_kit.core.clock import Clock
from liftos_kit.core.errors import (
    EtagMismatchError,
    GateUnmetError,
    NotFoundError,
    StateTransitionError,
    UnmetGate,
)
from liftos_kit.core.filters import Filter, parse_filter
from liftos_kit.core.paging import JsonValue
from liftos_kit.core.repeatable import AnsweredBeforeError, Repeatable
from liftos_migration.domain.filters import STEP_FIELDS
from liftos_migration.domain.ledger import Decision, Head, Step
from liftos_migration.domain.mapping import Mapping
from liftos_migration.domain.migrations import MigrationProgress, MigrationSpec, Throttle
from liftos_migration.domain.names import migration_name
from liftos_migration.domain.preflight import Preflight, Severity
from liftos_migration.domain.spec_rules import require_valid, require_valid_throttle
from liftos_migration.domain.states import (
    ALLOWED,
    ENDED,
    STOPPED,
    TO_VERIFIED,
    WORKING,
    CutOverPhase,
    MigrationState,
    Place,
    RollbackLevel,
    TransitionError,
)
from liftos_migration.ledger_ports import Migrations, StoredMigration, Verdict

_LOOK_SECONDS: Final = 0.25
_TOLD_SECONDS: Final = 1.0
_HEARTBEAT_SECONDS: Final = 15.0
_PLANNED: Final = ("module", "source", "mapping", "capture_mode", "rehearsal")
"""Fields that change in DRAFT and PAUSED only."""
_PLAN_STATES: Final = (MigrationState.DRAFT, MigrationState.PAUSED)
_SERVED: Final = (
    MigrationState.SHIFTING,
    MigrationState.CUTTING_OVER,
    MigrationState.SOAKING,
)
"""States in which Core serves."""
_RUNNING: Final = parse_filter("state = RUNNING", STEP_FIELDS)

Decided = tuple[StoredMigration, Decision]


class MigrationAdministration:
    """Makes, changes, steers and shows migrations.

    Args:
        store: Where they are.
        clock: Time between two looks.
    """

    def __init__(self, store: Migrations, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def create(
        self,
        org: str,
        migration: str,
        spec: MigrationSpec,
        repeatable: Repeatable[StoredMigration] | None,
    ) -> StoredMigration | bytes:
        """Store a draft.

        Returns:
            The migration, or the answer that the same request was given before.

        Raises:
            AlreadyExistsError: The id is taken.
            InvalidFieldsError: The specification breaks rules; names all of them.
        """
        require_valid(spec)
        try:
            return await self._store.create(org, migration, spec, repeatable)
        except AnsweredBeforeError as answered:
            return answered.response

    async def update(
        self,
        org: str,
        migration: str,
        spec: MigrationSpec,
        *,
        fields: Collection[str],
        revision: int | None,
        repeatable: Repeatable[StoredMigration] | None,
    ) -> StoredMigration | bytes:
        """Change fields of a migration.

        Args:
            org: Whose.
            migration: Its id.
            spec: The new values.
            fields: Which of them are meant.
            revision: As it was read; None takes the newest.
            repeatable: The request, where it has an id.

        Returns:
            The migration, or the answer that the same request was given before.

        Raises:
            EtagMismatchError: It was changed since it was read.
            InvalidFieldsError: The specification breaks rules.
            NotFoundError: There is none.
            StateTransitionError: Its state does not allow it.
        """

        def changed(before: StoredMigration) -> MigrationSpec:
            _require_revision(org, before, revision)
            after = replace(before.spec, **{name: getattr(spec, name) for name in fields})
            after = replace(after, mapping=_with_subjects_of(after.mapping, before.spec.mapping))
            touched = [
                name for name in fields if getattr(after, name) != getattr(before.spec, name)
            ]
            if touched and before.state in ENDED:
                _refuse(org, before, [state for state in MigrationState if state not in ENDED])
            if set(touched) & set(_PLANNED) and before.state not in _PLAN_STATES:
                _refuse(org, before, _PLAN_STATES)
            require_valid(after)
            return after

        try:
            return await self._store.change(org, migration, changed, repeatable)
        except AnsweredBeforeError as answered:
            return answered.response

    async def set_throttle(
        self,
        org: str,
        migration: str,
        throttle: Throttle,
        repeatable: Repeatable[StoredMigration] | None,
    ) -> StoredMigration | bytes:
        """Say how hard a migration may work.

        Raises:
            InvalidFieldsError: A length of time is less than nothing.
            NotFoundError: There is none.
            StateTransitionError: It has ended.
        """
        require_valid_throttle(throttle)

        def changed(before: StoredMigration) -> MigrationSpec:
            if before.state in ENDED:
                _refuse(org, before, [state for state in MigrationState if state not in ENDED])
            return replace(before.spec, throttle=throttle)

        try:
            return await self._store.change(org, migration, changed, repeatable)
        except AnsweredBeforeError as answered:
            return answered.response

    async def delete(
        self,
        org: str,
        migration: str,
        *,
        revision: int | None,
        repeatable: Repeatable[None] | None,
    ) -> None:
        """Remove a draft.

        Raises:
            EtagMismatchError: It was changed since it was read.
            NotFoundError: There is none.
            StateTransitionError: It was started.
        """

        def check(stored: StoredMigration) -> None:
            _require_revision(org, stored, revision)
            if stored.state is not MigrationState.DRAFT:
                _refuse(org, stored, [MigrationState.DRAFT])

        with suppress(AnsweredBeforeError):
            await self._store.delete(org, migration, check, repeatable)

    async def get(self, org: str, migration: str) -> StoredMigration:
        """Return a migration.

        Raises:
            NotFoundError: There is none.
        """
        stored = await self._store.get(org, migration)
        if stored is None:
            raise NotFoundError(migration_name(org, migration))
        return stored

    async def list_page(
        self, org: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> tuple[Sequence[StoredMigration], JsonValue]:
        """Return a page of migrations, newest first."""
        return await self._store.list_page(org, where=where, cursor=cursor, limit=limit)

    async def watch(
        self, org: str, migration: str
    ) -> AsyncIterator[tuple[StoredMigration, Step | None]]:
        """Yield a migration and its running step until it has ended.

        At each change, every second while it works, and at least every 15 s.

        Raises:
            NotFoundError: There is none.
        """
        while True:
            stored = await self.get(org, migration)
            yield stored, await self._running_step(org, migration)
            if stored.state in ENDED:
                return
            patience = _TOLD_SECONDS if stored.state in WORKING else _HEARTBEAT_SECONDS
            told_at = self._clock.monotonic_seconds()
            while self._clock.monotonic_seconds() - told_at < patience:
                await self._clock.sleep(_LOOK_SECONDS)
                if (await self.get(org, migration)).revision != stored.revision:
                    break

    async def start(
        self,
        org: str,
        migration: str,
        *,
        subject: str,
        revision: int | None,
        dry_run: bool,
        found: Preflight,
        age: timedelta,
        repeatable: Repeatable[Decided] | None,
    ) -> Decided | bytes:
        """Let workers run a draft up to VERIFIED.

        Args:
            org: Whose.
            migration: Its id.
            subject: Who starts it.
            revision: As it was read; None takes the newest.
            dry_run: Only write the decision.
            found: What the source allows.
            age: How long ago that was found.
            repeatable: The request.

        Raises:
            EtagMismatchError: It was changed since it was read.
            GateUnmetError: Something blocks; names all of it.
            NotFoundError: There is none.
            StateTransitionError: It is no draft.
        """
        name = migration_name(org, migration)

        def decide(stored: StoredMigration) -> Verdict:
            _require_revision(org, stored, revision)
            if stored.state is not MigrationState.DRAFT:
                _refuse(org, stored, [MigrationState.DRAFT])
            blockers = [each for each in found.findings if each.severity is Severity.BLOCKER]
            if blockers:
                raise GateUnmetError(
                    name,
                    [
                        UnmetGate(f"{each.code} {each.object}".strip(), each.found, each.wanted)
                        for each in blockers
                    ],
                )
            return Verdict(
                action="start",
                subject=subject,
                reason=f"{len(found.findings)} findings, none of which blocks,"
                f" as of {age.total_seconds():.0f} s ago",
                place=None if dry_run else Place(MigrationState.PREFLIGHT),
                state_reason="",
                dry_run=dry_run,
            )

        return await self._decided(org, migration, decide, repeatable)

    async def pause(
        self,
        org: str,
        migration: str,
        *,
        subject: str,
        reason: str,
        repeatable: Repeatable[Decided] | None,
    ) -> Decided | bytes:
        """Let a migration stop after the batch in hand.

        Raises:
            NotFoundError: There is none.
            StateTransitionError: It does not run.
        """

        def decide(stored: StoredMigration) -> Verdict:
            return Verdict(
                action="pause",
                subject=subject,
                reason=reason,
                place=_moved(org, stored, MigrationState.PAUSED),
                state_reason=f"{subject} paused it: {reason}",
            )

        return await self._decided(org, migration, decide, repeatable)

    async def resume(
        self,
        org: str,
        migration: str,
        *,
        subject: str,
        reason: str,
        revision: int | None,
        repeatable: Repeatable[Decided] | None,
    ) -> Decided | bytes:
        """Let a stopped migration go on where it stopped.

        Where its plan changed since the last snapshot, or its changes have a gap, it begins anew:
        what was copied is compared, and written again where it differs.

        Raises:
            EtagMismatchError: It was changed since it was read.
            NotFoundError: There is none.
            StateTransitionError: It is not stopped.
        """

        def decide(stored: StoredMigration) -> Verdict:
            _require_revision(org, stored, revision)
            place, begins_anew = _resumed(org, stored)
            return Verdict(
                action="resume",
                subject=subject,
                reason=reason or "goes on",
                place=place,
                state_reason="",
                begins_anew=begins_anew,
            )

        return await self._decided(org, migration, decide, repeatable)

    async def cancel(
        self,
        org: str,
        migration: str,
        *,
        subject: str,
        reason: str,
        purge: bool,
        revision: int | None,
        repeatable: Repeatable[Decided] | None,
    ) -> Decided | bytes:
        """Give a migration up, and let workers take back what it did.

        Raises:
            EtagMismatchError: It was changed since it was read.
            GateUnmetError: Reads go to Core already, and nobody else has agreed.
            NotFoundError: There is none.
            StateTransitionError: It has ended, or goes back already.
        """

        def decide(stored: StoredMigration) -> Verdict:
            _require_revision(org, stored, revision)
            if stored.place.active in _SERVED:
                raise GateUnmetError(
                    migration_name(org, migration),
                    [UnmetGate("ACCEPTANCE", "missing", "one for CANCEL by another subject")],
                )
            ends = stored.state is MigrationState.DRAFT
            after = MigrationState.CANCELLED if ends else MigrationState.ROLLING_BACK
            return Verdict(
                action="cancel",
                subject=subject,
                reason=reason,
                place=_moved(org, stored, after),
                state_reason=f"{subject} gave it up: {reason}",
                rollback_level=None if ends else RollbackLevel.R0,
                rollback_end=None if ends else MigrationState.CANCELLED,
                purge=purge,
            )

        return await self._decided(org, migration, decide, repeatable)

    async def list_steps(
        self, org: str, migration: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> tuple[Sequence[Step], JsonValue]:
        """Return a page of steps in order.

        Raises:
            NotFoundError: There is no such migration.
        """
        await self.get(org, migration)
        return await self._store.list_steps(org, migration, where=where, cursor=cursor, limit=limit)

    async def list_decisions(
        self, org: str, migration: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> tuple[Sequence[Decision], JsonValue]:
        """Return a page of decisions, newest first.

        Raises:
            NotFoundError: There is no such migration.
        """
        await self.get(org, migration)
        return await self._store.list_decisions(
            org, migration, where=where, cursor=cursor, limit=limit
        )

    async def _running_step(self, org: str, migration: str) -> Step | None:
        steps, _ = await self._store.list_steps(
            org, migration, where=_RUNNING, cursor=None, limit=1
        )
        return steps[0] if steps else None

    async def _decided(
        self,
        org: str,
        migration: str,
        decide: Callable[[StoredMigration], Verdict],
        repeatable: Repeatable[Decided] | None,
    ) -> Decided | bytes:
        try:
            return await self._store.decide(org, migration, decide, repeatable)
        except AnsweredBeforeError as answered:
            return answered.response


def draft(migration: str, spec: MigrationSpec, now: datetime) -> StoredMigration:
    """Return a draft as it would be stored."""
    return StoredMigration(
        migration=migration,
        spec=spec,
        place=Place(MigrationState.DRAFT),
        state_reason="",
        cut_over_phase=CutOverPhase.NONE,
        rollback_level=RollbackLevel.NONE,
        rollback_end=None,
        purge=False,
        progress=MigrationProgress(),
        progress_time=None,
        generation=0,
        epoch=0,
        lease_owner="",
        plan_sha256="",
        snapshot_plan_sha256="",
        head=Head(),
        revision=0,
        create_time=now,
        update_time=now,
    )


def _resumed(org: str, stored: StoredMigration) -> tuple[Place, bool]:
    """Return where a stopped migration goes on, and whether it begins anew."""
    resume = stored.place.resume_state
    if resume is None:
        _refuse(org, stored, sorted(STOPPED))
    if resume not in TO_VERIFIED:
        return stored.place.resumed(), False
    if stored.plan_sha256 != stored.snapshot_plan_sha256:
        return stored.place.resumed(MigrationState.PREFLIGHT), True
    return stored.place.resumed(), stored.state is MigrationState.RESNAPSHOT_REQUIRED


def _moved(org: str, stored: StoredMigration, after: MigrationState) -> Place:
    """Return the place after a change of the state.

    Raises:
        StateTransitionError: It does not allow it.
    """
    try:
        return stored.place.moved(after)
    except TransitionError:
        _refuse(org, stored, [state for state in MigrationState if after in ALLOWED[state]])


def _with_subjects_of(mapping: Mapping, before: Mapping) -> Mapping:
    """Return a mapping in which waivers that were there before keep who waived them."""
    known = {(each.object, each.reason): each for each in before.waivers}
    return replace(
        mapping,
        waivers=tuple(known.get((each.object, each.reason), each) for each in mapping.waivers),
    )


def _refuse(org: str, stored: StoredMigration, allowed: Sequence[MigrationState]) -> NoReturn:
    raise StateTransitionError(
        migration_name(org, stored.migration),
        state=stored.state.name,
        allowed_states=[state.name for state in allowed],
    )


def _require_revision(org: str, stored: StoredMigration, revision: int | None) -> None:
    if revision is not None and revision != stored.revision:
        raise EtagMismatchError(migration_name(org, stored.migration))
