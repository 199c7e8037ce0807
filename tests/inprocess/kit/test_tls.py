"""TLS and mutual TLS, by configuration alone."""

from pathlib import Path

import grpc
import pytest
import trustme
from tests.inprocess.kit.echo_service import NAME, Behaviours, Echo, Stub, authorization

from liftos_kit.settings import ServiceSettings
from liftos_kit.testing.server import running_server, settings_for_tests


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Signs the server's and the clients' certificates."""
    return trustme.CA()


def _settings(authority: trustme.CA, directory: Path, *, mutual: bool) -> ServiceSettings:
    issued = authority.issue_cert("localhost", "127.0.0.1")
    certificate, key, client_ca = (directory / name for name in ("cert.pem", "key.pem", "ca.pem"))
    certificate.write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    client_ca.write_bytes(authority.cert_pem.bytes())
    return settings_for_tests(
        tls_certificate_file=certificate,
        tls_key_file=key,
        drain_seconds=1,
        **({"tls_client_ca_file": client_ca} if mutual else {}),
    )


def _client(trusted: trustme.CA, own: trustme.LeafCert | None) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        trusted.cert_pem.bytes(),
        None if own is None else own.private_key_pem.bytes(),
        None if own is None else own.cert_chain_pems[0].bytes(),
    )


async def _call(target: str, credentials: grpc.ChannelCredentials | None) -> None:
    channel = (
        grpc.aio.insecure_channel(target)
        if credentials is None
        else grpc.aio.secure_channel(target, credentials)
    )
    async with channel:
        await Stub(channel).read(Echo(), metadata=authorization(), timeout=10)


async def _is_refused(target: str, credentials: grpc.ChannelCredentials | None) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _call(target, credentials)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_tls(authority: trustme.CA, tmp_path: Path) -> None:
    """Who trusts the authority gets in; plaintext and those who trust another do not."""
    settings = _settings(authority, tmp_path, mutual=False)
    async with running_server(
        Behaviours().register, service_names=[NAME], settings=settings
    ) as running:
        await _call(running.target, _client(authority, None))
        await _is_refused(running.target, None)
        await _is_refused(running.target, _client(trustme.CA(), None))


async def test_mutual_tls(authority: trustme.CA, tmp_path: Path) -> None:
    """Clients need a certificate of the authority as well."""
    settings = _settings(authority, tmp_path, mutual=True)
    async with running_server(
        Behaviours().register, service_names=[NAME], settings=settings
    ) as running:
        own = authority.issue_cert("client")
        await _call(running.target, _client(authority, own))
        await _is_refused(running.target, _client(authority, None))
        stranger = trustme.CA().issue_cert("client")
        await _is_refused(running.target, _client(authority, stranger))
