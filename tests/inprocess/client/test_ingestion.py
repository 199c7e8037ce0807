"""The client of Ingestion over a real channel: requests, retries, watches, names."""

from collections.abc import AsyncIterator
from datetime import date
from uuid import UUID

import grpc
import pytest
from tests.inprocess.client.fake_ingestion import FakeIngestion, serving_ingestion
from tests.inprocess.client.fake_memory import Failure, FakeMemory, serving, unsigned_token

from liftos.ingestion.v1 import ingestion_service_pb2 as pb
from liftos.ingestion.v1.connection_pb2 import CONNECTION_STATE_ACTIVE, Account, Credential
from liftos.ingestion.v1.run_pb2 import RUN_KIND_BACKFILL
from liftos.memory.v1.entry_pb2 import EntryLevel
from liftos_client import Client, connect, connect_sync
from liftos_client.errors import (
    CredentialsRejectedError,
    FieldInvalidError,
    UnavailableError,
)
from liftos_client.sync import LoopThread

_UNAVAILABLE = Failure(grpc.StatusCode.UNAVAILABLE)
_ID = "0123456789abcdef" * 2


@pytest.fixture
def ingestion() -> FakeIngestion:
    """What the server answers from."""
    return FakeIngestion()  # type: ignore[abstract]  # what it lacks is UNIMPLEMENTED


@pytest.fixture
async def client(ingestion: FakeIngestion) -> AsyncIterator[Client]:
    """A client of that server, which knows no Memory."""
    async with (
        serving_ingestion(ingestion) as target,
        connect(target, token=unsigned_token()) as client,
    ):
        yield client


async def test_one_client_has_two_servers(memory: FakeMemory, ingestion: FakeIngestion) -> None:
    """Each service is called at its own address."""
    async with (
        serving(memory) as target,
        serving_ingestion(ingestion) as other,
        connect(target, token=unsigned_token(), ingestion_target=other) as client,
    ):
        await client.memory.get_entry("x")
        assert await client.ingestion.list_connections().collect() == []
    assert (len(memory.seen), len(ingestion.seen)) == (1, 1)


async def test_a_connection_is_made_of_plain_values(
    client: Client, ingestion: FakeIngestion
) -> None:
    """Ids, accounts, settings and the fields of a credential become the contract's messages."""
    made = await client.ingestion.create_connection(
        "meta-main",
        display_name="Meta",
        platform="meta",
        accounts=["1001", Account(account_id="1002", disabled=True)],
        settings={"api_version": "v26.0"},
        credential={"access_token": "secret"},
    )
    (request,) = ingestion.seen
    assert isinstance(request, pb.CreateConnectionRequest)
    assert request.connection.name == made.name == "orgs/acme/connections/meta-main"
    assert [(each.account_id, each.disabled) for each in request.connection.accounts] == [
        ("1001", False),
        ("1002", True),
    ]
    assert dict(request.connection.settings) == {"api_version": "v26.0"}
    assert dict(request.credential.stored.values) == {"access_token": "secret"}
    assert UUID(request.request_id).version == 4
    assert made.state == CONNECTION_STATE_ACTIVE


async def test_a_credential_may_stay_with_the_worker(
    client: Client, ingestion: FakeIngestion
) -> None:
    """A message says where it is; no secret is sent."""
    await client.ingestion.create_connection(
        "meta",
        display_name="Meta",
        platform="meta",
        credential=Credential(environment_prefix="META_"),
    )
    (request,) = ingestion.seen
    assert isinstance(request, pb.CreateConnectionRequest)
    assert request.credential.environment_prefix == "META_"


async def test_a_write_that_was_sent_twice_has_one_request_id(
    client: Client, ingestion: FakeIngestion
) -> None:
    """What gRPC repeats after UNAVAILABLE is the same request, so that it is carried out once."""
    ingestion.failures["StartRun"].extend([_UNAVAILABLE] * 2)
    await client.ingestion.start_run("meta", levels=["AD", EntryLevel.ENTRY_LEVEL_CAMPAIGN])
    ids = {request.request_id for request in ingestion.seen}  # type: ignore[attr-defined]
    assert (len(ingestion.seen), len(ids)) == (3, 1)


