"""`liftos insights routes`."""

from pathlib import Path
from typing import Annotated, Final

import typer

from liftos.memory.v1.insight_pb2 import InsightKind, InsightRoute
from liftos_cli.errors import CommandError, ExitCode
from liftos_cli.figures import short_name
from liftos_cli.lazy_group import command_app
from liftos_cli.listing import page_size, print_list, take
from liftos_cli.memory_call import MemoryCall, calls_memory
from liftos_cli.message_view import field_text, print_fields, time_text
from liftos_cli.options import LimitOption
from liftos_cli.output import Column, print_json
from liftos_cli.secret_input import read_secret_text
from liftos_client.arguments import enum_value

app = command_app(summary="Say where insights are told.")

IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="Name of the route, or its id alone.")
]
UrlFileOption = Annotated[
    Path | None,
    typer.Option(
        "--url-file",
        metavar="FILE",
        help="File with the address, such as slack://…; - is stdin.",
        show_default=False,
    ),
]
UrlVariableOption = Annotated[
    str | None,
    typer.Option(
        "--url-env",
        metavar="NAME",
        help="Variable of this shell with the address.",
        show_default=False,
    ),
]
KindsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--kind", metavar="KIND", help="Only these, trend, anomaly or benchmark; may be repeated."
    ),
]
SeverityOption = Annotated[
    float | None,
    typer.Option(
        "--severity",
        metavar="NUMBER",
        min=0.0,
        max=100.0,
        help="Only insights at least as severe; 30 is one in a thousand.",
        show_default=False,
    ),
]
PlatformsOption = Annotated[
    list[str] | None,
    typer.Option("--platform", help="Only this platform; may be repeated."),
]

_URL_OPTIONS: Final = {"file_option": "--url-file", "variable_option": "--url-env"}


@app.command(
    epilog="Example: liftos insights routes create on-call --name 'On call' --severity 40"
    " --url-env SLACK_URL"
)
@calls_memory
async def create(
    call: MemoryCall,
    route_id: Annotated[
        str, typer.Argument(metavar="ID", help="Lower-case letters, digits and hyphens.")
    ],
    *,
    display_name: Annotated[str, typer.Option("--name", help="Shown to people.")],
    url_file: UrlFileOption = None,
    url_env: UrlVariableOption = None,
    kinds: KindsOption = None,
    minimum_severity: SeverityOption = None,
    platforms: PlatformsOption = None,
    disabled: Annotated[bool, typer.Option("--disabled", help="Send nothing yet.")] = False,
) -> None:
    """Say where insights go. The address holds secrets, and is never shown again."""
    target_url = read_secret_text(url_file, url_env, **_URL_OPTIONS)
    if target_url is None:
        raise CommandError("no address is given", advice="give --url-file or --url-env")
    route = await call.memory.create_insight_route(
        route_id,
        display_name=display_name,
        target_url=target_url,
        kinds=kinds or [],
        minimum_severity=minimum_severity or 0.0,
        platforms=platforms or [],
        disabled=disabled,
    )
    _tell(call, route)


@app.command("list", epilog="Example: liftos insights routes list")
@calls_memory
async def list_routes(call: MemoryCall, *, limit: LimitOption = 100) -> None:
    """List routes by name."""
    pages = call.memory.list_insight_routes(page_size=page_size(limit, 1_000))
    routes, more = await take(pages, limit)
    print_list(
        "insight_routes",
        routes,
        more=more,
        json=call.json,
        columns=[
            Column("id"),
            Column("name"),
            Column("to"),
            Column("kinds"),
            Column("from severity"),
            Column("platforms"),
            Column("last sent"),
            Column("failure"),
        ],
        row=_row,
    )


@app.command(epilog="Example: liftos insights routes get on-call")
@calls_memory
async def get(call: MemoryCall, route_id: IdArgument) -> None:
    """Show a route, without its address."""
    route = await call.memory.get_insight_route(route_id)
    if call.json:
        print_json(route)
    else:
        print_fields(route)


@app.command(epilog="Example: liftos insights routes update on-call --severity 30")
@calls_memory
async def update(
    call: MemoryCall,
    route_id: IdArgument,
    *,
    display_name: Annotated[
        str | None, typer.Option("--name", help="Shown to people.", show_default=False)
    ] = None,
    url_file: UrlFileOption = None,
    url_env: UrlVariableOption = None,
    kinds: KindsOption = None,
    minimum_severity: SeverityOption = None,
    platforms: PlatformsOption = None,
    disabled: Annotated[
        bool | None,
        typer.Option("--disable/--enable", help="Send nothing, or send.", show_default=False),
    ] = None,
    reseal: Annotated[
        bool, typer.Option("--reseal", help="Encrypt the address again, with the newest key.")
    ] = False,
) -> None:
    """Change what is named, and leave the rest."""
    route = await call.memory.get_insight_route(route_id)
    target_url = read_secret_text(url_file, url_env, **_URL_OPTIONS)
    changed: list[str] = []
    if display_name is not None:
        route.display_name = display_name
        changed.append("display_name")
    if target_url is not None:
        route.target_url = target_url
    if target_url is not None or reseal:
        changed.append("target_url")
    if kinds:
        route.kinds[:] = [enum_value(InsightKind, kind, field="kinds") for kind in kinds]
        changed.append("kinds")
    if minimum_severity is not None:
        route.minimum_severity = minimum_severity
        changed.append("minimum_severity")
    if platforms:
        route.platforms[:] = platforms
        changed.append("platforms")
    if disabled is not None:
        route.disabled = disabled
        changed.append("disabled")
    if not changed:
        raise CommandError("nothing is named that should change", advice="see --help")
    _tell(call, await call.memory.update_insight_route(route, update_mask=changed))


@app.command(epilog="Example: liftos insights routes delete on-call")
@calls_memory
async def delete(call: MemoryCall, route_id: IdArgument) -> None:
    """Remove a route."""
    await call.memory.delete_insight_route(route_id)
    if call.json:
        print_json({"deleted": route_id})
    else:
        print(f"Deleted {short_name(route_id)}.")


@app.command(epilog="Example: liftos insights routes test on-call")
@calls_memory
async def test(call: MemoryCall, route_id: IdArgument) -> None:
    """Send a message that says it is a test. Exit code 1 where it does not go out."""
    answer = await call.memory.test_insight_route(route_id)
    if call.json:
        print_json({"sent": answer.sent, "error": answer.error})
    else:
        print("It went out." if answer.sent else f"It did not go out: {answer.error}")
    if not answer.sent:
        raise typer.Exit(ExitCode.NEGATIVE)


def _tell(call: MemoryCall, route: InsightRoute) -> None:
    if call.json:
        print_json(route)
    else:
        state = "sends nothing" if route.disabled else f"sends by {route.target_kind}"
        print(f"{short_name(route.name)}: {route.display_name}, {state}.")


def _row(route: InsightRoute) -> list[str]:
    return [
        short_name(route.name),
        route.display_name,
        "nothing" if route.disabled else route.target_kind,
        field_text(route, route.DESCRIPTOR.fields_by_name["kinds"]) or "all",
        f"{route.minimum_severity:g}" if route.minimum_severity else "all",
        ", ".join(route.platforms) or "all",
        time_text(route, "send_time"),
        route.send_error,
    ]
