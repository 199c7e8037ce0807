"""Forgets requests whose answers are not given again; see `liftos_kit.postgres_requests`."""

import asyncio
from datetime import timedelta
from typing import Final

import asyncpg

from liftos_kit import postgres
from liftos_kit.core.repeatable import KEPT_HOURS
from liftos_kit.repeat import repeat

_EVERY_SECONDS: Final = 3_600.0
_KEPT: Final = timedelta(hours=KEPT_HOURS)


async def forget_old_requests(pool: asyncpg.Pool) -> int:
    """Forget requests that are not answered again any more, of all orgs; return how many.

    Raises:
        StoreUnavailableError: Postgres does not answer.
    """
    with postgres.translate_errors():
        count: int = await pool.fetchval(
            "/* forget_old_requests */ select forget_old_requests($1)", _KEPT
        )
    return count


async def keep_forgetting(pool: asyncpg.Pool, stop: asyncio.Event) -> None:
    """Forget old requests now and every hour, until `stop`."""
    await repeat(
        lambda: forget_old_requests(pool),
        stop,
        seconds=_EVERY_SECONDS,
        event="requests_not_forgotten",
    )
