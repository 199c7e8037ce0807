"""A cache of bytes with a limit: what was used least recently goes first."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_OVERHEAD_BYTES: Final = 300
"""What an entry costs beside its key and value."""
_LARGEST_SHARE: Final = 8
"""A value may take an eighth of all, so that one does not drive out the others."""


@dataclass(frozen=True, slots=True)
class _Kept:
    value: bytes
    owner: str
    until_seconds: float


class ByteCache:
    """Values by key, in this process.

    Args:
        maximum_bytes: Of keys and values; 0 keeps nothing.
        monotonic_seconds: The time.
    """

    def __init__(self, maximum_bytes: int, *, monotonic_seconds: Callable[[], float]) -> None:
        self.maximum_bytes: Final = maximum_bytes
        self._monotonic_seconds = monotonic_seconds
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self._total = 0

    def get(self, key: str) -> bytes | None:
        """Return a value, which is the most recent from now on."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        if self._monotonic_seconds() >= kept.until_seconds:
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return kept.value

    def put(self, key: str, value: bytes, *, owner: str, seconds: float) -> None:
        """Keep a value for so long at most, unless it is too large."""
        if key in self._kept:
            self._drop(key)
        size = _size(key, value)
        if size * _LARGEST_SHARE > self.maximum_bytes:
            return
        self._kept[key] = _Kept(value, owner, self._monotonic_seconds() + seconds)
        self._total += size
        self._sizes[owner] = self._sizes.get(owner, 0) + size
        while self._total > self.maximum_bytes:
            self._drop(next(iter(self._kept)))

    def size_bytes(self, owner: str) -> int:
        """Return what is held for an owner."""
        return self._sizes.get(owner, 0)

    @property
    def total_bytes(self) -> int:
        """What is held for all."""
        return self._total

    def _drop(self, key: str) -> None:
        kept = self._kept.pop(key)
        size = _size(key, kept.value)
        self._total -= size
        left = self._sizes[kept.owner] - size
        if left:
            self._sizes[kept.owner] = left
        else:
            del self._sizes[kept.owner]


def _size(key: str, value: bytes) -> int:
    return len(key) + len(value) + _OVERHEAD_BYTES
