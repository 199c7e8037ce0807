"""Routes and messages of a topic that is no service's: what the kit does for every one of them."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from tests.e2e.ingestion.webhook import Webhook, webhook

from liftos_kit import postgres
from liftos_kit.core.errors import AlreadyExistsError, EtagMismatchError, NotFoundError
from liftos_kit.core.repeatable import Repeatable
from liftos_kit.notify.apprise_notifier import AppriseNotifier
from liftos_kit.notify.notifier import Message, Severity
from liftos_kit.notify.postgres_routes import PostgresOutbox, PostgresRoutes, schema_sql
from liftos_kit.notify.route_store import RouteSpec, StoredRoute
from liftos_kit.notify.routes import Routes
from liftos_kit.notify.sender import Sender
from liftos_kit.notify.targets import TargetVault
from liftos_kit.notify.topic import Topic
from liftos_kit.secrets.keyring import generate_key, parse_keyring
from liftos_kit.secrets.secret import Secret
from liftos_local.stack import Stack
from liftos_local.testing import TestDatabase, fresh_database, make_template

_DRILLS = Topic("drill")
_SCHEMA = "drills"
_TEMPLATE = "drill_template"
_OWN = """
create table request_ids (
    org text not null, method text not null, request_id uuid not null,
    payload_digest bytea not null, response bytea, primary key (org, method, request_id)
);
grant select, insert, update on request_ids to liftos_app;
alter table drill_messages add column words text not null;
grant usage on schema drills to liftos_app;
"""
_SPEC = RouteSpec(
    display_name="People", kinds=(), minimum_severity=0.0, platforms=(), disabled=False
)


class _Drills(PostgresOutbox[str]):
    """All that a service has to say of its messages."""

    async def told(self, _: asyncpg.Connection, row: asyncpg.Record) -> str:
        words: str = row["words"]
        return words


def _message_of(org: str, words: str) -> Message:
    return Message(f"{words} ({org})", words, Severity.WARNING)


class Drills:
    """Routes of one org, and what is sent by them."""

    def __init__(self, pool: asyncpg.Pool, org: str) -> None:
        self.pool = pool
        self.org = org
        self.store = PostgresRoutes(_DRILLS, pool)
        self.vault = TargetVault(parse_keyring(generate_key("test")))
        notifier = AppriseNotifier(timeout_seconds=20, private_targets=True)
        self.routes = Routes(
            _DRILLS, self.store, self.vault, notifier, check_platforms=self._know_all
        )
        self._sender = Sender(
            _DRILLS,
            _Drills(_DRILLS, pool),
            self.vault,
            notifier,
            message_of=_message_of,
            send_seconds=20,
        )

    async def _know_all(self, org: str, platforms: object) -> None:
        assert (org, platforms) == (self.org, ())

    async def add(self, name: str, target: str, spec: RouteSpec = _SPEC) -> StoredRoute:
        """Store a route without asking whether its target can be sent to, which takes a second."""
        sealed = self.vault.seal(
            Secret(target), kind="json", resource_name=_DRILLS.route_name(self.org, name)
        )
        return await self.store.create(self.org, name, spec, sealed, None)

    async def tell(self, route: str, *words: str) -> None:
        """Put messages on their way."""
        async with postgres.transaction(self.pool, org=self.org) as connection:
            await connection.executemany(
                "insert into drill_messages (org, drill_route, words) values ($1, $2, $3)",
                [(self.org, route, each) for each in words],
            )

    async def hurry(self) -> None:
        """Let the time of all messages come."""
        async with postgres.transaction(self.pool, org=self.org) as connection:
            await connection.execute("update drill_messages set next_attempt_time = now()")

    async def waiting(self) -> int:
        """Return how many messages are on their way."""
        async with postgres.transaction(self.pool, org=self.org) as connection:
            count: int = await connection.fetchval("select count(*) from drill_messages")
        return count

    async def send(self) -> None:
        """Send what is due."""
        await self._sender.send_due(asyncio.Event())


@pytest.fixture(scope="module")
def database(stores: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestDatabase]:
    """A database whose schema file is what the kit gives, and what a service adds to it."""
    directory = tmp_path_factory.mktemp("schema")
    (directory / "0001_pre_drills.sql").write_text(schema_sql(_DRILLS) + _OWN)

    def migrate(environment: Mapping[str, str]) -> None:
        owner_url = environment["LIFTOS_POSTGRES_OWNER_URL"]
        with ThreadPoolExecutor(1) as executor:
            executor.submit(
                asyncio.run, postgres.migrate(owner_url, Path(directory), schema=_SCHEMA)
            ).result()

    make_template(stores, _TEMPLATE, migrate)
    with fresh_database(stores, _TEMPLATE) as fresh:
        yield fresh


@pytest.fixture(scope="module")
async def pool(database: TestDatabase) -> AsyncIterator[asyncpg.Pool]:
    """Connections under row-level security."""
    opened = await postgres.create_pool(
        database.url, application_name="test", minimum=1, maximum=4, schema=_SCHEMA
    )
    yield opened
    await opened.close()


@pytest.fixture
async def drills(pool: asyncpg.Pool) -> AsyncIterator[Drills]:
    """Routes of an org that no other test uses; what is on its way goes with the test."""
    made = Drills(pool, f"org-{secrets.token_hex(4)}")
    yield made
    async with postgres.transaction(pool, org=made.org) as connection:
        await connection.execute("delete from drill_routes")


@pytest.fixture
async def target() -> AsyncIterator[Webhook]:
    """Where messages go."""
    async with webhook() as served:
        yield served


async def test_a_message_goes_out_once(drills: Drills, target: Webhook) -> None:
    """However many workers look for it; then it is gone, and the route says when."""
    await drills.add("people", target.url)
    await drills.tell("people", "Ready", "Set")
    await asyncio.gather(drills.send(), drills.send())
    assert sorted(target.titles) == [f"Ready ({drills.org})", f"Set ({drills.org})"]
    assert await drills.waiting() == 0
    stored = await drills.routes.get(drills.org, "people")
    assert (stored.send_error, stored.send_time is not None) == ("", True)


async def test_a_target_that_is_away_is_told_later(drills: Drills, target: Webhook) -> None:
    """One try finds it out for all messages of its route; a refusal for good is not repeated."""
    await drills.add("people", target.url)
    target.status = "503 Service Unavailable"
    await drills.tell("people", "Ready", "Set")
    await drills.send()
    await drills.send()
    assert len(target.messages) == 1
    assert "HTTP status 503" in (await drills.routes.get(drills.org, "people")).send_error
    assert await drills.waiting() == 2
    target.status = "403 Forbidden"
    await drills.hurry()
    await drills.send()
    assert (len(target.messages), await drills.waiting()) == (3, 0)


async def test_nobody_waits_for_messages_of_a_route_that_is_off(
    drills: Drills, target: Webhook
) -> None:
    """They are taken back, and do not come when it is on again."""
    await drills.add("people", target.url)
    await drills.tell("people", "Ready")
    off = RouteSpec("Night", (), 0.0, (), disabled=True)
    changed = await drills.routes.update(
        drills.org,
        "people",
        off,
        None,
        reseal=False,
        fields=["disabled"],
        revision=1,
        repeatable=None,
    )
    assert isinstance(changed, StoredRoute)
    assert (changed.spec.display_name, changed.spec.disabled, changed.revision) == (
        "People",
        True,
        2,
    )
    await drills.send()
    assert (target.messages, await drills.waiting()) == ([], 0)


async def test_a_message_without_its_key_waits(drills: Drills, target: Webhook) -> None:
    """The route says what is wrong until the key is back."""
    other = Drills(drills.pool, drills.org)
    await drills.add("people", target.url)
    await drills.tell("people", "Ready")
    await other.send()
    assert "key" in (await drills.routes.get(drills.org, "people")).send_error
    await drills.hurry()
    await drills.send()
    assert target.titles == [f"Ready ({drills.org})"]


async def test_a_page_of_routes_is_bounded(drills: Drills, target: Webhook) -> None:
    """By their number, and by what an answer takes: 1,000 large ones do not fit one."""
    large = RouteSpec(
        "é" * 200, (), 0.0, tuple(f"{n:02}{'p' * 62}" for n in range(50)), disabled=False
    )
    names = [f"r{number:03}" for number in range(400)]
    for name in names:
        await drills.add(name, target.url, large)
    assert [
        it.route for it in (await drills.routes.list_page(drills.org, after="", limit=3))[0]
    ] == names[:3]
    found: list[str] = []
    sizes = []
    after: str | None = ""
    while after is not None:
        page, after = await drills.routes.list_page(drills.org, after=after, limit=1_000)
        found += [it.route for it in page]
        sizes.append(len(page))
    assert found == names
    assert len(sizes) == 2
    assert 200 < sizes[0] < 300
    stranger = Drills(drills.pool, f"{drills.org}-other")
    assert await stranger.routes.list_page(stranger.org, after="", limit=10) == ([], None)


async def test_changes_are_refused_by_name(drills: Drills, target: Webhook) -> None:
    """Of what is there, is not there, or was changed meanwhile."""
    await drills.add("people", target.url)
    name = f"orgs/{drills.org}/drillRoutes/people"
    with pytest.raises(AlreadyExistsError, match=name):
        await drills.add("people", target.url)
    with pytest.raises(EtagMismatchError, match=name):
        await drills.routes.delete(drills.org, "people", revision=7, repeatable=_once())
    await drills.routes.delete(drills.org, "people", revision=1, repeatable=_once())
    with pytest.raises(NotFoundError, match=name):
        await drills.routes.get(drills.org, "people")


def _once() -> Repeatable[None]:
    return Repeatable("DeleteDrillRoute", uuid4(), b"digest", lambda _: b"")
