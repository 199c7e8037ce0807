"""Every exception of a handler reaches the caller as the one status it should."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from tests.inprocess.kit.echo_service import Behaviours, Context, Echo, Stub, authorization
from tests.inprocess.kit.statuses import Refusal, refusal_of

from liftos_kit.core.errors import DomainError, NotFoundError, StoreUnavailableError

SECRET_TEXT = "password=hunter2 host=db.internal"


def _raising(error: BaseException) -> Behaviours:
    async def unary(request: Any, context: Context) -> Any:
        raise error

    async def watch(request: Any, context: Context) -> AsyncIterator[Any]:
        yield request
        raise error

    async def collect(requests: AsyncIterator[Any], context: Context) -> Any:
        async for _ in requests:
            raise error

    async def chat(requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        async for request in requests:
            yield request
            raise error

    return Behaviours(unary=unary, watch=watch, collect=collect, chat=chat)


async def _refusals(stub: Stub) -> list[Refusal]:
    """Call each kind of method and return how each ends."""

    async def requests() -> AsyncIterator[Any]:
        yield Echo(text="a")

    async def drained(call: Any) -> None:
        async for _ in call:
            pass

    metadata = authorization()
    found = []
    for call in (
        stub.read(Echo(), metadata=metadata),
        drained(stub.watch(Echo(), metadata=metadata)),
        stub.collect(requests(), metadata=metadata),
        drained(stub.chat(requests(), metadata=metadata)),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        found.append(refusal_of(caught.value))
    return found


def _replace(behaviours: Behaviours, other: Behaviours) -> None:
    vars(behaviours).update(vars(other))


async def test_a_domain_error_carries_its_details_in_all_four_kinds(
    stub: Stub, behaviours: Behaviours
) -> None:
    """Unary answers and streams in their midst end with code, reason, metadata and retry time."""
    _replace(behaviours, _raising(StoreUnavailableError("milvus", retry_after_seconds=1.5)))
    expected = Refusal(
        code=grpc.StatusCode.UNAVAILABLE,
        message="The store milvus does not answer; try again.",
        reason="ERROR_REASON_STORE_UNAVAILABLE",
        domain="liftos.dev",
        metadata={"store": "milvus"},
        retry_seconds=1.5,
    )
    assert [expected] * 4 == await _refusals(stub)


async def test_internals_never_leak(stub: Stub, behaviours: Behaviours) -> None:
    """A bug's text, type and traceback stay on the server; the caller gets one fixed sentence."""
    _replace(behaviours, _raising(RuntimeError(SECRET_TEXT)))
    for refusal in await _refusals(stub):
        assert refusal.code is grpc.StatusCode.INTERNAL
        assert refusal.reason == "ERROR_REASON_INTERNAL"
        assert "hunter2" not in repr(refusal)
        assert "RuntimeError" not in repr(refusal)


async def test_an_abort_of_the_handler_passes_unchanged(stub: Stub, behaviours: Behaviours) -> None:
    """AbortError is an Exception, and must not be taken for a bug."""

    async def unary(request: Any, context: Context) -> Any:
        await context.abort(grpc.StatusCode.DATA_LOSS, "said by the handler")

    behaviours.unary = unary
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.read(Echo(), metadata=authorization())
    assert caught.value.code() is grpc.StatusCode.DATA_LOSS
    assert caught.value.details() == "said by the handler"


async def test_cancellation_reaches_the_handler(stub: Stub, behaviours: Behaviours) -> None:
    """A caller that gives up cancels the work, and nothing turns that into an error."""
    began, ended = asyncio.Event(), asyncio.Event()

    async def unary(request: Any, context: Context) -> Any:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    behaviours.unary = unary
    call = stub.read(Echo(), metadata=authorization())
    waiting = asyncio.ensure_future(_await(call))
    await began.wait()
    call.cancel()
    await asyncio.wait_for(ended.wait(), 5)
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def _await(call: Any) -> Any:
    return await call


async def test_bytes_of_another_message_are_a_violation(stub: Stub) -> None:
    """What cannot be decoded is the caller's fault, and says nothing of our types."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.raw(b"\xff\xff\xff", metadata=authorization())
    refusal = refusal_of(caught.value)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.violations == (("", "wire_format"),)


async def test_a_method_that_is_not_overridden_says_so(stub: Stub, behaviours: Behaviours) -> None:
    """The default of generated servicers answers UNIMPLEMENTED with NOT_BUILT."""

    def unary(request: Any, context: Context) -> Any:
        context.set_code(grpc.StatusCode.UNIMPLEMENTED)
        context.set_details("Method not implemented!")
        raise NotImplementedError("Method not implemented!")

    behaviours.unary = unary
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.read(Echo(), metadata=authorization())
    refusal = refusal_of(caught.value)
    assert refusal.code is grpc.StatusCode.UNIMPLEMENTED
    assert refusal.reason == "ERROR_REASON_NOT_BUILT"
    assert refusal.message.endswith("EchoService/Read is not part of this version yet.")


async def test_a_not_implemented_error_from_inside_is_a_fault(
    stub: Stub, behaviours: Behaviours
) -> None:
    """Only the generated default means NOT_BUILT; the same error from a library is a bug."""
    _replace(behaviours, _raising(NotImplementedError()))
    assert {each.code for each in await _refusals(stub)} == {grpc.StatusCode.INTERNAL}


async def test_an_unknown_method_is_unimplemented(stub: Stub) -> None:
    """The chain leaves methods alone that do not exist."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.missing(b"", metadata=authorization())
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    "error", [NotFoundError("orgs/acme/entries/" + "x" * 100_000)], ids=["long message"]
)
async def test_long_errors_fit_into_trailers(
    stub: Stub, behaviours: Behaviours, error: DomainError
) -> None:
    """However much an error says, the client can read it."""
    _replace(behaviours, _raising(error))
    assert {each.code for each in await _refusals(stub)} == {grpc.StatusCode.NOT_FOUND}


async def test_five_hundred_wrong_rows_are_answered(stub: Stub) -> None:
    """Violations are cut to what trailers hold, and their number is told."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.read(Echo(labels=["ö"] * 500), metadata=authorization())
    refusal = refusal_of(caught.value)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.violations[0] == ("labels[0]", "string.min_len")
    assert refusal.metadata == {"violation_count": "500"}
