"""Numbers and messages as people read them. What is unset is a dash, since it is not zero."""

from decimal import Decimal
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

UNSET: Final = "-"
MICROS: Final = "_micros"


def amount(micros: int) -> str:
    """Return millionths in units, exactly, with at least two places: 1,234.50."""
    units = Decimal(micros).scaleb(-6)
    places = max(2, -int(units.normalize().as_tuple().exponent))
    return f"{units:,.{places}f}"


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return how many of something: 1 row, 2 rows; by default the plural has an s."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def length(duration: Duration) -> str:
    """Return about how long something is, as people say it: 45 s, 10 min, 1 h 30 min, 2 d."""
    seconds = round(duration.ToTimedelta().total_seconds())
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count:,} {unit}")
    return " ".join(parts[:2]) or "0 s"


def ratio(value: float) -> str:
    """Return a ratio with four significant digits, and with all whole ones."""
    return f"{value:,.0f}" if abs(value) >= 999.95 else f"{value:,.4g}"


def cell(message: Message, name: str) -> str:
    """Return a field of a message as text.

    An amount is found under its name without `_micros` too, and is in units then.

    Raises:
        KeyError: The message has no such field.
    """
    fields = message.DESCRIPTOR.fields_by_name
    in_units = name not in fields and name + MICROS in fields
    stored = name + MICROS if in_units else name
    field = fields[stored]
    if field.has_presence and not message.HasField(stored):
        return UNSET
    if field.enum_type is not None:
        return enum_word_of(message, stored)
    value = getattr(message, stored)
    return amount(value) if in_units else _figure(value)


def _figure(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return ratio(value)
        case Timestamp():
            return value.ToJsonString()
        case _:
            return str(value)


def enum_word_of(message: Message, name: str) -> str:
    """Return the short word of an enum field: CAMPAIGN."""
    values = message.DESCRIPTOR.fields_by_name[name].enum_type
    assert values is not None, "an enum field"
    number = getattr(message, name)
    found = values.values_by_number.get(number)
    if found is None:  # a later server's
        return str(number)
    return found.name.removeprefix(values.values[0].name.removesuffix("UNSPECIFIED"))


def short_name(name: str) -> str:
    """Return the last segment of a resource name."""
    return name.rpartition("/")[2]
