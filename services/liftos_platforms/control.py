"""The simulation over HTTP, for tests and demos in other processes.

    GET    /clock                        {"now": "2026-11-15T12:00:00+00:00"}
    POST   /clock                        {"now": …} or {"advance_seconds": 3600}
    POST   /delay                        {"answer_delay_seconds": 0.05}
    GET    /faults                       the faults that have not struck as often as they should
    POST   /faults                       one fault or a list: {"kind": …, "platform": …, …}
    DELETE /faults
    GET    /journal                      calls; ?platform= &endpoint= &account_id= &with_polls=true
    DELETE /journal
    GET    /rows                         ?platform= &account_id= &level= &day= &date_basis= &states=
    GET    /accounts
    POST   /accounts/{platform}/{id}     {"currency_code": …, "time_zone": …, "state": …, "name": …}
    GET    /credentials/{platform}       the first credential, as a connection takes it
    GET    /grants                       credentials of the simulated platforms, in clear
    POST   /grants/{platform}            {"token": …, "revoked": true, "expires_at": …,
                                          "scopes": […], "account_ids": […]}; a new token is a
                                         new grant

Whatever cannot be read is refused with 400 and a sentence; nothing is passed over.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import fields, replace
from datetime import date, datetime, timedelta
from typing import Final, assert_never

from aiohttp import web

from liftos_platforms import truth
from liftos_platforms.faults import Fault, FaultKind
from liftos_platforms.http import HttpServer
from liftos_platforms.simulation import Simulation, UnknownAccountError
from liftos_platforms.truth import (
    Account,
    AccountState,
    DateBasis,
    EntityState,
    Grant,
    Level,
    Platform,
    Row,
)

_FAULT_FIELDS: Final = frozenset(field.name for field in fields(Fault))
_ACCOUNT_FIELDS: Final = frozenset({"currency_code", "time_zone", "state", "name"})
_GRANT_FIELDS: Final = frozenset({"token", "revoked", "expires_at", "scopes", "account_ids"})

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ControlServer:
    """The control port of a simulation."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        app = web.Application(middlewares=[_refuse_bad_requests])
        app.add_routes(
            [
                web.get("/clock", self._read_clock),
                web.post("/clock", self._set_clock),
                web.post("/delay", self._set_delay),
                web.get("/faults", self._read_faults),
                web.post("/faults", self._add_faults),
                web.delete("/faults", self._clear_faults),
                web.get("/journal", self._read_journal),
                web.delete("/journal", self._clear_journal),
                web.get("/rows", self._read_rows),
                web.get("/accounts", self._read_accounts),
                web.post("/accounts/{platform}/{account_id}", self._change_account),
                web.get("/credentials/{platform}", self._read_credential),
                web.get("/grants", self._read_grants),
                web.post("/grants/{platform}", self._change_grant),
            ]
        )
        self._server = HttpServer(app)

    @property
    def port(self) -> int:
        """The port that is bound; 0 before `start`."""
        return self._server.port

    async def start(self, host: str, port: int) -> None:
        """Listen; port 0 takes a free one."""
        await self._server.start(host, port)

    async def stop(self) -> None:
        """Stop listening."""
        await self._server.stop()

    async def _read_clock(self, _: web.Request) -> web.Response:
        return web.json_response({"now": self._simulation.clock.now().isoformat()})

    async def _set_clock(self, request: web.Request) -> web.Response:
        body = await _body(request, frozenset({"now", "advance_seconds"}))
        clock = self._simulation.clock
        if "now" in body:
            clock.set(datetime.fromisoformat(str(body["now"])))
        if "advance_seconds" in body:
            clock.advance(timedelta(seconds=float(str(body["advance_seconds"]))))
        return await self._read_clock(request)

    async def _set_delay(self, request: web.Request) -> web.Response:
        body = await _body(request, frozenset({"answer_delay_seconds"}))
        self._simulation.answer_delay_seconds = float(str(body["answer_delay_seconds"]))
        return web.json_response(body)

    async def _read_faults(self, _: web.Request) -> web.Response:
        waiting = self._simulation.faults.unstruck()
        return web.json_response({"faults": [_fault_json(fault) for fault in waiting]})

    async def _add_faults(self, request: web.Request) -> web.Response:
        value = await request.json()
        items = value if isinstance(value, list) else [value]
        self._simulation.faults.add(*[_fault(item) for item in items])
        return await self._read_faults(request)

    async def _clear_faults(self, request: web.Request) -> web.Response:
        self._simulation.faults.clear()
        return await self._read_faults(request)

    async def _read_journal(self, request: web.Request) -> web.Response:
        query = _query(request, {"platform", "endpoint", "account_id", "with_polls"})
        entries = self._simulation.journal.calls(
            Platform(query["platform"]) if "platform" in query else None,
            endpoint=query.get("endpoint", ""),
            account_id=query.get("account_id", ""),
            with_polls=query.get("with_polls") == "true",
        )
        return web.json_response({"calls": [entry.as_json() for entry in entries]})

    async def _clear_journal(self, _: web.Request) -> web.Response:
        self._simulation.journal.clear()
        return web.json_response({"calls": []})

    async def _read_rows(self, request: web.Request) -> web.Response:
        names = {"platform", "account_id", "level", "day", "date_basis", "states"}
        query = _query(request, names)
        basis = query.get("date_basis")
        states = query.get("states")
        found = self._simulation.rows(
            Platform(query["platform"]),
            query["account_id"],
            level=Level(query["level"]),
            day=date.fromisoformat(query["day"]),
            date_basis=DateBasis(basis) if basis else None,
            states=frozenset(map(EntityState, states.split(","))) if states else None,
        )
        return web.json_response({"rows": [row_json(row) for row in found]})

    async def _read_accounts(self, _: web.Request) -> web.Response:
        accounts = self._simulation.world.accounts.values()
        return web.json_response({"accounts": [_account_json(account) for account in accounts]})

    async def _change_account(self, request: web.Request) -> web.Response:
        body = await _body(request, _ACCOUNT_FIELDS)
        platform = Platform(request.match_info["platform"])
        account = self._simulation.account(platform, request.match_info["account_id"])
        texts = {name: str(value) for name, value in body.items()}
        truth.zone(texts.get("time_zone", account.time_zone))
        changed = replace(
            account,
            name=texts.get("name", account.name),
            currency_code=texts.get("currency_code", account.currency_code),
            time_zone=texts.get("time_zone", account.time_zone),
            state=AccountState(texts.get("state", account.state)),
        )
        self._simulation.world = truth.with_account(self._simulation.world, changed)
        return web.json_response(_account_json(changed))

    async def _read_credential(self, request: web.Request) -> web.Response:
        platform = Platform(request.match_info["platform"])
        token = next(it.token for it in self._simulation.world.grants if it.platform is platform)
        return web.json_response(_credential_json(platform, token))

    async def _read_grants(self, _: web.Request) -> web.Response:
        grants = self._simulation.world.grants
        return web.json_response({"grants": [_grant_json(grant) for grant in grants]})

    async def _change_grant(self, request: web.Request) -> web.Response:
        body = await _body(request, _GRANT_FIELDS)
        platform, token = Platform(request.match_info["platform"]), str(body["token"])
        grant = truth.grant_of(self._simulation.world, platform, token) or Grant(
            platform, token, (), frozenset()
        )
        if "revoked" in body:
            grant = replace(grant, revoked=body["revoked"] is True)
        if "expires_at" in body:
            expires_at = body["expires_at"]
            grant = replace(
                grant, expires_at=datetime.fromisoformat(str(expires_at)) if expires_at else None
            )
        if "scopes" in body:
            grant = replace(grant, scopes=frozenset(_texts(body["scopes"])))
        if "account_ids" in body:
            grant = replace(grant, account_ids=_texts(body["account_ids"]))
        self._simulation.world = truth.with_grant(self._simulation.world, grant)
        return web.json_response(_grant_json(grant))


