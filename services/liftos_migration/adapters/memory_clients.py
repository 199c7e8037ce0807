"""Clients of Memory, one for each org, in whose name Migration calls."""

from functools import partial

from liftos_client import OrgClients, TlsOptions, connect
from liftos_kit.service_tokens import service_tokens
from liftos_kit.settings import CallerSettings


def memory_clients(settings: CallerSettings) -> OrgClients:
    """Return the clients of all orgs."""
    tokens = service_tokens(settings, subject="liftos-migration", scopes=("memory",))
    tls = TlsOptions.of_files(
        settings.memory_ca_file, settings.memory_certificate_file, settings.memory_key_file
    )
    return OrgClients(
        lambda org: connect(settings.memory_address, token=partial(tokens.token, org), tls=tls)
    )
