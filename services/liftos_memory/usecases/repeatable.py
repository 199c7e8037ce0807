"""Requests that can be repeated: the second call gets the first answer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

from liftos_memory.ports import RequestMemory

Result = TypeVar("Result")


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
