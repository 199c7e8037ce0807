"""`liftos notes`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from liftos.memory.v1.artifact_pb2 import Note
from liftos_cli import purging
from liftos_cli.errors import CommandError
from liftos_cli.figures import short_name
from liftos_cli.lazy_group import command_app
from liftos_cli.listing import page_size, print_list, take
from liftos_cli.memory_call import MemoryCall, calls_memory
from liftos_cli.options import LimitOption, RecordFilterOption
from liftos_cli.output import Column, print_json
from liftos_cli.record_feed import add_feed_commands

app = command_app(summary="Keep texts with all their versions.")

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Name of the note, or its id alone.")]

_COLUMNS = (
    Column("id"),
    Column("scope"),
    Column("title"),
    Column("labels"),
    Column("version", number=True),
    Column("updated"),
    Column("origin"),
)


@app.command(
    epilog="Example: liftos notes put launch --scope planning --title 'Launch'"
    " --text 'The new shop opens in May.' --label shop"
)
@calls_memory
async def put(
    call: MemoryCall,
    note_id: IdArgument,
    *,
    scope: Annotated[str, typer.Option(help="The module or context that it belongs to.")],
    title: Annotated[str, typer.Option(help="One line.")] = "",
    text: Annotated[
        str | None, typer.Option(help="The text; by default it is read from stdin.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Read the text from there.", show_default=False),
    ] = None,
    labels: Annotated[
        list[str] | None, typer.Option("--label", help="A word to filter by; may be repeated.")
    ] = None,
    origin: Annotated[str, typer.Option(help="What writes it.")] = "cli",
) -> None:
    """Write a note; the same contents make no new version."""
    if text is None:
        text = _read_text(file)
    note = Note(
        name=note_id if "/" in note_id else f"orgs/{call.org}/notes/{note_id}",
        scope=scope,
        title=title,
        text=text,
        labels=labels or [],
    )
    answer = await call.memory.batch_upsert_notes([note], origin=origin)
    if call.json:
        print_json(answer)
    else:
        print(f"{note_id}: {'a new version' if answer.upserted_count else 'as it was'}.")


@app.command(epilog="Example: liftos notes get launch")
@calls_memory
async def get(
    call: MemoryCall,
    note_id: IdArgument,
    *,
    version: Annotated[int, typer.Option(min=0, help="0 is the newest.")] = 0,
) -> None:
    """Show a note."""
    note = await call.memory.get_note(note_id, version=version)
    if call.json:
        print_json(note)
        return
    if note.title:
        print(note.title, end="\n\n")
    print(note.text)


@app.command("list", epilog="""Example: liftos notes list --filter 'scope = "planning"'""")
@calls_memory
async def list_notes(
    call: MemoryCall, *, filter_: RecordFilterOption = "", limit: LimitOption = 100
) -> None:
    """List notes by name."""
    pages = call.memory.list_notes(filter=filter_, page_size=page_size(limit, 1_000))
    notes, more = await take(pages, limit)
    print_list("notes", notes, more=more, json=call.json, columns=_COLUMNS, row=_row)


@app.command(epilog="Example: liftos notes versions launch")
@calls_memory
async def versions(call: MemoryCall, note_id: IdArgument, *, limit: LimitOption = 100) -> None:
    """List the versions of a note, newest first."""
    pages = call.memory.list_note_versions(note_id, page_size=page_size(limit, 1_000))
    notes, more = await take(pages, limit)
    print_list("notes", notes, more=more, json=call.json, columns=_COLUMNS, row=_row)


@app.command(epilog="Example: liftos notes purge --origin cli --yes")
@calls_memory
async def purge(
    call: MemoryCall,
    *,
    origin: Annotated[str, typer.Option(help="What wrote the notes.")],
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
) -> None:
    """Delete the notes of which an origin wrote the newest version."""
    await purging.purge(
        lambda force: call.memory.purge_records("NOTES", origin, force=force),
        origin,
        singular="note",
        plural="notes",
        yes=yes,
        json=call.json,
    )


add_feed_commands(app, singular="note", plural="notes")


def _row(note: Note) -> list[str]:
    return [
        short_name(note.name),
        note.scope,
        note.title,
        ", ".join(note.labels),
        str(note.version),
        note.update_time.ToJsonString(),
        note.origin,
    ]


def _read_text(file: Path | None) -> str:
    try:
        return sys.stdin.read() if file is None else file.read_text(encoding="utf-8")
    except OSError as error:
        raise CommandError(
            f"{file} cannot be read ({error.strerror})", advice="name a file that exists"
        ) from None
    except UnicodeDecodeError:
        raise CommandError("the text is not UTF-8", advice="convert it to UTF-8") from None
