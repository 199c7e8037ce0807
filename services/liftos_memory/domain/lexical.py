"""Lexical analysis: how words of documents and queries become terms that can be matched.

Documents, queries and highlights all go through `tokenize`, so a word matches wherever it stands.
Terms hold only a-z and 0-9. Every tokenizer therefore leaves them whole, and no store needs a
language of its own: each word is normalised (NFKC, case folded, accents dropped), stop words go,
English stems stay. Words of other scripts are spelled as hexadecimal UTF-8, which matches exactly;
scripts without spaces are taken letter by letter.

Identifiers give several terms: `Spring_SaleBFCM-2024` is found as a whole and by its parts.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import snowballstemmer

_STOP_WORDS: Final = (
    "a about after all also am an and any are as at be been but by can could did do does for from"
    " get give had has have how i if in into is it its just me my no not of on or our out over"
    " please s show so some such t than that the their them then there these they this those to too"
    " was we were what when where which while who why will with would you your"
)
STOP_WORDS: Final = frozenset(_STOP_WORDS.split())
"""Words that say nothing about a document. Words about movement and comparison are not here."""

MAXIMUM_WORD_CHARACTERS: Final = 200
"""Longer words are cut here before they become terms; nothing that people type is longer."""

_NOTHING_SAID: Final = "the query has only words that say nothing, such as “the” or “what”"

_ASCII_WORD: Final = re.compile(r"[A-Za-z0-9]+(?:[_-]+[A-Za-z0-9]+)*")
_PART: Final = re.compile(r"[^_\-]+")
# A break before a capital that follows a small letter or digit, before the last capital of an
# abbreviation, and between letters and digits.
_BREAK: Final = re.compile(
    r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[A-Za-z])(?=[0-9])|(?<=[0-9])(?=[A-Za-z])"
)
_TERM: Final = re.compile(r"[a-z0-9]+")
_SHORTEST_PIECE: Final = 2
# Han, Hiragana, Katakana, Thai, Lao, Khmer, Myanmar: written without spaces between words.
_UNSPACED: Final = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
)


@dataclass(frozen=True, slots=True)
class Token:
    """A word of a text.

    Attributes:
        start: Index of its first character in the text.
        end: Index one past its last character.
        terms: What it is found by; empty for a stop word.
    """

    start: int
    end: int
    terms: tuple[str, ...]


def tokenize(text: str) -> Iterator[Token]:
    """Yield the words of a text in order, with their places in the text as it was given."""
    for start, end in _words(text):
        yield Token(start, end, _terms(text[start:end]))


def lexical_terms(text: str) -> list[str]:
    """Return the terms of a text in order, repetitions included."""
    return [term for token in tokenize(text) for term in token.terms]


def lexical_text(text: str) -> str:
    """Return the terms of a text joined by spaces, as an index stores them and a query sends."""
    return " ".join(lexical_terms(text))


def note_of_words(query: str) -> str:
    """Say why no document can match the words of a query; empty where some can."""
    if next((token for token in tokenize(query) if token.terms), None) is not None:
        return ""
    if next(tokenize(query), None) is None:
        return "the query has no letters or digits"
    return _NOTHING_SAID


def note_of_meaning(query: str) -> str:
    """Say that a query has no meaning to be close to; empty where it has some."""
    if note_of_words(query) == _NOTHING_SAID:
        return f"{_NOTHING_SAID}; what is nearest to them may be anything"
    return ""


def note_of_script(query: str) -> str:
    """Say that a model may not know the script of a query; empty where most of it is Latin."""
    letters = [each for each in query if each.isalpha()]
    foreign = sum(not unicodedata.name(each, "").startswith("LATIN") for each in letters)
    if not letters:
        return "the query has no letters, so that closeness of meaning says little"
    if 2 * foreign > len(letters):
        return "most letters of the query are not Latin; the model may not know what they mean"
    return ""


def _words(text: str) -> Iterator[tuple[int, int]]:
    if text.isascii():
        for found in _ASCII_WORD.finditer(text):
            yield found.span()
        return
    start: int | None = None
    for index, character in enumerate(text):
        if start is not None and not _continues(text, index):
            yield start, index
            start = None
        if start is None and character.isalnum():
            if _UNSPACED.match(character):
                end = index + 1
                while end < len(text) and unicodedata.combining(text[end]):
                    end += 1
                yield index, end
            else:
                start = index
    if start is not None:
        yield start, len(text)


def _continues(text: str, index: int) -> bool:
    """Tell whether the character at `index` belongs to the word that is open before it."""
    character = text[index]
    if character.isalnum():
        return not _UNSPACED.match(character)
    if unicodedata.category(character).startswith("M"):
        return True
    if character not in "_-":
        return False
    following = text[index:].lstrip("_-")[:1]
    return following.isalnum() and not _UNSPACED.match(following)


@lru_cache(maxsize=65_536)
def _terms(word: str) -> tuple[str, ...]:
    """Return the distinct terms of one word: the whole first, then its parts."""
    folded = fold(word[:MAXIMUM_WORD_CHARACTERS])
    parts = _PART.findall(folded)
    pieces = [piece for part in parts for piece in _pieces(part)]
    joined = "".join(parts)
    is_identifier = len(parts) > 1 and ("_" in folded or any(map(str.isdigit, joined)))
    found = [*([joined] if is_identifier else ()), *parts, *pieces]
    # A stop word inside a longer identifier is dropped as anywhere else; the whole keeps it.
    terms = (_term(each.casefold()) for each in found)
    return tuple(dict.fromkeys(term for term in terms if term))


def _pieces(part: str) -> list[str]:
    """Return the pieces of `part` at changes of case and digits; none if one would be a letter."""
    pieces = _BREAK.split(part)
    if len(pieces) < 2 or any(len(piece) < _SHORTEST_PIECE for piece in pieces):
        return []
    return pieces


def fold(word: str) -> str:
    """Return a word without accents and compatibility forms, its case kept."""
    if word.isascii():
        return word
    decomposed = unicodedata.normalize("NFKD", word)
    kept = "".join(each for each in decomposed if not unicodedata.category(each).startswith("M"))
    return unicodedata.normalize("NFKC", kept)


def _term(word: str) -> str:
    if word in STOP_WORDS:
        return ""
    if _TERM.fullmatch(word):
        return word if any(map(str.isdigit, word)) else _stem(word)
    letters = "".join(each for each in word if each.isalnum())
    if not letters or letters.isascii():
        return letters.lower()
    return "x" + letters.encode().hex()


@lru_cache(maxsize=65_536)
def _stem(word: str) -> str:
    # A stemmer keeps the word it works on, so that one shared by threads would mix them up.
    stem: str = snowballstemmer.stemmer("english").stemWord(word)
    return stem
