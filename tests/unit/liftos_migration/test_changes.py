"""What is dirty, and what a snapshot sees."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_migration.domain.changes import DirtyRecords, TransactionSnapshot

XIDS = st.integers(min_value=2**31, max_value=2**40)


@given(next_xid=XIDS, running=st.sets(st.integers(1, 1000)), distance=st.integers(-2000, 2000))
def test_a_snapshot_sees_what_had_ended(next_xid: int, running: set[int], distance: int) -> None:
    """The log has half of a transaction's number; the other half follows from the snapshot."""
    in_progress = {next_xid - each for each in running}
    oldest = min(in_progress, default=next_xid)
    text = f"{oldest}:{next_xid}:{','.join(map(str, sorted(in_progress)))}"
    xid = next_xid + distance
    expected = xid < next_xid and xid not in in_progress
    assert TransactionSnapshot.parse(text).sees(xid % 2**32) is expected


def test_many_keys_make_the_whole_table_dirty_and_nothing_is_forgotten() -> None:
    """Beyond the limit keys are given up, and a table that is dirty as a whole stays so."""
    dirty = DirtyRecords(maximum_keys=3)
    assert not dirty
    dirty.add("public.a", [("1",), ("2",), ("1",)])
    dirty.add("public.b", [("1", "x")])
    assert dirty.keys == {"public.a": {("1",), ("2",)}, "public.b": {("1", "x")}}
    dirty.add("public.a", [("3",), ("4",)])
    assert dirty.whole == {"public.a": "more than 3 records changed"}
    dirty.add("public.a", [("5",)])
    dirty.add_whole("public.a", "another reason")
    assert dirty.whole == {"public.a": "more than 3 records changed"}
    assert dirty.keys == {"public.b": {("1", "x")}}


@pytest.mark.parametrize("whole_first", [True, False])
def test_transactions_are_merged(whole_first: bool) -> None:
    """In whatever order, the union is dirty."""
    whole, keys, dirty = DirtyRecords(), DirtyRecords(), DirtyRecords()
    whole.add_whole("public.a", "emptied")
    whole.add("public.b", [("1",)])
    keys.add("public.a", [("1",)])
    keys.add("public.b", [("2",)])
    for each in (whole, keys) if whole_first else (keys, whole):
        dirty.merge(each)
    assert dirty.whole == {"public.a": "emptied"}
    assert dirty.keys == {"public.b": {("1",), ("2",)}}
