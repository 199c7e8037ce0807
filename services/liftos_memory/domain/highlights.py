"""Highlights: the pieces of a text that show why it matched.

Offsets count characters (Unicode code points) from 0, as Python and protobuf readers of UTF-8 do;
a reader that counts UTF-16 units must convert.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from liftos_memory.domain.lexical import Token, lexical_terms, tokenize

MAXIMUM_SNIPPET_CHARACTERS: Final = 160


@dataclass(frozen=True, slots=True)
class TextSpan:
    """A range of characters: the first, and one past the last."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Highlight:
    """A piece of a text, word for word, and where matches are within it."""

    snippet: str
    spans: tuple[TextSpan, ...]


def highlight(
    text: str,
    query: str,
    *,
    maximum_snippets: int = 3,
    maximum_characters: int = MAXIMUM_SNIPPET_CHARACTERS,
) -> tuple[Highlight, ...]:
    """Return the pieces of a text that hold the most of a query's terms, best first.

    Pieces do not overlap, begin and end at words where they fit, and hold at least one match. A
    later piece counts only terms that no better piece has; none of those, no further piece.

    Args:
        text: What was searched.
        query: What was asked.
        maximum_snippets: How many pieces at most.
        maximum_characters: How long each is at most, at least 1.
    """
    tokens = list(tokenize(text))
    wanted = frozenset(lexical_terms(query))
    seen: frozenset[str] = frozenset()
    taken: list[range] = []
    found: list[Highlight] = []
    while len(found) < maximum_snippets:
        window = _best_window(tokens, wanted - seen, taken, maximum_characters)
        if window is None:
            break
        start, end = _widen(tokens, window, taken, maximum_characters, len(text))
        inside = [t for t in tokens if t.start < end and start < t.end and wanted & set(t.terms)]
        spans = tuple(
            TextSpan(max(token.start, start) - start, min(token.end, end) - start)
            for token in inside
        )
        found.append(Highlight(text[start:end], spans))
        seen |= frozenset(term for token in inside for term in token.terms) & wanted
        taken.append(range(start, end))
    return tuple(found)


def _best_window(
    tokens: Sequence[Token],
    wanted: frozenset[str],
    taken: Sequence[range],
    maximum_characters: int,
) -> range | None:
    """Return the span of matches with the most distinct wanted terms; the first of equals."""
    matches = [
        token
        for token in tokens
        if wanted.intersection(token.terms) and not _overlaps(token.start, token.end, taken)
    ]
    best: range | None = None
    best_count = 0
    for index, first in enumerate(matches):
        terms: set[str] = set()
        end = first.start
        for token in matches[index:]:
            too_far = token.end - first.start > maximum_characters and token is not first
            if too_far or _overlaps(first.start, token.end, taken):
                break
            terms |= wanted.intersection(token.terms)
            end = token.end
        if len(terms) > best_count:
            best_count = len(terms)
            best = range(first.start, min(end, first.start + maximum_characters))
    return best


def _widen(
    tokens: Sequence[Token],
    window: range,
    taken: Sequence[range],
    maximum_characters: int,
    text_characters: int,
) -> tuple[int, int]:
    """Grow a window by whole words, half of the room before it and the rest after it."""
    start, end = window.start, window.stop
    room = maximum_characters - (end - start)
    earliest = max([start - room // 2, *(each.stop for each in taken if each.stop <= start)])
    start = min(
        (t.start for t in tokens if earliest <= t.start <= window.start), default=window.start
    )
    latest = min(
        [
            start + maximum_characters,
            text_characters,
            *(each.start for each in taken if each.start >= end),
        ]
    )
    if latest == text_characters:
        return start, latest
    return start, max((t.end for t in tokens if end <= t.end <= latest), default=end)


def _overlaps(start: int, end: int, taken: Sequence[range]) -> bool:
    return any(start < each.stop and each.start < end for each in taken)
