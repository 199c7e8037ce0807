"""The Graph API over HTTP: who asks for what, what goes wrong, and the answer."""

import asyncio
import hmac
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from aiohttp import web

from liftos_platforms import truth
from liftos_platforms.faults import Call, Fault, FaultKind
from liftos_platforms.http import (
    Answer,
    Delivery,
    HttpServer,
    deliver,
    delivery_of,
    struck_before,
)
from liftos_platforms.journal import Outcome
from liftos_platforms.meta import errors, nodes, pages, queries
from liftos_platforms.meta.asked import Asked, asked_of, batch_of
from liftos_platforms.meta.errors import GraphError
from liftos_platforms.meta.rendering import JsonRow, render, render_summary
from liftos_platforms.meta.runs import Run
from liftos_platforms.meta.usage import MetaLimits, UsageMeter
from liftos_platforms.simulation import Simulation
from liftos_platforms.truth import Account, AccountState, Entity, Grant, Level, Platform, World

_RUN_KINDS: Final = frozenset(
    {
        FaultKind.RUN_TOO_LARGE,
        FaultKind.RUN_TIMED_OUT,
        FaultKind.RUN_STUCK_AT_START,
        FaultKind.RUN_STUCK_AT_END,
        FaultKind.RUN_SKIPPED,
    }
)
_READ_SCOPES: Final = frozenset({"ads_read", "ads_management"})
_LIST_PARAMETERS: Final = frozenset({"fields", "limit", "after", "summary"})
_EDGE_PARAMETERS: Final = _LIST_PARAMETERS | {"filtering", "effective_status"}
_RESULT_PARAMETERS: Final = _LIST_PARAMETERS | {"default_summary"}
UNKNOWN_PATH: Final = "unknown_path"
UNKNOWN_NODE: Final = "unknown_node"
_WITHOUT_TOKEN: Final = frozenset({"debug_token", "oauth"})
_LONG_LIVED: Final = timedelta(days=60)


@dataclass(frozen=True, slots=True)
class _Route:
    """Where a path leads."""

    endpoint: str
    account: Account | None = None
    entity: Entity | None = None
    run: Run | None = None

    @property
    def account_id(self) -> str:
        """The account that a call is about; empty for none."""
        return self.account.account_id if self.account else ""

    @property
    def is_insights(self) -> bool:
        """Whether it counts as insights and not as management."""
        return "insights" in self.endpoint or self.endpoint == "report_run"


@dataclass(frozen=True, slots=True)
class _Visit:
    """One call on its way to an answer."""

    asked: Asked
    route: _Route
    call: Call
    outcome: Outcome
    fault: Fault | None
    now: datetime


