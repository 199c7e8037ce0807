"""Digests of requests: what page tokens and request ids are bound to."""

import hashlib
from collections.abc import Sequence
from typing import Final

from google.protobuf.message import Message

PAGING_FIELDS: Final = ("page_size", "page_token")
"""Fields that may differ between the pages of one list."""


def digest_request(method: str, request: Message, *, without: Sequence[str]) -> bytes:
    """Return the SHA-256 of a method's name and a request without some of its fields.

    Serialisation is deterministic (maps in order of their keys), so equal requests have equal
    digests as long as the schema stays the same; across a change of schema they may differ.
    """
    kept = type(request)()
    kept.CopyFrom(request)
    for field in without:
        kept.ClearField(field)
    digest = hashlib.sha256(method.encode())
    digest.update(b"\0")
    digest.update(kept.SerializeToString(deterministic=True))
    return digest.digest()


def digest_for_paging(method: str, request: Message) -> bytes:
    """Return what a page token of this list is bound to."""
    return digest_request(method, request, without=PAGING_FIELDS)
