"""Connections in Postgres."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import asyncpg

from liftos_ingestion.adapters.postgres.database import basis_word, level_word
from liftos_ingestion.connection_ports import (
    CommittedDays,
    ConnectionState,
    CredentialKind,
    CredentialUnusableError,
    CredentialVault,
    OpenConnection,
    StoredAccount,
    StoredConnection,
    StoredCredential,
)
from liftos_ingestion.domain.failures import AccountOutcome, ErrorClass, Failure, ReadingError
from liftos_ingestion.source_ports import Credential
from liftos_kit import postgres
from liftos_kit.core.errors import NotFoundError
from liftos_kit.secrets.secret import Secret

_SQL: Final = postgres.load_queries("liftos_ingestion", "sql/connections.sql")
_OUTCOMES: Final = tuple(AccountOutcome)


class PostgresConnections:
    """Connections in Postgres; see `liftos_ingestion.connection_ports.ConnectionReader`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def get(self, org: str, connection: str) -> StoredConnection:
        """Return a connection."""
        async with postgres.transaction(
            self._pool, org=org, read_only=True, isolation="repeatable read"
        ) as reading:
            return await _get(reading, org, connection)

    async def committed_days(
        self, org: str, platform: str, account_ids: Sequence[str]
    ) -> Mapping[tuple[str, str, str, str], CommittedDays]:
        """Return what was committed, by account, level, attribution and date basis."""
        async with postgres.transaction(self._pool, org=org, read_only=True) as reading:
            return {
                (
                    row["account_id"],
                    level_word(row["level"]),
                    row["attribution_key"],
                    basis_word(row["date_basis"]),
                ): CommittedDays(tuple(row["final_dates"]), row["open_since"])
                async for row in _SQL.committed_days(
                    reading, org=org, platform=platform, account_ids=list(account_ids)
                )
            }

    async def keep_renewed(
        self,
        org: str,
        connection: str,
        *,
        opened: StoredCredential,
        renewed: StoredCredential,
        expire_time: datetime | None,
    ) -> bool:
        """Put a renewed credential in the place of the one that was opened."""
        async with postgres.transaction(self._pool, org=org) as writing:
            kept = await _SQL.keep_renewed(
                writing,
                org=org,
                connection=connection,
                opened=opened.sealed,
                sealed=renewed.sealed,
                key_id=renewed.key_id,
                fields=list(renewed.fields),
                expire_time=expire_time,
            )
        return kept is not None


class PostgresConnectionOpener:
    """Opens connections; see `liftos_ingestion.connection_ports.ConnectionOpener`.

    Args:
        pool: Where they are kept.
        vault: Opens credentials.
    """

    def __init__(self, pool: asyncpg.Pool, vault: CredentialVault) -> None:
        self._connections = PostgresConnections(pool)
        self._vault = vault

    async def open(self, org: str, connection: str) -> OpenConnection:
        """Return a connection with its credential."""
        try:
            stored = await self._connections.get(org, connection)
        except NotFoundError:
            raise _unusable(ErrorClass.PERMANENT, f"The connection {connection} is gone.") from None
        if stored.disabled:
            raise _unusable(ErrorClass.PERMANENT, f"The connection {connection} is disabled.")
        return OpenConnection(
            platform=stored.platform,
            settings=stored.settings,
            credential=await self.credential(org, stored),
            accounts=[
                account.described
                for account in stored.readable_accounts()
                if account.described is not None
            ],
        )

    async def credential(self, org: str, stored: StoredConnection) -> Credential:
        """Return the credential of a connection, which a session may renew."""
        resource_name = f"orgs/{org}/connections/{stored.connection}"
        opened = stored.credential
        try:
            fields = await self._vault.reveal(opened, resource_name=resource_name)
        except CredentialUnusableError as error:
            raise _unusable(ErrorClass.CREDENTIALS, error.problem) from error

        async def keep(renewed: Mapping[str, Secret], expire_time: datetime | None) -> bool:
            nonlocal opened
            if opened.kind is not CredentialKind.STORED:
                return False
            sealed = self._vault.seal(renewed, resource_name=resource_name)
            kept = await self._connections.keep_renewed(
                org, stored.connection, opened=opened, renewed=sealed, expire_time=expire_time
            )
            if kept:
                opened = sealed
            return kept

        return Credential(fields, keep)


def _unusable(error_class: ErrorClass, problem: str) -> ReadingError:
    return ReadingError(Failure(error_class, problem))


async def _get(reading: asyncpg.Connection, org: str, connection: str) -> StoredConnection:
    row = await _SQL.get_connection(reading, org=org, connection=connection)
    if row is None:
        raise NotFoundError(f"orgs/{org}/connections/{connection}")
    (found,) = await _with_accounts(reading, org, [row])
    return found


async def _with_accounts(
    reading: asyncpg.Connection, org: str, rows: Sequence[asyncpg.Record]
) -> Sequence[StoredConnection]:
    accounts: dict[str, list[StoredAccount]] = {row["connection"]: [] for row in rows}
    async for row in _SQL.accounts_of(reading, org=org, connections=list(accounts)):
        accounts[row["connection"]].append(_account(row))
    return [_connection(row, accounts[row["connection"]]) for row in rows]


def _account(row: asyncpg.Record) -> StoredAccount:
    return StoredAccount(
        account_id=row["account_id"],
        named=row["named"],
        disabled=row["disabled"],
        display_name=row["display_name"],
        time_zone=row["time_zone"],
        currency_code=row["currency_code"],
        closed=row["closed"],
        outcome=_OUTCOMES[row["outcome"] - 1] if row["outcome"] else None,
        newest_date=row["newest_date"],
        newest_final_date=row["newest_final_date"],
        read_time=row["read_time"],
    )


def _connection(row: asyncpg.Record, accounts: Sequence[StoredAccount]) -> StoredConnection:
    named = [account for account in accounts if account.named]
    return StoredConnection(
        connection=row["connection"],
        display_name=row["display_name"],
        platform=row["platform"],
        settings=row["settings"],
        disabled=row["disabled"],
        state=ConnectionState(row["effective_state"]),
        accounts=named or accounts,
        credential=StoredCredential(
            kind=CredentialKind(row["credential_kind"]),
            fields=tuple(row["credential_fields"]),
            reference=row["credential_reference"],
            sealed=row["credential_sealed"] or b"",
            key_id=row["credential_key_id"],
            expire_time=row["credential_expire_time"],
            granted_scopes=tuple(row["granted_scopes"]),
            update_time=row["credential_update_time"],
        ),
        missing_scopes=tuple(row["missing_scopes"]),
        verify_time=row["verify_time"],
        revision=row["revision"],
        create_time=row["create_time"],
        update_time=row["update_time"],
    )
