"""Corrections: slips of one letter are read as words of names, and nothing else is."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_memory.domain.concept_lexicon import LEXICON_WORDS
from liftos_memory.domain.corrections import (
    MAXIMUM_WORDS,
    SHORTEST_WORD,
    best_correction,
    explain_corrections,
    is_one_edit,
    name_words,
    read,
    words_to_check,
)

LETTERS = "abcde"
WORDS = st.text(LETTERS, min_size=SHORTEST_WORD, max_size=9)


def edits(word: str) -> set[str]:
    """Return all words that one edit makes, by trying each."""
    cuts = [(word[:place], word[place:]) for place in range(len(word) + 1)]
    return {
        *(left + right[1:] for left, right in cuts if right),
        *(left + letter + right for left, right in cuts for letter in LETTERS),
        *(left + letter + right[1:] for left, right in cuts if right for letter in LETTERS),
        *(left + right[1] + right[0] + right[2:] for left, right in cuts if len(right) > 1),
    } - {word}


@given(WORDS)
def test_every_slip_behind_the_first_letter_is_found(word: str) -> None:
    """Each word that one edit makes is one edit away, either way round."""
    for other in edits(word):
        same_start = other[:1] == word[:1]
        assert is_one_edit(other, word) == is_one_edit(word, other) == same_start, other


@given(WORDS, WORDS)
def test_nothing_else_is_a_slip(word: str, other: str) -> None:
    """What is no single edit is refused, equal words too."""
    assert is_one_edit(word, other) == (other in edits(word) and word[:1] == other[:1])


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("klavyio", "klaviyo"),
        ("clearnace", "clearance"),
        ("bots", "boots"),
        ("boots", None),
        ("winter", None),
        ("lkaviyo", None),
    ],
)
def test_a_slip_is_read_as_the_word_that_most_objects_have(word: str, expected: str | None) -> None:
    """The most used one counts, a word that names have is left, and so are first letters."""
    names = {"klaviyo": 1, "clearance": 2, "boots": 5, "bolts": 4, "bouts": 5}
    assert best_correction(word, names) == expected


def test_only_plain_words_are_looked_at() -> None:
    """Not numbers, ids, short words, stop words, words of the lexicon and of periods."""
    query = "Klavyio cost in March 2026, week 9: what from BFCM_2024 id 10103330 tie Über-Cöats"
    assert words_to_check(query) == ["klavyio"]
    assert words_to_check("Cöats CÖATS") == ["coats"]
    many = " ".join(
        f"word{'abcdefghij'[each % 10]}{'abcdefghij'[each // 10]}" for each in range(99)
    )
    assert len(words_to_check(many)) == MAXIMUM_WORDS
    assert "cost" in LEXICON_WORDS


def test_words_of_a_name() -> None:
    """Parts of identifiers and pieces between changes of case; without accents, case and digits."""
    assert name_words("SpringSale_BFCM-2024 | Éclairs für Tee") == (
        *("springsale", "spring", "sale", "bfcm", "eclairs"),
    )
    assert name_words("Q4 ab 77") == ()


@given(st.text(max_size=40))
def test_words_of_any_name_are_found_again(name: str) -> None:
    """They are folded letters that a query with them is checked for, or that it knows."""
    for word in name_words(name):
        assert len(word) >= SHORTEST_WORD
        assert re.fullmatch(r"[^\W\d_]+", word)


@given(st.text(max_size=60))
def test_without_corrections_a_query_stays_as_it_is(query: str) -> None:
    """To the last letter."""
    assert read(query, {}).text == query


def test_a_query_is_read_with_its_corrections() -> None:
    """Everything else stays in its place, and the answer can say what was read as what."""
    reading = read("show Klavyio: winetr boots", {"klavyio": "klaviyo", "winetr": "winter"})
    assert reading.text == "show klaviyo: winter boots"
    assert explain_corrections(reading.corrections) == (
        "“klavyio” is read as “klaviyo”, “winetr” is read as “winter”"
    )
    assert explain_corrections({}) == ""
