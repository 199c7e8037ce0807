"""Tokens of a service that calls others, as its settings say."""

from collections.abc import Iterable

from liftos_kit.auth import ServiceTokens
from liftos_kit.settings import CallerSettings


def service_tokens(
    settings: CallerSettings, *, subject: str, scopes: Iterable[str]
) -> ServiceTokens:
    """Return the tokens with which a service calls.

    Args:
        settings: Name its key.
        subject: The calling service, as `liftos-ingestion`.
        scopes: The services that it calls.
    """
    if settings.service_key_file is not None:
        key = settings.service_key_file.read_bytes()
    else:
        assert settings.jwt_secret is not None, "checked by load"
        key = settings.jwt_secret.get_secret_value().encode()
    return ServiceTokens(
        key,
        algorithm=settings.jwt_algorithm,
        key_id=settings.service_key_id or None,
        subject=subject,
        scopes=scopes,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
    )
