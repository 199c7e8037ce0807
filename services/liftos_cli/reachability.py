"""Why a server cannot be reached: gRPC's own words name neither the option nor the next step."""

import socket
import ssl
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from liftos_cli.errors import CommandError, ExitCode

_LOOK_SECONDS: Final = 2.0
_DNS: Final = "dns:///"
_GRPC_PORT: Final = 443
"""What gRPC takes where a target names none."""
_START: Final = "start one with `liftos up --detach`, or name a server with --target HOST:PORT"


def check_target(target: str) -> None:
    """Refuse an address of the web in the place of host and port.

    Raises:
        CommandError: The target is an http or https URL.
    """
    parts = urlsplit(target)
    if parts.scheme in ("http", "https"):
        tls = " --tls" if parts.scheme == "https" else ""
        raise CommandError(
            f"--target is HOST:PORT, and {target} is a URL",
            advice=f"write --target {parts.netloc}{tls}",
        )


def no_stack(data_dir: Path) -> CommandError:
    """Return the error of a data directory in which nothing runs."""
    return CommandError(
        f"no LiftOS runs in {data_dir}", advice=_START, exit_code=ExitCode.UNREACHABLE
    )


def unreachable(target: str, *, encrypted: bool, reason: str) -> CommandError:
    """Look at a target to which no call got through, and return the error that says why.

    Args:
        target: Where to, as gRPC takes it.
        encrypted: Whether the calls were.
        reason: What gRPC said.
    """
    message, advice = f"{target} does not answer ({reason})", _START
    place = _place(target)
    if place is not None:
        try:
            speaks_tls = _speaks_tls(*place)
        except OSError as error:
            message = f"nothing answers at {target} ({error.strerror or error})"
        else:
            message, advice = _found(target, speaks_tls, encrypted=encrypted, reason=reason)
    return CommandError(message, advice=advice, exit_code=ExitCode.UNREACHABLE)


def _found(target: str, speaks_tls: bool, *, encrypted: bool, reason: str) -> tuple[str, str]:
    match speaks_tls, encrypted:
        case True, False:
            return (
                f"{target} takes encrypted connections only",
                "add --tls, or --tls-ca FILE with the authority of its certificate",
            )
        case False, True:
            return f"{target} takes no encrypted connections", "leave --tls and --tls-ca away"
        case True, True:
            return (
                f"{target} is not trusted, or does not trust us ({reason})",
                "check --tls-ca, and where it asks for a certificate --tls-certificate, --tls-key",
            )
        case _:
            return (
                f"{target} does not answer ({reason})",
                "check --target and --timeout, and `liftos status` for a stack on this machine",
            )


def _place(target: str) -> tuple[str, int] | None:
    """Return host and port, or None where a target has none, as a socket of this machine."""
    address = target.removeprefix(_DNS)
    if "/" in address or address.startswith("unix:"):
        return None
    try:
        parts = urlsplit(f"//{address}")
        host, port = parts.hostname, parts.port or _GRPC_PORT
    except ValueError:
        return None
    return None if host is None else (host, port)


def _speaks_tls(host: str, port: int) -> bool:
    """Tell whether TLS is answered in TLS.

    Raises:
        OSError: Nobody accepts the connection.
    """
    # Nothing is sent over it: a certificate that nobody vouches for is an answer in TLS too.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with socket.create_connection((host, port), timeout=_LOOK_SECONDS) as connection:
        try:
            with context.wrap_socket(connection):
                return True
        except OSError:
            return False
