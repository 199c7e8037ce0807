"""One request_id, one effect, one answer."""

from typing import Any

import pytest
from tests.inprocess.kit.echo_service import Echo

from liftos_kit.core.errors import RequestIdReusedError
from liftos_kit.core.paging import PageTokens
from liftos_kit.idempotency import Claim, idempotent_call, run_once
from liftos_kit.requests import digest_for_paging

METHOD = "liftos.echo.v1.EchoService/Write"


class _Claims:
    """Claims in memory, as one transaction after the other sees them."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str, str], Claim] = {}

    async def claim(
        self, org: str, *, method: str, request_id: str, payload_digest: bytes
    ) -> Claim:
        return self.kept.setdefault((org, method, request_id), Claim(payload_digest, None))

    async def record(self, org: str, *, method: str, request_id: str, answer: bytes) -> None:
        claim = self.kept[org, method, request_id]
        self.kept[org, method, request_id] = Claim(claim.payload_digest, answer)


class _Writer:
    """Writes, and counts how often."""

    def __init__(self, claims: _Claims) -> None:
        self._claims = claims
        self.writes = 0

    async def __call__(self, request: Any, org: str = "acme", method: str = METHOD) -> Any:
        async def write() -> Any:
            self.writes += 1
            return Echo(text=f"write {self.writes} of {request.text}")

        call = idempotent_call(org, method=method, request=request)
        return await run_once(self._claims, call, write, answer_type=Echo)


async def test_the_same_request_is_written_once() -> None:
    """A repetition gets the first answer, byte for byte."""
    writer = _Writer(_Claims())
    request = Echo(text="a", request_id="1")
    assert await writer(request) == await writer(request) == Echo(text="write 1 of a")
    assert writer.writes == 1


async def test_another_payload_is_refused() -> None:
    """An id stands for one request; a different one under it is an error, and writes nothing."""
    writer = _Writer(_Claims())
    await writer(Echo(text="a", request_id="1"))
    with pytest.raises(RequestIdReusedError):
        await writer(Echo(text="b", request_id="1"))
    assert writer.writes == 1


async def test_ids_are_each_orgs_and_methods_own() -> None:
    """Two orgs, or two methods, may use the same id."""
    writer = _Writer(_Claims())
    request = Echo(text="a", request_id="1")
    await writer(request)
    await writer(request, org="other")
    await writer(request, method="another")
    await writer(Echo(text="a", request_id="2"))
    assert writer.writes == 4


async def test_without_an_id_every_call_writes() -> None:
    """Who sends no id asks for no protection."""
    writer = _Writer(_Claims())
    await writer(Echo(text="a"))
    await writer(Echo(text="a"))
    assert writer.writes == 2


def test_page_tokens_of_requests() -> None:
    """A token of one list works for its next page and not for another filter."""
    tokens = PageTokens(b"a key of sixteen bytes or more")
    first = Echo(query="clicks>1", page_size=5)
    token = tokens.encode(["x"], org="acme", request_digest=digest_for_paging("List", first))
    following = Echo(query="clicks>1", page_size=9, page_token=token)
    digest = digest_for_paging("List", following)
    assert tokens.decode(token, org="acme", request_digest=digest) == ["x"]
    assert digest != digest_for_paging("List", Echo(query="clicks>2"))
    assert digest != digest_for_paging("Other", following)
    assert following.page_token == token
