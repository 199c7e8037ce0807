"""Calls of the Google Ads API: governed, with an end, and by a way that leads to the customer."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final, TypeAlias

import grpc

from liftos_ingestion.adapters.sources.access_tokens import Token
from liftos_ingestion.adapters.sources.google_ads.columns import AnswerReader, answer_reader
from liftos_ingestion.adapters.sources.google_ads.errors import (
    ApiError,
    GoogleAdsError,
    QuotaDetails,
    Remedy,
    classified,
    silent,
    status_error,
    unreadable,
)
from liftos_ingestion.adapters.sources.google_ads.queries import TREE, Query
from liftos_ingestion.adapters.sources.google_ads.tokens import AccessToken
from liftos_ingestion.adapters.sources.google_ads.ways import KnownWays
from liftos_ingestion.domain.failures import ErrorClass
from liftos_ingestion.domain.platform_limits import (
    GoogleAdsAccess,
    google_ads_block,
    google_ads_limits,
)
from liftos_ingestion.domain.rate_limits import RateKey
from liftos_ingestion.source_ports import CallGate
from liftos_kit.secrets.secret import Secret
from liftos_mapping.source_columns import RawColumns

MAXIMUM_MESSAGE_BYTES: Final = 64 * 1024 * 1024
"""What Google's own clients take in one message."""

CHUNK_ROWS: Final = 5_000
"""Rows that are handed on at a time; whoever maps and sends them holds some of several streams."""

STREAM_SECONDS: Final = 60 * 60.0
"""The deadline of a stream; far longer than any that still moves."""

_PREFIX_BYTES: Final = 5
"""What gRPC puts before a message: a flag, and its length in four bytes."""

_FAILURE_KEY: Final = "googleadsfailure-bin"
_REQUEST_ID_KEY: Final = "request-id"

_SearchStream: TypeAlias = "grpc.aio.UnaryStreamMultiCallable[bytes, bytes]"
_Metadata: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and how.

    Attributes:
        project: The Cloud project that owns the OAuth client.
        access: Its access level.
        credential: What tells whose ways to customers they are.
        login_customer_id: By which customer others are reached at first; empty for none.
        developer_token: Sent where there is one; Google does not need it any more.
    """

    project: RateKey
    access: GoogleAdsAccess
    credential: Secret
    login_customer_id: str = ""
    developer_token: Secret | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows of an answer.

    Attributes:
        rows: By the names of the fields that the query selects.
        raw: The message as it came, in the frame in which gRPC sends it, so that messages that are
            put one behind the other can be told apart; empty but for the last chunk of a message.
        request_id: Google's id of the call.
    """

    rows: RawColumns
    raw: bytes
    request_id: str


