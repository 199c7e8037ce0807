"""An HTTP API as a source, without code: what to request, how it pages, and what its errors mean.

    {
      "base_url": "https://api.example.com/v2",
      "auth": {"kind": "bearer"},
      "accounts": [{"account_id": "17", "time_zone": "Europe/Berlin", "currency_code": "EUR"}],
      "reads": [{
        "level": "CAMPAIGN",
        "path": "/accounts/{account}/daily",
        "params": {"from": "{start_date}", "until": "{end_date:%Y%m%d}"},
        "records": "data.rows",
        "pagination": {"kind": "cursor", "param": "after", "from": "meta.next"}
      }],
      "errors": [{"status": 400, "path": "error.code", "equals": "EXPIRED",
                  "class": "CREDENTIALS"}],
      "limits": [{"calls": 10, "seconds": 1}]
    }

A credential is sent as a header, never in a URL. Pages end where the API says so, or with one that
is empty: a page with fewer rows than were asked for may just be what the API gives at most. Where
one day is read at a time, rows need no date of their own.
"""

import base64
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Final
from urllib.parse import quote, urljoin, urlsplit
from zoneinfo import ZoneInfo

import httpx

from liftos_ingestion.adapters.sources.asked_rows import AskedRows
from liftos_ingestion.adapters.sources.http_failures import (
    answered_failure,
    retry_after_seconds,
    usual_failure,
)
from liftos_ingestion.adapters.sources.own_accounts import (
    ACCOUNTS_SCHEMA,
    TIMES_SCHEMA,
    accounts_of,
    level_violations,
    require,
    whole_number,
)
from liftos_ingestion.adapters.sources.platform_http import Answer, PlatformHttp
from liftos_ingestion.adapters.sources.public_addresses import PublicTransport
from liftos_ingestion.domain.failures import ErrorClass, Failure, ReadingError
from liftos_ingestion.domain.rate_limits import Limit, Observation, account_key, app_key, blocked
from liftos_ingestion.source_ports import (
    CallGate,
    Capabilities,
    JsonObject,
    Page,
    PlatformAccount,
    PlatformJob,
    PlatformObject,
    ReadRequest,
    SourceSession,
    Verified,
    query_hash,
)
from liftos_kit.core.errors import FieldViolation, InvalidFieldsError
from liftos_kit.secrets.secret import Secret
from liftos_mapping.entry_fields import LEVELS
from liftos_mapping.mapping import PlatformMapping
from liftos_mapping.transform import TransformContext

MAXIMUM_PAGES: Final = 10_000
"""Pages of one reading; an API that gives more, or gives them for ever, is asked for fewer days."""

_PLACEHOLDER: Final = re.compile(r"\{([a-z_]+)(?::([^{}]*))?\}")
_PLACEHOLDERS: Final = ("account", "start_date", "end_date", "next_date")
_DATE_FORMAT: Final = re.compile(r"(?:%[Ymd]|[-_./0-9T:Z+])+", re.ASCII)
_NEXT_LINK: Final = re.compile(r'<([^<>]*)>[^<>]*?;\s*rel="?next"?(?:[;,\s]|$)', re.IGNORECASE)
_HEADER_VALUE: Final = re.compile(r"[\x21-\x7e]+(?: [\x21-\x7e]+)*")
_UNTOLD_WAIT_SECONDS: Final = 60.0
_OWN_HEADERS: Final = "authorization|cookie|host|content-length|transfer-encoding|proxy-.*"
_PATH_SCHEMA: Final[JsonObject] = {"type": "string", "minLength": 1, "maxLength": 200}
_NAME_SCHEMA: Final[JsonObject] = {"type": "string", "pattern": "^[A-Za-z0-9_.\\[\\]-]{1,100}$"}
_HEADER_NAME: Final = "[A-Za-z0-9-]{1,100}"

