"""`python -m liftos_migration serve | worker | migrate | check-config`."""

import sys

from liftos_kit.program import Program, lasting_imports, run
from liftos_kit.settings import load
from liftos_migration.adapters.postgres.database import SCHEMA, schema_files
from liftos_migration.settings import MigrateSettings, MigrationSettings


def _serve() -> int:
    # Here and below: each program imports what it needs.
    with lasting_imports():
        from liftos_kit.server import serve  # noqa: PLC0415
        from liftos_migration.server import application  # noqa: PLC0415

    return serve(application(load(MigrationSettings)))


def _work() -> int:
    with lasting_imports():
        from liftos_kit.allocator import return_large_blocks  # noqa: PLC0415
        from liftos_migration.worker import work  # noqa: PLC0415

    return_large_blocks()
    return work(load(MigrationSettings))


if __name__ == "__main__":
    sys.exit(
        run(
            Program(
                module="liftos_migration",
                description="LiftOS Core Migration",
                settings_type=MigrationSettings,
                migrate_settings_type=MigrateSettings,
                schema=SCHEMA,
                schema_files=schema_files(),
                serve=_serve,
                work=_work,
                worker_help="advance migrations",
            )
        )
    )