async def test_a_refused_credential_is_a_typed_error(
    client: Client, ingestion: FakeIngestion
) -> None:
    """The error says whose it was, and holds nothing of the credential."""
    ingestion.failures["CreateConnection"].append(
        Failure(
            grpc.StatusCode.FAILED_PRECONDITION,
            reason="CREDENTIALS_REJECTED",
            metadata={"platform": "meta"},
        )
    )
    with pytest.raises(CredentialsRejectedError) as raised:
        await client.ingestion.create_connection(
            "meta", display_name="Meta", platform="meta", credential={"access_token": "hidden"}
        )
    assert raised.value.metadata["platform"] == "meta"
    assert "hidden" not in repr(raised.value) + str(raised.value)


async def test_a_run_takes_days_as_dates_and_words_as_enums(
    client: Client, ingestion: FakeIngestion
) -> None:
    """Half a range and an unknown level are refused before anything is sent."""
    await client.ingestion.start_run(
        "meta", kind="backfill", start_date=date(2026, 6, 1), end_date="2026-06-30", levels=["ad"]
    )
    (request,) = ingestion.seen
    assert isinstance(request, pb.StartRunRequest)
    assert (request.date_range.start_date, request.date_range.end_date) == (
        "2026-06-01",
        "2026-06-30",
    )
    assert request.kind == RUN_KIND_BACKFILL
    assert list(request.levels) == [EntryLevel.ENTRY_LEVEL_AD]
    with pytest.raises(FieldInvalidError, match="end_date"):
        await client.ingestion.start_run("meta", start_date="2026-06-01")
    with pytest.raises(FieldInvalidError, match="AD_GROUP"):
        await client.ingestion.start_run("meta", levels=["creative"])
    assert len(ingestion.seen) == 1


async def test_a_watch_of_a_run_goes_on_after_a_lost_connection(
    client: Client, ingestion: FakeIngestion
) -> None:
    """Each answer is the whole run, so that it begins anew and ends with the run."""
    ingestion.failures["WatchRun"].append(_UNAVAILABLE)
    seen = [answer.run.progress.succeeded_count async for answer in client.ingestion.watch_run(_ID)]
    assert seen == [0, 1, 0, 1, 2]


async def test_a_watch_that_never_began_fails_openly() -> None:
    """Nobody listening is an error at once rather than an endless wait."""
    async with connect("127.0.0.1:1", token=unsigned_token()) as client:
        with pytest.raises(UnavailableError):
            await anext(client.ingestion.watch_run(_ID, timeout_seconds=20))


@pytest.mark.parametrize("given", [f"{_ID}/{_ID}", f"orgs/acme/runs/{_ID}/deadLetters/{_ID}"])
async def test_a_dead_letter_is_named_by_its_run_too(
    client: Client, ingestion: FakeIngestion, given: str
) -> None:
    """RUN/DEAD_LETTER is the short form of the name."""
    assert await client.ingestion.discard_dead_letters([given], reason="a test row") == 1
    (request,) = ingestion.seen
    assert isinstance(request, pb.DiscardDeadLettersRequest)
    assert list(request.names) == [f"orgs/acme/runs/{_ID}/deadLetters/{_ID}"]
    assert request.parent == "orgs/acme/runs/-"


def test_a_run_is_watched_without_an_event_loop(ingestion: FakeIngestion) -> None:
    """A watch is a plain iterator, as lists are."""
    thread = LoopThread()
    server = serving_ingestion(ingestion)
    target = thread.run(server.__aenter__())
    with connect_sync("127.0.0.1:1", token=unsigned_token(), ingestion_target=target) as client:
        run = client.ingestion.start_run("meta")
        counts = [
            answer.run.progress.succeeded_count for answer in client.ingestion.watch_run(run.name)
        ]
    thread.run(server.__aexit__(None, None, None))
    thread.close()
    assert counts == [0, 1, 2]
