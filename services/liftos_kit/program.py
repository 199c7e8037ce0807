"""The command line of a service: serve, worker, migrate and check-config."""

import argparse
import asyncio
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources.abc import Traversable

from liftos_kit import postgres
from liftos_kit.settings import ServiceSettings, SettingsError, load
from liftos_kit.supervisor import START_FAILED


@dataclass(frozen=True, slots=True)
class Program:
    """What the command line of a service starts.

    Attributes:
        module: Name of the service's package, `liftos_memory`.
        description: What the service is called in its help.
        settings_type: Settings of its server and its worker.
        migrate_settings_type: Settings of its schema runner, which need the owner's Postgres alone.
        schema: Its schema in Postgres.
        schema_files: The directory of the files that make the schema.
        serve: Answers gRPC calls until a signal, and returns the exit code.
        work: Does the worker's part until a signal, and returns the exit code; None where there
            is no worker.
        worker_help: What the worker does, for the help.
    """

    module: str
    description: str
    settings_type: type[ServiceSettings]
    migrate_settings_type: type[ServiceSettings]
    schema: str
    schema_files: Traversable
    serve: Callable[[], int]
    work: Callable[[], int] | None = None
    worker_help: str = ""


@contextmanager
def lasting_imports() -> Iterator[None]:
    """Import what stays until the process ends.

    Garbage is looked for neither meanwhile, which takes a quarter of the time, nor later among
    what was imported, which holds up all calls for 0.1 s each time.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def run(program: Program) -> int:
    """Run what the arguments of the process name.

    Returns:
        The exit code: 2 where a setting is wrong or the schema cannot be brought up to date.
    """
    parser = argparse.ArgumentParser(prog=program.module, description=program.description)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="answer gRPC calls")
    if program.work is not None:
        commands.add_parser("worker", help=program.worker_help)
    migrate = commands.add_parser("migrate", help="bring the database to this version's schema")
    migrate.add_argument(
        "--through",
        choices=["pre", "post"],
        default="post",
        help="pre leaves out what would break servers of the version before",
    )
    commands.add_parser("check-config", help="check and print the settings, without secrets")
    arguments = parser.parse_args()
    try:
        match arguments.command:
            case "serve":
                return program.serve()
            case "worker":
                assert program.work is not None, "else there is no such command"
                return program.work()
            case "migrate":
                return _migrate(program, arguments.through)
            case _:
                return _check_config(program)
    except (SettingsError, postgres.SchemaError) as error:
        print(error, file=sys.stderr)
        return START_FAILED


def _migrate(program: Program, through: str) -> int:
    settings = load(program.migrate_settings_type)
    assert settings.postgres_owner_url is not None, "checked by load"
    applied = asyncio.run(
        postgres.migrate(
            settings.postgres_owner_url.get_secret_value(),
            program.schema_files,
            schema=program.schema,
            through="pre" if through == "pre" else "post",
        )
    )
    print("\n".join(applied) if applied else "the schema is up to date")
    return 0


def _check_config(program: Program) -> int:
    for key, value in load(program.settings_type).describe().items():
        print(f"{key}={value}")
    return 0
