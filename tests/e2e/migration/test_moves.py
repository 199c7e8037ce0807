"""A module moves by commands alone, from its draft to VERIFIED, and what is spoilt is mended."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.e2e.migration.conftest import worker

from liftos_client import connect
from liftos_kit.auth import issue_token
from liftos_kit.testing.server import SECRET, RunningServer
from liftos_local.stack import Stack
from liftos_local.testing import TestDatabase
from liftos_migration.settings import MigrationSettings

pytestmark = pytest.mark.timeout(280)

ROOT = Path(__file__).parents[3]
SHOP = Path(__file__).parent / "shop_module.sql"
SHOP_MAPPING = Path(__file__).parent / "shop_module.yaml"
SHOP_REFERENCE = "CAUSAL_SHOP_URL"
_DAYS_OF_SHOP = {
    "order_lines": "placed_on", "orders": "placed_on", "payments": "day",
    "ad_spend": "day", "weather": "day",
}  # fmt: skip
"""Tables that lose their older days: each week of an object is embedded."""
_OWN = {name: value for name, value in os.environ.items() if not name.startswith("LIFTOS_")} | {
    "PYTHONPATH": f"{ROOT / 'services'}:{ROOT / 'gen'}"
}


class Commands:
    """`liftos` against the servers of a test, as an administrator of an org."""

    def __init__(self, migration: str, memory: str, folder: Path) -> None:
        self.memory = memory
        self.token = issue_token(secret=SECRET.encode(), org="acme", subject="ada", roles=["admin"])
        self._folder = folder
        self._environment = _OWN | {
            "LIFTOS_MIGRATION_TARGET": migration,
            "LIFTOS_TARGET": memory,
            "LIFTOS_TOKEN": self.token,
            "LIFTOS_DATA_DIR": str(folder / "none"),
        }

    async def begin(self, *arguments: str) -> asyncio.subprocess.Process:
        """Begin a command."""
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "liftos_cli", *arguments),
            cwd=self._folder,
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, *arguments: str, code: int = 0) -> str:
        """Run a command and return what it prints; its exit code is as expected."""
        process = await self.begin(*arguments)
        out, err = await process.communicate()
        assert process.returncode == code, f"{arguments}\n{out.decode()}\n{err.decode()}"
        return out.decode()

    async def json(self, *arguments: str) -> Any:
        """Run a command and return its JSON."""
        return json.loads(await self.run(*arguments, "--json"))


@asynccontextmanager
async def indexing(core: TestDatabase) -> AsyncIterator[None]:
    """Run Memory's worker, a process of its own, which makes what searches find."""
    given = {key: value for key, value in core.environment.items() if "OWNER" not in key}
    own = {"LIFTOS_JWT_SECRET": SECRET, "LIFTOS_METRICS_PORT": "0", "LIFTOS_PORT": "0"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "liftos_memory", "worker"),
        env=_OWN | given | own,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


@pytest.fixture
async def advancing(migration_settings: MigrationSettings) -> AsyncIterator[None]:
    """A worker in this process, which keeps its lease however busy the machine is."""
    async with worker(migration_settings.model_copy(update={"lease_seconds": 60.0})):
        yield


@pytest.fixture
def commands(
    migration_server: RunningServer, memory_server: RunningServer, tmp_path: Path
) -> Commands:
    """The command line."""
    return Commands(migration_server.target, memory_server.target, tmp_path)


@pytest.fixture
async def shop(
    stores: Stack, module_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module of another kind in the database that Migration may read."""
    url = stores.postgres_admin_url(module_database.name)
    monkeypatch.setenv(SHOP_REFERENCE, url)
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(SHOP.read_text())
        for table, day in _DAYS_OF_SHOP.items():
            await connection.execute(f"delete from shop.{table} where {day} < '2025-12-01'")
    finally:
        await connection.close()


async def test_a_module_of_another_kind_moves_without_code(
    commands: Commands, core_database: TestDatabase, shop: None, advancing: None
) -> None:
    """Thirteen tables by a mapping file; a note that is spoilt on Core is found and mended."""
    await commands.run(
        *("migration", "create", "shop", "--module", "shop", "--schema", "shop"),
        *("--database", SHOP_REFERENCE, "--mapping", str(SHOP_MAPPING)),
    )
    await commands.run("migration", "start", "shop")
    watching = await commands.begin("migration", "watch", "shop", "--until", "verified")
    assert watching.stderr is not None
    told = b""
    while b"waits for the search index" not in told:
        told = await watching.stderr.readline()
        assert told, "it ended before it had to wait"
    async with indexing(core_database):
        out, err = await watching.communicate()
        assert watching.returncode == 0, out.decode() + err.decode()
        [first] = (await commands.json("migration", "verifications", "shop"))["verifications"]
        assert first["state"] == "VERIFICATION_STATE_PASSED"
        await _spoil_a_note(commands)
        # What searches find takes its time, and is not asked about here.
        await commands.run("migration", "verify", "shop", "--check", "accuracy", code=1)
        [found] = (await commands.json("migration", "differences", "shop"))["differences"]
        assert found["kind"] == "DIFFERENCE_KIND_DIFFERENT"
        assert found["table"] == "shop.letters"
        repaired = await commands.json("migration", "repair", "shop")
        assert repaired["row_count"] == "1"
        assert repaired["verification"]["state"] == "VERIFICATION_STATE_PASSED"


async def _spoil_a_note(commands: Commands) -> None:
    """Change a note of the migration on Core itself."""
    async with connect(commands.memory, token=commands.token) as client:
        notes = await client.memory.list_notes(filter='origin = "migrations/shop"').collect()
        notes[0].text += " And more."
        await client.memory.batch_upsert_notes(notes[:1], origin="migrations/shop")
