"""What the cache knows a request by."""

from typing import Final

from google.protobuf.message import Message

from liftos_kit.requests import digest_request
from liftos_memory.usecases.answers import Question

_FRESHNESS: Final = ("consistency",)
"""Decides when a question is answered, and not how."""


def question_of_request(org: str, request: Message, *, of_index: bool = False) -> Question:
    """Return the question of a request, which is named after its method."""
    method = request.DESCRIPTOR.name.removesuffix("Request")
    return Question(org, digest_request(method, request, without=_FRESHNESS), of_index=of_index)
