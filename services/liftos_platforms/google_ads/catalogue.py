"""The fields of the API: read from the published messages, and which of them a resource may use."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor


class FieldCategory(Enum):
    """What a field is to a query; the values are those of `GoogleAdsFieldCategory`."""

    RESOURCE = 2
    ATTRIBUTE = 3
    SEGMENT = 5
    METRIC = 6


class FieldType(Enum):
    """What a field holds; the values are those of `GoogleAdsFieldDataType`."""

    BOOLEAN = 2
    DATE = 3
    DOUBLE = 4
    ENUM = 5
    FLOAT = 6
    INT32 = 7
    INT64 = 8
    MESSAGE = 9
    RESOURCE_NAME = 10
    STRING = 11


@dataclass(frozen=True, slots=True)
class Field:
    """A field as queries name it.

    Attributes:
        name: Dotted name, for example `ad_group_ad.ad.id`.
        resource: The first part of the name; `metrics` and `segments` are such parts too.
        category: What the field is to a query.
        type: What it holds.
        is_repeated: Whether it is a list.
        path: Names of the protobuf fields from the row down to the field.
        enum_numbers: Numbers of the enum's values by name, empty for other types.
    """

    name: str
    resource: str
    category: FieldCategory
    type: FieldType
    is_repeated: bool
    path: tuple[str, ...]
    enum_numbers: Mapping[str, int]


DATE_SEGMENTS: Final = (
    "segments.date",
    "segments.day_of_week",
    "segments.month",
    "segments.month_of_year",
    "segments.quarter",
    "segments.week",
    "segments.year",
)
"""Segments that follow from the day alone."""

CORE_DATE_SEGMENTS: Final = frozenset(
    {"segments.date", "segments.week", "segments.month", "segments.quarter", "segments.year"}
)
"""Segments that need a finite range of dates, and may be filtered without being selected."""

ATTRIBUTED_RESOURCES: Final[Mapping[str, tuple[str, ...]]] = {
    "customer": ("customer",),
    "customer_client": ("customer", "customer_client"),
    "campaign": ("customer", "campaign"),
    "ad_group": ("customer", "campaign", "ad_group"),
    "ad_group_ad": ("customer", "campaign", "ad_group", "ad_group_ad"),
    "change_status": ("customer", "campaign", "ad_group", "ad_group_ad", "change_status"),
}
"""The simulated resources, and the resources whose attributes a query of each may select."""

RESOURCES_WITHOUT_METRICS: Final = frozenset({"change_status", "customer_client"})
"""Simulated resources that take neither metrics nor segments."""

CHANGE_MOMENT: Final = "change_status.last_change_date_time"
"""When something changed: a date, or a date and a time, as text."""

_TYPES: Final = {
    FieldDescriptor.TYPE_BOOL: FieldType.BOOLEAN,
    FieldDescriptor.TYPE_BYTES: FieldType.STRING,
    FieldDescriptor.TYPE_DOUBLE: FieldType.DOUBLE,
    FieldDescriptor.TYPE_ENUM: FieldType.ENUM,
    FieldDescriptor.TYPE_FLOAT: FieldType.FLOAT,
    FieldDescriptor.TYPE_INT32: FieldType.INT32,
    FieldDescriptor.TYPE_INT64: FieldType.INT64,
    FieldDescriptor.TYPE_MESSAGE: FieldType.MESSAGE,
    FieldDescriptor.TYPE_STRING: FieldType.STRING,
}
_CATEGORIES: Final = {"metrics": FieldCategory.METRIC, "segments": FieldCategory.SEGMENT}
_DATES: Final = frozenset(
    {"segments.date", "segments.month", "segments.quarter", "segments.week", CHANGE_MOMENT}
)


class Catalogue:
    """All fields of a version of the API, from the descriptor of its rows."""

    __slots__ = ("_row",)

    def __init__(self, row: Descriptor) -> None:
        self._row = row

    def resources(self) -> tuple[str, ...]:
        """Return the names that may stand before the first dot of a field."""
        return tuple(field.name for field in self._row.fields)

    def find(self, name: str) -> Field | None:
        """Return the field, also one that holds a message, or None where there is none."""
        message: Descriptor | None = self._row
        found: FieldDescriptor | None = None
        path = []
        repeated = False
        for part in name.split("."):
            if message is None:
                return None
            found = _field_of(message, part)
            if found is None:
                return None
            path.append(found.name)
            repeated = repeated or found.is_repeated
            message = found.message_type
        assert found is not None
        resource = path[0]
        return Field(
            name=name,
            resource=resource,
            category=FieldCategory.RESOURCE
            if len(path) == 1
            else _CATEGORIES.get(resource, FieldCategory.ATTRIBUTE),
            type=_type_of(found, name),
            is_repeated=repeated,
            path=tuple(path),
            enum_numbers=_numbers(found.enum_type),
        )

    def fields_of(self, resource: str) -> Iterator[Field]:
        """Yield the fields directly below a resource that do not hold a message."""
        message = self._row.fields_by_name[resource].message_type
        assert message is not None
        for descriptor in message.fields:
            field = self.find(f"{resource}.{_public_name(descriptor.name)}")
            if field is not None and field.type is not FieldType.MESSAGE:
                yield field


def _field_of(message: Descriptor, part: str) -> FieldDescriptor | None:
    """Return the field of a message by its public name."""
    if part.endswith("_"):
        return None
    # Python's packages add an underscore to names that are words of the language.
    found = message.fields_by_name.get(part) or message.fields_by_name.get(f"{part}_")
    return found if isinstance(found, FieldDescriptor) else None


def _public_name(name: str) -> str:
    return name.removesuffix("_")


def _type_of(descriptor: FieldDescriptor, name: str) -> FieldType:
    if name in _DATES:
        return FieldType.DATE
    if descriptor.name == "resource_name":
        return FieldType.RESOURCE_NAME
    return _TYPES[descriptor.type]


def _numbers(enum: EnumDescriptor | None) -> Mapping[str, int]:
    return {} if enum is None else {value.name: value.number for value in enum.values}
