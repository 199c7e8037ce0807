"""Digests of requests: what page tokens and request ids are bound to."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Final, TypeVar
from uuid import UUID

from google.protobuf.message import Message

from liftos_kit.core.repeatable import Repeatable

Result = TypeVar("Result")

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


def repeatable(
    method: str, request: Message, answer: Callable[[Result], Message]
) -> Repeatable[Result] | None:
    """Return the identity of a request with a request_id, or None where it has none.

    Args:
        method: Name of the RPC.
        request: A request with a field `request_id`; a UUID or empty, by its contract.
        answer: Makes the answer of a result, for a second call to be given.
    """
    request_id = str(getattr(request, "request_id"))  # noqa: B009 - not in Message's type
    if not request_id:
        return None
    return Repeatable(
        method=method,
        request_id=UUID(request_id),
        payload_digest=digest_request(method, request, without=("request_id",)),
        render=lambda result: bytes(answer(result).SerializeToString()),
    )
