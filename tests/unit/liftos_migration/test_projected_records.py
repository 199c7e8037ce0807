"""Projected rows as records: what Core takes stays as it is, and what it does not take is named."""

import json
import math
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_kit.structs import plain, struct_of
from liftos_mapping.record_digests import canonical_json
from liftos_migration.domain.records import (
    RecordInvalidError,
    artifact_of,
    note_of,
    rate_of,
)

ARTIFACT: dict[str, Any] = {
    "id": "m-1",
    "kind": "MODEL",
    "display_name": "One",
    "body": '{"a": 1}',
    "content": None,
    "content_type": "",
}
NOTE: dict[str, Any] = {
    "id": "n-1",
    "title": "One",
    "text": "A text.",
    "labels": ["a", "b"],
    "attributes": None,
}
RATE: dict[str, Any] = {
    "currency_code": "EUR",
    "date": date(2025, 1, 1),
    "rate": "1.050000000000",
    "source": "",
}
BROKEN = [
    (artifact_of, ARTIFACT, {"id": ""}, "INVALID_ID"),
    (artifact_of, ARTIFACT, {"id": "a b"}, "INVALID_ID"),
    (artifact_of, ARTIFACT, {"id": "a" * 201}, "INVALID_ID"),
    (artifact_of, ARTIFACT, {"kind": "THING"}, "UNKNOWN_KIND"),
    (artifact_of, ARTIFACT, {"display_name": "x" * 201}, "TOO_LONG"),
    (artifact_of, ARTIFACT, {"body": "[1]"}, "NOT_AN_OBJECT"),
    (artifact_of, ARTIFACT, {"body": '{"a": 9007199254740993}'}, "NUMBER_INEXACT"),
    (artifact_of, ARTIFACT, {"body": '{"a": 0.12345678901234567}'}, "NUMBER_INEXACT"),
    (artifact_of, ARTIFACT, {"body": '{"a": [1e400]}'}, "NUMBER_INEXACT"),
    (artifact_of, ARTIFACT, {"body": json.dumps({"a": "x" * 1024 * 1024})}, "TOO_LONG"),
    (artifact_of, ARTIFACT, {"content": bytes(8 * 1024 * 1024 + 1)}, "TOO_LONG"),
    (note_of, NOTE, {"text": ""}, "REQUIRED"),
    (note_of, NOTE, {"text": "x" * 20_001}, "TOO_LONG"),
    (note_of, NOTE, {"labels": ["a", "a"]}, "DUPLICATE"),
    (note_of, NOTE, {"labels": [None]}, "TOO_LONG"),
    (note_of, NOTE, {"labels": [str(place) for place in range(51)]}, "TOO_LONG"),
    (rate_of, RATE, {"currency_code": "euro"}, "UNKNOWN_CURRENCY"),
    (rate_of, RATE, {"date": None}, "REQUIRED"),
    (rate_of, RATE, {"rate": "0"}, "OUT_OF_RANGE"),
    (rate_of, RATE, {"rate": "NaN"}, "OUT_OF_RANGE"),
    (rate_of, RATE, {"rate": None}, "OUT_OF_RANGE"),
    (rate_of, RATE, {"rate": "0.0000000000001"}, "TOO_LONG"),
]


@pytest.mark.parametrize(("make", "row", "change", "code"), BROKEN)
def test_what_core_would_not_take_is_named(
    make: Any, row: dict[str, Any], change: dict[str, Any], code: str
) -> None:
    """With the field at fault."""
    arguments = () if make is rate_of else ("shop",)
    make(row, *arguments)
    with pytest.raises(RecordInvalidError) as refused:
        make(row | change, *arguments)
    assert refused.value.code == code
    assert refused.value.field == next(iter(change))


def test_a_rate_is_a_decimal_without_needless_zeros() -> None:
    """So that it reads as Core tells it."""
    assert rate_of(RATE).rate == "1.05"
    assert rate_of(RATE | {"rate": "120.00"}).rate == "120"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(body=st.dictionaries(st.text("abc", max_size=2), JSON, max_size=3))
def test_a_body_is_on_core_what_it_was(body: dict[str, Any]) -> None:
    """Its digest too, whichever way its numbers are written."""
    made = artifact_of(ARTIFACT | {"body": json.dumps(body)}, "shop")
    assert made.body is not None
    kept = plain(struct_of(made.body))
    assert canonical_json(kept) == canonical_json(made.body)
    assert _numbers(kept) == _numbers(body)


def _numbers(value: Any) -> Any:
    match value:
        case bool() | None | str():
            return value
        case int() | float():
            return math.copysign(1, value) * 0.0 if value == 0 else float(value)
        case list():
            return [_numbers(inner) for inner in value]
        case _:
            return {key: _numbers(inner) for key, inner in value.items()}
