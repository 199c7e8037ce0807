"""Connections as people register, change and try them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, NoReturn, Protocol, TypeVar

import structlog

from liftos_ingestion.connection_ports import (
    ConnectionChange,
    ConnectionState,
    ConnectionStore,
    ConnectionWrite,
    CredentialKind,
    CredentialUnusableError,
    CredentialVault,
    GivenCredential,
    NamedAccount,
    NewConnection,
    StoredConnection,
    StoredCredential,
    Verification,
)
from liftos_ingestion.domain.failures import Failure, NotReadyError, ReadingError
from liftos_ingestion.domain.json_schemas import schema_violations
from liftos_ingestion.domain.names import connection_name
from liftos_ingestion.domain.rate_limits import Priority
from liftos_ingestion.quota_ports import RateGovernor
from liftos_ingestion.source_ports import Credential, JsonObject, PlatformSource
from liftos_ingestion.usecases.gate import GovernedGate
from liftos_ingestion.usecases.platform_errors import REFUSALS, platform_error
from liftos_ingestion.usecases.sources import Catalog
from liftos_kit.core.errors import (
    AlreadyExistsError,
    EtagMismatchError,
    FieldViolation,
    InvalidFieldsError,
    NotFoundError,
    StateTransitionError,
    VerificationFailedError,
)
from liftos_kit.core.filters import Filter
from liftos_kit.core.repeatable import AnsweredBeforeError, Repeatable
from liftos_kit.secrets.secret import Secret

_REFERENCE_FIELDS: Final = {
    CredentialKind.ENVIRONMENT: "credential.environment_prefix",
    CredentialKind.FILE: "credential.file_path",
}

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.ingestion")

Result = TypeVar("Result")


class CredentialOpener(Protocol):
    """Gives the credentials of connections."""

    async def credential(self, org: str, stored: StoredConnection) -> Credential:
        """Return the credential of a connection, which a session may renew.

        Raises:
            ReadingError: Class CREDENTIALS: it cannot be resolved.
        """


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What became of a try at the platform; where it did not answer, why."""

    verification: Verification
    error: ReadingError | NotReadyError | None = None

    @property
    def answered(self) -> bool:
        return self.verification.state is not ConnectionState.UNVERIFIED


class _Candidate:
    """A credential that is not stored yet; a session that tries it may renew it."""

    def __init__(
        self,
        stored: StoredCredential,
        fields: Mapping[str, Secret],
        *,
        vault: CredentialVault,
        resource_name: str,
    ) -> None:
        self.stored = stored
        self.credential: Final = Credential(fields, self._keep)
        self._vault = vault
        self._resource_name = resource_name

    async def _keep(self, renewed: Mapping[str, Secret], expire_time: datetime | None) -> bool:
        if self.stored.kind is not CredentialKind.STORED:
            return False
        sealed = self._vault.seal(renewed, resource_name=self._resource_name)
        self.stored = replace(sealed, expire_time=expire_time)
        return True


class _DiscardedError(Exception):
    """Leaves a write without a commit: it was only to be checked."""


