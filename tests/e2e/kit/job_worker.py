"""A worker for tests, to be killed: `python job_worker.py URL`.

Handlers note in `effects` what happens to them. A payload is how many seconds the job takes, then
how many when it comes again, then a word if its end is not to be noted. Prints the port of the
metrics once it is ready, then each job whose time begins, and ends in good order on SIGTERM.
"""

import asyncio
import os
import signal
import sys

from tests.contract.job_database import HASTY, SCHEMA

from liftos_kit import postgres, telemetry
from liftos_kit.jobs.postgres_queue import PostgresJobQueue
from liftos_kit.jobs.queue import Delivery


async def main(url: str) -> None:
    """Work until told to stop."""
    configured = telemetry.configure("job-worker", telemetry.TelemetrySettings())
    metrics = configured.start_metrics_server(0, "127.0.0.1")
    pool = await postgres.create_pool(
        url, application_name="job worker", minimum=1, maximum=2, schema=SCHEMA
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)

    async def note(delivery: Delivery, what: str) -> None:
        await pool.execute(
            "insert into effects values ($1, $2, $3)", delivery.job_id, os.getpid(), what
        )

    async def handle(delivery: Delivery) -> None:
        words = delivery.payload.split()
        await note(delivery, "begun")
        print(delivery.job_id, flush=True)
        try:
            await asyncio.sleep(float(words[delivery.number > 1]))
        except asyncio.CancelledError:
            await note(delivery, "cancelled")
            raise
        if len(words) < 3:
            await note(delivery, "done")

    queue = PostgresJobQueue(pool, schema=SCHEMA, url=url, times=HASTY)
    print(metrics.port, flush=True)
    await queue.work({"fetch": handle}, concurrency=4, stop=stop)
    await pool.close()
    metrics.close()
    configured.shutdown()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
