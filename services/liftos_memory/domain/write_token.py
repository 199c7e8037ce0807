"""Write tokens: an org's version in an opaque form that clients carry between calls."""

import base64
import binascii
import struct

import xxhash

from liftos_kit.core.errors import InvalidFieldsError

_LAYOUT = struct.Struct(">BIQ")
_FORMAT = 1


def encode_write_token(org: str, version: int) -> str:
    """Return the token that covers all commits of the org up to `version`."""
    packed = _LAYOUT.pack(_FORMAT, xxhash.xxh32_intdigest(org.encode()), version)
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def decode_write_token(org: str, token: str, *, field: str) -> int:
    """Return the version that a token of this org stands for.

    Raises:
        InvalidFieldsError: The token is damaged or another org's.
    """
    try:
        packed = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        layout, org_digest, version = _LAYOUT.unpack(packed)
    except (binascii.Error, ValueError, struct.error):
        layout, org_digest, version = 0, 0, 0
    if layout != _FORMAT or org_digest != xxhash.xxh32_intdigest(org.encode()):
        raise InvalidFieldsError.of(
            field, "must be a write_token that this organisation was given", rule="write_token"
        )
    return int(version)