class ConnectionAdministration:
    """Registers, changes and tries connections.

    No transaction is open while a platform is asked. What a platform said is stored only where the
    connection is still the one that was tried.

    Args:
        store: Where they are kept.
        catalog: Finds their sources.
        opener: Gives stored credentials.
        vault: Seals new ones.
        governor: Limits that all callers of a platform share.
    """

    def __init__(
        self,
        *,
        store: ConnectionStore,
        catalog: Catalog,
        opener: CredentialOpener,
        vault: CredentialVault,
        governor: RateGovernor,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._opener = opener
        self._vault = vault
        self._governor = governor

    async def create(
        self,
        org: str,
        new: NewConnection,
        given: GivenCredential | None,
        *,
        validate_only: bool,
        repeatable: Repeatable[StoredConnection],
    ) -> StoredConnection | bytes:
        """Register a connection and try its credential, where one is given.

        Where the platform does not say whether it takes it, the connection is registered all the
        same, as one whose credential was never verified. A source that needs no credential is tried
        without one.

        Args:
            org: The org.
            new: The connection.
            given: Its credential; None where it is set later.
            validate_only: Do everything but store it.
            repeatable: The request.

        Returns:
            The connection, or the answer that the same request was given before.

        Raises:
            NotFoundError: The platform is not registered.
            AlreadyExistsError: The id is taken.
            InvalidFieldsError: Settings, accounts or credential break rules; lists every one.
            CredentialsRejectedError: The platform refuses the credential; nothing was stored.
        """
        answer = None if validate_only else await self._answer(org, repeatable)
        if answer is not None:
            return answer
        source = await self._catalog.source(org, new.platform)
        _check(_settings(source, new.settings) + _accounts(new.accounts))
        await self._require_free(org, new.connection)
        candidate, attempt = None, None
        if given is not None:
            candidate = await self._candidate(org, new.connection, source, given)
            attempt = await self._try(
                org, new.connection, source, new.settings, candidate.credential
            )
            if attempt.verification.state is ConnectionState.REJECTED:
                _raise_failed(org, new.connection, new.platform, attempt)
        elif not schema_violations(source.credential_schema, {}, field="credential"):
            without = await self._try(org, new.connection, source, new.settings, Credential({}))
            # It may take one all the same, which is then set later.
            attempt = without if without.verification.state is ConnectionState.ACTIVE else None
        made: list[StoredConnection] = []

        async def work(write: ConnectionWrite) -> StoredConnection:
            held = await write.hold_source(new.platform)
            if not held and new.platform not in self._catalog.built_in:
                raise NotFoundError(f"orgs/{org}/sources/{new.platform}")
            await write.insert(new)
            if candidate is not None:
                await write.set_credential(new.connection, candidate.stored)
            if attempt is not None:
                await write.record(new.connection, attempt.verification)
            stored = await write.get(new.connection)
            if validate_only:
                made.append(stored)
                raise _DiscardedError
            return stored

        try:
            return await self._write(org, None if validate_only else repeatable, work)
        except _DiscardedError:
            return made[0]

    async def get(self, org: str, connection: str) -> StoredConnection:
        """Return a connection.

        Raises:
            NotFoundError: There is none.
        """
        return await self._store.get(org, connection)

    async def list_page(
        self, org: str, *, where: Filter | None, after: str, limit: int
    ) -> tuple[Sequence[StoredConnection], str | None]:
        """Return a page of connections, and the id to go on after; None at the end."""
        page, more = await self._store.list_page(org, where=where, after=after, limit=limit)
        return page, page[-1].connection if more else None

    async def update(
        self,
        org: str,
        connection: str,
        change: ConnectionChange,
        *,
        repeatable: Repeatable[StoredConnection] | None,
    ) -> StoredConnection | bytes:
        """Change a connection. Its credential is not tried anew.

        Returns:
            The connection, or the answer that the same request was given before.

        Raises:
            NotFoundError: There is none.
            EtagMismatchError: It was changed since it was read.
            InvalidFieldsError: Settings or accounts break rules; lists every one.
        """

        async def work(write: ConnectionWrite) -> StoredConnection:
            before = await write.lock(connection)
            _check_revision(org, before, change.revision)
            if change.platform not in (None, before.platform):
                raise InvalidFieldsError.of(
                    "connection.platform",
                    f"cannot be changed; it is {before.platform}",
                    rule="immutable",
                )
            await write.change(connection, change)
            return await write.get(connection)

        answer = None if repeatable is None else await self._answer(org, repeatable)
        if answer is not None:
            return answer
        violations = _accounts(change.accounts or ())
        if change.settings is not None:
            # A connection keeps its platform, so that this holds until the write.
            stored = await self._store.get(org, connection)
            source = await self._catalog.source(org, stored.platform)
            violations += _settings(source, change.settings)
        _check(violations)
        return await self._write(org, repeatable, work)

    async def delete(
        self, org: str, connection: str, *, revision: int | None, repeatable: Repeatable[None]
    ) -> bytes | None:
        """Remove a connection with its credential and its schedules.

        Returns:
            The answer that the same request was given before, or None.

        Raises:
            NotFoundError: There is none.
            EtagMismatchError: It was changed since it was read.
            StateTransitionError: A run of it has not ended.
        """

        async def work(write: ConnectionWrite) -> None:
            before = await write.lock(connection)
            _check_revision(org, before, revision)
            if not await write.delete(before):
                raise StateTransitionError(
                    connection_name(org, connection),
                    state="read by a run",
                    allowed_states=["without a run under way"],
                )

        return await self._write(org, repeatable, work)

    async def verify(
        self, org: str, connection: str, *, repeatable: Repeatable[StoredConnection] | None
    ) -> StoredConnection | bytes:
        """Try the credential of a connection, and store what the platform says.

        Args:
            org: The org.
            connection: Its id.
            repeatable: The request; None where nobody asked.

        Returns:
            The connection, ACTIVE or REJECTED, or the answer that the same request was given
            before.

        Raises:
            NotFoundError: There is none.
            PlatformRateLimitedError: A limit of the platform is reached.
            StoreUnavailableError: The platform does not answer.
            VerificationFailedError: The platform does not say, or the credential cannot be had.
        """
        answer = None if repeatable is None else await self._answer(org, repeatable)
        if answer is not None:
            return answer
        stored = await self._store.get(org, connection)
        source = await self._catalog.source(org, stored.platform)
        try:
            credential = await self._opener.credential(org, stored)
        except ReadingError as error:
            _warn_of(org, connection, stored.platform, error.failure)
            raise _unverifiable("credential", error.failure.message) from error
        attempt = await self._try(org, connection, source, stored.settings, credential)
        if not attempt.answered:
            _raise_failed(org, connection, stored.platform, attempt)

        async def work(write: ConnectionWrite) -> StoredConnection:
            now = await write.lock(connection)
            # Whoever has changed it meanwhile has tried, or will try, another credential.
            if now.revision == stored.revision:
                await _record(org, write, now, attempt)
            return await write.get(connection)

        return await self._write(org, repeatable, work)

    async def set_credential(
        self,
        org: str,
        connection: str,
        given: GivenCredential,
        *,
        repeatable: Repeatable[StoredConnection],
    ) -> StoredConnection | bytes:
        """Keep a credential, whether the platform takes it or not; the state says which.

        Returns:
            The connection, or the answer that the same request was given before.

        Raises:
            NotFoundError: There is none.
            InvalidFieldsError: The credential breaks rules; lists every one.
        """
        answer = await self._answer(org, repeatable)
        if answer is not None:
            return answer
        stored = await self._store.get(org, connection)
        source = await self._catalog.source(org, stored.platform)
        candidate = await self._candidate(org, connection, source, given)
        attempt = await self._try(org, connection, source, stored.settings, candidate.credential)
        return await self._replace(org, connection, candidate, attempt, repeatable)

    async def rotate_credential(
        self,
        org: str,
        connection: str,
        given: GivenCredential | None,
        *,
        repeatable: Repeatable[StoredConnection],
    ) -> StoredConnection | bytes:
        """Replace a credential by one that works, or encrypt it again with the newest key.

        The old one stays until the platform has taken the new one.

        Args:
            org: The org.
            connection: Its id.
            given: The new credential; None keeps the credential and renews its encryption.
            repeatable: The request.

        Returns:
            The connection, or the answer that the same request was given before.

        Raises:
            NotFoundError: There is none.
            InvalidFieldsError: The credential breaks rules, or there is none to encrypt again.
            CredentialsRejectedError: The platform refuses the new one; the old one stays.
            PlatformRateLimitedError: A limit of the platform is reached; the old one stays.
            StoreUnavailableError: The platform does not answer; the old one stays.
            VerificationFailedError: The platform does not say, or the old one does not open.
        """
        if given is None:
            return await self._reseal(org, connection, repeatable)
        answer = await self._answer(org, repeatable)
        if answer is not None:
            return answer
        stored = await self._store.get(org, connection)
        source = await self._catalog.source(org, stored.platform)
        candidate = await self._candidate(org, connection, source, given)
        attempt = await self._try(org, connection, source, stored.settings, candidate.credential)
        if attempt.verification.state is not ConnectionState.ACTIVE:
            _raise_failed(org, connection, stored.platform, attempt)
        return await self._replace(org, connection, candidate, attempt, repeatable)

    async def _reseal(
        self, org: str, connection: str, repeatable: Repeatable[StoredConnection]
    ) -> StoredConnection | bytes:
        resource_name = connection_name(org, connection)

        async def work(write: ConnectionWrite) -> StoredConnection:
            before = await write.lock(connection)
            if before.credential.kind is not CredentialKind.STORED:
                there = "a reference" if before.credential.reference else "none"
                raise InvalidFieldsError.of(
                    "credential",
                    f"must be given: the connection has {there}, which has no key to renew",
                    rule="credential.stored",
                )
            try:
                fields = await self._vault.reveal(before.credential, resource_name=resource_name)
                sealed = self._vault.seal(fields, resource_name=resource_name)
            except CredentialUnusableError as error:
                raise _unverifiable("credential", error.problem) from error
            await write.reseal(connection, sealed)
            return await write.get(connection)

        return await self._write(org, repeatable, work)

    async def _replace(
        self,
        org: str,
        connection: str,
        candidate: _Candidate,
        attempt: _Attempt,
        repeatable: Repeatable[StoredConnection],
    ) -> StoredConnection | bytes:
        async def work(write: ConnectionWrite) -> StoredConnection:
            before = await write.lock(connection)
            await write.set_credential(connection, candidate.stored)
            await _record(org, write, before, attempt)
            return await write.get(connection)

        return await self._write(org, repeatable, work)

    async def _require_free(self, org: str, connection: str) -> None:
        """Refuse an id that is taken before its secret goes to a platform."""
        try:
            await self._store.get(org, connection)
        except NotFoundError:
            return
        raise AlreadyExistsError(connection_name(org, connection))

    async def _candidate(
        self, org: str, connection: str, source: PlatformSource, given: GivenCredential
    ) -> _Candidate:
        resource_name = connection_name(org, connection)
        field = _REFERENCE_FIELDS.get(given.kind, "credential.stored")
        stored = StoredCredential(given.kind, reference=given.reference)
        fields = given.fields
        try:
            if given.kind is CredentialKind.STORED:
                stored = self._vault.seal(fields, resource_name=resource_name)
            else:
                fields = await self._vault.reveal(stored, resource_name=resource_name)
                stored = replace(stored, fields=tuple(sorted(fields)))
        except CredentialUnusableError as error:
            raise InvalidFieldsError.of(field, error.problem, rule="credential") from error
        _check(
            schema_violations(
                source.credential_schema,
                {name: secret.reveal() for name, secret in fields.items()},
                field=f"{field}.values" if given.kind is CredentialKind.STORED else field,
            )
        )
        return _Candidate(stored, fields, vault=self._vault, resource_name=resource_name)

    async def _try(
        self,
        org: str,
        connection: str,
        source: PlatformSource,
        settings: JsonObject,
        credential: Credential,
    ) -> _Attempt:
        """Sign in at the platform."""
        gate = GovernedGate(
            self._governor,
            org=org,
            caller=f"connections/{connection}",
            priority=Priority.NEWEST,
        )
        try:
            async with source.open(credential, settings, gate) as session:
                verified = await session.verify()
        except NotReadyError as wait:
            return _Attempt(Verification(ConnectionState.UNVERIFIED), wait)
        except ReadingError as error:
            _warn_of(org, connection, source.platform, error.failure)
            refused = error.failure.error_class in REFUSALS
            state = ConnectionState.REJECTED if refused else ConnectionState.UNVERIFIED
            return _Attempt(Verification(state), error)
        finally:
            await gate.leave()
        return _Attempt(
            Verification(
                state=ConnectionState.ACTIVE,
                accounts=verified.accounts,
                granted_scopes=verified.granted_scopes,
                missing_scopes=verified.missing_scopes,
                expire_time=verified.expire_time,
            )
        )

    async def _answer(self, org: str, repeatable: Repeatable[Result]) -> bytes | None:
        return await self._store.find_answer(
            org, repeatable.method, repeatable.request_id, repeatable.payload_digest
        )

    async def _write(
        self,
        org: str,
        repeatable: Repeatable[Result] | None,
        work: Callable[[ConnectionWrite], Awaitable[Result]],
    ) -> Result | bytes:
        try:
            async with self._store.write(org) as write:
                if repeatable is not None:
                    await repeatable.recall(write)
                result = await work(write)
                if repeatable is not None:
                    await repeatable.remember(write, result)
        except AnsweredBeforeError as answered:
            return answered.response
        return result


def _settings(source: PlatformSource, settings: JsonObject) -> list[FieldViolation]:
    return list(schema_violations(source.settings_schema, settings, field="connection.settings"))


def _accounts(accounts: Sequence[NamedAccount]) -> list[FieldViolation]:
    first: dict[str, int] = {}
    return [
        FieldViolation(
            f"connection.accounts[{index}].account_id",
            f"{account.account_id} is that of accounts[{first[account.account_id]}] as well",
            "unique",
        )
        for index, account in enumerate(accounts)
        if first.setdefault(account.account_id, index) != index
    ]


def _check(violations: Sequence[FieldViolation]) -> None:
    if violations:
        raise InvalidFieldsError(violations)


def _check_revision(org: str, stored: StoredConnection, revision: int | None) -> None:
    if revision is not None and stored.revision != revision:
        raise EtagMismatchError(connection_name(org, stored.connection))


def _unverifiable(check: str, problem: str) -> VerificationFailedError:
    return VerificationFailedError(check, measured=problem, threshold="one that can be read")


def _raise_failed(org: str, connection: str, platform: str, attempt: _Attempt) -> NoReturn:
    """Raise what says why a platform did not take a credential."""
    error = attempt.error
    assert error is not None, "an attempt that failed has a reason"
    resource_name = connection_name(org, connection)
    raise platform_error(error, platform=platform, resource_name=resource_name) from error


def _warn_of(org: str, connection: str, platform: str, failure: Failure) -> None:
    _log.warning(
        "credential_not_verified",
        org=org,
        connection=connection,
        platform=platform,
        error_class=failure.error_class.value,
        platform_code=failure.platform_code,
        problem=failure.message,
    )


async def _record(
    org: str, write: ConnectionWrite, before: StoredConnection, attempt: _Attempt
) -> None:
    _log_changes(org, before, attempt.verification)
    await write.record(before.connection, attempt.verification)


def _log_changes(org: str, before: StoredConnection, verification: Verification) -> None:
    """Tell what a platform changed that changes what stored numbers mean."""
    if verification.accounts is None:
        return
    known = {account.account_id: account for account in before.accounts}
    for account in verification.accounts:
        old = known.get(account.account_id)
        if old is None or not old.time_zone:
            continue
        for name in ("time_zone", "currency_code"):
            was, now = getattr(old, name), getattr(account, name)
            if was != now:
                _log.warning(
                    "account_changed",
                    org=org,
                    connection=before.connection,
                    account_id=account.account_id,
                    field=name,
                    before=was,
                    after=now,
                )
    readable = {account.account_id for account in verification.accounts}
    for left in before.accounts:
        if left.named and left.account_id not in readable:
            _log.warning(
                "account_unreadable",
                org=org,
                connection=before.connection,
                account_id=left.account_id,
            )
