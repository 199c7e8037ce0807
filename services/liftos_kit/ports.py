"""Ports: taken or free, and by whom."""

import errno
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

_LISTEN: Final = "0A"


class PortTakenError(Exception):
    """Another process listens on the port.

    Attributes:
        port: The port.
    """

    def __init__(self, host: str, port: int) -> None:
        owner = owner_of(port) or "a process that this user may not see"
        super().__init__(f"Port {port} on {host} is taken by {owner}; stop it or choose another.")
        self.port = port


def check_free(host: str, port: int) -> None:
    """Check that nobody listens on a port, not even one that would share it.

    Raises:
        PortTakenError: Somebody does.
        OSError: The host is not an address of this machine.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        # Without SO_REUSEPORT, so that a listener that has it is refused as well.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortTakenError(host, port) from None
            raise


def owner_of(port: int) -> str | None:
    """Return the process that listens on a TCP port, as `name (pid 123)`, if it can be seen."""
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    if not sockets:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        if sockets.isdisjoint(_open_files(process)):
            continue
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        words = b" ".join(command[:4]).decode(errors="replace").strip()
        return f"{words} (pid {process.name})"
    return None


def _open_files(process: Path) -> set[str]:
    found: set[str] = set()
    # Processes and their files come and go while they are listed, and others' cannot be read.
    with suppress(OSError):
        for each in (process / "fd").iterdir():
            with suppress(OSError):
                found.add(str(each.readlink()))
    return found


def _listening_inodes(port: int) -> Iterator[str]:
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        try:
            lines = table.read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]
