"""Connections and credentials on the wire."""

import hmac
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from google.protobuf.message import Message
from grpc.aio import ServicerContext

from liftos.ingestion.v1 import connection_pb2
from liftos.ingestion.v1 import ingestion_service_pb2 as pb
from liftos_ingestion.connection_ports import GivenCredential, StoredConnection
from liftos_ingestion.convert.connections import (
    connection_change,
    connection_id,
    connection_message,
    given_credential,
    new_connection,
)
from liftos_ingestion.domain.connection_filters import CONNECTION_FIELDS
from liftos_ingestion.usecases.connections import ConnectionAdministration
from liftos_kit.auth import require_org
from liftos_kit.channel import require_private_channel
from liftos_kit.core.filters import parse_filter
from liftos_kit.core.paging import PageTokens
from liftos_kit.core.repeatable import Repeatable
from liftos_kit.requests import answer_to, page_request, repeatable
from liftos_kit.structs import revision_of

Result = TypeVar("Result")


class ConnectionsServicer:
    """Registers, changes and tries connections.

    Args:
        administration: Does it.
        page_tokens: Of lists; their key also signs what is kept of requests with secrets.
    """

    def __init__(
        self, *, administration: ConnectionAdministration, page_tokens: PageTokens
    ) -> None:
        self._administration = administration
        self._page_tokens = page_tokens

    async def CreateConnection(
        self, request: pb.CreateConnectionRequest, context: ServicerContext[Any, Any]
    ) -> pb.CreateConnectionResponse:
        org = require_org(request.connection.name, field="connection.name")
        given = _given(request, context)

        def answer(stored: StoredConnection) -> pb.CreateConnectionResponse:
            return pb.CreateConnectionResponse(connection=connection_message(org, stored))

        result = await self._administration.create(
            org,
            new_connection(request.connection),
            given,
            validate_only=request.validate_only,
            repeatable=self._repeatable("CreateConnection", request, answer),
        )
        return answer_to(result, answer, pb.CreateConnectionResponse)

    async def GetConnection(
        self, request: pb.GetConnectionRequest, context: ServicerContext[Any, Any]
    ) -> pb.GetConnectionResponse:
        org = require_org(request.name, field="name")
        stored = await self._administration.get(org, connection_id(request.name))
        return pb.GetConnectionResponse(connection=connection_message(org, stored))

    async def ListConnections(
        self, request: pb.ListConnectionsRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListConnectionsResponse:
        org = require_org(request.parent)
        asked = page_request(request, org, self._page_tokens)
        page, after = await self._administration.list_page(
            org,
            where=parse_filter(request.filter, CONNECTION_FIELDS),
            after=asked.text_cursor or "",
            limit=asked.limit,
        )
        return pb.ListConnectionsResponse(
            connections=[connection_message(org, stored) for stored in page],
            next_page_token=asked.next_token(after),
        )

    async def UpdateConnection(
        self, request: pb.UpdateConnectionRequest, context: ServicerContext[Any, Any]
    ) -> pb.UpdateConnectionResponse:
        org = require_org(request.connection.name, field="connection.name")

        def answer(stored: StoredConnection) -> pb.UpdateConnectionResponse:
            return pb.UpdateConnectionResponse(connection=connection_message(org, stored))

        result = await self._administration.update(
            org,
            connection_id(request.connection.name, field="connection.name"),
            connection_change(request.connection, tuple(request.update_mask.paths)),
            repeatable=repeatable("UpdateConnection", request, answer),
        )
        return answer_to(result, answer, pb.UpdateConnectionResponse)

    async def DeleteConnection(
        self, request: pb.DeleteConnectionRequest, context: ServicerContext[Any, Any]
    ) -> pb.DeleteConnectionResponse:
        org = require_org(request.name, field="name")
        await self._administration.delete(
            org,
            connection_id(request.name),
            revision=revision_of(request.etag, field="etag"),
            repeatable=self._repeatable(
                "DeleteConnection", request, lambda _: pb.DeleteConnectionResponse()
            ),
        )
        return pb.DeleteConnectionResponse()

    async def VerifyConnection(
        self, request: pb.VerifyConnectionRequest, context: ServicerContext[Any, Any]
    ) -> pb.VerifyConnectionResponse:
        org = require_org(request.name, field="name")

        def answer(stored: StoredConnection) -> pb.VerifyConnectionResponse:
            return pb.VerifyConnectionResponse(connection=connection_message(org, stored))

        result = await self._administration.verify(
            org,
            connection_id(request.name),
            repeatable=self._repeatable("VerifyConnection", request, answer),
        )
        return answer_to(result, answer, pb.VerifyConnectionResponse)

    async def SetCredential(
        self, request: pb.SetCredentialRequest, context: ServicerContext[Any, Any]
    ) -> pb.SetCredentialResponse:
        org = require_org(request.name, field="name")
        given = _given(request, context)
        assert given is not None, "required by the contract"

        def answer(stored: StoredConnection) -> pb.SetCredentialResponse:
            return pb.SetCredentialResponse(connection=connection_message(org, stored))

        result = await self._administration.set_credential(
            org,
            connection_id(request.name),
            given,
            repeatable=self._repeatable("SetCredential", request, answer),
        )
        return answer_to(result, answer, pb.SetCredentialResponse)

    async def RotateCredential(
        self, request: pb.RotateCredentialRequest, context: ServicerContext[Any, Any]
    ) -> pb.RotateCredentialResponse:
        org = require_org(request.name, field="name")

        def answer(stored: StoredConnection) -> pb.RotateCredentialResponse:
            return pb.RotateCredentialResponse(connection=connection_message(org, stored))

        result = await self._administration.rotate_credential(
            org,
            connection_id(request.name),
            _given(request, context),
            repeatable=self._repeatable("RotateCredential", request, answer),
        )
        return answer_to(result, answer, pb.RotateCredentialResponse)

    def _repeatable(
        self, method: str, request: Message, answer: Callable[[Result], Message]
    ) -> Repeatable[Result]:
        """Return the identity of a request, from which no secret in it can be guessed.

        A plain digest of a request would tell whoever reads the table whether a guess is right.
        """
        found = repeatable(method, request, answer)
        assert found is not None, "required by the contract"
        digest = hmac.digest(self._page_tokens.key, b"request " + found.payload_digest, "sha256")
        return replace(found, payload_digest=digest)


def _given(
    request: pb.CreateConnectionRequest | pb.SetCredentialRequest | pb.RotateCredentialRequest,
    context: ServicerContext[Any, Any],
) -> GivenCredential | None:
    """Return the credential of a request; None where it has none.

    Raises:
        ChannelInsecureError: Secrets came over a channel where others could read them.
    """
    if not request.HasField("credential"):
        return None
    message: connection_pb2.Credential = request.credential
    if message.HasField("stored"):
        require_private_channel(context, field="credential.stored")
    return given_credential(message)
