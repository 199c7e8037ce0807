"""Patterns in words: every one of the contract, and the parts they are made of."""

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor
from hypothesis import given
from hypothesis import strategies as st

from buf.validate import validate_pb2
from liftos_kit.core.pattern_words import explain_mismatch

_GENERATED = Path(__file__).parents[3] / "gen"
_ENTRY = "^orgs/[a-z0-9][a-z0-9-]{0,62}/entries/[0-9]{8}-[0-9a-f]{32}$"
_LONGEST_DESCRIPTION = 200


def _patterns_of(message: Descriptor) -> Iterator[str]:
    for field in message.fields:
        rules = field.GetOptions().Extensions[validate_pb2.field]
        for each in (rules.string, rules.repeated.items.string):
            if each.pattern:
                yield each.pattern
    for nested in message.nested_types:
        yield from _patterns_of(nested)


def _contract_patterns() -> list[str]:
    modules = [
        import_module(".".join(path.relative_to(_GENERATED).with_suffix("").parts))
        for path in sorted(_GENERATED.glob("liftos/*/v1/*_pb2.py"))
    ]
    assert modules
    return sorted(
        {
            pattern
            for module in modules
            for message in module.DESCRIPTOR.message_types_by_name.values()
            for pattern in _patterns_of(message)
        }
    )


@pytest.mark.parametrize("pattern", _contract_patterns())
def test_every_pattern_of_the_contract_has_words(pattern: str) -> None:
    """No caller has to read a regular expression, and none of the words is cut off."""
    words = explain_mismatch("?", pattern)
    assert words is not None
    assert words.startswith("must ")
    assert re.search(r"[\[\]()^$|\\]|\{\d", words) is None
    assert len(words) <= _LONGEST_DESCRIPTION


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (
            "^[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$",
            "must be a date as YYYY-MM-DD, such as 2026-01-31",
        ),
        ("^[A-Z]{3}$", "must be 3 upper-case letters"),
        (
            "^[A-Z]{2}(-[A-Z0-9]{1,3})?$",
            (
                "must be 2 upper-case letters, optionally followed by -"
                " and 1 to 3 upper-case letters or digits"
            ),
        ),
        (
            "^([*]|[a-z0-9][a-z0-9_.:/-]{0,199})$",
            (
                "must be * or 1 to 200 lower-case letters, digits or any of -./:_,"
                " beginning with a lower-case letter or digit"
            ),
        ),
        (
            "^orgs/[a-z0-9][a-z0-9-]{0,62}/runs/([0-9a-f]{32}|-)$",
            "must look like orgs/{org}/runs/{run}, where {run} is 32 hex digits or -",
        ),
        ("^-[a-z]{0,3}$", "must be - and 0 to 3 lower-case letters"),
    ],
)
def test_the_words_say_what_the_pattern_does(pattern: str, words: str) -> None:
    """Counts, kinds of characters, choices and options are named."""
    assert explain_mismatch("?", pattern) == words


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("orgs/demo/entries/foo", "{entry} is 8 digits, - and 32 hex digits"),
        ("foo", "{entry} is 8 digits, - and 32 hex digits"),
        (
            "orgs/Demo/entries/foo",
            (
                "{org} is 1 to 63 lower-case letters, digits or -,"
                " beginning with a lower-case letter or digit"
            ),
        ),
    ],
)
def test_of_a_resource_name_the_id_that_is_wrong_is_described(name: str, wrong: str) -> None:
    """The first one; of a text that is no name at all, the last."""
    expected = f"must look like orgs/{{org}}/entries/{{entry}}, where {wrong}"
    assert explain_mismatch(name, _ENTRY) == expected


@pytest.mark.parametrize(
    "pattern", ["^a+$", "[a-z]{3}", r"^\d{4}$", "^(a(b|c))$", "^[^a]$", "^-{3}$"]
)
def test_what_is_not_understood_has_no_words(pattern: str) -> None:
    """Half a translation would be wrong."""
    assert explain_mismatch("?", pattern) is None


@given(st.text(), st.text())
def test_any_text_and_any_pattern_are_taken(text: str, pattern: str) -> None:
    """An explanation never fails: it stands in the way of an error."""
    explain_mismatch(text, f"^{re.escape(pattern)}$")
    explain_mismatch(text, _ENTRY)
