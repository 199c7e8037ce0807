"""A service whose contract is drafted and whose methods are not there yet.

It runs with the whole chassis, so that callers can be built against it: a call with a good token
is answered UNIMPLEMENTED with NOT_BUILT and the method's name, a bad one as everywhere.
"""

import argparse
import sys
from collections.abc import Callable

import grpc

from liftos_kit.server import Application, Services, serve
from liftos_kit.settings import ServiceSettings, SettingsError, load
from liftos_kit.supervisor import START_FAILED


def run_draft(
    name: str,
    *,
    settings_type: type[ServiceSettings],
    service_name: str,
    register: Callable[[grpc.aio.Server], None],
) -> int:
    """Run `serve` or `check-config` of a drafted service; return the exit code.

    Args:
        name: As in telemetry, `liftos-ingestion`.
        settings_type: The service's settings.
        service_name: Full name of its gRPC service.
        register: Adds the generated servicer, none of whose methods is overridden.
    """
    parser = argparse.ArgumentParser(prog=name.replace("-", "_"), description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="answer gRPC calls, with UNIMPLEMENTED so far")
    commands.add_parser("check-config", help="check and print the settings, without secrets")
    arguments = parser.parse_args()
    try:
        settings = load(settings_type)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return START_FAILED
    if arguments.command == "check-config":
        for key, value in settings.describe().items():
            print(f"{key}={value}")
        return 0

    async def open_services() -> Services:
        return Services(register=register)

    return serve(
        Application(name=name, settings=settings, service_names=(service_name,), open=open_services)
    )
