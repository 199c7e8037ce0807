"""Looks for secrets in everything that a test run has left: logs, spans and captured output.

A secret is found by its value, in any form that it may take, or by the shape that its issuer
gives it.
"""

import json
import os
import re
import stat
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, quote_plus

import numpy as np

from liftos_kit.redaction import REDACTED
from liftos_local.plan import MODULE_STORES, STORES

_HEAD: Final = 8
_STACK_SECRETS: Final = "secrets.json"
# What stores keep, and are told, is in files that nobody else may read.
_STORES: Final = frozenset({*STORES, *MODULE_STORES})
# What tests write for a process to read: credentials, keys and certificates.
_GIVEN: Final = re.compile(r"(meta|credential|credentials|keys|jwks)\.json|keys|.+\.(key|pem)")

# A pattern begins with plain characters, which is what makes its search fast.
_SHAPES: Final = {
    "bearer token": re.compile(rb"[Bb]earer [\w.~+/=-]{16,}"),
    "JSON web token": re.compile(rb"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
    "Klaviyo key": re.compile(rb"pk_[0-9A-Za-z]{16,}"),
    "Meta token": re.compile(rb"EAA[0-9A-Za-z]{24,}"),
    "Google access token": re.compile(rb"ya29\.[\w-]{10,}"),
    "Google refresh token": re.compile(rb"1//0[\w-]{16,}"),
    "Google client secret": re.compile(rb"GOCSPX-[\w-]{6,}"),
    "private key": re.compile(rb"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----"),
    "password of a URL": re.compile(
        rb"://[^\s/:@\"'<>]{0,64}:(?!\[redacted\]|\*+@)[^\s/@\"'<>{}$]+@"
    ),
}


@dataclass(frozen=True, slots=True)
class Leak:
    """A secret where none may be.

    Attributes:
        path: The file.
        line: Where in it, from 1.
        kind: What the secret is, never the secret.
    """

    path: Path
    line: int
    kind: str


@dataclass(frozen=True, slots=True)
class Scan:
    """What was read, and what was found."""

    files: int
    bytes: int
    leaks: tuple[Leak, ...]


def secrets_of_stacks(directory: Path) -> dict[str, str]:
    """Value to kind of all that the stacks below a directory have made for themselves."""
    found: dict[str, str] = {}
    for path in _files_below(directory):
        if path.name == _STACK_SECRETS:
            for name, value in json.loads(path.read_text()).items():
                # A keyring's entry is `id:key`.
                found[value.rpartition(":")[2]] = name
    return found


def scan(directory: Path, secrets: Mapping[str, str]) -> Scan:
    """Read every text file of a run, apart from what stores keep and what tests hand out.

    Args:
        directory: The run's directory.
        secrets: Value to kind of what is known.
    """
    search = _Search(secrets)
    leaks: list[Leak] = []
    files = size = 0
    for path in _files_below(directory):
        if path.name == _STACK_SECRETS or _GIVEN.fullmatch(path.name):
            continue
        content = path.read_bytes()
        if b"\0" in content[:4096]:
            continue
        files, size = files + 1, size + len(content)
        leaks.extend(
            Leak(path, content.count(b"\n", 0, at) + 1, kind)
            for kind, at in search.first_places_in(content).items()
        )
    return Scan(files, size, tuple(leaks))


def _files_below(directory: Path) -> Iterator[Path]:
    """Yield the regular files that no store keeps."""
    for folder, folders, names in os.walk(directory):
        if _STACK_SECRETS in names:
            folders[:] = [it for it in folders if it not in _STORES]
        for name in names:
            path = Path(folder, name)
            # Stores and tests leave sockets and pipes as well, and to open a pipe would wait.
            if stat.S_ISREG(path.lstat().st_mode):
                yield path


class _Search:
    """Finds known values in any of their forms, and unknown ones by their shape."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._by_head: dict[bytes, list[tuple[bytes, str]]] = {}
        for value, kind in secrets.items():
            for form in _forms_of(value):
                self._by_head.setdefault(form[:_HEAD], []).append((form, kind))
        self._heads = np.sort(np.frombuffer(b"".join(self._by_head), dtype="<u8"))

    def first_places_in(self, content: bytes) -> dict[str, int]:
        """Where each kind of secret stands first, by kind."""
        places: dict[str, int] = {}
        for kind, shape in _SHAPES.items():
            for found in shape.finditer(content):
                # Within a word it is something else: base64 has any three letters somewhere.
                around = content[max(found.start() - 1, 0) : found.start() + 1]
                within_a_word = len(around) == 2 and around.isalnum()
                if not within_a_word and REDACTED.encode() not in found[0]:
                    places.setdefault(kind, found.start())
        for at in sorted(self._positions(content)):
            for form, kind in self._by_head[content[at : at + _HEAD]]:
                if content.startswith(form, at):
                    places.setdefault(kind, at)
        return places

    def _positions(self, content: bytes) -> Iterator[int]:
        """Yield where the first eight bytes of a form stand."""
        if not self._heads.size:
            return
        for offset in range(_HEAD):
            count = (len(content) - offset) // _HEAD
            if count > 0:
                words = np.frombuffer(content, dtype="<u8", offset=offset, count=count)
                near = np.searchsorted(self._heads, words).clip(max=self._heads.size - 1)
                for index in np.flatnonzero(self._heads[near] == words):
                    yield offset + int(index) * _HEAD


def _forms_of(value: str) -> set[bytes]:
    """Return the value as plain text, URLs, JSON, Python and base64 write it."""
    raw = value.encode()
    forms = {
        raw,
        quote(value, safe="").encode(),
        quote_plus(value).encode(),
        json.dumps(value)[1:-1].encode(),
        repr(value)[1:-1].encode(),
    }
    for shift in range(3):
        # In base64 it looks different after one or two other bytes; its edges mix with them.
        for encode in (b64encode, urlsafe_b64encode):
            whole = encode(b"\0" * shift + raw)
            end = len(whole) - (4 if (shift + len(raw)) % 3 else 0)
            forms.add(whole[4 if shift else 0 : end])
    return {form for form in forms if len(form) >= _HEAD}
