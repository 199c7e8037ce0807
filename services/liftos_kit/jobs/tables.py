"""The tables of a queue, which PgQueuer designed, and PgQueuer's statements on them.

Names are given one by one, because what is left out PgQueuer takes from the environment.
"""

import re
from functools import lru_cache
from typing import Final

import asyncpg
from pgqueuer import AsyncpgDriver, Queries
from pgqueuer.adapters.persistence.qb import (
    QueryBuilderEnvironment,
    QueryQueueBuilder,
    QuerySchedulerBuilder,
)
from pgqueuer.adapters.persistence.schema_ddl import render_install
from pgqueuer.domain.settings import DBSettings, Durability
from pgqueuer.domain.types import Channel

_IDENTIFIER: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_JSON_PARAMETER: Final = re.compile(r"(\$\d+)::jsonb((?:\[\])?)", re.IGNORECASE)

_GRANTS: Final = """\
-- The queue has no row-level security: a worker takes the jobs of all orgs in one statement, and so
-- has no org set, under which every policy would hide them. Jobs hold ids only, for that reason.
grant usage on schema {schema} to {role};
grant select, insert, update, delete on {queue}, {log} to {role};
grant usage on sequence {queue}_id_seq to {role};
"""


class JobTables:
    """Names and statements of the queue in one schema.

    Args:
        schema: Postgres schema of the service.
    """

    def __init__(self, schema: str) -> None:
        self.schema: Final = _identifier(schema)
        self.settings: Final = DBSettings(
            prefix="",
            db_schema=schema,
            # Channels belong to the database, not to a schema.
            channel=Channel(f"{schema}_job_queue"),
            function="job_queue_changed",
            trigger="job_queue_changed",
            queue_table="job_queue",
            queue_status_type="job_status",
            queue_table_log="job_log",
            statistics_table="job_statistics",
            schedules_table="job_schedules",
            # What a crash of Postgres may cost is history; the jobs themselves are logged.
            durability=Durability.balanced,
            widen_id=True,
        )
        self.channel: Final[str] = self.settings.channel
        self.queue: Final = self.settings.qualified.queue_table
        self.log: Final = self.settings.qualified.queue_table_log
        self._environment = QueryBuilderEnvironment(self.settings)
        self._queue_statements = QueryQueueBuilder(self.settings)
        self._schedule_statements = QuerySchedulerBuilder(self.settings)

    def queries(self, connection: asyncpg.Connection, *, name: str) -> Queries:
        """Return PgQueuer's operations on a connection, with a name for their statements."""
        return Queries(
            _NamedDriver(connection, name),
            qbe=self._environment,
            qbq=self._queue_statements,
            qbs=self._schedule_statements,
        )


def install_sql(schema: str, *, role: str = "liftos_app") -> str:
    """Return the statements that make the queue, to be put in a schema file of the service.

    They are written down there, and not made anew each time, because what was applied must not
    change with the release of a library; `pending_changes` tells when it should have.

    Args:
        schema: Postgres schema of the service; it exists.
        role: Who uses the queue.
    """
    tables = JobTables(schema)
    grants = _GRANTS.format(
        schema=tables.schema, queue=tables.queue, log=tables.log, role=_identifier(role)
    )
    return f"{render_install(tables.settings, create_schema=False)}\n\n{grants}"


async def pending_changes(connection: asyncpg.Connection, *, schema: str) -> tuple[str, ...]:
    """Return the statements by which a schema differs from what the installed PgQueuer needs.

    For a test of each service that has a queue: after an upgrade of PgQueuer these are what its
    next schema file has to say.
    """
    plan = await JobTables(schema).queries(connection, name="inspect_jobs").plan_upgrade()
    return tuple(plan.statements)


class _NamedDriver(AsyncpgDriver):
    """Puts a name in front of each statement, and sends JSON as text.

    PgQueuer's JSON is text already. A connection of the kit's pool would encode it once more.
    """

    def __init__(self, connection: asyncpg.Connection, name: str) -> None:
        super().__init__(connection)
        self._name = name

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        return await super().fetch(_statement(query, self._name), *args)

    async def execute(self, query: str, *args: object) -> str:
        return await super().execute(_statement(query, self._name), *args)


@lru_cache(maxsize=256)
def _statement(query: str, name: str) -> str:
    return f"/* {name} */ " + _JSON_PARAMETER.sub(r"\1::text\2::jsonb\2", query)


def _identifier(name: str) -> str:
    if _IDENTIFIER.fullmatch(name) is None:
        raise ValueError(f"{name!r} is not a plain lower-case SQL identifier")
    return name
