"""Fields that differ are told with what is likely behind it, and equal ones are not."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_migration.domain.differences import (
    ROUNDING,
    WRITTEN_OTHERWISE,
    differing_fields,
    key_text,
    likely_cause,
    read_key,
)

_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.text(max_size=4), _VALUES, max_size=4), st.booleans())
def test_a_record_equals_itself(record: dict[str, Any], by_value: bool) -> None:
    """Whatever it holds, no number among it."""
    assert differing_fields(record, dict(record), by_value=by_value) == []
    assert likely_cause(record, record) == ""


@pytest.mark.parametrize(
    ("one", "other", "by_value", "by_text"),
    [
        (1, 1.0, True, False),
        (Decimal("1.0"), Decimal("1.00"), True, False),
        (-0.0, 0.0, True, False),
        ({"a": 1, "b": 2}, {"b": 2.0, "a": 1}, True, False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True, True),
        (True, 1, False, False),
        (None, "", False, False),
        (None, 0, False, False),
        ("1", 1, False, False),
        ([1, 2], [2, 1], False, False),
        ([], None, False, False),
    ],
)
def test_what_is_equal(one: Any, other: Any, by_value: bool, by_text: bool) -> None:
    """By value, and as it is written."""
    assert (differing_fields({"f": one}, {"f": other}, by_value=True) == []) is by_value
    assert (differing_fields({"f": one}, {"f": other}, by_value=False) == []) is by_text


def test_both_values_are_told_and_fields_of_one_side_too() -> None:
    """In the order of the source."""
    found = differing_fields(
        {"spend_micros": 1, "name": "a", "list": [1, "x"]}, {"name": "b", "more": 2}, by_value=True
    )
    assert [(each.field, each.source_value, each.target_value) for each in found] == [
        ("spend_micros", "1", ""),
        ("name", "a", "b"),
        ("list", '[1,"x"]', ""),
        ("more", "", "2"),
    ]


@pytest.mark.parametrize(
    ("one", "other", "cause"),
    [
        ({"spend_micros": 10}, {"spend_micros": 11}, ROUNDING),
        ({"spend_micros": 10}, {"spend_micros": 12}, ""),
        ({"spend_micros": 10, "clicks": 5}, {"spend_micros": 11, "clicks": 9}, ""),
        ({"frequency": 1.1}, {"frequency": 1.1 + 2e-16}, ROUNDING),
        ({"final": True}, {"final": False}, ""),
        ({"name": "Café  x"}, {"name": "Cafe\u0301 x "}, WRITTEN_OTHERWISE),
        ({"name": "a"}, {"name": "A"}, ""),
        ({"name": "a"}, {}, ""),
    ],
)
def test_causes_that_the_values_tell(one: Any, other: Any, cause: str) -> None:
    """All differing fields have to have it."""
    assert likely_cause(one, other) == cause


@given(
    st.dictionaries(
        st.text(max_size=5), st.none() | st.integers() | st.text(max_size=5), min_size=1
    )
)
def test_keys_are_read_as_they_were_written(key: dict[str, Any]) -> None:
    """Columns stay in order."""
    assert list(read_key(key_text(key)).items()) == list(key.items())


def test_what_is_no_key_is_refused() -> None:
    """A list has no columns."""
    with pytest.raises(ValueError, match="columns"):
        read_key("[1]")
