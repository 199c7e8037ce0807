"""Keeps one child process running: start, watch, start again, stop."""

import asyncio
import logging
import subprocess
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, assert_never

from liftos_local.directory import log_tail, rotate_log
from liftos_local.errors import StackStartError
from liftos_local.state import ProcessState, ProcessStatus
from liftos_local.stores import ChildSpec

_ASK_WHILE_STARTING_SECONDS: Final = 0.05
_ASK_WHILE_HEALTHY_SECONDS: Final = 1.0
_PATIENCE_SECONDS: Final = 5.0
_MISSES_ALLOWED: Final = 3
_FIRST_DELAY_SECONDS: Final = 0.1
_LAST_DELAY_SECONDS: Final = 15.0
_FAILURES_UNTIL_FAILED: Final = 3
_STABLE_SECONDS: Final = 30.0
_HURRIED_STOP_SECONDS: Final = 0.6

_log = logging.getLogger(__name__)


class ChildProcesses:
    """Starts processes and learns of their end; the one place that reaps."""

    def __init__(self) -> None:
        self._ends: dict[subprocess.Popen[bytes], asyncio.Future[int]] = {}

    @property
    def pids(self) -> set[int]:
        """Processes that run now."""
        return {process.pid for process in self._ends}

    def start(self, spec: ChildSpec) -> tuple[subprocess.Popen[bytes], "asyncio.Future[int]"]:
        """Start a process in a session of its own; the future gets its exit code."""
        rotate_log(spec.log_file)
        with spec.log_file.open("ab") as log:
            process = subprocess.Popen(
                spec.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=spec.environment,
                cwd="/",
                start_new_session=True,
            )
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._ends[process] = ended
        return process, ended

    def reap(self) -> None:
        """Resolve the futures of the processes that ended; called on SIGCHLD."""
        for process in tuple(self._ends):
            code = process.poll()
            if code is not None:
                ended = self._ends.pop(process)
                if not ended.done():
                    ended.set_result(code)


