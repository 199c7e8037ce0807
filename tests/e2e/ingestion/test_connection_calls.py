"""Connections over the wire: registered, tried, changed and removed, and never a secret shown."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn
from uuid import uuid4

import asyncpg
import grpc
import pytest
import structlog
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.struct_pb2 import Struct
from tests.e2e.ingestion.connecting import (
    BAD,
    GOOD,
    OUTLET,
    SHOP,
    Caller,
    Delay,
    PickyPlatform,
    one_call,
    refusal,
    stored,
    told,
)

from liftos.ingestion.v1 import connection_pb2, ingestion_service_pb2
from liftos.ingestion.v1 import ingestion_service_pb2 as pb
from liftos.ingestion.v1.ingestion_service_pb2_grpc import add_IngestionServiceServicer_to_server
from liftos_client.errors import LiftosError
from liftos_ingestion.adapters.credential_vault import KeyringVault
from liftos_ingestion.adapters.inmemory_rate_governor import InMemoryRateGovernor
from liftos_ingestion.adapters.postgres.connections import (
    PostgresConnectionOpener,
    PostgresConnections,
)
from liftos_ingestion.adapters.postgres.sources import PostgresSources
from liftos_ingestion.catalog_ports import NewSource
from liftos_ingestion.connection_ports import (
    ConnectionState,
    CredentialKind,
    GivenCredential,
    StoredConnection,
)
from liftos_ingestion.domain.failures import ErrorClass
from liftos_ingestion.servicer.connections import ConnectionsServicer
from liftos_ingestion.source_ports import PlatformAccount, Verified
from liftos_ingestion.usecases.connections import ConnectionAdministration
from liftos_ingestion.usecases.sources import Catalog
from liftos_kit import postgres
from liftos_kit.auth import Principal, set_principal
from liftos_kit.core.errors import (
    ChannelInsecureError,
    InvalidFieldsError,
    VerificationFailedError,
)
from liftos_kit.core.paging import PageTokens
from liftos_kit.core.repeatable import Repeatable
from liftos_kit.requests import digest_request
from liftos_kit.secrets.credentials import SecretPlaces
from liftos_kit.secrets.keyring import Keyring
from liftos_kit.secrets.secret import Secret
from liftos_kit.servicer_parts import combine
from liftos_kit.testing.server import running_server

_SERVICE = ingestion_service_pb2.DESCRIPTOR.services_by_name["IngestionService"]
_REFERENCED = "EAAB-referenced-never-to-be-shown"
_LONG_LIVED = "EAAB-long-lived-never-to-be-shown"
_SECRETS = (GOOD, BAD, _REFERENCED, _LONG_LIVED)


@dataclass
class Harness:
    """A server over one platform, and what it has logged."""

    platform: PickyPlatform
    servicer: ConnectionsServicer
    channel: grpc.aio.Channel
    pool: asyncpg.Pool
    opener: PostgresConnectionOpener
    events: list[MutableMapping[str, Any]]
    keys: dict[str, bytes]

    def administration(self, keys: dict[str, bytes]) -> ConnectionAdministration:
        """Return what administrates connections with these keys and nothing else."""
        keyring = Keyring(keys) if keys else None
        return _administration(self.pool, self.platform, SecretPlaces(keyring=keyring))

    def logged(self, event: str) -> list[MutableMapping[str, Any]]:
        """Return log events of a name."""
        return [it for it in self.events if it["event"] == event]

    async def rows(self, org: str, table: str) -> Sequence[asyncpg.Record]:
        """Return the rows of a table."""
        async with postgres.transaction(self.pool, org=org) as connection:
            found: Sequence[asyncpg.Record] = await connection.fetch(f"select * from {table}")
        return found

    async def token(self, org: str, connection: str = "shop") -> str:
        """Return the token that a worker would be given."""
        opened = await self.opener.open(org, connection)
        return opened.credential["access_token"].reveal()


def _build(spec: NewSource) -> NoReturn:
    raise AssertionError("no test here has a source of its own")


def _administration(
    pool: asyncpg.Pool, platform: PickyPlatform, places: SecretPlaces
) -> ConnectionAdministration:
    vault = KeyringVault(places)
    return ConnectionAdministration(
        store=PostgresConnections(pool),
        catalog=Catalog({"meta": platform}, store=PostgresSources(pool), build=_build),
        opener=PostgresConnectionOpener(pool, vault),
        vault=vault,
        governor=InMemoryRateGovernor(),
    )


@pytest.fixture
def events(caplog: pytest.LogCaptureFixture) -> Iterator[list[MutableMapping[str, Any]]]:
    """All that is logged, before anything is taken out of it; no secret may be in it."""
    caplog.set_level(logging.DEBUG)
    with structlog.testing.capture_logs() as captured:
        yield captured
    everything = repr(captured) + caplog.text + repr([it.__dict__ for it in caplog.records])
    assert not [secret for secret in _SECRETS if secret in everything]


@pytest.fixture
async def harness(
    pool: asyncpg.Pool, events: list[MutableMapping[str, Any]], tmp_path: Path, org: str
) -> AsyncIterator[Harness]:
    """A server with keys, a granted prefix and a secrets folder."""
    platform = PickyPlatform()
    keys = {"k1": os.urandom(32)}
    places = SecretPlaces(
        keyring=Keyring(keys),
        environment={"SHOP_ACCESS_TOKEN": _REFERENCED},
        granted_prefixes=frozenset({(org, "SHOP_")}),
        directory=tmp_path,
    )
    servicer = ConnectionsServicer(
        administration=_administration(pool, platform, places),
        page_tokens=PageTokens(os.urandom(32)),
    )
    opener = PostgresConnectionOpener(pool, KeyringVault(places))
    later = [it.name for it in _SERVICE.methods if not hasattr(servicer, it.name)]

    def register(server: grpc.aio.Server) -> None:
        add_IngestionServiceServicer_to_server(combine(_SERVICE, [servicer], later=later), server)

    async with (
        running_server(register, service_names=[_SERVICE.full_name]) as server,
        grpc.aio.insecure_channel(server.target) as channel,
    ):
        yield Harness(platform, servicer, channel, pool, opener, events, keys)


@pytest.fixture
def caller(harness: Harness, org: str) -> Caller:
    """An administrator of the org."""
    return Caller(harness.channel, org)


async def test_a_connection_is_registered_and_tried(
    harness: Harness, caller: Caller, org: str
) -> None:
    """What the platform says of the credential and its accounts is answered and stored."""
    expiry = datetime(2027, 1, 20, tzinfo=UTC)
    harness.platform.answers[GOOD] = Verified(
        [SHOP, OUTLET], ("ads_read",), ("business_management",), expiry
    )
    settings = Struct()
    settings.update({"attribution": "7d_click", "page_rows": 500})
    made = await caller.create(settings=settings)
    assert made == await caller.get()
    assert made.state == connection_pb2.CONNECTION_STATE_ACTIVE
    assert [(it.account_id, it.display_name, it.time_zone) for it in made.accounts] == [
        ("7", "Shop", "Europe/Berlin"),
        ("8", "Outlet", "Europe/Berlin"),
    ]
    assert made.credential.kind == connection_pb2.CREDENTIAL_KIND_STORED
    assert made.credential.field_names == ["access_token"]
    assert made.credential.key_id == "k1"
    assert made.credential.expire_time.ToDatetime(UTC) == expiry
    assert made.credential.granted_scopes == ["ads_read"]
    assert made.missing_scopes == ["business_management"]
    assert made.HasField("verify_time")
    assert made.settings == settings
    assert GOOD not in repr(made)
    assert await harness.token(org) == GOOD


async def test_a_refused_credential_registers_nothing(
    harness: Harness, caller: Caller, org: str
) -> None:
    """The connection is not there afterwards, and another call with the same id may work."""
    request_id = str(uuid4())
    with pytest.raises(LiftosError) as caught:
        await caller.create(token=BAD, request_id=request_id)
    assert caught.value.reason == "CREDENTIALS_REJECTED"
    assert caught.value.metadata["platform"] == "meta"
    assert await harness.rows(org, "connections") == []
    assert await harness.rows(org, "request_ids") == []
    assert harness.logged("credential_not_verified")[0]["platform_code"] == "190"
    assert (await caller.create(request_id=request_id)).state == 2


async def test_a_platform_that_does_not_answer_leaves_it_unverified(
    harness: Harness, caller: Caller
) -> None:
    """An outage at creation is no refusal: the connection is there, to be verified later."""
    harness.platform.answers[GOOD] = refusal(ErrorClass.TRANSIENT)
    assert (await caller.create()).state == connection_pb2.CONNECTION_STATE_UNVERIFIED
    with pytest.raises(LiftosError) as caught:
        await caller.verify()
    assert (caught.value.reason, caught.value.metadata["store"]) == ("STORE_UNAVAILABLE", "meta")
    assert caught.value.message == "The platform meta gives no answer: The platform said so."
    assert caught.value.retry_after_seconds
    harness.platform.answers[GOOD] = refusal(ErrorClass.VERSION)
    with pytest.raises(LiftosError, match="VERSION: The platform said so") as caught:
        await caller.verify()
    assert caught.value.reason == "VERIFICATION_FAILED"
    harness.platform.answers[GOOD] = Verified([SHOP])
    assert (await caller.verify()).state == connection_pb2.CONNECTION_STATE_ACTIVE


async def test_a_limit_of_the_platform_is_kept(harness: Harness, caller: Caller) -> None:
    """Trying a credential takes from the same limits as reading, and says when to come back."""
    harness.platform.limit = one_call()
    await caller.create()
    with pytest.raises(LiftosError) as caught:
        await caller.verify()
    assert caught.value.reason == "PLATFORM_RATE_LIMITED"
    assert (caught.value.retry_after_seconds or 0) > 3_000
    assert harness.platform.shown == [GOOD]


async def test_what_breaks_the_schemas_is_named(harness: Harness, caller: Caller) -> None:
    """Settings and credentials are held to their schemas before anything is asked or stored."""
    settings = Struct()
    settings.update({"attribution": "28d_click", "page_rows": 0, "pages": 1})
    with pytest.raises(LiftosError) as caught:
        await caller.create(settings=settings, accounts=["7", "8", "7"])
    assert told(caught.value) == {
        "connection.settings.attribution": "is none of 7d_click, 1d_view",
        "connection.settings.page_rows": "is below 1",
        "connection.settings.pages": "is not known; there are attribution, page_rows",
        "connection.accounts[2].account_id": "7 is that of accounts[0] as well",
    }
    request = pb.CreateConnectionRequest(
        connection=connection_pb2.Connection(
            name=caller.name(), display_name="Shop", platform="meta"
        ),
        credential=stored(app_secret=GOOD, token=BAD),
        request_id=str(uuid4()),
    )
    with pytest.raises(LiftosError) as caught:
        await caller.call("CreateConnection", request)
    assert told(caught.value) == {
        "credential.stored.values.access_token": "is required",
        "credential.stored.values.token": "is not known; there are access_token, app_secret",
    }
    with pytest.raises(LiftosError) as caught:
        await caller.create(platform="tiktok")
    assert caught.value.metadata["resource_name"] == f"orgs/{caller.org}/sources/tiktok"
    assert harness.platform.shown == []


async def test_references_are_an_orgs_own(
    harness: Harness, caller: Caller, org: str, tmp_path: Path
) -> None:
    """Variables and files are read where they were granted, and nowhere else."""
    harness.platform.answers[_REFERENCED] = Verified([SHOP])

    async def create(id_: str, **credential: Any) -> connection_pb2.Connection:
        request = pb.CreateConnectionRequest(
            connection=connection_pb2.Connection(
                name=caller.name(id_), display_name=id_, platform="meta"
            ),
            credential=connection_pb2.Credential(**credential),
            request_id=str(uuid4()),
        )
        made: connection_pb2.Connection = (
            await caller.call("CreateConnection", request)
        ).connection
        return made

    made = await create("environment", environment_prefix="SHOP_")
    assert made.state == connection_pb2.CONNECTION_STATE_ACTIVE
    assert (made.credential.reference, made.credential.key_id) == ("SHOP_", "")
    assert made.credential.field_names == ["access_token"]
    assert await harness.token(org, "environment") == _REFERENCED
    (tmp_path / org).mkdir()
    (tmp_path / org / "meta.json").write_text(f'{{"access_token": "{_REFERENCED}"}}')
    made = await create("file", file_path=f"{org}/meta.json")
    assert made.credential.kind == connection_pb2.CREDENTIAL_KIND_FILE
    for field, value in (("environment_prefix", "META_"), ("file_path", "globex/meta.json")):
        with pytest.raises(LiftosError) as caught:
            await create("other", **{field: value})
        assert list(told(caught.value)) == [f"credential.{field}"]


async def test_a_request_is_done_once(harness: Harness, caller: Caller, org: str) -> None:
    """A repeated request is answered as before, without another try; another payload is refused."""
    request_id = str(uuid4())
    made = await caller.create(request_id=request_id)
    assert await caller.create(request_id=request_id) == made
    assert harness.platform.shown == [GOOD]
    with pytest.raises(LiftosError) as caught:
        await caller.create(token=BAD, request_id=request_id)
    assert caught.value.reason == "REQUEST_ID_REUSED"
    with pytest.raises(LiftosError) as caught:
        await caller.create()
    assert caught.value.reason == "RESOURCE_ALREADY_EXISTS"
    assert harness.platform.shown == [GOOD], "a name that is taken shows no secret to a platform"
    both = str(uuid4())
    first, second = await asyncio.gather(
        caller.create("b", request_id=both), caller.create("b", request_id=both)
    )
    assert first == second
    (request, _) = sorted(
        await harness.rows(org, "request_ids"), key=lambda row: row["create_time"]
    )
    assert GOOD.encode() not in request["response"]


async def test_what_is_kept_of_a_request_tells_no_secret(
    harness: Harness, caller: Caller, org: str
) -> None:
    """Whoever reads the table cannot tell from the digest whether a guessed secret is right."""
    await caller.create()
    request_id = str(uuid4())
    await caller.set(GOOD, request_id=request_id)
    guess = pb.SetCredentialRequest(
        name=caller.name(), credential=stored(access_token=GOOD), request_id=request_id
    )
    plain = digest_request("SetCredential", guess, without=("request_id",))
    digests = [row["payload_digest"] for row in await harness.rows(org, "request_ids")]
    assert len(digests) == 2
    assert plain not in digests


async def test_nothing_is_stored_where_only_validation_is_asked(
    harness: Harness, caller: Caller, org: str
) -> None:
    """The answer is as if stored, the platform's included; the same id can be used for real."""
    request_id = str(uuid4())
    made = await caller.create(validate_only=True, request_id=request_id)
    assert made.state == connection_pb2.CONNECTION_STATE_ACTIVE
    assert len(made.accounts) == 2
    for table in ("connections", "accounts", "request_ids"):
        assert await harness.rows(org, table) == []
    await caller.create(request_id=request_id)
    with pytest.raises(LiftosError) as caught:
        await caller.create(validate_only=True)
    assert caught.value.reason == "RESOURCE_ALREADY_EXISTS"


