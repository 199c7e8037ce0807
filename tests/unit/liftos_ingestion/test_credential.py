"""A credential as a session holds it."""

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from liftos_ingestion.source_ports import Credential
from liftos_kit.core.errors import StoreUnavailableError
from liftos_kit.secrets.secret import Secret

OLD = {"access_token": Secret("short-lived-token"), "app_id": Secret("app-id-of-the-shop")}
NEW = {"access_token": Secret("long-lived-token"), "app_id": Secret("app-id-of-the-shop")}
EXPIRY = datetime(2027, 1, 1, tzinfo=UTC)


async def test_renewed_fields_are_kept_and_used() -> None:
    """The place that keeps them is given all fields and their end; the session has them at once."""
    kept: list[tuple[Mapping[str, Secret], datetime | None]] = []

    async def keep(fields: Mapping[str, Secret], expire_time: datetime | None) -> bool:
        kept.append((dict(fields), expire_time))
        return True

    credential = Credential(OLD, keep)
    assert dict(credential) == OLD
    assert await credential.renew(NEW, expire_time=EXPIRY)
    assert dict(credential) == NEW
    assert kept == [(NEW, EXPIRY)]


async def test_without_a_place_the_session_goes_on_alone() -> None:
    """Nothing is kept, which the answer says, and the session has the new fields."""
    credential = Credential(OLD)
    assert not await credential.renew(NEW)
    assert dict(credential) == NEW


async def test_an_outage_of_the_place_takes_nothing_from_the_session() -> None:
    """Where a renewal cannot be kept, the caller hears it and still has what works."""

    async def keep(fields: Mapping[str, Secret], expire_time: datetime | None) -> bool:
        raise StoreUnavailableError("postgres")

    credential = Credential(OLD, keep)
    with pytest.raises(StoreUnavailableError):
        await credential.renew(NEW)
    assert dict(credential) == NEW


def test_a_credential_does_not_show_itself() -> None:
    """Its text has the names of its fields and no value."""
    shown = f"{Credential(OLD)!r} {Credential(OLD)}"
    assert "access_token" in shown
    assert not [secret for secret in OLD.values() if secret.reveal() in shown]
