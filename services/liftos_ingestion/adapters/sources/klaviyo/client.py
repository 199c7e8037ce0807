"""Calls to Klaviyo: limits, headers, pages, and refusals as failures."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Final

from liftos_ingestion.adapters.sources.klaviyo.answers import AnswersOfSession
from liftos_ingestion.adapters.sources.klaviyo.documents import next_cursor
from liftos_ingestion.adapters.sources.klaviyo.errors import malformed, refusal
from liftos_ingestion.adapters.sources.platform_http import Answer, PlatformHttp
from liftos_ingestion.domain.platform_limits import KlaviyoEndpoint, klaviyo_limits, klaviyo_usage
from liftos_ingestion.domain.rate_limits import Observation
from liftos_ingestion.source_ports import CallGate

MEDIA_TYPE: Final = "application/vnd.api+json"

_PATHS: Final[Mapping[KlaviyoEndpoint, str]] = {
    endpoint: endpoint.partition(" ")[2] for endpoint in KlaviyoEndpoint
}


class KlaviyoClient:
    """Calls for one account.

    Args:
        http: Klaviyo's host, with the credential.
        gate: Whose limits hold.
        account_id: Whose limits they are.
        taker: What is read, as the slices of a run tell themselves apart.
        answers: What the session shares with others of its run; None shares nothing.
    """

    def __init__(
        self,
        http: PlatformHttp,
        gate: CallGate,
        account_id: str,
        *,
        taker: str = "",
        answers: AnswersOfSession | None = None,
    ) -> None:
        self._http = http
        self._gate = gate
        self._account_id = account_id
        self._taker = taker
        self._answers = answers

    async def get(
        self,
        endpoint: KlaviyoEndpoint,
        params: Mapping[str, str] | None = None,
        *,
        path: str = "",
    ) -> Answer:
        """Read a thing or a page; `path` stands for one that has an id in it.

        Raises:
            NotReadyError: A limit is reached.
            ReadingError: Klaviyo refuses, or no whole answer comes.
        """
        return await self._call(endpoint, "GET", path or _PATHS[endpoint], params=params)

    async def pages(
        self, endpoint: KlaviyoEndpoint, params: Mapping[str, str] | None = None
    ) -> AsyncIterator[Answer]:
        """Yield the pages of a list.

        Raises:
            NotReadyError, ReadingError: As in `get`.
        """
        asked = dict(params or {})
        async for answer in _paged(
            lambda cursor: self.get(endpoint, asked | ({"page[cursor]": cursor} if cursor else {}))
        ):
            yield answer

    async def report(
        self, endpoint: KlaviyoEndpoint, kind: str, attributes: Mapping[str, object]
    ) -> AsyncIterator[Answer]:
        """Yield the pages of a report, whose cursor is in the query.

        Raises:
            NotReadyError, ReadingError: As in `get`.
        """
        body = _body(kind, attributes)
        async for answer in _paged(
            lambda cursor: self._call(
                endpoint,
                "POST",
                _PATHS[endpoint],
                params={"page_cursor": cursor} if cursor else None,
                body=body,
            )
        ):
            yield answer

    async def aggregate(self, attributes: Mapping[str, object]) -> AsyncIterator[Answer]:
        """Yield the pages of a metric aggregate, whose cursor is in the body.

        Raises:
            NotReadyError, ReadingError: As in `get`.
        """
        endpoint = KlaviyoEndpoint.METRIC_AGGREGATES
        async for answer in _paged(
            lambda cursor: self._call(
                endpoint,
                "POST",
                _PATHS[endpoint],
                body=_body(
                    "metric-aggregate",
                    {**attributes, "page_cursor": cursor} if cursor else attributes,
                ),
            )
        ):
            yield answer

    async def _call(
        self,
        endpoint: KlaviyoEndpoint,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: object = None,
    ) -> Answer:
        def told(answer: Answer) -> Sequence[Observation]:
            return klaviyo_usage(
                answer.status,
                answer.headers,
                org=self._gate.org,
                account_id=self._account_id,
                endpoint=endpoint,
            ).observations

        async def ask() -> Answer:
            answer = await self._http.call(
                method,
                path,
                limits=klaviyo_limits(
                    self._gate.org, account_id=self._account_id, endpoint=endpoint
                ),
                params=params,
                body=body,
                headers=None if body is None else {"Content-Type": MEDIA_TYPE},
                observe=told,
            )
            # That something is not there is an answer too.
            if not answer.ok and answer.status != HTTPStatus.NOT_FOUND:
                raise refusal(answer, tuple(told(answer)))
            return answer

        question = (self._account_id, method, path, params, body)
        answer = (
            await ask()
            if self._answers is None
            else await self._answers.take(self._taker, *question, ask=ask)
        )
        if not answer.ok:
            raise refusal(answer, tuple(told(answer)))
        return answer


_Fetch = Callable[[str], Awaitable[Answer]]


async def _paged(fetch: _Fetch) -> AsyncIterator[Answer]:
    """Yield pages until the last; `fetch` takes a cursor, an empty one first."""
    seen = {""}
    cursor: str | None = ""
    while cursor is not None:
        answer = await fetch(cursor)
        cursor = next_cursor(answer.data)
        if cursor in seen:
            raise malformed("its link to more leads back to what was read")
        if cursor is not None:
            seen.add(cursor)
        yield answer


def _body(kind: str, attributes: Mapping[str, object]) -> Mapping[str, object]:
    return {"data": {"type": kind, "attributes": attributes}}
