"""Which program this is, and which libraries decide what it gives.

Kept answers of another program are not given.
"""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

_PACKAGES: Final = ("liftos_kit", "liftos_mapping", "liftos_memory")
_KINDS: Final = (".py", ".sql", ".yaml", ".json")
_LIBRARIES: Final = ("holidays", "numpy", "pandas", "protobuf", "pyarrow")
_OF_DATA_SETS: Final = ("holidays", "pyarrow", "tzdata")


def data_set_libraries() -> Mapping[str, str]:
    """Return the versions of the libraries that decide what is in a data set."""
    return {library: version(library) for library in _OF_DATA_SETS}


@lru_cache(maxsize=1)
def program_digest() -> str:
    """Return a digest of the code that answers follow from, and of libraries that decide them."""
    digest = hashlib.blake2b(digest_size=16)
    for library in _LIBRARIES:
        digest.update(f"{library} {version(library)}\n".encode())
    for package in _PACKAGES:
        _add(files(package), package, digest)
    return digest.hexdigest()


def _add(folder: Traversable, path: str, digest: "hashlib.blake2b") -> None:
    for each in sorted(folder.iterdir(), key=lambda one: one.name):
        where = f"{path}/{each.name}"
        if each.is_dir():
            _add(each, where, digest)
        elif each.name.endswith(_KINDS):
            content = each.read_bytes()
            digest.update(f"{where} {len(content)}\n".encode() + content)
