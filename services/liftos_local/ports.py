"""Which port each process gets, and who holds a port that is taken."""

import errno
import json
import random
import socket
from collections.abc import Collection, Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
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
    "migration": 8010,
    "migration-metrics": 9010,
    "migration-worker-metrics": 9110,
    "causal-module-db": 15433,
    "causal-redis-cache": 16380,
    "causal-module": 8008,
    "causal-module-metrics": 9008,
    "causal-core": 8009,
    "causal-core-metrics": 9009,
    "platforms-meta": 8020,
    "platforms-google-ads": 8021,
    "platforms-google-ads-token": 8022,
    "platforms-klaviyo": 8023,
    "platforms-control": 8024,
}
# Below the range from which Linux gives ports to outgoing connections.
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


@dataclass(frozen=True, slots=True)
class ChosenPorts:
    """Port numbers by name, and for each a bound socket that keeps others from choosing it.

    A process can listen on a port that such a socket holds. Whoever should go on holding
    inherits the `descriptors`; the end of the context closes our own.
    """

    numbers: Mapping[str, int]
    holders: Mapping[str, socket.socket]

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What to hand to a process that holds the ports from now on."""
        return tuple(holder.fileno() for holder in self.holders.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for holder in self.holders.values():
            holder.close()


def is_free(port: int) -> bool:
    """Tell whether a server could listen on this port of 127.0.0.1 now."""
    holder = _hold(port, anew=False)
    if holder is None:
        return False
    holder.close()
    return True


def choose_ports(plan: PortPlan, names: Iterable[str], *, directory: DataDirectory) -> ChosenPorts:
    """Hold a port that is free now for every name, and remember the choice in the directory.

    Raises:
        PortTakenError: a fixed port is taken.
    """
    earlier = _earlier_ports(directory)
    numbers: dict[str, int] = {}
    holders: dict[str, socket.socket] = {}
    with ExitStack() as on_error:
        for name in names:
            if plan.automatic_choice:
                port, holder = _automatic(earlier.get(name), taken=numbers.values())
            else:
                port = plan.numbers[name]
                fixed = None if port in numbers.values() else _hold(port, anew=False)
                if fixed is None:
                    raise PortTakenError(name, port, port_owner(port))
                holder = fixed
            numbers[name], holders[name] = port, on_error.enter_context(holder)
        write_atomically(directory.ports_file, json.dumps(earlier | numbers))
        on_error.pop_all()
    return ChosenPorts(numbers, holders)


def _automatic(earlier: int | None, *, taken: Collection[int]) -> tuple[int, socket.socket]:
    if earlier is not None and earlier not in taken:
        holder = _hold(earlier, anew=False)
        if holder is not None:
            return earlier, holder
    while True:
        port = random.choice(_AUTOMATIC_RANGE)  # noqa: S311 - no secret
        holder = _hold(port, anew=True)
        if holder is not None:
            return port, holder


def _hold(port: int, *, anew: bool) -> socket.socket | None:
    """Bind a port without listening; none if another process has it.

    Args:
        port: Of 127.0.0.1.
        anew: Refuse also a port that another socket holds without listening, or that closed
            connections still occupy. Such are no obstacle to a port we had before.
    """
    holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if not anew:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", port))
        # From here on a server that sets the same option, as all do, may listen beside us.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    except OSError as error:
        holder.close()
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            return None
        raise
    return holder


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
