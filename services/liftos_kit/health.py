"""Health as it is: the process lives, each store answers, a service has the stores it needs.

Names of grpc.health.v1: `""` is the process (liveness), a service's full name is its readiness,
and each store has a name of its own.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio as health_aio

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.health")

_STATUS: Final = {
    True: health_pb2.HealthCheckResponse.SERVING,
    False: health_pb2.HealthCheckResponse.NOT_SERVING,
}


@dataclass(frozen=True, slots=True)
class StoreProbe:
    """A question that a store answers if it works.

    Attributes:
        name: Name of the store in health checks, as `postgres`.
        ask: Returns if the store answers, raises if not.
        is_required: Whether the service is not ready without it; a store that only some reads
            need must not take the whole service out of rotation.
        timeout_seconds: Longest wait for the answer.
    """

    name: str
    ask: Callable[[], Awaitable[object]]
    is_required: bool = True
    timeout_seconds: float = 2.0


class HealthMonitor:
    """Asks the stores again and again, and tells the health service.

    Args:
        servicer: The health service.
        service_names: Services that need the required stores.
        probes: The stores.
        interval_seconds: Pause between two rounds.
    """

    def __init__(
        self,
        servicer: health_aio.HealthServicer,
        *,
        service_names: Sequence[str],
        probes: Sequence[StoreProbe],
        interval_seconds: float = 2.0,
    ) -> None:
        self._servicer = servicer
        self._service_names = tuple(service_names)
        self._probes = tuple(probes)
        self._interval_seconds = interval_seconds
        self._states: dict[str, bool] = {}

    async def check(self) -> None:
        """Ask every store once, all at the same time, and publish the answers."""
        answers = await asyncio.gather(*(_answers(probe) for probe in self._probes))
        states = dict(zip((probe.name for probe in self._probes), answers, strict=True))
        ready = all(states[probe.name] for probe in self._probes if probe.is_required)
        states.update(dict.fromkeys(self._service_names, ready))
        for name, state in states.items():
            if self._states.get(name) != state:
                _log.info("health_changed", name=name, serving=state)
                await self._servicer.set(name, _STATUS[state])
        self._states = states

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            await asyncio.sleep(self._interval_seconds)
            await self.check()


async def _answers(probe: StoreProbe) -> bool:
    try:
        async with asyncio.timeout(probe.timeout_seconds):
            await probe.ask()
    except Exception as error:  # whatever a driver raises, the store did not answer
        _log.debug("probe_failed", store=probe.name, error=type(error).__name__)
        return False
    return True
