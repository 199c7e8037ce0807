"""Requests are held against the contract, and answered with every broken rule."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from tests.inprocess.kit.echo_service import Echo, Stub, authorization
from tests.inprocess.kit.statuses import refusal_of

from liftos_kit.testing.server import authorization as member

WRONG = Echo(count=-1, labels=["long", "x"])
VIOLATIONS = (("count", "int64.gte"), ("labels[1]", "string.min_len"))


async def test_every_broken_rule_is_named(stub: Stub) -> None:
    """Field paths have indexes, rules have ids, and one call tells them all."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.read(WRONG, metadata=authorization())
    refusal = refusal_of(caught.value)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.reason == "ERROR_REASON_FIELD_INVALID"
    assert refusal.violations == VIOLATIONS


async def test_each_message_of_a_stream_is_checked(stub: Stub) -> None:
    """A stream ends at its first wrong message, after answers to the good ones."""

    async def requests() -> AsyncIterator[Any]:
        yield Echo(text="good")
        yield WRONG
        yield Echo(text="never reached")

    call = stub.chat(requests(), metadata=authorization())
    assert (await call.read()).text == "good"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert refusal_of(caught.value).violations == VIOLATIONS
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.collect(requests(), metadata=authorization())
    assert refusal_of(caught.value).violations == VIOLATIONS


async def test_strangers_learn_nothing_about_rules(stub: Stub) -> None:
    """A call without the scope is refused for that, not for its content."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.read(WRONG, metadata=member(scopes=()))
    assert refusal_of(caught.value).reason == "ERROR_REASON_SCOPE_MISSING"


async def test_a_message_over_the_limit_is_resource_exhausted(stub: Stub) -> None:
    """16 MiB is gRPC's own limit on a message of ours."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.read(Echo(text="x" * (17 * 1024 * 1024)), metadata=authorization())
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
