"""One request_id, one effect, one answer."""

from typing import Any
from uuid import UUID

import pytest
from tests.inprocess.kit.echo_service import Echo

from liftos_kit.core.errors import PageTokenError, RequestIdReusedError
from liftos_kit.core.paging import PageTokens
from liftos_kit.core.repeatable import AnsweredBeforeError
from liftos_kit.requests import page_request, repeatable

ONE = "123e4567-e89b-12d3-a456-426614174000"
TWO = "123e4567-e89b-12d3-a456-426614174001"


class _Answers:
    """Answers in memory, as one transaction after the other sees them."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, UUID], tuple[bytes, bytes | None]] = {}

    async def recall(self, method: str, request_id: UUID, payload_digest: bytes) -> bytes | None:
        digest, response = self._kept.setdefault((method, request_id), (payload_digest, None))
        if digest != payload_digest:
            raise RequestIdReusedError(str(request_id))
        return response

    async def remember(self, method: str, request_id: UUID, response: bytes) -> None:
        digest, _ = self._kept[method, request_id]
        self._kept[method, request_id] = (digest, response)


class _Writer:
    """Writes, and counts how often."""

    def __init__(self) -> None:
        self._answers = _Answers()
        self.writes = 0

    async def __call__(self, request: Any, method: str = "Write") -> Any:
        def answer(result: str) -> Any:
            return Echo(text=result)

        identity = repeatable(method, request, answer)
        try:
            if identity is not None:
                await identity.recall(self._answers)
            self.writes += 1
            result = f"write {self.writes} of {request.text}"
            if identity is not None:
                await identity.remember(self._answers, result)
        except AnsweredBeforeError as answered:
            return Echo.FromString(answered.response)
        return answer(result)


async def test_the_same_request_is_written_once() -> None:
    """A repetition gets the first answer, byte for byte."""
    writer = _Writer()
    request = Echo(text="a", request_id=ONE)
    assert await writer(request) == await writer(request) == Echo(text="write 1 of a")
    assert writer.writes == 1


async def test_another_payload_is_refused() -> None:
    """An id stands for one request; a different one under it is an error, and writes nothing."""
    writer = _Writer()
    await writer(Echo(text="a", request_id=ONE))
    with pytest.raises(RequestIdReusedError):
        await writer(Echo(text="b", request_id=ONE))
    assert writer.writes == 1


async def test_ids_are_apart_by_method() -> None:
    """The same id on another method, or another id, is another request."""
    writer = _Writer()
    await writer(Echo(text="a", request_id=ONE))
    await writer(Echo(text="a", request_id=ONE), method="Other")
    await writer(Echo(text="a", request_id=TWO))
    assert writer.writes == 3


async def test_no_id_means_no_protection() -> None:
    """Without an id each call writes."""
    writer = _Writer()
    await writer(Echo(text="a"))
    await writer(Echo(text="a"))
    assert writer.writes == 2


def test_pages_of_requests() -> None:
    """A token of one list works for its next page, and for no other filter and no other org."""
    tokens = PageTokens(b"a key of sixteen bytes or more")
    first = page_request(Echo(query="clicks>1", page_size=5), "acme", tokens)
    assert (first.cursor, first.limit) == (None, 5)
    assert first.next_token(None) == ""
    token = first.next_token(["x"])
    following = Echo(query="clicks>1", page_size=9_000, page_token=token)
    second = page_request(following, "acme", tokens)
    assert (second.cursor, second.limit) == (["x"], 1_000)
    assert following.page_token == token
    for request, org in ((Echo(query="clicks>2", page_token=token), "acme"), (following, "other")):
        with pytest.raises(PageTokenError):
            page_request(request, org, tokens)
    small = page_request(Echo(), "acme", tokens, default=7)
    assert (small.limit, small.text_cursor, small.number_cursor) == (7, None, None)
