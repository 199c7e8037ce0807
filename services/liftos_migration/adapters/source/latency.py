"""How fast a module answers while it is moved."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_PROBES_AT_A_TIME: Final = 5
_REMEMBERED: Final = 50
"""Answers that count: those of about the last ten seconds, five each second."""
_SHARE: Final = 0.95
_LIMITS_WAITED: Final = 2
"""What does not answer within so many times the limit counts as that."""


class ModuleLatency:
    """Measures the answers of modules; see `liftos_migration.usecases.catching_up.CatchingUp`.

    A module that has a probe target is asked for its health, as the standard service tells it;
    of any other one, a row of its first table is read.
    """

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str], deque[float]] = {}
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def __call__(self, context: Any) -> float | None:  # noqa: ANN401 - that of a step
        """Return the 95th percentile of recent answers, in seconds; None where no limit is set."""
        limit = context.throttle().maximum_source_latency
        if limit is None:
            return None
        answers = self._answers.setdefault(
            (context.org, context.migration), deque(maxlen=_REMEMBERED)
        )
        most = limit.total_seconds() * _LIMITS_WAITED
        target = context.spec.source.probe_target
        if target:
            for _ in range(_PROBES_AT_A_TIME):
                answers.append(await _timed(lambda: self._health(target, most), most))
        else:
            table = context.mapping.tables[0].table
            async with context.source.connect() as connection:
                for _ in range(_PROBES_AT_A_TIME):
                    answers.append(await _timed(lambda: _row(connection, table), most))
                    if answers[-1] >= most:
                        # Its statement was broken off, and the connection with it.
                        break
        return sorted(answers)[int(len(answers) * _SHARE)]

    async def close(self) -> None:
        """Close the connections to modules."""
        for channel in self._channels.values():
            await channel.close()

    async def _health(self, target: str, most: float) -> None:
        if target not in self._channels:
            self._channels[target] = grpc.aio.insecure_channel(target)
        channel = self._channels[target]
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            await stub.Check(health_pb2.HealthCheckRequest(), timeout=most)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                raise TimeoutError from error
            # Any other status is an answer: it was as fast as it was.


async def _row(connection: Any, table: str) -> None:  # noqa: ANN401 - the source's
    await connection.fetchval(f"/* latency */ select 1 from {table} limit 1")  # noqa: S608 - a name


async def _timed(ask: Callable[[], Awaitable[None]], most: float) -> float:
    now = asyncio.get_running_loop().time
    began = now()
    try:
        async with asyncio.timeout(most):
            await ask()
    except TimeoutError:
        return most
    return min(now() - began, most)
