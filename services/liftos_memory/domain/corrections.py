"""Corrections: words of a query that nothing has, read as words of names that they nearly are.

A slip is one letter too many, one missing, one wrong, or two exchanged (one edit after Damerau,
"A technique for computer detection and correction of spelling errors", CACM 1964). Words of fewer
than four letters are left alone, since each of them is one edit from many others; so are first
letters, which people get right, and words that search itself knows.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from liftos_memory.domain.concept_lexicon import LEXICON_WORDS
from liftos_memory.domain.lexical import STOP_WORDS, fold, tokenize
from liftos_memory.domain.periods import PERIOD_WORDS

SHORTEST_WORD: Final = 4
"""Letters of a word that is corrected, and of one that it is corrected to."""

MAXIMUM_WORDS: Final = 32
"""Words of one query that are looked at."""

_KNOWN: Final = STOP_WORDS | LEXICON_WORDS | PERIOD_WORDS
_LETTERS: Final = re.compile(r"[^\W\d_]+")
_CHANGE_OF_CASE: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Reading:
    """A query as search by words reads it.

    Attributes:
        text: The query with its corrections.
        corrections: What is read in place of what, both in lower case.
    """

    text: str
    corrections: Mapping[str, str] = field(default_factory=dict)


def words_to_check(query: str) -> Sequence[str]:
    """Return the words of a query that may be slips, folded, each once."""
    words = dict.fromkeys(word for _, _, word in _plain_words(query))
    return list(words)[:MAXIMUM_WORDS]


def name_words(name: str) -> tuple[str, ...]:
    """Return the words of a name that a slip may be corrected to, folded, each once."""
    runs = _LETTERS.findall(fold(name))
    pieces = [piece for run in runs for piece in (run, *_CHANGE_OF_CASE.split(run))]
    folded = (piece.casefold() for piece in pieces)
    return tuple(dict.fromkeys(word for word in folded if len(word) >= SHORTEST_WORD))


def best_correction(word: str, names: Mapping[str, int]) -> str | None:
    """Return what a word is one edit from, the most used first, or else the first by name.

    None where it is no slip of any, or is one of them.

    Args:
        word: A word, folded.
        names: Words of names with how many objects have them.
    """
    if word in names:
        return None
    near = [each for each in names if is_one_edit(word, each)]
    return min(near, key=lambda each: (-names[each], each), default=None)


def is_one_edit(word: str, other: str) -> bool:
    """Tell whether one insertion, deletion, substitution or exchange leads from one to the other.

    Equal words are none; nor are those whose first letters differ.
    """
    if word == other or abs(len(word) - len(other)) > 1 or word[:1] != other[:1]:
        return False
    start = next(
        (place for place, (a, b) in enumerate(zip(word, other, strict=False)) if a != b),
        min(len(word), len(other)),
    )
    rest, other_rest = word[start:], other[start:]
    if len(rest) != len(other_rest):
        shorter, longer = sorted((rest, other_rest), key=len)
        return longer[1:] == shorter
    return rest[1:] == other_rest[1:] or (
        rest[:2] == other_rest[1::-1] and rest[2:] == other_rest[2:]
    )


def read(query: str, corrections: Mapping[str, str]) -> Reading:
    """Return a query in which words stand for others."""
    text, end = "", 0
    made: dict[str, str] = {}
    for start, stop, word in _plain_words(query):
        if word in corrections:
            text += query[end:start] + corrections[word]
            made[word] = corrections[word]
            end = stop
    return Reading(text + query[end:], made)


def explain_corrections(corrections: Mapping[str, str]) -> str:
    """Say what is read as what, such as `“klavyio” is read as “klaviyo”`; empty without any."""
    return ", ".join(f"“{word}” is read as “{other}”" for word, other in corrections.items())


def _plain_words(query: str) -> Iterator[tuple[int, int, str]]:
    for token in tokenize(query):
        word = fold(query[token.start : token.end]).casefold()
        if word.isalpha() and len(word) >= SHORTEST_WORD and word not in _KNOWN:
            yield token.start, token.end, word
