"""`python -m liftos_ingestion serve | worker | migrate | check-config`."""

import sys

from liftos_ingestion.adapters.postgres.database import SCHEMA, schema_files
from liftos_ingestion.settings import IngestionSettings, MigrateSettings
from liftos_kit.program import Program, lasting_imports, run
from liftos_kit.settings import load


def _serve() -> int:
    # Here and below: each program imports what it needs, since the messages of platforms are heavy.
    with lasting_imports():
        from liftos_ingestion.server import application  # noqa: PLC0415
        from liftos_kit.server import serve  # noqa: PLC0415

    return serve(application(load(IngestionSettings)))


def _work() -> int:
    with lasting_imports():
        from liftos_ingestion.worker import work  # noqa: PLC0415
        from liftos_kit.allocator import return_large_blocks  # noqa: PLC0415

    return_large_blocks()
    return work(load(IngestionSettings))


if __name__ == "__main__":
    sys.exit(
        run(
            Program(
                module="liftos_ingestion",
                description="LiftOS Core Ingestion",
                settings_type=IngestionSettings,
                migrate_settings_type=MigrateSettings,
                schema=SCHEMA,
                schema_files=schema_files(),
                serve=_serve,
                work=_work,
                worker_help="read what is due",
            )
        )
    )
