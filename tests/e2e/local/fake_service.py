"""A service with nothing but health, started as a real child process.

`migrate` leaves a table behind; `serve` refuses to start without it, listens, and has a child
that ignores every signal it can.
"""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import asyncpg
import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

STUBBORN_CHILD = "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(99)"


async def migrate() -> None:
    """Create the table as the owner and let the role of the service read it."""
    connection = await asyncpg.connect(os.environ["LIFTOS_POSTGRES_OWNER_URL"])
    await connection.execute("create table if not exists migrated (at timestamptz)")
    await connection.execute("grant select on migrated to liftos_app")
    await connection.close()


def start_stubborn_child() -> None:
    """Leave somebody behind who would outlive us."""
    subprocess.Popen([sys.executable, "-c", STUBBORN_CHILD])


async def serve() -> None:
    """Serve health until the process is ended."""
    seen = {name: value for name, value in os.environ.items() if name.startswith("LIFTOS_")}
    spans = Path(seen["LIFTOS_SPAN_DIRECTORY"])
    (spans / "environment.json").write_text(json.dumps(sorted(os.environ)))
    connection = await asyncpg.connect(seen["LIFTOS_POSTGRES_URL"])
    await connection.execute("select * from migrated")
    await connection.close()
    start_stubborn_child()
    server = grpc.aio.server()
    servicer = health.aio.HealthServicer()
    await servicer.set("fake.v1.FakeService", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    server.add_insecure_port(f"{seen['LIFTOS_HOST']}:{seen['LIFTOS_PORT']}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run({"migrate": migrate, "serve": serve}[sys.argv[1]]())
