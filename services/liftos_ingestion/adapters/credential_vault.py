"""Credentials sealed by the service's keys, or where its operator keeps them."""

import asyncio
from collections.abc import Mapping
from typing import assert_never

from liftos_ingestion.connection_ports import (
    CredentialKind,
    CredentialUnusableError,
    StoredCredential,
)
from liftos_kit.secrets import credentials
from liftos_kit.secrets.keyring import (
    KeyringMissingError,
    KeyUnknownError,
    SealBrokenError,
    Sealed,
)
from liftos_kit.secrets.secret import Secret


class KeyringVault:
    """Keys and places of this process; see `liftos_ingestion.connection_ports.CredentialVault`.

    Args:
        places: The keys, variables and files.
    """

    def __init__(self, places: credentials.SecretPlaces) -> None:
        self._places = places

    def seal(self, fields: Mapping[str, Secret], *, resource_name: str) -> StoredCredential:
        """Encrypt a credential."""
        if self._places.keyring is None:
            raise CredentialUnusableError(str(KeyringMissingError()))
        sealed = self._places.keyring.seal(fields, resource_name=resource_name)
        return StoredCredential(
            kind=CredentialKind.STORED,
            fields=tuple(sorted(fields)),
            sealed=sealed.ciphertext,
            key_id=sealed.key_id,
        )

    async def reveal(
        self, credential: StoredCredential, *, resource_name: str
    ) -> Mapping[str, Secret]:
        """Decrypt a credential, or read it anew from its place."""
        source = _source(credential)
        if source is None:
            return {}
        try:
            # In a thread, because a file may be on another machine.
            return await asyncio.to_thread(
                credentials.resolve, source, resource_name=resource_name, places=self._places
            )
        except credentials.CredentialUnreadableError as error:
            # Without the reference: a secret that was given in its place is not repeated.
            raise CredentialUnusableError(
                f"The referenced credential cannot be read: {error.problem}."
            ) from None
        except (KeyringMissingError, KeyUnknownError, SealBrokenError) as error:
            raise CredentialUnusableError(str(error)) from error


def _source(credential: StoredCredential) -> credentials.CredentialSource | None:
    match credential.kind:
        case CredentialKind.NONE:
            return None
        case CredentialKind.STORED:
            return credentials.StoredCredential(Sealed(credential.key_id, credential.sealed))
        case CredentialKind.ENVIRONMENT:
            return credentials.EnvironmentCredential(credential.reference)
        case CredentialKind.FILE:
            return credentials.FileCredential(credential.reference)
        case _:
            assert_never(credential.kind)
