"""A worker's verifications over an org, and what is kept of its connections."""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NoReturn

import asyncpg

from liftos_ingestion.adapters.credential_vault import KeyringVault
from liftos_ingestion.adapters.inmemory_rate_governor import InMemoryRateGovernor
from liftos_ingestion.adapters.postgres.connections import (
    PostgresConnectionOpener,
    PostgresConnections,
)
from liftos_ingestion.adapters.postgres.sources import PostgresSources
from liftos_ingestion.adapters.postgres.watched_orgs import PostgresWatchedOrgs
from liftos_ingestion.catalog_ports import NewSource
from liftos_ingestion.connection_ports import NewConnection, StoredConnection
from liftos_ingestion.domain.alerts import AlertKind, AlertState
from liftos_ingestion.quota_ports import RateGovernor
from liftos_ingestion.source_ports import JsonObject, PlatformSource
from liftos_ingestion.usecases.connections import ConnectionAdministration
from liftos_ingestion.usecases.sources import Catalog
from liftos_ingestion.usecases.verifying import Verifying
from liftos_ingestion.usecases.watching_over import WatchingOver
from liftos_kit import postgres
from liftos_kit.core.clock import SystemClock
from liftos_kit.secrets.credentials import SecretPlaces
from liftos_kit.secrets.keyring import Keyring
from liftos_kit.secrets.secret import Secret

DAY = timedelta(days=1)


def _build(spec: NewSource) -> NoReturn:
    raise AssertionError("no test here has a source of its own")


@dataclass
class Desk:
    """A worker's verifications over an org, and what is kept of its connections."""

    org: str
    pool: asyncpg.Pool
    sources: Mapping[str, PlatformSource]
    governor: RateGovernor = field(default_factory=InMemoryRateGovernor)
    vault: KeyringVault = field(
        default_factory=lambda: KeyringVault(SecretPlaces(keyring=Keyring({"k1": os.urandom(32)})))
    )

    def __post_init__(self) -> None:
        self.connections = PostgresConnections(self.pool)
        self.opener = PostgresConnectionOpener(self.pool, self.vault)
        self.administration = ConnectionAdministration(
            store=self.connections,
            catalog=Catalog(self.sources, store=PostgresSources(self.pool), build=_build),
            opener=self.opener,
            vault=self.vault,
            governor=self.governor,
        )

    async def register(
        self, connection: str = "shop", *, settings: JsonObject | None = None, **fields: str
    ) -> None:
        """Keep a connection with a credential that was verified a day ago."""
        (platform,) = self.sources
        async with self.connections.write(self.org) as write:
            await write.insert(
                NewConnection(connection, connection, platform, settings or {}, (), False)
            )
            if fields:
                secrets = {field: Secret(value) for field, value in fields.items()}
                name = f"orgs/{self.org}/connections/{connection}"
                await write.set_credential(connection, self.vault.seal(secrets, resource_name=name))
        await self.do(
            "update connections set state = 2, verify_time = now() - interval '1 day'"
            " where connection = $1",
            connection,
        )

    async def age(self, by: timedelta = DAY) -> None:
        """Let every verification, and every try, be so much older."""
        await self.do(
            "update connections set verify_time = verify_time - $1::interval,"
            " verify_attempt_time = verify_attempt_time - $1::interval",
            by,
        )

    async def do(self, statement: str, *values: Any) -> None:
        """Change something behind the back of the service."""
        async with postgres.transaction(self.pool, org=self.org) as connection:
            await connection.execute(statement, *values)

    def verifying(self, *, grace_seconds: float = 5.0) -> Verifying:
        """Return the verifications of one worker of several."""
        due = OfOneOrg(self.connections, self.org)
        return Verifying(due, self.administration, every=DAY, grace_seconds=grace_seconds)

    async def look(self) -> None:
        """Verify what is due."""
        await self.verifying().look(asyncio.Event())

    async def leave(self) -> None:
        """Remove all connections, and what suspends them."""
        await self.do("delete from connections")
        await self.do("delete from suspensions")

    async def get(self, connection: str = "shop") -> StoredConnection:
        """Return a connection as it is kept."""
        return await self.connections.get(self.org, connection)

    async def open_alerts(self) -> set[AlertKind]:
        """Look at the org and return the kinds of its alerts."""
        await WatchingOver(PostgresWatchedOrgs(self.pool), {}, SystemClock()).look(self.org)
        async with postgres.transaction(self.pool, org=self.org) as connection:
            found = await connection.fetch("select kind, state from alerts")
        return {AlertKind(it["kind"]) for it in found if it["state"] != AlertState.RESOLVED}


@dataclass(frozen=True)
class OfOneOrg:
    """What is due of one org, since other tests have connections as well."""

    connections: PostgresConnections
    org: str

    async def due_verifications(
        self, *, every: timedelta, again: timedelta, limit: int
    ) -> list[tuple[str, str]]:
        """Return what is due."""
        due = await self.connections.due_verifications(every=every, again=again, limit=limit)
        return [it for it in due if it[0] == self.org]

    async def claim_verification(
        self, org: str, connection: str, *, every: timedelta, again: timedelta
    ) -> bool:
        """Begin a try."""
        return await self.connections.claim_verification(org, connection, every=every, again=again)
