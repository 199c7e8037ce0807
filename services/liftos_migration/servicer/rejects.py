"""Refused rows on the wire."""

from typing import Any

from grpc.aio import ServicerContext

from liftos.migration.v1 import migration_service_pb2 as pb
from liftos_kit.auth import current_principal, require_org
from liftos_kit.core.filters import parse_filter
from liftos_kit.core.paging import PageTokens
from liftos_kit.requests import answer_to, page_request, repeatable
from liftos_migration.convert.rejects import choice_of, reject_message
from liftos_migration.domain.filters import REJECT_FIELDS
from liftos_migration.domain.names import migration_id
from liftos_migration.reject_ports import Tried
from liftos_migration.usecases.rejects import RejectAdministration


class RejectsServicer:
    """Shows refused rows, lets them be tried again, and gives them up.

    Args:
        administration: Does it.
        page_tokens: Of lists.
    """

    def __init__(self, *, administration: RejectAdministration, page_tokens: PageTokens) -> None:
        self._administration = administration
        self._page_tokens = page_tokens

    async def ListRejects(
        self, request: pb.ListRejectsRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListRejectsResponse:
        org = require_org(request.parent)
        id_ = migration_id(request.parent, field="parent")
        asked = page_request(request, org, self._page_tokens)
        found, cursor = await self._administration.list_page(
            org,
            id_,
            where=parse_filter(request.filter, REJECT_FIELDS),
            cursor=asked.cursor,
            limit=asked.limit,
        )
        return pb.ListRejectsResponse(
            rejects=[reject_message(org, id_, each) for each in found],
            next_page_token=asked.next_token(cursor),
        )

    async def ResolveRejects(
        self, request: pb.ResolveRejectsRequest, context: ServicerContext[Any, Any]
    ) -> pb.ResolveRejectsResponse:
        org, id_ = _of(request)

        def answer(tried: Tried) -> pb.ResolveRejectsResponse:
            return pb.ResolveRejectsResponse(
                resolved_count=tried.resolved_count, open_count=tried.open_count
            )

        tried = await self._administration.resolve(
            org,
            id_,
            choice_of(request, id_),
            subject=current_principal().subject,
            reason=request.reason,
            repeatable=repeatable("ResolveRejects", request, answer),
        )
        return answer_to(tried, answer, pb.ResolveRejectsResponse)

    async def WaiveRejects(
        self, request: pb.WaiveRejectsRequest, context: ServicerContext[Any, Any]
    ) -> pb.WaiveRejectsResponse:
        org, id_ = _of(request)

        def answer(count: int) -> pb.WaiveRejectsResponse:
            return pb.WaiveRejectsResponse(waived_count=count)

        count = await self._administration.waive(
            org,
            id_,
            choice_of(request, id_),
            subject=current_principal().subject,
            reason=request.reason,
            repeatable=repeatable("WaiveRejects", request, answer),
        )
        return answer_to(count, answer, pb.WaiveRejectsResponse)


def _of(request: Any) -> tuple[str, str]:  # noqa: ANN401  # both requests are alike
    """Return org and id of the migration whose rows a request names."""
    org = require_org(request.parent)
    for index, name in enumerate(request.names):
        require_org(name, field=f"names[{index}]")
    return org, migration_id(request.parent, field="parent")
