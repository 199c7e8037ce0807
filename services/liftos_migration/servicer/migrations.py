"""Migrations and their ledger on the wire."""

from collections.abc import AsyncIterator, Callable
from typing import Any

from google.protobuf.message import Message
from grpc.aio import ServicerContext

from liftos.migration.v1 import migration_service_pb2 as pb
from liftos_kit.auth import current_principal, require_org
from liftos_kit.core.clock import Clock
from liftos_kit.core.filters import parse_filter
from liftos_kit.core.paging import PageTokens
from liftos_kit.requests import answer_to, page_request, repeatable
from liftos_kit.structs import revision_of
from liftos_migration.convert.ledger import decision_message, step_message
from liftos_migration.convert.migrations import migration_message
from liftos_migration.convert.specs import spec_fields, spec_of, throttle_of
from liftos_migration.domain.filters import DECISION_FIELDS, MIGRATION_FIELDS, STEP_FIELDS
from liftos_migration.domain.names import migration_id
from liftos_migration.domain.spec_rules import require_valid
from liftos_migration.ledger_ports import StoredMigration
from liftos_migration.usecases.migrations import Decided, MigrationAdministration, draft
from liftos_migration.usecases.preflighting import Preflighting


class MigrationsServicer:
    """Makes, changes, steers and shows migrations.

    Args:
        administration: Does it.
        preflighting: Finds out what a source allows, before it is moved.
        clock: Time of drafts that are only checked.
        page_tokens: Of lists.
    """

    def __init__(
        self,
        *,
        administration: MigrationAdministration,
        preflighting: Preflighting,
        clock: Clock,
        page_tokens: PageTokens,
    ) -> None:
        self._administration = administration
        self._preflighting = preflighting
        self._clock = clock
        self._page_tokens = page_tokens

    async def CreateMigration(
        self, request: pb.CreateMigrationRequest, context: ServicerContext[Any, Any]
    ) -> pb.CreateMigrationResponse:
        org = require_org(request.migration.name, field="migration.name")
        id_ = migration_id(request.migration.name, field="migration.name")
        spec = spec_of(request.migration, subject=current_principal().subject)

        def answer(stored: StoredMigration) -> pb.CreateMigrationResponse:
            return pb.CreateMigrationResponse(migration=migration_message(org, stored))

        if request.validate_only:
            require_valid(spec)
            return answer(draft(id_, spec, self._clock.now()))
        stored = await self._administration.create(
            org, id_, spec, repeatable("CreateMigration", request, answer)
        )
        return answer_to(stored, answer, pb.CreateMigrationResponse)

    async def GetMigration(
        self, request: pb.GetMigrationRequest, context: ServicerContext[Any, Any]
    ) -> pb.GetMigrationResponse:
        org = require_org(request.name, field="name")
        stored = await self._administration.get(org, migration_id(request.name, field="name"))
        return pb.GetMigrationResponse(migration=migration_message(org, stored))

    async def ListMigrations(
        self, request: pb.ListMigrationsRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListMigrationsResponse:
        org = require_org(request.parent)
        asked = page_request(request, org, self._page_tokens)
        found, cursor = await self._administration.list_page(
            org,
            where=parse_filter(request.filter, MIGRATION_FIELDS),
            cursor=asked.cursor,
            limit=asked.limit,
        )
        return pb.ListMigrationsResponse(
            migrations=[migration_message(org, stored) for stored in found],
            next_page_token=asked.next_token(cursor),
        )

    async def UpdateMigration(
        self, request: pb.UpdateMigrationRequest, context: ServicerContext[Any, Any]
    ) -> pb.UpdateMigrationResponse:
        org = require_org(request.migration.name, field="migration.name")
        id_ = migration_id(request.migration.name, field="migration.name")

        def answer(stored: StoredMigration) -> pb.UpdateMigrationResponse:
            return pb.UpdateMigrationResponse(migration=migration_message(org, stored))

        stored = await self._administration.update(
            org,
            id_,
            spec_of(request.migration, subject=current_principal().subject),
            fields=spec_fields(request.update_mask.paths),
            revision=revision_of(request.migration.etag, field="migration.etag"),
            repeatable=repeatable("UpdateMigration", request, answer),
        )
        return answer_to(stored, answer, pb.UpdateMigrationResponse)

    async def DeleteMigration(
        self, request: pb.DeleteMigrationRequest, context: ServicerContext[Any, Any]
    ) -> pb.DeleteMigrationResponse:
        org = require_org(request.name, field="name")
        await self._administration.delete(
            org,
            migration_id(request.name, field="name"),
            revision=revision_of(request.etag, field="etag"),
            repeatable=repeatable(
                "DeleteMigration", request, lambda _: pb.DeleteMigrationResponse()
            ),
        )
        return pb.DeleteMigrationResponse()

    async def WatchMigration(
        self, request: pb.WatchMigrationRequest, context: ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.WatchMigrationResponse]:
        org = require_org(request.name, field="name")
        id_ = migration_id(request.name, field="name")
        async for stored, step in self._administration.watch(org, id_):
            yield pb.WatchMigrationResponse(
                migration=migration_message(org, stored),
                step=None if step is None else step_message(org, id_, step),
            )

    async def StartMigration(
        self, request: pb.StartMigrationRequest, context: ServicerContext[Any, Any]
    ) -> pb.StartMigrationResponse:
        org, id_ = _named(request)
        answer = _decided(org, id_, pb.StartMigrationResponse)
        stored = await self._administration.get(org, id_)
        found, age = await self._preflighting.of_start(org, id_, stored.spec)
        decided = await self._administration.start(
            org,
            id_,
            subject=current_principal().subject,
            revision=revision_of(request.etag, field="etag"),
            dry_run=request.dry_run,
            found=found,
            age=age,
            repeatable=repeatable("StartMigration", request, answer),
        )
        return answer_to(decided, answer, pb.StartMigrationResponse)

    async def PauseMigration(
        self, request: pb.PauseMigrationRequest, context: ServicerContext[Any, Any]
    ) -> pb.PauseMigrationResponse:
        org, id_ = _named(request)
        answer = _decided(org, id_, pb.PauseMigrationResponse)
        decided = await self._administration.pause(
            org,
            id_,
            subject=current_principal().subject,
            reason=request.reason,
            repeatable=repeatable("PauseMigration", request, answer),
        )
        return answer_to(decided, answer, pb.PauseMigrationResponse)

    async def ResumeMigration(
        self, request: pb.ResumeMigrationRequest, context: ServicerContext[Any, Any]
    ) -> pb.ResumeMigrationResponse:
        org, id_ = _named(request)
        answer = _decided(org, id_, pb.ResumeMigrationResponse)
        decided = await self._administration.resume(
            org,
            id_,
            subject=current_principal().subject,
            reason=request.reason,
            revision=revision_of(request.etag, field="etag"),
            repeatable=repeatable("ResumeMigration", request, answer),
        )
        return answer_to(decided, answer, pb.ResumeMigrationResponse)

    async def CancelMigration(
        self, request: pb.CancelMigrationRequest, context: ServicerContext[Any, Any]
    ) -> pb.CancelMigrationResponse:
        org, id_ = _named(request)
        answer = _decided(org, id_, pb.CancelMigrationResponse)
        decided = await self._administration.cancel(
            org,
            id_,
            subject=current_principal().subject,
            reason=request.reason,
            purge=request.purge,
            revision=revision_of(request.etag, field="etag"),
            repeatable=repeatable("CancelMigration", request, answer),
        )
        return answer_to(decided, answer, pb.CancelMigrationResponse)

    async def SetThrottle(
        self, request: pb.SetThrottleRequest, context: ServicerContext[Any, Any]
    ) -> pb.SetThrottleResponse:
        org, id_ = _named(request)

        def answer(stored: StoredMigration) -> pb.SetThrottleResponse:
            return pb.SetThrottleResponse(migration=migration_message(org, stored))

        stored = await self._administration.set_throttle(
            org,
            id_,
            throttle_of(request.throttle),
            repeatable("SetThrottle", request, answer),
        )
        return answer_to(stored, answer, pb.SetThrottleResponse)

    async def ListSteps(
        self, request: pb.ListStepsRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListStepsResponse:
        org = require_org(request.parent)
        id_ = migration_id(request.parent, field="parent")
        asked = page_request(request, org, self._page_tokens)
        steps, cursor = await self._administration.list_steps(
            org,
            id_,
            where=parse_filter(request.filter, STEP_FIELDS),
            cursor=asked.cursor,
            limit=asked.limit,
        )
        return pb.ListStepsResponse(
            steps=[step_message(org, id_, step) for step in steps],
            next_page_token=asked.next_token(cursor),
        )

    async def ListDecisions(
        self, request: pb.ListDecisionsRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListDecisionsResponse:
        org = require_org(request.parent)
        id_ = migration_id(request.parent, field="parent")
        asked = page_request(request, org, self._page_tokens)
        decisions, cursor = await self._administration.list_decisions(
            org,
            id_,
            where=parse_filter(request.filter, DECISION_FIELDS),
            cursor=asked.cursor,
            limit=asked.limit,
        )
        return pb.ListDecisionsResponse(
            decisions=[decision_message(org, id_, decision) for decision in decisions],
            next_page_token=asked.next_token(cursor),
        )


def _named(request: Any) -> tuple[str, str]:  # noqa: ANN401  # any request with a name
    """Return org and id of the migration that a request names."""
    return require_org(request.name, field="name"), migration_id(request.name, field="name")


def _decided(org: str, id_: str, kind: type[Any]) -> Callable[[Decided], Any]:
    """Return what makes the answer of a decision."""

    def answer(decided: Decided) -> Message:
        stored, decision = decided
        message: Message = kind(
            migration=migration_message(org, stored),
            decision=decision_message(org, id_, decision),
        )
        return message

    return answer
