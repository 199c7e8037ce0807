"""Alerts: told once when they open, once when they are over, and taken up by a person."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from tests.e2e.ingestion.served_parts import (
    ClientFactory,
    catalog_of,
    clients_of,
    ingestion_settings,
)
from tests.e2e.ingestion.webhook import Webhook, webhook
from tests.e2e.route_suite import RouteSuite
from tests.inprocess.kit.statuses import refusal_of

from liftos.ingestion.v1 import alert_pb2
from liftos.ingestion.v1 import ingestion_service_pb2 as pb
from liftos_ingestion.adapters.postgres.alerts import (
    PostgresAlertOutbox,
    PostgresAlerts,
    record_conditions,
)
from liftos_ingestion.alert_ports import ToldAlert
from liftos_ingestion.domain import alerts as domain
from liftos_ingestion.domain.alerts import AlertKind, AlertSeverity, Condition
from liftos_ingestion.domain.names import ALERTS
from liftos_ingestion.servicer.alerts import AlertsServicer
from liftos_ingestion.settings import IngestionSettings
from liftos_ingestion.usecases.alert_messages import message_of
from liftos_ingestion.usecases.alerts import Alerts
from liftos_kit import postgres
from liftos_kit.core.paging import PageTokens
from liftos_kit.notify.apprise_notifier import apprise_notifier
from liftos_kit.notify.postgres_routes import PostgresRoutes
from liftos_kit.notify.route_store import RouteSpec
from liftos_kit.notify.routes import Routes
from liftos_kit.notify.sender import Sender
from liftos_kit.notify.servicer import route_servicer
from liftos_kit.notify.targets import TargetVault
from liftos_kit.secrets.keyring import generate_key
from liftos_kit.secrets.secret import Secret

RUN = UUID(int=7)


@pytest.fixture(scope="module")
def settings(environment: Mapping[str, str]) -> IngestionSettings:
    """Settings with keys, which let messages go to this machine."""
    return ingestion_settings(
        environment,
        LIFTOS_SECRET_KEYS=generate_key("test").reveal(),
        LIFTOS_NOTIFICATION_PRIVATE_TARGETS="true",
    )


def _parts(pool: asyncpg.Pool, settings: IngestionSettings) -> Sequence[object]:
    page_tokens = PageTokens(settings.page_token_key)
    routes = Routes(
        ALERTS,
        PostgresRoutes(ALERTS, pool),
        TargetVault(settings.keyring()),
        apprise_notifier(settings),
        check_platforms=catalog_of(pool, settings).require,
    )
    return [
        AlertsServicer(alerts=Alerts(PostgresAlerts(pool)), page_tokens=page_tokens),
        route_servicer(pb, routes, page_tokens=page_tokens, least_severity=AlertSeverity.INFO),
    ]


@pytest.fixture(scope="module")
async def clients(pool: asyncpg.Pool, settings: IngestionSettings) -> AsyncIterator[ClientFactory]:
    """Clients of a server of alerts."""
    async with clients_of(settings, _parts(pool, settings)) as factory:
        yield factory


@pytest.fixture
def sender(pool: asyncpg.Pool, settings: IngestionSettings) -> Sender[ToldAlert]:
    """A worker that sends."""
    return Sender(
        ALERTS,
        PostgresAlertOutbox(pool),
        TargetVault(settings.keyring()),
        apprise_notifier(settings),
        message_of=message_of,
        send_seconds=settings.notification_timeout_seconds,
    )


@pytest.fixture
async def target() -> AsyncIterator[Webhook]:
    """Where messages go."""
    async with webhook() as served:
        yield served


def _failed(*, partly: bool = False, run: UUID = RUN, connection: str = "shop") -> Condition:
    return domain.run_failed(
        connection=connection,
        platform="meta",
        run=run,
        partly=partly,
        account_ids=["7"],
        error="",
        schedule="",
    )


async def _hold(routes: "RouteKeeper", org: str, *conditions: Condition) -> None:
    """Let these hold and no others."""
    async with postgres.transaction(routes.pool, org=org) as connection:
        await record_conditions(connection, org, conditions, kinds=tuple(AlertKind))


async def _hurry(routes: "RouteKeeper", org: str) -> None:
    """Let the time of all messages that wait come."""
    async with postgres.transaction(routes.pool, org=org) as connection:
        await connection.execute(
            "update alert_messages set next_attempt_time = now()"
            " where next_attempt_time is not null"
        )


async def _send(sender: Sender[ToldAlert]) -> None:
    await sender.send_due(asyncio.Event())


async def _add_route(client: Any, org: str, target: Webhook, **fields: Any) -> alert_pb2.AlertRoute:
    request = pb.CreateAlertRouteRequest(
        alert_route=alert_pb2.AlertRoute(
            name=f"orgs/{org}/alertRoutes/people",
            display_name="People",
            target_url=target.url,
            **fields,
        ),
        request_id=str(uuid4()),
    )
    made: alert_pb2.AlertRoute = (await client.CreateAlertRoute(request)).alert_route
    return made


class RouteKeeper:
    """Stores routes without asking whether their targets can be sent to, which takes a second."""

    def __init__(self, pool: asyncpg.Pool, settings: IngestionSettings) -> None:
        self.pool = pool
        self._store = PostgresRoutes(ALERTS, pool)
        self._vault = TargetVault(settings.keyring())

    async def add(self, org: str, target: Webhook, *, name: str = "people", **fields: Any) -> None:
        """Store one that takes all, but for what `fields` say."""
        spec = RouteSpec(
            display_name="People",
            kinds=(),
            minimum_severity=AlertSeverity.INFO,
            platforms=(),
            disabled=False,
        )
        sealed = self._vault.seal(
            Secret(target.url), kind="json", resource_name=ALERTS.route_name(org, name)
        )
        await self._store.create(org, name, replace(spec, **fields), sealed, None)


@pytest.fixture
async def routes(
    pool: asyncpg.Pool, settings: IngestionSettings, org: str
) -> AsyncIterator[RouteKeeper]:
    """Where routes are stored; what is still on its way goes with the test."""
    yield RouteKeeper(pool, settings)
    async with postgres.transaction(pool, org=org) as connection:
        await connection.execute("delete from alert_routes")


async def _alerts(client: Any, org: str, where: str = "") -> Sequence[alert_pb2.Alert]:
    listed = await client.ListAlerts(pb.ListAlertsRequest(parent=f"orgs/{org}", filter=where))
    found: Sequence[alert_pb2.Alert] = listed.alerts
    return found


async def test_a_condition_is_one_alert(
    clients: ClientFactory,
    routes: RouteKeeper,
    org: str,
    sender: Sender[ToldAlert],
    target: Webhook,
) -> None:
    """However often it is seen, people are told when it opens, gets worse, and is over."""
    client = clients(org)
    await routes.add(org, target)
    await _hold(routes, org, _failed(partly=True))
    await _hold(routes, org, _failed(partly=True))
    await asyncio.gather(_send(sender), _send(sender))
    assert target.titles == [f"Run failed ({org})"]
    assert target.messages[0]["type"] == "warning"
    (alert,) = await _alerts(client, org)
    assert (alert.state, alert.occurrence_count) == (alert_pb2.ALERT_STATE_OPEN, 1)
    assert alert.connection == f"orgs/{org}/connections/shop"
    assert alert.name in target.messages[0]["message"]
    assert alert.remedy in target.messages[0]["message"]

    await _hold(routes, org, _failed(partly=True, run=UUID(int=8)))
    await _send(sender)
    assert len(target.messages) == 1, "as bad as before"
    await _hold(routes, org, _failed(run=UUID(int=9)))
    await _send(sender)
    assert [message["type"] for message in target.messages] == ["warning", "failure"]
    (alert,) = await _alerts(client, org)
    assert alert.occurrence_count == 3
    assert alert.run == f"orgs/{org}/runs/{UUID(int=9).hex}"

    await _hold(routes, org)
    await _hold(routes, org)
    await _send(sender)
    assert target.titles[2:] == [f"Resolved: Run failed ({org})"]
    (alert,) = await _alerts(client, org)
    assert alert.state == alert_pb2.ALERT_STATE_RESOLVED
    assert alert.HasField("resolve_time")
    await _hold(routes, org, _failed())
    assert len(await _alerts(client, org)) == 2, "what comes again is another alert"


async def test_nobody_is_told_again_of_what_is_taken_up(
    clients: ClientFactory,
    routes: RouteKeeper,
    org: str,
    sender: Sender[ToldAlert],
    target: Webhook,
) -> None:
    """Until its end, which they are told of where they knew of it."""
    client = clients(org)
    await routes.add(org, target)
    await _hold(routes, org, _failed(partly=True))
    await _send(sender)
    await _hold(routes, org, _failed(partly=True), _failed(connection="other"))
    for alert in await _alerts(client, org):
        request = pb.AcknowledgeAlertRequest(
            name=alert.name, comment="mine", request_id=str(uuid4())
        )
        taken = (await client.AcknowledgeAlert(request)).alert
        assert taken.state == alert_pb2.ALERT_STATE_ACKNOWLEDGED
        assert taken.acknowledge_comment == "mine"
        assert taken.acknowledge_subject
        assert (await client.AcknowledgeAlert(request)).alert == taken
    await _hold(routes, org, _failed(), _failed(connection="other"))
    await _send(sender)
    assert len(target.messages) == 1
    await _hold(routes, org)
    await _send(sender)
    assert target.titles[1:] == [f"Resolved: Run failed ({org})"], "nobody knew of the other"
    request.request_id = str(uuid4())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.AcknowledgeAlert(request)
    assert refusal_of(caught.value).reason == "ERROR_REASON_STATE_TRANSITION_INVALID"


async def test_routes_choose(
    clients: ClientFactory,
    routes: RouteKeeper,
    org: str,
    sender: Sender[ToldAlert],
    target: Webhook,
) -> None:
    """By kind, severity and platform; a disabled one sends nothing."""
    client = clients(org)
    chosen: Mapping[str, Mapping[str, Any]] = {
        "all": {},
        "critical": {"minimum_severity": AlertSeverity.CRITICAL},
        "late": {"kinds": (AlertKind.DATA_LATE,)},
        "meta": {"platforms": ("meta",)},
        "klaviyo": {"platforms": ("klaviyo",)},
        "off": {"disabled": True},
    }
    for name, fields in chosen.items():
        await routes.add(org, target, name=name, **fields)
    await _hold(routes, org, _failed(partly=True))
    async with postgres.transaction(routes.pool, org=org) as connection:
        rows = await connection.fetch("select alert_route from alert_messages order by 1")
    assert [row["alert_route"] for row in rows] == ["all", "meta"]
    request = pb.UpdateAlertRouteRequest(
        alert_route=alert_pb2.AlertRoute(
            name=f"orgs/{org}/alertRoutes/meta", display_name="x", disabled=True
        ),
        update_mask=FieldMask(paths=["disabled"]),
    )
    await client.UpdateAlertRoute(request)
    await _send(sender)
    assert len(target.messages) == 1


async def test_who_may_know_is_told_of_the_end(
    routes: RouteKeeper, org: str, sender: Sender[ToldAlert], target: Webhook
) -> None:
    """A message that a target refused is not repeated, and its alert's end comes all the same."""
    await routes.add(org, target)
    target.status = "403 Forbidden"
    await _hold(routes, org, _failed())
    for _ in range(2):
        await _send(sender)
        await _hurry(routes, org)
    assert len(target.messages) == 1
    target.status = "200 OK"
    await _hold(routes, org)
    await _send(sender)
    assert target.titles[1:] == [f"Resolved: Run failed ({org})"]


