"""Encryption at rest: AES-256-GCM under keys that the operator gives and renews.

The first key seals, every key opens. To renew a key, put the new one in front, reseal whatever
`Keyring.needs_rotation` names, then take the old one out.
"""

import base64
import binascii
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from liftos_kit.redaction import remember_secret
from liftos_kit.secrets.secret import Secret

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_MAXIMUM_FILE_BYTES: Final = 65_536
_FORMAT: Final = b"liftos sealed 1"
# Shorter than any key in base64, so that a key in the place of an id is never told.
_KEY_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", re.ASCII)
_SEPARATOR: Final = re.compile(r"[,\s]+")
_RECIPE: Final = "write ID:KEY, where KEY is 32 random bytes in base64"


class KeyringInvalidError(Exception):
    """The given keys cannot be used.

    Attributes:
        problem: What is wrong and what would be right, without any key.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(f"The keys for secrets cannot be used: {problem}.")
        self.problem = problem


class KeyringMissingError(Exception):
    """A secret is to be sealed or opened, and there are no keys."""

    def __init__(self) -> None:
        super().__init__(
            "There are no keys for stored secrets: set LIFTOS_SECRET_KEYS or"
            " LIFTOS_SECRET_KEYS_FILE, or give the credential as a reference."
        )


class KeyUnknownError(Exception):
    """A secret was sealed with a key that is no longer there.

    Attributes:
        resource_name: What the secret belongs to.
        key_id: The key it needs.
    """

    def __init__(self, resource_name: str, *, key_id: str) -> None:
        super().__init__(
            f"The secret of {resource_name} was sealed with the key {key_id!r}, which is not"
            " there: add that key again behind the others, or set the secret anew."
        )
        self.resource_name = resource_name
        self.key_id = key_id


class SealBrokenError(Exception):
    """A sealed secret is damaged, belongs to another resource, or has a wrong key under its id.

    Attributes:
        resource_name: What the secret should belong to.
        key_id: The key it names.
    """

    def __init__(self, resource_name: str, *, key_id: str) -> None:
        super().__init__(
            f"The secret of {resource_name} does not open with the key {key_id!r}: check that the"
            " key is still the one that had this id, or set the secret anew."
        )
        self.resource_name = resource_name
        self.key_id = key_id


@dataclass(frozen=True, slots=True)
class Sealed:
    """Encrypted secret fields, as they are stored.

    Attributes:
        key_id: Id of the key that opens it.
        ciphertext: Nonce (12 bytes), ciphertext and tag (16 bytes).
    """

    key_id: str
    ciphertext: bytes = field(repr=False)


class Keyring:
    """Keys that seal secrets and open them.

    Args:
        keys: Id to 32 bytes, at least one; the first one seals.

    Raises:
        KeyringInvalidError: There is no key, an id is malformed, or a key has another length.
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        if not keys:
            raise KeyringInvalidError(f"there is no key; {_RECIPE}")
        for key_id, key in keys.items():
            if _KEY_ID.fullmatch(key_id) is None:
                raise KeyringInvalidError("an id is not 1 to 32 letters, digits, _ or -")
            if len(key) != _KEY_BYTES:
                raise KeyringInvalidError(f"the key {key_id!r} has {len(key)} bytes; {_RECIPE}")
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self.sealing_key_id: Final = next(iter(keys))

    @property
    def key_ids(self) -> tuple[str, ...]:
        """Ids of all keys, the sealing one first."""
        return tuple(self._ciphers)

    def seal(self, fields: Mapping[str, Secret], *, resource_name: str) -> Sealed:
        """Encrypt fields so that they open for this resource only.

        Args:
            fields: Field to value.
            resource_name: Full name of the owner, as `orgs/acme/connections/meta-1`; it names the
                org as well, so that nothing sealed can be moved to another org or connection.
        """
        plaintext = json.dumps({name: secret.reveal() for name, secret in fields.items()}).encode()
        nonce = os.urandom(_NONCE_BYTES)
        bound = _bound_to(resource_name, key_id=self.sealing_key_id)
        ciphertext = self._ciphers[self.sealing_key_id].encrypt(nonce, plaintext, bound)
        return Sealed(self.sealing_key_id, nonce + ciphertext)

    def open(self, sealed: Sealed, *, resource_name: str) -> dict[str, Secret]:
        """Decrypt what `seal` encrypted for this resource.

        Raises:
            KeyUnknownError: The key it was sealed with is not in the ring.
            SealBrokenError: It is damaged or was sealed for another resource.
        """
        cipher = self._ciphers.get(sealed.key_id)
        if cipher is None:
            raise KeyUnknownError(resource_name, key_id=sealed.key_id)
        nonce, ciphertext = sealed.ciphertext[:_NONCE_BYTES], sealed.ciphertext[_NONCE_BYTES:]
        bound = _bound_to(resource_name, key_id=sealed.key_id)
        try:
            plaintext = cipher.decrypt(nonce, ciphertext, bound)
        except (InvalidTag, ValueError):  # ValueError: too short to be one of ours
            raise SealBrokenError(resource_name, key_id=sealed.key_id) from None
        fields: dict[str, str] = json.loads(plaintext)
        return {name: Secret(value) for name, value in fields.items()}

    def needs_rotation(self, sealed: Sealed) -> bool:
        """Tell whether it was sealed with another key than the one that seals now."""
        return sealed.key_id != self.sealing_key_id

    def reseal(self, sealed: Sealed, *, resource_name: str) -> Sealed:
        """Seal the same fields again, with the key that seals now; raises what `open` does."""
        return self.seal(
            self.open(sealed, resource_name=resource_name), resource_name=resource_name
        )

    def __repr__(self) -> str:
        return f"Keyring({', '.join(self._ciphers)})"


