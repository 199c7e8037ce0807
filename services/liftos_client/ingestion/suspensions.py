"""Suspensions: keep runs from starting or going on."""

from liftos.ingestion.v1 import ingestion_service_pb2 as pb
from liftos.ingestion.v1.alert_pb2 import Suspension, SuspensionScope
from liftos_client.arguments import chosen_request_id
from liftos_client.ingestion.base import IngestionCalls
from liftos_client.pages import Pages


class SuspensionMethods(IngestionCalls):
    """Methods about suspensions."""

    async def suspend_ingestion(
        self,
        reason: str,
        *,
        platform: str = "",
        connection: str = "",
        account_id: str = "",
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> Suspension:
        """Keep runs of a scope from starting or going on; without a scope, of all.

        When it returns, no write of theirs is under way any more.

        Args:
            reason: Shown wherever a run waits.
            platform: Only this platform.
            connection: Only this connection.
            account_id: Only this account; needs platform or connection.
            request_id: UUID; by default a new one.
            timeout_seconds: Deadline.
        """
        request = pb.SuspendIngestionRequest(
            parent=self._parent,
            scope=SuspensionScope(
                platform=platform,
                connection=self._connection_name(connection),
                account_id=account_id,
            ),
            reason=reason,
            request_id=chosen_request_id(request_id),
        )
        answer = await self._calls.unary(self._stub.SuspendIngestion, request, timeout_seconds)
        return answer.suspension

    async def resume_ingestion(
        self,
        name: str,
        *,
        reason: str = "",
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> Suspension:
        """Lift a suspension; runs that waited go on.

        Raises:
            NotFoundError: There is none.
        """
        request = pb.ResumeIngestionRequest(
            name=self._name("suspensions", name),
            reason=reason,
            request_id=chosen_request_id(request_id),
        )
        answer = await self._calls.unary(self._stub.ResumeIngestion, request, timeout_seconds)
        return answer.suspension

    def list_suspensions(
        self,
        *,
        include_ended: bool = False,
        page_size: int = 0,
        page_token: str = "",
        timeout_seconds: float | None = None,
    ) -> Pages[Suspension, pb.ListSuspensionsResponse]:
        """List suspensions, those that hold first; also those that were lifted, where asked."""
        return self._pages(
            self._stub.ListSuspensions,
            pb.ListSuspensionsRequest(
                parent=self._parent, include_ended=include_ended, page_size=page_size
            ),
            lambda page: page.suspensions,
            page_token=page_token,
            timeout_seconds=timeout_seconds,
        )
