"""`liftos up`."""

import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final

import typer

from liftos_cli.errors import ExitCode
from liftos_cli.lazy_group import command_app
from liftos_cli.local_stack import DataDirOption, chosen_data_dir, data_dir_words, stack_errors
from liftos_cli.options import JsonOption
from liftos_cli.output import say
from liftos_kit.core.names import is_org_id
from liftos_local import stack
from liftos_local.plan import MODULE_STORES, PLATFORMS, SERVICES, STORES, causal_services
from liftos_local.ports import PortPlan
from liftos_local.state import ProcessState, StackState, StackStatus

app = command_app()

_COLOURS: Final[Mapping[str, str]] = {
    ProcessState.STARTING: typer.colors.YELLOW,
    ProcessState.HEALTHY: typer.colors.GREEN,
    ProcessState.UNHEALTHY: typer.colors.RED,
    ProcessState.FAILED: typer.colors.RED,
}
_ENDINGS: Final[Mapping[StackState, str]] = {
    StackState.STOPPED: "Somebody else stopped it.",
    StackState.KILLED: "Its supervisor was killed, and all that it ran has ended.",
}
_NAME_WIDTH: Final = max(
    len(name)
    for name in (
        *STORES,
        *SERVICES,
        *PLATFORMS.ports,
        *MODULE_STORES,
        *(spec.name for spec in causal_services("")),
    )
)


class Ports(StrEnum):
    """How ports are chosen."""

    DEFAULT = "default"
    AUTO = "auto"


@app.command(epilog="Example: liftos up --detach --ports auto")
def up(
    *,
    data_dir: DataDirOption = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return once all is healthy; it runs on.")
    ] = False,
    ports: Annotated[
        Ports, typer.Option(help="The documented ports, or any that are free.")
    ] = Ports.DEFAULT,
    stores_only: Annotated[
        bool, typer.Option("--stores-only", help="Start Postgres, Redis and Milvus only.")
    ] = False,
    service: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Start only this service; may be repeated."),
    ] = None,
    with_platforms: Annotated[
        bool,
        typer.Option(
            "--with-platforms", help="Simulate Meta, Google Ads and Klaviyo, and read from them."
        ),
    ] = False,
    with_causal: Annotated[
        str | None,
        typer.Option(
            "--with-causal",
            metavar="ORG",
            help="Run this organisation's Causal module on stores of its own, with sample data.",
            show_default=False,
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Start LiftOS on this machine, stores and all.

    Without --detach it stays until Ctrl-C and stops everything then. The data stays in the data
    directory, and the next start takes it up.
    """
    unknown = sorted(set(service or ()) - set(SERVICES))
    if unknown:
        known = ", ".join(SERVICES)
        raise typer.BadParameter(f"{unknown[0]!r} is none of {known}", param_hint="--service")
    if with_causal is not None and not is_org_id(with_causal):
        raise typer.BadParameter(
            f"{with_causal!r} is no organisation: small letters, digits and hyphens",
            param_hint="--with-causal",
        )
    directory = chosen_data_dir(data_dir)
    plan = PortPlan.automatic() if ports is Ports.AUTO else PortPlan.default()
    services = tuple(service or SERVICES)
    catalogue = dict(SERVICES)
    if with_platforms:
        catalogue = {PLATFORMS.name: PLATFORMS, **SERVICES}
        services = (PLATFORMS.name, *services)
    with stack_errors():
        if detach:
            healthy = stack.up(
                directory,
                ports=plan,
                stores_only=stores_only,
                services=services,
                catalogue=catalogue,
                module_org=with_causal,
                on_progress=_tell,
            )
            _print_status(healthy, json=json)
            option = data_dir_words(data_dir)
            say(f"Running. Next: `liftos status{option}`; stop it with `liftos down{option}`.")
            return
        with stack.start(
            directory,
            ports=plan,
            stores_only=stores_only,
            services=services,
            catalogue=catalogue,
            module_org=with_causal,
            on_progress=_tell,
        ) as running:
            _print_status(running.status(), json=json)
            say("Running. Ctrl-C stops it.")
            last = running.wait()
            say("Stopping …")
    if ending := _ENDINGS.get(last.state):
        say(ending)
        raise typer.Exit(ExitCode.NEGATIVE)


def _print_status(status: StackStatus, *, json: bool) -> None:
    if json:
        print(status.to_json())
    else:
        for name, address in status.addresses.items():
            print(f"{name:<{_NAME_WIDTH}}  {address}")
    sys.stdout.flush()


def _tell(process: str, state: str) -> None:
    word = typer.style(state, fg=_COLOURS.get(state))
    # echo takes the colours away where stderr is no terminal.
    typer.echo(f"{process:<{_NAME_WIDTH}}  {word}", err=True)
