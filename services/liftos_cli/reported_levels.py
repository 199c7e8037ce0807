"""Levels as people type them, held against what the platform of a connection reports."""

from collections.abc import Sequence

from liftos.memory.v1.entry_pb2 import EntryLevel
from liftos_cli.errors import CommandError
from liftos_client.arguments import enum_word
from liftos_client.errors import FieldInvalidError
from liftos_client.ingestion import IngestionClient
from liftos_client.ingestion.base import level_values


async def reported_levels(
    ingestion: IngestionClient, connection: str, words: Sequence[str] | None
) -> list[EntryLevel.ValueType]:
    """Return the levels of some words; a word that is none is told with those that there are.

    Args:
        ingestion: Knows what is reported.
        connection: Name of the connection, or its id alone.
        words: As they were typed.

    Raises:
        CommandError: A word is no level.
    """
    try:
        return level_values(words or ())
    except FieldInvalidError as error:
        found = await ingestion.get_connection(connection)
        source = await ingestion.get_source(found.platform)
        there = [enum_word(EntryLevel, level) for level in source.capabilities.levels]
        wrong = error.field_violations[0].description.partition(" is none of ")[0]
        raise CommandError(
            f"--level: {wrong} is no level that {found.platform} reports",
            advice=f"choose of {', '.join(there)}",
        ) from None
