"""What a run reads: accounts, levels and days, cut into slices that each replace a whole."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, TypeAlias
from zoneinfo import ZoneInfo

from liftos_ingestion.connection_ports import (
    CommittedDays,
    ConnectionReader,
    ConnectionState,
    StoredConnection,
)
from liftos_ingestion.domain.names import connection_name
from liftos_ingestion.domain.rate_limits import Priority
from liftos_ingestion.domain.windows import Days, clamp_to_retention, windows, without
from liftos_ingestion.run_ports import OBJECTS, NewRun, RunKind, SlicePlan
from liftos_ingestion.source_ports import PlatformAccount, PlatformSource, SourceCatalog
from liftos_kit.core.clock import Clock
from liftos_kit.core.errors import InvalidFieldsError, StateTransitionError

_NEWEST_DAYS: Final = 3
"""Days that go before all others: what people look at first."""

_Committed: TypeAlias = Mapping[tuple[str, str, str, str], CommittedDays]


@dataclass(frozen=True, slots=True)
class _LanePlan:
    """What is read of an account, level and date basis, and how many days are not."""

    slices: Sequence[SlicePlan]
    final_day_count: int
    unanswered_day_count: int


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What somebody wants to be read.

    Attributes:
        kind: Why.
        connection: Its id.
        days: Which days; None is the platform's restatement window up to today, or
            `lookback_days`.
        account_ids: Only these; none means all.
        levels: Only these; none means all that the source reports.
        force: Whether days are read again that are final.
        subject: Who asks.
        lookback_days: Days before today that are read; 0 follows the restatement window.
        schedule: Its schedule; empty where it is started by hand.
        fire_time: The moment of the schedule that it is for.
    """

    kind: RunKind
    connection: str
    days: Days | None
    account_ids: tuple[str, ...] = ()
    levels: tuple[str, ...] = ()
    force: bool = False
    subject: str = ""
    lookback_days: int = 0
    schedule: str = ""
    fire_time: datetime | None = None


class Planning:
    """Plans runs.

    Args:
        connections: What there is to read.
        catalog: What can be read.
        clock: Now.
    """

    def __init__(self, connections: ConnectionReader, catalog: SourceCatalog, clock: Clock) -> None:
        self._connections = connections
        self._catalog = catalog
        self._clock = clock

    async def plan(self, org: str, request: RunRequest) -> NewRun:
        """Return the run that answers a request.

        Raises:
            NotFoundError: There is no such connection.
            StateTransitionError: It cannot be used.
            InvalidFieldsError: It has not such an account, or its source no such level or none of
                the days.
        """
        connection = await self._connections.get(org, request.connection)
        if connection.state is not ConnectionState.ACTIVE:
            raise StateTransitionError(
                connection_name(org, request.connection),
                state=connection.state.name,
                allowed_states=[ConnectionState.ACTIVE.name],
            )
        source = await self._catalog.source(org, connection.platform)
        accounts = _accounts(connection, request.account_ids)
        levels = _levels(source, request.levels)
        self._require_answered(source, accounts, request.days)
        committed = await self._connections.committed_days(
            org, connection.platform, [account.account_id for account in accounts]
        )
        lanes = [
            lane
            for account in accounts
            for lane in self._lanes(source, account, levels, request, committed)
        ]
        slices = [plan for lane in lanes for plan in lane.slices]
        objects = [
            plan
            for account in accounts
            for plan in self._objects(source, account, request, committed)
        ]
        days = self._range(source, accounts, request)
        return NewRun(
            kind=request.kind,
            connection=request.connection,
            platform=connection.platform,
            start_date=min((plan.start_date for plan in slices), default=days.start),
            end_date=max((plan.end_date for plan in slices), default=days.end),
            levels=levels,
            account_ids=tuple(account.account_id for account in accounts),
            force=request.force,
            slices=[*slices, *objects],
            subject=request.subject,
            schedule=request.schedule,
            fire_time=request.fire_time,
            final_day_count=sum(lane.final_day_count for lane in lanes),
            unanswered_day_count=sum(lane.unanswered_day_count for lane in lanes),
        )

    def today(self, account: PlatformAccount) -> date:
        """Return the date in the account's time zone."""
        return self._clock.now().astimezone(ZoneInfo(account.time_zone)).date()

    def _require_answered(
        self, source: PlatformSource, accounts: Sequence[PlatformAccount], days: Days | None
    ) -> None:
        """Refuse days of which the platform answers none, for no account.

        Raises:
            InvalidFieldsError: They have not begun, or are too old.
        """
        if days is None:
            return
        retention_days = source.capabilities.retention_days
        todays = [self.today(account) for account in accounts]
        if any(clamp_to_retention(days, today=it, retention_days=retention_days) for it in todays):
            return
        newest = max(todays)
        span = f"up to {newest}"
        if retention_days:
            span = f"from {newest - timedelta(days=retention_days - 1)} to {newest}"
        raise InvalidFieldsError.of(
            "date_range",
            f"has no day that can be read; {source.platform} answers days {span}",
            rule="date_range.answered",
        )

    def _range(
        self, source: PlatformSource, accounts: Sequence[PlatformAccount], request: RunRequest
    ) -> Days:
        if request.days is not None:
            return request.days
        today = max(self.today(account) for account in accounts)
        return _window(source, today, request)

    def _lanes(
        self,
        source: PlatformSource,
        account: PlatformAccount,
        levels: Sequence[str],
        request: RunRequest,
        committed: _Committed,
    ) -> Iterator[_LanePlan]:
        today = self.today(account)
        for level in levels:
            for basis in source.capabilities.date_bases:
                before = committed.get((account.account_id, level, "", basis), CommittedDays())
                answered = clamp_to_retention(
                    request.days or _unsettled(source, today, request, before),
                    today=today,
                    retention_days=source.capabilities.retention_days,
                )
                answered_count = len(answered) if answered else 0
                settled = () if request.force else before.final
                left = without(answered, (Days(d, d) for d in settled)) if answered else ()
                yield _LanePlan(
                    [
                        SlicePlan(
                            account_id=account.account_id,
                            level=level,
                            attribution_key="",
                            date_basis=basis,
                            start_date=window.start,
                            end_date=window.end,
                            priority=_priority(request.kind, window, today),
                        )
                        for days in left
                        for window in windows(days, days_per_read=source.capabilities.days_per_read)
                    ],
                    final_day_count=answered_count - sum(map(len, left)),
                    # A window that nobody chose is cut to what the platform answers in silence.
                    unanswered_day_count=len(request.days) - answered_count if request.days else 0,
                )

    def _objects(
        self,
        source: PlatformSource,
        account: PlatformAccount,
        request: RunRequest,
        committed: _Committed,
    ) -> Iterator[SlicePlan]:
        """Yield the reading of an account's objects, where none has been done today."""
        today = self.today(account)
        before = committed.get((account.account_id, OBJECTS, "", ""), CommittedDays())
        if source.capabilities.object_levels and (request.force or today not in before.final):
            backfill = request.kind is RunKind.BACKFILL
            yield SlicePlan(
                account_id=account.account_id,
                level=OBJECTS,
                attribution_key="",
                date_basis="",
                start_date=today,
                end_date=today,
                priority=Priority.BACKFILL if backfill else Priority.RESTATED,
            )


