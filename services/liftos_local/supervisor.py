"""The process that keeps a stack alive; the guardian starts it.

It starts the stores side by side, migrates, starts the services, and from then on starts again
what dies; the Causal module, where one runs beside, is started at the same time. All it knows is
written to the state file on every change.
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from liftos_local.directory import DataDirectory, load_secrets, write_atomically
from liftos_local.errors import StackStartError
from liftos_local.keeper import ChildProcesses, Keeper, run_once
from liftos_local.plan import (
    MODULE_POSTGRES,
    STORES,
    Plan,
    ServiceSpec,
    owner_environment,
    process_environment,
    read_plan,
    stack_environment,
)
from liftos_local.probes import PostgresProbe, Probe, health_probe, life_probe
from liftos_local.processes import (
    become_subreaper,
    die_with_parent,
    end_orphans,
    guarded,
    inherited_environment,
)
from liftos_local.state import ProcessState, StackState, StackStatus
from liftos_local.stores import (
    ChildSpec,
    PostgresServer,
    core_postgres,
    core_redis,
    ensure_database,
    initdb_command,
    milvus_child,
    module_postgres,
    module_redis,
    postgres_child,
    postgres_programs,
    prepare_postgres_folder,
)

_START_SECONDS: Final = 60.0
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_log = logging.getLogger(__name__)


class Supervisor:
    """Starts all of a plan, keeps it, stops it, and writes the state file on every change."""

    def __init__(self, plan: Plan, directory: DataDirectory) -> None:
        self._plan = plan
        self._directory = directory
        self._secrets = load_secrets(directory)
        self._processes = ChildProcesses()
        self._stores: list[Keeper] = []
        self._services: list[Keeper] = []
        self._phase = StackState.STARTING
        self._failed_process: str | None = None
        self._detail: str | None = None
        self._stop_requested = asyncio.Event()
        self._hurry = asyncio.Event()

    async def run(self) -> int:
        """Live until asked to stop; return the exit code."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGCHLD, self._on_child_end)
        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, self._on_stop_signal)
        if self._plan.attached:
            loop.add_reader(sys.stdin.fileno(), self._on_caller_end)
        self._publish()
        starting = loop.create_task(self._start())
        stopping = loop.create_task(self._stop_requested.wait())
        await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
        outcome = 0
        if starting.done() and (error := starting.exception()) is not None:
            _log.error("start failed", exc_info=error)
            if isinstance(error, StackStartError):
                self._failed_process, self._detail = error.process, error.reason
            else:
                self._detail = f"{type(error).__name__}: {error}"
            outcome = 1
        elif starting.done():
            self._phase = StackState.HEALTHY
            self._publish()
            await stopping
        starting.cancel()
        stopping.cancel()
        await asyncio.wait([starting, stopping])
        self._phase = StackState.FAILED if outcome else StackState.STOPPING
        await self._stop()
        self._phase = StackState.FAILED if outcome else StackState.STOPPED
        self._publish()
        return outcome

    async def _start(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._start_core())
                if self._plan.module_org is not None:
                    tasks.create_task(self._start_module())
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _start_core(self) -> None:
        plan, directory, secrets = self._plan, self._directory, self._secrets
        # Postgres has most to do before anything can use it, Milvus takes longest to load.
        milvus = self._keep(self._stores, milvus_child(plan, directory))
        redis = self._keep(self._stores, core_redis(plan, directory, secrets))
        await self._start_postgres(core_postgres(secrets))
        await self._start_services(STORES[0], after=(redis, milvus))

    async def _start_module(self) -> None:
        plan, directory, secrets = self._plan, self._directory, self._secrets
        redis = self._keep(self._stores, module_redis(plan, directory, secrets))
        await self._start_postgres(module_postgres(secrets))
        await self._start_services(MODULE_POSTGRES, after=(redis,))

    async def _start_services(self, postgres: str, *, after: Sequence[Keeper]) -> None:
        """Migrate, fill and start what has its database on a server."""
        specs = [spec for spec in self._plan.services if spec.postgres == postgres]
        for spec in specs:
            if spec.migrates:
                await self._run_as_owner(f"{spec.name}-migrate", (spec.module, "migrate"), postgres)
            if spec.fills:
                await self._run_as_owner(f"{spec.name}-fill", spec.fills, postgres)
        for keeper in after:
            await keeper.until_healthy(_START_SECONDS)
        started = [self._keep(self._services, self._service(spec)) for spec in specs]
        for keeper in started:
            await keeper.until_healthy(_START_SECONDS)

    async def _start_postgres(self, server: PostgresServer) -> None:
        programs = postgres_programs(self._directory.store(server.name))
        draft = prepare_postgres_folder(programs)
        if not programs.cluster.exists():
            command, password_file = initdb_command(programs, draft, server.admin_password)
            try:
                await run_once(
                    self._one_shot(f"{server.name}-initdb", command, {}), processes=self._processes
                )
            finally:
                password_file.unlink()
            draft.rename(programs.cluster)
        spec = postgres_child(server, programs, self._plan, self._directory)
        await self._keep(self._stores, spec).until_healthy(_START_SECONDS)
        await ensure_database(server, self._plan)

    async def _stop(self) -> None:
        self._publish()
        for group in (self._services, self._stores):
            for keeper in group:
                if isinstance(keeper.spec.probe, PostgresProbe):
                    await keeper.spec.probe.close()
            await asyncio.gather(*(keeper.stop(hurry=self._hurry) for keeper in group))
        end_orphans(known=())  # a migration that was running, say

    def _keep(self, group: list[Keeper], spec: ChildSpec) -> Keeper:
        keeper = Keeper(spec, processes=self._processes, on_change=self._publish)
        group.append(keeper)
        keeper.begin()
        return keeper

    def _service(self, spec: ServiceSpec) -> ChildSpec:
        address = self._plan.address(spec.name) if spec.listens else None
        probe: Probe = life_probe
        if address is not None and spec.health_service is not None:
            probe = health_probe(address, spec.health_service)
        return ChildSpec(
            name=spec.name,
            command=_python_module(
                spec.module, *(each.format_map(self._plan.ports) for each in spec.arguments)
            ),
            log_file=self._directory.log_file(spec.name),
            probe=probe,
            address=address,
            stop_signal=signal.SIGTERM,
            stop_seconds=spec.drain_seconds,
            more_addresses={name: self._plan.address(name) for name in spec.ports},
            environment=_python_environment()
            | process_environment(spec, self._plan, self._directory, self._secrets),
        )

    async def _run_as_owner(self, name: str, command: Sequence[str], postgres: str) -> None:
        environment = (
            _python_environment()
            | stack_environment(self._plan, self._directory, self._secrets)
            | owner_environment(self._plan, self._secrets, server=postgres)
        )
        spec = self._one_shot(name, _python_module(*command), environment)
        await run_once(spec, processes=self._processes)

    def _one_shot(
        self, name: str, command: tuple[str, ...], environment: dict[str, str]
    ) -> ChildSpec:
        return ChildSpec(
            name=name,
            command=command,
            log_file=self._directory.log_file(name),
            probe=life_probe,
            address=None,
            stop_signal=signal.SIGTERM,
            stop_seconds=5,
            environment=inherited_environment() | environment,
        )

    def _on_child_end(self) -> None:
        self._processes.reap()
        end_orphans(self._processes.pids)

    def _on_caller_end(self) -> None:
        # Nobody writes to the pipe: readable means that its other end is gone.
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        self._hurry.set()
        self._stop_requested.set()

    def _on_stop_signal(self) -> None:
        if self._stop_requested.is_set():
            self._hurry.set()
        self._stop_requested.set()

    def _publish(self) -> None:
        state = self._phase
        processes = tuple(keeper.status for keeper in (*self._stores, *self._services))
        if state is StackState.HEALTHY and any(
            entry.state is not ProcessState.HEALTHY for entry in processes
        ):
            state = StackState.UNHEALTHY
        status = StackStatus(
            data_dir=str(self._directory.root),
            state=state,
            supervisor_pid=os.getpid(),
            failed_process=self._failed_process,
            detail=self._detail,
            processes=processes,
        )
        write_atomically(self._directory.state_file, status.to_json())


def main(arguments: Sequence[str]) -> int:
    """Supervise the stack of a data directory; return the exit code."""
    data_dir, guardian_pid = arguments
    die_with_parent(int(guardian_pid), signal.SIGTERM)
    become_subreaper()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    directory = DataDirectory(Path(data_dir))
    return asyncio.run(Supervisor(read_plan(directory), directory).run())


def _python_module(module: str, *arguments: str) -> tuple[str, ...]:
    return guarded((sys.executable, "-m", module, *arguments))


def _python_environment() -> dict[str, str]:
    return inherited_environment() | {
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "PYTHONUNBUFFERED": "1",
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