_PAGINATION_SCHEMA: Final[JsonObject] = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["cursor", "page", "offset", "link"]},
        "param": {**_NAME_SCHEMA, "description": "What the next page is asked for with."},
        "from": {
            **_PATH_SCHEMA,
            "description": "Where an answer has the cursor, or the link; a link is else in the "
            "header Link.",
        },
        "more": {**_PATH_SCHEMA, "description": "Where an answer says whether there are more."},
        "first": {"type": "integer", "minimum": 0, "maximum": 1},
        "size_param": _NAME_SCHEMA,
        "size": {"type": "integer", "minimum": 1, "maximum": 10_000},
    },
    "required": ["kind"],
    "dependentRequired": {"size_param": ["size"], "size": ["size_param"]},
    "additionalProperties": False,
}

HTTP_SCHEMA: Final[JsonObject] = {
    "type": "object",
    "properties": {
        "base_url": {
            "type": "string",
            "pattern": "^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[^?#]*)?$",
        },
        "auth": {
            "type": "object",
            "properties": {
                "kind": {"enum": ["none", "bearer", "header", "basic"]},
                "name": {"type": "string", "pattern": f"^{_HEADER_NAME}$"},
            },
            "required": ["kind"],
            "additionalProperties": False,
        },
        "headers": {
            "type": "object",
            "description": "Sent with each call; a credential never stands here.",
            "propertyNames": {"pattern": f"^(?!(?i:{_OWN_HEADERS})$){_HEADER_NAME}$"},
            "additionalProperties": {"type": "string", "pattern": "^[ -~]{1,500}$"},
            "maxProperties": 20,
        },
        "accounts": ACCOUNTS_SCHEMA,
        "reads": {
            "type": "array",
            "minItems": 1,
            "maxItems": 20,
            "items": {
                "type": "object",
                "properties": {
                    "level": {"enum": list(LEVELS)},
                    "method": {"enum": ["GET", "POST"]},
                    "path": {"type": "string", "pattern": "^/[^?#\\s]*$", "maxLength": 500},
                    "params": {
                        "type": "object",
                        "additionalProperties": {"type": "string", "maxLength": 2000},
                        "maxProperties": 50,
                    },
                    "body": {"type": "object", "description": "JSON of a POST."},
                    "records": {**_PATH_SCHEMA, "description": "Where rows are; else on top."},
                    "pagination": _PAGINATION_SCHEMA,
                },
                "required": ["level", "path"],
                "additionalProperties": False,
            },
        },
        "errors": {
            "type": "array",
            "maxItems": 50,
            "items": {
                "type": "object",
                "properties": {
                    "status": {"type": "integer", "minimum": 200, "maximum": 599},
                    "path": _PATH_SCHEMA,
                    "equals": {"type": ["string", "number", "boolean"]},
                    "class": {"enum": list(ErrorClass)},
                },
                "required": ["class"],
                "anyOf": [{"required": ["status"]}, {"required": ["path"]}],
                "additionalProperties": False,
            },
        },
        "limits": {
            "type": "array",
            "maxItems": 10,
            "items": {
                "type": "object",
                "properties": {
                    "calls": {"type": "integer", "minimum": 1, "maximum": 1_000_000},
                    "seconds": {"type": "number", "minimum": 1, "maximum": 86_400},
                    "per": {"enum": ["app", "account"]},
                },
                "required": ["calls", "seconds"],
                "additionalProperties": False,
            },
        },
        "retention_days": {"type": "integer", "minimum": 0, "maximum": 36_500},
        **TIMES_SCHEMA,
    },
    "required": ["base_url", "accounts", "reads"],
    "additionalProperties": False,
}
"""JSON Schema of a definition."""

_CREDENTIALS: Final[Mapping[str, Sequence[str]]] = {
    "none": (),
    "bearer": ("token",),
    "header": ("value",),
    "basic": ("username", "password"),
}


