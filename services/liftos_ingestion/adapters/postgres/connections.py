"""Connections in Postgres."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import asyncpg

from liftos_ingestion.adapters.postgres.database import basis_word, level_word
from liftos_ingestion.connection_ports import (
    CommittedDays,
    ConnectionChange,
    ConnectionState,
    ConnectionWrite,
    CredentialKind,
    CredentialUnusableError,
    CredentialVault,
    NamedAccount,
    NewConnection,
    OpenConnection,
    StoredAccount,
    StoredConnection,
    StoredCredential,
    Verification,
)
from liftos_ingestion.domain.failures import AccountOutcome, ErrorClass, Failure, ReadingError
from liftos_ingestion.domain.names import connection_name
from liftos_ingestion.source_ports import Credential
from liftos_kit import postgres
from liftos_kit.core.errors import AlreadyExistsError, NotFoundError
from liftos_kit.core.filters import Filter, to_sql
from liftos_kit.postgres_pages import PAGE_BYTES
from liftos_kit.postgres_requests import PostgresRequests, find_answer
from liftos_kit.secrets.secret import Secret

_SQL: Final = postgres.load_queries("liftos_ingestion", "sql/connections.sql")
_OUTCOMES: Final = tuple(AccountOutcome)
_STATE: Final = "case when c.disabled then 4 else c.state end"
_COLUMNS: Final = {
    "platform": "c.platform",
    "display_name": "c.display_name",
    "disabled": "c.disabled",
    "state": f"(array[{', '.join(repr(it.name) for it in ConnectionState)}])[{_STATE}]",
}
"""What filters may use."""


class PostgresConnectionWrite(PostgresRequests):
    """A change in Postgres; see `liftos_ingestion.connection_ports.ConnectionWrite`."""

    async def hold_source(self, source: str) -> bool:
        """Keep a source of the org's own from being removed."""
        held = await _SQL.hold_source(self._connection, org=self._org, source=source)
        return held is not None

    async def insert(self, new: NewConnection) -> None:
        """Register a connection."""
        inserted = await _SQL.insert_connection(
            self._connection,
            **self._key(new.connection),
            display_name=new.display_name,
            platform=new.platform,
            settings=dict(new.settings),
            disabled=new.disabled,
        )
        if inserted is None:
            raise AlreadyExistsError(connection_name(self._org, new.connection))
        await self._name_accounts(new.connection, new.accounts)

    async def lock(self, connection: str) -> StoredConnection:
        """Return a connection with all accounts, and keep others from changing it."""
        row = await _SQL.lock_connection(self._connection, **self._key(connection))
        return await _one(self._connection, self._org, connection, row, named_only=False)

    async def change(self, connection: str, change: ConnectionChange) -> None:
        """Store what a person changed."""
        await _SQL.change_connection(
            self._connection,
            **self._key(connection),
            display_name=change.display_name,
            settings=None if change.settings is None else dict(change.settings),
            disabled=change.disabled,
        )
        if change.accounts is not None:
            await self._name_accounts(connection, change.accounts)

    async def set_credential(self, connection: str, credential: StoredCredential) -> None:
        """Replace the credential."""
        await _SQL.set_credential(
            self._connection,
            **self._key(connection),
            kind=credential.kind,
            fields=list(credential.fields),
            reference=credential.reference,
            sealed=credential.sealed or None,
            key_id=credential.key_id,
            expire_time=credential.expire_time,
        )

    async def reseal(self, connection: str, credential: StoredCredential) -> None:
        """Replace the encryption of the credential."""
        await _SQL.reseal_credential(
            self._connection,
            **self._key(connection),
            sealed=credential.sealed,
            key_id=credential.key_id,
        )

    async def record(self, connection: str, verification: Verification) -> None:
        """Store what the platform said."""
        await _SQL.record_verification(
            self._connection,
            **self._key(connection),
            state=verification.state,
            granted_scopes=list(verification.granted_scopes),
            missing_scopes=list(verification.missing_scopes),
            expire_time=verification.expire_time,
        )
        if verification.accounts is None:
            return
        # A platform may list an account once for each way that leads to it.
        accounts = {account.account_id: account for account in verification.accounts}
        await _SQL.describe_accounts(
            self._connection,
            **self._key(connection),
            account_ids=list(accounts),
            display_names=[account.display_name for account in accounts.values()],
            time_zones=[account.time_zone for account in accounts.values()],
            currency_codes=[account.currency_code for account in accounts.values()],
            closed=[account.closed for account in accounts.values()],
        )
        for statement in (_SQL.mark_unreadable_accounts, _SQL.drop_unreadable_accounts):
            await statement(self._connection, **self._key(connection), account_ids=list(accounts))

    async def delete(self, stored: StoredConnection) -> bool:
        """Remove a connection."""
        await _SQL.lock_planning(self._connection, org=self._org, platform=stored.platform)
        if await _SQL.has_open_run(self._connection, **self._key(stored.connection)):
            return False
        await _SQL.delete_connection(self._connection, **self._key(stored.connection))
        return True

    async def get(self, connection: str) -> StoredConnection:
        """Return a connection as this transaction leaves it."""
        return await _get(self._connection, self._org, connection)

    def _key(self, connection: str) -> dict[str, str]:
        return {"org": self._org, "connection": connection}

    async def _name_accounts(self, connection: str, accounts: Sequence[NamedAccount]) -> None:
        ids = [account.account_id for account in accounts]
        key = self._key(connection)
        await _SQL.leave_accounts_unnamed(self._connection, **key, account_ids=ids)
        await _SQL.name_accounts(
            self._connection,
            **key,
            account_ids=ids,
            disabled=[account.disabled for account in accounts],
        )
        await _SQL.drop_undescribed_accounts(self._connection, **key)


