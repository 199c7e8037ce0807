"""Connections in Postgres: opened for those who read, with credentials that a session renews."""

import os
from datetime import UTC, date, datetime
from pathlib import Path

import asyncpg
import pytest

from liftos_ingestion.adapters.credential_vault import KeyringVault
from liftos_ingestion.adapters.postgres.connections import (
    PostgresConnectionOpener,
    PostgresConnections,
)
from liftos_ingestion.connection_ports import (
    CommittedDays,
    ConnectionState,
    CredentialKind,
    StoredCredential,
)
from liftos_ingestion.domain.failures import ErrorClass, ReadingError
from liftos_kit import postgres
from liftos_kit.core.errors import NotFoundError
from liftos_kit.secrets.credentials import SecretPlaces
from liftos_kit.secrets.keyring import Keyring
from liftos_kit.secrets.secret import Secret

TOKEN = "EAAB-a-token-that-is-never-shown"


def vault(tmp_path: Path, *, keyring: Keyring | None = None) -> KeyringVault:
    """Return keys and places of a worker."""
    return KeyringVault(
        SecretPlaces(
            keyring=keyring or Keyring({"k1": os.urandom(32)}),
            environment={"SHOP_ACCESS_TOKEN": TOKEN},
            directory=tmp_path,
        )
    )


async def insert(
    pool: asyncpg.Pool, org: str, credential: StoredCredential, *, disabled: bool = False
) -> None:
    """Store a connection with a named, a described and a merely readable account."""
    async with postgres.transaction(pool, org=org) as connection:
        await connection.execute(
            "insert into connections (org, connection, display_name, platform, settings, disabled,"
            " state, credential_kind, credential_fields, credential_reference, credential_sealed,"
            " credential_key_id) values ($1, 'shop', 'Shop', 'meta', '{}', $2, 2, $3, $4, $5, $6,"
            " $7)",
            org,
            disabled,
            credential.kind,
            list(credential.fields),
            credential.reference,
            credential.sealed or None,
            credential.key_id,
        )
        await connection.executemany(
            "insert into accounts (org, connection, account_id, named, disabled, time_zone,"
            " currency_code) values ($1, 'shop', $2, $3, $4, $5, 'EUR')",
            [
                (org, "7", True, False, "Europe/Berlin"),
                (org, "8", True, True, "Europe/Berlin"),
                (org, "9", False, False, "Europe/Berlin"),
            ],
        )


async def test_a_stored_credential_is_opened(pool: asyncpg.Pool, org: str, tmp_path: Path) -> None:
    """What reads gets the secret and the accounts that are read; nothing shows the secret."""
    keys = vault(tmp_path)
    name = f"orgs/{org}/connections/shop"
    await insert(pool, org, keys.seal({"access_token": Secret(TOKEN)}, resource_name=name))
    opened = await PostgresConnectionOpener(pool, keys).open(org, "shop")
    assert opened.credential["access_token"].reveal() == TOKEN
    assert [account.account_id for account in opened.accounts] == ["7"]
    assert TOKEN not in repr(opened)
    stored = await PostgresConnections(pool).get(org, "shop")
    assert stored.state is ConnectionState.ACTIVE
    assert [it.account_id for it in stored.accounts] == ["7", "8"], "named ones are the ones"
    assert TOKEN not in repr(stored)
    with pytest.raises(NotFoundError):
        await PostgresConnections(pool).get(f"{org}-b", "shop")


async def test_what_cannot_be_opened_says_why(pool: asyncpg.Pool, org: str, tmp_path: Path) -> None:
    """A lost key, an ungranted reference and a connection that is switched off have their class."""
    name = f"orgs/{org}/connections/shop"
    await insert(pool, org, vault(tmp_path).seal({"a": Secret(TOKEN)}, resource_name=name))
    opener = PostgresConnectionOpener(pool, vault(tmp_path, keyring=Keyring({"k2": bytes(32)})))
    with pytest.raises(ReadingError, match="'k1', which is not there") as caught:
        await opener.open(org, "shop")
    assert caught.value.failure.error_class is ErrorClass.CREDENTIALS
    with pytest.raises(ReadingError, match="gone") as caught:
        await opener.open(org, "other")
    assert caught.value.failure.error_class is ErrorClass.PERMANENT
    reference = StoredCredential(CredentialKind.ENVIRONMENT, reference="SHOP_")
    await insert(pool, f"{org}-b", reference)
    with pytest.raises(ReadingError, match="may not use it"):
        await opener.open(f"{org}-b", "shop")
    await insert(pool, f"{org}-c", StoredCredential(), disabled=True)
    with pytest.raises(ReadingError, match="disabled"):
        await opener.open(f"{org}-c", "shop")


