"""What requests have in common: pages of lists, and answers that are given again."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar
from uuid import UUID

from google.protobuf.message import Message

from liftos_kit.core.paging import JsonValue, PageTokens, effective_page_size
from liftos_kit.core.repeatable import Repeatable

Result = TypeVar("Result")
Answer = TypeVar("Answer", bound=Message)

_PAGING_FIELDS: Final = ("page_size", "page_token")
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


@dataclass(frozen=True, slots=True)
class PageRequest:
    """The page of a list that a request asks for.

    Attributes:
        org: Whose list it is.
        cursor: Where the page begins, as the page before said; None at the start of the list.
        limit: How many items it has, at most.
        digest: What its tokens are bound to.
        tokens: Write and read them.
    """

    org: str
    cursor: JsonValue
    limit: int
    digest: bytes
    tokens: PageTokens

    @property
    def text_cursor(self) -> str | None:
        """The cursor of a list whose cursors are text."""
        assert self.cursor is None or isinstance(self.cursor, str), "signed, so it is one of ours"
        return self.cursor

    @property
    def number_cursor(self) -> int | None:
        """The cursor of a list whose cursors are whole numbers."""
        assert self.cursor is None or isinstance(self.cursor, int), "signed, so it is one of ours"
        return self.cursor

    def next_token(self, cursor: JsonValue) -> str:
        """Return the token of the next page; empty where there is none, as None says."""
        if cursor is None:
            return ""
        return self.tokens.encode(cursor, org=self.org, request_digest=self.digest)


def page_request(
    request: Message, org: str, tokens: PageTokens, *, default: int = 100, maximum: int = 1_000
) -> PageRequest:
    """Return the page that a request asks for.

    Args:
        request: A request with the fields `page_size` and `page_token`, named after its method.
        org: Whose list it is.
        tokens: Read its token.
        default: Items of a page where the request does not say.
        maximum: Items of a page, whatever it says.

    Raises:
        InvalidFieldsError: It asks for fewer than 0 items.
        PageTokenError: Its token is damaged, or was given for another request.
    """
    size = int(getattr(request, "page_size"))  # noqa: B009 - not in Message's type
    token = str(getattr(request, "page_token"))  # noqa: B009 - as above
    method = request.DESCRIPTOR.name.removesuffix("Request")
    digest = digest_request(method, request, without=_PAGING_FIELDS)
    return PageRequest(
        org=org,
        cursor=tokens.decode(token, org=org, request_digest=digest),
        limit=effective_page_size(size, default=default, maximum=maximum),
        digest=digest,
        tokens=tokens,
    )


def answer_to(
    result: Result | bytes, answer: Callable[[Result], Answer], kind: type[Answer]
) -> Answer:
    """Return the answer to a request.

    Args:
        result: What it came to; bytes are the answer that the same request was given before.
        answer: Makes the answer of a result.
        kind: Of the answer.
    """
    return kind.FromString(result) if isinstance(result, bytes) else answer(result)


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