async def test_a_credential_that_may_be_left_away_can_be_set_later(
    harness: Harness, caller: Caller
) -> None:
    """A platform that answers nobody without one does not keep the connection from being there."""
    harness.platform.credential_schema = {"type": "object"}
    made = await caller.create(token=None)
    assert made.state == connection_pb2.CONNECTION_STATE_UNVERIFIED
    assert (await caller.set(GOOD)).state == connection_pb2.CONNECTION_STATE_ACTIVE


async def test_a_refused_credential_that_is_set_is_kept(
    harness: Harness, caller: Caller, org: str
) -> None:
    """SetCredential keeps what it is given, and the state says what the platform thinks."""
    made = await caller.create(token=None)
    assert made.state == connection_pb2.CONNECTION_STATE_UNVERIFIED
    assert made.credential.kind == connection_pb2.CREDENTIAL_KIND_UNSPECIFIED
    rejected = await caller.set(BAD)
    assert rejected.state == connection_pb2.CONNECTION_STATE_REJECTED
    assert await harness.token(org) == BAD
    active = await caller.set(GOOD)
    assert active.state == connection_pb2.CONNECTION_STATE_ACTIVE
    assert int(active.etag) > int(rejected.etag) > int(made.etag)
    harness.platform.answers[GOOD] = refusal(ErrorClass.PERMISSION)
    revoked = await caller.verify()
    assert revoked.state == connection_pb2.CONNECTION_STATE_REJECTED
    assert len(revoked.accounts) == 2, "what it could read is still known"


