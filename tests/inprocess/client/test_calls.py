"""Calls over a real channel: errors, retries, deadlines, metadata, pages."""

import asyncio

import grpc
import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState
from tests.inprocess.client.fake_memory import Failure, FakeMemory, entries, unsigned_token

from liftos.memory.v1 import memory_service_pb2 as pb
from liftos.memory.v1.artifact_pb2 import Artifact
from liftos.memory.v1.entry_pb2 import Entry
from liftos.memory.v1.source_pb2 import OrgSettings
from liftos_client import Client, connect
from liftos_client.errors import (
    DeadlineExceededError,
    FenceClosedError,
    FieldInvalidError,
    MessageTooLargeError,
    NotBuiltError,
    OverloadedError,
    ShuttingDownError,
    TokenInvalidError,
    UnavailableError,
)

_UNAVAILABLE = Failure(grpc.StatusCode.UNAVAILABLE)
_ENTRY = "20260105-" + "0" * 32


async def test_an_error_carries_all_that_the_status_says(
    client: Client, memory: FakeMemory
) -> None:
    """Code, reason, message, metadata and field violations reach the caller."""
    memory.failures["GetEntry"].append(
        Failure(
            grpc.StatusCode.INVALID_ARGUMENT,
            "wrong",
            reason="FIELD_INVALID",
            metadata={"trace_id": "abc"},
            violations=(("name", "must match"), ("read_mask", "no such field")),
        )
    )
    with pytest.raises(FieldInvalidError) as raised:
        await client.memory.get_entry(_ENTRY)
    error = raised.value
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    assert [(v.field, v.description, v.rule) for v in error.field_violations] == [
        ("name", "must match", "string.pattern"),
        ("read_mask", "no such field", "string.pattern"),
    ]
    assert error.trace_id == "abc"
    assert not error.retriable
    assert str(error) == "wrong\n  name: must match\n  read_mask: no such field\n  trace abc"
    assert error.__cause__ is None
    assert error.__suppress_context__


async def test_a_reason_decides_the_class_of_an_error(client: Client, memory: FakeMemory) -> None:
    """Errors of one code are told apart by their reason."""
    memory.failures["BatchUpsertEntries"].append(
        Failure(
            grpc.StatusCode.FAILED_PRECONDITION,
            reason="FENCE_CLOSED",
            metadata={"scope": "*", "epoch": "4"},
        )
    )
    with pytest.raises(FenceClosedError) as raised:
        await client.memory.batch_upsert_entries(entries(1))
    assert raised.value.metadata == {"scope": "*", "epoch": "4"}


async def test_a_reason_of_a_newer_contract_falls_back_to_its_code(
    client: Client, memory: FakeMemory
) -> None:
    """An unknown reason is kept as text, and the code decides the class."""
    memory.failures["GetEntry"].append(
        Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, reason="TOO_MANY_MOONS")
    )
    with pytest.raises(OverloadedError) as raised:
        await client.memory.get_entry(_ENTRY)
    assert raised.value.reason == "TOO_MANY_MOONS"
    assert not raised.value.retriable


async def test_unavailable_is_retried_by_the_service_config(
    client: Client, memory: FakeMemory
) -> None:
    """Three failures of a read are not seen by the caller."""
    memory.failures["GetEntry"].extend([_UNAVAILABLE] * 3)
    entry = await client.memory.get_entry(_ENTRY)
    assert entry.name == f"orgs/acme/entries/{_ENTRY}"
    assert len(memory.seen) == 4


async def test_a_fourth_failure_reaches_the_caller(client: Client, memory: FakeMemory) -> None:
    """Retries end after four attempts."""
    memory.failures["GetEntry"].extend([_UNAVAILABLE] * 5)
    with pytest.raises(UnavailableError) as raised:
        await client.memory.get_entry(_ENTRY)
    assert raised.value.retriable
    assert len(memory.seen) == 4


async def test_a_write_that_is_not_repeatable_is_sent_once(
    client: Client, memory: FakeMemory
) -> None:
    """An update bound to an etag is not repeated, with or without RetryInfo."""
    memory.failures["UpdateOrgSettings"].append(
        Failure(grpc.StatusCode.UNAVAILABLE, reason="SHUTTING_DOWN", retry_after_seconds=0.01)
    )
    with pytest.raises(ShuttingDownError):
        await client.memory.update_org_settings(OrgSettings(etag="1", fiscal_start_month=4))
    assert len(memory.seen) == 1


