"""Which records changed since they were last read, and which transactions a snapshot sees.

The log (or the outbox) of a source tells what is dirty; what is true is read in a snapshot. Keys
are in whatever order, may come twice, and may belong to rows that are gone: none of it matters.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Self, TypeAlias

Key: TypeAlias = tuple[str, ...]
"""Values of a record's key columns, as the database writes them."""

MAXIMUM_DIRTY_KEYS: Final = 50_000
"""Keys of one table from which on comparing the whole table costs less than reading by key."""

_XIDS: Final = 2**32


@dataclass(frozen=True, slots=True)
class TransactionSnapshot:
    """Which transactions a snapshot sees.

    Attributes:
        text: As the database writes it, such as `100:104:101,103`.
        oldest: Transactions below have ended.
        next: Transactions from here on had not begun.
        running: Those between that had not ended.
    """

    text: str
    oldest: int
    next: int
    running: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the snapshot that the database writes so."""
        oldest, following, running = text.split(":")
        return cls(
            text, int(oldest), int(following), frozenset(map(int, filter(None, running.split(","))))
        )

    def sees(self, xid: int) -> bool:
        """Tell whether a committed transaction is in it.

        Args:
            xid: The lower 32 bits of its number, which the log has; less than 2^31 away.
        """
        whole = self.next - self.next % _XIDS + xid
        if whole - self.next > _XIDS // 2:
            whole -= _XIDS
        elif self.next - whole > _XIDS // 2:
            whole += _XIDS
        return whole < self.oldest or (whole < self.next and whole not in self.running)


@dataclass(frozen=True, slots=True)
class Mark:
    """What a changed row makes dirty.

    Attributes:
        table: The mapped table whose records are meant.
        key_columns: Columns of the changed row that are the record's key; none where the row does
            not tell it, and the whole table has to be compared.
    """

    table: str
    key_columns: tuple[str, ...]


Watched: TypeAlias = Mapping[str, tuple[Mark, ...]]
"""What changes of each table of the source make dirty, by the table's name as SQL writes it."""


class DirtyRecords:
    """Records that have to be read again, by mapped table.

    Args:
        maximum_keys: Keys of one table at most; with more, the whole table is dirty.
    """

    def __init__(self, maximum_keys: int = MAXIMUM_DIRTY_KEYS) -> None:
        self._maximum_keys = maximum_keys
        self._keys: dict[str, set[Key]] = {}
        self._whole: dict[str, str] = {}

    def add(self, table: str, keys: Iterable[Key]) -> None:
        """Add records."""
        if table in self._whole:
            return
        held = self._keys.setdefault(table, set())
        held.update(keys)
        if len(held) > self._maximum_keys:
            self.add_whole(table, f"more than {self._maximum_keys:,} records changed")

    def add_whole(self, table: str, reason: str) -> None:
        """Add all records of a table; the first reason stands."""
        self._keys.pop(table, None)
        self._whole.setdefault(table, reason)

    def merge(self, other: Self) -> None:
        """Add what another one holds."""
        for table, reason in other.whole.items():
            self.add_whole(table, reason)
        for table, keys in other.keys.items():
            self.add(table, keys)

    @property
    def keys(self) -> Mapping[str, set[Key]]:
        """Keys of tables that are not dirty as a whole."""
        return self._keys

    @property
    def whole(self) -> Mapping[str, str]:
        """Why all of a table is dirty."""
        return self._whole

    def __bool__(self) -> bool:
        return bool(self._keys or self._whole)
