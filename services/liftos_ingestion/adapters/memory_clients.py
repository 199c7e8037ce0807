"""Clients of Memory, one for each org, in whose name Ingestion calls."""

from functools import partial
from typing import Final

from liftos_client import Client, TlsOptions, connect
from liftos_ingestion.settings import IngestionSettings
from liftos_kit.auth import ServiceTokens

_CALLED: Final = ("memory",)


class MemoryClients:
    """Gives the client of an org; each is made once."""

    def __init__(self, settings: IngestionSettings) -> None:
        self._address = settings.memory_address
        self._tls = _tls(settings)
        self._tokens = _tokens(settings)
        self._clients: dict[str, Client] = {}

    def of(self, org: str) -> Client:
        """Return the client of an org."""
        client = self._clients.get(org)
        if client is None:
            token = partial(self._tokens.token, org)
            client = connect(self._address, token=token, tls=self._tls)
            self._clients[org] = client
        return client

    async def close(self) -> None:
        """Close all channels."""
        while self._clients:
            _, client = self._clients.popitem()
            await client.close()


def _tls(settings: IngestionSettings) -> TlsOptions | None:
    if settings.memory_ca_file is None:
        return None
    certificate, key = settings.memory_certificate_file, settings.memory_key_file
    return TlsOptions(
        ca_certificates=settings.memory_ca_file.read_bytes(),
        certificate_chain=None if certificate is None else certificate.read_bytes(),
        private_key=None if key is None else key.read_bytes(),
    )


def _tokens(settings: IngestionSettings) -> ServiceTokens:
    if settings.service_key_file is not None:
        key = settings.service_key_file.read_bytes()
    else:
        assert settings.jwt_secret is not None, "checked by load"
        key = settings.jwt_secret.get_secret_value().encode()
    return ServiceTokens(
        key,
        algorithm=settings.jwt_algorithm,
        key_id=settings.service_key_id or None,
        subject="liftos-ingestion",
        scopes=_CALLED,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
    )
