"""A process of its own for one message: it reads a request, sends, answers, and ends.

What a person gives as a target is a URL for a library that reaches about 190 services, reads files
and starts programs when a URL asks for it, and follows a name wherever it leads. Here all of that
is refused by the interpreter itself, whichever part of the library tries: connections to addresses
that are not public, files that are not part of the installation, and programs. An answer of any
size or slowness costs this process, not the service.

The file runs by its path and needs nothing of the project, so that it is started with an empty
environment. Standard input has one JSON object, standard output gets one; nothing is logged.
"""

import ipaddress
import json
import logging
import mimetypes
import os
import resource
import signal
import socket
import ssl
import sys
import sysconfig
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from apprise.plugins.base import NotifyBase
    from requests import PreparedRequest, Response, Session

_MEMORY_BYTES: Final = 512 * 1_024 * 1_024
_DESKTOP_KINDS: Final = frozenset(
    ("blink1", "dbus", "gio", "glib", "gnome", "kde", "macosx", "qt", "syslog", "windows")
)
_PROGRAM_EVENTS: Final = frozenset(
    (
        *("os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system"),
        *("pty.spawn", "subprocess.Popen", "ctypes.dlopen"),
    )
)
_ADDRESS_EVENTS: Final = frozenset({"socket.connect", "socket.sendmsg", "socket.sendto"})
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


class RefusedError(PermissionError):
    """The process may not do this; libraries handle it as they do any refusal of the system."""