async def test_a_worker_that_dies_sends_at_most_once_more(
    routes: RouteKeeper,
    org: str,
    sender: Sender[ToldAlert],
    settings: IngestionSettings,
    target: Webhook,
) -> None:
    """Killed after the target has the message and before that is recorded: it comes twice."""
    await routes.add(org, target)
    await _hold(routes, org, _failed())
    target.answering.clear()
    assert settings.postgres_url is not None
    assert settings.redis_url is not None
    assert settings.secret_keys is not None
    variables = {
        "LIFTOS_POSTGRES_URL": settings.postgres_url.get_secret_value(),
        "LIFTOS_REDIS_URL": settings.redis_url.get_secret_value(),
        "LIFTOS_SECRET_KEYS": settings.secret_keys.get_secret_value(),
        "LIFTOS_JWT_SECRET": "x" * 32,
        "LIFTOS_NOTIFICATION_PRIVATE_TARGETS": "true",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    program = Path(__file__).with_name("alert_sender_process.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(program), env={**os.environ, **variables}
    )
    try:
        await asyncio.wait_for(target.arrived.wait(), 30)
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    target.answering.set()
    await _send(sender)
    assert len(target.messages) == 1, "nobody takes it before the lease is over"
    for _ in range(3):
        await _hurry(routes, org)
        await _send(sender)
    assert len(target.messages) == 2
    assert target.messages[0] == target.messages[1]


async def test_a_target_is_encrypted_again_with_the_newest_key(
    environment: Mapping[str, str], pool: asyncpg.Pool, org: str, target: Webhook
) -> None:
    """After that the old key can be taken out; before it, nothing opens without it."""
    old, new = generate_key("k1").reveal(), generate_key("k2").reveal()

    async with AsyncExitStack() as stack:

        async def client_of(keys: str) -> Any:
            settings = ingestion_settings(
                environment,
                LIFTOS_SECRET_KEYS=keys,
                LIFTOS_NOTIFICATION_PRIVATE_TARGETS="true",
            )
            served = clients_of(settings, _parts(pool, settings))
            return (await stack.enter_async_context(served))(org)

        before, during, after = [await client_of(it) for it in (old, f"{new},{old}", new)]
        made = await _add_route(before, org, target)
        assert made.target_key_id == "k1"
        reseal = pb.UpdateAlertRouteRequest(
            alert_route=alert_pb2.AlertRoute(name=made.name, display_name="not named"),
            update_mask=FieldMask(paths=["target_url"]),
        )
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await after.UpdateAlertRoute(reseal)
        assert refusal_of(caught.value).reason == "ERROR_REASON_VERIFICATION_FAILED"
        kept = alert_pb2.AlertRoute(name=made.name, display_name="Night")
        changed = await during.UpdateAlertRoute(pb.UpdateAlertRouteRequest(alert_route=kept))
        assert changed.alert_route.target_key_id == "k1", "only who asks for it gets it"
        resealed = (await during.UpdateAlertRoute(reseal)).alert_route
        assert (resealed.display_name, resealed.target_key_id) == ("Night", "k2")
        test = pb.TestAlertRouteRequest(name=made.name, request_id=str(uuid4()))
        assert await after.TestAlertRoute(test) == pb.TestAlertRouteResponse(sent=True)
        assert len(target.messages) == 1


class TestRoutes(RouteSuite):
    """Routes of alerts."""

    noun = "alert"
    messages = pb
    route_type = alert_pb2.AlertRoute
    unknown_platform = ("ERROR_REASON_RESOURCE_NOT_FOUND", ())


async def test_alerts_are_listed(clients: ClientFactory, routes: RouteKeeper, org: str) -> None:
    """Open ones first, page by page, filtered, and for their org alone."""
    client = clients(org)
    names = [f"shop-{number}" for number in range(4)]
    for number in range(4):
        held = [_failed(connection=name) for name in names[: number + 1]]
        held[0] = replace(held[0], severity=AlertSeverity.INFO)
        await _hold(routes, org, *held)
    await _hold(routes, org, *[_failed(connection=name) for name in names[1:]])
    seen: list[str] = []
    token = ""
    while True:
        page = await client.ListAlerts(
            pb.ListAlertsRequest(parent=f"orgs/{org}", page_size=1, page_token=token)
        )
        seen += [alert.connection.rpartition("/")[2] for alert in page.alerts]
        token = page.next_page_token
        if not token:
            break
    assert seen == ["shop-3", "shop-2", "shop-1", "shop-0"]
    where = f'kind = RUN_FAILED AND state = OPEN AND connection = "orgs/{org}/connections/shop-2"'
    (found,) = await _alerts(client, org, where)
    assert (await client.GetAlert(pb.GetAlertRequest(name=found.name))).alert == found
    assert not await _alerts(client, org, "severity = INFO AND state = OPEN")
    stranger = f"{org}-other"
    assert not await _alerts(clients(stranger), stranger)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await clients(stranger).GetAlert(
            pb.GetAlertRequest(name=found.name.replace(org, stranger, 1))
        )
    assert refusal_of(caught.value).reason == "ERROR_REASON_RESOURCE_NOT_FOUND"
