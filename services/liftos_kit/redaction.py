"""Takes secrets out of what is logged or traced."""

import re
from collections.abc import Mapping, MutableMapping
from itertools import pairwise
from typing import Any, Final

REDACTED: Final = "[redacted]"

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


def redact_text(text: str) -> str:
    """Return the text without passwords in URLs, bearer tokens, JWTs and `password=…` pairs."""
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
