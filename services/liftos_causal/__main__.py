"""`python -m liftos_causal serve | migrate | check-config`."""

import sys

from liftos_causal.adapters.module.database import SCHEMA, schema_files
from liftos_causal.settings import CausalSettings, MigrateSettings
from liftos_kit.program import Program, run
from liftos_kit.settings import load


def _serve() -> int:
    # Here: only the server needs what fits models.
    from liftos_causal.server import application  # noqa: PLC0415
    from liftos_kit.server import serve  # noqa: PLC0415

    return serve(application(load(CausalSettings)))


if __name__ == "__main__":
    sys.exit(
        run(
            Program(
                module="liftos_causal",
                description="LiftOS Causal",
                settings_type=CausalSettings,
                migrate_settings_type=MigrateSettings,
                schema=SCHEMA,
                schema_files=schema_files(),
                serve=_serve,
            )
        )
    )