class MetaFace:
    """The Graph API on a port.

    Args:
        simulation: What it tells about.
        limits: Calls in an hour.
        cached_reports: How many reports stay rendered; one that is read again at the same moment
            of the clock costs no more than its bytes.

    Attributes:
        app_id: The app that all tokens belong to.
        app_secret: Its secret, for `appsecret_proof`, `debug_token` and token exchange.
    """

    def __init__(
        self,
        simulation: Simulation,
        *,
        limits: MetaLimits | None = None,
        cached_reports: int = 64,
    ) -> None:
        self.app_id = "614000001"
        self.app_secret = f"{truth.draw_of(simulation.world.seed, 'app secret'):016x}"
        self._simulation = simulation
        self._usage = UsageMeter(limits or MetaLimits())
        self._cached_reports = cached_reports
        self._runs: dict[str, Run] = {}
        self._rendered: OrderedDict[tuple[object, ...], tuple[bytes, ...]] = OrderedDict()
        self._rendered_world: World | None = None
        self._answers = 0
        app = web.Application(client_max_size=16 * 2**20)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._server = HttpServer(app)
        self._handlers: Mapping[str, Callable[[_Visit], Answer]] = MappingProxyType(
            {
                "me": self._me,
                "adaccounts": self._ad_accounts,
                "account": self._account,
                "campaigns": self._edge,
                "adsets": self._edge,
                "ads": self._edge,
                "entity": self._entity,
                "insights": self._insights,
                "insights_submit": self._submit,
                "report_run": self._report_run,
                "report_run_insights": self._results,
                "debug_token": self._debug_token,
                "oauth": self._exchange_token,
            }
        )

    @property
    def port(self) -> int:
        """The port that is bound; 0 before `start`."""
        return self._server.port

    async def start(self, host: str, port: int) -> None:
        """Listen; port 0 takes a free one."""
        await self._server.start(host, port)

    async def stop(self) -> None:
        """Stop listening and hang up on everyone. Report runs survive."""
        await self._server.stop()

    # --- from a request to its answer ---

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        try:
            asked = await asked_of(request)
        except GraphError as error:
            return await deliver(request, self._refusal(error))
        if asked.path == () and asked.method == "POST":
            return await deliver(request, await self._batch(asked))
        return await deliver(request, await self._answer(asked, asked.method))

    async def _batch(self, asked: Asked) -> Answer:
        simulation = self._simulation
        call = Call(Platform.META, "batch", parameters=asked.plain_params)
        with simulation.journal.record(
            call,
            at=simulation.clock.now(),
            method="POST",
            credential=asked.token,
            headers=asked.headers,
        ) as outcome:
            try:
                self._grant(asked)
                items = batch_of(asked)
            except GraphError as error:
                outcome.status, outcome.error = str(error.status), error.name
                return self._refusal(error)
            answers = [await self._answer(item, f"batch {item.method}") for item in items]
            outcome.status = "200"
            usage = self._usage.headers("", is_insights=False, refused=None)
            body = pages.encode([_batch_item(answer) for answer in answers])
            return Answer(200, body, headers={**self._headers(), **usage})

    async def _answer(self, asked: Asked, method: str) -> Answer:
        simulation = self._simulation
        now = simulation.clock.now()
        route = self._route(asked)
        call = _call(asked, route, now)
        with simulation.journal.record(
            call, at=now, method=method, credential=asked.token, headers=asked.headers
        ) as outcome:
            outcome.is_poll = route.endpoint == "report_run"
            await asyncio.sleep(simulation.answer_delay_seconds)
            fault = simulation.faults.take(call, applies=lambda fault: _applies_before(fault, call))
            outcome.fault = fault.kind if fault else None
            refused: GraphError | None = None
            try:
                answer = self._handled(_Visit(asked, route, call, outcome, fault, now))
            except GraphError as error:
                refused, outcome.error = error, error.name
                answer = self._refusal(error)
            if answer.delivery not in {Delivery.RESET, Delivery.NEVER}:
                outcome.status = str(answer.status)
            usage = self._usage.headers(
                call.account_id, is_insights=route.is_insights, refused=refused
            )
            return replace(answer, headers={**self._headers(), **usage, **answer.headers})

    def _handled(self, visit: _Visit) -> Answer:
        asked, route, fault = visit.asked, visit.route, visit.fault
        if fault is not None:
            struck = self._struck(fault, route)
            if struck is not None:
                return struck
        if asked.version not in errors.SERVED_VERSIONS:
            raise errors.wrong_version(asked.version)
        if route.endpoint == UNKNOWN_PATH:
            raise errors.unknown_path("/".join(asked.path))
        if route.endpoint not in _WITHOUT_TOKEN:
            grant = self._grant(asked)
            if route.endpoint == UNKNOWN_NODE:
                raise errors.not_found(asked.path[0])
            if route.account is not None:
                _allow(grant, route)
        self._usage.count(route.account_id, visit.now, is_insights=route.is_insights)
        answer = self._handlers[route.endpoint](visit)
        return replace(answer, delivery=delivery_of(fault.kind)) if fault else answer

    @staticmethod
    def _struck(fault: Fault, route: _Route) -> Answer | None:
        """What a fault answers instead of the call; None where the call goes on under it."""
        answer = struck_before(fault.kind)
        if answer is not None:
            return answer
        if fault.kind in errors.LIMIT_OF_KIND:
            raise errors.LIMIT_OF_KIND[fault.kind](5 if fault.amount is None else fault.amount)
        if fault.kind in errors.ERROR_OF_KIND:
            error_of_kind = errors.ERROR_OF_KIND[fault.kind]
            raise error_of_kind()
        if route.run is not None:
            if fault.kind is FaultKind.RUN_EXPIRED:
                route.run.is_gone = True
            if fault.kind in {FaultKind.RUN_EXPIRED, FaultKind.RUN_NOT_YET_VISIBLE}:
                raise errors.not_found(route.run.run_id)
        return None

    def _refusal(self, error: GraphError) -> Answer:
        headers = self._headers()
        return Answer(
            error.status,
            pages.encode(error.body(f"A{self._answers:010d}")),
            headers=headers,
        )

    def _headers(self) -> dict[str, str]:
        self._answers += 1
        return {
            "facebook-api-version": errors.GRAPH_VERSION,
            "x-fb-request-id": f"{self._answers:016x}",
        }

    # --- who may ask, and where a path leads ---

    def _grant(self, asked: Asked) -> Grant:
        simulation = self._simulation
        if not asked.token:
            raise errors.token_missing()
        grant = truth.grant_of(simulation.world, Platform.META, asked.token)
        if grant is None:
            raise errors.token_unknown()
        if grant.revoked:
            raise errors.token_revoked()
        if not grant.is_alive(simulation.clock.now()):
            raise errors.token_expired()
        proof = asked.params.get("appsecret_proof")
        if proof is not None:
            expected = hmac.new(self.app_secret.encode(), asked.token.encode(), "sha256")
            if not hmac.compare_digest(proof, expected.hexdigest()):
                raise errors.invalid("Invalid appsecret_proof provided in the API argument")
        return grant

    def _route(self, asked: Asked) -> _Route:
        fixed = _FIXED.get((asked.method, *asked.path))
        if fixed is not None:
            return _Route(fixed)
        if not 1 <= len(asked.path) <= 2:
            return _Route(UNKNOWN_PATH)
        node_id, edge = asked.path[0], asked.path[1] if len(asked.path) == 2 else ""
        run = self._runs.get(node_id)
        if run is not None:
            name = _RUN_ENDPOINTS.get((asked.method, edge), UNKNOWN_PATH)
            account = self._simulation.account(Platform.META, run.report.account_id)
            return _Route(name, account, run=run)
        owner, entity = self._node(node_id)
        known = _ACCOUNT_ENDPOINTS if node_id.startswith("act_") else _ENTITY_ENDPOINTS
        name = known.get((asked.method, edge), UNKNOWN_PATH)
        if owner is None and name != UNKNOWN_PATH:
            return _Route(UNKNOWN_NODE)
        return _Route(name, owner, entity)

    def _node(self, node_id: str) -> tuple[Account | None, Entity | None]:
        world = self._simulation.world
        if node_id.startswith("act_"):
            return truth.account_of(world, Platform.META, node_id.removeprefix("act_")), None
        for account in truth.accounts_of(world, Platform.META):
            for entity in truth.entities_of(world, account, now=self._simulation.clock.now()):
                if entity.entity_id == node_id:
                    return account, entity
        return None, None

    # --- tokens and accounts ---

    def _me(self, visit: _Visit) -> Answer:
        queries.refuse_unknown(visit.call.parameters, frozenset({"fields"}))
        return Answer.json({"id": "122000000000001", "name": "Nordlicht Reader"})

    def _debug_token(self, visit: _Visit) -> Answer:
        params, world = visit.asked.params, self._simulation.world
        token = visit.asked.token
        is_app = token == f"{self.app_id}|{self.app_secret}"
        if not is_app:
            self._grant(visit.asked)
        grant = truth.grant_of(world, Platform.META, params.get("input_token", ""))
        data: dict[str, object] = {"app_id": self.app_id, "is_valid": False, "scopes": []}
        if grant is not None:
            expires_at = int(grant.expires_at.timestamp()) if grant.expires_at else 0
            data |= {
                "type": "USER" if grant.expires_at else "SYSTEM_USER",
                "application": "Nordlicht",
                "is_valid": grant.is_alive(visit.now),
                "expires_at": expires_at,
                "data_access_expires_at": expires_at,
                "scopes": sorted(grant.scopes),
                "user_id": "122000000000001",
            }
        return Answer.json({"data": data})

    def _exchange_token(self, visit: _Visit) -> Answer:
        params, simulation = visit.asked.params, self._simulation
        if params.get("grant_type") != "fb_exchange_token":
            raise errors.invalid("Param grant_type must be fb_exchange_token")
        if (params.get("client_id"), params.get("client_secret")) != (
            self.app_id,
            self.app_secret,
        ):
            raise GraphError(101, "Error validating client secret.")
        old = truth.grant_of(simulation.world, Platform.META, params.get("fb_exchange_token", ""))
        if old is None or not old.is_alive(visit.now):
            raise errors.token_unknown() if old is None else errors.token_expired()
        token = f"EAAB{truth.draw_of(old.token, visit.now.isoformat()):032x}"
        simulation.world = truth.with_grant(
            simulation.world, replace(old, token=token, expires_at=visit.now + _LONG_LIVED)
        )
        return Answer.json(
            {
                "access_token": token,
                "token_type": "bearer",
                "expires_in": int(_LONG_LIVED.total_seconds()),
            }
        )

    def _ad_accounts(self, visit: _Visit) -> Answer:
        queries.refuse_unknown(visit.call.parameters, _LIST_PARAMETERS)
        grant = self._grant(visit.asked)
        fields = queries.read_list(visit.call.parameters.get("fields", ""), "fields")
        items = [
            nodes.account_node(account, fields, visit.now)
            for account in truth.accounts_of(self._simulation.world, Platform.META)
            if account.account_id in grant.account_ids
        ]
        return self._listed(visit, _encoded(items), _page(visit, pages.mark_of("me", fields)))

    def _account(self, visit: _Visit) -> Answer:
        queries.refuse_unknown(visit.call.parameters, frozenset({"fields"}))
        fields = queries.read_list(visit.call.parameters.get("fields", ""), "fields")
        return Answer.json(nodes.account_node(_account_of(visit), fields, visit.now))

    # --- campaigns, ad sets, ads ---

    def _edge(self, visit: _Visit) -> Answer:
        params, account = visit.call.parameters, _account_of(visit)
        queries.refuse_unknown(params, _EDGE_PARAMETERS)
        fields = queries.read_list(params.get("fields", ""), "fields")
        statuses = queries.read_list(params.get("effective_status", ""), "effective_status")
        filters = queries.read_filters(params, dict.fromkeys(nodes.ENTITY_FILTERS))
        world = self._simulation.world
        level = nodes.EDGES[visit.route.endpoint]
        items = [
            nodes.entity_node(world, account, entity, fields, visit.now)
            for entity in truth.entities_of(world, account, now=visit.now, level=level)
            if nodes.is_listed(account, entity, filters=filters, statuses=statuses, now=visit.now)
        ]
        mark = pages.mark_of(account.account_id, level, fields, statuses, filters)
        summary = {"total_count": len(items)} if params.get("summary", "") == "true" else None
        return self._listed(visit, _encoded(items), _page(visit, mark), summary=summary)

    def _entity(self, visit: _Visit) -> Answer:
        queries.refuse_unknown(visit.call.parameters, frozenset({"fields"}))
        fields = queries.read_list(visit.call.parameters.get("fields", ""), "fields")
        entity = visit.route.entity
        if entity is None:
            raise errors.not_found(visit.asked.path[0])
        return Answer.json(
            nodes.entity_node(self._simulation.world, _account_of(visit), entity, fields, visit.now)
        )

    # --- insights ---

    def _insights(self, visit: _Visit) -> Answer:
        report = self._report(visit)
        page = _page(visit, pages.mark_of(report))
        rows = self._rows(report, page.as_of)
        if self._unreadable(visit, report, rows) is not None:
            raise errors.too_much_data()
        return self._listed(visit, rows, page, summary=_summary(report, rows, report.summary))

    def _submit(self, visit: _Visit) -> Answer:
        report = self._report(visit)
        fault = visit.fault if visit.fault and visit.fault.kind in _RUN_KINDS else None
        if fault is None:
            fault = self._unreadable(visit, report, self._rows(report, visit.now))
        run_id = f"6023{len(self._runs) + 1:011d}"
        self._runs[run_id] = Run(run_id, report, visit.now, fault)
        return Answer.json({"report_run_id": run_id})

    def _report_run(self, visit: _Visit) -> Answer:
        queries.refuse_unknown(visit.call.parameters, frozenset({"fields"}))
        run = _run_of(visit)
        if not run.exists(visit.now):
            raise errors.not_found(run.run_id)
        node = run.node(visit.now, run.poll(visit.now))
        fields = queries.read_list(visit.call.parameters.get("fields", ""), "fields")
        if fields:
            node = {name: node[name] for name in ("id", *fields) if name in node}
        return Answer.json(node)

    def _results(self, visit: _Visit) -> Answer:
        params, run = visit.call.parameters, _run_of(visit)
        queries.refuse_unknown(params, _RESULT_PARAMETERS)
        if not run.exists(visit.now):
            raise errors.not_found(run.run_id)
        if not run.is_complete(visit.now):
            raise errors.run_not_done()
        summary = queries.read_summary(params, run.report.fields) or run.report.summary
        for name in summary:
            if name not in run.report.fields:
                raise errors.summary_field_missing(name)
        rows = self._rows(run.report, run.made_at)
        page = _page(visit, pages.mark_of("run", run.run_id))
        return self._listed(visit, rows, page, summary=_summary(run.report, rows, summary))

    def _report(self, visit: _Visit) -> queries.Report:
        account, entity = _account_of(visit), visit.route.entity
        return queries.read_report(
            visit.call.parameters,
            account_id=account.account_id,
            node_id=entity.entity_id if entity else account.account_id,
            node_level=entity.level if entity else Level.ACCOUNT,
            today=truth.local_day(account, visit.now),
        )

    def _rows(self, report: queries.Report, now: datetime) -> tuple[bytes, ...]:
        """The rendered rows of a report; a report that is read again is not rendered again."""
        world = self._simulation.world
        if self._rendered_world is not world:
            self._rendered.clear()
            self._rendered_world = world
        key = (report, now)
        rows = self._rendered.get(key)
        if rows is None:
            account = self._simulation.account(Platform.META, report.account_id)
            rows = _encoded(render(world, account, report, now))
            self._rendered[key] = rows
            if len(self._rendered) > self._cached_reports:
                self._rendered.popitem(last=False)
        return rows

    def _unreadable(
        self, visit: _Visit, report: queries.Report, rows: Sequence[bytes]
    ) -> Fault | None:
        """The fault of a field that cannot be read for one of the entities in a report."""

        def applies(fault: Fault) -> bool:
            return (
                fault.kind is FaultKind.FIELD_UNREADABLE
                and fault.field in report.fields
                and any(f'"{fault.entity_id}"'.encode() in row for row in rows)
            )

        fault = self._simulation.faults.take(visit.call, applies=applies)
        if fault is not None:
            visit.outcome.fault = fault.kind
        return fault

    def _listed(
        self,
        visit: _Visit,
        items: Sequence[bytes],
        page: pages.Page,
        *,
        summary: Mapping[str, object] | None = None,
    ) -> Answer:
        """A page of a list."""
        visit.outcome.rows = len(items[page.begin : page.end])
        fault = self._simulation.faults.take(
            visit.call, applies=lambda fault: pages.can_strike(fault.kind, items, page)
        )
        if fault is not None:
            visit.outcome.fault = fault.kind
        query = {**visit.asked.params, "access_token": visit.asked.token}
        link = pages.Link(visit.asked.url, query)
        struck = fault.kind if fault else None
        return Answer(200, pages.body_of(items, page, link, struck=struck, summary=summary))


