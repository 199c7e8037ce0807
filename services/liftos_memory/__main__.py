"""`python -m liftos_memory serve | worker | migrate | check-config`."""

import sys

from liftos_kit.program import Program, lasting_imports, run
from liftos_kit.settings import load
from liftos_memory.adapters.postgres.database import SCHEMA, schema_files
from liftos_memory.settings import MemorySettings, MigrateSettings


def _serve() -> int:
    # Here and below: each program imports what it needs, since models and drivers take a second.
    with lasting_imports():
        from liftos_kit.allocator import return_large_blocks  # noqa: PLC0415
        from liftos_kit.server import serve  # noqa: PLC0415
        from liftos_memory.server import application  # noqa: PLC0415

    return_large_blocks()
    return serve(application(load(MemorySettings)))


def _work() -> int:
    with lasting_imports():
        from liftos_kit.allocator import return_large_blocks  # noqa: PLC0415
        from liftos_memory.worker import work  # noqa: PLC0415

    return_large_blocks()
    return work(load(MemorySettings))


if __name__ == "__main__":
    sys.exit(
        run(
            Program(
                module="liftos_memory",
                description="LiftOS Core Memory",
                settings_type=MemorySettings,
                migrate_settings_type=MigrateSettings,
                schema=SCHEMA,
                schema_files=schema_files(),
                serve=_serve,
                work=_work,
                worker_help="keep the search index up to date",
            )
        )
    )
