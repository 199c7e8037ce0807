"""Messages of Google Ads in parts."""

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from liftos_ingestion.adapters.sources.google_ads import messages
from liftos_ingestion.adapters.sources.google_ads.message_parts import parts_of


def _answer(clicks: list[int], request_id: str, fields: list[str]) -> bytes:
    answer = messages.StreamResponse(request_id=request_id)
    for number in clicks:
        answer.results.add().metrics.clicks = number
    answer.field_mask.paths.extend(fields)
    return bytes(answer.SerializeToString())


@given(
    st.lists(st.integers(0, 2**63 - 1), max_size=40),
    st.text(st.characters(codec="ascii"), max_size=300),
    st.lists(st.sampled_from(["metrics.clicks", "campaign.id"]), max_size=3),
    st.integers(1, 12),
)
def test_parts_are_messages_that_make_the_whole(
    clicks: list[int], request_id: str, fields: list[str], count: int
) -> None:
    """Each part parses by itself and has few rows; merged they are the message."""
    message = _answer(clicks, request_id, fields)
    parts = list(parts_of(message, count))
    assert b"".join(parts) == message
    assert list(parts_of(b"before" + message, count, start=6)) == parts
    merged = messages.StreamResponse()
    for part in parts:
        parsed = messages.StreamResponse.FromString(part)
        assert len(parsed.results) <= count
        merged.MergeFrom(parsed)
    assert merged == messages.StreamResponse.FromString(message)


@given(st.binary(max_size=200), st.integers(1, 5))
def test_garbage_is_as_unreadable_as_before(garbage: bytes, count: int) -> None:
    """What cannot be parsed as a whole cannot be parsed in parts, and the other way round."""
    assert _parses([garbage]) == _parses(list(parts_of(garbage, count)))


def _parses(parts: list[bytes]) -> bool:
    try:
        for part in parts:
            messages.StreamResponse.FromString(part)
    except DecodeError:
        return False
    return True


@pytest.mark.parametrize("lost", [1, 7, 12])
def test_a_message_that_breaks_off(lost: int) -> None:
    """A cut message gives no part that hides it."""
    message = _answer([2**62] * 5, "", [])[:-lost]
    assert not _parses(list(parts_of(message, 2)))
