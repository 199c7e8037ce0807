"""Verifications, differences and repairs on the wire."""

from typing import Any

from grpc.aio import ServicerContext

from liftos.migration.v1 import migration_service_pb2 as pb
from liftos_kit.auth import current_principal, require_org
from liftos_kit.core.errors import InvalidFieldsError
from liftos_kit.core.filters import parse_filter
from liftos_kit.core.paging import PageTokens
from liftos_kit.requests import answer_to, page_request, repeatable
from liftos_migration.convert.verifications import (
    difference_message,
    new_verification,
    verification_ids,
    verification_message,
)
from liftos_migration.domain.filters import DIFFERENCE_FIELDS
from liftos_migration.domain.names import migration_id
from liftos_migration.usecases.verifications import VerificationAdministration
from liftos_migration.verification_run_ports import NewVerification, StoredVerification


class VerificationsServicer:
    """Asks for verifications and repairs, and shows what they came to.

    Args:
        administration: Does it.
        page_tokens: Of lists.
    """

    def __init__(
        self, *, administration: VerificationAdministration, page_tokens: PageTokens
    ) -> None:
        self._administration = administration
        self._page_tokens = page_tokens

    async def Verify(
        self, request: pb.VerifyRequest, context: ServicerContext[Any, Any]
    ) -> pb.VerifyResponse:
        org = require_org(request.name, field="name")
        id_ = migration_id(request.name, field="name")

        def answer(stored: StoredVerification) -> pb.VerifyResponse:
            return pb.VerifyResponse(verification=verification_message(org, id_, stored))

        asked = await self._administration.ask(
            org,
            id_,
            new_verification(request, subject=current_principal().subject),
            repeatable("Verify", request, answer),
        )
        return answer_to(asked, answer, pb.VerifyResponse)

    async def GetVerification(
        self, request: pb.GetVerificationRequest, context: ServicerContext[Any, Any]
    ) -> pb.GetVerificationResponse:
        org = require_org(request.name, field="name")
        id_, verification = verification_ids(request.name, field="name")
        stored = await self._administration.get(org, id_, verification)
        return pb.GetVerificationResponse(verification=verification_message(org, id_, stored))

    async def ListVerifications(
        self, request: pb.ListVerificationsRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListVerificationsResponse:
        org = require_org(request.parent)
        id_ = migration_id(request.parent, field="parent")
        asked = page_request(request, org, self._page_tokens)
        found, cursor = await self._administration.list_page(
            org, id_, cursor=asked.cursor, limit=asked.limit
        )
        return pb.ListVerificationsResponse(
            verifications=[verification_message(org, id_, each) for each in found],
            next_page_token=asked.next_token(cursor),
        )

    async def ListDifferences(
        self, request: pb.ListDifferencesRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListDifferencesResponse:
        org = require_org(request.parent)
        id_, verification = verification_ids(request.parent, field="parent")
        asked = page_request(request, org, self._page_tokens)
        found, cursor = await self._administration.list_differences(
            org,
            id_,
            verification,
            where=parse_filter(request.filter, DIFFERENCE_FIELDS),
            cursor=asked.cursor,
            limit=asked.limit,
        )
        return pb.ListDifferencesResponse(
            differences=[difference_message(each) for each in found],
            next_page_token=asked.next_token(cursor),
        )

    async def Repair(
        self, request: pb.RepairRequest, context: ServicerContext[Any, Any]
    ) -> pb.RepairResponse:
        org = require_org(request.name, field="name")
        require_org(request.verification, field="verification")
        id_ = migration_id(request.name, field="name")
        of, verification = verification_ids(request.verification, field="verification")
        if of != id_:
            raise InvalidFieldsError.of(
                "verification", "is of another migration", rule="repair.verification"
            )
        count = await self._administration.count_differences(org, id_, verification, request.tables)
        if request.dry_run:
            return pb.RepairResponse(row_count=count)

        def answer(stored: StoredVerification) -> pb.RepairResponse:
            return pb.RepairResponse(
                row_count=count, verification=verification_message(org, id_, stored)
            )

        asked = await self._administration.ask(
            org,
            id_,
            NewVerification(
                tables=tuple(request.tables), repair=True, subject=current_principal().subject
            ),
            repeatable("Repair", request, answer),
        )
        return answer_to(asked, answer, pb.RepairResponse)
