"""Connections to platforms, and their credentials."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from liftos.ingestion.v1 import ingestion_service_pb2 as pb
from liftos.ingestion.v1.connection_pb2 import Account, Connection, Credential, SecretFields
from liftos_client.arguments import chosen_request_id, field_mask, struct_of
from liftos_client.ingestion.base import IngestionCalls
from liftos_client.pages import Pages

GivenCredential: TypeAlias = Credential | Mapping[str, str]
"""A credential, or the fields of one that the service is to keep: {"access_token": "…"}."""


class ConnectionMethods(IngestionCalls):
    """Methods about connections. A credential goes in and never comes out."""

    async def create_connection(
        self,
        connection_id: str,
        *,
        display_name: str,
        platform: str,
        accounts: Iterable[Account | str] = (),
        settings: Mapping[str, Any] | None = None,
        disabled: bool = False,
        credential: GivenCredential | None = None,
        validate_only: bool = False,
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> Connection:
        """Register a connection and try its credential, where one is given.

        Args:
            connection_id: Lower case letters, digits and hyphens.
            display_name: Shown to people.
            platform: A registered source, such as "meta".
            accounts: Accounts to read, or their ids; none takes all that the credential may read.
            settings: Settings of the source, without secrets.
            disabled: True keeps runs from starting.
            credential: Set it later where it is None.
            validate_only: Check, and ask the platform, but store nothing.
            request_id: UUID; by default a new one.
            timeout_seconds: Deadline.

        Raises:
            AlreadyExistsError: The id is taken.
            CredentialsRejectedError: The platform refuses the credential; nothing was stored.
            ChannelInsecureError: A secret was sent over an open channel.
        """
        request = pb.CreateConnectionRequest(
            connection=Connection(
                name=self._connection_name(connection_id),
                display_name=display_name,
                platform=platform,
                accounts=map(_account, accounts),
                settings=None if settings is None else struct_of(settings),
                disabled=disabled,
            ),
            credential=None if credential is None else _credential(credential),
            validate_only=validate_only,
            request_id=chosen_request_id(request_id),
        )
        answer = await self._calls.unary(self._stub.CreateConnection, request, timeout_seconds)
        return answer.connection

    async def get_connection(
        self, name: str, *, timeout_seconds: float | None = None
    ) -> Connection:
        """Read one connection.

        Raises:
            NotFoundError: There is none.
        """
        request = pb.GetConnectionRequest(name=self._connection_name(name))
        answer = await self._calls.unary(self._stub.GetConnection, request, timeout_seconds)
        return answer.connection

    def list_connections(
        self,
        *,
        filter: str = "",  # noqa: A002  # the contract's word
        page_size: int = 0,
        page_token: str = "",
        timeout_seconds: float | None = None,
    ) -> Pages[Connection, pb.ListConnectionsResponse]:
        """List connections by name; filter over platform, state, display_name, disabled."""
        return self._pages(
            self._stub.ListConnections,
            pb.ListConnectionsRequest(parent=self._parent, filter=filter, page_size=page_size),
            lambda page: page.connections,
            page_token=page_token,
            timeout_seconds=timeout_seconds,
        )

    async def update_connection(
        self,
        connection: Connection,
        *,
        update_mask: Iterable[str] = (),
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> Connection:
        """Change a connection.

        Args:
            connection: As read, with its etag, and changed.
            update_mask: Fields to change; none means all that a writer gives.
            request_id: UUID; by default a new one.
            timeout_seconds: Deadline.

        Raises:
            EtagMismatchError: It was changed since it was read.
        """
        request = pb.UpdateConnectionRequest(
            connection=connection,
            update_mask=field_mask(update_mask),
            request_id=chosen_request_id(request_id),
        )
        answer = await self._calls.unary(self._stub.UpdateConnection, request, timeout_seconds)
        return answer.connection

    async def delete_connection(
        self,
        name: str,
        *,
        etag: str = "",
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> None:
        """Remove a connection with its credential and schedules; runs and entries stay.

        Raises:
            StateTransitionError: A run of it is under way.
            EtagMismatchError: It was changed since it was read with this etag.
        """
        request = pb.DeleteConnectionRequest(
            name=self._connection_name(name), etag=etag, request_id=chosen_request_id(request_id)
        )
        await self._calls.unary(self._stub.DeleteConnection, request, timeout_seconds)

    async def verify_connection(
        self, name: str, *, request_id: str = "", timeout_seconds: float | None = None
    ) -> Connection:
        """Try the credential, and read the accounts that it may read.

        Raises:
            PlatformRateLimitedError: The platform takes no more calls just now.
            VerificationFailedError: The platform does not say whether it takes the credential.
        """
        request = pb.VerifyConnectionRequest(
            name=self._connection_name(name), request_id=chosen_request_id(request_id)
        )
        answer = await self._calls.unary(self._stub.VerifyConnection, request, timeout_seconds)
        return answer.connection

    async def set_credential(
        self,
        name: str,
        credential: GivenCredential,
        *,
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> Connection:
        """Keep a credential, whether the platform takes it or not; the state says which.

        Raises:
            ChannelInsecureError: A secret was sent over an open channel.
        """
        request = pb.SetCredentialRequest(
            name=self._connection_name(name),
            credential=_credential(credential),
            request_id=chosen_request_id(request_id),
        )
        answer = await self._calls.unary(self._stub.SetCredential, request, timeout_seconds)
        return answer.connection

    async def rotate_credential(
        self,
        name: str,
        credential: GivenCredential | None = None,
        *,
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> Connection:
        """Replace a credential by one that works; the old one stays until the platform took it.

        Args:
            name: The connection.
            credential: The new one; None keeps the old one, encrypted with the newest key.
            request_id: UUID; by default a new one.
            timeout_seconds: Deadline.

        Raises:
            CredentialsRejectedError: The platform refuses it; the old one stays.
            ChannelInsecureError: A secret was sent over an open channel.
        """
        request = pb.RotateCredentialRequest(
            name=self._connection_name(name),
            credential=None if credential is None else _credential(credential),
            request_id=chosen_request_id(request_id),
        )
        answer = await self._calls.unary(self._stub.RotateCredential, request, timeout_seconds)
        return answer.connection


def _account(account: Account | str) -> Account:
    return Account(account_id=account) if isinstance(account, str) else account


def _credential(credential: GivenCredential) -> Credential:
    if isinstance(credential, Credential):
        return credential
    return Credential(stored=SecretFields(values=credential))
