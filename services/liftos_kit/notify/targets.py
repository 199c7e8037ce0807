"""Where messages go, sealed by the service's keys: the URLs hold secrets."""

from dataclasses import dataclass, field
from typing import Final

from liftos_kit.secrets.keyring import (
    Keyring,
    KeyringMissingError,
    KeyUnknownError,
    SealBrokenError,
    Sealed,
)
from liftos_kit.secrets.secret import Secret

TARGET_URL: Final = "target_url"
"""The field of a route's secret."""


class TargetUnusableError(Exception):
    """The target of a route cannot be sealed, or does not open.

    Attributes:
        problem: What is wrong and what to do, without any secret.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class SealedTarget:
    """Where a route leads, as it is kept.

    Attributes:
        kind: The scheme of its URL.
        sealed: The encrypted URL.
        key_id: The key that encrypts it.
    """

    kind: str
    sealed: bytes = field(repr=False)
    key_id: str


class TargetVault:
    """Seals and opens targets.

    Args:
        keyring: The keys of this process; None where none are set.
    """

    def __init__(self, keyring: Keyring | None) -> None:
        self._keyring = keyring

    def seal(self, target_url: Secret, *, kind: str, resource_name: str) -> SealedTarget:
        """Return a URL as it is kept; it opens for this route only.

        Raises:
            TargetUnusableError: There are no keys.
        """
        if self._keyring is None:
            raise TargetUnusableError(str(KeyringMissingError()))
        sealed = self._keyring.seal({TARGET_URL: target_url}, resource_name=resource_name)
        return SealedTarget(kind, sealed.ciphertext, sealed.key_id)

    def open(self, target: SealedTarget, *, resource_name: str) -> Secret:
        """Return the URL of a route.

        Raises:
            TargetUnusableError: It does not open.
        """
        if self._keyring is None:
            raise TargetUnusableError(str(KeyringMissingError()))
        sealed = Sealed(target.key_id, target.sealed)
        try:
            return self._keyring.open(sealed, resource_name=resource_name)[TARGET_URL]
        except (KeyUnknownError, SealBrokenError) as error:
            raise TargetUnusableError(str(error)) from error
