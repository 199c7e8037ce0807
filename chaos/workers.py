"""Processes of Ingestion on a running stack, whose workers are killed at random."""

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from liftos_local.processes import guarded, inherited_environment

_LONGEST_START_SECONDS: Final = 60.0
_SHORTEST_LIFE_SECONDS: Final = 4.0
_LONGEST_LIFE_SECONDS: Final = 25.0
_TAIL: Final = 4000
"""Characters of a log that are shown."""

WORKERS: Final = 2


class Workers:
    """Worker processes, each of which is started again when it was killed.

    Args:
        environment: Of each.
        folder: For their logs.
        chance: When who is killed.
    """

    def __init__(self, environment: Mapping[str, str], folder: Path, chance: random.Random) -> None:
        self._environment = environment
        self._folder = folder
        self._chance = chance
        self._processes: list[asyncio.subprocess.Process] = []
        self.kills = 0

    async def start(self) -> None:
        """Start all."""
        for number in range(WORKERS):
            self._processes.append(await self._started(number))

    async def kill_at_random(self) -> None:
        """Kill one after the other with signal 9, until cancelled."""
        while True:
            await asyncio.sleep(self._chance.uniform(_SHORTEST_LIFE_SECONDS, _LONGEST_LIFE_SECONDS))
            number = self._chance.randrange(WORKERS)
            process = self._processes[number]
            if process.returncode is not None:
                log = self._log(number).read_text()
                raise RuntimeError(
                    f"a worker ended by itself with {process.returncode}:\n{log[-_TAIL:]}"
                )
            process.kill()
            await process.wait()
            self.kills += 1
            self._processes[number] = await self._started(number)

    async def stop(self) -> None:
        """Kill all; what they were at is of no more interest."""
        for process in self._processes:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def _started(self, number: int) -> asyncio.subprocess.Process:
        return await _start("worker", self._environment, self._log(number))

    def _log(self, number: int) -> Path:
        return self._folder / f"worker-{number}.log"


@asynccontextmanager
async def ingestion_server(environment: Mapping[str, str], folder: Path) -> AsyncIterator[None]:
    """Migrate, and run Ingestion's server while inside."""
    migration = await _start("migrate", environment, folder / "migrate.log")
    if await migration.wait():
        raise RuntimeError((folder / "migrate.log").read_text())
    log = folder / "server.log"
    server = await _start("serve", environment, log)
    try:
        async with asyncio.timeout(_LONGEST_START_SECONDS):
            host, _, port = f"127.0.0.1:{environment['LIFTOS_PORT']}".partition(":")
            while not await _answers(host, int(port)):
                if server.returncode is not None:
                    raise RuntimeError(log.read_text())
                await asyncio.sleep(0.1)
        yield
    finally:
        if server.returncode is None:
            server.terminate()
            await server.wait()


async def _answers(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def _start(
    command: str, environment: Mapping[str, str], log: Path
) -> asyncio.subprocess.Process:
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            *guarded((sys.executable, "-m", "liftos_ingestion", command)),
            env={**inherited_environment(), **environment},
            stdout=output,
            stderr=output,
        )