def parse_keyring(text: Secret) -> Keyring:
    """Read keys from `id:base64`, separated by commas or white space.

    Raises:
        KeyringInvalidError: The text cannot be read so, or an id comes twice.
    """
    keys: dict[str, bytes] = {}
    for number, item in enumerate(filter(None, _SEPARATOR.split(text.reveal())), start=1):
        key_id, colon, encoded = item.partition(":")
        # The text is known as a whole; a single key may get into a text as well.
        remember_secret(encoded)
        if not colon:
            raise KeyringInvalidError(f"entry {number} has no colon; {_RECIPE}")
        if key_id in keys:
            raise KeyringInvalidError(f"entry {number} has the id of an earlier one")
        try:
            keys[key_id] = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise KeyringInvalidError(
                f"the key of entry {number} is no base64; {_RECIPE}"
            ) from None
    return Keyring(keys)


def read_keyring(path: Path) -> Keyring:
    """Read keys from a file of the form that `parse_keyring` takes.

    Raises:
        KeyringInvalidError: The file cannot be read, or has another form.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAXIMUM_FILE_BYTES + 1)
    except OSError as error:
        raise KeyringInvalidError(f"{path} cannot be read ({error.strerror})") from None
    if len(content) > _MAXIMUM_FILE_BYTES:
        raise KeyringInvalidError(f"{path} has more than {_MAXIMUM_FILE_BYTES} bytes")
    text = content.decode("ascii", "replace")
    if not text.strip():
        raise KeyringInvalidError(f"{path} is empty; {_RECIPE}")
    return parse_keyring(Secret(text))


def generate_key(key_id: str) -> Secret:
    """Return a new key as `id:base64`, to be put in front of the others.

    Raises:
        KeyringInvalidError: The id is malformed.
    """
    key = os.urandom(_KEY_BYTES)
    Keyring({key_id: key})
    return Secret(f"{key_id}:{base64.b64encode(key).decode()}")


def _bound_to(resource_name: str, *, key_id: str) -> bytes:
    # Neither a format nor a key id has U+0000, so that no two owners give the same bytes.
    return b"\0".join((_FORMAT, key_id.encode(), resource_name.encode()))