def row_json(row: Row) -> dict[str, object]:
    """A row of the truth; a metric that is not in it is not reported."""
    today_name = row.entity.name[-1][1] if row.entity else row.account.name
    return {
        "platform": row.account.platform.value,
        "account_id": row.account.account_id,
        "level": row.level.value,
        "date_basis": row.date_basis.value,
        "date": row.date.isoformat(),
        "currency_code": row.account.currency_code,
        "campaign_id": row.campaign_id,
        "ad_group_id": row.ad_group_id,
        "ad_id": row.ad_id,
        "flow_id": row.flow_id,
        "message_id": row.message_id,
        "last_name": today_name,
        "metrics": {metric.value: value for metric, value in row.metrics.items()},
    }


@web.middleware
async def _refuse_bad_requests(request: web.Request, handler: _Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except UnknownAccountError as error:
        return web.json_response({"error": str(error)}, status=404)
    except KeyError as error:
        return web.json_response({"error": f"{error} is missing or unknown"}, status=400)
    except (TypeError, ValueError) as error:
        return web.json_response({"error": str(error)}, status=400)


async def _body(request: web.Request, known: frozenset[str]) -> dict[str, object]:
    value = await request.json()
    if not isinstance(value, dict):
        raise TypeError("the body must be an object")
    _refuse_unknown(value, known)
    return value


def _query(request: web.Request, known: set[str]) -> Mapping[str, str]:
    _refuse_unknown(request.query, frozenset(known))
    return request.query


def _refuse_unknown(given: Mapping[str, object], known: frozenset[str]) -> None:
    unknown = sorted(set(given) - known)
    if unknown:
        raise ValueError(f"unknown: {', '.join(unknown)}; known: {', '.join(sorted(known))}")


def _fault(value: object) -> Fault:
    if not isinstance(value, dict):
        raise TypeError("a fault must be an object")
    _refuse_unknown(value, _FAULT_FIELDS)
    given = {
        **value,
        "kind": FaultKind(value["kind"]),
        "platform": Platform(value["platform"]),
        "day": date.fromisoformat(value["day"]) if value.get("day") else None,
    }
    return Fault(**given)


def _fault_json(fault: Fault) -> dict[str, object]:
    known: dict[str, object] = json.loads(
        json.dumps({field.name: getattr(fault, field.name) for field in fields(fault)}, default=str)
    )
    return known


def _account_json(account: Account) -> dict[str, object]:
    return {
        "platform": account.platform.value,
        "account_id": account.account_id,
        "name": account.name,
        "time_zone": account.time_zone,
        "currency_code": account.currency_code,
        "state": account.state.value,
        "managers": list(account.managers),
        "is_manager": account.is_manager,
    }


def _credential_json(platform: Platform, token: str) -> dict[str, str]:
    match platform:
        case Platform.META:
            return {"access_token": token}
        case Platform.GOOGLE_ADS:
            # The simulated token server knows its refresh tokens, and takes any client.
            return {"client_id": "simulated", "client_secret": "simulated", "refresh_token": token}
        case Platform.KLAVIYO:
            return {"api_key": token}
    assert_never(platform)


def _grant_json(grant: Grant) -> dict[str, object]:
    return {
        "platform": grant.platform.value,
        "token": grant.token,
        "account_ids": list(grant.account_ids),
        "scopes": sorted(grant.scopes),
        "expires_at": grant.expires_at.isoformat() if grant.expires_at else None,
        "revoked": grant.revoked,
    }


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError("expected a list of texts")
    return tuple(map(str, value))