async def test_an_overloaded_service_is_asked_again_when_it_says(
    client: Client, memory: FakeMemory
) -> None:
    """RetryInfo is waited for, and the repeated call answers."""
    memory.failures["GetEntry"].extend(
        [
            Failure(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                reason="SERVER_OVERLOADED",
                retry_after_seconds=0.05,
            )
        ]
        * 2
    )
    started = asyncio.get_running_loop().time()
    await client.memory.get_entry(_ENTRY)
    assert asyncio.get_running_loop().time() - started >= 0.1
    assert len(memory.seen) == 3


async def test_a_wait_beyond_the_deadline_is_not_begun(client: Client, memory: FakeMemory) -> None:
    """Where the service says to come back after the deadline, the error is raised at once."""
    memory.failures["GetEntry"].append(
        Failure(
            grpc.StatusCode.RESOURCE_EXHAUSTED, reason="SERVER_OVERLOADED", retry_after_seconds=30.0
        )
    )
    started = asyncio.get_running_loop().time()
    with pytest.raises(OverloadedError) as raised:
        await client.memory.get_entry(_ENTRY, timeout_seconds=5)
    assert raised.value.retry_after_seconds == 30.0
    assert asyncio.get_running_loop().time() - started < 5


async def test_a_call_has_the_deadline_that_it_is_given(client: Client, memory: FakeMemory) -> None:
    """`timeout_seconds` ends a call whose service does not answer."""
    memory.held.add("GetEntry")
    with pytest.raises(DeadlineExceededError) as raised:
        await client.memory.get_entry(_ENTRY, timeout_seconds=0.1)
    assert not raised.value.retriable


async def test_what_kept_a_call_from_its_answer_is_told_and_not_that_its_time_is_over(
    client: Client, memory: FakeMemory
) -> None:
    """A call that was refused for a while, and whose repetition found no end, says why it was."""
    memory.held.add("GetEntry")
    memory.failures["GetEntry"].append(
        Failure(
            grpc.StatusCode.RESOURCE_EXHAUSTED, reason="SERVER_OVERLOADED", retry_after_seconds=0.01
        )
    )
    with pytest.raises(OverloadedError):
        await client.memory.get_entry(_ENTRY, timeout_seconds=0.5)
    assert len(memory.seen) == 2


async def test_a_method_that_is_not_built_says_so(client: Client) -> None:
    """UNIMPLEMENTED has its class."""
    with pytest.raises(NotBuiltError):
        await client.memory.get_write_fence("*")


async def test_refused_connections_are_typed_errors() -> None:
    """Nobody listening is an UnavailableError that says so."""
    async with connect("127.0.0.1:1", token=unsigned_token()) as client:
        with pytest.raises(UnavailableError, match="onnect"):
            await client.memory.get_entry(_ENTRY, timeout_seconds=3)


async def test_a_message_over_the_limit_says_so(client: Client) -> None:
    """The refusal of gRPC itself has its class too, and is not retried."""
    with pytest.raises(MessageTooLargeError, match="at most 16,777,216; send or ask for") as raised:
        await client.memory.batch_upsert_entries(bytes(17 * 1024 * 1024))
    assert not raised.value.retriable


async def test_content_over_the_limit_of_an_artifact_says_so(client: Client) -> None:
    """Before anything is sent, with the artifact's place."""
    good = Artifact(name="orgs/acme/artifacts/a", content=b"x")
    large = Artifact(name="orgs/acme/artifacts/b", content=bytes(20_000_000))
    with pytest.raises(FieldInvalidError, match="20,000,000 bytes; at most 8 MiB") as raised:
        await client.memory.batch_upsert_artifacts([good, large])
    assert [it.field for it in raised.value.field_violations] == ["artifacts[1].content"]


async def test_a_token_may_be_asked_for_before_each_call(target: str, memory: FakeMemory) -> None:
    """A function gives each call its token."""
    given: list[str] = []

    def token() -> str:
        given.append(unsigned_token())
        return f"{given[-1]}{len(given)}"

    async with connect(target, token=token) as client:
        await client.memory.get_entry(_ENTRY)
        await client.memory.get_entry(_ENTRY)
    tokens = [metadata["authorization"] for _, metadata in memory.seen]
    assert tokens == [f"Bearer {unsigned_token()}2", f"Bearer {unsigned_token()}3"]


