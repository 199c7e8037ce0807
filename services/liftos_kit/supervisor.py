"""Several server processes on one port: started, watched, started again, ended together.

The parent starts itself again for each worker, because a process that has used gRPC, threads or a
loop cannot be forked safely. A pipe that only the parent can write to tells workers of its death.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Final

import structlog

from liftos_kit.core.retry import Backoff

START_FAILED: Final = 2
"""Exit code of a server that could not start; starting it again would not help."""

_VARIABLE: Final = "_LIFTOS_WORKER"
_POLL_SECONDS: Final = 0.05
_STEADY_SECONDS: Final = 10.0

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.supervisor")


@dataclass(frozen=True, slots=True)
class Worker:
    """This process, if it is one of several.

    Attributes:
        index: From 0, the same after a restart.
        parent_pipe: Readable end of the parent's pipe.
    """

    index: int
    parent_pipe: int

    def on_parent_death(self, callback: Callable[[], None]) -> None:
        """Call back on the running loop when the parent has died, in whatever way."""
        loop = asyncio.get_running_loop()

        def ended() -> None:
            loop.remove_reader(self.parent_pipe)
            callback()

        # Nothing is ever written: readable means that the other end is closed.
        loop.add_reader(self.parent_pipe, ended)


def current_worker() -> Worker | None:
    """Return which worker this process is, or None if it is none."""
    value = os.environ.get(_VARIABLE)
    if value is None:
        return None
    index, _, parent_pipe = value.partition(":")
    return Worker(int(index), int(parent_pipe))


def supervise(count: int, *, kill_after_seconds: float) -> int:
    """Keep `count` workers running until a signal.

    Args:
        count: How many.
        kill_after_seconds: Time that workers have to end after the first signal.

    Returns:
        0 after all ended by the signal, `START_FAILED` if one could not start, 1 if any had to be
        killed.
    """
    return _Supervisor(count, kill_after_seconds).run()


@dataclass(slots=True)
class _Child:
    process: "subprocess.Popen[bytes]"
    started_at: float


class _Supervisor:
    def __init__(self, count: int, kill_after_seconds: float) -> None:
        self._count = count
        self._kill_after_seconds = kill_after_seconds
        self._children: dict[int, _Child] = {}
        self._restart_at: dict[int, float] = {}
        self._failures: dict[int, int] = {}
        self._signals = 0
        self._reader, self._writer = os.pipe()

    def run(self) -> int:
        previous = {
            number: signal.signal(number, self._on_signal)
            for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            for index in range(self._count):
                self._start(index)
            while not self._signals:
                if self._restart_dead() is START_FAILED:
                    self._end()
                    return START_FAILED
                time.sleep(_POLL_SECONDS)
            return self._end()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            os.close(self._reader)
            os.close(self._writer)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._signals += 1

    def _start(self, index: int) -> None:
        process = subprocess.Popen(
            [sys.executable, *sys.orig_argv[1:]],
            env={**os.environ, _VARIABLE: f"{index}:{self._reader}"},
            pass_fds=(self._reader,),
            # Ctrl-C reaches the parent alone, which passes it on once.
            start_new_session=True,
        )
        self._children[index] = _Child(process, time.monotonic())
        _log.info("worker_started", index=index, pid=process.pid)

    def _restart_dead(self) -> int | None:
        now = time.monotonic()
        for index, child in tuple(self._children.items()):
            code = child.process.poll()
            if code is None:
                continue
            del self._children[index]
            if code == START_FAILED:
                return START_FAILED
            steady = now - child.started_at >= _STEADY_SECONDS
            failures = 0 if steady else self._failures.get(index, 0) + 1
            self._failures[index] = failures
            wait = 0.0 if failures <= 1 else Backoff().bound_seconds(failures - 2)
            self._restart_at[index] = now + wait
            _log.error(
                "worker_died", index=index, pid=child.process.pid, code=code, restart_seconds=wait
            )
        for index, due in tuple(self._restart_at.items()):
            if now >= due:
                del self._restart_at[index]
                self._start(index)
        return None

    def _end(self) -> int:
        for child in self._children.values():
            child.process.terminate()
        give_up_at = time.monotonic() + self._kill_after_seconds
        signals = self._signals
        killed = False
        while any(child.process.poll() is None for child in self._children.values()):
            if not killed and (self._signals > signals or time.monotonic() >= give_up_at):
                killed = True
                for child in self._children.values():
                    child.process.kill()
            time.sleep(_POLL_SECONDS)
        return 1 if killed else 0
