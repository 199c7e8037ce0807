"""Calls of the Graph API: signed, governed, tried again where that is all it takes."""

import hashlib
import hmac
import json
import random
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar
from urllib.parse import urlencode

from liftos_ingestion.adapters.sources.meta.errors import (
    GraphError,
    MetaError,
    Remedy,
    classified,
    graph_error,
    malformed,
)
from liftos_ingestion.adapters.sources.platform_http import Answer, PlatformHttp
from liftos_ingestion.domain.failures import ErrorClass, ReadingError
from liftos_ingestion.domain.platform_limits import (
    META,
    META_UNNAMED_APP,
    Usage,
    meta_block,
    meta_limits,
    meta_percent,
    meta_usage,
)
from liftos_ingestion.domain.rate_limits import Limit, Observation, RateKey, app_key
from liftos_ingestion.source_ports import CallGate, JsonObject
from liftos_kit.core.clock import Clock
from liftos_kit.core.retry import Backoff
from liftos_kit.secrets.secret import Secret

PAGE_ROWS: Final = 500
"""Rows of a page, as long as Meta does not find that too much."""

SMALLEST_PAGE_ROWS: Final = 10
"""A page of so few rows that is still too much will not become readable by being smaller."""

UNREADABLE_ITEM: Final = "unreadable_item"
"""Under which an item of a list that is no object is handed on, so that a person sees it."""

_TRIES: Final = Backoff(base_seconds=0.2, maximum_seconds=2.0, maximum_tries=3)
_STANDSTILLS: Final = 3
"""Pages in a row that may lead to the place where they are."""

_SECRETS_IN_LINKS: Final = tuple(
    re.compile(name + rb'=[^"&\\]*') for name in (b"access_token", b"appsecret_proof")
)
_T = TypeVar("_T")
_Read: TypeAlias = Callable[[Answer], _T]


@dataclass(frozen=True, slots=True)
class MetaCredential:
    """What calls are signed with.

    Attributes:
        access_token: Of a user or a system user.
        app_id: The app that it was issued for; empty where it is not given.
        app_secret: The app's secret; with it each call proves that it comes from the app.
    """

    access_token: Secret
    app_id: str = ""
    app_secret: Secret | None = None

    def app(self, org: str) -> RateKey:
        """Return what limits of the app are counted under: with its secret, for all orgs."""
        secret = self.app_secret if self.app_id else None
        return app_key(org, META, self.app_id or META_UNNAMED_APP, secret=secret)

    def proof(self) -> Mapping[str, str]:
        """Return the parameter that proves that the caller knows the app's secret."""
        if self.app_secret is None:
            return {}
        key, token = self.app_secret.reveal().encode(), self.access_token.reveal().encode()
        # It is of no use without the token, and is kept out of logs nevertheless.
        proof = Secret(hmac.new(key, token, hashlib.sha256).hexdigest())
        return {"appsecret_proof": proof.reveal()}


@dataclass(frozen=True, slots=True)
class ListPage:
    """One page of a list.

    Attributes:
        items: Its objects.
        after: Where the next page begins; None on the last one.
        raw: The answer without the credentials that Meta puts into its links.
        request_id: Meta's id of the call.
        lacks: Fields that Meta cannot give of these objects.
    """

    items: Sequence[JsonObject]
    after: str | None
    raw: bytes
    request_id: str
    lacks: tuple[str, ...] = ()


