"""Takes secrets out of what is logged or traced.

Two things give a secret away: its surroundings (a key such as `password`, a bearer token, a URL)
and, once it was remembered, its value wherever it stands.
"""

import json
import re
from collections import OrderedDict
from collections.abc import Mapping, MutableMapping
from itertools import pairwise
from threading import Lock
from typing import Any, Final
from urllib.parse import quote, quote_plus

REDACTED: Final = "[redacted]"

_SHORTEST_VALUE: Final = 8

_SECRET_WORDS: Final = frozenset(
    {
        "apikey",
        "authorization",
        "cookie",
        "credential",
        "credentials",
        "dsn",
        "passphrase",
        "passwd",
        "password",
        "secret",
        "token",
    }
)
_SECRET_PAIRS: Final = frozenset({("api", "key"), ("private", "key"), ("secret", "key")})
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")

# Each pattern keeps its first group and drops what follows it.
_SECRETS_IN_TEXT: Final = (
    re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/?#@]+(?=@)", re.IGNORECASE),
    re.compile(r"(\b(?:bearer|basic)\s+)[\w.~+/=-]{8,}", re.IGNORECASE),
    re.compile(r"()\beyJ[\w-]{5,}\.[\w-]+\.[\w-]*"),
    re.compile(
        r"""((?:password|passwd|secret|token|api[_-]?key)["']?\s*[=:]\s*["']?)[^\s"',;&}]+""",
        re.IGNORECASE,
    ),
)
_HINTS: Final = re.compile(r"://|bearer|basic|eyJ|passw|secret|token|api", re.IGNORECASE)


def is_secret_key(key: str) -> bool:
    """Tell whether a value under this key is a secret, by the words in the key."""
    words = [word.lower() for word in _WORD.findall(key)]
    return any(word in _SECRET_WORDS for word in words) or any(
        pair in _SECRET_PAIRS for pair in pairwise(words)
    )


class KnownSecrets:
    """Secret values that are taken out of any text, however they are quoted there.

    Shorter values than 8 characters are left out: they would blank half of every log. What was
    not used for longest is forgotten first.

    Args:
        maximum_values: How many values are known at once, at most.
        maximum_characters: How long they are together, at most.
    """

    def __init__(self, *, maximum_values: int = 4_096, maximum_characters: int = 4_000_000) -> None:
        self._maximum_values = maximum_values
        self._maximum_characters = maximum_characters
        self._characters = 0
        self._forms: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        # The first characters of a form to all (form, value) that begin so, longest first.
        self._by_head: dict[str, tuple[tuple[str, str], ...]] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._forms)

    def remember(self, value: str) -> None:
        """Take the value out of all texts from now on."""
        if not _SHORTEST_VALUE <= len(value) <= self._maximum_characters:
            return
        with self._lock:
            if value in self._forms:
                self._forms.move_to_end(value)
                return
            self._add(value)
            while (
                len(self._forms) > self._maximum_values
                or self._characters > self._maximum_characters
            ):
                self._forget_oldest()

    def redact(self, text: str) -> str:
        """Return the text without the values; time is linear in the text alone."""
        heads = self._by_head
        if not heads:
            return text
        pieces: list[str] = []
        end = 0
        size = _SHORTEST_VALUE
        for start in [at for at in range(len(text) - size + 1) if text[at : at + size] in heads]:
            candidates = heads.get(text[start : start + size], ())
            found = next((form for form, _ in candidates if text.startswith(form, start)), None)
            if found is None:
                continue
            # Values may overlap; what they cover together becomes one mark.
            if start > end or not pieces:
                pieces += (text[end:start], REDACTED)
            end = max(end, start + len(found))
        return "".join((*pieces, text[end:])) if pieces else text

    def _add(self, value: str) -> None:
        self._forms[value] = forms = _forms_of(value)
        self._characters += len(value)
        for form in forms:
            head = form[:_SHORTEST_VALUE]
            entries = (*self._by_head.get(head, ()), (form, value))
            self._by_head[head] = tuple(sorted(entries, key=lambda entry: -len(entry[0])))

    def _forget_oldest(self) -> None:
        value, forms = self._forms.popitem(last=False)
        self._characters -= len(value)
        for head in {form[:_SHORTEST_VALUE] for form in forms}:
            entries = tuple(entry for entry in self._by_head[head] if entry[1] != value)
            if entries:
                self._by_head[head] = entries
            else:
                del self._by_head[head]


def _forms_of(value: str) -> tuple[str, ...]:
    """Return the value as plain text, URLs, JSON and Python write it."""
    forms = (
        value,
        quote(value, safe="", errors="replace"),
        quote_plus(value, errors="replace"),
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        repr(value)[1:-1],
    )
    return tuple(dict.fromkeys(forms))


# Logging belongs to the process, and so does what it must not show.
_known: Final = KnownSecrets()


def remember_secret(value: str) -> None:
    """Take the value out of everything that this process logs or traces from now on."""
    _known.remember(value)


def redact_text(text: str) -> str:
    """Return the text without known secrets and what looks like one.

    That is passwords in URLs, bearer tokens, JWTs and `password=…` pairs.
    """
    text = _known.redact(text)
    if _HINTS.search(text) is None:
        return text
    for pattern in _SECRETS_IN_TEXT:
        text = pattern.sub(rf"\1{REDACTED}", text)
    return text


def redact(value: object) -> object:
    """Return the value with every secret in it replaced, at any depth.

    Numbers and truth values stay, whatever their key: `token_count` is no secret.
    """
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        return {key: _redact_under(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(inner) for inner in value]
    if isinstance(value, bytes):
        return redact_text(value.decode("utf-8", "backslashreplace"))
    if isinstance(value, BaseException):
        return redact_text(repr(value))
    return value


def redact_event(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Redact a log event; a structlog processor."""
    for key, value in event.items():
        event[key] = _redact_under(key, value)
    return event


def _redact_under(key: str, value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    return REDACTED if is_secret_key(key) else redact(value)