async def test_rotation_keeps_the_old_one_until_the_new_one_works(
    harness: Harness, caller: Caller, org: str
) -> None:
    """A refused or untried credential replaces nothing; without one the encryption is renewed."""
    await caller.create()
    with pytest.raises(LiftosError) as caught:
        await caller.rotate(BAD)
    assert caught.value.reason == "CREDENTIALS_REJECTED"
    harness.platform.answers[_LONG_LIVED] = refusal(ErrorClass.TRANSIENT)
    with pytest.raises(LiftosError) as caught:
        await caller.rotate(_LONG_LIVED)
    assert caught.value.reason == "STORE_UNAVAILABLE"
    assert await harness.token(org) == GOOD
    assert (await caller.get()).state == connection_pb2.CONNECTION_STATE_ACTIVE
    harness.platform.answers[_LONG_LIVED] = Verified([SHOP])
    rotated = await caller.rotate(_LONG_LIVED)
    assert [it.account_id for it in rotated.accounts] == ["7"]
    assert await harness.token(org) == _LONG_LIVED
    (before,) = await harness.rows(org, "connections")
    await caller.rotate(None)
    (after,) = await harness.rows(org, "connections")
    assert before["credential_sealed"] != after["credential_sealed"]
    assert after["state"] == 2
    assert await harness.token(org) == _LONG_LIVED
    await caller.create("bare", token=None)
    request = pb.RotateCredentialRequest(name=caller.name("bare"), request_id=str(uuid4()))
    with pytest.raises(LiftosError, match="none, which has no key") as caught:
        await caller.call("RotateCredential", request)
    assert list(told(caught.value)) == ["credential"]