@dataclass(frozen=True, slots=True)
class Pagination:
    """How the next page is asked for; see the schema."""

    kind: str
    param: str = ""
    source: str = ""
    more: str = ""
    first: int = 1
    size_param: str = ""
    size: int = 0


@dataclass(frozen=True, slots=True)
class HttpRead:
    """What is requested for one level; texts have placeholders."""

    level: str
    method: str
    path: str
    params: Mapping[str, str]
    body: JsonObject | None
    records: str
    pagination: Pagination | None


@dataclass(frozen=True, slots=True)
class ErrorRule:
    """What an answer means: its status, or what it has under a path, or both."""

    status: int | None
    path: str
    equals: object
    error_class: ErrorClass


@dataclass(frozen=True, slots=True)
class RateRule:
    """How many calls go out in how many seconds, for one account or in all."""

    calls: int
    seconds: float
    per_account: bool


@dataclass(frozen=True, slots=True)
class HttpDefinition:
    """A definition that can be used."""

    base_url: str
    auth: str
    auth_header: str
    headers: Mapping[str, str]
    accounts: tuple[PlatformAccount, ...]
    reads: tuple[HttpRead, ...]
    errors: tuple[ErrorRule, ...]
    limits: tuple[RateRule, ...]
    restatement_days: int
    days_per_read: int
    retention_days: int


def read_http_definition(definition: JsonObject, mapping: PlatformMapping) -> HttpDefinition:
    """Read a definition.

    Raises:
        InvalidFieldsError: It breaks rules; names every one, by path.
    """
    require(HTTP_SCHEMA, definition)
    accounts, violations = accounts_of(definition)
    days_per_read = whole_number(definition, "days_per_read", 31)
    auth = _object(definition.get("auth")) or {"kind": "none"}
    if (auth["kind"] == "header") != ("name" in auth):
        violations.append(
            FieldViolation("definition.auth.name", "is for kind header, and required there", "name")
        )
    reads = []
    for index, it in enumerate(_objects(definition["reads"])):
        at = f"definition.reads[{index}]"
        read = _read_of(it)
        reads.append(read)
        violations += _read_violations(read, at, several=len(accounts) > 1)
    if days_per_read > 1 and not any(rule.target == "date" for rule in mapping.columns):
        problem = "must be 1 where the mapping has no date: rows then do not say their day"
        violations.append(FieldViolation("definition.days_per_read", problem, "date"))
    if mapping.grouping is not None and not any(it.target == "date" for it in mapping.columns):
        violations.append(
            FieldViolation("mapping.columns.date", "is needed with an aggregate", "required")
        )
    violations += level_violations(mapping, "reads", [it.level for it in reads])
    twice = sorted({it.level for it in reads if [r.level for r in reads].count(it.level) > 1})
    if twice:
        violations.append(FieldViolation("definition.reads", f"has {twice[0]} twice", "twice"))
    if violations:
        raise InvalidFieldsError(violations)
    return HttpDefinition(
        base_url=str(definition["base_url"]),
        auth=str(auth["kind"]),
        auth_header=str(auth.get("name", "")),
        headers={key: str(value) for key, value in _object(definition.get("headers")).items()},
        accounts=accounts,
        reads=tuple(reads),
        errors=tuple(_error_rule(it) for it in _objects(definition.get("errors"))),
        limits=tuple(
            RateRule(
                int(str(it["calls"]).removesuffix(".0")),
                float(str(it["seconds"])),
                it.get("per") == "account",
            )
            for it in _objects(definition.get("limits"))
        ),
        restatement_days=whole_number(definition, "restatement_days", 7),
        days_per_read=days_per_read,
        retention_days=whole_number(definition, "retention_days", 0),
    )


def _object(value: object) -> JsonObject:
    return value if isinstance(value, Mapping) else {}


def _objects(value: object) -> Sequence[JsonObject]:
    return [_object(it) for it in value] if isinstance(value, Sequence) else []


