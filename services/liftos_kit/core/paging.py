"""Opaque page tokens: a cursor, bound to its request and its org, signed.

A token is `base64url(signature || JSON)`. The signature covers the org and the digest of the
request as well, so that a token works only for the request that it was given for.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from liftos_kit.core.errors import InvalidFieldsError, PageTokenError

_SIGNATURE_BYTES: Final = 16
_MAXIMUM_TOKEN_CHARACTERS: Final = 4096

JsonValue = None | bool | int | float | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"]


@dataclass(frozen=True, slots=True)
class PageTokens:
    """Writes and reads page tokens.

    Attributes:
        key: Secret of the signature, the same on every server of a service.
    """

    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.key) < 16:
            raise ValueError("a page token key needs at least 16 bytes")

    def encode(self, cursor: JsonValue, *, org: str, request_digest: bytes) -> str:
        """Return the token that continues at `cursor`, which is any JSON value."""
        payload = json.dumps(
            cursor, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        ).encode()
        signature = self._sign(payload, org, request_digest)
        return base64.urlsafe_b64encode(signature + payload).rstrip(b"=").decode()

    def decode(self, token: str, *, org: str, request_digest: bytes) -> JsonValue:
        """Return the cursor in a token, or None for the empty token of a first page.

        Raises:
            PageTokenError: The token is damaged or was given for another request or org.
        """
        if not token:
            return None
        if len(token) > _MAXIMUM_TOKEN_CHARACTERS:
            raise PageTokenError("is too long")
        try:
            padded = token + "=" * (-len(token) % 4)
            raw = base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True)
        except (binascii.Error, UnicodeEncodeError):
            raise PageTokenError("is damaged") from None
        signature, payload = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._sign(payload, org, request_digest)):
            raise PageTokenError("is damaged or was given for another request")
        cursor: JsonValue = json.loads(payload)
        return cursor

    def _sign(self, payload: bytes, org: str, request_digest: bytes) -> bytes:
        signature = hmac.new(self.key, digestmod=hashlib.sha256)
        for part in (org.encode(), request_digest, payload):
            # Lengths keep ("ab", "c") and ("a", "bc") apart.
            signature.update(len(part).to_bytes(8, "big"))
            signature.update(part)
        return signature.digest()[:_SIGNATURE_BYTES]


def effective_page_size(requested: int, *, default: int, maximum: int) -> int:
    """Return how many items a page holds: the default for 0, never more than the maximum.

    Raises:
        InvalidFieldsError: The request asks for fewer than 0 items.
    """
    if requested < 0:
        raise InvalidFieldsError.of("page_size", "must not be negative", rule="page_size")
    return min(requested or default, maximum)