async def test_a_token_that_is_exchanged_at_once_is_kept_as_exchanged(
    harness: Harness, caller: Caller, org: str
) -> None:
    """A short-lived token that the platform exchanges while it is tried is never stored."""
    harness.platform.renewals[GOOD] = _LONG_LIVED
    await caller.create()
    assert await harness.token(org) == _LONG_LIVED
    harness.platform.renewals = {_LONG_LIVED: GOOD}
    harness.platform.answers[_LONG_LIVED] = Verified([SHOP])
    verified = await caller.verify()
    assert await harness.token(org) == GOOD
    assert [it.account_id for it in verified.accounts] == ["7"], "the answer counts all the same"


async def test_an_answer_for_an_older_credential_is_not_stored(
    harness: Harness, caller: Caller, org: str
) -> None:
    """Whoever sets a credential while the one before is tried has the last word."""
    await caller.create()
    harness.platform.answers[GOOD] = refusal(ErrorClass.CREDENTIALS)
    harness.platform.answers[_LONG_LIVED] = Verified([OUTLET])
    harness.platform.delays[GOOD] = delay = Delay()
    verifying = asyncio.create_task(caller.verify())
    await delay.reached.wait()
    await caller.set(_LONG_LIVED)
    delay.over.set()
    answer = await verifying
    assert answer.state == connection_pb2.CONNECTION_STATE_ACTIVE
    assert [it.account_id for it in answer.accounts] == ["8"]
    assert await harness.token(org) == _LONG_LIVED


