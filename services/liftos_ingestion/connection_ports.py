"""Connections: as they are kept, and as those who read through them see them."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import IntEnum
from typing import Protocol
from uuid import UUID

from liftos_ingestion.domain.failures import AccountOutcome
from liftos_ingestion.source_ports import Credential, JsonObject, PlatformAccount
from liftos_kit.core.filters import Filter
from liftos_kit.core.repeatable import RequestMemory
from liftos_kit.secrets.secret import Secret


class ConnectionState(IntEnum):
    """Whether a connection can be used; numbers as in the contract."""

    UNVERIFIED = 1
    ACTIVE = 2
    REJECTED = 3
    DISABLED = 4


class CredentialKind(IntEnum):
    """Where a credential is kept; numbers as in the contract."""

    NONE = 0
    STORED = 1
    ENVIRONMENT = 2
    FILE = 3


@dataclass(frozen=True, slots=True)
class StoredAccount:
    """An account of a connection.

    Attributes:
        account_id: The platform's id.
        named: Whether a person named it; the others are what the credential may read.
        disabled: Whether it is left out.
        display_name, time_zone, currency_code, closed: As the platform last described it; empty
            where it never did.
        outcome: How its last run ended; None where it was never read.
        newest_date: Newest day that was committed; None where none was.
        newest_final_date: Newest day that is final; None where none is.
        read_time: When a slice of it was last committed.
    """

    account_id: str
    named: bool
    disabled: bool
    display_name: str = ""
    time_zone: str = ""
    currency_code: str = ""
    closed: bool = False
    outcome: AccountOutcome | None = None
    newest_date: date | None = None
    newest_final_date: date | None = None
    read_time: datetime | None = None

    @property
    def described(self) -> PlatformAccount | None:
        """The account as its source knows it; None where the platform never described it."""
        if not self.time_zone:
            return None
        return PlatformAccount(
            self.account_id, self.display_name, self.time_zone, self.currency_code, self.closed
        )


@dataclass(frozen=True, slots=True)
class StoredCredential:
    """A credential as it is kept.

    Attributes:
        kind: Where.
        fields: Names of the fields that are set.
        reference: The prefix of its variables, or the path of its file; empty for STORED.
        sealed: The encrypted fields; empty unless STORED.
        key_id: The key that encrypts them.
        expire_time: When the platform stops taking it; None where it does not say.
        granted_scopes: Permissions, in the platform's words.
        update_time: When it was set or refreshed last; None where there is none.
    """

    kind: CredentialKind = CredentialKind.NONE
    fields: tuple[str, ...] = ()
    reference: str = ""
    sealed: bytes = field(default=b"", repr=False)
    key_id: str = ""
    expire_time: datetime | None = None
    granted_scopes: tuple[str, ...] = ()
    update_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoredConnection:
    """A connection.

    Attributes:
        connection: Its id.
        display_name: Shown to people.
        platform: Its source.
        settings: Settings of the source.
        disabled: Whether a person switched it off.
        state: Whether it can be used; DISABLED where it is switched off.
        accounts: Named ones and, where none is named, all that the credential may read; by id.
        credential: How its credential is kept.
        missing_scopes: Permissions that the platform did not grant.
        verify_time: When the credential was last tried.
        revision: Grows with each change by a person; its etag.
        create_time, update_time: When.
    """

    connection: str
    display_name: str
    platform: str
    settings: JsonObject
    disabled: bool
    state: ConnectionState
    accounts: Sequence[StoredAccount]
    credential: StoredCredential
    missing_scopes: tuple[str, ...]
    verify_time: datetime | None
    revision: int
    create_time: datetime
    update_time: datetime

    def readable_accounts(self) -> Sequence[StoredAccount]:
        """Return the accounts that runs read: the named ones, or all where none is named."""
        named = [account for account in self.accounts if account.named]
        return [account for account in named or self.accounts if not account.disabled]


@dataclass(frozen=True, slots=True)
class OpenConnection:
    """A connection with its credential.

    Attributes:
        platform: Its source.
        settings: Settings of the source.
        credential: Its credential, without fields where none is set.
        accounts: Accounts that are read through it.
    """

    platform: str
    settings: JsonObject
    credential: Credential
    accounts: Sequence[PlatformAccount]

    def account(self, account_id: str) -> PlatformAccount | None:
        """Return an account by its id."""
        return next((it for it in self.accounts if it.account_id == account_id), None)


@dataclass(frozen=True, slots=True)
class CommittedDays:
    """The days of a lane that were committed.

    Attributes:
        final: Those that need not be read again: the platform no longer restates them, and no row
            of them was refused.
        open_since: The oldest of the others; None where there is none.
    """

    final: Sequence[date] = ()
    open_since: date | None = None


class CredentialUnusableError(Exception):
    """A credential cannot be kept, or not be had from where it is.

    Attributes:
        problem: What is wrong and what to do, without any value.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class CredentialVault(Protocol):
    """Encrypts credentials that are stored, and finds those that are referenced."""

    def seal(self, fields: Mapping[str, Secret], *, resource_name: str) -> StoredCredential:
        """Return a credential that opens for this resource only.

        Raises:
            CredentialUnusableError: There are no keys.
        """

    async def reveal(
        self, credential: StoredCredential, *, resource_name: str
    ) -> Mapping[str, Secret]:
        """Return the fields of a credential; none where none is set.

        Raises:
            CredentialUnusableError: It does not open, or is not where it should be.
        """


