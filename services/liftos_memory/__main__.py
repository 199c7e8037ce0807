"""`python -m liftos_memory serve | worker | migrate | check-config`."""

import argparse
import asyncio
import sys

from liftos_kit import postgres
from liftos_kit.settings import SettingsError, load
from liftos_memory.adapters.postgres.database import SCHEMA, schema_files
from liftos_memory.settings import MemorySettings, MigrateSettings

_START_FAILED = 2


def _migrate(through: str) -> int:
    settings = load(MigrateSettings)
    assert settings.postgres_owner_url is not None, "checked by load"
    applied = asyncio.run(
        postgres.migrate(
            settings.postgres_owner_url.get_secret_value(),
            schema_files(),
            schema=SCHEMA,
            through="pre" if through == "pre" else "post",
        )
    )
    print("\n".join(applied) if applied else "the schema is up to date")
    return 0


def _serve() -> int:
    # Here and below: each program imports what it needs, since models and drivers take a second.
    from liftos_kit.allocator import return_large_blocks  # noqa: PLC0415
    from liftos_kit.server import serve  # noqa: PLC0415
    from liftos_memory.server import application  # noqa: PLC0415

    return_large_blocks()
    return serve(application(load(MemorySettings)))


def _work() -> int:
    from liftos_kit.allocator import return_large_blocks  # noqa: PLC0415
    from liftos_memory.worker import work  # noqa: PLC0415

    return_large_blocks()
    return work(load(MemorySettings))


def _check_config() -> int:
    for key, value in load(MemorySettings).describe().items():
        print(f"{key}={value}")
    return 0


def main() -> int:
    """Run one of Memory's programs."""
    parser = argparse.ArgumentParser(prog="liftos_memory", description="LiftOS Core Memory")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="answer gRPC calls")
    commands.add_parser("worker", help="keep the search index up to date")
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
                return _serve()
            case "worker":
                return _work()
            case "migrate":
                return _migrate(arguments.through)
            case _:
                return _check_config()
    except (SettingsError, postgres.SchemaError) as error:
        print(error, file=sys.stderr)
        return _START_FAILED


if __name__ == "__main__":
    sys.exit(main())
