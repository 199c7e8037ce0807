"""A platform that tells credentials apart, and Ingestion's connections served over it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import uuid4

import grpc
from google.protobuf.message import Message

from liftos.ingestion.v1 import connection_pb2
from liftos.ingestion.v1 import ingestion_service_pb2 as pb
from liftos.ingestion.v1.ingestion_service_pb2_grpc import IngestionServiceStub
from liftos_client.errors import LiftosError, decode_error
from liftos_ingestion.domain.failures import ErrorClass, Failure, ReadingError
from liftos_ingestion.domain.rate_limits import Limit, Renewal, app_key
from liftos_ingestion.source_ports import (
    CallGate,
    Capabilities,
    Credential,
    JsonObject,
    Page,
    PlatformAccount,
    PlatformJob,
    PlatformObject,
    ReadRequest,
    SourceSession,
    Verified,
)
from liftos_kit.secrets.secret import Secret
from liftos_kit.testing.server import authorization
from liftos_mapping.mapping import PlatformMapping
from liftos_mapping.platforms import platform_mapping
from liftos_mapping.transform import TransformContext

SHOP = PlatformAccount("7", "Shop", "Europe/Berlin", "EUR")
OUTLET = PlatformAccount("8", "Outlet", "Europe/Berlin", "EUR")
GOOD = "EAAB-good-token-never-to-be-shown"
BAD = "EAAB-bad-token-never-to-be-shown"

Request = TypeVar("Request", bound=Message)


@dataclass
class Delay:
    """An answer that waits: `reached` once it was asked for, until `over`."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class PickyPlatform:
    """A source that takes the tokens that a test says.

    Attributes:
        answers: What each token is given: what it may read, or a failure.
        renewals: Tokens that are exchanged for another one at once.
        shown: Tokens that were shown, in order.
        delays: Tokens whose answer waits for a test.
        rows: What readings answer.
        failure: What readings fail with instead.
        requests: What was to be read.
        limit: What each call falls under.
    """

    answers: dict[str, Verified | Exception] = field(
        default_factory=lambda: {
            GOOD: Verified([SHOP, OUTLET], granted_scopes=("ads_read",)),
        }
    )
    renewals: dict[str, str] = field(default_factory=dict)
    shown: list[str] = field(default_factory=list)
    delays: dict[str, Delay] = field(default_factory=dict)
    rows: Sequence[JsonObject] = ()
    failure: Exception | None = None
    requests: list[ReadRequest] = field(default_factory=list)
    limit: Limit | None = None
    platform: str = "meta"
    display_name: str = "Meta"
    capabilities: Capabilities = Capabilities(  # noqa: RUF009 - frozen
        levels=("ACCOUNT", "CAMPAIGN"),
        date_bases=("INTERACTION",),
        restatement_days=28,
        retention_days=0,
        days_per_read=28,
        totals=True,
        api_version="v26.0",
    )
    credential_schema: JsonObject = field(
        default_factory=lambda: {
            "type": "object",
            "properties": {
                "access_token": {"type": "string", "minLength": 10},
                "app_secret": {"type": "string"},
            },
            "required": ["access_token"],
            "additionalProperties": False,
        }
    )
    settings_schema: JsonObject = field(
        default_factory=lambda: {
            "type": "object",
            "properties": {
                "attribution": {"enum": ["7d_click", "1d_view"]},
                "page_rows": {"type": "integer", "minimum": 1},
            },
            "additionalProperties": False,
        }
    )
    mapping: PlatformMapping = field(default_factory=lambda: platform_mapping("meta"))

    @asynccontextmanager
    async def open(
        self, credential: Credential, settings: JsonObject, gate: CallGate
    ) -> AsyncIterator[SourceSession]:
        """Begin a session."""
        yield _Session(self, credential, gate)


