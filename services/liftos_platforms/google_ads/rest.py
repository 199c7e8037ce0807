"""The API over HTTP and JSON, and the endpoint that gives out access tokens."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any, Final

import grpc
from aiohttp import web
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError

from liftos_platforms import truth
from liftos_platforms.faults import Call, FaultKind
from liftos_platforms.google_ads import messages
from liftos_platforms.google_ads.access import TOKEN_LIFETIME
from liftos_platforms.google_ads.calls import GoesAwayError, SearchCall, recorded_call
from liftos_platforms.google_ads.failures import Refusal, RefusedError, error_object, http_status
from liftos_platforms.google_ads.service import Service
from liftos_platforms.google_ads.troubles import LAST_RETIRED_VERSION, version_unsupported
from liftos_platforms.http import Answer, Delivery, deliver, page
from liftos_platforms.simulation import Simulation
from liftos_platforms.truth import Platform

FORM: Final = "application/x-www-form-urlencoded"
JSON: Final = "application/json"

_WITH_RESULTS: Final = ("UNSPECIFIED", "NO_SUMMARY_ROW", "SUMMARY_ROW_WITH_RESULTS")
_WITH_SUMMARY: Final = ("SUMMARY_ROW_WITH_RESULTS", "SUMMARY_ROW_ONLY")


class RestRoutes:
    """The routes of the API and of the token endpoint."""

    def __init__(self, service: Service, simulation: Simulation) -> None:
        self._service = service
        self._simulation = simulation

    def application(self) -> web.Application:
        """Return the application that serves them."""
        app = web.Application(client_max_size=16 * 1024 * 1024)
        search = "/{version:v[0-9]+}/customers/{customer_id:[^/:]+}/googleAds"
        app.router.add_post(f"{search}:search", self._search)
        app.router.add_post(f"{search}:searchStream", self._search_stream)
        app.router.add_get(
            "/{version:v[0-9]+}/customers:listAccessibleCustomers", self._accessible_customers
        )
        app.router.add_post("/{version:v[0-9]+}/googleAdsFields:search", self._search_fields)
        app.router.add_post("/token", self._token)
        app.router.add_post("/o/oauth2/token", self._token)
        app.router.add_route("*", "/{path:.*}", self._unknown)
        return app

    async def _unknown(self, request: web.Request) -> web.StreamResponse:
        return await deliver(request, page(404, "Error 404 (Not Found)!!1"))

    async def _search(self, request: web.Request) -> web.StreamResponse:
        request_id = self._service.new_request_id()
        try:
            _check_version(request)
            message = await _message(request, messages.SearchRequest())
            settings = message.search_settings
            call = SearchCall(
                endpoint="search",
                method=request.method,
                headers=_headers(request),
                customer_id=request.match_info["customer_id"],
                query=message.query,
                page_token=message.page_token,
                page_size=message.page_size,
                validate_only=message.validate_only,
                wants_results=not settings.omit_results,
                wants_summary_row=settings.return_summary_row,
                wants_total_count=settings.return_total_results_count,
            )
            body = await self._service.page(call)
        except RefusedError as error:
            return await deliver(request, _refused(error.refusal, request_id))
        except GoesAwayError:
            return await deliver(request, Answer(0, b"", delivery=Delivery.RESET))
        text = await asyncio.to_thread(_json_of, messages.SearchResponse, body)
        return await deliver(request, Answer(200, text, headers={"request-id": request_id}))

    async def _search_stream(self, request: web.Request) -> web.StreamResponse:
        """Stream a list of messages; an error is an item of the list, also the only one."""
        request_id = self._service.new_request_id()
        response: web.StreamResponse | None = None
        try:
            _check_version(request)
            message = await _message(request, messages.StreamRequest())
            setting = messages.StreamRequest.DESCRIPTOR.fields_by_name["summary_row_setting"]
            summary = setting.enum_type.values_by_number[message.summary_row_setting].name
            call = SearchCall(
                endpoint="search_stream",
                method=request.method,
                headers=_headers(request),
                customer_id=request.match_info["customer_id"],
                query=message.query,
                wants_results=summary in _WITH_RESULTS,
                wants_summary_row=summary in _WITH_SUMMARY,
            )
            async with aclosing(self._service.stream(call, request_id)) as stream:
                async for body in stream:
                    text = await asyncio.to_thread(_json_of, messages.StreamResponse, body)
                    if response is None:
                        response = await _opened(request, request_id)
                        await response.write(b"[" + text)
                    else:
                        await response.write(b",\n" + text)
        except RefusedError as error:
            if response is None:
                return await deliver(request, _refused(error.refusal, request_id, in_list=True))
            await response.write(b",\n" + _dumped(error_object(error.refusal, request_id)))
        except GoesAwayError:
            return await deliver(request, Answer(0, b"", delivery=Delivery.RESET))
        assert response is not None, "a stream has at least one message"
        await response.write(b"]")
        await response.write_eof()
        return response

    async def _accessible_customers(self, request: web.Request) -> web.StreamResponse:
        request_id = self._service.new_request_id()
        try:
            _check_version(request)
            body = self._service.accessible_customers(_headers(request), request.method)
        except RefusedError as error:
            return await deliver(request, _refused(error.refusal, request_id))
        text = _json_of(messages.AccessibleCustomersResponse, body)
        return await deliver(request, Answer(200, text, headers={"request-id": request_id}))

    async def _search_fields(self, request: web.Request) -> web.StreamResponse:
        request_id = self._service.new_request_id()
        try:
            _check_version(request)
            message = await _message(request, messages.FieldsRequest())
            body = self._service.fields(_headers(request), request.method, message.query)
        except RefusedError as error:
            return await deliver(request, _refused(error.refusal, request_id))
        text = _json_of(messages.FieldsResponse, body)
        return await deliver(request, Answer(200, text, headers={"request-id": request_id}))

    async def _token(self, request: web.Request) -> web.StreamResponse:
        """Exchange a refresh token for an access token."""
        form = dict(await request.post()) if request.content_type == FORM else {}
        fields = {name: value for name, value in form.items() if isinstance(value, str)}
        refresh_token = fields.get("refresh_token", "")
        call = Call(
            Platform.GOOGLE_ADS,
            "token",
            parameters={"grant_type": fields.get("grant_type", "")},
        )
        simulation = self._simulation
        with recorded_call(
            simulation,
            call,
            request.method,
            {**_headers(request), "authorization": f"Refresh {refresh_token}"},
            lambda fault: fault.kind is not FaultKind.VERSION_UNSUPPORTED,
        ) as (outcome, fault):
            if fault is not None and fault.kind is FaultKind.TOKEN_ENDPOINT_DOWN:
                answer = page(503, "Error 503 (Service Unavailable)")
            elif fault is not None and fault.kind is FaultKind.GRANT_INVALID:
                answer = _token_error("invalid_grant", "Token has been expired or revoked.")
            else:
                answer = self._exchanged(fields, refresh_token)
            outcome.status = str(answer.status)
        return await deliver(request, answer)

    def _exchanged(self, fields: Mapping[str, str], refresh_token: str) -> Answer:
        now = self._simulation.clock.now()
        if not fields:
            return _token_error("invalid_request", f"The body is no form of type {FORM}.")
        if fields.get("grant_type") != "refresh_token":
            kind = fields.get("grant_type", "")
            return _token_error("unsupported_grant_type", f"Invalid grant_type: {kind}")
        if not fields.get("client_id") or not fields.get("client_secret"):
            return _token_error("invalid_client", "The OAuth client was not found.", status=401)
        grant = truth.grant_of(self._simulation.world, Platform.GOOGLE_ADS, refresh_token)
        if grant is None or not grant.is_alive(now):
            return _token_error("invalid_grant", "Token has been expired or revoked.")
        return Answer.json(
            {
                "access_token": self._service.tokens.issue(grant, now),
                "expires_in": int(TOKEN_LIFETIME.total_seconds()),
                "scope": " ".join(sorted(grant.scopes)),
                "token_type": "Bearer",
            }
        )


def _check_version(request: web.Request) -> None:
    """Refuse versions that are shut down or do not exist.

    Raises:
        RefusedError: The version in the path is not served.
    """
    version = request.match_info["version"]
    if version == messages.VERSION:
        return
    if int(version.removeprefix("v")) <= LAST_RETIRED_VERSION:
        raise version_unsupported()
    raise RefusedError(
        Refusal(grpc.StatusCode.UNIMPLEMENTED, f"Version {version} is not simulated.")
    )


async def _message(request: web.Request, message: Any) -> Any:  # noqa: ANN401
    """Read the body into a request message, strictly.

    Raises:
        RefusedError: The body is not JSON of this message.
    """
    if request.content_type != JSON:
        raise _invalid(f"The content type is {request.content_type}, not {JSON}.")
    try:
        return ParseDict(json.loads(await request.text()), message)
    except (ValueError, ParseError) as error:
        raise _invalid(f"Invalid JSON payload received. {error}") from None


def _invalid(message: str) -> RefusedError:
    return RefusedError(Refusal(grpc.StatusCode.INVALID_ARGUMENT, message))


def _headers(request: web.Request) -> Mapping[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}


async def _opened(request: web.Request, request_id: str) -> web.StreamResponse:
    headers = {"Content-Type": "application/json; charset=UTF-8", "request-id": request_id}
    response = web.StreamResponse(headers=headers)
    response.enable_chunked_encoding()
    await response.prepare(request)
    return response


def _refused(refusal: Refusal, request_id: str, *, in_list: bool = False) -> Answer:
    error = error_object(refusal, request_id)
    body = _dumped([error] if in_list else error)
    return Answer(http_status(refusal), body, headers={"request-id": request_id})


def _token_error(error: str, description: str, *, status: int = 400) -> Answer:
    return Answer.json({"error": error, "error_description": description}, status=status)


def _json_of(kind: type[Any], body: bytes) -> bytes:
    return _dumped(MessageToDict(kind.FromString(body)))


def _dumped(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