def _window(source: PlatformSource, today: date, request: RunRequest) -> Days:
    # One day more than is restated: the day that has just become final is read as such once.
    back = request.lookback_days or source.capabilities.restatement_days + 1
    return Days(today - timedelta(days=back), today)


def _unsettled(
    source: PlatformSource, today: date, request: RunRequest, before: CommittedDays
) -> Days:
    """Return the window, and with it what an outage kept from becoming final in its time."""
    window = _window(source, today, request)
    if request.lookback_days or before.open_since is None:
        return window
    return Days(min(window.start, before.open_since), window.end)


def _priority(kind: RunKind, window: Days, today: date) -> Priority:
    if kind is RunKind.BACKFILL:
        return Priority.BACKFILL
    newest = window.end > today - timedelta(days=_NEWEST_DAYS)
    return Priority.NEWEST if newest else Priority.RESTATED


def _accounts(
    connection: StoredConnection, account_ids: Sequence[str]
) -> Sequence[PlatformAccount]:
    readable = {
        account.account_id: account.described
        for account in connection.readable_accounts()
        if account.described is not None
    }
    unknown = [account_id for account_id in account_ids if account_id not in readable]
    if unknown:
        raise InvalidFieldsError.of(
            "account_ids",
            f"{unknown[0]} is no account that this connection reads; there are "
            f"{', '.join(sorted(readable)) or 'none'}",
            rule="account",
        )
    chosen = [account for id_, account in readable.items() if not account_ids or id_ in account_ids]
    found = [account for account in chosen if account is not None]
    if not found:
        raise InvalidFieldsError.of(
            "account_ids", "the connection has no account to read; verify it first", rule="account"
        )
    return found


def _levels(source: PlatformSource, levels: Sequence[str]) -> tuple[str, ...]:
    there = source.capabilities.levels
    unknown = [level for level in levels if level not in there]
    if unknown:
        raise InvalidFieldsError.of(
            "levels",
            f"{source.platform} does not report {unknown[0]}; it reports {', '.join(there)}",
            rule="level",
        )
    return tuple(level for level in there if not levels or level in levels)