class _Session:
    def __init__(self, platform: PickyPlatform, credential: Credential, gate: CallGate) -> None:
        self._platform = platform
        self._credential = credential
        self._gate = gate

    async def verify(self) -> Verified:
        if self._platform.limit is not None:
            await self._gate.enter([self._platform.limit])
        token = self._credential.get("access_token")
        if token is None:
            raise refusal(ErrorClass.CREDENTIALS)
        shown = token.reveal()
        self._platform.shown.append(shown)
        if shown in self._platform.delays:
            self._platform.delays[shown].reached.set()
            await self._platform.delays[shown].over.wait()
        if shown in self._platform.renewals:
            renewed = Secret(self._platform.renewals[shown])
            await self._credential.renew({**self._credential, "access_token": renewed})
        answer = self._platform.answers.get(shown, refusal(ErrorClass.CREDENTIALS))
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def objects(self, account: PlatformAccount) -> AsyncGenerator[PlatformObject, None]:
        """Have one campaign."""
        yield PlatformObject("CAMPAIGN", "1", "Campaign 1", "ACTIVE")

    async def read(
        self, request: ReadRequest, job: PlatformJob | None
    ) -> AsyncGenerator[Page | PlatformJob, None]:
        """Answer the rows of the test."""
        self._platform.requests.append(request)
        if self._platform.failure is not None:
            raise self._platform.failure
        yield Page(self._platform.rows, TransformContext())


def refusal(error_class: ErrorClass) -> ReadingError:
    """Return a failure of a class."""
    return ReadingError(Failure(error_class, "The platform said so.", platform_code="190"))


def one_call() -> Limit:
    """Return a limit of one call an hour."""
    return Limit(app_key("any", "meta", "app"), "calls", 1, 3600.0, Renewal.ROLLING)


class Caller:
    """Calls the service as a member of an org; errors are the client's typed ones."""

    def __init__(self, channel: grpc.aio.Channel, org: str, *, role: str = "admin") -> None:
        self.org = org
        self._stub = IngestionServiceStub(channel)
        self._metadata = authorization(org, roles=(role,), scopes=("ingestion",))

    async def call(self, method: str, request: Message) -> Any:
        """Call a method."""
        stub: Callable[..., Any] = getattr(self._stub, method)
        try:
            return await stub(request, metadata=self._metadata, timeout=20)
        except grpc.aio.AioRpcError as error:
            raise decode_error(error) from None

    def name(self, connection: str = "shop") -> str:
        """Return the name of a connection."""
        return f"orgs/{self.org}/connections/{connection}"

    async def create(
        self,
        connection: str = "shop",
        *,
        token: str | None = GOOD,
        accounts: Sequence[str] = (),
        request_id: str = "",
        validate_only: bool = False,
        **fields: Any,
    ) -> connection_pb2.Connection:
        """Register a connection."""
        given: dict[str, Any] = {"display_name": "Shop", "platform": "meta"} | fields
        request = pb.CreateConnectionRequest(
            connection=connection_pb2.Connection(
                name=self.name(connection),
                accounts=[connection_pb2.Account(account_id=it) for it in accounts],
                **given,
            ),
            credential=None if token is None else stored(access_token=token),
            request_id=request_id or str(uuid4()),
            validate_only=validate_only,
        )
        answer = await self.call("CreateConnection", request)
        made: connection_pb2.Connection = answer.connection
        return made

    async def get(self, connection: str = "shop") -> connection_pb2.Connection:
        """Read a connection."""
        answer = await self.call(
            "GetConnection", pb.GetConnectionRequest(name=self.name(connection))
        )
        found: connection_pb2.Connection = answer.connection
        return found

    async def set(self, token: str, *, request_id: str = "") -> connection_pb2.Connection:
        """Set the credential of the shop."""
        request = pb.SetCredentialRequest(
            name=self.name(),
            credential=stored(access_token=token),
            request_id=request_id or str(uuid4()),
        )
        changed: connection_pb2.Connection = (await self.call("SetCredential", request)).connection
        return changed

    async def rotate(self, token: str | None) -> connection_pb2.Connection:
        """Rotate the credential of the shop."""
        request = pb.RotateCredentialRequest(
            name=self.name(),
            credential=None if token is None else stored(access_token=token),
            request_id=str(uuid4()),
        )
        answer = await self.call("RotateCredential", request)
        changed: connection_pb2.Connection = answer.connection
        return changed

    async def verify(self) -> connection_pb2.Connection:
        """Verify the shop."""
        request = pb.VerifyConnectionRequest(name=self.name(), request_id=str(uuid4()))
        changed: connection_pb2.Connection = (
            await self.call("VerifyConnection", request)
        ).connection
        return changed


def stored(**values: str) -> connection_pb2.Credential:
    """Return a credential with these fields."""
    return connection_pb2.Credential(stored=connection_pb2.SecretFields(values=values))


def told(error: LiftosError) -> Mapping[str, str]:
    """Return what an error says of each field."""
    return {violation.field: violation.description for violation in error.field_violations}
