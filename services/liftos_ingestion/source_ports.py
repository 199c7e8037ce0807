"""What a source is: something that can be read day by day.

A source says what it can do and is stateless, but for what it may forget at any moment: an access
token until it ends, by which way an account was reached, or what slices of a run share. `open`
gives a session with a credential; a session lists accounts and objects and reads one scope. It
never writes, never sleeps for a limit, and keeps nothing: what has to be waited for is raised as
`NotReadyError`, what went wrong as `ReadingError` with a class
(`liftos_ingestion.domain.failures`), and a platform's own job is yielded so that the caller keeps
it and gives it back after a crash.
"""

import hashlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final, Protocol, TypeAlias, final

from liftos_ingestion.domain.rate_limits import Limit, Observation
from liftos_kit.secrets.secret import Secret
from liftos_mapping.mapping import PlatformMapping
from liftos_mapping.transform import TransformContext

_ROW_BYTES: Final = 200
"""What a row is taken for at least; not every page has the bytes that its rows came in."""

JsonObject: TypeAlias = Mapping[str, object]
KeepRenewed: TypeAlias = Callable[[Mapping[str, Secret], datetime | None], Awaitable[bool]]
"""Keeps renewed fields and when they expire; answers whether they are kept."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a source can do.

    Attributes:
        levels: Levels that it reports, from the whole to the parts.
        date_bases: What its dates can stand for, the usual one first.
        restatement_days: How many days back the platform still changes its numbers.
        retention_days: How many days back it answers; 0 is without end.
        days_per_read: How many days one reading takes, at most.
        totals: Whether the level ACCOUNT is the platform's own total of the levels below.
        object_levels: Levels whose objects it lists; runs ask for none where there are none.
        api_version: Version that is asked for; empty where there are none.
        api_version_end_date: First day on which that version may be gone; None where unknown.
        rows_per_call: Rows that one call answers, at most.
        adding_up_levels: Levels whose rows of a day add up to the row of level ACCOUNT.
        setup_calls: Calls of a reading beside those for its rows, job polls apart.
        account_calls: Calls of a run for an account beside those of its readings.
        object_calls: Calls that list the objects of an account, at least.
        shared_calls: By level and date basis, what a reading asks for that others of the same days
            ask for too, and in how many calls: a run asks once. It stands for all of its calls.
        seconds_per_call: How far apart calls are on the whole, within the platform's limits.
    """

    levels: tuple[str, ...]
    date_bases: tuple[str, ...]
    restatement_days: int
    retention_days: int
    days_per_read: int
    totals: bool
    object_levels: tuple[str, ...] = ()
    api_version: str = ""
    api_version_end_date: date | None = None
    rows_per_call: int = 10_000
    adding_up_levels: tuple[str, ...] = ()
    setup_calls: int = 0
    account_calls: int = 0
    object_calls: int = 0
    shared_calls: Mapping[tuple[str, str], Mapping[str, int]] = field(default_factory=dict)
    seconds_per_call: float = 1.0

    def calls(self, row_count: int) -> int:
        """Return how many calls a reading of so many rows takes, at least."""
        return self.setup_calls + max(1, -(-row_count // self.rows_per_call))


@dataclass(frozen=True, slots=True)
class PlatformAccount:
    """An account as the platform describes it.

    Attributes:
        account_id: The platform's id.
        display_name: Its name.
        time_zone: IANA name of the zone that bounds its days.
        currency_code: ISO 4217.
        closed: Whether the platform says that it is closed.
    """

    account_id: str
    display_name: str
    time_zone: str
    currency_code: str
    closed: bool = False


@final
class Credential(Mapping[str, Secret]):
    """The fields of a credential, by name, and the place where they are kept.

    Most sources only read it. One whose platform gives a credential in place of another (a
    long-lived token for a short-lived one, a refresh token that works once) gives it to `renew`
    before it uses it. What lives for an hour, such as an access token that a refresh token buys, is
    not renewed: the source holds it.

    Args:
        fields: Its fields.
        keep: Keeps renewed ones; nothing is kept without it.
    """

    __slots__ = ("_fields", "_keep")

    def __init__(self, fields: Mapping[str, Secret], keep: KeepRenewed | None = None) -> None:
        self._fields = dict(fields)
        self._keep = keep

    async def renew(
        self, fields: Mapping[str, Secret], *, expire_time: datetime | None = None
    ) -> bool:
        """Put other fields in the place of all that there are, for this session and later ones.

        Args:
            fields: All fields, also those that stay as they were.
            expire_time: When the platform stops taking them; None where it does not say.

        Returns:
            Whether later sessions will have them. They will not where the credential is a
            reference, which only its operator can change, or where somebody has set another one
            meanwhile. This session goes on with them all the same.

        Raises:
            StoreUnavailableError: They could not be kept; this session has them nevertheless.
        """
        self._fields = dict(fields)
        return self._keep is not None and await self._keep(self._fields, expire_time)

    def __getitem__(self, name: str) -> Secret:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"Credential({', '.join(self._fields)})"


@dataclass(frozen=True, slots=True)
class Verified:
    """What a platform says of a credential that it takes.

    Attributes:
        accounts: What can be read with it.
        granted_scopes, missing_scopes: Permissions, in the platform's words.
        expire_time: When it stops being taken; None where the platform does not say.
    """

    accounts: Sequence[PlatformAccount]
    granted_scopes: tuple[str, ...] = ()
    missing_scopes: tuple[str, ...] = ()
    expire_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class PlatformObject:
    """A campaign, ad group, ad, flow or message, also one that is archived or deleted.

    Attributes:
        level: CAMPAIGN, AD_GROUP, AD, FLOW or MESSAGE.
        object_id: The platform's id.
        display_name: Its name now.
        state: The platform's own word, such as `PAUSED`.
        parent_id: Of the object that it belongs to; empty for one right below the account.
    """

    level: str
    object_id: str
    display_name: str
    state: str
    parent_id: str = ""


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """What one reading asks for: what it answers replaces all that is stored of this scope.

    Attributes:
        account: Whose numbers.
        level: Of which objects.
        date_basis: What dates stand for.
        attribution_key: How conversions are credited; empty is the platform's default.
        start_date, end_date: Days in the account's zone, both included.
    """

    account: PlatformAccount
    level: str
    date_basis: str
    attribution_key: str
    start_date: date
    end_date: date

    @property
    def day_count(self) -> int:
        """How many days it asks for."""
        return (self.end_date - self.start_date).days + 1


def query_hash(*questions: object) -> str:
    """Return the digest by which a question is recognised that is put again.

    Args:
        questions: Exactly what a platform is asked, as what JSON can hold: text, or parameters
            without secrets and without places of pages. All that one reading asks, in order.

    Returns:
        SHA-256 of the JSON with sorted keys, as 64 hex digits.
    """
    text = json.dumps(questions, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Page:
    """Rows as the platform gave them.

    Attributes:
        rows: Objects by the names of the platform.
        context: What the rows have in common and do not say.
        raw: The bytes that they came in, for the record.
        request_id: The platform's id of the call; that of the first page is kept with the slice.
        lacks: Fields that the platform has and cannot give of any of these rows. The rows land
            without them, and each is kept as a dead letter that says so.
        query_hash: Of what the platform is asked in this reading, the same on all its pages; see
            `query_hash`. A reading without rows has a page without rows to say it.
    """

    rows: Sequence[JsonObject]
    context: TransformContext
    raw: bytes = b""
    request_id: str = ""
    lacks: tuple[str, ...] = ()
    query_hash: str = ""

    @property
    def size_bytes(self) -> int:
        """What it is taken for: the bytes that it came in, where it has them and they are many."""
        return max(len(self.raw), _ROW_BYTES * len(self.rows))


@dataclass(frozen=True, slots=True)
class PlatformJob:
    """A job that runs at the platform for a reading, such as a report.

    Attributes:
        job_id: The platform's id.
        state: What else the source wants back after a crash, as JSON.
    """

    job_id: str
    state: Mapping[str, object] = field(default_factory=dict)


class CallGate(Protocol):
    """Leave to call a platform. All workers share its limits.

    A source asks before each call, and tells afterwards what the platform said of its limits.
    """

    @property
    def org(self) -> str:
        """Whose limits they are, for the keys of limits."""
        ...

    @property
    def run(self) -> str:
        """The run that is read, whose slices may share answers; empty where there is none."""
        ...

    async def enter(self, limits: Sequence[Limit], *, is_poll: bool = False) -> None:
        """Ask for leave for one call; leased units are kept until the reading ends.

        Args:
            limits: All that the call falls under.
            is_poll: Whether the call only asks how far the platform's own job is.

        Raises:
            NotReadyError: A limit is reached; the call must not be sent.
        """
        ...

    async def observe(self, observations: Sequence[Observation]) -> None:
        """Tell what the platform said of its limits, in an answer or with a failure."""
        ...

    def received(self, size_bytes: int) -> None:
        """Count bytes as they came over the wire."""
        ...

    def in_hand(self, size_bytes: int) -> AbstractAsyncContextManager[None]:
        """Parse an answer and yield its pages inside, once the worker has room for it.

        Only for long answers, which take many times their size once they are parsed: they are
        taken in a few at a time. Pages that are yielded outside are bounded without it.

        Args:
            size_bytes: Of the answer as it came.
        """
        ...


class SourceSession(Protocol):
    """A source with a credential."""

    async def verify(self) -> Verified:
        """Sign in, and say what the credential may read.

        Raises:
            ReadingError: Class CREDENTIALS where the platform does not take it.
        """
        ...

    def objects(self, account: PlatformAccount) -> AsyncGenerator[PlatformObject, None]:
        """Yield every object of an account with its name and state, deleted ones too.

        Whoever iterates closes it, also where it ends early: `async with aclosing(...)`.
        """
        ...

    def read(
        self, request: ReadRequest, job: PlatformJob | None
    ) -> AsyncGenerator[Page | PlatformJob, None]:
        """Yield all rows of a scope, in pages.

        A job that the platform was given is yielded before anything is waited for; the caller
        stores it and gives it back in the next call for the same request. Rows that were yielded
        count only once the iteration has ended without an error. Whoever iterates closes it, also
        where it ends early: `async with aclosing(...)`.

        Raises:
            ReadingError: The platform did not answer. TOO_LARGE: ask for fewer days.
            NotReadyError: A limit is reached, or the job still runs.
        """
        ...


class PlatformSource(Protocol):
    """Something that can be read; see the module.

    Attributes:
        platform: The word that its entries carry.
        display_name: Shown to people.
        capabilities: What it can do.
        credential_schema: JSON Schema of the fields of its credential.
        settings_schema: JSON Schema of the settings of its connections.
        mapping: How its rows become entries.
    """

    platform: str
    display_name: str
    capabilities: Capabilities
    credential_schema: JsonObject
    settings_schema: JsonObject
    mapping: PlatformMapping

    def open(
        self, credential: Credential, settings: JsonObject, gate: CallGate
    ) -> AbstractAsyncContextManager[SourceSession]:
        """Begin a session. A source that renews nothing may take any mapping of fields.

        Raises:
            ReadingError: A field of the credential is missing, or a token cannot be renewed.
        """
        ...


class SourceCatalog(Protocol):
    """All that an org can read: what is always there, and its own."""

    async def source(self, org: str, platform: str) -> PlatformSource:
        """Return what reads a platform.

        Raises:
            NotFoundError: The org has no such source.
        """
        ...