class Keeper:
    """Keeps the process of one spec alive until `stop`.

    A process that ends is started again after a delay that grows with each failure in a row;
    one that was healthy for a while begins anew with the shortest delay.
    """

    def __init__(
        self, spec: ChildSpec, *, processes: ChildProcesses, on_change: Callable[[], None]
    ) -> None:
        self.spec = spec
        self._processes = processes
        self._on_change = on_change
        self._status = ProcessStatus(
            name=spec.name,
            state=ProcessState.STOPPED,
            since=_now(),
            log_file=str(spec.log_file),
            address=spec.address,
            more_addresses=spec.more_addresses,
        )
        self._settled = asyncio.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._ended: asyncio.Future[int] | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def status(self) -> ProcessStatus:
        """What to tell about the process now."""
        return self._status

    def begin(self) -> None:
        """Start the process and go on keeping it; returns at once."""
        self._launch()
        self._task = asyncio.get_running_loop().create_task(self._keep(), name=self.spec.name)

    async def until_healthy(self, timeout_seconds: float) -> None:
        """Wait for the first time it is healthy.

        Raises:
            StackStartError: it failed, or took too long.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._settled.wait()
        state = self._status.state
        if state is not ProcessState.HEALTHY:
            reason = self._status.detail or f"still {state} after {timeout_seconds:.0f} s"
            log_file = self.spec.log_file
            raise StackStartError(
                self.spec.name, reason, log_file=log_file, log_tail=log_tail(log_file)
            )

    async def stop(self, *, hurry: asyncio.Event) -> None:
        """Stop the process and keep it stopped; kill it when its time is over.

        Args:
            hurry: once set, the time left is a fraction of a second.
        """
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._process is not None and self._ended is not None and not self._ended.done():
            self._process.send_signal(self.spec.stop_signal)
            hurried = asyncio.get_running_loop().create_task(hurry.wait())
            either: tuple[asyncio.Future[Any], ...] = (self._ended, hurried)
            await asyncio.wait(
                either,
                timeout=self.spec.stop_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if hurry.is_set():
                await asyncio.wait([self._ended], timeout=_HURRIED_STOP_SECONDS)
            hurried.cancel()
            if not self._ended.done():
                _log.warning("%s did not stop in time: killed", self.spec.name)
                self._process.kill()
                await self._ended
        self._report(ProcessState.STOPPED)

    def _launch(self) -> None:
        self._process, self._ended = self._processes.start(self.spec)
        self._report(ProcessState.STARTING)

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            healthy_since = await self._watch()
            assert self._ended is not None
            how = _describe_exit(self._ended.result())
            _log.warning("%s %s", self.spec.name, how)
            if healthy_since is not None and loop.time() - healthy_since > _STABLE_SECONDS:
                failures = 0
            delay_seconds = min(_FIRST_DELAY_SECONDS * 2**failures, _LAST_DELAY_SECONDS)
            failures += 1
            if healthy_since is None and failures >= _FAILURES_UNTIL_FAILED:
                self._report(ProcessState.FAILED, how)
                self._settled.set()
            else:
                self._report(ProcessState.UNHEALTHY, how)
            await asyncio.sleep(delay_seconds)
            self._launch()

    async def _watch(self) -> float | None:
        """Ask until the process ends; return since when (loop time) it was healthy."""
        loop = asyncio.get_running_loop()
        ended = self._ended
        assert ended is not None
        healthy_since: float | None = None
        misses = 0
        while not ended.done():
            trouble = await self._ask()
            if ended.done():
                break
            if trouble is None:
                misses = 0
                healthy_since = healthy_since or loop.time()
                self._report(ProcessState.HEALTHY)
                self._settled.set()
            else:
                misses += 1
                if healthy_since is not None and misses >= _MISSES_ALLOWED:
                    self._report(ProcessState.UNHEALTHY, trouble)
            starting = healthy_since is None
            pause = _ASK_WHILE_STARTING_SECONDS if starting else _ASK_WHILE_HEALTHY_SECONDS
            await asyncio.wait([ended], timeout=pause)
        return healthy_since

    async def _ask(self) -> str | None:
        """Return what is wrong; None where all is well."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self.spec.probe()
        except Exception as error:  # any way not to answer is an answer
            return f"{type(error).__name__}: {error}"[:300]
        return None

    def _report(self, state: ProcessState, detail: str | None = None) -> None:
        before = self._status
        match state:
            case ProcessState.STARTING:
                restarts = before.restarts + (before.state is not ProcessState.STOPPED)
                # The reason of a restart stays readable until the process is well again.
                detail = before.detail
            case (
                ProcessState.HEALTHY
                | ProcessState.UNHEALTHY
                | ProcessState.STOPPED
                | ProcessState.FAILED
            ):
                restarts = before.restarts
            case _:
                assert_never(state)
        running = self._ended is not None and not self._ended.done()
        pid = self._process.pid if self._process is not None and running else None
        if (before.state, before.detail, before.pid) == (state, detail, pid):
            return
        troubled = state in (ProcessState.UNHEALTHY, ProcessState.FAILED)
        self._status = ProcessStatus(
            name=before.name,
            state=state,
            since=before.since if before.state is state else _now(),
            log_file=before.log_file,
            address=before.address,
            more_addresses=before.more_addresses,
            pid=pid,
            restarts=restarts,
            detail=detail,
            log_tail=log_tail(self.spec.log_file) if troubled else (),
        )
        self._on_change()


async def run_once(spec: ChildSpec, *, processes: ChildProcesses) -> None:
    """Run a process that is meant to end.

    Raises:
        StackStartError: it ended with another code than 0.
    """
    _, ended = processes.start(spec)
    code = await ended
    if code != 0:
        raise StackStartError(
            spec.name,
            _describe_exit(code),
            log_file=spec.log_file,
            log_tail=log_tail(spec.log_file),
        )


def _describe_exit(code: int) -> str:
    return f"ended by signal {-code}" if code < 0 else f"ended with code {code}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
