"""`liftos … routes`: the commands of routes, which are alike for all that people are told of."""

import functools
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from liftos_cli.consent import YesOption, require_consent
from liftos_cli.errors import CommandError, ExitCode
from liftos_cli.figures import short_name
from liftos_cli.lazy_group import command_app
from liftos_cli.listing import page_size, print_list, take
from liftos_cli.message_view import field_text, print_fields, time_text
from liftos_cli.options import LimitOption
from liftos_cli.output import Column, print_json
from liftos_cli.secret_input import read_secret_text
from liftos_client.arguments import enum_value

if TYPE_CHECKING:
    from google.protobuf.internal.enum_type_wrapper import _EnumTypeWrapper

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
PlatformsOption = Annotated[
    list[str] | None,
    typer.Option("--platform", help="Only this platform; may be repeated."),
]

_URL_OPTIONS: Final = {"file_option": "--url-file", "variable_option": "--url-env"}


@dataclass(frozen=True, slots=True)
class RouteGroup:
    """What the routes of one noun have of their own.

    Attributes:
        noun: What is told, in lower-case letters, such as "alert".
        calls: Makes a command of a coroutine function, as `calls_memory` does.
        client: Returns the client of the service, of what a command works with.
        kinds: The enum of kinds.
        kinds_option: What typer reads of --kind.
        severity_option: What typer reads of --severity.
        severity_number: Returns what the contract has for what was typed there.
        severity_text: Returns what a list shows of a route's least severity.
        severity_example: Something to type there.
    """

    noun: str
    calls: Callable[[Any], Callable[..., None]]
    client: Callable[[Any], Any]
    kinds: "_EnumTypeWrapper[Any]"
    kinds_option: object
    severity_option: object
    severity_number: Callable[[Any], float]
    severity_text: Callable[[Any], str]
    severity_example: str


@dataclass(frozen=True, slots=True)
class RouteCall:
    """What a command of routes works with.

    Attributes:
        group: Whose routes.
        client: Of the service that has them.
        json: Whether to print JSON.
    """

    group: RouteGroup
    client: Any
    json: bool

    def method(self, verb: str, plural: str = "") -> Any:  # noqa: ANN401  # as the client has it
        """Return the client's method, such as `get_alert_route`."""
        return getattr(self.client, f"{verb}_{self.group.noun}_route{plural}")


def route_app(group: RouteGroup) -> typer.Typer:
    """Return the commands of a group."""
    nouns = f"{group.noun}s"
    app = command_app(summary=f"Say where {nouns} are told.")
    severity = f"--severity {group.severity_example}"
    for name, command, arguments in (
        ("create", _create, f"on-call --name 'On call' {severity} --url-env SLACK_URL"),
        ("list", _list, ""),
        ("get", _get, "on-call"),
        ("update", _update, f"on-call {severity}"),
        ("delete", _delete, "on-call --yes"),
        ("test", _test, "on-call"),
    ):
        example = f"Example: liftos {nouns} routes {name} {arguments}".rstrip()
        app.command(name, epilog=example)(group.calls(_command(group, command)))
    return app


def _command(
    group: RouteGroup, function: Callable[..., Awaitable[None]]
) -> Callable[..., Awaitable[None]]:
    """Return a command of a group: its function, with the group's own options."""
    own = {"kinds": group.kinds_option, "minimum_severity": group.severity_option}

    @functools.wraps(function)
    async def run(call: Any, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        await function(RouteCall(group, group.client(call), call.json), *arguments, **options)

    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            each.replace(annotation=own.get(each.name, each.annotation))
            for each in inspect.signature(function).parameters.values()
        ]
    )
    return run


