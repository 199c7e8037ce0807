"""SQL text about the columns that tell which object a row is about."""

from typing import Any, Final

from asyncpg import Record

from liftos_mapping.entry_fields import LEVELS
from liftos_memory.domain.documents import ObjectKey

KEY: Final = (
    "platform",
    "level",
    "account_id",
    "campaign_id",
    "ad_group_id",
    "ad_id",
    "flow_id",
    "message_id",
    "series_id",
)


def same_object(left: str, right: str) -> str:
    """Return the condition that rows of two tables are about one object."""
    return " and ".join(f"{left}.{column} = {right}.{column}" for column in KEY)


def key_of(row: Record) -> ObjectKey:
    """Return the object that a row is about."""
    values = {column: row[column] for column in KEY}
    return ObjectKey(**{**values, "level": LEVELS[values["level"] - 1]})


def key_values(key: ObjectKey) -> tuple[Any, ...]:
    """Return the columns of an object, in the order of `KEY`."""
    return tuple(
        LEVELS.index(key.level) + 1 if column == "level" else getattr(key, column) for column in KEY
    )
