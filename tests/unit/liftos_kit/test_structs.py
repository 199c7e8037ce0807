"""JSON objects of the contract as Python values."""

from typing import Any

from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from liftos_kit.structs import plain, struct_of

_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.text(max_size=8)
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(max_size=4), _JSON, max_size=5))
def test_values_survive_the_way_there_and_back(values: dict[str, Any]) -> None:
    """Every JSON value comes back as it went."""
    assert plain(struct_of(values)) == values


@given(st.integers(-(2**60), 2**60))
def test_whole_numbers_are_integers_where_that_is_exact(number: int) -> None:
    """A number that may have lost digits stays a float, so that ids are not guessed."""
    struct = json_format.ParseDict({"n": number}, Struct())
    read = plain(struct)["n"]
    if abs(number) < 2**53:
        assert isinstance(read, int)
        assert read == number
    elif isinstance(read, int):
        raise AssertionError("2^53 and beyond may have lost digits")
