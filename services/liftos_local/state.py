"""What the supervisor says about its processes, as values and as the state file."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from liftos_local.directory import DataDirectory, is_locked


class ProcessState(StrEnum):
    """Where one process is in its life."""

    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"  # it died and will be started again, or does not answer
    STOPPED = "stopped"
    FAILED = "failed"  # it died again and again before it was healthy; still being tried


class StackState(StrEnum):
    """The stack as a whole."""

    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    KILLED = "killed"  # its supervisor ended without stopping it: kill -9, or the machine died


_ENDED: Final = (StackState.STOPPED, StackState.FAILED)


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """One process. `since` is when it entered its state (RFC 3339, UTC).

    A process that listens in several places has their names and addresses in `more_addresses`.
    """

    name: str
    state: ProcessState
    since: str
    log_file: str
    address: str | None = None
    pid: int | None = None
    restarts: int = 0
    detail: str | None = None
    log_tail: tuple[str, ...] = ()
    more_addresses: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StackStatus:
    """Everything about a stack that may be shown."""

    data_dir: str
    state: StackState
    supervisor_pid: int | None = None
    failed_process: str | None = None
    detail: str | None = None
    processes: tuple[ProcessStatus, ...] = ()

    @property
    def addresses(self) -> dict[str, str]:
        """Address as 127.0.0.1:port by name, of everything that listens."""
        found: dict[str, str] = {}
        for entry in self.processes:
            if entry.address:
                found[entry.name] = entry.address
            found |= entry.more_addresses
        return found

    def process(self, name: str) -> ProcessStatus:
        """Return one process by its name."""
        return next(entry for entry in self.processes if entry.name == name)

    def to_json(self) -> str:
        """Return the status as one JSON object."""
        return json.dumps(asdict(self) | {"addresses": self.addresses}, indent=2)


def read_status(data_dir: Path) -> StackStatus:
    """Read what the supervisor last wrote, and whether it lives.

    One that no longer lives and did not write how it ended was killed.
    """
    directory = DataDirectory(data_dir.absolute())
    alive = is_locked(directory)
    try:
        stored = json.loads(directory.state_file.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):  # the latter after a loss of power
        state = StackState.STARTING if alive else StackState.STOPPED
        return StackStatus(str(directory.root), state)
    processes = tuple(
        _process(entry if alive else entry | {"state": "stopped", "pid": None})
        for entry in stored["processes"]
    )
    state = StackState(stored["state"])
    if not alive and state not in _ENDED:
        state = StackState.KILLED
    return StackStatus(
        data_dir=stored["data_dir"],
        state=state,
        supervisor_pid=stored["supervisor_pid"] if alive else None,
        failed_process=stored["failed_process"],
        detail=stored["detail"],
        processes=processes,
    )


def _process(stored: dict[str, Any]) -> ProcessStatus:
    return ProcessStatus(
        name=stored["name"],
        state=ProcessState(stored["state"]),
        since=stored["since"],
        log_file=stored["log_file"],
        address=stored["address"],
        pid=stored["pid"],
        restarts=stored["restarts"],
        detail=stored["detail"],
        log_tail=tuple(stored["log_tail"]),
        more_addresses=stored.get("more_addresses", {}),
    )
