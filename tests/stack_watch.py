"""Stops the stacks that a test run leaves, however it ends: who is killed stops nothing himself.

A process beside the run waits until the run is gone, and stops then what still runs.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from liftos_local.stack import down


class StackWatch:
    """Hooks of pytest, for the first of the processes of a run."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Start the process."""
        factory: pytest.TempPathFactory = session.config._tmp_path_factory  # type: ignore[attr-defined]
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(factory.getbasetemp())],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            # It learns from this pipe that we are gone.
            stdin=subprocess.PIPE,
            # Ctrl-C is for the run, which ends after it.
            start_new_session=True,
        )

    def pytest_unconfigure(self) -> None:
        """Have what is left stopped."""
        if self._process is not None:
            self._process.communicate()


def _stop_below(directory: str) -> None:
    for folder, folders, names in os.walk(directory):
        if "secrets.json" in names:
            folders.clear()
            down(Path(folder))


if __name__ == "__main__":
    sys.stdin.buffer.read()
    _stop_below(sys.argv[1])
