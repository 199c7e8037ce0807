"""A grpc.aio server with one method that does nothing; prints its address."""

from __future__ import annotations

import asyncio

import grpc
import uvloop


async def _nothing(request: bytes, _: object) -> bytes:
    return request


async def main() -> None:
    """Serve until killed."""
    server = grpc.aio.server()
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(_nothing)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("bench.Empty", {"Call": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
