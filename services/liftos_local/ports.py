"""Which port each process gets, and who holds a port that is taken."""

import errno
import json
import random
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from liftos_local.directory import DataDirectory, write_atomically
from liftos_local.errors import PortTakenError

DEFAULT_PORTS: Final[Mapping[str, int]] = {
    "postgres": 15432,
    "redis": 16379,
    "milvus": 19530,
    "memory": 8003,
    "memory-metrics": 9003,
    "memory-worker-metrics": 9103,
    "ingestion": 8006,
    "ingestion-metrics": 9006,
    "ingestion-worker-metrics": 9106,
    "platforms-meta": 8020,
    "platforms-google-ads": 8021,
    "platforms-google-ads-token": 8022,
    "platforms-klaviyo": 8023,
    "platforms-control": 8024,
}
# Below the range from which Linux gives ports to outgoing connections: what was free when we
# looked stays free until the process binds it.
_AUTOMATIC_RANGE: Final = range(20_000, 32_000)
_LISTEN_STATE: Final = "0A"


@dataclass(frozen=True, slots=True)
class PortPlan:
    """Fixed port numbers by name; with `automatic_choice` a free port where one is taken."""

    numbers: Mapping[str, int]
    automatic_choice: bool = False

    @classmethod
    def default(cls) -> Self:
        """The documented ports; a taken one is an error that names its owner."""
        return cls(DEFAULT_PORTS)

    @classmethod
    def automatic(cls) -> Self:
        """Any free ports; on the same data directory the earlier ones if they are still free."""
        return cls({}, automatic_choice=True)


def is_free(port: int) -> bool:
    """Tell whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def choose_ports(
    plan: PortPlan, names: Iterable[str], *, directory: DataDirectory
) -> dict[str, int]:
    """Give every name a port that is free now, and remember the choice in the directory.

    Raises:
        PortTakenError: a fixed port is taken.
    """
    earlier = _earlier_ports(directory)
    chosen: dict[str, int] = {}
    for name in names:
        if not plan.automatic_choice:
            port = plan.numbers[name]
            if port in chosen.values() or not is_free(port):
                raise PortTakenError(name, port, port_owner(port))
        else:
            port = earlier.get(name, 0)
            while port == 0 or port in chosen.values() or not is_free(port):
                port = random.choice(_AUTOMATIC_RANGE)  # noqa: S311 - no secret
        chosen[name] = port
    write_atomically(directory.ports_file, json.dumps(earlier | chosen))
    return chosen


def port_owner(port: int) -> str:
    """Name the process that listens on a port, as far as /proc shows it."""
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and sockets & _open_files(entry):
            command_line = entry / "cmdline"
            words = command_line.read_bytes().split(b"\0") if command_line.exists() else []
            command = b" ".join(words).decode("utf-8", "replace").strip()
            return f"process {entry.name} ({command[:200]})"
    return "a process of another user" if sockets else "a process that cannot be seen"


def _open_files(process: Path) -> set[str]:
    """Return what a process has open; nothing of a process that ended or is of another user."""
    found: set[str] = set()
    try:
        for descriptor in (process / "fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                found.add(str(descriptor.readlink()))
    except OSError:
        return set()
    return found


def _listening_inodes(port: int) -> set[str]:
    found: set[str] = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]
        except FileNotFoundError:
            continue
        for line in lines:
            words = line.split()
            if words[3] == _LISTEN_STATE and int(words[1].rpartition(":")[2], 16) == port:
                found.add(words[9])
    return found


def _earlier_ports(directory: DataDirectory) -> dict[str, int]:
    try:
        stored = json.loads(directory.ports_file.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):  # the latter after a loss of power
        return {}
    return {str(name): int(port) for name, port in stored.items()}
