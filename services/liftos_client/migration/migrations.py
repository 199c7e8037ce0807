"""Migrations: made, changed, started, held, and followed."""

from collections.abc import AsyncIterator, Iterable

from liftos.migration.v1 import migration_service_pb2 as pb
from liftos.migration.v1.ledger_pb2 import Decision, Snapshot, Step
from liftos.migration.v1.migration_pb2 import Migration, Throttle
from liftos_client.arguments import chosen_request_id, field_mask
from liftos_client.migration.base import MigrationCalls
from liftos_client.pages import Pages


class MigrationMethods(MigrationCalls):
    """Methods about migrations and their ledger."""

    async def create_migration(
        self,
        migration_id: str,
        migration: Migration,
        *,
        validate_only: bool = False,
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> Migration:
        """Store a draft; nothing is read or written yet.

        Args:
            migration_id: Lower case letters, digits and hyphens.
            migration: What moves, from where, and how; its name is left alone.
            validate_only: Check it and answer as if stored; store nothing.
            request_id: UUID; by default a new one.
            timeout_seconds: Deadline.

        Raises:
            AlreadyExistsError: The id is taken.
            FieldInvalidError: The mapping breaks rules; names all of them.
        """
        draft = Migration()
        draft.CopyFrom(migration)
        draft.name = self._migration_name(migration_id)
        request = pb.CreateMigrationRequest(
            migration=draft,
            validate_only=validate_only,
            request_id=chosen_request_id(request_id),
        )
        answer = await self._calls.unary(self._stub.CreateMigration, request, timeout_seconds)
        return answer.migration

    async def get_migration(self, name: str, *, timeout_seconds: float | None = None) -> Migration:
        """Read one migration.

        Raises:
            NotFoundError: There is none.
        """
        request = pb.GetMigrationRequest(name=self._migration_name(name))
        answer = await self._calls.unary(self._stub.GetMigration, request, timeout_seconds)
        return answer.migration

    def list_migrations(
        self,
        *,
        filter: str = "",  # noqa: A002  # the contract's word
        page_size: int = 0,
        page_token: str = "",
        timeout_seconds: float | None = None,
    ) -> Pages[Migration, pb.ListMigrationsResponse]:
        """List migrations, newest first; filter over module, state, rehearsal, display_name."""
        return self._pages(
            self._stub.ListMigrations,
            pb.ListMigrationsRequest(parent=self._parent, filter=filter, page_size=page_size),
            lambda page: page.migrations,
            page_token=page_token,
            timeout_seconds=timeout_seconds,
        )

    async def update_migration(
        self,
        migration: Migration,
        *,
        update_mask: Iterable[str] = (),
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> Migration:
        """Change a migration; source and mapping in DRAFT and PAUSED only.

        Args:
            migration: As read, with its etag, and changed.
            update_mask: Fields to change; none means all that a writer gives.
            request_id: UUID; by default a new one.
            timeout_seconds: Deadline.

        Raises:
            EtagMismatchError: It was changed since it was read.
            StateTransitionError: Its state does not allow it.
        """
        request = pb.UpdateMigrationRequest(
            migration=migration,
            update_mask=field_mask(update_mask),
            request_id=chosen_request_id(request_id),
        )
        answer = await self._calls.unary(self._stub.UpdateMigration, request, timeout_seconds)
        return answer.migration

    async def delete_migration(
        self,
        name: str,
        *,
        etag: str = "",
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> None:
        """Remove a draft; anything later is kept for ever.

        Raises:
            EtagMismatchError: It was changed since it was read with this etag.
            StateTransitionError: It was started.
        """
        request = pb.DeleteMigrationRequest(
            name=self._migration_name(name),
            etag=etag,
            request_id=chosen_request_id(request_id),
        )
        await self._calls.unary(self._stub.DeleteMigration, request, timeout_seconds)

    def watch_migration(
        self, name: str, *, timeout_seconds: float | None = None
    ) -> AsyncIterator[pb.WatchMigrationResponse]:
        """Follow a migration: at each change and every second while it works, until it has ended.

        It goes on by itself after a lost connection.

        Args:
            name: The migration.
            timeout_seconds: Ends the watch; None lets it run.

        Raises:
            NotFoundError: There is none.
        """
        request = pb.WatchMigrationRequest(name=self._migration_name(name))
        return self._calls.follow(self._stub.WatchMigration, request, timeout_seconds)

    async def start_migration(
        self,
        name: str,
        *,
        etag: str = "",
        dry_run: bool = False,
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> pb.StartMigrationResponse:
        """Run from DRAFT up to VERIFIED.

        Args:
            name: The migration.
            etag: As read; empty takes the newest.
            dry_run: Export, transform and check; write nothing to Core.
            request_id: UUID; by default a new one.
            timeout_seconds: Deadline.

        Raises:
            GateUnmetError: Preflight finds a blocker; `field_violations` has all of them.
            StateTransitionError: It was started before.
        """
        request = pb.StartMigrationRequest(
            name=self._migration_name(name),
            etag=etag,
            dry_run=dry_run,
            request_id=chosen_request_id(request_id),
        )
        return await self._calls.unary(self._stub.StartMigration, request, timeout_seconds)

    async def pause_migration(
        self,
        name: str,
        reason: str,
        *,
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> pb.PauseMigrationResponse:
        """Stop after the batch in hand.

        Raises:
            StateTransitionError: It does not run.
        """
        request = pb.PauseMigrationRequest(
            name=self._migration_name(name),
            reason=reason,
            request_id=chosen_request_id(request_id),
        )
        return await self._calls.unary(self._stub.PauseMigration, request, timeout_seconds)

    async def resume_migration(
        self,
        name: str,
        *,
        reason: str = "",
        etag: str = "",
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> pb.ResumeMigrationResponse:
        """Go on from the exact point where it stopped.

        Raises:
            StateTransitionError: It is not paused.
        """
        request = pb.ResumeMigrationRequest(
            name=self._migration_name(name),
            etag=etag,
            reason=reason,
            request_id=chosen_request_id(request_id),
        )
        return await self._calls.unary(self._stub.ResumeMigration, request, timeout_seconds)

    async def cancel_migration(
        self,
        name: str,
        reason: str,
        *,
        purge: bool = False,
        etag: str = "",
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> pb.CancelMigrationResponse:
        """Give up before the cut-over, and take all traces off the source.

        Args:
            name: The migration.
            reason: Kept in the ledger.
            purge: Also delete what it wrote to Core.
            etag: As read; empty takes the newest.
            request_id: UUID; by default a new one.
            timeout_seconds: Deadline.

        Raises:
            StateTransitionError: It has ended.
        """
        request = pb.CancelMigrationRequest(
            name=self._migration_name(name),
            etag=etag,
            reason=reason,
            purge=purge,
            request_id=chosen_request_id(request_id),
        )
        return await self._calls.unary(self._stub.CancelMigration, request, timeout_seconds)

    async def set_throttle(
        self,
        name: str,
        throttle: Throttle,
        *,
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> Migration:
        """Say how hard a migration may work; holds within a second.

        Args:
            name: The migration.
            throttle: All of it; unset fields take the defaults.
            request_id: UUID; by default a new one.
            timeout_seconds: Deadline.
        """
        request = pb.SetThrottleRequest(
            name=self._migration_name(name),
            throttle=throttle,
            request_id=chosen_request_id(request_id),
        )
        answer = await self._calls.unary(self._stub.SetThrottle, request, timeout_seconds)
        return answer.migration

    def list_steps(
        self,
        migration: str,
        *,
        filter: str = "",  # noqa: A002
        page_size: int = 0,
        page_token: str = "",
        timeout_seconds: float | None = None,
    ) -> Pages[Step, pb.ListStepsResponse]:
        """List the steps of a migration, in order; filter over phase, state."""
        return self._pages(
            self._stub.ListSteps,
            pb.ListStepsRequest(
                parent=self._migration_name(migration), filter=filter, page_size=page_size
            ),
            lambda page: page.steps,
            page_token=page_token,
            timeout_seconds=timeout_seconds,
        )

    def list_snapshots(
        self,
        migration: str,
        *,
        page_size: int = 0,
        page_token: str = "",
        timeout_seconds: float | None = None,
    ) -> Pages[Snapshot, pb.ListSnapshotsResponse]:
        """List the snapshots of a migration, newest first."""
        return self._pages(
            self._stub.ListSnapshots,
            pb.ListSnapshotsRequest(parent=self._migration_name(migration), page_size=page_size),
            lambda page: page.snapshots,
            page_token=page_token,
            timeout_seconds=timeout_seconds,
        )

    def list_decisions(
        self,
        migration: str,
        *,
        filter: str = "",  # noqa: A002
        page_size: int = 0,
        page_token: str = "",
        timeout_seconds: float | None = None,
    ) -> Pages[Decision, pb.ListDecisionsResponse]:
        """List decisions, newest first; filter over subject, state_before, state_after, dry_run."""
        return self._pages(
            self._stub.ListDecisions,
            pb.ListDecisionsRequest(
                parent=self._migration_name(migration), filter=filter, page_size=page_size
            ),
            lambda page: page.decisions,
            page_token=page_token,
            timeout_seconds=timeout_seconds,
        )
