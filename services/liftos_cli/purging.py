"""Deletion of what an origin wrote, told and confirmed before it is done."""

import sys
from collections.abc import Awaitable, Callable

import typer

from liftos.memory.v1.memory_service_pb2 import PurgeEntriesResponse, PurgeRecordsResponse
from liftos_cli.errors import CommandError
from liftos_cli.figures import counted, short_name
from liftos_cli.output import print_json, say

_NAMES_SHOWN = 5

PurgeAnswer = PurgeEntriesResponse | PurgeRecordsResponse


async def purge(
    ask: Callable[[bool], Awaitable[PurgeAnswer]],
    origin: str,
    *,
    singular: str,
    plural: str,
    yes: bool,
    json: bool,
) -> None:
    """Say what would be deleted, delete it after a yes, and say so.

    Args:
        ask: Counts, and deletes where its argument is true.
        origin: What wrote it.
        singular: What one of it is called.
        plural: What several are called.
        yes: Delete without asking.
        json: Print the answer as JSON.

    Raises:
        CommandError: There is something to delete, and nobody to say yes.
    """
    answer = await ask(False)
    deleted = False
    if answer.purge_count:
        say(
            f"{counted(answer.purge_count, singular, plural)} of {origin} would be deleted,"
            " such as:"
        )
        for name in answer.sample_names[:_NAMES_SHOWN]:
            say(f"  {short_name(name)}")
        if not yes and not sys.stdin.isatty():
            raise CommandError("nothing was deleted", advice="add --yes to delete them")
        if yes or typer.confirm("Delete them?", err=True):
            answer = await ask(True)
            deleted = True
    if json:
        print_json(answer)
    elif deleted:
        print(f"Deleted {counted(answer.purge_count, singular, plural)} of {origin}.")
    else:
        print("Nothing was deleted.")
