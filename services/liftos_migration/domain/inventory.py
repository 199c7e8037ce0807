"""What a source holds: every part of it, so that none is forgotten."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum


class ItemKind(IntEnum):
    """What a part is; the numbers are the contract's."""

    TABLE = 1
    VIEW = 2
    SEQUENCE = 3
    FUNCTION = 4
    TRIGGER = 5
    CONSTRAINT = 6
    INDEX = 7
    SETTING = 8
    REDIS_KEYS = 9


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table or view; `default` is its default or generating expression."""

    name: str
    type: str
    is_nullable: bool
    default: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """A part of a source.

    Attributes:
        kind: What it is.
        object: Its name, such as `public.campaigns`.
        definition: Its SQL, or the value of a setting; what its digest is taken over.
        columns: Of tables and views.
        key_columns: The primary key of a table; empty where it has none.
        row_count: Rows or keys, counted.
        size_bytes: On disk, indexes and large values included.
        depends_on: Objects that it needs or is computed from.
    """

    kind: ItemKind
    object: str
    definition: str
    columns: tuple[Column, ...] = ()
    key_columns: tuple[str, ...] = ()
    row_count: int = 0
    size_bytes: int = 0
    depends_on: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """The digest of its definition and columns, in hex; rows do not change it."""
        digest = hashlib.sha256(f"{self.kind.value}\0{self.object}\0{self.definition}".encode())
        for column in self.columns:
            digest.update(
                f"\0{column.name}\0{column.type}\0{column.is_nullable}\0{column.default}".encode()
            )
        digest.update("\0".join(("", *self.key_columns)).encode())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Inventory:
    """All parts of a source, by kind and name."""

    items: tuple[Item, ...]

    def tables(self) -> Iterator[Item]:
        """Yield the tables; a partitioned one is one table."""
        return (item for item in self.items if item.kind is ItemKind.TABLE)

    @property
    def sha256(self) -> str:
        """The digest of all definitions, in hex: a change of it is a change of the schema."""
        digest = hashlib.sha256()
        for item in self.items:
            if item.kind not in (ItemKind.SETTING, ItemKind.REDIS_KEYS):
                digest.update(bytes.fromhex(item.sha256))
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Drift:
    """How a schema changed between two inventories, by object."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


def drift(before: Inventory, after: Inventory) -> Drift:
    """Say what was added, removed and changed; counts, sizes, settings and keys are none of it."""

    def digests(inventory: Inventory) -> dict[tuple[ItemKind, str], str]:
        return {
            (item.kind, item.object): item.sha256
            for item in inventory.items
            if item.kind not in (ItemKind.SETTING, ItemKind.REDIS_KEYS)
        }

    old, new = digests(before), digests(after)
    return Drift(
        added=tuple(sorted(name for kind, name in new.keys() - old.keys())),
        removed=tuple(sorted(name for kind, name in old.keys() - new.keys())),
        changed=tuple(
            sorted(
                name for kind, name in old.keys() & new.keys() if old[kind, name] != new[kind, name]
            )
        ),
    )