_FIXED: Final[Mapping[tuple[str, ...], str]] = MappingProxyType(
    {
        ("GET", "me"): "me",
        ("GET", "me", "adaccounts"): "adaccounts",
        ("GET", "debug_token"): "debug_token",
        ("GET", "oauth", "access_token"): "oauth",
    }
)
_RUN_ENDPOINTS: Final[Mapping[tuple[str, str], str]] = MappingProxyType(
    {("GET", ""): "report_run", ("GET", "insights"): "report_run_insights"}
)
_ENTITY_ENDPOINTS: Final[Mapping[tuple[str, str], str]] = MappingProxyType(
    {
        ("GET", ""): "entity",
        ("GET", "insights"): "insights",
        ("POST", "insights"): "insights_submit",
    }
)
_ACCOUNT_ENDPOINTS: Final[Mapping[tuple[str, str], str]] = MappingProxyType(
    {
        **_ENTITY_ENDPOINTS,
        ("GET", ""): "account",
        ("GET", "campaigns"): "campaigns",
        ("GET", "adsets"): "adsets",
        ("GET", "ads"): "ads",
    }
)


def _call(asked: Asked, route: _Route, now: datetime) -> Call:
    days = None
    if route.run is not None:
        days = (route.run.report.first_day, route.run.report.last_day)
    elif route.account is not None and route.is_insights:
        days = queries.days_of(asked.params, truth.local_day(route.account, now))
    return Call(
        Platform.META,
        route.endpoint,
        account_id=route.account_id,
        first_day=days[0] if days else None,
        last_day=days[1] if days else None,
        parameters=asked.plain_params,
    )