def _read_of(given: JsonObject) -> HttpRead:
    paging = given.get("pagination")
    return HttpRead(
        level=str(given["level"]),
        method=str(given.get("method", "GET")),
        path=str(given["path"]),
        params={key: str(value) for key, value in _object(given.get("params")).items()},
        body=_object(given["body"]) if "body" in given else None,
        records=str(given.get("records", "")),
        pagination=_pagination(_object(paging)) if paging else None,
    )


def _pagination(given: JsonObject) -> Pagination:
    return Pagination(
        kind=str(given["kind"]),
        param=str(given.get("param", "")),
        source=str(given.get("from", "")),
        more=str(given.get("more", "")),
        first=whole_number(given, "first", 1),
        size_param=str(given.get("size_param", "")),
        size=whole_number(given, "size", 0),
    )


def _error_rule(given: JsonObject) -> ErrorRule:
    status = whole_number(given, "status", 0)
    return ErrorRule(
        status or None,
        str(given.get("path", "")),
        given.get("equals"),
        ErrorClass(str(given["class"])),
    )


def _read_violations(read: HttpRead, at: str, *, several: bool) -> Iterator[FieldViolation]:
    texts = [("path", read.path), *((f"params.{key}", it) for key, it in read.params.items())]
    texts += [(f"body{path}", it) for path, it in _texts(read.body)]
    for field, text in texts:
        for name, pattern in _PLACEHOLDER.findall(text):
            problem = _placeholder_problem(name, pattern)
            if problem:
                yield FieldViolation(f"{at}.{field}", problem, "placeholder")
    if several and not any("{account}" in text for _, text in texts):
        problem = "has no {account}, and there are several accounts"
        yield FieldViolation(at, problem, "account")
    if read.body is not None and read.method != "POST":
        yield FieldViolation(f"{at}.body", "is for POST", "body")
    paging = read.pagination
    if paging is None:
        return
    needed = {"cursor": ("param", "source"), "page": ("param",), "offset": ("param",), "link": ()}
    for key in needed[paging.kind]:
        if not getattr(paging, key):
            name = "from" if key == "source" else key
            problem = f"is required for {paging.kind}"
            yield FieldViolation(f"{at}.pagination.{name}", problem, "required")


def _placeholder_problem(name: str, pattern: str) -> str:
    if name not in _PLACEHOLDERS or (pattern and name == "account"):
        return f"has {{{name}}}; there are {', '.join(f'{{{it}}}' for it in _PLACEHOLDERS)}"
    if pattern and not _DATE_FORMAT.fullmatch(pattern):
        return f"has the format {pattern!r}; a day is written with %Y, %m, %d and signs"
    return ""