@dataclass(slots=True)
class Watch:
    """What the process may do, and what became of its attempts.

    Attributes:
        private_allowed: Whether it may connect to loopback and private addresses.
        problem: Why its last attempt was refused or failed, by the name of a `Problem`.
        http_status: What it was answered last.
        readable: Files and folders that it may read.
    """

    private_allowed: bool
    problem: str = ""
    http_status: int | None = None
    readable: tuple[str, ...] = ()

    def see(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Refuse what may not be; an audit hook.

        Raises:
            RefusedError: It may not be.
        """
        if event in _ADDRESS_EVENTS:
            address = arguments[1]
            if address is not None and not self._may_reach(address):
                self._refuse("ADDRESS_REFUSED")
        elif event == "open":
            path, _, flags = arguments
            if not isinstance(path, int) and not self._may_open(os.fsdecode(path), flags):
                self._refuse("LOCAL_ACCESS_REFUSED")
        elif event in _PROGRAM_EVENTS:
            self._refuse("LOCAL_ACCESS_REFUSED")

    def _refuse(self, problem: str) -> None:
        self.problem = problem
        raise RefusedError(problem)

    def _may_reach(self, address: object) -> bool:
        # The address of a local socket is a path.
        if not isinstance(address, tuple):
            return False
        return is_allowed(str(address[0]), private_allowed=self.private_allowed)

    def _may_open(self, path: str, flags: int) -> bool:
        if path == os.devnull:
            return True
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return False
        real = os.path.realpath(path)
        return any(real == each or real.startswith(each + os.sep) for each in self.readable)


def is_allowed(address: str, *, private_allowed: bool) -> bool:
    """Tell whether a message may go to an IP address.

    An IPv6 address that stands for an IPv4 address is judged as that. Link-local addresses, where
    clouds keep the credentials of their machines, are never allowed.
    """
    try:
        parsed = _embedded(ipaddress.ip_address(address))
    except ValueError:  # a name, which is looked up after this
        return False
    if parsed.is_link_local or parsed.is_multicast or parsed.is_unspecified:
        return False
    return private_allowed or (parsed.is_global and not parsed.is_reserved)


def _embedded(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    # A teredo address has two; the relay's is public.
    teredo = address.teredo[1] if address.teredo is not None else None
    return address.ipv4_mapped or address.sixtofour or teredo or address


def _installation() -> tuple[str, ...]:
    """Return what every Python program reads."""
    authorities = ssl.get_default_verify_paths()
    paths = (
        *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        *(authorities.openssl_cafile, authorities.openssl_capath),
        *zoneinfo.TZPATH,
        *mimetypes.knownfiles,
    )
    return tuple(os.path.realpath(path) for path in paths)


def main() -> None:
    """Answer the request on standard input."""
    request = json.loads(sys.stdin.buffer.read())
    # Libraries that print do not get into the answer.
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        json.dump(_answer(request), answers)


def _answer(request: Mapping[str, Any]) -> dict[str, object]:
    """Return `kind`, or `problem` and perhaps `http_status`."""
    _limit(request["timeout_seconds"])
    # Loaded before the watch: it is part of the installation, wherever that is.
    import apprise  # noqa: PLC0415
    import requests  # noqa: PLC0415
    from apprise.manager_plugins import NotificationManager  # noqa: PLC0415

    logging.getLogger().addHandler(logging.NullHandler())
    logging.disable(logging.CRITICAL)
    known = NotificationManager()  # type: ignore[no-untyped-call]
    schemes = frozenset(known.schemas())  # type: ignore[no-untyped-call]
    watch = Watch(private_allowed=request["private_allowed"], readable=_installation())
    _report_answers(requests.Session, watch)
    sys.addaudithook(watch.see)

    asset = apprise.AppriseAsset(
        app_id="LiftOS",
        app_desc="LiftOS",
        app_url="",
        async_mode=False,
        http_redirects=False,
        image_path_mask=False,
        image_url_logo="",
        image_url_mask="",
        service_timeout=0,
        storage_mode="memory",
    )
    url = request["target_url"]
    scheme = url.partition("://")[0].lower()
    try:
        if scheme in schemes and (scheme in _DESKTOP_KINDS or not known[scheme].enabled):
            return {"problem": "SCHEME_REFUSED"}
        service = apprise.Apprise.instantiate(url, asset=asset)
        if service is None:
            unread = "MALFORMED" if scheme in schemes else "SCHEME_UNKNOWN"
            return {"problem": watch.problem or unread}
        message = request["message"]
        if message is None:
            _check(service, watch)
        elif not apprise.Apprise(service, asset=asset).notify(**message, body_format="text"):
            return {"problem": watch.problem or "REJECTED", "http_status": watch.http_status}
    except Exception:  # whatever it is, its text may hold the URL
        return {"problem": watch.problem or "FAILED"}
    return {"kind": service.schema}


def _check(service: "NotifyBase", watch: Watch) -> None:
    """Look up the host of a kind that has one.

    Raises:
        RefusedError: An address of it may not be connected to.
    """
    if "host" not in service.template_tokens:
        return
    try:
        host = service.host.strip("[]")
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        # The domain of a mail service, say, has no address; a wrong name shows when it is used.
        return
    for *_, address in found:
        watch.see("socket.connect", (None, address))


def _report_answers(session: "type[Session]", watch: Watch) -> None:
    """Let the watch know what HTTP requests are answered; the library tells yes or no alone."""
    from requests import RequestException, Timeout  # noqa: PLC0415

    send = session.send

    def reported(self: "Session", request: "PreparedRequest", **options: object) -> "Response":
        watch.http_status = None
        try:
            response = send(self, request, **options)
        except Exception as error:
            match error:
                case Timeout():
                    problem = "TIMED_OUT"
                case RequestException():
                    problem = "UNREACHABLE"
                case _:  # an answer that there is no memory for
                    problem = "FAILED"
            watch.problem = watch.problem or problem
            raise
        # What was refused on the way did not matter then, such as one of several addresses.
        watch.problem, watch.http_status = "", response.status_code
        return response

    session.send = reported  # type: ignore[method-assign]


def _limit(timeout_seconds: float) -> None:
    # Should the service die, nobody else ends this process.
    signal.setitimer(signal.ITIMER_REAL, timeout_seconds)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
