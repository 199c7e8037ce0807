"""Streams of the client over a Memory that is killed and started again."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from liftos.common.v1.marketing_pb2 import DateRange
from liftos.memory.v1.entry_pb2 import Entry, EntryLevel, Metrics
from liftos.memory.v1.slice_pb2 import SliceScope, SliceState
from liftos_client import Client, connect
from liftos_client.errors import UnavailableError
from liftos_client.write_result import WriteResult
from liftos_kit.auth import issue_token
from liftos_kit.testing.server import SECRET
from liftos_local.testing import TestDatabase
from liftos_memory.domain.write_token import decode_write_token

# Each start of a server loads models and drivers.
pytestmark = pytest.mark.timeout(180)

_ROOT = Path(__file__).parents[3]
_ACCOUNT = "act_7"
_SCOPE = SliceScope(
    platform="meta",
    account_id=_ACCOUNT,
    level=EntryLevel.ENTRY_LEVEL_CAMPAIGN,
    date_range=DateRange(start_date="2026-01-05", end_date="2026-01-05"),
)


@dataclass
class MemoryProcess:
    """Memory in a process of its own, on a port that stays its own.

    Attributes:
        target: Where it listens.
        kills: How often it was killed.
    """

    target: str
    environment: dict[str, str]
    log: Path
    kills: int = 0
    _process: asyncio.subprocess.Process | None = field(default=None, init=False)

    async def start(self) -> None:
        """Start it; it answers a few seconds later."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "liftos_memory",
                "serve",
                env=self.environment,
                stderr=log,
                stdout=log,
            )

    async def kill(self) -> None:
        """End it as a power failure would."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()
        self.kills += 1

    async def stop(self) -> None:
        """End it, if it runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            await self._process.wait()