def _texts(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, it in value.items():
            yield from _texts(it, f"{path}.{key}")
    elif isinstance(value, list):
        for index, it in enumerate(value):
            yield from _texts(it, f"{path}[{index}]")


class DeclarativeHttpSource:
    """An HTTP API of an org's own; see the module.

    Args:
        platform: The word that its entries carry.
        display_name: Shown to people.
        definition: What to request.
        mapping: How rows become entries.
        private_allowed: Whether the host may have a private address, and speak plain HTTP.
        timeout_seconds: Longest silence within a call.
    """

    def __init__(
        self,
        platform: str,
        display_name: str,
        definition: HttpDefinition,
        mapping: PlatformMapping,
        *,
        private_allowed: bool,
        timeout_seconds: float,
    ) -> None:
        levels = {read.level for read in definition.reads}
        self.platform = platform
        self.display_name = display_name
        self.definition: Final = definition
        self.accounts: Final = definition.accounts
        self.raw_mapping: Final = mapping
        # Rows are grouped here, over all pages, before anybody maps them page by page.
        self.mapping = mapping.grouped()
        self.capabilities = Capabilities(
            levels=tuple(level for level in LEVELS if level in levels),
            date_bases=(mapping.date_basis,),
            restatement_days=definition.restatement_days,
            retention_days=definition.retention_days,
            days_per_read=definition.days_per_read,
            totals=False,
        )
        fields = _CREDENTIALS[definition.auth]
        self.credential_schema: JsonObject = {
            "type": "object",
            "properties": {name: {"type": "string", "minLength": 1} for name in fields},
            "required": list(fields),
            "additionalProperties": False,
        }
        self.settings_schema: JsonObject = {"type": "object", "additionalProperties": False}
        self._private_allowed = private_allowed
        self._timeout_seconds = timeout_seconds

    @asynccontextmanager
    async def open(
        self, credential: Mapping[str, Secret], settings: JsonObject, gate: CallGate
    ) -> AsyncIterator[SourceSession]:
        """Begin a session.

        Raises:
            ReadingError: A field of the credential is missing or cannot be sent.
        """
        del settings
        base_url = self.definition.base_url
        if not (base_url.startswith("https://") or self._private_allowed):
            raise _failure(ErrorClass.PERMANENT, "The base URL has to be HTTPS.")
        headers = {**self.definition.headers, **self._authorization(credential)}
        async with PlatformHttp(
            base_url,
            gate,
            headers=headers,
            timeout_seconds=self._timeout_seconds,
            transport=PublicTransport(private_allowed=self._private_allowed),
        ) as http:
            yield HttpSession(self, http, gate.org)

    def _authorization(self, credential: Mapping[str, Secret]) -> Mapping[str, str]:
        missing = [name for name in _CREDENTIALS[self.definition.auth] if name not in credential]
        if missing:
            raise _failure(ErrorClass.CREDENTIALS, f"The credential has no {missing[0]}.")
        match self.definition.auth:
            case "bearer":
                name, value = "Authorization", f"Bearer {credential['token'].reveal()}"
            case "header":
                name, value = self.definition.auth_header, credential["value"].reveal()
            case "basic":
                pair = f"{credential['username'].reveal()}:{credential['password'].reveal()}"
                name = "Authorization"
                value = f"Basic {base64.b64encode(pair.encode()).decode()}"
            case _:
                return {}
        if not _HEADER_VALUE.fullmatch(value):
            raise _failure(
                ErrorClass.CREDENTIALS, "The credential has characters that no header can have."
            )
        return {name: value}


class HttpSession:
    """One session; see `liftos_ingestion.source_ports.SourceSession`."""

    def __init__(self, source: DeclarativeHttpSource, http: PlatformHttp, org: str) -> None:
        self._source = source
        self._definition = source.definition
        self._http = http
        self._org = org

    async def verify(self) -> Verified:
        """Ask for the first page of yesterday of the first account.

        Raises:
            ReadingError: It is not answered.
        """
        account = self._definition.accounts[0]
        yesterday = datetime.now(ZoneInfo(account.time_zone)).date() - timedelta(days=1)
        request = ReadRequest(
            account, self._definition.reads[0].level, "", "", yesterday, yesterday
        )
        async with aclosing(self._answers(self._definition.reads[0], request)) as answers:
            await anext(answers)
        return Verified(self._definition.accounts)

    async def objects(self, account: PlatformAccount) -> AsyncGenerator[PlatformObject, None]:
        """Yield nothing: rows hold the names that there are."""
        del account
        return
        yield

    async def read(
        self, request: ReadRequest, job: PlatformJob | None
    ) -> AsyncGenerator[Page | PlatformJob, None]:
        """Yield the rows of the days that are asked for.

        Raises:
            ReadingError: The API did not answer, or not as the definition says.
            NotReadyError: A limit is reached.
        """
        del job
        read = next(it for it in self._definition.reads if it.level == request.level)
        day = request.start_date if request.day_count == 1 else None
        question = query_hash(self._definition.base_url, *_question(read, request).spoken)
        asked = AskedRows(self._source.raw_mapping, request, query_hash=question)
        async with aclosing(self._answers(read, request)) as answers:
            async for rows, answer in answers:
                ready = asked.take(rows, day)
                if ready:
                    yield Page(
                        ready,
                        TransformContext(date=day),
                        answer.body,
                        answer.headers.get("x-request-id", ""),
                        query_hash=question,
                    )
        for page in asked.rest():
            yield page

    async def _answers(
        self, read: HttpRead, request: ReadRequest
    ) -> AsyncGenerator[tuple[Sequence[JsonObject], Answer], None]:
        call: _Call | None = _first_call(read, request)
        seen: set[str] = set()
        before = b""
        for _ in range(MAXIMUM_PAGES):
            assert call is not None, "the last page has returned"
            answer = await self._ask(call, request.account.account_id)
            rows = _rows(answer, read.records)
            yield rows, answer
            call = _next_call(call, read, answer, len(rows), self._definition.base_url)
            if call is None:
                return
            # An API that gives one page for ever would never end, and none of it would be true.
            repeated = bool(rows) and answer.body == before
            if repeated or call.key in seen:
                raise _failure(
                    ErrorClass.INVALID_DATA, "The API gives the same page again and again."
                )
            before = answer.body
            seen.add(call.key)
        raise _failure(ErrorClass.TOO_LARGE, f"One reading has more than {MAXIMUM_PAGES} pages.")

    async def _ask(self, call: "_Call", account_id: str) -> Answer:
        limits = self._limits(account_id)
        answer = await self._http.call(
            call.method,
            call.path,
            limits=limits,
            params=call.params,
            body=call.body,
            observe=lambda answer: self._observed(answer, account_id),
        )
        failure = self._failure_of(answer)
        if failure is not None:
            raise ReadingError(failure)
        return answer

    def _limits(self, account_id: str) -> Sequence[Limit]:
        platform = self._source.platform
        app = app_key(self._org, platform, urlsplit(self._definition.base_url).netloc)
        account = account_key(self._org, platform, account_id)
        rules = self._definition.limits or (RateRule(10, 1.0, per_account=False),)
        return [
            Limit(account if rule.per_account else app, "calls", rule.calls, rule.seconds)
            for rule in rules
        ]

    def _observed(self, answer: Answer, account_id: str) -> Sequence[Observation]:
        if answer.status != 429:
            return ()
        wait = retry_after_seconds(answer.headers)
        return [
            blocked(
                limit.key,
                wait_seconds=_UNTOLD_WAIT_SECONDS if wait is None else wait,
                reason="the API refused a call with 429",
            )
            for limit in self._limits(account_id)[:1]
        ]

    def _failure_of(self, answer: Answer) -> Failure | None:
        for rule in self._definition.errors:
            if rule.status is not None and rule.status != answer.status:
                continue
            told = _at(answer.data, rule.path) if rule.path else None
            if rule.path and (told is None or (rule.equals is not None and told != rule.equals)):
                continue
            code = f"/{told}" if isinstance(told, str | int) else ""
            return answered_failure(answer, rule.error_class, f"{answer.status}{code}")
        return usual_failure(answer)


@dataclass(frozen=True, slots=True)
class _Call:
    """One call with everything filled in."""

    method: str
    path: str
    params: Mapping[str, str] | None
    body: JsonObject | None
    page: int

    @property
    def key(self) -> str:
        """What tells it from other calls."""
        return json.dumps(self.spoken, sort_keys=True)

    @property
    def spoken(self) -> Sequence[object]:
        """What is asked with it; the credential is in a header and no part of it."""
        return [self.method, self.path, self.params, self.body]

    def asking(self, name: str, value: str | int) -> "_Call":
        """Return the call with one more thing in its body, or in its query where it has none."""
        if self.body is not None:
            return replace(self, body={**self.body, name: value})
        return replace(self, params={**(self.params or {}), name: str(value)})


def _question(read: HttpRead, request: ReadRequest) -> _Call:
    """Return the call without the parameters of pages."""
    path = _PLACEHOLDER.sub(lambda it: quote(_value(it, request), safe=""), read.path)
    params = {key: _filled(value, request) for key, value in read.params.items()}
    body = None if read.body is None else _object(_filled_body(read.body, request))
    return _Call(read.method, path, params, body, 0)


def _first_call(read: HttpRead, request: ReadRequest) -> _Call:
    call = _question(read, request)
    paging = read.pagination
    if paging is None:
        return call
    if paging.size_param:
        call = call.asking(paging.size_param, paging.size)
    if paging.kind == "page":
        return replace(call, page=paging.first).asking(paging.param, paging.first)
    return call.asking(paging.param, 0) if paging.kind == "offset" else call


def _next_call(
    call: _Call, read: HttpRead, answer: Answer, row_count: int, base_url: str
) -> _Call | None:
    """The call of the next page; None where there is none."""
    paging = read.pagination
    if paging is None or (paging.more and not _at(answer.data, paging.more)):
        return None
    match paging.kind:
        case "cursor":
            cursor = _at(answer.data, paging.source)
            if cursor is None or cursor == "":
                return None
            if isinstance(cursor, bool) or not isinstance(cursor, str | int):
                raise _failure(ErrorClass.INVALID_DATA, "The cursor of the API is no text.")
            return call.asking(paging.param, cursor)
        case "link":
            return _linked(call, paging, answer, base_url)
        case kind:
            if row_count == 0:
                return None
            page = call.page + (1 if kind == "page" else row_count)
            return replace(call, page=page).asking(paging.param, page)


def _linked(call: _Call, paging: Pagination, answer: Answer, base_url: str) -> _Call | None:
    if paging.source:
        link = _at(answer.data, paging.source)
    else:
        found = _NEXT_LINK.search(answer.headers.get("link", ""))
        link = found[1] if found else None
    if link is None or link == "":
        return None
    try:
        url = urljoin(f"{base_url.rstrip('/')}/", str(link))
        here, there = httpx.URL(base_url), httpx.URL(url)
    except (ValueError, httpx.InvalidURL) as error:
        raise _failure(ErrorClass.INVALID_DATA, "The next link of the API is no URL.") from error
    if (here.scheme, here.host, here.port) != (there.scheme, there.host, there.port):
        # The credential would go with it.
        raise _failure(
            ErrorClass.INVALID_DATA, "The next link of the API leads to another host; refused."
        )
    return replace(call, path=url, params=None)


def _rows(answer: Answer, path: str) -> Sequence[JsonObject]:
    found = _at(answer.data, path) if path else answer.data
    if not isinstance(found, list):
        where = path or "the top"
        raise _failure(ErrorClass.INVALID_DATA, f"The answer has no list of rows at {where}.")
    return found


def _at(data: object, path: str) -> object:
    """What an answer has under a path; None where it has nothing."""
    for name in path.split("."):
        if not isinstance(data, Mapping):
            return None
        data = data.get(name)
    return data


def _value(placeholder: "re.Match[str]", request: ReadRequest) -> str:
    name, pattern = placeholder.groups()
    days: Mapping[str, date] = {
        "start_date": request.start_date,
        "end_date": request.end_date,
        "next_date": request.end_date + timedelta(days=1),
    }
    if name in days:
        return days[name].strftime(pattern) if pattern else days[name].isoformat()
    return request.account.account_id


def _filled(text: str, request: ReadRequest) -> str:
    return _PLACEHOLDER.sub(lambda it: _value(it, request), text)


def _filled_body(value: object, request: ReadRequest) -> object:
    if isinstance(value, str):
        return _filled(value, request)
    if isinstance(value, Mapping):
        return {key: _filled_body(it, request) for key, it in value.items()}
    if isinstance(value, list):
        return [_filled_body(it, request) for it in value]
    return value


def _failure(error_class: ErrorClass, message: str) -> ReadingError:
    return ReadingError(Failure(error_class, message))
