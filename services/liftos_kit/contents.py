"""What rules of the contract do not say: texts and times that no store can hold."""

from collections.abc import Callable
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from buf.validate import validate_pb2
from liftos_kit.core.errors import FieldViolation

Search = Callable[[Message, str, list[FieldViolation]], None]
"""Looks through a message at a path and adds what it finds."""

_TIME: Final = "google.protobuf.Timestamp"
_FIRST_SECOND: Final = -62_135_596_800
_LAST_SECOND: Final = 253_402_300_799
_LAST_NANOSECOND: Final = 999_999_999


def search_for_unstorable(descriptor: Descriptor) -> Search | None:
    """Return a search for texts with U+0000 and times outside the years 1 to 9999.

    It covers the message itself and those in it that have rules, at any depth. A message without
    any rule, such as a row of a batch, is held by its service to rules of its own. None where
    nothing needs to be looked at.
    """
    return _search(descriptor, seen=(descriptor.full_name,))


def _search(descriptor: Descriptor, seen: tuple[str, ...]) -> Search | None:
    parts = [part for field in descriptor.fields if (part := _part(field, seen)) is not None]
    if not parts:
        return None

    def search(message: Message, path: str, found: list[FieldViolation]) -> None:
        for part in parts:
            part(message, path, found)

    return search


def _part(field: FieldDescriptor, seen: tuple[str, ...]) -> Search | None:
    if field.type == FieldDescriptor.TYPE_STRING:
        return _text_search(field.name, repeated=field.is_repeated)
    inner = field.message_type
    if inner is None or inner.full_name in seen:
        return None
    if inner.full_name == _TIME:
        return None if field.is_repeated else _time_search(field.name)
    if not _has_rules(inner):
        return None
    search = _search(inner, (*seen, inner.full_name))
    return None if search is None else _inner_search(field.name, search, repeated=field.is_repeated)


def _has_rules(descriptor: Descriptor) -> bool:
    return any(field.GetOptions().HasExtension(validate_pb2.field) for field in descriptor.fields)


def _text_search(name: str, *, repeated: bool) -> Search:
    def search(message: Message, path: str, found: list[FieldViolation]) -> None:
        if "\0" in getattr(message, name):
            found.append(_nul(f"{path}{name}"))

    def search_each(message: Message, path: str, found: list[FieldViolation]) -> None:
        for index, text in enumerate(getattr(message, name)):
            if "\0" in text:
                found.append(_nul(f"{path}{name}[{index}]"))

    return search_each if repeated else search


def _nul(field: str) -> FieldViolation:
    return FieldViolation(field, "may not hold the character U+0000", "nul")


def _time_search(name: str) -> Search:
    def search(message: Message, path: str, found: list[FieldViolation]) -> None:
        if not message.HasField(name):
            return
        time = getattr(message, name)
        if not (
            _FIRST_SECOND <= time.seconds <= _LAST_SECOND and 0 <= time.nanos <= _LAST_NANOSECOND
        ):
            found.append(
                FieldViolation(f"{path}{name}", "is no time of the years 1 to 9999", "timestamp")
            )

    return search


def _inner_search(name: str, search: Search, *, repeated: bool) -> Search:
    def search_one(message: Message, path: str, found: list[FieldViolation]) -> None:
        # Reading an unset submessage would make one up only to find it empty.
        if message.HasField(name):
            search(getattr(message, name), f"{path}{name}.", found)

    def search_each(message: Message, path: str, found: list[FieldViolation]) -> None:
        for index, item in enumerate(getattr(message, name)):
            search(item, f"{path}{name}[{index}].", found)

    return search_each if repeated else search_one
