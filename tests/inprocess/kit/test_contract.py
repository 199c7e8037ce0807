"""The chain around the services of the contract, none of whose methods is overridden."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import MethodDescriptor
from tests.inprocess.kit.statuses import Refusal, refusal_of

from liftos.memory.v1 import memory_service_pb2_grpc
from liftos_kit.access import requirement_of
from liftos_kit.testing.server import authorization, running_server

SERVICE = "liftos.memory.v1.MemoryService"


def _register(server: grpc.aio.Server) -> None:
    # Abstract to the type checker only, which is how it finds methods that are forgotten.
    generated: Any = memory_service_pb2_grpc.MemoryServiceServicer
    memory_service_pb2_grpc.add_MemoryServiceServicer_to_server(generated(), server)


async def _refusal(
    channel: grpc.aio.Channel, method: MethodDescriptor, metadata: Any = ()
) -> Refusal:
    """Call a method with an empty request and return how it refuses."""
    request: Any = message_factory.GetMessageClass(method.input_type)()
    kind = (
        f"{'stream' if method.client_streaming else 'unary'}"
        f"_{'stream' if method.server_streaming else 'unary'}"
    )

    async def requests() -> AsyncIterator[bytes]:
        yield request.SerializeToString()

    sent: Any = requests() if method.client_streaming else request.SerializeToString()
    call: Any = getattr(channel, kind)(f"/{SERVICE}/{method.name}")(sent, metadata=metadata)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await (call.read() if method.server_streaming else call)
    return refusal_of(caught.value)


async def test_every_method_is_guarded_before_anything_else() -> None:
    """No token, another service's token, too small a role: refused, whatever the request."""
    async with (
        running_server(_register, service_names=[SERVICE]) as running,
        grpc.aio.insecure_channel(running.target) as channel,
    ):
        for method in descriptor_pool.Default().FindServiceByName(SERVICE).methods:
            assert (await _refusal(channel, method)).reason == "ERROR_REASON_TOKEN_MISSING"
            foreign = authorization(scopes=["ingestion"])
            refusal = await _refusal(channel, method, foreign)
            assert refusal.reason == "ERROR_REASON_SCOPE_MISSING"
            lesser = {"reader": (), "writer": ("reader",), "admin": ("writer",)}
            roles = lesser[requirement_of(method).role]
            refusal = await _refusal(channel, method, authorization(roles=roles))
            assert refusal.reason == "ERROR_REASON_ROLE_INSUFFICIENT"


async def test_no_method_pretends() -> None:
    """An empty request breaks a rule, or finds that the method is not built; nothing crashes."""
    async with (
        running_server(_register, service_names=[SERVICE]) as running,
        grpc.aio.insecure_channel(running.target) as channel,
    ):
        for method in descriptor_pool.Default().FindServiceByName(SERVICE).methods:
            refusal = await _refusal(channel, method, authorization())
            assert refusal.reason in {"ERROR_REASON_FIELD_INVALID", "ERROR_REASON_NOT_BUILT"}
