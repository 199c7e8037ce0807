"""The API over gRPC."""

import asyncio
import re
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Any, Final, NoReturn

import grpc

from liftos_platforms.google_ads import messages
from liftos_platforms.google_ads.calls import GoesAwayError, SearchCall
from liftos_platforms.google_ads.failures import (
    REQUEST_ID_KEY,
    Refusal,
    RefusedError,
    trailing_metadata,
)
from liftos_platforms.google_ads.service import Service
from liftos_platforms.google_ads.troubles import LAST_RETIRED_VERSION, version_unsupported

METHOD: Final = "rpc"

_PATH: Final = re.compile(r"/google\.ads\.googleads\.(v([0-9]+))\.services\.(\w+/\w+)")
_WITH_RESULTS: Final = (0, 2, 3)
_WITH_SUMMARY: Final = (3, 4)
"""Numbers of SummaryRowSetting: unspecified, none, with results, only."""

_Context = grpc.aio.ServicerContext[Any, bytes]


class GrpcServer(grpc.GenericRpcHandler):
    """A gRPC server of the API.

    Args:
        service: What answers.
        credentials: None to speak in clear.
    """

    def __init__(self, service: Service, credentials: grpc.ServerCredentials | None) -> None:
        self._service = service
        self._credentials = credentials
        self._server: grpc.aio.Server | None = None
        self._restart: asyncio.Task[None] | None = None
        self._host = ""
        self.port = 0
        self._methods: Mapping[str, grpc.RpcMethodHandler[Any, bytes]] = {
            "GoogleAdsService/Search": grpc.unary_unary_rpc_method_handler(
                self._search, messages.SearchRequest.FromString
            ),
            "GoogleAdsService/SearchStream": grpc.unary_stream_rpc_method_handler(
                self._search_stream, messages.StreamRequest.FromString
            ),
            "CustomerService/ListAccessibleCustomers": grpc.unary_unary_rpc_method_handler(
                self._accessible_customers, messages.AccessibleCustomersRequest.FromString
            ),
            "GoogleAdsFieldService/SearchGoogleAdsFields": grpc.unary_unary_rpc_method_handler(
                self._search_fields, messages.FieldsRequest.FromString
            ),
        }

    async def start(self, host: str, port: int) -> None:
        """Listen; port 0 takes a free one."""
        options = (("grpc.so_reuseport", 0), ("grpc.max_send_message_length", -1))
        server = grpc.aio.server(options=options)
        server.add_generic_rpc_handlers((self,))
        address = f"{host}:{port}"
        if self._credentials is None:
            self.port = server.add_insecure_port(address)
        else:
            self.port = server.add_secure_port(address, self._credentials)
        self._host = host
        self._server = server
        await server.start()

    async def stop(self) -> None:
        """Stop listening and hang up on everyone."""
        if self._restart is not None:
            await self._restart
            self._restart = None
        if self._server is not None:
            await self._server.stop(None)
            self._server = None
            self.port = 0

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[Any, bytes] | None":
        """Return what handles a method; None for methods that do not exist."""
        match = _PATH.fullmatch(str(handler_call_details.method))
        if match is None:
            return None
        version, number, method = match.groups()
        if int(number) <= LAST_RETIRED_VERSION:
            return grpc.unary_unary_rpc_method_handler(self._retired(version))
        return self._methods.get(method) if version == messages.VERSION else None

    async def _search(self, request: Any, context: _Context) -> bytes:  # noqa: ANN401
        settings = request.search_settings
        call = SearchCall(
            endpoint="search",
            method=METHOD,
            headers=_headers(context),
            customer_id=request.customer_id,
            query=request.query,
            page_token=request.page_token,
            page_size=request.page_size,
            validate_only=request.validate_only,
            wants_results=not settings.omit_results,
            wants_summary_row=settings.return_summary_row,
            wants_total_count=settings.return_total_results_count,
        )
        request_id = self._begin(context)
        try:
            return await self._service.page(call)
        except (RefusedError, GoesAwayError) as error:
            await self._end(context, error, request_id)

    async def _search_stream(self, request: Any, context: _Context) -> None:  # noqa: ANN401
        setting = request.summary_row_setting
        call = SearchCall(
            endpoint="search_stream",
            method=METHOD,
            headers=_headers(context),
            customer_id=request.customer_id,
            query=request.query,
            wants_results=setting in _WITH_RESULTS,
            wants_summary_row=setting in _WITH_SUMMARY,
        )
        request_id = self._begin(context)
        try:
            async with aclosing(self._service.stream(call, request_id)) as stream:
                async for message in stream:
                    await context.write(message)
        except (RefusedError, GoesAwayError) as error:
            await self._end(context, error, request_id)

    async def _accessible_customers(
        self,
        _: Any,  # noqa: ANN401
        context: _Context,
    ) -> bytes:
        request_id = self._begin(context)
        try:
            return self._service.accessible_customers(_headers(context), METHOD)
        except RefusedError as error:
            await self._end(context, error, request_id)

    async def _search_fields(self, request: Any, context: _Context) -> bytes:  # noqa: ANN401
        request_id = self._begin(context)
        try:
            return self._service.fields(_headers(context), METHOD, request.query)
        except RefusedError as error:
            await self._end(context, error, request_id)

    def _retired(self, version: str) -> Callable[[bytes, _Context], Any]:
        async def refuse(_: bytes, context: _Context) -> bytes:
            error = version_unsupported()
            await _abort(context, error.refusal, self._service.new_request_id(), version)

        return refuse

    def _begin(self, context: _Context) -> str:
        request_id = self._service.new_request_id()
        context.set_trailing_metadata(((REQUEST_ID_KEY, request_id),))
        return request_id

    async def _end(
        self, context: _Context, error: RefusedError | GoesAwayError, request_id: str
    ) -> NoReturn:
        if isinstance(error, RefusedError):
            await _abort(context, error.refusal, request_id, messages.VERSION)
        if self._restart is None or self._restart.done():
            self._restart = asyncio.create_task(self._go_away())
        # The server that goes away cancels this call.
        await asyncio.Event().wait()
        raise AssertionError("a cancelled call went on")

    async def _go_away(self) -> None:
        assert self._server is not None
        port = self.port
        await self._server.stop(None)
        await self.start(self._host, port)


async def _abort(context: _Context, refusal: Refusal, request_id: str, version: str) -> NoReturn:
    trailers = trailing_metadata(refusal, request_id, version=version)
    await context.abort(refusal.status, refusal.message, trailers)


def _headers(context: _Context) -> Mapping[str, str]:
    metadata = context.invocation_metadata() or ()
    return {str(key): value for key, value in metadata if isinstance(value, str)}
