"""Writes that may be sent twice: one request_id, one effect, one answer.

The claim, the write and the recorded answer are one transaction of the store. A second call with
the same id gets the first one's answer again or, with another payload, is refused. Ids are kept
for at least 24 hours.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from google.protobuf.message import Message

from liftos_kit.core.errors import RequestIdReusedError
from liftos_kit.requests import digest_request

KEPT_HOURS: Final = 24
"""How long a request_id stands for its request, at least."""

Answer = TypeVar("Answer", bound=Message)


@dataclass(frozen=True, slots=True)
class Claim:
    """A request_id as the store knows it.

    Attributes:
        payload_digest: Digest of the request that it was first used for.
        answer: Serialised answer of that request; None for a claim made just now.
    """

    payload_digest: bytes
    answer: bytes | None


class ClaimStore(Protocol):
    """Keeps request ids; both methods act within the transaction of the write itself."""

    async def claim(
        self, org: str, *, method: str, request_id: str, payload_digest: bytes
    ) -> Claim:
        """Record the id if it is new, and return what stands recorded.

        A transaction that holds the same id is waited for: if it commits, its claim and answer
        are returned, if it rolls back, the id is new.
        """
        ...

    async def record(self, org: str, *, method: str, request_id: str, answer: bytes) -> None:
        """Keep the answer with its claim."""
        ...


@dataclass(frozen=True, slots=True)
class IdempotentCall:
    """A request with its id, ready to be claimed.

    Attributes:
        org: The caller's org.
        method: Full name of the method.
        request_id: As sent; empty means the caller does not need protection.
        payload_digest: Digest of the request without its request_id.
    """

    org: str
    method: str
    request_id: str
    payload_digest: bytes


def idempotent_call(org: str, *, method: str, request: Message) -> IdempotentCall:
    """Describe a request that has a field `request_id`."""
    return IdempotentCall(
        org=org,
        method=method,
        request_id=str(getattr(request, "request_id")),  # noqa: B009  # not in Message's type
        payload_digest=digest_request(method, request, without=("request_id",)),
    )


async def run_once(
    store: ClaimStore,
    call: IdempotentCall,
    write: Callable[[], Awaitable[Answer]],
    *,
    answer_type: type[Answer],
) -> Answer:
    """Run a write unless its request_id has run before; return its answer either way.

    Call it within the transaction of the write.

    Args:
        store: Keeps the ids, in that transaction.
        call: The request.
        write: Does the work and gives the answer.
        answer_type: Message of the answer.

    Raises:
        RequestIdReusedError: The id belongs to another request.
    """
    if not call.request_id:
        return await write()
    claim = await store.claim(
        call.org,
        method=call.method,
        request_id=call.request_id,
        payload_digest=call.payload_digest,
    )
    if claim.payload_digest != call.payload_digest:
        raise RequestIdReusedError(call.request_id)
    if claim.answer is not None:
        return answer_type.FromString(claim.answer)
    answer = await write()
    await store.record(
        call.org,
        method=call.method,
        request_id=call.request_id,
        answer=answer.SerializeToString(),
    )
    return answer
