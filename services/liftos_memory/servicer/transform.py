"""Transforms on the wire."""

from typing import Any

from grpc.aio import ServicerContext

from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_kit.auth import require_org
from liftos_memory.convert.entries import add_item_errors
from liftos_memory.convert.transform import context_of, entries_of_rows, raw_rows
from liftos_memory.usecases.transform import Transform, TransformedRows


class TransformServicer:
    """Shows what raw rows would become."""

    def __init__(self, *, transform: Transform) -> None:
        self._transform = transform

    async def TransformEntries(
        self, request: pb.TransformEntriesRequest, context: ServicerContext[Any, Any]
    ) -> pb.TransformEntriesResponse:
        org = require_org(request.parent)

        def render(result: TransformedRows) -> pb.TransformEntriesResponse:
            response = pb.TransformEntriesResponse(
                entries=entries_of_rows(org, result.rows),
                source_indexes=result.source_indexes,
                unmapped_fields=result.unmapped_fields,
            )
            add_item_errors(response.item_errors, result.errors)
            return response

        return await self._transform.run(
            org,
            request.platform,
            read=lambda: raw_rows(request.rows),
            context=context_of(request.context),
            render=render,
        )
