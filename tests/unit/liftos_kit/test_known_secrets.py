"""Known secrets leave every text, and nothing else does."""

import json
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_kit.redaction import REDACTED, KnownSecrets, redact, redact_event, remember_secret

_values = st.text(st.characters(categories=["L", "N"]), min_size=8, max_size=24)
_any_values = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="[]"), min_size=8, max_size=24
)


@given(st.lists(_values, min_size=1, max_size=8), st.data())
def test_known_values_leave_a_text(values: list[str], data: st.DataObject) -> None:
    """Also where they stand side by side, overlap or are parts of one another."""
    known = KnownSecrets()
    for value in values:
        known.remember(value)
    parts = st.sampled_from(values) | st.sampled_from(values).map(lambda value: value[:5])
    text = "".join(data.draw(st.lists(parts | st.text(max_size=6), max_size=8)))
    left = known.redact(text)
    assert not [value for value in values if value in left]
    assert (REDACTED in left) == any(value in text for value in values) or REDACTED in text


@given(_any_values)
def test_a_value_is_known_however_it_is_written(value: str) -> None:
    """In URLs, in JSON and in the repr of a text."""
    known = KnownSecrets()
    known.remember(value)
    for written in (quote_plus(value), json.dumps(value)[1:-1], repr(value)[1:-1]):
        assert known.redact(f"<{written}>") == f"<{REDACTED}>"


@given(st.lists(_values, max_size=4), st.text(st.characters(categories=["P", "Z"])))
def test_other_texts_stay(values: list[str], text: str) -> None:
    """A text without a known value comes back as it was."""
    known = KnownSecrets()
    for value in values:
        known.remember(value)
    assert known.redact(text) == text


@given(st.lists(_values, max_size=40), st.integers(1, 10), st.integers(8, 60))
def test_memory_is_bounded(values: list[str], most: int, most_characters: int) -> None:
    """The newest values are known, as many as there is room for; the rest leaves no trace."""
    known = KnownSecrets(maximum_values=most, maximum_characters=most_characters)
    for value in values:
        known.remember(value)
    kept: list[str] = []
    for value in dict.fromkeys(reversed(values)):
        if len(value) > most_characters:
            continue
        if len(kept) == most or sum(map(len, kept)) + len(value) > most_characters:
            break
        kept.append(value)
    assert len(known) == len(kept)
    assert all(known.redact(value) == REDACTED for value in kept)
    gone = [value for value in values if not any(each in value for each in kept)]
    assert all(known.redact(value) == value for value in gone)


def test_what_is_used_is_kept() -> None:
    """A value that is remembered again counts as new."""
    known = KnownSecrets(maximum_values=2)
    for value in ("first-secret", "second-secret", "first-secret", "third-secret"):
        known.remember(value)
    assert known.redact("first-secret second-secret third-secret") == (
        f"{REDACTED} second-secret {REDACTED}"
    )


@pytest.mark.parametrize("value", ["", "1234567"])
def test_short_values_are_not_known(value: str) -> None:
    """They would blank words that are no secrets."""
    known = KnownSecrets()
    known.remember(value)
    assert len(known) == 0
    assert known.redact("1234567") == "1234567"


def test_all_that_is_logged_or_traced_is_searched() -> None:
    """Texts, bytes, errors and what is within others, under keys that sound harmless."""
    remember_secret("zebra-crossing-7")
    event = {
        "event": "sent zebra-crossing-7",
        "error": ValueError("no zebra-crossing-7 here"),
        "rows": [{"url": b"/zebra-crossing-7/"}],
        "count": 7,
    }
    shown = json.dumps(redact_event(None, "info", dict(event)), default=repr)
    assert "zebra" not in shown
    assert shown.count(REDACTED) == 3
    assert "zebra" not in str(redact({"exception.message": "zebra-crossing-7"}))
