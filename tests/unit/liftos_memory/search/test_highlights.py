"""Highlights: honest slices of the text, with matches where the offsets say."""

from hypothesis import given
from hypothesis import strategies as st

from liftos_memory.domain.highlights import highlight
from liftos_memory.domain.lexical import lexical_terms

WORDS = [
    "sale",
    "Spring_Sale",
    "café",
    "e\u0301té",
    "東京",
    "clicks",
    "a" * 200,
    "rose",
    "☃",
    "\U0001d4b31",
]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=60).map(" ".join) | st.text(max_size=300)


def test_stems_match_and_offsets_hold_beyond_ascii() -> None:
    """Words match by stem, and offsets count characters."""
    text = "Rising 😀 Über: Conversions ROSE in the Café."
    (piece,) = highlight(text, "conversion cafe uber")
    assert piece.snippet == text
    assert [text[span.start : span.end] for span in piece.spans] == ["Über", "Conversions", "Café"]


def test_the_piece_with_most_terms_comes_first() -> None:
    """A window that holds two terms beats an earlier one that holds one."""
    text = "clicks " + "filler " * 40 + "spring sale " + "filler " * 40
    first, second = highlight(text, "spring sale clicks")
    assert "spring sale" in first.snippet
    assert second.snippet.startswith("clicks")


def test_no_match_no_piece() -> None:
    """Nothing is shown where nothing matched, nor for a query of stop words."""
    assert highlight("spring sale", "autumn") == ()
    assert highlight("the spring sale", "the") == ()


def test_pieces_begin_and_end_at_words() -> None:
    """A cut never goes through a word that fits."""
    text = " ".join(f"word{i}" for i in range(100))
    (piece,) = highlight(text, "word50")
    assert len(piece.snippet) <= 160
    assert set(piece.snippet.split()) <= set(text.split())


@given(TEXTS, TEXTS, st.integers(1, 5), st.integers(1, 160))
def test_pieces_are_slices_that_match(text: str, query: str, pieces: int, characters: int) -> None:
    """Each piece is in the text, short enough, and has matches at its spans."""
    wanted = set(lexical_terms(query))
    found = highlight(text, query, maximum_snippets=pieces, maximum_characters=characters)
    assert len(found) <= pieces
    assert bool(found) == bool(wanted & set(lexical_terms(text)))
    for piece in found:
        assert piece.snippet in text
        assert 0 < len(piece.snippet) <= characters
        assert piece.spans
        end = 0
        for span in piece.spans:
            assert end <= span.start < span.end <= len(piece.snippet)
            end = span.end


@given(TEXTS, TEXTS)
def test_every_span_shares_a_term_with_the_query(text: str, query: str) -> None:
    """What is marked is what the lexical leg matches, and nothing else is left out."""
    wanted = set(lexical_terms(query))
    pieces = highlight(text, query, maximum_characters=max(len(text), 1))
    spans = [
        (start + span.start, start + span.end)
        for piece in pieces
        for start in [text.index(piece.snippet)]
        for span in piece.spans
    ]
    assert all(wanted & set(lexical_terms(text[start:end])) for start, end in spans)
    assert bool(spans) == bool(wanted & set(lexical_terms(text)))
