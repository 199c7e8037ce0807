"""Start, watch and stop the embedded stack: what the command line and the tests call."""

import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Final, Self

from liftos_local.directory import (
    DataDirectory,
    is_locked,
    load_secrets,
    log_tail,
    prepare,
    rotate_log,
    try_lock,
)
from liftos_local.errors import AlreadyRunningError, LocalStackError, StackStartError
from liftos_local.plan import (
    ADMIN_ROLE,
    MODULE_STORES,
    SERVICES,
    STORES,
    Plan,
    ServiceSpec,
    causal_services,
    owner_environment,
    read_plan,
    source_environment,
    stack_environment,
    write_plan,
)
from liftos_local.ports import PortPlan, choose_ports
from liftos_local.state import ProcessState, StackState, StackStatus, read_status
from liftos_local.stores import check_programs

Progress = Callable[[str, str], None]

_POLL_SECONDS: Final = 0.02
_WAIT_POLL_SECONDS: Final = 0.2
_STOP_PATIENCE_SECONDS: Final = 60.0
_KILL_PATIENCE_SECONDS: Final = 5.0
_FOREGROUND_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stack:
    """A running stack that ends with this process; use it as a context manager."""

    def __init__(self, directory: DataDirectory, guardian: subprocess.Popen[bytes]) -> None:
        self._directory = directory
        self._guardian = guardian
        self._plan = read_plan(directory)
        self._secrets = load_secrets(directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def data_dir(self) -> Path:
        """The data directory."""
        return self._directory.root

    @property
    def addresses(self) -> dict[str, str]:
        """Address as 127.0.0.1:port by name, of every store and service that listens."""
        return self.status().addresses

    @property
    def environment(self) -> dict[str, str]:
        """The `LIFTOS_*` variables of a service process; it adds its own ports.

        `LIFTOS_POSTGRES_OWNER_URL` is among them, for whoever migrates.
        """
        shared = stack_environment(self._plan, self._directory, self._secrets)
        return shared | owner_environment(self._plan, self._secrets)

    @property
    def source_environment(self) -> dict[str, str]:
        """`CAUSAL_DATABASE_URL` and `CAUSAL_REDIS_URL` of the Causal module that runs beside."""
        return source_environment(self._plan, self._secrets)

    def postgres_admin_url(self, database: str = "postgres") -> str:
        """Address of a database for Postgres' superuser: for tests, never for a service."""
        return self._plan.postgres_url(ADMIN_ROLE, self._secrets.postgres_admin_password, database)

    def status(self) -> StackStatus:
        """Say how every process is."""
        return read_status(self._directory.root)

    def wait(self) -> StackStatus:
        """Stay until a signal asks to stop, or the stack ended by itself; return its last state.

        Call it from the main thread. SIGINT, SIGTERM and SIGHUP end the wait; the caller stops
        the stack then.
        """
        asked: list[int] = []

        def ask(number: int, _frame: FrameType | None) -> None:
            asked.append(number)

        before = {number: signal.signal(number, ask) for number in _FOREGROUND_SIGNALS}
        try:
            while not asked and (self._guardian.poll() is None or is_locked(self._directory)):
                # Short naps: a signal that arrives before the nap does not cut it short.
                time.sleep(_WAIT_POLL_SECONDS)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return self.status()

    def stop(self) -> None:
        """Stop all processes in order and wait for their end; nothing to do the second time.

        Interrupted (a second Ctrl-C), it kills what has not stopped yet.
        """
        try:
            if self._guardian.poll() is None:
                self._guardian.terminate()
            self._guardian.wait(_STOP_PATIENCE_SECONDS)
        finally:
            _abandon(self._guardian)


def start(
    data_dir: Path,
    *,
    ports: PortPlan,
    stores_only: bool = False,
    services: Sequence[str] = tuple(SERVICES),
    catalogue: Mapping[str, ServiceSpec] = SERVICES,
    settings: Mapping[str, str] | None = None,
    module_org: str | None = None,
    durable: bool = True,
    on_progress: Progress | None = None,
) -> Stack:
    """Start a stack that ends with this process, and return once all of it is healthy.

    Args:
        data_dir: made where it does not exist; data of an earlier start is taken up.
        ports: which ports to listen on.
        stores_only: start no services.
        services: names in the catalogue, in the order of their start.
        catalogue: what can be started.
        settings: `LIFTOS_*` variables for the services that the stack does not set itself,
            such as `LIFTOS_LOG_LEVEL`.
        module_org: run the Causal module of this organisation as well, on stores of its own that
            hold two years of sample data, and its other side on Core.
        durable: False lets the stores lose data when the machine dies (faster; for tests).
        on_progress: called with a process and its new state, in this thread.

    Raises:
        LocalStackError: one of its kinds; nothing is left running then.
    """
    chosen = () if stores_only else tuple(catalogue[name] for name in services)
    directory, guardian = _launch(
        data_dir,
        ports=ports,
        services=chosen,
        settings=settings,
        module_org=module_org,
        durable=durable,
        attached=True,
    )
    try:
        _await_healthy(directory, on_progress)
    except BaseException:
        _abandon(guardian)
        raise
    return Stack(directory, guardian)


def up(
    data_dir: Path,
    *,
    ports: PortPlan,
    stores_only: bool = False,
    services: Sequence[str] = tuple(SERVICES),
    catalogue: Mapping[str, ServiceSpec] = SERVICES,
    settings: Mapping[str, str] | None = None,
    module_org: str | None = None,
    on_progress: Progress | None = None,
    detach: bool = True,
) -> StackStatus:
    """Start a stack; see `start` for the arguments.

    Returns:
        Detached: the state once all is healthy; the stack lives on until `down`.
        Else: the last state, after a signal ended it and all is stopped.
    """
    if not detach:
        with start(
            data_dir,
            ports=ports,
            stores_only=stores_only,
            services=services,
            catalogue=catalogue,
            settings=settings,
            module_org=module_org,
            on_progress=on_progress,
        ) as stack:
            return stack.wait()
    chosen = () if stores_only else tuple(catalogue[name] for name in services)
    directory, launcher = _launch(
        data_dir,
        ports=ports,
        services=chosen,
        settings=settings,
        module_org=module_org,
        durable=True,
        attached=False,
    )
    launcher.wait()
    try:
        return _await_healthy(directory, on_progress)
    except KeyboardInterrupt:
        down(directory.root)
        raise


def down(data_dir: Path) -> bool:
    """Stop the stack of a data directory and wait until nothing of it lives.

    Returns:
        Whether one was running.
    """
    directory = DataDirectory(data_dir.absolute())
    if not is_locked(directory):
        return False
    for number, patience_seconds in (
        (signal.SIGTERM, _STOP_PATIENCE_SECONDS),
        (signal.SIGKILL, _KILL_PATIENCE_SECONDS),
    ):
        deadline = time.monotonic() + patience_seconds
        signalled: int | None = None
        while time.monotonic() < deadline:
            # The state file appears a moment after the lock is taken.
            pid = read_status(directory.root).supervisor_pid
            if pid is not None and pid != signalled:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
                signalled = pid
            if not is_locked(directory):
                return True
            time.sleep(_POLL_SECONDS)
    raise LocalStackError(
        f"a process still holds {directory.lock_file}; find it with `fuser {directory.lock_file}`"
    )


def status(data_dir: Path) -> StackStatus:
    """Say how the stack of a data directory is, whoever started it."""
    return read_status(data_dir)


def _launch(
    data_dir: Path,
    *,
    ports: PortPlan,
    services: Sequence[ServiceSpec],
    settings: Mapping[str, str] | None,
    module_org: str | None,
    durable: bool,
    attached: bool,
) -> tuple[DataDirectory, subprocess.Popen[bytes]]:
    directory = prepare(data_dir)
    lock = try_lock(directory)
    if lock is None:
        raise AlreadyRunningError(directory.root, read_status(directory.root).supervisor_pid)
    try:
        check_programs(directory)
        load_secrets(directory)
        stores: tuple[str, ...] = STORES
        if module_org is not None:
            stores, services = STORES + MODULE_STORES, (*services, *causal_services(module_org))
        names = [*stores, *(name for spec in services for name in spec.port_names)]
        with choose_ports(ports, names, directory=directory) as chosen:
            plan = Plan(
                ports=chosen.numbers,
                services=services,
                durable=durable,
                attached=attached,
                settings=settings or {},
                module_org=module_org,
            )
            write_plan(plan, directory)
            directory.state_file.unlink(missing_ok=True)
            log_file = directory.log_file("supervisor")
            rotate_log(log_file)
            command = [sys.executable, "-m", "liftos_local.guardian"]
            with log_file.open("ab") as log:
                guardian = subprocess.Popen(
                    [
                        *command,
                        str(directory.root),
                        str(lock),
                        "attached" if attached else "detached",
                    ],
                    # The supervisor learns from this pipe that we are gone.
                    stdin=subprocess.PIPE if attached else subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=os.environ | {"PYTHONPATH": _import_roots()},
                    cwd="/",
                    start_new_session=True,
                    # The guardian holds the ports as long as it lives.
                    pass_fds=[lock, *chosen.descriptors],
                )
    finally:
        os.close(lock)
    return directory, guardian


def _await_healthy(directory: DataDirectory, on_progress: Progress | None) -> StackStatus:
    told: dict[str, ProcessState] = {}
    while True:
        seen = read_status(directory.root)
        for entry in seen.processes:
            if on_progress is not None and told.get(entry.name) is not entry.state:
                on_progress(entry.name, entry.state)
                told[entry.name] = entry.state
        if seen.state is StackState.HEALTHY:
            return seen
        if not is_locked(directory):
            raise _start_error(directory)
        time.sleep(_POLL_SECONDS)


def _start_error(directory: DataDirectory) -> StackStartError:
    seen = read_status(directory.root)
    process = seen.failed_process or "supervisor"
    log_file = directory.log_file(process)
    return StackStartError(
        process,
        seen.detail or "ended before the stack was healthy",
        log_file=log_file,
        log_tail=log_tail(log_file),
    )


def _abandon(guardian: subprocess.Popen[bytes]) -> None:
    """Close the pipe, which makes the supervisor stop all at once, and wait."""
    if guardian.stdin is not None:
        guardian.stdin.close()
    try:
        guardian.wait(_KILL_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        guardian.kill()
        guardian.wait()


def _import_roots() -> str:
    """Return where Python finds our packages beside its own, for the children."""
    own = {
        Path(path).resolve()
        for name, path in sysconfig.get_paths().items()
        if name in ("stdlib", "platstdlib", "purelib", "platlib")
    }
    roots = [str(Path(__file__).resolve().parents[1])]
    for entry in sys.path:
        folder = Path(entry).resolve()
        if (
            folder.is_dir()
            and str(folder) not in roots
            and not own.intersection((folder, *folder.parents))
        ):
            roots.append(str(folder))
    return os.pathsep.join(roots)
