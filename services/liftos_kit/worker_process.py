"""The process of a service's worker: telemetry, signals, metrics, and an exit code."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
import uvloop

from liftos_kit import telemetry
from liftos_kit.garbage_collection import collect_rarely
from liftos_kit.ports import check_free
from liftos_kit.settings import ServiceSettings
from liftos_kit.supervisor import START_FAILED

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.worker")


def work(
    name: str, settings: ServiceSettings, until_stopped: Callable[[asyncio.Event], Awaitable[None]]
) -> int:
    """Work until a signal.

    Args:
        name: Of the process in logs, traces and metrics.
        settings: Where its metrics are served, and how it logs.
        until_stopped: Does the work, and returns soon after its event is set.

    Returns:
        The exit code: 0 after a clean end, 2 if the worker could not start or go on.
    """
    return uvloop.run(_work(name, settings, until_stopped))


async def _work(
    name: str, settings: ServiceSettings, until_stopped: Callable[[asyncio.Event], Awaitable[None]]
) -> int:
    configured = telemetry.configure(name, telemetry.settings_of(settings))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    metrics_server: telemetry.MetricsServer | None = None
    try:
        port = settings.effective_metrics_port
        if port:
            check_free(settings.host, port)
        metrics_server = configured.start_metrics_server(port, settings.host)
        collect_rarely()
        await until_stopped(stop)
    except Exception as error:
        _log.error("worker_failed", error=str(error), exc_info=True)
        return START_FAILED
    else:
        _log.info("stopped", service=name)
        return 0
    finally:
        if metrics_server is not None:
            metrics_server.close()
        await asyncio.to_thread(configured.shutdown)