async def test_rotation_takes_the_newest_key(harness: Harness, caller: Caller, org: str) -> None:
    """After rotation the old key can be taken out; before it, nothing opens without it."""
    await caller.create()
    old = harness.keys
    new = {"k2": os.urandom(32)}
    with_both = harness.administration(new | old)
    digest = os.urandom(32)

    def request() -> Repeatable[StoredConnection]:
        return Repeatable("RotateCredential", uuid4(), digest, lambda _: b"")

    with pytest.raises(VerificationFailedError, match="'k1', which is not there"):
        await harness.administration(new).verify(org, "shop", repeatable=request())
    with pytest.raises(InvalidFieldsError, match="There are no keys"):
        await harness.administration({}).set_credential(
            org,
            "shop",
            GivenCredential(CredentialKind.STORED, {"access_token": Secret(GOOD)}),
            repeatable=request(),
        )
    rotated = await with_both.rotate_credential(org, "shop", None, repeatable=request())
    assert isinstance(rotated, StoredConnection)
    assert rotated.credential.key_id == "k2"
    assert rotated.state is ConnectionState.ACTIVE
    verified = await harness.administration(new).verify(org, "shop", repeatable=request())
    assert isinstance(verified, StoredConnection)
    assert verified.state is ConnectionState.ACTIVE


