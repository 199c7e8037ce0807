"""The patterns of the contract in words, for a person whose text does not match one.

Read are anchored patterns of literal characters, character classes, groups of alternatives and
counts, which is all that the contract uses. Nobody is served by half a translation: anything else
has no words.
"""

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_DATE: Final = "2026-01-31"
_NO_DATES: Final = ("2026-13-31", "2026-01-32")

_ITEM: Final = re.compile(
    r"(?:\[(?P<members>[^]\\^]+)\]|\((?P<group>[^()\\]+)\)|(?P<literal>[\w@:/.-]))"
    r"(?:(?P<optional>\?)|\{(?P<least>\d+)(?:,(?P<most>\d+))?\})?",
    re.ASCII,
)
_RANGE: Final = re.compile(r"(.)-(.)|(.)", re.DOTALL)
_KINDS: Final = (
    ("letter", frozenset(string.ascii_letters)),
    ("lower-case letter", frozenset(string.ascii_lowercase)),
    ("upper-case letter", frozenset(string.ascii_uppercase)),
    ("digit", frozenset(string.digits)),
)
_HEX: Final = frozenset(string.digits + "abcdef")
_SEGMENT_END: Final = re.compile(r"/(?![^[]*\])")
_CAPITAL: Final = re.compile(r"(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class _Item:
    """A piece of a pattern; `members` is empty where it is a literal or a group."""

    members: frozenset[str]
    words: str
    least: int
    most: int


def explain_mismatch(text: str, pattern: str) -> str | None:
    """Return what a text would have to be, as "must be a date as YYYY-MM-DD, …".

    Args:
        text: What does not match.
        pattern: A regular expression from `^` to `$`.

    Returns:
        The words, or None where the pattern has none.
    """
    inner = pattern.removeprefix("^").removesuffix("$")
    if len(inner) != len(pattern) - 2:
        return None
    if _is_of_dates(pattern):
        return f"must be a date as YYYY-MM-DD, such as {_DATE}"
    segments = _SEGMENT_END.split(inner)
    if len(segments) > 1 and segments[0].isalpha():
        return _explain_name(text.split("/"), segments)
    words = _in_words(inner)
    return None if words is None else f"must be {words}"


def _is_of_dates(pattern: str) -> bool:
    matches = re.compile(pattern).search
    return matches(_DATE) is not None and not any(map(matches, _NO_DATES))


def _explain_name(found: Sequence[str], segments: Sequence[str]) -> str | None:
    """Say how a resource name looks, and of the first id that is wrong what it is made of."""
    template: list[str] = []
    wrong = ""
    alike = len(found) == len(segments)
    for index, segment in enumerate(segments):
        if segment.isalpha():
            template.append(segment)
            continue
        variable = f"{{{_singular(template[-1])}}}"
        template.append(variable)
        if alike and (wrong or re.fullmatch(segment, found[index])):
            continue
        words = _in_words(segment)
        if words is None:
            return None
        wrong = f", where {variable} is {words}"
    return f"must look like {'/'.join(template)}{wrong}"


def _singular(collection: str) -> str:
    """Return the id's name of a collection: dead_letter of deadLetters."""
    one = f"{collection[:-3]}y" if collection.endswith("ies") else collection.removesuffix("s")
    return "_".join(_CAPITAL.split(one)).lower()


def _in_words(pattern: str) -> str | None:
    items = _items(pattern)
    if items is None:
        return None
    parts: list[str] = []
    endings: list[str] = []
    waiting = list(items)
    while waiting:
        item = waiting.pop(0)
        following = waiting[0] if waiting else None
        if item.least == 0 and not item.members:
            endings.append(f", optionally followed by {item.words}")
        elif (
            following is not None
            and frozenset() < item.members < following.members
            and (item.least, item.most, following.least) == (1, 1, 0)
        ):
            waiting.pop(0)
            count = f"1 to {following.most + 1} {_plural(following.members)}"
            first = _singulars(item.members)
            article = "an" if first[0] in "aeiou" else "a"
            parts.append(f"{count}, beginning with {article} {first}")
        elif item.members:
            count = str(item.most) if item.least == item.most else f"{item.least} to {item.most}"
            kinds = _singulars(item.members) if item.most == 1 else _plural(item.members)
            parts.append(f"{count} {kinds}")
        else:
            parts.append(item.words)
    return _listed(parts, "and") + "".join(endings)


def _items(pattern: str) -> list[_Item] | None:
    """Return the pieces of a pattern, or None where one of them is not known."""
    items: list[_Item] = []
    position = 0
    while position < len(pattern):
        found = _ITEM.match(pattern, position)
        if found is None:
            return None
        position = found.end()
        least = 0 if found["optional"] else int(found["least"] or 1)
        most = int(found["most"] or found["least"] or 1)
        members, words = frozenset[str](), found["literal"]
        if found["members"]:
            members = _members(found["members"])
            if len(members) == 1:
                words, members = next(iter(members)), frozenset()
        elif found["group"]:
            choices = [_in_words(choice) for choice in found["group"].split("|")]
            known = [choice for choice in choices if choice is not None]
            if len(known) < len(choices):
                return None
            words = " or ".join(known)
        if not members and most > 1:
            return None
        items.append(_Item(members, words or "", least, most))
    return items


def _members(text: str) -> frozenset[str]:
    members: set[str] = set()
    for first, last, single in _RANGE.findall(text):
        members.update(single or map(chr, range(ord(first), ord(last) + 1)))
    return frozenset(members)


def _kinds(members: frozenset[str]) -> tuple[list[str], str]:
    """Return the kinds of characters of a class, and those that are of no kind."""
    if members == _HEX:
        return ["hex digit"], ""
    kinds: list[str] = []
    rest = members
    for kind, characters in _KINDS:
        if characters <= rest:
            kinds.append(kind)
            rest -= characters
    return kinds, "".join(sorted(rest))


def _plural(members: frozenset[str]) -> str:
    kinds, rest = _kinds(members)
    return _listed([*(f"{kind}s" for kind in kinds), *_others(rest)], "or")


def _singulars(members: frozenset[str]) -> str:
    kinds, rest = _kinds(members)
    return _listed([*kinds, *_others(rest)], "or")


def _others(rest: str) -> list[str]:
    return [f"any of {rest}" if len(rest) > 1 else rest] if rest else []


def _listed(parts: Sequence[str], last: str) -> str:
    return f" {last} ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))