async def test_a_renewed_credential_is_there_the_next_time(
    pool: asyncpg.Pool, org: str, tmp_path: Path
) -> None:
    """A session's renewal is kept, unless somebody else has set a credential meanwhile."""
    keys = vault(tmp_path)
    name = f"orgs/{org}/connections/shop"
    await insert(pool, org, keys.seal({"access_token": Secret(TOKEN)}, resource_name=name))
    opener = PostgresConnectionOpener(pool, keys)
    first, second = await opener.open(org, "shop"), await opener.open(org, "shop")
    expiry = datetime(2027, 1, 1, tzinfo=UTC)
    renewed = {"access_token": Secret("renewed once, long lived")}
    assert await first.credential.renew(renewed, expire_time=expiry)
    assert first.credential["access_token"] == renewed["access_token"]
    assert not await second.credential.renew({"access_token": Secret("renewed too late")})
    assert second.credential["access_token"].reveal() == "renewed too late"
    assert await first.credential.renew({"access_token": Secret("renewed twice")})
    again = await opener.open(org, "shop")
    assert again.credential["access_token"].reveal() == "renewed twice"
    stored = await PostgresConnections(pool).get(org, "shop")
    assert stored.credential.expire_time is None


async def test_a_reference_cannot_be_renewed_in_its_place(
    pool: asyncpg.Pool, org: str, tmp_path: Path
) -> None:
    """The session goes on with what it was given; the file stays its operator's."""
    (tmp_path / org).mkdir()
    file = tmp_path / org / "meta.json"
    file.write_text(f'{{"access_token": "{TOKEN}"}}')
    await insert(pool, org, StoredCredential(CredentialKind.FILE, reference=f"{org}/meta.json"))
    opened = await PostgresConnectionOpener(pool, vault(tmp_path)).open(org, "shop")
    assert opened.credential["access_token"].reveal() == TOKEN
    assert not await opened.credential.renew({"access_token": Secret("another token")})
    assert TOKEN in file.read_text()


async def test_committed_days_of_lanes(pool: asyncpg.Pool, org: str, tmp_path: Path) -> None:
    """Days are told by lane, with the oldest that is not final, and accounts show the newest."""
    await insert(pool, org, StoredCredential())
    async with postgres.transaction(pool, org=org) as connection:
        for level, dates in (
            (1, ((1, True), (3, True), (4, False))),
            (2, ((2, False), (5, False))),
        ):
            await connection.execute(
                "insert into lanes (org, platform, account_id, level, attribution_key, date_basis)"
                " values ($1, 'meta', '7', $2, '', 1)",
                org,
                level,
            )
            await connection.executemany(
                "insert into lane_days (org, platform, account_id, level, attribution_key,"
                " date_basis, date, final, commit_time, change_time)"
                " values ($1, 'meta', '7', $2, '', 1, $3, $4, now(), now())",
                [(org, level, date(2026, 3, day), final) for day, final in dates],
            )
    connections = PostgresConnections(pool)
    assert await connections.committed_days(org, "meta", ["7", "8"]) == {
        ("7", "ACCOUNT", "", "INTERACTION"): CommittedDays(
            (date(2026, 3, 1), date(2026, 3, 3)), date(2026, 3, 4)
        ),
        ("7", "CAMPAIGN", "", "INTERACTION"): CommittedDays((), date(2026, 3, 2)),
    }
    account, other = (await connections.get(org, "shop")).accounts
    assert (account.newest_date, account.newest_final_date) == (
        date(2026, 3, 5),
        date(2026, 3, 3),
    )
    assert (other.newest_date, other.newest_final_date) == (None, None)