@pytest.fixture(scope="module")
async def process(
    database: TestDatabase, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[MemoryProcess]:
    """A Memory that can be killed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("LIFTOS_")},
        **{name: value for name, value in database.environment.items() if "OWNER" not in name},
        "LIFTOS_PORT": str(port),
        "LIFTOS_METRICS_PORT": "0",
        "LIFTOS_JWT_SECRET": SECRET,
        "LIFTOS_EMBEDDER": "hash:",
        "PYTHONPATH": f"{_ROOT / 'services'}:{_ROOT / 'gen'}",
    }
    log = tmp_path_factory.mktemp("memory") / "log"
    running = MemoryProcess(f"127.0.0.1:{port}", environment, log)
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def client(process: MemoryProcess, org: str) -> AsyncIterator[Client]:
    """A client of that Memory, once it answers."""
    token = issue_token(secret=SECRET.encode(), org=org, roles=["admin"], scopes=["memory"])
    async with connect(process.target, token=token) as client:
        await _answering(client)
        yield client


async def _answering(client: Client) -> None:
    """Wait until the server answers."""
    async with asyncio.timeout(60):
        while True:
            try:
                await client.memory.list_entries(page_size=1).collect()
            except UnavailableError:
                await asyncio.sleep(0.1)
            else:
                return


def _entries(first: int, count: int, *, clicks: int = 1) -> Sequence[Entry]:
    return [
        Entry(
            platform="meta",
            level=EntryLevel.ENTRY_LEVEL_CAMPAIGN,
            account_id=_ACCOUNT,
            campaign_id=str(number),
            date="2026-01-05",
            metrics=Metrics(impressions=1_000, clicks=clicks),
        )
        for number in range(first, first + count)
    ]


class Killer:
    """Kills and restarts the server when chosen sequences are acknowledged."""

    def __init__(self, process: MemoryProcess, sequences: Sequence[int]) -> None:
        self._process = process
        self._sequences = set(sequences)
        self._tasks: list[asyncio.Task[None]] = []

    def __call__(self, result: WriteResult) -> None:
        """Look at the progress of a stream."""
        due = {sequence for sequence in self._sequences if sequence <= result.last_sequence}
        if due:
            self._sequences -= due
            self._tasks.append(asyncio.create_task(self._kill_and_restart()))

    async def done(self) -> None:
        """Wait for restarts that are under way; all chosen sequences must have come."""
        await asyncio.gather(*self._tasks)
        assert not self._sequences

    async def _kill_and_restart(self) -> None:
        await self._process.kill()
        await self._process.start()


async def test_every_batch_of_a_killed_server_is_there_exactly_once(
    process: MemoryProcess, client: Client, org: str
) -> None:
    """Killed twice while batches are on their way, the stream loses none and applies none twice."""
    batches, rows = 40, 100
    killer = Killer(process, [7, 23])
    async with client.memory.ingest("s", origin="run/1", on_progress=killer) as stream:
        for number in range(batches):
            checkpoint = str(number).encode()
            await stream.write(_entries(number * rows, rows), checkpoint=checkpoint)
    await killer.done()
    result = stream.result
    assert process.kills >= 2
    assert (result.row_count, result.last_sequence) == (batches * rows, batches)
    assert result.upserted_count + result.unreported_count == batches * rows
    assert (result.unchanged_count, result.refused_count) == (0, 0)
    stored = await client.memory.list_entries(page_size=1_000, at_least_as_fresh=result).collect()
    assert sorted(int(entry.campaign_id) for entry in stored) == list(range(batches * rows))
    position = await client.memory.get_stream_position("s")
    assert (position.last_sequence, position.checkpoint) == (batches, b"39")
    # A batch takes one version of the org at most: those that wait together share theirs.
    assert decode_write_token(org, position.write_token, field="write_token") <= batches


@pytest.mark.parametrize("sequence", [3, 6], ids=["amid its rows", "before its commit"])
async def test_a_slice_of_a_killed_server_is_replaced_whole(
    process: MemoryProcess, client: Client, sequence: int
) -> None:
    """Until the commit all old rows are read, and after it all new ones, wherever it was killed."""
    async with client.memory.ingest("s", origin="run/1") as stream, stream.slice(_SCOPE) as old:
        await old.write(_entries(0, 50))
    killer = Killer(process, [stream.result.last_sequence + sequence])
    async with (
        client.memory.ingest("s", origin="run/2", on_progress=killer) as again,
        again.slice(_SCOPE, raw=b'{"data": []}') as new,
    ):
        for number in range(5):
            await new.write(_entries(25 + 10 * number, 10, clicks=2))
        await again.flush()
        await killer.done()
        await _answering(client)
        before = await client.memory.list_entries(page_size=1_000).collect()
        assert {(int(entry.campaign_id), entry.metrics.clicks) for entry in before} == {
            (number, 1) for number in range(50)
        }
    after = client.memory.list_entries(page_size=1_000, at_least_as_fresh=again.result)
    assert {(int(entry.campaign_id), entry.metrics.clicks) for entry in await after.collect()} == {
        (number, 2) for number in range(25, 75)
    }
    stored = await client.memory.get_slice(new.name, include_raw=True)
    assert stored.slice.state == SliceState.SLICE_STATE_COMMITTED
    assert stored.raw == b'{"data": []}'
    assert (stored.slice.row_count, stored.slice.vanished_count) == (50, 25)


async def test_a_slice_whose_writer_died_with_the_server_leaves_nothing(
    process: MemoryProcess, client: Client
) -> None:
    """The next writer of the stream finds the checkpoint, aborts the slice, and starts again."""
    async with client.memory.ingest("s", origin="run/1") as stream:
        await stream.write(_entries(0, 10), checkpoint=b"day 1")

    async def write_and_die() -> None:
        async with client.memory.ingest("s", origin="run/2") as dying, dying.slice(_SCOPE) as piece:
            await piece.write(_entries(100, 10))
            await dying.flush()
            await process.kill()
            raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        await write_and_die()
    await process.start()
    await _answering(client)
    async with client.memory.ingest("s", origin="run/3") as stream:
        assert stream.checkpoint == b"day 1"
        await stream.flush()
        stored = await client.memory.list_entries(page_size=1_000).collect()
        assert sorted(int(entry.campaign_id) for entry in stored) == list(range(10))
        async with stream.slice(_SCOPE) as piece:
            await piece.write(_entries(200, 10))
    stored = await client.memory.list_entries(at_least_as_fresh=stream.result).collect()
    assert sorted(int(entry.campaign_id) for entry in stored) == list(range(200, 210))
