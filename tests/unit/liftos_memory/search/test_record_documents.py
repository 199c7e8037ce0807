"""Documents of artifacts and notes: what they say, and how they are cut."""

from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liftos_memory.domain.documents import DocumentKind
from liftos_memory.domain.lexical import lexical_text
from liftos_memory.domain.record_documents import (
    MAXIMUM_BYTES,
    artifact_document,
    note_document,
    record_document,
)

DAY = date(2026, 1, 5)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=20,
)


def _note(text: str, **fields: Any) -> Any:
    given: dict[str, Any] = {
        "scope": "causal",
        "title": "",
        "labels": (),
        "attributes": None,
        "start_date": DAY,
        "end_date": DAY,
    }
    return note_document("review", text=text, **(given | fields))


def _artifact(body: dict[str, Any] | None, **fields: Any) -> Any:
    given: dict[str, Any] = {"scope": "causal", "kind": 1, "display_name": "Spring model"}
    return artifact_document("m-1", body=body, start_date=DAY, end_date=DAY, **(given | fields))


def test_a_note_is_its_title_and_text_and_is_found_by_its_words() -> None:
    """Labels, attributes, id and scope find it, and stand in no text."""
    note = _note(
        "Spend moved to\nsearch.", title="Weekly review", labels=("budget",), attributes={"a": "b7"}
    )
    assert (note.title, note.text) == ("Weekly review", "Weekly review\nSpend moved to\nsearch.")
    assert note.embedded_text == "Weekly review Spend moved to search."
    assert {"budget", "b7", "causal", "review", "spend"} <= set(note.lexical_text.split())
    assert (note.document_id, note.record) == ("note-review", "notes/review")
    assert note.quality_score is None


def test_a_note_without_a_title_is_called_by_its_beginning() -> None:
    """The title is of whole words, and stands only once in what is searched."""
    note = _note("word " * 50)
    assert note.title == f"{'word ' * 20}".strip() + "…"
    assert note.text == "word " * 50


def test_an_artifact_says_what_its_body_says() -> None:
    """Keys, words, numbers and lists become lines; the name tells kind and scope."""
    document = _artifact(
        {
            "params": {"decay": 0.5, "rounds": 3.0, "on": True},
            "channels": ["meta", "email"],
            "x": None,
        }
    )
    assert document.title == "Model “Spring model” of causal"
    assert document.text.split("\n") == [
        "Model “Spring model” of causal",
        "channels: meta, email",
        "params decay: 0.5",
        "params on: yes",
        "params rounds: 3",
    ]


@pytest.mark.parametrize("letter", ["a", "Ω", "模", "😀", "a b ", "模 "])
def test_long_texts_are_cut_and_say_so(letter: str) -> None:
    """Text and terms fit an index, and the last line tells how much of it is searched."""
    text = letter * (80_000 // len(letter))
    document = _note(text, title="Long")
    assert len(document.text.encode()) <= 65_535
    assert len(document.lexical_text) <= 65_535
    assert document.lexical_text.startswith("long")
    assert document.text.endswith(" characters are searched.]")
    whole = len(f"Long\n{text}")
    kept = int(document.text.rpartition("first ")[2].partition(" ")[0].replace(",", ""))
    assert f"of {whole:,} characters" in document.text
    assert f"Long\n{text}".startswith(document.text[:kept])


def test_a_record_that_moves_to_another_scope_is_another_document() -> None:
    """So that an index which has the old one knows that it does."""
    assert _note("x").content_hash == _note("x").content_hash
    assert _note("x").content_hash != _note("x", scope="other").content_hash


@settings(max_examples=50)
@given(body=st.dictionaries(st.text(max_size=9), _VALUES))
def test_any_body_gives_a_document_that_fits(body: dict[str, Any]) -> None:
    """Whatever modules keep is readable, bounded, and the same each time."""
    document = _artifact(body)
    assert document == _artifact(body)
    assert len(document.text.encode()) <= MAXIMUM_BYTES + 100
    assert set(lexical_text(document.title).split()) <= set(document.lexical_text.split())


def test_a_body_that_goes_on_says_so() -> None:
    """Values, lines and depth have ends, and each says that it is one."""
    deep: Any = "end"
    for _ in range(12):
        deep = {"in": deep}
    text = _artifact({"deep": deep, "long": "x" * 1_000}).text
    assert "[deeper than what is searched]" in text
    assert f"long: {'x' * 500}…" in text
    many = _artifact({f"key {number:05}": "word " * 20 for number in range(5_000)}).text
    assert many.endswith("[The body goes on; what follows is not searched.]")


def test_other_records_are_written_by_their_owners() -> None:
    """Any record with a text, days and a quality becomes a document."""
    document = record_document(
        DocumentKind.INSIGHT,
        "insights/i-1",
        scope="",
        title="Spend fell",
        text="Spend of Meta fell by a third.",
        start_date=DAY,
        end_date=DAY,
        quality_score=0.9,
    )
    assert (document.document_id, document.record) == ("insight-i-1", "insights/i-1")
    assert document.quality_score == 0.9