class GoogleAdsClient:
    """The Google Ads API with one credential.

    Args:
        channel: To Google.
        messages: The module of Google's messages.
        gate: Asked before each call, and told what Google says of limits.
        token: Signs the calls.
        caller: Who calls.
        ways: By which customer others were reached before.
        timeout_seconds: Longest silence within a call.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        messages: ModuleType,
        gate: CallGate,
        *,
        token: AccessToken,
        caller: Caller,
        ways: KnownWays,
        timeout_seconds: float,
    ) -> None:
        self._messages = messages
        self._gate = gate
        self._token = token
        self._caller = caller
        self._ways = ways
        self._timeout_seconds = timeout_seconds
        self._search_stream: _SearchStream = channel.unary_stream(messages.SEARCH_STREAM)
        self._accessible: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            messages.LIST_ACCESSIBLE_CUSTOMERS
        )

    async def search(self, customer_id: str, query: Query) -> AsyncGenerator[Chunk, None]:
        """Yield the answer to a query about a customer, which is one operation however long it is.

        By whom the customer is reached is found out before, where it is not known, and once more
        where Google says that it is not reached so.

        Raises:
            NotReadyError: A limit is reached.
            ReadingError: Google did not answer, or not to the end.
        """
        known = self._ways.get(self._caller.credential, customer_id)
        way = self._caller.login_customer_id if known is None else known
        is_found = known is None and not way
        if is_found:
            way = await self._found_way(customer_id) or ""
        has_begun = False
        try:
            async with aclosing(self._answer(customer_id, query, way)) as chunks:
                async for chunk in chunks:
                    has_begun = True
                    yield chunk
        except GoogleAdsError as error:
            if has_begun or is_found or error.remedy is not Remedy.OTHER_WAY:
                raise
            found = await self._found_way(customer_id, instead_of=way)
            if found is None or found == way:
                raise
            async with aclosing(self._answer(customer_id, query, found)) as chunks:
                async for chunk in chunks:
                    yield chunk

    async def accessible_customers(self) -> Sequence[str]:
        """Return the customers that the signed-in user opens directly.

        Raises:
            NotReadyError: A limit is reached.
            ReadingError: Google did not answer.
        """
        try:
            return await self._accessible_customers()
        except GoogleAdsError as error:
            if error.remedy is not Remedy.NEW_TOKEN:
                raise
            return await self._accessible_customers()

    async def tree(self, customer_id: str) -> Sequence[dict[str, object]]:
        """Return a customer that the user opens directly, and all below it, by `TREE`.

        The way to each of them is remembered.

        Raises:
            NotReadyError: A limit is reached.
            ReadingError: Google did not answer.
        """
        async with aclosing(self._answer(customer_id, TREE, customer_id)) as chunks:
            found = [dict(row) async for chunk in chunks for row in chunk.rows]
        for row in found:
            below = str(row.get("customer_client.id", ""))
            self._ways.learn(self._caller.credential, below, customer_id)
        return found

    async def _found_way(self, customer_id: str, *, instead_of: str | None = None) -> str | None:
        """Return by which customer another one is reached, found out by one reading for all."""
        async with self._ways.search(self._caller.credential):
            found = self._ways.get(self._caller.credential, customer_id)
            if found is None or found == instead_of:
                found = await self._way_to(customer_id)
        return found

    async def _way_to(self, customer_id: str) -> str | None:
        """Look for the customer by which another one is reached; None where there is none."""
        accessible = await self.accessible_customers()
        for opened in accessible:
            self._ways.learn(self._caller.credential, opened, "")
        if customer_id in accessible:
            return ""
        for manager in accessible:
            try:
                below = await self.tree(manager)
            except GoogleAdsError as error:
                if error.failure.error_class not in _OF_ONE_CUSTOMER:
                    raise
                continue
            if any(str(row.get("customer_client.id")) == customer_id for row in below):
                return manager
        return None

    async def _answer(
        self, customer_id: str, query: Query, way: str
    ) -> AsyncGenerator[Chunk, None]:
        """Yield an answer by one way; a token that is no longer taken is bought anew once."""
        reader = answer_reader(self._messages.StreamResponse.DESCRIPTOR, query.fields)
        has_begun = False
        try:
            async with aclosing(self._stream(customer_id, query, reader, way)) as chunks:
                async for chunk in chunks:
                    has_begun = True
                    yield chunk
        except GoogleAdsError as error:
            if has_begun or error.remedy is not Remedy.NEW_TOKEN:
                raise
            async with aclosing(self._stream(customer_id, query, reader, way)) as chunks:
                async for chunk in chunks:
                    yield chunk

    async def _stream(
        self, customer_id: str, query: Query, reader: AnswerReader, way: str
    ) -> AsyncGenerator[Chunk, None]:
        await self._enter(customer_id)
        token = await self._token.get()
        request = self._messages.StreamRequest(customer_id=customer_id, query=query.text)
        call = self._search_stream(
            request.SerializeToString(),
            metadata=self._metadata(token, customer_id, way),
            timeout=STREAM_SECONDS,
        )
        has_begun = False
        try:
            while (frame := await self._next(call)) is not None:
                has_begun = True
                self._gate.received(len(frame) - _PREFIX_BYTES)
                async with self._gate.in_hand(len(frame)):
                    chunks = self._chunks(frame, reader)
                    while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
                        yield chunk
        except grpc.aio.AioRpcError as error:
            raise await self._refused(error, token, customer_id, has_begun=has_begun) from error
        finally:
            call.cancel()

    async def _next(self, call: "grpc.aio.UnaryStreamCall[bytes, bytes]") -> bytes | None:
        """Return the next message of a stream in its frame; None behind the last."""
        try:
            message = await asyncio.wait_for(call.read(), self._timeout_seconds)
        except TimeoutError as error:
            raise silent(self._timeout_seconds) from error
        if not isinstance(message, bytes):
            return None
        return b"\0" + len(message).to_bytes(4, "big") + message

    def _chunks(self, frame: bytes, reader: AnswerReader) -> Iterator[Chunk]:
        """Yield the rows of a message a chunk at a time."""
        try:
            answer = reader.parse(memoryview(frame)[_PREFIX_BYTES:])
            rows = answer.results
            for start in range(0, max(len(rows), 1), CHUNK_ROWS):
                end = start + CHUNK_ROWS
                columns = reader.columns(rows[start:end])
                yield Chunk(columns, frame if end >= len(rows) else b"", answer.request_id)
        except self._messages.DecodeError as error:
            raise unreadable() from error

    async def _accessible_customers(self) -> Sequence[str]:
        await self._enter("")
        token = await self._token.get()
        request = self._messages.AccessibleCustomersRequest()
        try:
            message = await self._accessible(
                request.SerializeToString(),
                metadata=self._metadata(token),
                timeout=self._timeout_seconds,
            )
        except grpc.aio.AioRpcError as error:
            raise await self._refused(error, token) from error
        self._gate.received(len(message))
        try:
            answer = self._messages.AccessibleCustomersResponse.FromString(message)
        except self._messages.DecodeError as error:
            raise unreadable() from error
        return [name.removeprefix("customers/") for name in answer.resource_names]

    async def _enter(self, customer_id: str) -> None:
        await self._gate.enter(
            google_ads_limits(
                self._caller.project,
                customer_id=customer_id,
                access=self._caller.access,
            )
        )

    def _metadata(self, token: Token, customer_id: str = "", way: str = "") -> _Metadata:
        metadata = [("authorization", f"Bearer {token.value.reveal()}")]
        if customer_id:
            metadata.append(("x-goog-request-params", f"customer_id={customer_id}"))
        if way:
            metadata.append(("login-customer-id", way))
        if self._caller.developer_token is not None:
            metadata.append(("developer-token", self._caller.developer_token.reveal()))
        return tuple(metadata)

    async def _refused(
        self,
        error: grpc.aio.AioRpcError,
        token: Token,
        customer_id: str = "",
        *,
        has_begun: bool = False,
    ) -> GoogleAdsError:
        """Return what an error of a call means, once what it tells of limits and token is known."""
        trailers = list(error.trailing_metadata())
        errors = [
            found
            for key, value in trailers
            if key.endswith(_FAILURE_KEY) and isinstance(value, bytes)
            for found in self._errors(value)
        ] or [status_error(error.code(), error.details() or "")]
        blocks = [
            block
            for it in errors
            if it.kind == "quota_error"
            and (
                block := google_ads_block(
                    it.code,
                    self._caller.project,
                    customer_id=customer_id,
                    rate_scope=it.quota.rate_scope,
                    rate_name=it.quota.rate_name,
                    retry_seconds=it.quota.retry_seconds,
                )
            )
        ]
        await self._gate.observe(blocks)
        refusal = classified(
            errors,
            request_id=next((str(v) for k, v in trailers if k == _REQUEST_ID_KEY), ""),
            regain_seconds=max((it.reset_seconds for it in blocks), default=None),
            has_begun=has_begun,
        )
        if refusal.remedy is Remedy.NEW_TOKEN:
            self._token.forget(token)
        return refusal

    def _errors(self, failure: bytes) -> Sequence[ApiError]:
        try:
            errors = self._messages.Failure.FromString(failure).errors
        except self._messages.DecodeError:
            return ()
        return [_api_error(error) for error in errors]


_OF_ONE_CUSTOMER: Final = frozenset({ErrorClass.PERMISSION, ErrorClass.ACCOUNT_CLOSED})
"""What keeps one customer from being read and says nothing of the others."""


def _api_error(error: Any) -> ApiError:  # noqa: ANN401 - a class made at run time
    kind = error.error_code.WhichOneof("error_code") or ""
    code = "UNKNOWN"
    if kind:
        number = getattr(error.error_code, kind)
        values = error.error_code.DESCRIPTOR.fields_by_name[kind].enum_type.values_by_number
        code = values[number].name if number in values else str(number)
    details = error.details.quota_error_details
    if not error.details.HasField("quota_error_details"):
        return ApiError(kind, code, error.message)
    scopes = details.DESCRIPTOR.fields_by_name["rate_scope"].enum_type.values_by_number
    scope = scopes[details.rate_scope].name if details.rate_scope in scopes else ""
    return ApiError(
        kind,
        code,
        error.message,
        QuotaDetails(
            rate_scope=scope if scope in {"ACCOUNT", "DEVELOPER"} else "",
            rate_name=details.rate_name,
            retry_seconds=details.retry_delay.ToTimedelta().total_seconds()
            if details.HasField("retry_delay")
            else None,
        ),
    )
