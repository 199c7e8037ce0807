"""Dead letters: tried again with the mapping of now, once, and never over a newer answer."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from tests.e2e.ingestion.readings import (
    DAY,
    Harness,
    OneSource,
    SilentQueue,
    add_connection,
    pages,
    row,
    stored,
)
from tests.e2e.ingestion.served_parts import ClientFactory, clients_of, ingestion_settings
from tests.inprocess.kit.statuses import refusal_of

from liftos.ingestion.v1 import ingestion_service_pb2 as pb
from liftos.ingestion.v1 import run_pb2
from liftos_client import Client, connect
from liftos_ingestion.adapters.memory import MemoryEntryWriter
from liftos_ingestion.adapters.postgres.connections import PostgresConnections
from liftos_ingestion.adapters.postgres.database import SCHEMA
from liftos_ingestion.adapters.postgres.dead_letters import (
    REPLAY,
    PostgresDeadLetters,
    PostgresReplays,
)
from liftos_ingestion.adapters.postgres.run_views import get_run
from liftos_ingestion.adapters.postgres.runs import RECONCILE_RUN
from liftos_ingestion.adapters.postgres.suspensions import PostgresSuspensions
from liftos_ingestion.dead_letter_ports import (
    DeadLetterState,
    Replayed,
    Selection,
    TakenLetters,
    Wait,
)
from liftos_ingestion.run_ports import HoldLostError, Lane, RunState, SliceState, WaitReason
from liftos_ingestion.servicer.dead_letters import DeadLettersServicer
from liftos_ingestion.source_ports import PlatformSource
from liftos_ingestion.suspension_ports import HeldLane, SuspensionScope
from liftos_ingestion.usecases.dead_letters import DeadLetters
from liftos_ingestion.usecases.replaying import Replaying, replay_named
from liftos_kit import postgres
from liftos_kit.auth import issue_token
from liftos_kit.core.errors import NotFoundError
from liftos_kit.core.paging import PageTokens
from liftos_kit.jobs.postgres_queue import PostgresJobQueue
from liftos_kit.jobs.queue import Delivery
from liftos_mapping.engine import TransformContext, evaluate
from liftos_mapping.mapping import PlatformMapping

OTHER_DAY = date(2026, 4, 1)


@pytest.fixture
async def clients(
    pool: asyncpg.Pool, environment: Mapping[str, str]
) -> AsyncIterator[ClientFactory]:
    """Clients of a server of dead letters."""
    settings = ingestion_settings(environment)
    servicer = DeadLettersServicer(
        dead_letters=DeadLetters(PostgresDeadLetters(pool, SilentQueue())),
        page_tokens=PageTokens(settings.page_token_key),
    )
    async with clients_of(settings, [servicer]) as factory:
        yield factory


class _NoSource:
    """A catalogue that has lost what it had."""

    async def source(self, org: str, platform: str) -> PlatformSource:
        """Have none."""
        raise NotFoundError(f"orgs/{org}/sources/{platform}")


class DyingReplays(PostgresReplays):
    """A ledger whose worker dies before it records for the first time."""

    died = False

    async def record(self, taken: TakenLetters, result: Replayed) -> None:
        """Die, or record."""
        if not self.died:
            self.died = True
            raise ZeroDivisionError
        await super().record(taken, result)


class _ImpatientReplays(PostgresReplays):
    """A ledger that comes back soon."""

    lined_up = 0

    async def move_on(
        self, org: str, run: UUID, *, delay_seconds: float, wait: Wait | None = None
    ) -> None:
        """Come back at once."""
        self.lined_up += 1
        await super().move_on(org, run, delay_seconds=min(delay_seconds, 0.1), wait=wait)


def _replaying(harness: Harness, ledger: PostgresReplays | None = None) -> Replaying:
    return Replaying(
        ledger=ledger or PostgresReplays(harness.pool, SilentQueue()),
        connections=PostgresConnections(harness.pool),
        catalog=OneSource(harness.source),
        writer=harness.writer,
        executor=ThreadPoolExecutor(1),
        worker="worker-1",
    )


def _without(mapping: PlatformMapping, column: str) -> PlatformMapping:
    """Return a mapping that no longer reads a column, and so takes rows where it is broken."""
    return replace(
        mapping, columns=tuple(rule for rule in mapping.columns if rule.target != column)
    )


async def _read(harness: Harness, *rows: Any, days: int = 1) -> UUID:
    """Read rows of the first days of March as a run."""
    harness.source.answers = [pages(rows)]
    run = await harness.start(days=days)
    await harness.read_due()
    return run


async def _replay(client: Any, harness: Harness, where: str = "state = OPEN") -> Any:
    request = pb.ReplayDeadLettersRequest(
        parent=f"orgs/{harness.org}/runs/-", filter=where, request_id=str(uuid4())
    )
    return await client.ReplayDeadLetters(request)


def _id(run: run_pb2.Run) -> UUID:
    return UUID(run.name.rpartition("/")[2])


async def _run(harness: Harness, run: run_pb2.Run) -> Mapping[str, Any]:
    async with postgres.transaction(harness.pool, org=harness.org) as connection:
        found = await get_run(connection, harness.org, _id(run))
    assert found is not None
    return found


async def _letters(harness: Harness) -> dict[str, Mapping[str, Any]]:
    return {it["row"]["campaign_id"]: it for it in await harness.rows("dead_letters")}


async def _sums(harness: Harness) -> dict[str, int]:
    return {it["metric"]: int(it["value"]) for it in await harness.rows("day_sums")}


async def test_a_mended_mapping_takes_rows_in(
    harness: Harness, clients: ClientFactory, memory: Client
) -> None:
    """They become entries of their day and count among its sums; what was there stays."""
    client = clients(harness.org)
    await _read(harness, row("1", "5"), row("2", "many"), row("3", "lots"))
    assert await _sums(harness) == {"clicks": 5, "spend_micros": 1_500_000}
    harness.source.mapping = _without(harness.source.mapping, "clicks")
    started = await _replay(client, harness)
    assert started.dead_letter_count == 2
    assert started.run.kind == run_pb2.RUN_KIND_REPLAY
    assert started.run.state == run_pb2.RUN_STATE_PENDING
    assert started.run.connection == f"orgs/{harness.org}/connections/shop"
    for _ in range(2):
        await _replaying(harness).replay(harness.org, _id(started.run))
    day = DAY.isoformat()
    assert await stored(memory) == {("1", day): 5, ("2", day): None, ("3", day): None}
    run = await _run(harness, started.run)
    assert run["state"] == RunState.SUCCEEDED
    assert (run["row_count"], run["upserted_count"], run["dead_letter_count"]) == (2, 2, 0)
    letters = await _letters(harness)
    assert {(it["state"], it["replay_run"]) for it in letters.values()} == {(2, _id(started.run))}
    assert await _sums(harness) == {"clicks": 5, "spend_micros": 4_500_000}
    entries = [it async for it in memory.memory.list_entries(filter='campaign_id = "2"')]
    assert entries[0].origin == _id(started.run).hex
    assert entries[0].final
    assert (await harness.rows("lanes"))[0]["slice"] is None
    await _read(harness, row("1", "5"), row("2", "many"))
    assert set(await stored(memory)) == {("1", day), ("2", day)}, "the next reading has the word"


async def test_a_row_knows_its_day(harness: Harness, clients: ClientFactory) -> None:
    """Whether the mapping or Memory refuses it, as long as its day can be read; filters see it."""
    client = clients(harness.org)
    second = DAY.replace(day=DAY.day + 1)
    await _read(
        harness,
        row("1", "many"),
        row("2", "many", day=second),
        {**row("3", "5"), "date_start": "soon", "date_stop": "soon"},
        # Memory takes no name of such a length.
        {**row("4", "5", day=second), "campaign_name": "x" * 100_000},
        days=2,
    )
    days = {name: it["date"] for name, it in (await _letters(harness)).items()}
    assert days == {"1": DAY, "2": second, "3": None, "4": second}
    request = pb.ListDeadLettersRequest(
        parent=f"orgs/{harness.org}/runs/-", filter=f'date = "{second}"'
    )
    found = (await client.ListDeadLetters(request)).dead_letters
    assert {(it.row["campaign_id"], it.date) for it in found} == {
        ("2", second.isoformat()),
        ("4", second.isoformat()),
    }


async def test_a_row_that_json_cannot_hold_is_kept(
    harness: Harness, clients: ClientFactory
) -> None:
    """What is no number and what is no character become text, and the run goes on."""
    client = clients(harness.org)
    odd = {
        **row("1", float("nan")),
        "spend": float("-inf"),
        "campaign_name": "a\x00b\ud800c",
        "actions": [{"action_type": "x\x00", "value": float("inf")}],
        "k\x00": 1,
    }
    run = await _read(harness, odd, row("2", "5"))
    (ended,) = await harness.rows("runs")
    assert (ended["run"], ended["state"]) == (run, RunState.PARTIALLY_SUCCEEDED)
    request = pb.ListDeadLettersRequest(parent=f"orgs/{harness.org}/runs/-")
    (letter,) = (await client.ListDeadLetters(request)).dead_letters
    kept = MessageToDict(letter.row)
    assert (kept["clicks"], kept["spend"]) == ("NaN", "-Infinity")
    assert kept["campaign_name"] == "a\ufffdb\ufffdc"
    assert kept["actions"] == [{"action_type": "x\ufffd", "value": "Infinity"}]
    assert kept["k\ufffd"] == 1
    started = await _replay(client, harness)
    await _replaying(harness).replay(harness.org, _id(started.run))
    (letter,) = (await client.ListDeadLetters(request)).dead_letters
    assert letter.attempt_count == 2, "it can be tried again like any other"


async def test_what_is_no_object_is_shown_too(harness: Harness, clients: ClientFactory) -> None:
    """An item that is no row, or one too deep for a message, keeps no other one from being seen."""
    client = clients(harness.org)
    deep: dict[str, object] = {}
    for _ in range(150):
        deep = {"in": deep}
    bare: Any = ["text", 7, None, {**row("2", "many"), "deep": deep}]
    await _read(harness, *bare, row("1", "5"), row("3", "many"))
    request = pb.ListDeadLettersRequest(parent=f"orgs/{harness.org}/runs/-")
    letters = (await client.ListDeadLetters(request)).dead_letters
    shown = [MessageToDict(it.row) for it in letters]
    items = [it["unreadable_item"] for it in shown if "unreadable_item" in it]
    (nested,) = [it for it in items if "many" in str(it)]
    assert json.loads(nested)["campaign_id"] == "2"
    assert {repr(it) for it in items if it != nested} == {"'text'", "7.0", "None"}
    assert [it["campaign_id"] for it in shown if "campaign_id" in it] == ["3"]
    for letter in letters:
        got = await client.GetDeadLetter(pb.GetDeadLetterRequest(name=letter.name))
        assert got.dead_letter == letter
    started = await _replay(client, harness)
    await _replaying(harness).replay(harness.org, _id(started.run))
    again = (await client.ListDeadLetters(request)).dead_letters
    assert {it.attempt_count for it in again} == {2}


async def test_what_is_still_refused_stays(
    harness: Harness, clients: ClientFactory, memory: Client
) -> None:
    """With what is wrong now, and one attempt more; the others are taken in."""
    client = clients(harness.org)
    await _read(harness, row("1", "5"), row("2", "many"), row("3", "lots", spend="free"))
    nothing = await _replay(client, harness)
    await _replaying(harness).replay(harness.org, _id(nothing.run))
    run = await _run(harness, nothing.run)
    assert (run["state"], run["dead_letter_count"]) == (RunState.FAILED, 2)
    assert run["error"]["error_class"] == "INVALID_DATA"
    harness.source.mapping = _without(harness.source.mapping, "clicks")
    started = await _replay(client, harness)
    await _replaying(harness).replay(harness.org, _id(started.run))
    run = await _run(harness, started.run)
    assert run["state"] == RunState.PARTIALLY_SUCCEEDED
    assert set(await stored(memory)) == {("1", DAY.isoformat()), ("2", DAY.isoformat())}
    letter = (await _letters(harness))["3"]
    assert (letter["state"], letter["attempt_count"], letter["replay_run"]) == (1, 3, None)
    assert [it["field"] for it in letter["errors"]] == ["spend"]


async def test_a_day_with_refused_rows_is_read_again(
    harness: Harness, clients: ClientFactory
) -> None:
    """Final or not, until they are taken in or given up, or a newer answer has all of its rows."""
    client = clients(harness.org)
    connections = PostgresConnections(harness.pool)

    async def finals() -> Sequence[date]:
        found = await connections.committed_days(harness.org, "meta", ["7"])
        days = found["7", "CAMPAIGN", "", "INTERACTION"]
        assert (days.open_since is None) == (DAY in days.final)
        return days.final

    await _read(harness, row("1", "5"), row("2", "many"))
    assert await finals() == ()
    await _read(harness, row("1", "5"), row("2", "6"))
    assert await finals() == (DAY,)
    await _read(harness, row("1", "5"), row("2", "many"))
    assert await finals() == ()
    discard = pb.DiscardDeadLettersRequest(
        parent=f"orgs/{harness.org}/runs/-",
        filter="state = OPEN",
        reason="a test row",
        request_id=str(uuid4()),
    )
    await client.DiscardDeadLetters(discard)
    assert await finals() == (DAY,)
    await _read(harness, row("1", "5"), row("3", "many"))
    assert await finals() == ()
    harness.source.mapping = _without(harness.source.mapping, "clicks")
    started = await _replay(client, harness)
    await _replaying(harness).replay(harness.org, _id(started.run))
    assert await finals() == (DAY,)


async def test_a_newer_answer_stands(
    harness: Harness, clients: ClientFactory, memory: Client
) -> None:
    """A row whose day was read since is overtaken; one whose day was never read stays open."""
    client = clients(harness.org)
    await _read(harness, row("2", "many"), row("3", "6", day=OTHER_DAY))
    await _read(harness, row("2", "7"))
    states = {name: it["state"] for name, it in (await _letters(harness)).items()}
    assert states == {"2": DeadLetterState.OVERTAKEN, "3": DeadLetterState.OPEN}
    overtaken = pb.ListDeadLettersRequest(
        parent=f"orgs/{harness.org}/runs/-", filter="state = OVERTAKEN"
    )
    (listed,) = (await client.ListDeadLetters(overtaken)).dead_letters
    assert listed.state == run_pb2.DEAD_LETTER_STATE_OVERTAKEN
    # As they are that stood open before it was told.
    async with postgres.transaction(harness.pool, org=harness.org) as connection:
        await connection.execute("update dead_letters set state = 1 where org = $1", harness.org)
    harness.source.mapping = _without(harness.source.mapping, "clicks")
    started = await _replay(client, harness)
    await _replaying(harness).replay(harness.org, _id(started.run))
    assert await stored(memory) == {("2", DAY.isoformat()): 7}
    letters = await _letters(harness)
    assert letters["2"]["state"] == DeadLetterState.OVERTAKEN
    assert letters["3"]["state"] == DeadLetterState.OPEN
    assert [it["code"] for it in letters["3"]["errors"]] == ["DAY_NOT_READ"]
    again = await _replay(client, harness)
    await _replaying(harness).replay(harness.org, _id(again.run))
    assert await stored(memory) == {("2", DAY.isoformat()): 7}, "trying it makes it no newer"


async def test_a_row_that_is_refused_again_stays_the_same(harness: Harness) -> None:
    """What changed meanwhile and is refused anew takes its place; other days are not touched."""
    second = DAY.replace(day=DAY.day + 1)
    await _read(
        harness, row("1", "5"), row("2", "many"), row("3", "few"), row("4", "x", day=second), days=2
    )
    before = await _letters(harness)
    await _read(harness, row("1", "5"), row("2", "many"), row("3", "fewer"))
    after = await harness.rows("dead_letters")
    found = {(it["row"]["campaign_id"], it["row"]["clicks"]): it for it in after}
    assert {key: DeadLetterState(it["state"]).name for key, it in found.items()} == {
        ("2", "many"): "OPEN",
        ("3", "few"): "OVERTAKEN",
        ("3", "fewer"): "OPEN",
        ("4", "x"): "OPEN",
    }
    assert found["2", "many"]["dead_letter"] == before["2"]["dead_letter"]
    assert found["2", "many"]["attempt_count"] == 2


async def test_rows_of_other_money_are_tried_as_the_account_is_now(
    harness: Harness, clients: ClientFactory, memory: Client
) -> None:
    """Once its other currency is known; rows of the one before stay what they were."""
    await add_connection(harness.pool, harness.org)
    other = {"account_currency": "GBP"}
    await _read(
        harness,
        *(row(str(number), "5") for number in range(4)),
        {**row("8", "6"), **other},
        {**row("9", "many"), "account_currency": "EUR"},
    )
    harness.source.mapping = _without(harness.source.mapping, "clicks")
    client = clients(harness.org)
    still = await _replay(client, harness, 'state = OPEN AND account_id = "7"')
    await _replaying(harness).replay(harness.org, _id(still.run))
    letters = await _letters(harness)
    assert {name: it["state"] for name, it in letters.items()} == {"8": 1, "9": 2}
    assert [it["code"] for it in letters["8"]["errors"]] == ["CURRENCY_MISMATCH"]
    async with postgres.transaction(harness.pool, org=harness.org) as connection:
        await connection.execute("update accounts set currency_code = 'GBP'")
    started = await _replay(client, harness)
    await _replaying(harness).replay(harness.org, _id(started.run))
    assert (await _letters(harness))["8"]["state"] == 2
    entries = {it.campaign_id: it async for it in memory.memory.list_entries()}
    assert entries["8"].metrics.currency_code == "GBP"
    assert entries["9"].metrics.currency_code == "EUR"


async def test_what_memory_refused_counts_once(
    harness: Harness, clients: ClientFactory, memory: Client
) -> None:
    """Its figures were among the sums of its day before it could be written."""
    await _read(harness, row("1", "5"), row("2", "-1"))
    letter = (await _letters(harness))["2"]
    before = await _sums(harness)
    harness.source.mapping = _without(harness.source.mapping, "clicks")
    started = await _replay(clients(harness.org), harness)
    await _replaying(harness).replay(harness.org, _id(started.run))
    assert ("2", DAY.isoformat()) in await stored(memory)
    added = (await _sums(harness))["spend_micros"] - before["spend_micros"]
    assert added == (0 if letter["counted"] else 1_500_000)


async def test_a_worker_may_die_anywhere(
    harness: Harness, clients: ClientFactory, memory: Client
) -> None:
    """Between Memory and the ledger, rows are written twice and counted once."""
    await _read(harness, row("1", "5"), row("2", "many"))
    harness.source.mapping = _without(harness.source.mapping, "clicks")
    started = await _replay(clients(harness.org), harness)
    ledger = DyingReplays(harness.pool, SilentQueue())
    with pytest.raises(ZeroDivisionError):
        await _replaying(harness, ledger).replay(harness.org, _id(started.run))
    assert ("2", DAY.isoformat()) in await stored(memory)
    assert (await _letters(harness))["2"]["state"] == 1
    async with postgres.transaction(harness.pool, org=harness.org) as connection:
        await connection.execute("update lanes set lease_end_time = now() - interval '1 s'")
    await _replaying(harness, ledger).replay(harness.org, _id(started.run))
    assert (await _letters(harness))["2"]["state"] == 2
    assert (await _sums(harness))["spend_micros"] == 3_000_000
    run = await _run(harness, started.run)
    assert (run["state"], run["upserted_count"]) == (RunState.SUCCEEDED, 0)


async def test_a_lane_has_one_holder(
    harness: Harness, clients: ClientFactory, memory: Client
) -> None:
    """Replays and readings wait for each other, and who lost the lane writes nothing."""
    await _read(harness, row("2", "many"))
    harness.source.mapping = _without(harness.source.mapping, "clicks")
    started = await _replay(clients(harness.org), harness)
    run = _id(started.run)
    await harness.start()
    (waiting,) = [it for it in await harness.rows("run_slices") if it["state"] == 1]
    held = await harness.ledger.claim(
        harness.org, waiting["slice"], worker="reader", lease_seconds=0.3
    )
    assert held is not None
    await _replaying(harness).replay(harness.org, run)
    assert await stored(memory) == {}
    assert (await _run(harness, started.run))["state"] == RunState.RUNNING
    await asyncio.sleep(0.4)
    ledger = PostgresReplays(harness.pool, SilentQueue())
    lane = Lane(harness.org, "meta", "7", "CAMPAIGN", "", "INTERACTION")
    frozen = await ledger.take(run, lane, worker="frozen", lease_seconds=0.3, limit=10)
    assert frozen is not None
    claim = harness.ledger.claim
    assert await claim(harness.org, waiting["slice"], worker="b", lease_seconds=9) is None
    await asyncio.sleep(0.4)
    await harness.writer.fence(lane, epoch=frozen.epoch + 1)
    context = TransformContext(account_id="7", currency_code="EUR", level="CAMPAIGN")
    table = evaluate(harness.source.mapping, [row("9", "9")], context).table
    with pytest.raises(HoldLostError):
        await harness.writer.upsert(lane, table, epoch=frozen.epoch, origin=run)
    await _replaying(harness).replay(harness.org, run)
    with pytest.raises(HoldLostError):
        await ledger.record(frozen, Replayed([], [], {}, 0, {}))
    assert ("2", DAY.isoformat()) in await stored(memory)


async def test_suspended_and_cancelled_replays(
    harness: Harness, clients: ClientFactory, memory: Client
) -> None:
    """Nothing is written while the scope is suspended, or once the run is cancelled."""
    client = clients(harness.org)
    await _read(harness, row("2", "many"))
    harness.source.mapping = _without(harness.source.mapping, "clicks")
    started = await _replay(client, harness)
    ledger = PostgresReplays(harness.pool, SilentQueue())
    lane = Lane(harness.org, "meta", "7", "CAMPAIGN", "", "INTERACTION")
    taken = await ledger.take(
        _id(started.run), lane, worker="worker-1", lease_seconds=30.0, limit=10
    )
    assert taken is not None
    async with postgres.transaction(harness.pool, org=harness.org) as connection:
        await connection.execute(
            "insert into suspensions (org, suspension, platform, connection, account_id, reason,"
            " subject) values ($1, gen_random_uuid(), '', 'shop', '', 'x', 'x')",
            harness.org,
        )
    suspensions = PostgresSuspensions(harness.pool, SilentQueue())
    scope = SuspensionScope(connection="shop")
    held = await suspensions.held_lanes(harness.org, scope)
    assert held == [HeldLane(lane, taken.epoch, lease_over=False)], "it is waited for"
    await ledger.let_go(taken)
    assert await suspensions.held_lanes(harness.org, scope) == []
    await _replaying(harness).replay(harness.org, _id(started.run))
    assert await stored(memory) == {}
    async with postgres.transaction(harness.pool, org=harness.org) as connection:
        await connection.execute("update suspensions set end_time = now()")
    assert await harness.ledger.cancel(harness.org, _id(started.run), "not now")
    await _replaying(harness).replay(harness.org, _id(started.run))
    assert await stored(memory) == {}
    assert (await _run(harness, started.run))["state"] == RunState.CANCELLED
    assert (await _letters(harness))["2"]["state"] == 1


async def test_a_replay_tells_what_it_waits_for(
    harness: Harness, clients: ClientFactory, memory: Client
) -> None:
    """Memory that is away, until when; a suspension before that; and nothing once it goes on."""
    client = clients(harness.org)
    await _read(harness, row("2", "many"))
    harness.source.mapping = _without(harness.source.mapping, "clicks")
    started = await _replay(client, harness)
    assert (await _run(harness, started.run))["waits_for"] is None
    token = issue_token(secret=b"nobody asks for it" * 2, org=harness.org)
    async with connect("127.0.0.1:1", token=token) as nowhere:
        away = MemoryEntryWriter(lambda _: nowhere)
        await _replaying(replace(harness, writer=away)).replay(harness.org, _id(started.run))
    run = await _run(harness, started.run)
    assert run["waits_for"] == WaitReason.STORE
    assert "memory" in run["waits_for_detail"].lower()
    assert run["resume_time"] > run["update_time"]
    async with postgres.transaction(harness.pool, org=harness.org) as connection:
        await connection.execute(
            "insert into suspensions (org, suspension, platform, connection, account_id, reason,"
            " subject) values ($1, gen_random_uuid(), '', 'shop', '', 'a sale', 'x')",
            harness.org,
        )
    run = await _run(harness, started.run)
    assert run["waits_for"] == WaitReason.SUSPENSION
    assert run["waits_for_detail"] == "a sale"
    assert run["resume_time"] is None
    async with postgres.transaction(harness.pool, org=harness.org) as connection:
        await connection.execute("update suspensions set end_time = now()")
    await _replaying(harness).replay(harness.org, _id(started.run))
    assert set(await stored(memory)) == {("2", DAY.isoformat())}
    assert (await _run(harness, started.run))["waits_for"] is None


async def test_a_worker_takes_replays_by_itself(
    harness: Harness, memory: Client, environment: Mapping[str, str], pool: asyncpg.Pool
) -> None:
    """Its job wakes it, and comes again for what could not be tried."""
    await _read(harness, row("2", "many"))
    harness.source.mapping = _without(harness.source.mapping, "clicks")
    queue = PostgresJobQueue(pool, schema=SCHEMA, url=environment["LIFTOS_POSTGRES_URL"])
    ledger = _ImpatientReplays(pool, queue)
    selection = Selection(None, ((await _letters(harness))["2"]["dead_letter"],), None)
    await harness.start()
    (waiting,) = [it for it in await harness.rows("run_slices") if it["state"] == 1]
    claimed = await harness.ledger.claim(
        harness.org, waiting["slice"], worker="reader", lease_seconds=1.0
    )
    assert claimed is not None
    run, _ = await PostgresDeadLetters(pool, queue).start_replay(
        harness.org, selection, "test", None
    )
    stop = asyncio.Event()

    async def replay(delivery: Delivery) -> None:
        await replay_named(_replaying(harness, ledger), delivery.payload)

    async def reconcile(delivery: Delivery) -> None:
        assert run["run"].hex in delivery.payload.decode()
        stop.set()

    await asyncio.wait_for(
        queue.work({REPLAY: replay, RECONCILE_RUN: reconcile}, concurrency=2, stop=stop), 30
    )
    assert ("2", DAY.isoformat()) in await stored(memory)
    assert ledger.lined_up > 1, "the lane was held at first"


async def test_a_lost_source_fails_the_run(harness: Harness, clients: ClientFactory) -> None:
    """Its dead letters stay as they were."""
    await _read(harness, row("2", "many"))
    started = await _replay(clients(harness.org), harness)
    replaying = Replaying(
        ledger=PostgresReplays(harness.pool, SilentQueue()),
        connections=PostgresConnections(harness.pool),
        catalog=_NoSource(),
        writer=harness.writer,
        executor=ThreadPoolExecutor(1),
        worker="worker-1",
    )
    await replaying.replay(harness.org, _id(started.run))
    run = await _run(harness, started.run)
    assert run["state"] == RunState.FAILED
    assert "meta" in run["error"]["message"]
    letter = (await _letters(harness))["2"]
    assert (letter["state"], letter["attempt_count"]) == (1, 1)


async def test_dead_letters_are_listed_and_given_up(
    harness: Harness, clients: ClientFactory
) -> None:
    """By run and filter, page by page; what is not open is neither tried nor given up."""
    client = clients(harness.org)
    run = await _read(harness, *(row(str(number), "many") for number in range(2, 5)))
    parent = f"orgs/{harness.org}/runs/{run.hex}"
    seen: list[run_pb2.DeadLetter] = []
    token = ""
    while True:
        page = await client.ListDeadLetters(
            pb.ListDeadLettersRequest(
                parent=parent,
                page_size=2,
                page_token=token,
                filter='state = OPEN AND level = CAMPAIGN AND account_id = "7"',
            )
        )
        seen += page.dead_letters
        token = page.next_page_token
        if not token:
            break
    assert {it.row["campaign_id"] for it in seen} == {"2", "3", "4"}
    assert seen[0].errors[0].field == "clicks"
    assert seen[0].errors[0].rule == "NOT_A_NUMBER"
    assert seen[0].name.startswith(f"{parent}/deadLetters/")
    got = await client.GetDeadLetter(pb.GetDeadLetterRequest(name=seen[0].name))
    assert got.dead_letter == seen[0]
    discard = pb.DiscardDeadLettersRequest(
        parent=f"orgs/{harness.org}/runs/-",
        names=[seen[0].name],
        reason="a test row",
        request_id=str(uuid4()),
    )
    for _ in range(2):
        assert (await client.DiscardDeadLetters(discard)).discard_count == 1
    got = await client.GetDeadLetter(pb.GetDeadLetterRequest(name=seen[0].name))
    assert got.dead_letter.state == run_pb2.DEAD_LETTER_STATE_DISCARDED
    assert got.dead_letter.discard_reason == "a test row"
    discard.request_id = str(uuid4())
    replay = pb.ReplayDeadLettersRequest(
        parent=f"orgs/{harness.org}/runs/-",
        names=[it.name for it in seen],
        request_id=str(uuid4()),
    )
    for call in (client.DiscardDeadLetters(discard), client.ReplayDeadLetters(replay)):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        refusal = refusal_of(caught.value)
        assert refusal.reason == "ERROR_REASON_STATE_TRANSITION_INVALID"
        assert refusal.metadata["state"] == "DISCARDED"
    assert (await harness.rows("replays")) == []
    everything = pb.DiscardDeadLettersRequest(
        parent=parent, filter='platform = "meta"', reason="all", request_id=str(uuid4())
    )
    assert (await client.DiscardDeadLetters(everything)).discard_count == 2
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _replay(client, harness)
    assert refusal_of(caught.value).violations == (("filter", "filter.rows"),)
    stranger = f"{harness.org}-other"
    foreign = await clients(stranger).ListDeadLetters(
        pb.ListDeadLettersRequest(parent=f"orgs/{stranger}/runs/-")
    )
    assert not foreign.dead_letters
    name = seen[0].name.replace(harness.org, stranger)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await clients(stranger).GetDeadLetter(pb.GetDeadLetterRequest(name=name))
    assert refusal_of(caught.value).reason == "ERROR_REASON_RESOURCE_NOT_FOUND"


async def test_a_replay_is_of_one_connection(harness: Harness, clients: ClientFactory) -> None:
    """A filter that chooses rows of several is refused; a repeated request starts one run."""
    client = clients(harness.org)
    await _read(harness, row("2", "many"), row("3", "many"))
    async with postgres.transaction(harness.pool, org=harness.org) as connection:
        await connection.execute(
            "update dead_letters set connection = 'other', account_id = '8'"
            " where row ->> 'campaign_id' = '3'"
        )
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _replay(client, harness)
    assert refusal_of(caught.value).violations == (("filter", "filter.connection"),)
    request = pb.ReplayDeadLettersRequest(
        parent=f"orgs/{harness.org}/runs/-", filter='account_id = "7"', request_id=str(uuid4())
    )
    first = await client.ReplayDeadLetters(request)
    assert first.dead_letter_count == 1
    assert await client.ReplayDeadLetters(request) == first
    runs = [it for it in await harness.rows("runs") if it["kind"] == run_pb2.RUN_KIND_REPLAY]
    assert len(runs) == 1


async def test_many_rows_are_tried_in_parts(
    harness: Harness, clients: ClientFactory, memory: Client
) -> None:
    """Each part is recorded by itself."""
    count = 1_200
    await _read(harness, *(row(str(number), "many") for number in range(count)))
    harness.source.mapping = _without(harness.source.mapping, "clicks")
    started = await _replay(clients(harness.org), harness)
    assert started.dead_letter_count == count
    await _replaying(harness).replay(harness.org, _id(started.run))
    run = await _run(harness, started.run)
    assert (run["state"], run["upserted_count"]) == (RunState.SUCCEEDED, count)
    parts = [it for it in await harness.rows("run_slices") if it["run"] == _id(started.run)]
    assert sorted(it["row_count"] for it in parts) == [200, 500, 500]
    assert {it["state"] for it in parts} == {SliceState.COMMITTED}
    assert (await _sums(harness))["spend_micros"] == count * 1_500_000
