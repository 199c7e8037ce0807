"""What the log says: messages of the plugin `pgoutput`, version 1, decoded."""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final, TypeAlias


class LogFormatError(Exception):
    """Bytes that are no message of the plugin."""


class Unchanged(Enum):
    """Stands for a large value that a change left alone and that the log does not repeat."""

    VALUE = "unchanged"


Value: TypeAlias = str | Unchanged | None
Values: TypeAlias = tuple[Value, ...]
"""Of a row's columns in their order, as the database writes them."""


@dataclass(frozen=True, slots=True)
class Begin:
    """A transaction begins; the log has only those that committed.

    Attributes:
        commit_lsn: Where its commit is.
        xid: The lower 32 bits of its number.
    """

    commit_lsn: int
    xid: int


@dataclass(frozen=True, slots=True)
class Commit:
    """A transaction ends; `end_lsn` is the place after it."""

    end_lsn: int


@dataclass(frozen=True, slots=True)
class Origin:
    """The transaction was replayed from another server, which has this name there."""

    name: str


@dataclass(frozen=True, slots=True)
class Message:
    """What a program wrote into the log."""

    transactional: bool
    lsn: int
    prefix: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Relation:
    """A table as it was at the changes after this message.

    Attributes:
        oid: What changes call it.
        schema, name: Its name, not quoted.
        identity: `d` the key, `f` whole rows, `i` an index, `n` nothing.
        columns: Names in the order of values.
        key_columns: Those that belong to its identity.
        types: The oid and the modifier of each column's type.
    """

    oid: int
    schema: str
    name: str
    identity: str
    columns: tuple[str, ...]
    key_columns: frozenset[str]
    types: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Type:
    """The name of a type that is not built in."""

    oid: int
    schema: str
    name: str


@dataclass(frozen=True, slots=True)
class Insert:
    """A new row."""

    oid: int
    new: Values


@dataclass(frozen=True, slots=True)
class Update:
    """A changed row.

    Attributes:
        oid: Of its table.
        old: As it was: whole where the identity is, else its identity alone with all other
            columns absent; None where the identity is not whole rows and did not change.
        new: As it is.
    """

    oid: int
    old: Values | None
    new: Values


@dataclass(frozen=True, slots=True)
class Delete:
    """A row that is gone; `old` is as in `Update`."""

    oid: int
    old: Values


@dataclass(frozen=True, slots=True)
class Truncate:
    """Tables that were emptied."""

    oids: tuple[int, ...]


LogMessage: TypeAlias = (
    Begin | Commit | Origin | Message | Relation | Type | Insert | Update | Delete | Truncate
)


class _Reader:
    """Reads one message from its start to its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def number(self, layout: struct.Struct) -> int:
        value: int = layout.unpack_from(self._data, self._place)[0]
        self._place += layout.size
        return value

    def take(self, count: int) -> bytes:
        if count < 0 or self._place + count > len(self._data):
            raise LogFormatError("a message ends before its time")
        value = self._data[self._place : self._place + count]
        self._place += count
        return value

    def text(self) -> str:
        end = self._data.index(0, self._place)
        value = self._data[self._place : end].decode()
        self._place = end + 1
        return value

    def letter(self) -> str:
        return self.take(1).decode("ascii")

    def values(self) -> Values:
        return tuple(self._value() for _ in range(self.number(_INT16)))

    def _value(self) -> Value:
        match self.letter():
            case "n":
                return None
            case "u":
                return Unchanged.VALUE
            case "t":
                return self.take(self.number(_INT32)).decode()
            case other:
                raise LogFormatError(f"a value of the unknown kind {other!r}")

    def end(self) -> None:
        if self._place != len(self._data):
            raise LogFormatError(f"{len(self._data) - self._place} bytes too many")


_INT8: Final = struct.Struct(">b")
_INT16: Final = struct.Struct(">H")
_INT32: Final = struct.Struct(">i")
_OID: Final = struct.Struct(">I")
_INT64: Final = struct.Struct(">Q")


def decode(data: bytes) -> LogMessage:
    """Return the message that is in some bytes.

    Raises:
        LogFormatError: They are none, or one of another version.
    """
    reader = _Reader(data)
    try:
        kind = reader.letter()
        decoder = _DECODERS.get(kind)
        if decoder is None:
            raise LogFormatError(f"a message of the unknown kind {kind!r}")
        message: LogMessage = decoder(reader)
        reader.end()
    except (struct.error, UnicodeDecodeError, ValueError) as error:
        raise LogFormatError(f"a message that cannot be read: {error}") from error
    return message


def _begin(reader: _Reader) -> Begin:
    commit_lsn = reader.number(_INT64)
    reader.number(_INT64)  # when
    return Begin(commit_lsn, reader.number(_OID))


def _commit(reader: _Reader) -> Commit:
    reader.number(_INT8)  # flags, none of which are used
    reader.number(_INT64)  # where the commit begins
    end_lsn = reader.number(_INT64)
    reader.number(_INT64)  # when
    return Commit(end_lsn)


def _origin(reader: _Reader) -> Origin:
    reader.number(_INT64)  # where it is in the log of the other server
    return Origin(reader.text())


def _message(reader: _Reader) -> Message:
    flags, lsn, prefix = reader.number(_INT8), reader.number(_INT64), reader.text()
    return Message(bool(flags & 1), lsn, prefix, reader.take(reader.number(_INT32)))


def _relation(reader: _Reader) -> Relation:
    oid, schema, name = reader.number(_OID), reader.text(), reader.text()
    identity = reader.letter()
    columns, keys, types = [], set(), []
    for _ in range(reader.number(_INT16)):
        is_key, column = reader.number(_INT8) & 1, reader.text()
        columns.append(column)
        if is_key:
            keys.add(column)
        types.append((reader.number(_OID), reader.number(_INT32)))
    return Relation(
        oid,
        # The log leaves the schema of built-in objects out.
        schema or "pg_catalog",
        name,
        identity,
        tuple(columns),
        frozenset(keys),
        tuple(types),
    )


def _type(reader: _Reader) -> Type:
    return Type(reader.number(_OID), reader.text() or "pg_catalog", reader.text())


def _tuple_after(reader: _Reader, letters: str) -> tuple[str, Values]:
    letter = reader.letter()
    if letter not in letters:
        raise LogFormatError(f"a row of the unknown kind {letter!r}")
    return letter, reader.values()


def _insert(reader: _Reader) -> Insert:
    return Insert(reader.number(_OID), _tuple_after(reader, "N")[1])


def _update(reader: _Reader) -> Update:
    oid = reader.number(_OID)
    letter, values = _tuple_after(reader, "KON")
    if letter == "N":
        return Update(oid, None, values)
    return Update(oid, values, _tuple_after(reader, "N")[1])


def _delete(reader: _Reader) -> Delete:
    return Delete(reader.number(_OID), _tuple_after(reader, "KO")[1])


def _truncate(reader: _Reader) -> Truncate:
    count = reader.number(_INT32)
    reader.number(_INT8)  # whether others and sequences followed
    return Truncate(tuple(reader.number(_OID) for _ in range(count)))


_DECODERS: Final[Mapping[str, Callable[[_Reader], LogMessage]]] = MappingProxyType(
    {
        "B": _begin,
        "C": _commit,
        "O": _origin,
        "M": _message,
        "R": _relation,
        "Y": _type,
        "I": _insert,
        "U": _update,
        "D": _delete,
        "T": _truncate,
    }
)
