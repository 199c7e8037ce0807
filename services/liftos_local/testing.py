"""Real stores for tests: one stack per session, one database per test.

@pytest.fixture(scope="session")
def stores(tmp_path_factory):
    with store_stack(tmp_path_factory) as stack:
        make_template(stack, "memory_template", migrate)
        yield stack

@pytest.fixture
def database(stores):
    with fresh_database(stores, "memory_template") as database:
        yield database
"""

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import asyncpg

from liftos_local.plan import DATABASE, OWNER_ROLE
from liftos_local.ports import PortPlan
from liftos_local.stack import Stack, start


class TemporaryFolders(Protocol):
    """What is used of pytest's `tmp_path_factory`."""

    def mktemp(self, basename: str, numbered: bool = True) -> Path:
        """Make a folder of its own."""
        ...


@dataclass(frozen=True, slots=True)
class TestDatabase:
    """A database for one test, and the variables of a service that uses it."""

    __test__ = False

    name: str
    url: str = field(repr=False)
    owner_url: str = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)


@contextmanager
def store_stack(tmp_path_factory: TemporaryFolders) -> Iterator[Stack]:
    """Run the three stores on free ports, without the waits that only a power loss needs."""
    data_dir = tmp_path_factory.mktemp("stores")
    with start(data_dir, ports=PortPlan.automatic(), stores_only=True, durable=False) as stack:
        yield stack


def make_template(
    stack: Stack, template: str, migrate: Callable[[Mapping[str, str]], None] | None = None
) -> None:
    """Create a database to clone from.

    Args:
        stack: where.
        template: its name.
        migrate: brings the schema in, given a service's variables (with the owner's URL)
            that point to the template; it has to close its connections.
    """
    _execute(stack, f"create database {template} owner {OWNER_ROLE}")
    if migrate is not None:
        migrate(_environment(stack, template))


@contextmanager
def fresh_database(stack: Stack, template: str = DATABASE) -> Iterator[TestDatabase]:
    """Clone the template for one test, and drop the clone after it."""
    name = f"test_{secrets.token_hex(6)}"
    _execute(stack, f"create database {name} template {template} owner {OWNER_ROLE}")
    environment = _environment(stack, name)
    try:
        yield TestDatabase(
            name=name,
            url=environment["LIFTOS_POSTGRES_URL"],
            owner_url=environment["LIFTOS_POSTGRES_OWNER_URL"],
            environment=environment,
        )
    finally:
        _execute(stack, f"drop database {name} with (force)")


def _environment(stack: Stack, database: str) -> dict[str, str]:
    def point(url: str) -> str:
        return f"{url.removesuffix(f'/{DATABASE}')}/{database}"

    variables = stack.environment
    for name in ("LIFTOS_POSTGRES_URL", "LIFTOS_POSTGRES_OWNER_URL"):
        variables[name] = point(variables[name])
    return variables


def _execute(stack: Stack, statement: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(stack.postgres_admin_url(), timeout=10)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    _run_beside_any_loop(run())


def _run_beside_any_loop(work: Coroutine[None, None, None]) -> None:
    """Run a coroutine to its end from synchronous code that a running loop may have called."""
    with ThreadPoolExecutor(max_workers=1) as executor:
        executor.submit(asyncio.run, work).result()