def _applies_before(fault: Fault, call: Call) -> bool:
    """Whether a fault strikes before a call is handled."""
    match fault.kind:
        case FaultKind.CURSOR_INVALID:
            return "after" in call.parameters
        case FaultKind.TOO_MUCH_DATA:
            return _estimate(call) > (fault.amount or 0)
        case FaultKind.FIELD_UNREADABLE:
            return False
        case kind:
            return kind not in pages.PAGE_KINDS


def _estimate(call: Call) -> int:
    """How much a page is, roughly: rows x fields x days."""
    try:
        limit = queries.read_limit(call.parameters)
        fields = len(queries.read_list(call.parameters.get("fields", ""), "fields"))
    except GraphError:
        return 0
    days = (call.last_day - call.first_day).days + 1 if call.first_day and call.last_day else 1
    return limit * max(1, fields) * days


def _allow(grant: Grant, route: _Route) -> None:
    """Refuse an account that a token may not read, or that nobody may.

    Raises:
        GraphError: It is so.
    """
    if route.account_id not in grant.account_ids or not grant.scopes & _READ_SCOPES:
        raise errors.permission_missing()
    is_disabled = route.account is not None and route.account.state is AccountState.DISABLED
    if is_disabled and route.endpoint != "account":
        raise errors.account_disabled()


