"""What can go wrong between a platform and Memory, and what follows from it.

Every failure has one class, and the class alone decides what happens next: `DISPOSITIONS` is that
decision as a table. Sources classify what a platform said; nothing else looks at platform codes.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class ErrorClass(StrEnum):
    """What kind of failure it was."""

    TRANSIENT = "TRANSIENT"
    RATE_LIMITED = "RATE_LIMITED"
    QUOTA_EXHAUSTED = "QUOTA_EXHAUSTED"
    TOO_LARGE = "TOO_LARGE"
    CREDENTIALS = "CREDENTIALS"
    PERMISSION = "PERMISSION"
    ACCOUNT_CLOSED = "ACCOUNT_CLOSED"
    VERSION = "VERSION"
    INVALID_DATA = "INVALID_DATA"
    PERMANENT = "PERMANENT"


class AccountOutcome(StrEnum):
    """How the reading of one account ended; one bad account never stops the others."""

    OK = "OK"
    PARTIAL = "PARTIAL"
    CREDENTIALS_REJECTED = "CREDENTIALS_REJECTED"
    PERMISSION_MISSING = "PERMISSION_MISSING"
    QUOTA_PARKED = "QUOTA_PARKED"
    VERSION_RETIRED = "VERSION_RETIRED"
    ACCOUNT_CLOSED = "ACCOUNT_CLOSED"
    PLATFORM_FAILED = "PLATFORM_FAILED"


class Scope(StrEnum):
    """How far a failure reaches: what else cannot be read either."""

    SLICE = "SLICE"
    ACCOUNT = "ACCOUNT"
    CONNECTION = "CONNECTION"


@dataclass(frozen=True, slots=True)
class Disposition:
    """What follows from a class of failure.

    Attributes:
        retried: Whether the slice is tried again by itself.
        costs_attempt: Whether the try counts against the slice's attempts.
        scope: What it is that failed. Where it is more than the slice and not retried, the other
            slices of that scope are given up with it.
        outcome: What the account's outcome is where the slice is given up, or waits.
    """

    retried: bool
    costs_attempt: bool
    scope: Scope
    outcome: AccountOutcome


DISPOSITIONS: Final = MappingProxyType(
    {
        ErrorClass.TRANSIENT: Disposition(True, True, Scope.SLICE, AccountOutcome.PLATFORM_FAILED),
        ErrorClass.RATE_LIMITED: Disposition(True, False, Scope.SLICE, AccountOutcome.QUOTA_PARKED),
        ErrorClass.QUOTA_EXHAUSTED: Disposition(
            True, False, Scope.SLICE, AccountOutcome.QUOTA_PARKED
        ),
        # Halved by days; a day that is still too large is given up.
        ErrorClass.TOO_LARGE: Disposition(False, True, Scope.SLICE, AccountOutcome.PLATFORM_FAILED),
        ErrorClass.CREDENTIALS: Disposition(
            False, True, Scope.CONNECTION, AccountOutcome.CREDENTIALS_REJECTED
        ),
        ErrorClass.PERMISSION: Disposition(
            False, True, Scope.ACCOUNT, AccountOutcome.PERMISSION_MISSING
        ),
        ErrorClass.ACCOUNT_CLOSED: Disposition(
            False, True, Scope.ACCOUNT, AccountOutcome.ACCOUNT_CLOSED
        ),
        ErrorClass.VERSION: Disposition(
            False, True, Scope.CONNECTION, AccountOutcome.VERSION_RETIRED
        ),
        ErrorClass.INVALID_DATA: Disposition(
            False, True, Scope.SLICE, AccountOutcome.PLATFORM_FAILED
        ),
        ErrorClass.PERMANENT: Disposition(False, True, Scope.SLICE, AccountOutcome.PLATFORM_FAILED),
    }
)

MAXIMUM_ATTEMPTS: Final = 8
"""Tries of a slice that count, before it is given up."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure, fit to be shown: it holds no secret and no raw answer.

    Attributes:
        error_class: What kind it was.
        message: What happened and what to do, for a person.
        platform_code: The platform's own code, such as `17/2446079`; empty where it gave none.
        platform_request_id: The platform's id of the call, for its support.
        retry_after_seconds: How long the platform asks to wait; None where it does not say.
        fewer_days: Whether it is of some of the days only: several are read again in halves.
        account_changed: Whether the account is no longer what is known of it, so that the
            connection has to be verified before it is read again.
    """

    error_class: ErrorClass
    message: str
    platform_code: str = ""
    platform_request_id: str = ""
    retry_after_seconds: float | None = None
    fewer_days: bool = False
    account_changed: bool = False

    @property
    def disposition(self) -> Disposition:
        """What follows from it."""
        return DISPOSITIONS[self.error_class]


class ReadingError(Exception):
    """A reading, or a part of it, did not work out."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.error_class}: {failure.message}")
        self.failure: Final = failure


class NotReadyError(Exception):
    """Nothing is wrong, and there is nothing to read yet: a limit is reached, or a job runs.

    Attributes:
        seconds: When to ask again.
        reason: What is waited for, for a person.
        quota: Whether it is a limit that is waited for.
    """

    def __init__(self, reason: str, *, seconds: float, quota: bool = False) -> None:
        super().__init__(f"{reason}; again in {seconds:.0f} s")
        self.reason: Final = reason
        self.seconds: Final = seconds
        self.quota: Final = quota


def account_changed(account_id: str, how: str) -> Failure:
    """Return that an account is no longer what is known of it, which a verification sets right.

    Args:
        account_id: Which.
        how: What has changed, as a clause.
    """
    return Failure(
        ErrorClass.INVALID_DATA,
        f"Account {account_id} has changed at the platform: {how}. What was stored stays. The"
        " connection is verified by itself within minutes, and the next run reads these days anew.",
        account_changed=True,
    )


def outcome_of(
    given_up: Collection[ErrorClass],
    *,
    objects_failed: bool,
    rows_refused: bool,
    waits_for_quota: bool,
    committed: bool,
) -> AccountOutcome | None:
    """Return the outcome of an account from its slices; None as long as none of them says one.

    Args:
        given_up: Classes of the failures of slices of numbers that were given up.
        objects_failed: Whether its objects could not be listed.
        rows_refused: Whether rows of a slice that was committed were refused.
        waits_for_quota: Whether a slice waits for a limit.
        committed: Whether any slice of numbers was committed.
    """
    for error_class, disposition in DISPOSITIONS.items():
        if error_class in given_up and disposition.scope is not Scope.SLICE:
            return disposition.outcome
    if given_up:
        return AccountOutcome.PARTIAL if committed else AccountOutcome.PLATFORM_FAILED
    if objects_failed or rows_refused:
        return AccountOutcome.PARTIAL
    if waits_for_quota:
        return AccountOutcome.QUOTA_PARKED
    return AccountOutcome.OK if committed else None
