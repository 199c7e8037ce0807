"""What the bodies of records may hold."""

import math

import pytest

from liftos_mapping.record_digests import JsonObject
from liftos_memory.domain.records import check_body


@pytest.mark.parametrize(
    ("body", "rules"),
    [
        ({"a": "b\0"}, ["nul"]),
        ({"a\0": 1}, ["nul"]),
        ({"a": {"b": ["c", ("d", "\0")]}}, ["nul"]),
        ({"a": [math.inf]}, ["json.finite"]),
        ({"a": (1.0, (math.nan,))}, ["json.finite"]),
        ({"a": ("\0", math.nan)}, ["nul", "json.finite"]),
        ({"a": ("b", [1.5, None, True])}, []),
    ],
)
def test_what_a_store_cannot_hold_is_found_at_any_depth(body: JsonObject, rules: list[str]) -> None:
    """Lists and tuples are the same JSON."""
    found = check_body(body, field="notes[0].attributes", maximum_bytes=1_000)
    assert [violation.rule for violation in found] == rules
