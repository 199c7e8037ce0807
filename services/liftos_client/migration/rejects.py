"""Rows that could not be taken in."""

from collections.abc import Sequence

from liftos.migration.v1 import migration_service_pb2 as pb
from liftos.migration.v1.verification_pb2 import Reject
from liftos_client.arguments import chosen_request_id, text_list
from liftos_client.migration.base import MigrationCalls
from liftos_client.pages import Pages


class RejectMethods(MigrationCalls):
    """Methods about refused rows."""

    def list_rejects(
        self,
        migration: str,
        *,
        filter: str = "",  # noqa: A002  # the contract's word
        page_size: int = 0,
        page_token: str = "",
        timeout_seconds: float | None = None,
    ) -> Pages[Reject, pb.ListRejectsResponse]:
        """List refused rows by table and key; filter over table, phase, state."""
        return self._pages(
            self._stub.ListRejects,
            pb.ListRejectsRequest(
                parent=self._migration_name(migration), filter=filter, page_size=page_size
            ),
            lambda page: page.rejects,
            page_token=page_token,
            timeout_seconds=timeout_seconds,
        )

    async def resolve_rejects(
        self,
        migration: str,
        *,
        names: Sequence[str] = (),
        filter: str = "",  # noqa: A002
        reason: str = "",
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> pb.ResolveRejectsResponse:
        """Try refused rows again, as the source has them by now: names or ids, or a filter.

        Args:
            migration: Whose.
            names: These rows, at most 1,000.
            filter: Over table, phase, state, in place of names.
            reason: Kept with each row.
            request_id: UUID; by default a new one.
            timeout_seconds: Deadline.

        Raises:
            StateTransitionError: One of them is not open.
        """
        request = pb.ResolveRejectsRequest(
            parent=self._migration_name(migration),
            names=self._reject_names(migration, names),
            filter=filter,
            reason=reason,
            request_id=chosen_request_id(request_id),
        )
        return await self._calls.unary(self._stub.ResolveRejects, request, timeout_seconds)

    async def waive_rejects(
        self,
        migration: str,
        reason: str,
        *,
        names: Sequence[str] = (),
        filter: str = "",  # noqa: A002
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> int:
        """Give refused rows up: names or ids, or a filter; return how many.

        Raises:
            StateTransitionError: One of them is not open.
        """
        request = pb.WaiveRejectsRequest(
            parent=self._migration_name(migration),
            names=self._reject_names(migration, names),
            filter=filter,
            reason=reason,
            request_id=chosen_request_id(request_id),
        )
        answer = await self._calls.unary(self._stub.WaiveRejects, request, timeout_seconds)
        return answer.waived_count

    def _reject_names(self, migration: str, names: Sequence[str]) -> list[str]:
        return [
            self._part_name(migration, "rejects", name) for name in text_list(names, field="names")
        ]
