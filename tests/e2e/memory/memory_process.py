"""Memory's programs in processes of their own."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from liftos_kit.testing.server import SECRET

_ROOT: Final = Path(__file__).parents[3]


@asynccontextmanager
async def memory_process(
    program: str, variables: Mapping[str, str], *, log: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `serve` or `worker` without a model until the end of the block; it may be killed.

    Args:
        program: Which.
        variables: Its stores, ports and telemetry; those of the owner are left out.
        log: Where its output goes.
    """
    others = {name: value for name, value in os.environ.items() if not name.startswith("LIFTOS_")}
    given = {name: value for name, value in variables.items() if "OWNER" not in name}
    defaults = {
        "LIFTOS_METRICS_PORT": "0",
        "LIFTOS_EMBEDDER": "hash:",
        "PYTHONPATH": f"{_ROOT / 'services'}:{_ROOT / 'gen'}",
    }
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "liftos_memory", program),
            env=others | defaults | given | {"LIFTOS_JWT_SECRET": SECRET},
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
