"""The outermost process of a stack: `python -m liftos_local.guardian DIRECTORY LOCK attached`.

It starts the supervisor and waits. Whatever happens to the supervisor, every descendant it
leaves behind is handed to the guardian, which ends it. Each child of the supervisor also asks
the kernel to be ended with its parent, so not even the death of both leaves a store running.
The lock on the data directory is open in both: it is free exactly when nothing lives any more.
The sockets that hold the stack's ports are open in the guardian alone, so that no other stack
chooses a port whose process is about to start or to come back.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import Final

from liftos_local.processes import become_subreaper, children_of

_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_LEFT_BEHIND_SECONDS: Final = 0.8


def main(arguments: Sequence[str]) -> int:
    """Guard one supervisor; return its exit code."""
    data_dir, lock_descriptor, mode = arguments
    if mode == "detached" and os.fork() != 0:
        return 0  # the caller waits for this one only
    become_subreaper()
    supervisor = subprocess.Popen(
        [sys.executable, "-m", "liftos_local.supervisor", data_dir, str(os.getpid())],
        pass_fds=[int(lock_descriptor)],
    )

    def forward(number: int, _frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(supervisor.pid, number)

    for number in _STOP_SIGNALS:
        signal.signal(number, forward)
    code = supervisor.wait()
    _end_descendants()
    return code if code >= 0 else 128 - code


def _end_descendants() -> None:
    deadline = time.monotonic() + _LEFT_BEHIND_SECONDS
    while True:
        # Postgres is on its way out by itself and tidies up; who stays longer is killed.
        if time.monotonic() > deadline:
            for pid in children_of(os.getpid()):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            time.sleep(0.01)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
