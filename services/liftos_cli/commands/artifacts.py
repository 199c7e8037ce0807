"""`liftos artifacts`."""

import mimetypes
import sys
from pathlib import Path
from typing import Annotated

import typer

from liftos.memory.v1.artifact_pb2 import Artifact, ArtifactKind
from liftos_cli import purging
from liftos_cli.errors import CommandError
from liftos_cli.figures import enum_word_of, short_name
from liftos_cli.lazy_group import command_app
from liftos_cli.listing import page_size, print_list, take
from liftos_cli.memory_call import MemoryCall, calls_memory
from liftos_cli.object_files import read_object
from liftos_cli.options import LimitOption, RecordFilterOption
from liftos_cli.output import Column, print_json, print_table, say
from liftos_cli.record_feed import add_feed_commands
from liftos_client.arguments import enum_value

app = command_app(summary="Keep models, results and tables.")

IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="Name of the artifact, or its id alone.")
]

_COLUMNS = (
    Column("id"),
    Column("kind"),
    Column("scope"),
    Column("name"),
    Column("version", number=True),
    Column("updated"),
    Column("origin"),
)


@app.command(
    epilog="Example: liftos artifacts put weights-2026 --kind model --scope causal --content w.bin"
)
@calls_memory
async def put(
    call: MemoryCall,
    artifact_id: IdArgument,
    *,
    kind: Annotated[
        str,
        typer.Option(metavar="KIND", help="model, result, configuration, module_memory or table."),
    ],
    scope: Annotated[str, typer.Option(help="The module that it belongs to.")],
    display_name: Annotated[str, typer.Option("--name", help="Shown to people.")] = "",
    body: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Its structured part (JSON).", show_default=False),
    ] = None,
    content: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Its binary part.", show_default=False),
    ] = None,
    content_type: Annotated[
        str, typer.Option(metavar="TYPE", help="MIME type of content; told by its suffix.")
    ] = "",
    origin: Annotated[str, typer.Option(help="What writes it.")] = "cli",
) -> None:
    """Write an artifact; the same contents make no new version."""
    artifact = Artifact(
        name=artifact_id if "/" in artifact_id else f"orgs/{call.org}/artifacts/{artifact_id}",
        kind=enum_value(ArtifactKind, kind, field="kind"),
        scope=scope,
        display_name=display_name,
    )
    if body is not None:
        artifact.body.update(read_object(body))
    if content is not None:
        artifact.content = _read_bytes(content)
        artifact.content_type = content_type or mimetypes.guess_type(content.name)[0] or ""
    answer = await call.memory.batch_upsert_artifacts([artifact], origin=origin)
    if call.json:
        print_json(answer)
    else:
        print(f"{artifact_id}: {'a new version' if answer.upserted_count else 'as it was'}.")


@app.command(epilog="Example: liftos artifacts get weights-2026 --content w.bin")
@calls_memory
async def get(
    call: MemoryCall,
    artifact_id: IdArgument,
    *,
    version: Annotated[int, typer.Option(min=0, help="0 is the newest.")] = 0,
    content: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write its binary part there; - is stdout.", show_default=False
        ),
    ] = None,
) -> None:
    """Show an artifact, or write its binary part to a file."""
    artifact = await call.memory.get_artifact(artifact_id, version=version)
    if content == Path("-"):
        sys.stdout.buffer.write(artifact.content)
        return
    if content is not None:
        content.write_bytes(artifact.content)
        say(f"Wrote {len(artifact.content):,} bytes to {content}.")
    if call.json:
        print_json(artifact)
    else:
        print_table(
            [Column("field"), Column("value")],
            [
                *zip([column.title for column in _COLUMNS], _row(artifact), strict=True),
                ("sha256", artifact.sha256),
                ("content", f"{len(artifact.content):,} bytes {artifact.content_type}"),
            ],
        )
        if artifact.HasField("body"):
            print_json(artifact.body)


@app.command("list", epilog="""Example: liftos artifacts list --filter 'scope = "causal"'""")
@calls_memory
async def list_artifacts(
    call: MemoryCall, *, filter_: RecordFilterOption = "", limit: LimitOption = 100
) -> None:
    """List artifacts by name."""
    pages = call.memory.list_artifacts(filter=filter_, page_size=page_size(limit, 1_000))
    artifacts, more = await take(pages, limit)
    print_list("artifacts", artifacts, more=more, json=call.json, columns=_COLUMNS, row=_row)


@app.command(epilog="Example: liftos artifacts versions weights-2026")
@calls_memory
async def versions(call: MemoryCall, artifact_id: IdArgument, *, limit: LimitOption = 100) -> None:
    """List the versions of an artifact, newest first."""
    pages = call.memory.list_artifact_versions(artifact_id, page_size=page_size(limit, 1_000))
    artifacts, more = await take(pages, limit)
    print_list("artifacts", artifacts, more=more, json=call.json, columns=_COLUMNS, row=_row)


@app.command(epilog="Example: liftos artifacts purge --origin causal/run-7 --yes")
@calls_memory
async def purge(
    call: MemoryCall,
    *,
    origin: Annotated[str, typer.Option(help="What wrote the artifacts.")],
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
) -> None:
    """Delete the artifacts of which an origin wrote the newest version."""
    await purging.purge(
        lambda force: call.memory.purge_records("ARTIFACTS", origin, force=force),
        origin,
        singular="artifact",
        plural="artifacts",
        yes=yes,
        json=call.json,
    )


add_feed_commands(app, singular="artifact", plural="artifacts")


def _row(artifact: Artifact) -> list[str]:
    return [
        short_name(artifact.name),
        enum_word_of(artifact, "kind").lower(),
        artifact.scope,
        artifact.display_name,
        str(artifact.version),
        artifact.update_time.ToJsonString(),
        artifact.origin,
    ]


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CommandError(
            f"{path} cannot be read ({error.strerror})", advice="name a file that exists"
        ) from None