@pytest.mark.parametrize("token", ["", "x", "e30.e30.x", "a.%.c", "e30.eyJvcmciOjF9.x"])
def test_a_token_without_an_org_is_refused_at_once(token: str) -> None:
    """The error comes before any call, and does not show the token."""
    with pytest.raises(TokenInvalidError, match="liftos token"):
        connect("127.0.0.1:1", token=token)


async def test_the_current_trace_goes_along(client: Client, memory: FakeMemory) -> None:
    """A call within a span carries it as `traceparent`; a call without one carries none."""
    context = SpanContext(
        trace_id=0xABC,
        span_id=0xDEF,
        is_remote=False,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
        trace_state=TraceState([("vendor", "1")]),
    )
    with trace.use_span(NonRecordingSpan(context)):
        await client.memory.get_entry(_ENTRY)
    await client.memory.get_entry(_ENTRY)
    with_span, without = (metadata for _, metadata in memory.seen)
    assert with_span["traceparent"] == f"00-{'0' * 29}abc-{'0' * 13}def-01"
    assert with_span["tracestate"] == "vendor=1"
    assert "traceparent" not in without


async def test_pages_are_fetched_while_they_are_read(client: Client, memory: FakeMemory) -> None:
    """Only as many pages are asked for as items are read."""
    memory.entries = [Entry(name=str(number)) for number in range(7)]
    listed = client.memory.list_entries(page_size=3, filter='platform = "meta"')
    assert memory.seen == []
    names = []
    async for entry in listed:
        names.append(entry.name)
        if len(names) == 4:
            break
    assert names == ["0", "1", "2", "3"]
    assert len(memory.seen) == 2


async def test_a_list_can_be_read_twice_and_by_pages(client: Client, memory: FakeMemory) -> None:
    """Each reading begins at the beginning; pages carry their tokens."""
    memory.entries = [Entry(name=str(number)) for number in range(5)]
    listed = client.memory.list_entries(page_size=2)
    assert len(await listed.collect()) == len(await listed.collect()) == 5
    tokens = [page.next_page_token async for page in listed.pages()]
    assert tokens == ["2", "4", ""]
    later = client.memory.list_entries(page_size=2, page_token="4")
    assert [entry.name for entry in await later.collect()] == ["4"]


async def test_a_list_goes_on_over_a_failing_page(client: Client, memory: FakeMemory) -> None:
    """A page that fails is retried without starting again."""
    memory.entries = [Entry(name=str(number)) for number in range(4)]
    memory.failures["ListEntries"].append(_UNAVAILABLE)
    assert len(await client.memory.list_entries(page_size=2).collect()) == 4


async def test_arguments_become_what_the_contract_writes(
    client: Client, memory: FakeMemory
) -> None:
    """Words, dates, masks and write tokens are accepted in their natural forms."""
    written = await client.memory.batch_upsert_entries(entries(2), origin="run/1", fencing_epoch=0)
    await client.memory.get_entry(_ENTRY, read_mask=["metrics"], at_least_as_fresh=written)
    upsert, get = (request for request, _ in memory.seen)
    assert isinstance(upsert, pb.BatchUpsertEntriesRequest)
    assert upsert.parent == "orgs/acme"
    assert upsert.HasField("fencing_epoch")
    assert isinstance(get, pb.GetEntryRequest)
    assert list(get.read_mask.paths) == ["metrics"]
    assert get.consistency.at_least_as_fresh == written.write_token == "token-1"


async def test_a_watch_goes_on_after_a_lost_connection(client: Client, memory: FakeMemory) -> None:
    """Every change comes once, in order, across a failure."""
    memory.changes = [pb.WatchEntriesResponse(resume_token=str(n)) for n in range(1, 5)]
    memory.failures["WatchEntries"].append(_UNAVAILABLE)
    tokens = [change.resume_token async for change in client.memory.watch_entries()]
    assert tokens == ["1", "2", "3", "4"]
    resumed = memory.requests(pb.WatchEntriesRequest)[-1]
    assert isinstance(resumed, pb.WatchEntriesRequest)
    assert resumed.resume_token == "1"


async def test_a_watch_that_has_no_token_yet_fails_openly(
    client: Client, memory: FakeMemory
) -> None:
    """Going on without a token would lose changes, so the error is raised."""
    memory.failures["WatchEntries"].append(_UNAVAILABLE)
    with pytest.raises(UnavailableError):
        await anext(client.memory.watch_entries())
