"""Requests that can be repeated: one request_id, one effect, one answer.

The claim of the id, the write and the answer that is kept are one transaction of the store. A
second call with the same id gets the first one's answer or, with another payload, is refused.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar
from uuid import UUID

KEPT_HOURS: Final = 24
"""How long a request_id stands for its request, at least."""

Result = TypeVar("Result")


class RequestMemory(Protocol):
    """The part of a write that remembers requests."""

    async def recall(self, method: str, request_id: UUID, payload_digest: bytes) -> bytes | None:
        """Return the stored answer of a request, or claim its id for this write.

        Raises:
            RequestIdReusedError: The id was used for another payload.
        """

    async def remember(self, method: str, request_id: UUID, response: bytes) -> None:
        """Store the answer of the request that `recall` claimed."""


class AnsweredBeforeError(Exception):
    """Leaves a write without a commit: the request was done before."""

    def __init__(self, response: bytes) -> None:
        super().__init__()
        self.response = response


@dataclass(frozen=True, slots=True)
class Repeatable(Generic[Result]):
    """Identity of a request, and how its result is rendered for a second call.

    Attributes:
        method: Name of the RPC.
        request_id: The caller's id.
        payload_digest: Digest of everything else in the request.
        render: Serialises the answer.
    """

    method: str
    request_id: UUID
    payload_digest: bytes
    render: Callable[[Result], bytes]

    async def recall(self, memory: RequestMemory) -> None:
        """Claim the id for this write.

        Raises:
            AnsweredBeforeError: The same request was done before.
            RequestIdReusedError: Another request was.
        """
        response = await memory.recall(self.method, self.request_id, self.payload_digest)
        if response is not None:
            raise AnsweredBeforeError(response)

    async def remember(self, memory: RequestMemory, result: Result) -> None:
        """Store the answer in the write that made it."""
        await memory.remember(self.method, self.request_id, self.render(result))
