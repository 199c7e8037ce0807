"""Looks at the real processes of a stack."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from liftos_local.directory import DataDirectory, is_locked


def processes_of(data_dir: Path) -> dict[int, str]:
    """Find every live process whose command line or standard output names the directory."""
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            output = str((entry / "fd" / "1").readlink())
        except OSError:
            continue
        if str(data_dir) in command or output.startswith(str(data_dir)):
            found[int(entry.name)] = command
    return found


def eventually(condition: Callable[[], object], *, within_seconds: float, what: str) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + within_seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_seconds} s: {what}"
        time.sleep(0.02)


def until_gone(data_dir: Path, *, within_seconds: float) -> None:
    """Wait until no process of the stack lives and its lock is free."""
    eventually(
        lambda: not processes_of(data_dir) and not is_locked(DataDirectory(data_dir)),
        within_seconds=within_seconds,
        what=f"no process of {data_dir}",
    )


def program(text: str, *arguments: str) -> list[str]:
    """Call of a Python program that finds our packages."""
    roots = [entry for entry in sys.path if entry and Path(entry).is_dir()]
    return [sys.executable, "-c", f"import sys; sys.path[:0] = {roots!r}\n{text}", *arguments]
