"""Runs, their slices, and what they are checked against."""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from liftos.ingestion.v1 import ingestion_service_pb2 as pb
from liftos.ingestion.v1.object_pb2 import PlatformObject
from liftos.ingestion.v1.run_pb2 import Quota, Reconciliation, Run, RunKind, RunSlice
from liftos_client.arguments import (
    Day,
    chosen_request_id,
    enum_value,
    optional_date_range,
    text_list,
)
from liftos_client.ingestion.base import IngestionCalls, Level, level_values
from liftos_client.pages import Pages

if TYPE_CHECKING:
    Kind: TypeAlias = RunKind.ValueType | str
else:
    # The generated code names this type for type checkers only.
    Kind = int | str


class RunMethods(IngestionCalls):
    """Methods about runs."""

    async def start_run(
        self,
        connection: str,
        *,
        kind: Kind = "INCREMENTAL",
        start_date: Day | None = None,
        end_date: Day | None = None,
        account_ids: Sequence[str] = (),
        levels: Iterable[Level] = (),
        force: bool = False,
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> Run:
        """Read a range of days now.

        Args:
            connection: What to read.
            kind: "INCREMENTAL" or "BACKFILL".
            start_date: First day; by default the first that the platform still changes.
            end_date: Last day; given together with the first.
            account_ids: Only these accounts; none means all.
            levels: Only these; none means all that the source reports.
            force: Read days again that are final, and objects that were listed today.
            request_id: UUID; by default a new one.
            timeout_seconds: Deadline.

        Raises:
            NotFoundError: There is no such connection.
            StateTransitionError: It is not active.
        """
        request = pb.StartRunRequest(
            parent=self._connection_name(connection),
            kind=enum_value(RunKind, kind, field="kind"),
            date_range=optional_date_range(start_date, end_date),
            account_ids=text_list(account_ids, field="account_ids"),
            levels=level_values(levels),
            force=force,
            request_id=chosen_request_id(request_id),
        )
        return (await self._calls.unary(self._stub.StartRun, request, timeout_seconds)).run

    async def get_run(self, name: str, *, timeout_seconds: float | None = None) -> Run:
        """Read one run, with how each account went.

        Raises:
            NotFoundError: There is none.
        """
        request = pb.GetRunRequest(name=self._run_name(name))
        return (await self._calls.unary(self._stub.GetRun, request, timeout_seconds)).run

    def list_runs(
        self,
        *,
        filter: str = "",  # noqa: A002  # the contract's word
        page_size: int = 0,
        page_token: str = "",
        timeout_seconds: float | None = None,
    ) -> Pages[Run, pb.ListRunsResponse]:
        """List runs, newest first; filter over kind, state, connection, schedule, create_time."""
        return self._pages(
            self._stub.ListRuns,
            pb.ListRunsRequest(parent=self._parent, filter=filter, page_size=page_size),
            lambda page: page.runs,
            page_token=page_token,
            timeout_seconds=timeout_seconds,
        )

    async def cancel_run(
        self,
        name: str,
        *,
        reason: str = "",
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> Run:
        """Stop a run; committed slices stay.

        Raises:
            StateTransitionError: It has ended.
        """
        request = pb.CancelRunRequest(
            name=self._run_name(name), reason=reason, request_id=chosen_request_id(request_id)
        )
        return (await self._calls.unary(self._stub.CancelRun, request, timeout_seconds)).run

    def watch_run(
        self, name: str, *, timeout_seconds: float | None = None
    ) -> AsyncIterator[pb.WatchRunResponse]:
        """Follow a run: at each change, and at least every 15 s, until it has ended.

        It goes on by itself after a lost connection.

        Args:
            name: The run.
            timeout_seconds: Ends the watch; None lets it run.

        Raises:
            NotFoundError: There is none.
        """
        request = pb.WatchRunRequest(name=self._run_name(name))
        return self._calls.follow(self._stub.WatchRun, request, timeout_seconds)

    def list_slices(
        self,
        run: str,
        *,
        filter: str = "",  # noqa: A002
        page_size: int = 0,
        page_token: str = "",
        timeout_seconds: float | None = None,
    ) -> Pages[RunSlice, pb.ListSlicesResponse]:
        """List the slices of a run; filter over kind, account_id, level, state."""
        return self._pages(
            self._stub.ListSlices,
            pb.ListSlicesRequest(parent=self._run_name(run), filter=filter, page_size=page_size),
            lambda page: page.slices,
            page_token=page_token,
            timeout_seconds=timeout_seconds,
        )

    def list_objects(
        self,
        *,
        filter: str = "",  # noqa: A002
        page_size: int = 0,
        page_token: str = "",
        timeout_seconds: float | None = None,
    ) -> Pages[PlatformObject, pb.ListObjectsResponse]:
        """List campaigns, ad groups, ads, flows and messages with their names and states.

        Archived and deleted ones too, by platform, account, level and id. The filter is over
        platform, account_id, level, object_id, parent_id, display_name, state, update_time.
        """
        return self._pages(
            self._stub.ListObjects,
            pb.ListObjectsRequest(parent=self._parent, filter=filter, page_size=page_size),
            lambda page: page.objects,
            page_token=page_token,
            timeout_seconds=timeout_seconds,
        )

    def list_reconciliations(
        self,
        *,
        filter: str = "",  # noqa: A002
        page_size: int = 0,
        page_token: str = "",
        timeout_seconds: float | None = None,
    ) -> Pages[Reconciliation, pb.ListReconciliationsResponse]:
        """List our sums beside the platforms' own, newest first.

        The filter is over run (its name), platform, account_id, level, date, metric, state.
        """
        return self._pages(
            self._stub.ListReconciliations,
            pb.ListReconciliationsRequest(parent=self._parent, filter=filter, page_size=page_size),
            lambda page: page.reconciliations,
            page_token=page_token,
            timeout_seconds=timeout_seconds,
        )

    async def get_quota(
        self, *, platform: str = "", account_id: str = "", timeout_seconds: float | None = None
    ) -> Sequence[Quota]:
        """Read what is left of the platforms' limits, nearest to its end first."""
        request = pb.GetQuotaRequest(parent=self._parent, platform=platform, account_id=account_id)
        return (await self._calls.unary(self._stub.GetQuota, request, timeout_seconds)).quotas
