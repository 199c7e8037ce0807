"""Causal exports on the wire: convert, call, convert."""

from collections.abc import AsyncIterator
from typing import Any

from grpc.aio import ServicerContext

from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_kit.auth import require_org
from liftos_kit.core.errors import InvalidFieldsError
from liftos_kit.core.paging import PageTokens
from liftos_kit.structs import struct_of, timestamp
from liftos_memory.convert.exports import PiecePosition, PieceTokens, as_of_of, question_of
from liftos_memory.usecases.exports import Exports
from liftos_memory.usecases.freshness import Freshness


class ExportsServicer:
    """Answers with data sets for causal analysis."""

    def __init__(self, *, exports: Exports, freshness: Freshness, page_tokens: PageTokens) -> None:
        self._exports = exports
        self._freshness = freshness
        self._page_tokens = page_tokens

    async def ExportDataset(
        self, request: pb.ExportDatasetRequest, context: ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.ExportDatasetResponse]:
        org = require_org(request.parent)
        question, as_of = question_of(request), as_of_of(request)
        tokens = PieceTokens(self._page_tokens, org=org, request=request)
        start = tokens.read(request.resume_token)
        await self._freshness.wait(org, request.consistency.at_least_as_fresh)
        export = await self._exports.export(org, question, start.as_of if start else as_of)
        if start is not None and start.sha256 != export.sha256:
            raise InvalidFieldsError.of(
                "resume_token",
                "was given by another version of the service, which makes other bytes; begin anew",
                rule="resume_token.bytes",
            )
        begin = start.place if start else 0
        for place, (arrow, row_count) in enumerate(export.pieces[begin:], begin + 1):
            position = PiecePosition(export.as_of, export.sha256, place)
            is_last = place == len(export.pieces)
            yield pb.ExportDatasetResponse(
                arrow=arrow,
                row_count=row_count,
                resume_token=tokens.write(position),
                sidecar=struct_of(export.sidecar) if is_last else None,
                as_of=timestamp(export.as_of),
            )