class ConnectionOpener(Protocol):
    """Gives connections to those who read."""

    async def open(self, org: str, connection: str) -> OpenConnection:
        """Return a connection with its credential.

        Raises:
            ReadingError: Class CREDENTIALS where its credential cannot be resolved; class
                PERMANENT where it is gone or disabled.
        """


class ConnectionReader(Protocol):
    """Connections, for those who plan runs."""

    async def get(self, org: str, connection: str) -> StoredConnection:
        """Return a connection.

        Raises:
            NotFoundError: There is none.
        """

    async def committed_days(
        self, org: str, platform: str, account_ids: Sequence[str]
    ) -> Mapping[tuple[str, str, str, str], CommittedDays]:
        """Return what was committed, by account, level, attribution and date basis."""


class VerificationDue(Protocol):
    """Connections that workers verify by themselves, on the clock of the store.

    Those that are switched off or suspended, or have no credential, are never due.
    """

    async def due_verifications(
        self, *, every: timedelta, again: timedelta, limit: int
    ) -> Sequence[tuple[str, str]]:
        """Return orgs and ids of connections that are due, those that wait longest first.

        Args:
            every: How long a verification holds; for some a little less, so that they are spread.
            again: How long a try keeps others from trying.
            limit: How many, at most.
        """

    async def claim_verification(
        self, org: str, connection: str, *, every: timedelta, again: timedelta
    ) -> bool:
        """Begin a try; False where it is no longer due: claimed, disabled or suspended."""


@dataclass(frozen=True, slots=True)
class NamedAccount:
    """An account that a person names.

    Attributes:
        account_id: The platform's id.
        disabled: Whether it is left out.
    """

    account_id: str
    disabled: bool


@dataclass(frozen=True, slots=True)
class NewConnection:
    """A connection that is about to be registered.

    Attributes:
        connection: Its id.
        display_name: Shown to people.
        platform: Its source.
        settings: Settings of the source.
        accounts: Accounts to read; none means all that the credential may read.
        disabled: Whether it is switched off.
    """

    connection: str
    display_name: str
    platform: str
    settings: JsonObject
    accounts: Sequence[NamedAccount]
    disabled: bool


@dataclass(frozen=True, slots=True)
class ConnectionChange:
    """What a person changes; None leaves a field as it is.

    Attributes:
        display_name, settings, accounts, disabled: As in `NewConnection`.
        platform: What the person takes to be its source, which cannot be changed.
        revision: The one that was read; None takes the newest.
    """

    display_name: str | None
    settings: JsonObject | None
    accounts: Sequence[NamedAccount] | None
    disabled: bool | None
    platform: str | None
    revision: int | None


@dataclass(frozen=True, slots=True)
class Verification:
    """What became of a try of a credential.

    Attributes:
        state: ACTIVE, REJECTED, or UNVERIFIED where the platform did not say.
        accounts: All that can be read; None where the platform did not say.
        granted_scopes, missing_scopes: Permissions, in the platform's words.
        expire_time: When it stops being taken; None where the platform does not say.
    """

    state: ConnectionState
    accounts: Sequence[PlatformAccount] | None = None
    granted_scopes: tuple[str, ...] = ()
    missing_scopes: tuple[str, ...] = ()
    expire_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class GivenCredential:
    """A credential as a person gives it.

    Attributes:
        kind: Where it is, or is to be kept; never NONE.
        fields: Its fields; none unless STORED.
        reference: The prefix of its variables, or the path of its file; empty for STORED.
    """

    kind: CredentialKind
    fields: Mapping[str, Secret] = field(default_factory=dict)
    reference: str = ""


class ConnectionWrite(RequestMemory, Protocol):
    """A change of one connection, as one transaction."""

    async def hold_source(self, source: str) -> bool:
        """Keep a source of the org's own from being removed; False where there is none."""

    async def insert(self, new: NewConnection) -> None:
        """Register a connection.

        Raises:
            AlreadyExistsError: The id is taken.
        """

    async def lock(self, connection: str) -> StoredConnection:
        """Return a connection as it is now, with all accounts, and keep others from changing it.

        Raises:
            NotFoundError: There is none.
        """

    async def change(self, connection: str, change: ConnectionChange) -> None:
        """Store what a person changed."""

    async def set_credential(self, connection: str, credential: StoredCredential) -> None:
        """Replace the credential; whether the platform takes it is unknown then."""

    async def reseal(self, connection: str, credential: StoredCredential) -> None:
        """Replace the encryption of the credential, which stays the same."""

    async def record(self, connection: str, verification: Verification) -> None:
        """Store what the platform said of the credential and of the accounts."""

    async def delete(self, stored: StoredConnection) -> bool:
        """Remove a connection; False, and nothing done, where a run of it has not ended."""

    async def get(self, connection: str) -> StoredConnection:
        """Return a connection as this transaction leaves it.

        Raises:
            NotFoundError: There is none.
        """


class ConnectionStore(ConnectionReader, Protocol):
    """Connections, for those who administrate them."""

    def write(self, org: str) -> AbstractAsyncContextManager[ConnectionWrite]:
        """Begin a change; leaving the block commits, an error undoes it."""

    async def find_answer(
        self, org: str, method: str, request_id: UUID, payload_digest: bytes
    ) -> bytes | None:
        """Return the answer that a request was given before; None where it is new.

        Raises:
            RequestIdReusedError: The id was used for another payload.
        """

    async def list_page(
        self, org: str, *, where: Filter | None, after: str, limit: int
    ) -> tuple[Sequence[StoredConnection], bool]:
        """Return connections by id, from behind `after` on, and whether there are more."""
