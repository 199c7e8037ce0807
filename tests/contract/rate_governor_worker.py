"""A worker for tests: asks the governor until its time is over, and says when it was let through.

`python rate_governor_worker.py REDIS_URL CAPACITY/SECONDS[,...] RUN_SECONDS CALLER`, or `hold` for
RUN_SECONDS to take one leased unit and keep it until killed. Prints microseconds, one a line.
"""

import asyncio
import sys
import time
from datetime import UTC, datetime, timedelta

from redis.asyncio import Redis

from liftos_ingestion.adapters.redis.rate_governor import RedisRateGovernor
from liftos_ingestion.domain.rate_limits import Limit, Priority, Renewal, account_key
from liftos_ingestion.quota_ports import Parked

KEY = account_key("processes", "klaviyo", "WkR2mX")


def limits_of(text: str, renewal: Renewal = Renewal.ROLLING) -> list[Limit]:
    """Read `CAPACITY/SECONDS[,...]`."""
    pairs = [pair.split("/") for pair in text.split(",")]
    return [Limit(KEY, "calls", int(units), float(seconds), renewal) for units, seconds in pairs]


async def main(url: str, text: str, how_long: str, caller: str) -> None:
    """Work."""
    redis = Redis.from_url(url)
    governor = RedisRateGovernor(redis)
    if how_long == "hold":
        limits = limits_of(text, Renewal.LEASED)
        await governor.admit(limits, caller=caller, priority=Priority.NEWEST)
        print("held", flush=True)
        await asyncio.sleep(60)
    end = time.monotonic() + float(how_long)
    while time.monotonic() < end:
        answer = await governor.admit(limits_of(text), caller=caller, priority=Priority.NEWEST)
        if isinstance(answer, Parked):
            await asyncio.sleep(answer.wait_seconds)
            continue
        since = answer.time - datetime(1970, 1, 1, tzinfo=UTC)
        print(since // timedelta(microseconds=1), flush=True)
    await redis.aclose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