class MetaClient:
    """The Graph API with one credential.

    The token travels in a header and, for calls that are about a token, in a body; never in a URL.

    Args:
        http: Meta's host.
        gate: Told what answers say of limits.
        version: Of the API, as `v26.0`.
        credential: Signs the calls; may be replaced by a renewed one.
        clock: Waits between tries.
    """

    def __init__(
        self,
        http: PlatformHttp,
        gate: CallGate,
        *,
        version: str,
        credential: MetaCredential,
        clock: Clock,
    ) -> None:
        self._http = http
        self._gate = gate
        self._version = version
        self._clock = clock
        self.credential = credential

    async def get(
        self,
        path: str,
        *,
        account_id: str = "",
        params: Mapping[str, str] | None = None,
        limits: Sequence[Limit] = (),
        is_poll: bool = False,
    ) -> JsonObject:
        """Read one object.

        Args:
            path: Behind the version.
            account_id: The account that it is about, whose limits it falls under.
            params: Of the query.
            limits: More limits that it falls under.
            is_poll: Whether it only asks how far a report is.

        Raises:
            NotReadyError: A limit is reached.
            ReadingError: Meta did not answer.
        """

        async def call() -> Answer:
            return await self._call(
                "GET", path, account_id, limits=limits, params=params, is_poll=is_poll
            )

        return await self._patiently(call, _object_of)

    async def post(
        self,
        path: str,
        form: Mapping[str, str],
        *,
        account_id: str = "",
        limits: Sequence[Limit] = (),
    ) -> JsonObject:
        """Make something, once: who tries again may make it twice.

        Raises:
            NotReadyError: A limit is reached.
            ReadingError: Meta did not answer.
        """
        return _object_of(await self._call("POST", path, account_id, limits=limits, form=form))

    async def get_in_body(self, path: str, params: Mapping[str, str]) -> JsonObject:
        """Read an object whose parameters are secret: as the one call of a batch.

        Raises:
            NotReadyError: A limit is reached.
            ReadingError: Meta did not answer.
        """
        item = {"method": "GET", "relative_url": f"{path}?{urlencode(params)}"}
        form = {"batch": json.dumps([item]), "include_headers": "false"}

        async def call() -> Answer:
            return await self._call("POST", "", "", form=form)

        return await self._patiently(call, _item_of_batch)

    async def pages(
        self,
        path: str,
        *,
        account_id: str = "",
        params: Mapping[str, str] | None = None,
        limits: Sequence[Limit] = (),
    ) -> AsyncGenerator[ListPage, None]:
        """Yield the pages of a list, in smaller ones where Meta finds them too much.

        The cursor decides where a page begins and our own parameters what it holds: the link that
        Meta gives has the token in it.

        Raises:
            NotReadyError: A limit is reached.
            ReadingError: Meta did not answer; TOO_LARGE where small pages are too much as well.
        """
        after: str | None = None
        row_count, standstills = PAGE_ROWS, 0
        while True:
            query = {**(params or {}), "limit": str(row_count)}
            if after is not None:
                query["after"] = after

            async def call(query: Mapping[str, str] = query) -> Answer:
                return await self._call("GET", path, account_id, limits=limits, params=query)

            try:
                page = await self._patiently(call, _page_of)
            except ReadingError as error:
                if row_count == SMALLEST_PAGE_ROWS or not _is_page_too_large(error):
                    raise
                row_count = max(SMALLEST_PAGE_ROWS, row_count // 2)
                continue
            yield page
            if page.after is None:
                return
            standstills = standstills + 1 if page.after == after else 0
            if standstills > _STANDSTILLS:
                raise malformed("a page that leads to itself", request_id=page.request_id)
            after = page.after

    async def _patiently(self, call: Callable[[], Awaitable[Answer]], read: _Read[_T]) -> _T:
        """Call until the answer can be read; what a short wait does not heal is raised."""
        for wait_seconds in _TRIES.waits_seconds(random.uniform):
            try:
                return read(await call())
            except ReadingError as error:
                if not _is_passing(error):
                    raise
            await self._clock.sleep(wait_seconds)
        return read(await call())

    async def _call(
        self,
        method: str,
        path: str,
        account_id: str,
        *,
        limits: Sequence[Limit] = (),
        params: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        is_poll: bool = False,
    ) -> Answer:
        usage = Usage(())

        def observe(answer: Answer) -> Sequence[Observation]:
            nonlocal usage
            usage = meta_usage(answer.headers, self._app, account_id=account_id)
            return usage.observations

        proof = self.credential.proof()
        answer = await self._http.call(
            method,
            f"/{self._version}/{path}",
            limits=(*self._limits(account_id), *limits),
            params=params if form is not None else {**(params or {}), **proof},
            form=None if form is None else {**form, **proof},
            headers={"Authorization": f"Bearer {self.credential.access_token.reveal()}"},
            is_poll=is_poll,
            observe=observe,
        )
        error = graph_error(answer)
        if error is not None:
            raise await self._refused(error, usage, account_id)
        return answer

    async def _refused(self, error: GraphError, usage: Usage, account_id: str) -> MetaError:
        block = meta_block(error.code, self._app, usage=usage, account_id=account_id)
        if block is None:
            return classified(error)
        await self._gate.observe([block])
        return classified(error, regain_seconds=block.reset_seconds)

    def _limits(self, account_id: str) -> Sequence[Limit]:
        if account_id:
            return meta_limits(self._app, account_id=account_id)
        return (meta_percent(self._app),)

    @property
    def _app(self) -> RateKey:
        return self.credential.app(self._gate.org)


def _object_of(answer: Answer) -> JsonObject:
    if not isinstance(answer.data, dict):
        raise malformed("something that is no object", request_id=_request_id(answer))
    return answer.data


def _item_of_batch(answer: Answer) -> JsonObject:
    items = answer.data if isinstance(answer.data, list) else []
    item = items[0] if len(items) == 1 else None
    if not isinstance(item, dict) or not isinstance(item.get("code"), int):
        raise malformed("a batch without its answer", request_id=_request_id(answer))
    body = item.get("body")
    try:
        data: object = json.loads(body) if isinstance(body, str) else None
    except (ValueError, RecursionError):
        data = None
    inner = Answer(item["code"], answer.headers, b"", data)
    error = graph_error(inner)
    if error is not None:
        raise classified(error)
    return _object_of(inner)


def _page_of(answer: Answer) -> ListPage:
    data, request_id = _object_of(answer), _request_id(answer)
    items, paging = data.get("data"), data.get("paging")
    if not isinstance(items, list):
        raise malformed("a list without its items", request_id=request_id)
    after = None
    # On a last page without links Meta may send an empty list in place of an object.
    if paging not in (None, []):
        if not isinstance(paging, dict):
            raise malformed("a list whose end cannot be seen", request_id=request_id)
        # A cursor is on the last page too; only a link says that there is another one.
        if paging.get("next"):
            cursors = paging.get("cursors")
            after = cursors.get("after") if isinstance(cursors, dict) else None
            if not isinstance(after, str) or not after:
                raise malformed("a page without the place of the next", request_id=request_id)
    return ListPage(
        [item if isinstance(item, dict) else {UNREADABLE_ITEM: item} for item in items],
        after,
        _without_credentials(answer.body),
        request_id,
    )


def _without_credentials(body: bytes) -> bytes:
    for pattern in _SECRETS_IN_LINKS:
        body = pattern.sub(lambda found: found.group().partition(b"=")[0] + b"=redacted", body)
    return body


def _request_id(answer: Answer) -> str:
    return answer.headers.get("x-fb-trace-id") or answer.headers.get("x-fb-request-id", "")


def _is_page_too_large(error: ReadingError) -> bool:
    if isinstance(error, MetaError):
        return error.remedy is Remedy.SMALLER_PAGE
    return error.failure.error_class is ErrorClass.TOO_LARGE


def _is_passing(error: ReadingError) -> bool:
    if error.failure.error_class is not ErrorClass.TRANSIENT:
        return False
    return not isinstance(error, MetaError) or error.remedy is Remedy.NONE
