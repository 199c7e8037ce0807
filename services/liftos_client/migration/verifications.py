"""Whether both sides are equal, and what to do where they are not."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from liftos.migration.v1 import migration_service_pb2 as pb
from liftos.migration.v1.verification_pb2 import (
    CheckKind,
    Difference,
    Verification,
    VerificationTier,
)
from liftos_client.arguments import chosen_request_id, enum_value, text_list
from liftos_client.migration.base import MigrationCalls
from liftos_client.pages import Pages

if TYPE_CHECKING:
    Tier: TypeAlias = VerificationTier.ValueType | str
    Kind: TypeAlias = CheckKind.ValueType | str
else:
    # The generated code names these for type checkers only.
    Tier = int | str
    Kind = int | str


class VerificationMethods(MigrationCalls):
    """Methods about verifications and differences."""

    async def verify(
        self,
        migration: str,
        *,
        tier: Tier = "UNSPECIFIED",
        incremental: bool = False,
        tables: Sequence[str] = (),
        checks: Iterable[Kind] = (),
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> Verification:
        """Begin to compare both sides; `get_verification` follows it.

        Args:
            migration: What to verify.
            tier: "VALUE" or "EXACT", which is the default.
            incremental: Only chunks that were touched since the last verification.
            tables: Only these, as schema.table; none means all.
            checks: Only these; none means all.
            request_id: UUID; by default a new one.
            timeout_seconds: Deadline.

        Raises:
            StateTransitionError: Nothing was copied yet.
        """
        request = pb.VerifyRequest(
            name=self._migration_name(migration),
            tier=enum_value(VerificationTier, tier, field="tier"),
            incremental=incremental,
            tables=text_list(tables, field="tables"),
            checks=[enum_value(CheckKind, check, field="checks") for check in checks],
            request_id=chosen_request_id(request_id),
        )
        return (await self._calls.unary(self._stub.Verify, request, timeout_seconds)).verification

    async def get_verification(
        self, name: str, *, timeout_seconds: float | None = None
    ) -> Verification:
        """Read one verification by its whole name.

        Raises:
            NotFoundError: There is none.
        """
        request = pb.GetVerificationRequest(name=name)
        answer = await self._calls.unary(self._stub.GetVerification, request, timeout_seconds)
        return answer.verification

    def list_verifications(
        self,
        migration: str,
        *,
        page_size: int = 0,
        page_token: str = "",
        timeout_seconds: float | None = None,
    ) -> Pages[Verification, pb.ListVerificationsResponse]:
        """List the verifications of a migration, newest first, without their entities."""
        return self._pages(
            self._stub.ListVerifications,
            pb.ListVerificationsRequest(
                parent=self._migration_name(migration), page_size=page_size
            ),
            lambda page: page.verifications,
            page_token=page_token,
            timeout_seconds=timeout_seconds,
        )

    def list_differences(
        self,
        verification: str,
        *,
        filter: str = "",  # noqa: A002  # the contract's word
        page_size: int = 0,
        page_token: str = "",
        timeout_seconds: float | None = None,
    ) -> Pages[Difference, pb.ListDifferencesResponse]:
        """List the rows that a verification, by its whole name, found different.

        By table and key; the filter is over table, kind, cause.
        """
        return self._pages(
            self._stub.ListDifferences,
            pb.ListDifferencesRequest(parent=verification, filter=filter, page_size=page_size),
            lambda page: page.differences,
            page_token=page_token,
            timeout_seconds=timeout_seconds,
        )

    async def repair(
        self,
        migration: str,
        verification: str,
        *,
        tables: Sequence[str] = (),
        dry_run: bool = False,
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> pb.RepairResponse:
        """Copy differing rows again and verify them by a fresh pass.

        Args:
            migration: Whose.
            verification: Its differences, by name or id.
            tables: Only these, as schema.table; none means all.
            dry_run: Only count.
            request_id: UUID; by default a new one.
            timeout_seconds: Deadline.

        Raises:
            NotFoundError: There is no such verification.
            StateTransitionError: The migration's state does not allow it.
        """
        request = pb.RepairRequest(
            name=self._migration_name(migration),
            verification=self._part_name(migration, "verifications", verification),
            tables=text_list(tables, field="tables"),
            dry_run=dry_run,
            request_id=chosen_request_id(request_id),
        )
        return await self._calls.unary(self._stub.Repair, request, timeout_seconds)
