"""A worker's memory does not follow the length of answers: what it has in hand is bounded."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import asyncpg
import grpc
import pytest
from redis.asyncio import Redis
from tests.e2e.ingestion.readings import Harness, ScriptedSource, SilentQueue, row, stored
from tests.e2e.ingestion.test_google_ads import REQUEST, OpenGate, credential_of

from liftos_client import Client
from liftos_ingestion.adapters.memory import MemoryEntryWriter
from liftos_ingestion.adapters.postgres.runs import PostgresRunLedger
from liftos_ingestion.adapters.redis.rate_governor import RedisRateGovernor
from liftos_ingestion.adapters.sources.google_ads import GoogleAdsSource, messages
from liftos_ingestion.adapters.sources.google_ads.source import LOOKAHEAD_BYTES
from liftos_ingestion.run_ports import RunState, SliceWriter
from liftos_ingestion.source_ports import Credential, Page, PlatformJob, ReadRequest
from liftos_ingestion.usecases.intake import Intake
from liftos_kit.secrets.secret import Secret
from liftos_local.stack import Stack
from liftos_mapping.transform import TransformContext
from liftos_platforms.google_ads.face import GoogleAdsFace
from liftos_platforms.testing import HOST, running_platforms
from liftos_platforms.truth import Platform

HUGE: bytes = bytes(1_000_000)


@pytest.mark.parametrize(("bytes_in_hand", "most"), [(2 * len(HUGE), 2), (1, 1)])
async def test_slices_share_what_is_in_hand(
    pool: asyncpg.Pool,
    memory: Client,
    org: str,
    stores: Stack,
    monkeypatch: pytest.MonkeyPatch,
    *,
    bytes_in_hand: int,
    most: int,
) -> None:
    """Huge pages of slices that are read at once wait for one another; all of them land."""

    async def answer(request: ReadRequest) -> AsyncGenerator[Page | PlatformJob, None]:
        for number in range(3):
            found = {**row(f"{number}", "5"), "account_id": request.account.account_id}
            if request.level == "ACCOUNT":
                del found["campaign_id"], found["campaign_name"]
            yield Page([found], TransformContext(), raw=HUGE)

    in_hand, counts = 0, []
    take = Intake.take

    async def counted(intake: Intake, page: Page, writer: SliceWriter) -> None:
        nonlocal in_hand
        in_hand += 1
        counts.append(in_hand)
        # As long as others need to come in, were they let.
        await asyncio.sleep(0.05)
        await take(intake, page, writer)
        in_hand -= 1

    monkeypatch.setattr(Intake, "take", counted)
    redis = Redis.from_url(stores.environment["LIFTOS_REDIS_URL"])
    harness = Harness(
        org=org,
        source=ScriptedSource(answers=[answer]),
        ledger=PostgresRunLedger(pool, SilentQueue()),
        writer=MemoryEntryWriter(lambda _: memory),
        pool=pool,
        governor=RedisRateGovernor(redis),
    )
    await harness.start(accounts=("7", "8"), levels=("ACCOUNT", "CAMPAIGN"))
    slices = [it["slice"] for it in await harness.rows("run_slices")]
    reading = harness.reading(bytes_in_hand=bytes_in_hand)
    await asyncio.gather(*(reading.read(org, it) for it in slices))
    await redis.aclose()
    assert len(counts) == 3 * len(slices)
    assert max(counts) == most
    (run,) = await harness.rows("runs")
    assert run["state"] == RunState.SUCCEEDED
    campaigns = {campaign for campaign, _ in await stored(memory)}
    assert campaigns == {"", "0", "1", "2"}


class EndlessStream(grpc.GenericRpcHandler):
    """Sends messages of a megabyte for as long as they are taken.

    Attributes:
        sent_bytes: Of the messages that were taken so far.
    """

    def __init__(self) -> None:
        self.sent_bytes = 0
        self._message = messages.StreamResponse(request_id="x" * 1_000_000).SerializeToString()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Answer every method alike."""
        return grpc.unary_stream_rpc_method_handler(self._answer)

    async def _answer(self, request: bytes, context: object) -> AsyncGenerator[bytes, None]:
        while self.sent_bytes < 100_000_000:
            yield self._message
            self.sent_bytes += len(self._message)


async def test_a_stream_is_not_received_ahead() -> None:
    """What Google sends waits on its side until it is read, however long the answer is."""
    stream = EndlessStream()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((stream,))
    port = server.add_insecure_port(f"{HOST}:0")
    await server.start()
    read_bytes = 0
    async with running_platforms(Platform.GOOGLE_ADS) as platforms:
        face = platforms.faces[Platform.GOOGLE_ADS]
        assert isinstance(face, GoogleAdsFace)
        source = GoogleAdsSource(
            f"{HOST}:{port}",
            plaintext=True,
            token_url=f"http://{HOST}:{face.rest_port}/token",
            timeout_seconds=10.0,
        )
        credential = {name: Secret(it) for name, it in credential_of(platforms).items()}
        settings = {"login_customer_id": "1234567890"}
        async with (
            source.open(Credential(credential), settings, OpenGate()) as session,
            aclosing(session.read(REQUEST, None)) as pages,
        ):
            async for page in pages:
                assert isinstance(page, Page)
                read_bytes += len(page.raw)
                # gRPC measures how fast bytes arrive while some do.
                if read_bytes > 30_000_000:
                    break
            while (sent := stream.sent_bytes) is not None:
                await asyncio.sleep(0.5)
                if stream.sent_bytes == sent:
                    break
    await server.stop(None)
    # The next message, the one behind it that gRPC has begun to send, and what may be ahead.
    assert stream.sent_bytes - read_bytes < 2_000_000 + 2 * LOOKAHEAD_BYTES
