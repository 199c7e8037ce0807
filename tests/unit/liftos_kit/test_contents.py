"""Texts and times that no store can hold are found wherever a request has them."""

from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from liftos.memory.v1 import artifact_pb2, entry_pb2, slice_pb2
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_kit.contents import search_for_unstorable
from liftos_kit.core.errors import FieldViolation


def _found(message: pb.BatchUpsertNotesRequest | pb.SliceOpening) -> list[tuple[str, str]]:
    search = search_for_unstorable(type(message).DESCRIPTOR)
    assert search is not None
    found: list[FieldViolation] = []
    search(message, "", found)
    return [(violation.field, violation.rule) for violation in found]


def test_every_text_with_a_nul_is_named() -> None:
    """Texts of the request, of the messages in it and of lists each have their own path."""
    request = pb.BatchUpsertNotesRequest(
        origin="a\0",
        notes=[
            artifact_pb2.Note(title="fine"),
            artifact_pb2.Note(text="\0", labels=["fine", "a\0b"]),
        ],
    )
    assert _found(request) == [
        ("notes[1].text", "nul"),
        ("notes[1].labels[1]", "nul"),
        ("origin", "nul"),
    ]


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**31), 2**31 - 1))
def test_times_that_are_none(seconds: int, nanos: int) -> None:
    """What is let through can be read as a time, and what is refused cannot."""
    time = Timestamp(seconds=seconds, nanos=nanos)
    opening = pb.SliceOpening(lineage=slice_pb2.Lineage(fetch_time=time))
    try:
        time.ToDatetime()
    except (ValueError, OverflowError):
        readable = False
    else:
        readable = True
    assert _found(opening) == ([] if readable else [("lineage.fetch_time", "timestamp")])


def test_rows_are_left_to_their_own_rules() -> None:
    """A row without rules in the contract does not cost its batch."""
    request = pb.BatchUpsertEntriesRequest(
        rows=entry_pb2.EntryBatch(entries=[entry_pb2.Entry(campaign_name="\0")])
    )
    search = search_for_unstorable(pb.BatchUpsertEntriesRequest.DESCRIPTOR)
    assert search is not None
    found: list[FieldViolation] = []
    search(request, "", found)
    assert found == []
