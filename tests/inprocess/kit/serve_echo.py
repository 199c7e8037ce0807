"""A program that serves the echo service as `python -m` of a real service would."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

from tests.inprocess.kit.echo_service import NAME, Behaviours, Context, Echo

from liftos_kit.server import Application, Services, serve
from liftos_kit.settings import ServiceSettings, SettingsError, load


async def _who(request: Any, context: Context) -> Any:
    if request.text == "die":
        os._exit(9)
    if request.text == "slow":
        await asyncio.sleep(1)
    return Echo(text=str(os.getpid()))


async def _watch(request: Any, context: Context) -> AsyncIterator[Any]:
    yield Echo(text=str(os.getpid()))
    await asyncio.Event().wait()


async def _open() -> Services:
    if os.environ.get("ECHO_FAILS"):
        raise RuntimeError("the schema is older than this program")

    async def close() -> None:
        print("closed", flush=True)

    return Services(register=Behaviours(unary=_who, watch=_watch).register, close=[close])


def main() -> int:
    """Serve until a signal."""
    try:
        settings = load(ServiceSettings)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    return serve(Application("echo", settings, [NAME], _open))


if __name__ == "__main__":
    sys.exit(main())
