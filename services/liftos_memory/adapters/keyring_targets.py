"""Targets of insight routes, sealed by the service's keys."""

from liftos_kit.secrets.keyring import (
    Keyring,
    KeyringMissingError,
    KeyUnknownError,
    SealBrokenError,
    Sealed,
)
from liftos_kit.secrets.secret import Secret
from liftos_memory.insight_route_ports import SealedTarget, TargetUnusableError

_FIELD = "target_url"


class KeyringTargets:
    """Keys of this process; see `liftos_memory.insight_route_ports.TargetVault`.

    Args:
        keyring: The keys; None where none are set.
    """

    def __init__(self, keyring: Keyring | None) -> None:
        self._keyring = keyring

    def seal(self, target_url: Secret, *, kind: str, resource_name: str) -> SealedTarget:
        """Return a URL as it is kept."""
        if self._keyring is None:
            raise TargetUnusableError(str(KeyringMissingError()))
        sealed = self._keyring.seal({_FIELD: target_url}, resource_name=resource_name)
        return SealedTarget(kind, sealed.ciphertext, sealed.key_id)

    def open(self, target: SealedTarget, *, resource_name: str) -> Secret:
        """Return the URL of a route."""
        if self._keyring is None:
            raise TargetUnusableError(str(KeyringMissingError()))
        sealed = Sealed(target.key_id, target.sealed)
        try:
            return self._keyring.open(sealed, resource_name=resource_name)[_FIELD]
        except (KeyUnknownError, SealBrokenError) as error:
            raise TargetUnusableError(str(error)) from error