async def _create(
    call: RouteCall,
    route_id: Annotated[
        str, typer.Argument(metavar="ID", help="Lower-case letters, digits and hyphens.")
    ],
    *,
    display_name: Annotated[str, typer.Option("--name", help="Shown to people.")],
    url_file: UrlFileOption = None,
    url_env: UrlVariableOption = None,
    kinds: Any = None,  # noqa: ANN401
    minimum_severity: Any = None,  # noqa: ANN401
    platforms: PlatformsOption = None,
    disabled: Annotated[bool, typer.Option("--disabled", help="Send nothing yet.")] = False,
) -> None:
    """Say where they go. The address holds secrets, and is never shown again."""
    target_url = read_secret_text(url_file, url_env, **_URL_OPTIONS)
    if target_url is None:
        raise CommandError("no address is given", advice="give --url-file or --url-env")
    route = await call.method("create")(
        route_id,
        display_name=display_name,
        target_url=target_url,
        kinds=kinds or [],
        minimum_severity=minimum_severity,
        platforms=platforms or [],
        disabled=disabled,
    )
    _tell(call, route)


async def _list(call: RouteCall, *, limit: LimitOption = 100) -> None:
    """List routes by name."""
    pages = call.method("list", "s")(page_size=page_size(limit, 1_000))
    routes, more = await take(pages, limit)
    print_list(
        f"{call.group.noun}_routes",
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
        row=lambda route: [
            short_name(route.name),
            route.display_name,
            "nothing" if route.disabled else route.target_kind,
            field_text(route, route.DESCRIPTOR.fields_by_name["kinds"]) or "all",
            call.group.severity_text(route) if route.minimum_severity else "all",
            ", ".join(route.platforms) or "all",
            time_text(route, "send_time"),
            route.send_error,
        ],
    )


async def _get(call: RouteCall, route_id: IdArgument) -> None:
    """Show a route, without its address."""
    route = await call.method("get")(route_id)
    if call.json:
        print_json(route)
    else:
        print_fields(route)


async def _update(
    call: RouteCall,
    route_id: IdArgument,
    *,
    display_name: Annotated[
        str | None, typer.Option("--name", help="Shown to people.", show_default=False)
    ] = None,
    url_file: UrlFileOption = None,
    url_env: UrlVariableOption = None,
    kinds: Any = None,  # noqa: ANN401
    minimum_severity: Any = None,  # noqa: ANN401
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
    route = await call.method("get")(route_id)
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
        route.kinds[:] = [enum_value(call.group.kinds, kind, field="kinds") for kind in kinds]
        changed.append("kinds")
    if minimum_severity is not None:
        route.minimum_severity = call.group.severity_number(minimum_severity)
        changed.append("minimum_severity")
    if platforms:
        route.platforms[:] = platforms
        changed.append("platforms")
    if disabled is not None:
        route.disabled = disabled
        changed.append("disabled")
    if not changed:
        raise CommandError("nothing is named that should change", advice="see --help")
    _tell(call, await call.method("update")(route, update_mask=changed))


async def _delete(call: RouteCall, route_id: IdArgument, *, yes: YesOption = False) -> None:
    """Remove a route, with the messages that wait for it."""
    require_consent(f"Delete the route {short_name(route_id)}?", yes=yes)
    await call.method("delete")(route_id)
    if call.json:
        print_json({"deleted": route_id})
    else:
        print(f"Deleted {short_name(route_id)}.")


async def _test(call: RouteCall, route_id: IdArgument) -> None:
    """Send a message that says it is a test. Exit code 1 where it does not go out."""
    answer = await call.method("test")(route_id)
    if call.json:
        print_json({"sent": answer.sent, "error": answer.error})
    else:
        print("It went out." if answer.sent else f"It did not go out: {answer.error}")
    if not answer.sent:
        raise typer.Exit(ExitCode.NEGATIVE)


def _tell(call: RouteCall, route: Any) -> None:  # noqa: ANN401
    if call.json:
        print_json(route)
    else:
        state = "sends nothing" if route.disabled else f"sends by {route.target_kind}"
        print(f"{short_name(route.name)}: {route.display_name}, {state}.")
