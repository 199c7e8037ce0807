"""Encrypted channels, with the client's own certificate."""

from collections.abc import AsyncIterator

import grpc
import pytest
import trustme
from tests.inprocess.client.fake_memory import FakeMemory, unsigned_token

from liftos.memory.v1 import memory_service_pb2_grpc
from liftos_client import TlsOptions, connect
from liftos_client.errors import UnavailableError


@pytest.fixture
def authority() -> trustme.CA:
    """Signs the certificates of both sides."""
    return trustme.CA()


@pytest.fixture
async def tls_port(memory: FakeMemory, authority: trustme.CA) -> AsyncIterator[int]:
    """The port of a server for memory.example.com that asks for a certificate."""
    certificate = authority.issue_cert("memory.example.com")
    credentials = grpc.ssl_server_credentials(
        [(certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes())],
        root_certificates=authority.cert_pem.bytes(),
        require_client_auth=True,
    )
    server = grpc.aio.server()
    memory_service_pb2_grpc.add_MemoryServiceServicer_to_server(memory, server)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    yield port
    await server.stop(0)


def _options(authority: trustme.CA, *, server_name: str) -> TlsOptions:
    own = authority.issue_cert("loader.example.com")
    return TlsOptions(
        ca_certificates=authority.cert_pem.bytes(),
        certificate_chain=own.cert_chain_pems[0].bytes(),
        private_key=own.private_key_pem.bytes(),
        server_name=server_name,
    )


async def test_both_sides_show_their_certificates(tls_port: int, authority: trustme.CA) -> None:
    """A call goes through where each side trusts the other."""
    tls = _options(authority, server_name="memory.example.com")
    async with connect(f"127.0.0.1:{tls_port}", token=unsigned_token(), tls=tls) as client:
        assert (await client.memory.get_entry("x")).name == "orgs/acme/entries/x"


async def test_another_servers_certificate_is_refused(tls_port: int, authority: trustme.CA) -> None:
    """A certificate for another name opens no connection."""
    tls = _options(authority, server_name="other.example.com")
    async with connect(f"127.0.0.1:{tls_port}", token=unsigned_token(), tls=tls) as client:
        with pytest.raises(UnavailableError):
            await client.memory.get_entry("x", timeout_seconds=5)


def test_a_private_key_is_never_shown(authority: trustme.CA) -> None:
    """Not even where the options are printed."""
    assert "PRIVATE" not in repr(_options(authority, server_name="x"))
