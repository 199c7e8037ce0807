"""Which channels a secret may travel on."""

from typing import Any, cast

import pytest
from grpc.aio import ServicerContext

from liftos_kit.channel import is_local, require_private_channel
from liftos_kit.core.errors import ChannelInsecureError


class Call:
    """A call as gRPC describes it."""

    def __init__(self, peer: str, security: bytes) -> None:
        self._peer = peer
        self._security = security

    def peer(self) -> str:
        """Return the other end."""
        return self._peer

    def auth_context(self) -> dict[str, list[bytes]]:
        """Return what the transport proved."""
        return {"transport_security_type": [self._security]}


@pytest.mark.parametrize(
    ("peer", "local"),
    [
        ("ipv4:127.0.0.1:50412", True),
        ("ipv4:127.9.9.9:1", True),
        ("ipv6:%5B::1%5D:39318", True),
        ("ipv6:[::1]:39318", True),
        ("ipv6:%5B::ffff:127.0.0.1%5D:1", True),
        ("unix:", True),
        ("unix:/run/liftos.sock", True),
        ("ipv4:10.0.0.7:50412", False),
        ("ipv4:0.0.0.0:1", False),
        ("ipv6:%5B::ffff:10.0.0.7%5D:1", False),
        ("ipv6:%5Bfe80::1%25eth0%5D:1", False),
        ("ipv4:127.0.0.1.example.com:1", False),
        ("dns:localhost:1", False),
        ("", False),
        ("unknown", False),
    ],
)
def test_which_peers_are_on_this_machine(peer: str, local: bool) -> None:
    """Only loopback addresses and sockets of the machine are; what cannot be read is not."""
    assert is_local(peer) is local


def test_plaintext_from_elsewhere_is_refused() -> None:
    """TLS is private from anywhere, plaintext from this machine alone."""

    def require(peer: str, security: bytes) -> None:
        context = cast("ServicerContext[Any, Any]", Call(peer, security))
        require_private_channel(context, field="credential.stored")

    require("ipv4:10.0.0.7:50412", b"ssl")
    require("ipv4:127.0.0.1:50412", b"insecure")
    with pytest.raises(ChannelInsecureError, match=r"credential\.stored"):
        require("ipv4:10.0.0.7:50412", b"insecure")