def _page(visit: _Visit, mark: str) -> pages.Page:
    params = visit.call.parameters
    limit = queries.read_limit(params)
    return pages.page_of(mark, params.get("after"), limit, visit.now)


def _account_of(visit: _Visit) -> Account:
    if visit.route.account is None:
        raise errors.not_found(visit.asked.path[0])
    return visit.route.account


def _run_of(visit: _Visit) -> Run:
    if visit.route.run is None:
        raise errors.not_found(visit.asked.path[0])
    return visit.route.run


def _summary(
    report: queries.Report, rows: Sequence[bytes], fields: Sequence[str]
) -> JsonRow | None:
    if not fields:
        return None
    return render_summary(report, [json.loads(row) for row in rows], fields)


def _batch_item(answer: Answer) -> object:
    """One answer inside a batch's; null where it never came."""
    if answer.delivery in {Delivery.RESET, Delivery.NEVER}:
        return None
    body = answer.body
    if answer.delivery is not Delivery.WHOLE:
        body = body[: len(body) // 2]
    headers = {"Content-Type": answer.content_type, **answer.headers}
    return {
        "code": answer.status,
        "headers": [{"name": name, "value": value} for name, value in headers.items()],
        "body": body.decode(),
    }


def _encoded(items: Sequence[Mapping[str, object]]) -> tuple[bytes, ...]:
    return tuple(pages.encode(item) for item in items)
