"""What reading a long range would take, worked out before anybody starts it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from liftos_ingestion.connection_ports import CommittedDays, ConnectionReader
from liftos_ingestion.domain.windows import Days
from liftos_ingestion.run_ports import OBJECTS, RunKind, SlicePlan
from liftos_ingestion.run_view_ports import RunHistory
from liftos_ingestion.source_ports import Capabilities, PlatformSource, SourceCatalog
from liftos_ingestion.usecases.planning import Planning, RunRequest
from liftos_ingestion.usecases.runs import check_days
from liftos_kit.core.clock import Clock


@dataclass(frozen=True, slots=True)
class BackfillWindow:
    """One piece of a backfill.

    Attributes:
        account_id, level: What is read.
        date_basis: What its days stand for.
        days: Its days.
        call_count: Calls to the platform, job polls apart, at least; what the windows of other
            levels ask for too counts for the first of them.
        row_count: Rows that are expected, from what the account reported lately; 0 if unknown.
        committed: Whether all its days are final and committed, so that a run leaves them out.
    """

    account_id: str
    level: str
    date_basis: str
    days: Days
    call_count: int
    row_count: int
    committed: bool


@dataclass(frozen=True, slots=True)
class BackfillPlan:
    """What a backfill would take.

    Attributes:
        windows: In the order in which they would be read.
        call_count: Calls to the platform: those of windows that are not committed, of their
            accounts, and of the lists of objects.
        seconds: How long it takes within the platform's limits.
        end_time: When it would end if it started now.
        caveats: What cannot be had.
    """

    windows: Sequence[BackfillWindow]
    call_count: int
    seconds: float
    end_time: datetime
    caveats: Sequence[str]


class Backfills:
    """Plans backfills.

    Args:
        connections: What there is to read.
        history: What was read lately.
        planning: Cuts runs into slices.
        catalog: What can be read.
        clock: Now.
    """

    def __init__(
        self,
        connections: ConnectionReader,
        history: RunHistory,
        planning: Planning,
        catalog: SourceCatalog,
        clock: Clock,
    ) -> None:
        self._connections = connections
        self._history = history
        self._planning = planning
        self._catalog = catalog
        self._clock = clock

    async def plan(
        self,
        org: str,
        connection: str,
        days: Days,
        *,
        account_ids: tuple[str, ...],
        levels: tuple[str, ...],
    ) -> BackfillPlan:
        """Return what a backfill would take; nothing is kept.

        Raises:
            NotFoundError: There is no such connection.
            StateTransitionError: It cannot be used.
            InvalidFieldsError: What was asked for cannot be had.
        """
        check_days(days)
        request = RunRequest(
            kind=RunKind.BACKFILL,
            connection=connection,
            days=days,
            account_ids=account_ids,
            levels=levels,
            force=True,
        )
        whole = await self._planning.plan(org, request)
        source = await self._catalog.source(org, whole.platform)
        committed = await self._connections.committed_days(
            org, whole.platform, list(whole.account_ids)
        )
        daily = await self._history.rows_a_day(org, whole.platform)
        calls = PlannedCalls(source.capabilities)
        windows = []
        numbers = [plan for plan in whole.slices if plan.level != OBJECTS]
        for plan in sorted(numbers, key=lambda it: it.end_date, reverse=True):
            lane = (plan.account_id, plan.level, plan.attribution_key, plan.date_basis)
            final = frozenset(committed[lane].final) if lane in committed else frozenset()
            expected = round(daily.get(lane, 0.0) * len(_days(plan)))
            done = all(day in final for day in _every(_days(plan)))
            windows.append(
                BackfillWindow(
                    account_id=plan.account_id,
                    level=plan.level,
                    date_basis=plan.date_basis,
                    days=_days(plan),
                    call_count=0 if done else calls.add(plan, expected),
                    row_count=expected,
                    committed=done,
                )
            )
        for plan in whole.slices:
            before = committed.get((plan.account_id, OBJECTS, "", ""), CommittedDays())
            if plan.level == OBJECTS and plan.start_date not in before.final:
                calls.add_objects(plan)
        seconds = calls.total * source.capabilities.seconds_per_call
        return BackfillPlan(
            windows=windows,
            call_count=calls.total,
            seconds=seconds,
            end_time=self._clock.now() + timedelta(seconds=seconds),
            caveats=_caveats(source, days, whole.start_date, self._clock.now().date()),
        )


class PlannedCalls:
    """The calls that slices of one run take, at least.

    Args:
        capabilities: Of what is read.
    """

    def __init__(self, capabilities: Capabilities) -> None:
        self._capabilities = capabilities
        self._accounts: set[str] = set()
        self._asked: set[tuple[str, date, date, str]] = set()
        self._listed = 0
        self._read = 0

    @property
    def total(self) -> int:
        """All calls."""
        accounts = len(self._accounts) * self._capabilities.account_calls
        return accounts + self._read + self._listed * self._capabilities.object_calls

    def add(self, plan: SlicePlan, row_count: int) -> int:
        """Add a slice of so many rows, and return the calls that it adds by itself."""
        self._accounts.add(plan.account_id)
        shared = self._capabilities.shared_calls.get((plan.level, plan.date_basis))
        if shared is None:
            count = self._capabilities.calls(row_count)
        else:
            scopes = {(plan.account_id, plan.start_date, plan.end_date, it): it for it in shared}
            count = sum(shared[it] for scope, it in scopes.items() if scope not in self._asked)
            self._asked.update(scopes)
        self._read += count
        return count

    def add_objects(self, plan: SlicePlan) -> None:
        """Add the lists of an account's objects."""
        self._accounts.add(plan.account_id)
        self._listed += 1


def _days(plan: SlicePlan) -> Days:
    return Days(plan.start_date, plan.end_date)


def _every(days: Days) -> Sequence[date]:
    return [days.start + timedelta(days=number) for number in range(len(days))]


def _caveats(source: PlatformSource, asked: Days, first: date, today: date) -> Sequence[str]:
    caveats = []
    if first > asked.start:
        caveats.append(
            f"{source.display_name} answers {source.capabilities.retention_days} days back: "
            f"nothing can be had before {first.isoformat()}."
        )
    if asked.end > today:
        caveats.append("Days that have not begun are left out.")
    return caveats