async def test_the_database_holds_no_secret(harness: Harness, caller: Caller, org: str) -> None:
    """No column of any table has a secret that was registered, refused, set or rotated."""
    await caller.create()
    await caller.set(BAD)
    harness.platform.answers[_LONG_LIVED] = Verified([SHOP])
    await caller.rotate(_LONG_LIVED)
    everything = ""
    for table in ("connections", "accounts", "request_ids"):
        for row in await harness.rows(org, table):
            everything += repr(dict(row))
    assert "k1" in everything
    assert not [secret for secret in _SECRETS if secret in everything]


async def test_a_secret_in_the_place_of_a_reference_is_not_repeated(
    harness: Harness, caller: Caller
) -> None:
    """Who pastes a token where a file is asked for reads of the folder, and nothing logs it."""
    await caller.create(token=None)
    for given in ({"file_path": GOOD}, {"environment_prefix": GOOD}):
        request = pb.SetCredentialRequest(
            name=caller.name(),
            credential=connection_pb2.Credential(**given),  # type: ignore[arg-type]
            request_id=str(uuid4()),
        )
        with pytest.raises(LiftosError) as caught:
            await caller.call("SetCredential", request)
        assert caught.value.reason == "FIELD_INVALID"
        assert GOOD not in repr(caught.value) + str(told(caught.value))


async def test_what_the_platform_changes_of_accounts_is_noticed(
    harness: Harness, caller: Caller, org: str
) -> None:
    """Another currency or zone is stored and logged; what cannot be read any more is told."""
    await caller.create(accounts=["7", "9"])
    answer = await caller.get()
    assert [it.account_id for it in answer.accounts] == ["7", "9"]
    assert answer.accounts[1].outcome == connection_pb2.ACCOUNT_OUTCOME_PERMISSION_MISSING
    moved = PlatformAccount("7", "Shop", "Pacific/Auckland", "NZD", closed=True)
    new = PlatformAccount("9", "New", "UTC", "USD")
    harness.platform.answers[GOOD] = Verified([moved, moved, new])
    answer = await caller.verify()
    assert (answer.accounts[0].time_zone, answer.accounts[0].currency_code) == (
        "Pacific/Auckland",
        "NZD",
    )
    assert answer.accounts[1].outcome == connection_pb2.ACCOUNT_OUTCOME_UNSPECIFIED
    changes = {(it["field"], it["before"], it["after"]) for it in harness.logged("account_changed")}
    assert changes == {
        ("time_zone", "Europe/Berlin", "Pacific/Auckland"),
        ("currency_code", "EUR", "NZD"),
    }
    (row,) = [it for it in await harness.rows(org, "accounts") if it["account_id"] == "7"]
    assert row["closed"]
    harness.platform.answers[GOOD] = Verified([new])
    answer = await caller.verify()
    assert answer.accounts[0].outcome == connection_pb2.ACCOUNT_OUTCOME_PERMISSION_MISSING
    assert harness.logged("account_unreadable")[-1]["account_id"] == "7"
    assert {it["account_id"] for it in await harness.rows(org, "accounts")} == {"7", "9"}


