"""Whether a secret may travel on the channel that it came by."""

import ipaddress
from typing import Any, Final
from urllib.parse import unquote

from grpc.aio import ServicerContext

from liftos_kit.core.errors import ChannelInsecureError

_SECURITY_TYPE: Final = "transport_security_type"


def require_private_channel(context: ServicerContext[Any, Any], *, field: str) -> None:
    """Refuse a secret that others may have read on its way.

    Private are TLS, sockets of this machine and loopback addresses. A proxy that ends TLS has to
    speak TLS to the service as well, or run beside it.

    Args:
        context: The call.
        field: The field that holds the secret, for the error.

    Raises:
        ChannelInsecureError: The channel is plaintext and leads to another machine.
    """
    if b"ssl" in context.auth_context().get(_SECURITY_TYPE, ()):
        return
    if not is_local(context.peer()):
        raise ChannelInsecureError(field)


def is_local(peer: str) -> bool:
    """Tell whether a peer, as `ipv4:127.0.0.1:50412`, is on this machine."""
    kind, _, rest = unquote(peer).partition(":")
    if kind in ("unix", "unix-abstract"):
        return True
    host = rest.rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return kind in ("ipv4", "ipv6") and address.is_loopback
