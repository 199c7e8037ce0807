"""What methods take for convenience, turned into what requests hold."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar
from uuid import uuid4

import grpc
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.struct_pb2 import Struct

from liftos.common.v1.marketing_pb2 import Consistency, DateRange
from liftos_client.errors import FieldInvalidError, FieldViolation

if TYPE_CHECKING:
    from google.protobuf.internal.enum_type_wrapper import _EnumTypeWrapper

_Value = TypeVar("_Value", bound=int)

Day: TypeAlias = date | str
"""A civil date, or its text "YYYY-MM-DD"."""


class HasWriteToken(Protocol):
    """An answer of a write."""

    @property
    def write_token(self) -> str:
        """Covers the write."""
        ...


Freshness: TypeAlias = HasWriteToken | str | None
"""A write token, or the answer of a write, which has one; None is what is there now."""


def day_text(day: Day) -> str:
    """Return a date as the contract writes it."""
    if isinstance(day, str):
        return day
    return (day.date() if isinstance(day, datetime) else day).isoformat()


def date_range(start_date: Day, end_date: Day) -> DateRange:
    """Return the closed range of two days."""
    return DateRange(start_date=day_text(start_date), end_date=day_text(end_date))


def optional_date_range(
    start_date: Day | None, end_date: Day | None, *, prefix: str = ""
) -> DateRange | None:
    """Return the closed range of two days, or None where neither is given.

    Args:
        start_date: First day.
        end_date: Last day.
        prefix: What the names of the two arguments begin with.

    Raises:
        FieldInvalidError: Only one of them is given.
    """
    if start_date is None and end_date is None:
        return None
    if start_date is None or end_date is None:
        missing = "start_date" if start_date is None else "end_date"
        raise invalid_argument(
            prefix + missing,
            f"{prefix}start_date and {prefix}end_date are given together or not at all",
        )
    return date_range(start_date, end_date)


def enum_value(
    enum: "_EnumTypeWrapper[_Value]", value: "_Value | str", *, field: str = ""
) -> "_Value":
    """Return the number of an enum value from itself, its name or its short word.

    Args:
        enum: The generated enum, such as `EntryLevel`.
        value: `EntryLevel.ENTRY_LEVEL_AD`, "ENTRY_LEVEL_AD", "AD" or "ad".
        field: Named in the error; by default after the enum.

    Raises:
        FieldInvalidError: The enum has no such word.
    """
    if not isinstance(value, str):
        return value
    word = value.upper()
    descriptor = enum.DESCRIPTOR
    prefix = descriptor.values[0].name.removesuffix("UNSPECIFIED")
    found = descriptor.values_by_name.get(word) or descriptor.values_by_name.get(prefix + word)
    if found is None:
        words = ", ".join(known.name.removeprefix(prefix) for known in descriptor.values[1:])
        name = field or descriptor.name
        raise invalid_argument(name, f"{value!r} is none of {words}")
    number: Any = found.number
    return number  # type: ignore[no-any-return]  # numbers of the enum's own values


def text_list(texts: Sequence[str], *, field: str) -> Sequence[str]:
    """Return the texts as they are.

    Raises:
        FieldInvalidError: It is one text, which would be taken for a list of its letters.
    """
    if isinstance(texts, str):
        raise invalid_argument(field, f"{texts!r} is no list of texts; write [{texts!r}]")
    return texts


def enum_word(enum: "_EnumTypeWrapper[_Value]", value: int) -> str:
    """Return the short word of an enum value; its number as text where this client is older."""
    descriptor = enum.DESCRIPTOR
    found = descriptor.values_by_number.get(value)
    if found is None:
        return str(value)
    return found.name.removeprefix(descriptor.values[0].name.removesuffix("UNSPECIFIED"))


def chosen_request_id(request_id: str) -> str:
    """Return the id of a request: the caller's, or a new one.

    With it the request may be sent again after a lost connection, and is carried out once.
    """
    return request_id or str(uuid4())


def field_mask(paths: Iterable[str]) -> FieldMask | None:
    """Return a mask of paths, or None where there are none."""
    given = list(paths)
    return FieldMask(paths=given) if given else None


def struct_of(value: Mapping[str, Any]) -> Struct:
    """Return a JSON object as a message; numbers are doubles there, so large ones go as text."""
    struct = Struct()
    struct.update(dict(value))
    return struct


def consistency(freshness: Freshness) -> Consistency | None:
    """Return how fresh a read must be."""
    if freshness is None:
        return None
    token = freshness if isinstance(freshness, str) else freshness.write_token
    return Consistency(at_least_as_fresh=token)


def invalid_argument(field: str, description: str) -> FieldInvalidError:
    """Return the error of an argument, as the server would answer it."""
    return FieldInvalidError(
        f"{field}: {description}",
        code=grpc.StatusCode.INVALID_ARGUMENT,
        reason="FIELD_INVALID",
        field_violations=[FieldViolation(field, description)],
    )