async def test_a_connection_is_changed_by_its_etag(harness: Harness, caller: Caller) -> None:
    """Only the fields of the mask change, and only where nobody has changed it meanwhile."""
    made = await caller.create(accounts=["7"])
    made.display_name = "New name"
    made.disabled = True
    made.accounts[0].disabled = True
    made.accounts.add(account_id="8")

    async def update(*paths: str, **fields: Any) -> connection_pb2.Connection:
        changed = connection_pb2.Connection()
        changed.CopyFrom(made)
        changed.MergeFrom(connection_pb2.Connection(**fields))
        request = pb.UpdateConnectionRequest(
            connection=changed, update_mask=FieldMask(paths=paths) if paths else None
        )
        answer: connection_pb2.Connection = (
            await caller.call("UpdateConnection", request)
        ).connection
        return answer

    renamed = await update("display_name")
    assert (renamed.display_name, renamed.disabled, len(renamed.accounts)) == ("New name", False, 1)
    with pytest.raises(LiftosError) as caught:
        await update("disabled")
    assert caught.value.reason == "ETAG_MISMATCH"
    made.etag = renamed.etag
    changed = await update()
    assert changed.state == connection_pb2.CONNECTION_STATE_DISABLED
    assert [(it.account_id, it.disabled, it.time_zone) for it in changed.accounts] == [
        ("7", True, "Europe/Berlin"),
        ("8", False, "Europe/Berlin"),
    ]
    made.etag = ""
    del made.accounts[:]
    made.disabled = False
    changed = await update()
    assert [(it.account_id, it.disabled) for it in changed.accounts] == [("7", False), ("8", False)]
    assert changed.state == connection_pb2.CONNECTION_STATE_ACTIVE
    with pytest.raises(LiftosError, match="platform cannot be changed"):
        await update("platform")
    with pytest.raises(LiftosError, match="cannot be changed; it is meta"):
        await update(platform="klaviyo")
    settings = Struct()
    settings.update({"page_rows": "many"})
    with pytest.raises(LiftosError) as caught:
        await update("settings", settings=settings)
    assert told(caught.value) == {"connection.settings.page_rows": "is not of the type integer"}


async def test_a_connection_goes_with_all_that_is_its_own(
    harness: Harness, caller: Caller, org: str
) -> None:
    """Not while a run reads it; afterwards neither credential, accounts nor schedules are left."""
    made = await caller.create()
    run = uuid4()
    async with postgres.transaction(harness.pool, org=org) as connection:
        await connection.execute(
            "insert into runs (org, run, kind, connection, platform, start_date, end_date, levels,"
            " account_ids, force, state, subject) values ($1, $2, 1, 'shop', 'meta', '2026-03-01',"
            " '2026-03-02', '{1}', '{7}', false, 2, 'test')",
            org,
            run,
        )
    request = pb.DeleteConnectionRequest(
        name=caller.name(), etag=made.etag, request_id=str(uuid4())
    )
    with pytest.raises(LiftosError) as caught:
        await caller.call("DeleteConnection", request)
    assert caught.value.reason == "STATE_TRANSITION_INVALID"
    async with postgres.transaction(harness.pool, org=org) as connection:
        await connection.execute("update runs set state = 3")
    stale = pb.DeleteConnectionRequest(name=caller.name(), etag="9", request_id=str(uuid4()))
    with pytest.raises(LiftosError) as caught:
        await caller.call("DeleteConnection", stale)
    assert caught.value.reason == "ETAG_MISMATCH"
    await caller.call("DeleteConnection", request)
    await caller.call("DeleteConnection", request)
    assert await harness.rows(org, "connections") == []
    assert await harness.rows(org, "accounts") == []
    assert len(await harness.rows(org, "runs")) == 1
    for method, gone in (
        ("GetConnection", pb.GetConnectionRequest(name=caller.name())),
        (
            "VerifyConnection",
            pb.VerifyConnectionRequest(name=caller.name(), request_id=str(uuid4())),
        ),
        (
            "DeleteConnection",
            pb.DeleteConnectionRequest(name=caller.name(), request_id=str(uuid4())),
        ),
    ):
        with pytest.raises(LiftosError) as caught:
            await caller.call(method, gone)
        assert caught.value.reason == "RESOURCE_NOT_FOUND"


async def test_connections_are_listed_by_page(harness: Harness, caller: Caller, org: str) -> None:
    """Pages hold each connection once, in order, of the own org alone, and filters hold."""
    for number in range(5):
        await caller.create(f"c{number}", token=GOOD if number % 2 else None, disabled=number == 3)
    await Caller(harness.channel, f"{org}-b").create("c9")

    async def ids(filter_: str = "", page_size: int = 2) -> list[str]:
        found: list[str] = []
        token = ""
        while True:
            request = pb.ListConnectionsRequest(
                parent=f"orgs/{org}", page_size=page_size, page_token=token, filter=filter_
            )
            answer = await caller.call("ListConnections", request)
            assert len(answer.connections) <= page_size
            found += [it.name.rpartition("/")[2] for it in answer.connections]
            token = answer.next_page_token
            if not token:
                return found

    assert await ids() == ["c0", "c1", "c2", "c3", "c4"]
    assert await ids(page_size=5) == ["c0", "c1", "c2", "c3", "c4"]
    assert await ids('state = "ACTIVE"') == ["c1"]
    assert await ids('state = "DISABLED" OR disabled = true') == ["c3"]
    assert await ids('platform = "meta" AND NOT state = "UNVERIFIED"') == ["c1", "c3"]
    with pytest.raises(LiftosError) as caught:
        await ids("colour = 1")
    assert caught.value.reason == "FILTER_INVALID"