class PostgresConnections:
    """Connections in Postgres; see `liftos_ingestion.connection_ports.ConnectionStore`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def write(self, org: str) -> AsyncIterator[ConnectionWrite]:
        """Begin a change."""
        async with postgres.transaction(self._pool, org=org) as connection:
            yield PostgresConnectionWrite(connection, org)

    async def find_answer(
        self, org: str, method: str, request_id: UUID, payload_digest: bytes
    ) -> bytes | None:
        """Return the answer that a request was given before."""
        async with postgres.transaction(self._pool, org=org, read_only=True) as reading:
            return await find_answer(reading, org, method, request_id, payload_digest)

    async def list_page(
        self, org: str, *, where: Filter | None, after: str, limit: int
    ) -> tuple[Sequence[StoredConnection], bool]:
        """Return connections by id, from behind `after` on; see `read_page` for their bytes."""
        condition, values = to_sql(where, columns=_COLUMNS, first_parameter=4)
        # A connection is as large as its accounts, which are told with it.
        statement = f"""/* list_connections */
            select * from (
                select page.*, row_number() over (order by connection) as page_place,
                       count(*) over () as page_count,
                       sum(octet_length(page::text) + accounts_bytes) over (order by connection)
                           as page_bytes
                from (
                    select c.*, {_STATE} as effective_state, (
                        select coalesce(sum(octet_length(a::text)), 0) from accounts a
                        where a.org = c.org and a.connection = c.connection
                    ) as accounts_bytes
                    from connections c
                    where c.org = $1 and c.connection > $2 and {condition}
                    order by c.connection limit $3
                ) page
            ) measured
            where page_place = 1 or page_bytes <= {PAGE_BYTES} order by connection
        """  # noqa: S608 - names are ours, values are parameters
        async with postgres.transaction(
            self._pool, org=org, read_only=True, isolation="repeatable read"
        ) as reading:
            rows = await reading.fetch(statement, org, after, limit + 1, *values)
            page = await _with_accounts(reading, org, rows[:limit])
        return page, bool(rows) and rows[0]["page_count"] > len(page)

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

    async def due_verifications(
        self, *, every: timedelta, again: timedelta, limit: int
    ) -> Sequence[tuple[str, str]]:
        """Return connections that are due to be verified."""
        with postgres.translate_errors():
            async with self._pool.acquire() as reading:
                rows = _SQL.due_verifications(reading, every=every, again=again, limit=limit)
                return [(row["org"], row["connection"]) async for row in rows]

    async def claim_verification(
        self, org: str, connection: str, *, every: timedelta, again: timedelta
    ) -> bool:
        """Begin a try to verify a connection."""
        async with postgres.transaction(self._pool, org=org) as writing:
            claimed = await _SQL.claim_verification(
                writing, org=org, connection=connection, every=every, again=again
            )
        return claimed is not None

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
        resource_name = connection_name(org, stored.connection)
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
    return await _one(reading, org, connection, row)


async def _one(
    reading: asyncpg.Connection,
    org: str,
    connection: str,
    row: asyncpg.Record | None,
    *,
    named_only: bool = True,
) -> StoredConnection:
    if row is None:
        raise NotFoundError(connection_name(org, connection))
    (found,) = await _with_accounts(reading, org, [row], named_only=named_only)
    return found


async def _with_accounts(
    reading: asyncpg.Connection,
    org: str,
    rows: Sequence[asyncpg.Record],
    *,
    named_only: bool = True,
) -> Sequence[StoredConnection]:
    accounts: dict[str, list[StoredAccount]] = {row["connection"]: [] for row in rows}
    async for row in _SQL.accounts_of(reading, org=org, connections=list(accounts)):
        accounts[row["connection"]].append(_account(row))
    if named_only:
        for connection, found in accounts.items():
            named = [account for account in found if account.named]
            accounts[connection] = named or found
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
    return StoredConnection(
        connection=row["connection"],
        display_name=row["display_name"],
        platform=row["platform"],
        settings=row["settings"],
        disabled=row["disabled"],
        state=ConnectionState(row["effective_state"]),
        accounts=accounts,
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
