"""Records that cannot be read or taken in: found one by one, so that all others go on."""

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

from liftos_migration.copy_ports import Records, RowReader, RowUnreadableError
from liftos_migration.domain.changes import Key
from liftos_migration.domain.projection import Projection
from liftos_migration.domain.rejects import RecordError, Reject

WINDOW: Final = 2_000
"""Records among which one that cannot be read is looked for."""


async def read_around(
    reader: RowReader,
    connection: Any,  # noqa: ANN401 - the reader's
    projection: Projection,
    keys: Sequence[Key],
) -> tuple[Sequence[Records], Sequence[Reject]]:
    """Read records by key, and find those that cannot be read by halving again and again.

    Returns:
        The records, and those of which the source says that it cannot evaluate them.
    """
    if not keys:
        return [], []
    try:
        records = await reader.keyed(connection, projection, keys)
    except RowUnreadableError as fault:
        if len(keys) == 1:
            rows = await reader.raw(connection, projection, keys)
            return [], [Reject(projection.table, keys[0], (fault.error,), rows.get(keys[0], {}))]
    else:
        return ([records] if records.keys else []), []
    middle = len(keys) // 2
    left, left_rejects = await read_around(reader, connection, projection, keys[:middle])
    right, right_rejects = await read_around(reader, connection, projection, keys[middle:])
    return [*left, *right], [*left_rejects, *right_rejects]


async def unreadable_keys(
    reader: RowReader,
    connection: Any,  # noqa: ANN401 - the reader's
    projection: Projection,
) -> Sequence[Key]:
    """Read a whole table, and return the keys of the records that cannot be read."""
    found: list[Key] = []
    last: Key | None = None
    while True:
        try:
            async with aclosing(reader.range(connection, projection, last, None)) as batches:
                async for records in batches:
                    last = records.keys[-1]
        except RowUnreadableError:
            keys = await reader.keys(connection, projection, last, None, WINDOW)
            if not keys:
                return found
            _, rejects = await read_around(reader, connection, projection, keys)
            found += [each.key for each in rejects]
            last = keys[-1]
        else:
            return found


async def rejected(
    reader: RowReader,
    connection: Any,  # noqa: ANN401 - the reader's
    projection: Projection,
    refused: Mapping[Key, Sequence[RecordError]],
) -> Sequence[Reject]:
    """Return what Core refused, with the rows as the source has them."""
    if not refused:
        return []
    rows = await reader.raw(connection, projection, list(refused))
    return [
        Reject(projection.table, key, tuple(errors), rows.get(key, {}))
        for key, errors in refused.items()
    ]
