"""Calls to a platform over HTTP: governed, bounded, and with every transport fault classified."""

import json
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Final, Self

import httpx

from liftos_ingestion.domain.failures import ErrorClass, Failure, ReadingError
from liftos_ingestion.domain.rate_limits import Limit, Observation
from liftos_ingestion.source_ports import CallGate
from liftos_kit import telemetry

MAXIMUM_ANSWER_BYTES: Final = 64 * 1024 * 1024
"""More than any page of the platforms; what is larger is asked for in smaller pieces."""

_CONNECT_SECONDS: Final = 10.0
_CONNECTIONS: Final = 16


@dataclass(frozen=True, slots=True)
class Answer:
    """What a platform answered.

    Attributes:
        status: HTTP status.
        headers: By lower-case name.
        body: As it came, decompressed.
        data: The body as JSON; None where it is none.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    data: object

    @property
    def ok(self) -> bool:
        """Whether the platform says that all went well."""
        return 200 <= self.status < 300


class PlatformHttp:
    """One host of a platform; use it in `async with`.

    Redirects are not followed, so that a credential never travels to another host.

    Args:
        base_url: Where the platform answers.
        gate: Asked before each call.
        headers: Sent with each call, the credential among them.
        timeout_seconds: Longest silence within a call.
        reauthorize: Gives another `Authorization` in place of one that has ended, which it is
            given. A call that is answered 401 is made once more with it, and whatever is answered
            then counts.
        transport: For tests of the transport itself.
    """

    def __init__(
        self,
        base_url: str,
        gate: CallGate,
        *,
        headers: Mapping[str, str],
        timeout_seconds: float,
        reauthorize: Callable[[str], Awaitable[str]] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._gate = gate
        self._reauthorize = reauthorize
        self._client = httpx.AsyncClient(
            base_url=base_url,
            headers=dict(headers),
            timeout=httpx.Timeout(timeout_seconds, connect=_CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=_CONNECTIONS),
            follow_redirects=False,
            trust_env=False,
            verify=_trusted_authorities(),
            transport=transport,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def call(
        self,
        method: str,
        path: str,
        *,
        limits: Sequence[Limit],
        params: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        is_poll: bool = False,
        observe: Callable[[Answer], Sequence[Observation]] | None = None,
    ) -> Answer:
        """Make one call.

        Args:
            method: GET or POST.
            path: Below the base URL.
            limits: All that the call falls under.
            params: Of the query; never a secret, since URLs are logged by others.
            form: A form as the body.
            body: JSON as the body.
            headers: Beside those of all calls.
            is_poll: Whether the call only asks how far the platform's own job is.
            observe: Reads what an answer says of limits, also one that is an error or no JSON.

        Raises:
            NotReadyError: A limit is reached; nothing was sent.
            ReadingError: No whole answer came, or one that is no JSON although it says that all
                went well.
        """

        async def send() -> Answer:
            await self._gate.enter(limits, is_poll=is_poll)
            request = self._client.build_request(
                method,
                path,
                params=params,
                data=form,
                content=None if body is None else json.dumps(body).encode(),
                headers=headers,
            )
            answer = await self._send(request)
            if observe is not None:
                await self._gate.observe(observe(answer))
            return answer

        authorization = self._client.headers.get("Authorization", "")
        answer = await send()
        if answer.status == HTTPStatus.UNAUTHORIZED and self._reauthorize is not None:
            self._client.headers["Authorization"] = await self._reauthorize(authorization)
            answer = await send()
        if 300 <= answer.status < 400:
            raise _transient("The platform sends calls elsewhere, which is not followed.", answer)
        if answer.ok and answer.data is None:
            raise _transient("The platform answered something that is no JSON.", answer)
        return answer

    async def _send(self, request: httpx.Request) -> Answer:
        with telemetry.http_span(request.method, request.url.host, request.url.path) as span:
            try:
                response = await self._client.send(request, stream=True)
                span.set_attribute(telemetry.HTTP_STATUS, response.status_code)
                try:
                    content = await self._read(response)
                finally:
                    await response.aclose()
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                raise _transient(
                    "Nobody answers at its address; the address is wrong, or the network does not"
                    f" lead there ({type(error).__name__})."
                ) from error
            except httpx.HTTPError as error:
                raise _transient(f"No whole answer came ({type(error).__name__}).") from error
        return Answer(
            response.status_code,
            {name.lower(): value for name, value in response.headers.items()},
            content,
            _parsed(content),
        )

    async def _read(self, response: httpx.Response) -> bytes:
        content = bytearray()
        async for chunk in response.aiter_bytes():
            content += chunk
            if len(content) > MAXIMUM_ANSWER_BYTES:
                raise ReadingError(
                    Failure(
                        ErrorClass.TOO_LARGE,
                        f"One answer has more than {MAXIMUM_ANSWER_BYTES} bytes.",
                    )
                )
        self._gate.received(response.num_bytes_downloaded)
        return bytes(content)


def _parsed(content: bytes) -> object:
    try:
        parsed: object = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return parsed


def _transient(message: str, answer: Answer | None = None) -> ReadingError:
    code = "" if answer is None else str(answer.status)
    return ReadingError(Failure(ErrorClass.TRANSIENT, message, platform_code=code))


@cache
def _trusted_authorities() -> ssl.SSLContext:
    # Once a process: loading them takes longer than most calls, and every slice has a client.
    return httpx.create_ssl_context(trust_env=False)