async def test_a_page_ends_before_it_is_too_large(
    caller: Caller, pool: asyncpg.Pool, org: str
) -> None:
    """A connection counts with its accounts, and one alone is told however large it is."""
    for number in range(3):
        await caller.create(f"c{number}", token=None)
    async with postgres.transaction(pool, org=org) as connection:
        await connection.execute(
            "insert into accounts (org, connection, account_id, named, disabled, display_name)"
            " select $1, 'c' || c, 'a' || a, false, false, repeat('x', 1000)"
            " from generate_series(0, 2) c,"
            " generate_series(1, case c when 1 then 1200 else 400 end) a",
            org,
        )
    sizes: list[tuple[int, int]] = []
    token = ""
    while not sizes or token:
        request = pb.ListConnectionsRequest(parent=f"orgs/{org}", page_size=50, page_token=token)
        answer = await caller.call("ListConnections", request)
        sizes.append((len(answer.connections), answer.ByteSize()))
        token = answer.next_page_token
    assert [count for count, _ in sizes] == [1, 1, 1]
    assert max(size for _, size in sizes) < 2 * 2**20
    async with postgres.transaction(pool, org=org) as connection:
        await connection.execute(
            "delete from accounts where org = $1 and connection = 'c1' and account_id > 'a1'", org
        )
    request = pb.ListConnectionsRequest(parent=f"orgs/{org}")
    answer = await caller.call("ListConnections", request)
    assert len(answer.connections) == 3


async def test_only_administrators_touch_credentials(harness: Harness, org: str) -> None:
    """Writers may verify, readers may look, and neither may set a credential."""
    await Caller(harness.channel, org).create()
    writer, reader = (Caller(harness.channel, org, role=it) for it in ("writer", "reader"))
    assert (await writer.verify()).state == (await reader.get()).state
    for action in (writer.set(GOOD), writer.rotate(None), writer.create("b")):
        with pytest.raises(LiftosError) as caught:
            await action
        assert caught.value.reason == "ROLE_INSUFFICIENT"
    with pytest.raises(LiftosError) as caught:
        await reader.verify()
    assert caught.value.reason == "ROLE_INSUFFICIENT"


async def test_a_secret_over_plaintext_from_elsewhere_is_refused(
    harness: Harness, org: str
) -> None:
    """The secret is neither tried nor stored; a reference is no secret and may come so."""

    class Call:
        def auth_context(self) -> dict[str, list[bytes]]:
            return {"transport_security_type": [b"insecure"]}

        def peer(self) -> str:
            return "ipv4:10.0.0.7:50412"

    set_principal(Principal("test", org, frozenset({"admin"}), frozenset({"ingestion"}), 0))
    name, context = f"orgs/{org}/connections/shop", Call()
    connection = connection_pb2.Connection(name=name, display_name="Shop", platform="meta")
    create = pb.CreateConnectionRequest(
        connection=connection, credential=stored(access_token=GOOD), request_id=str(uuid4())
    )
    secret = pb.SetCredentialRequest(
        name=name, credential=stored(access_token=GOOD), request_id=str(uuid4())
    )
    rotate = pb.RotateCredentialRequest(
        name=name, credential=stored(access_token=GOOD), request_id=str(uuid4())
    )
    serve: Any = harness.servicer
    for call in (
        serve.CreateConnection(create, context),
        serve.SetCredential(secret, context),
        serve.RotateCredential(rotate, context),
    ):
        with pytest.raises(ChannelInsecureError, match=r"credential\.stored"):
            await call
    assert harness.platform.shown == []
    harness.platform.answers[_REFERENCED] = Verified([SHOP])
    create.credential.environment_prefix = "SHOP_"
    await serve.CreateConnection(create, context)
    assert harness.platform.shown == [_REFERENCED]
