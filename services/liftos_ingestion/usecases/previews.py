"""What rows would become with a mapping; nothing is stored."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final
from zoneinfo import ZoneInfo

import pyarrow as pa

from liftos_ingestion.catalog_ports import EntryChecks, ReadMapping
from liftos_ingestion.connection_ports import ConnectionOpener, OpenConnection
from liftos_ingestion.domain.failures import NotReadyError, ReadingError
from liftos_ingestion.domain.names import connection_name
from liftos_ingestion.domain.rate_limits import Priority
from liftos_ingestion.quota_ports import RateGovernor
from liftos_ingestion.run_ports import Refused
from liftos_ingestion.source_ports import (
    JsonObject,
    Page,
    PlatformAccount,
    PlatformJob,
    PlatformSource,
    ReadRequest,
    SourceSession,
)
from liftos_ingestion.usecases.gate import GovernedGate
from liftos_ingestion.usecases.platform_errors import platform_error
from liftos_ingestion.usecases.sources import Catalog
from liftos_kit.core.clock import Clock
from liftos_kit.core.errors import BatchTooLargeError, InvalidFieldsError
from liftos_mapping.engine import TransformContext, TransformResult, evaluate
from liftos_mapping.errors import TransformContextError
from liftos_mapping.mapping import PlatformMapping

MAXIMUM_ROWS: Final = 100
MAXIMUM_ENTRIES: Final = 5_000
"""Entries in an answer; a row that holds many days becomes many entries."""

_PATIENCE_SECONDS: Final = 45.0
_SAMPLED_DAYS: Final = 7


@dataclass(frozen=True, slots=True)
class PreviewRequest:
    """What somebody wants to see.

    Attributes:
        source: Its id.
        mapping: To try; None takes the source's own.
        rows: Raw rows; none takes a sample through the connection.
        connection: Its id; empty for rows that are given.
        account_id: Account to sample, and of rows that do not name it; empty is any.
    """

    source: str
    mapping: JsonObject | None
    rows: Sequence[JsonObject]
    connection: str
    account_id: str


@dataclass(frozen=True, slots=True)
class Preview:
    """Rows and what they become.

    Attributes:
        rows: Raw rows.
        entries: By the columns of an entry.
        source_indexes: For each entry the position of its row.
        errors: Rows, or days of them, that would be refused, by the position of the row.
        unmapped_fields: Fields of the rows that no entry field holds.
    """

    rows: Sequence[JsonObject]
    entries: pa.Table
    source_indexes: Sequence[int]
    errors: Sequence[Refused]
    unmapped_fields: Sequence[str]


class Previews:
    """Shows what rows would become.

    Args:
        catalog: Finds sources.
        opener: Opens connections to sample.
        governor: Limits that all callers of a platform share.
        read_mapping: Reads mappings that are tried.
        memory: Says which entries it would refuse.
        executor: Where rows are mapped.
        clock: Today.
    """

    def __init__(
        self,
        *,
        catalog: Catalog,
        opener: ConnectionOpener,
        governor: RateGovernor,
        read_mapping: ReadMapping,
        memory: EntryChecks,
        executor: Executor,
        clock: Clock,
    ) -> None:
        self._catalog = catalog
        self._opener = opener
        self._governor = governor
        self._read_mapping = read_mapping
        self._memory = memory
        self._executor = executor
        self._clock = clock

    async def preview(self, org: str, request: PreviewRequest) -> Preview:
        """Return what rows would become.

        Raises:
            NotFoundError: There is no such source.
            InvalidFieldsError: The mapping breaks rules, there is nothing to map, or the
                connection cannot be used for it.
            BatchTooLargeError: The rows hold more days than an answer takes.
            CredentialsRejectedError, PlatformRateLimitedError, StoreUnavailableError,
            VerificationFailedError: The platform gave no sample.
        """
        source, mapping, account = await self._tried(org, request)
        rows, context = request.rows, _context_of(source)
        if request.connection:
            opened = await self._open(org, request)
            account = _account(opened, request.account_id)
            if not rows:
                page = await self._sample(org, request, source, opened, account)
                rows, context = page.rows[:MAXIMUM_ROWS], page.context
                if request.source not in self._catalog.built_in:
                    # A session of an org's own source groups rows before it gives them.
                    mapping = mapping.grouped()
        elif not rows:
            raise InvalidFieldsError.of(
                "rows", "must be given where no connection is to be sampled", rule="rows"
            )
        context = _with_account(context, account, request.account_id)
        result = await asyncio.get_running_loop().run_in_executor(
            self._executor, _evaluate, mapping, rows, context
        )
        return await self._checked(org, rows, result)

    async def _tried(
        self, org: str, request: PreviewRequest
    ) -> tuple[PlatformSource, PlatformMapping, PlatformAccount | None]:
        """Return what would read the source, the mapping of its raw rows, and whose they are."""
        built_in = self._catalog.built_in.get(request.source)
        if built_in is not None:
            if request.mapping is None:
                return built_in, built_in.mapping, None
            return built_in, self._read_mapping(request.source, request.mapping), None
        spec = await self._catalog.own(org, request.source)
        if request.mapping is not None:
            spec = replace(spec, mapping=request.mapping)
        source = self._catalog.build(spec)
        named = [it for it in source.accounts if request.account_id in ("", it.account_id)]
        return source, source.raw_mapping, named[0] if len(named) == 1 else None

    async def _open(self, org: str, request: PreviewRequest) -> OpenConnection:
        try:
            opened = await self._opener.open(org, request.connection)
        except ReadingError as error:
            raise InvalidFieldsError.of(
                "connection", error.failure.message, rule="connection"
            ) from error
        if opened.platform != request.source:
            raise InvalidFieldsError.of(
                "connection",
                f"is of {opened.platform}; take one of {request.source}",
                rule="connection.platform",
            )
        return opened

    async def _sample(
        self,
        org: str,
        request: PreviewRequest,
        source: PlatformSource,
        opened: OpenConnection,
        account: PlatformAccount,
    ) -> Page:
        """Return the first rows of the last days, at the level that has the most."""
        can = source.capabilities
        yesterday = self._clock.now().astimezone(ZoneInfo(account.time_zone)).date() - timedelta(1)
        days = min(_SAMPLED_DAYS, can.days_per_read)
        wanted = ReadRequest(
            account=account,
            level=can.levels[-1],
            date_basis=can.date_bases[0],
            attribution_key="",
            start_date=yesterday - timedelta(days - 1),
            end_date=yesterday,
        )
        gate = GovernedGate(
            self._governor,
            org=org,
            caller=f"previews/{request.connection}",
            priority=Priority.NEWEST,
        )
        try:
            async with source.open(opened.credential, opened.settings, gate) as session:
                page = await _first_page(session, wanted, self._clock)
        except (ReadingError, NotReadyError) as error:
            raise platform_error(
                error,
                platform=source.platform,
                resource_name=connection_name(org, request.connection),
            ) from error
        finally:
            await gate.leave()
        if page is None:
            raise InvalidFieldsError.of(
                "account_id",
                f"{account.account_id} has no rows from {wanted.start_date} to {wanted.end_date};"
                " give rows, or another account",
                rule="sample",
            )
        context = replace(page.context, level=wanted.level, date_basis=wanted.date_basis)
        return replace(page, context=context)

    async def _checked(
        self, org: str, rows: Sequence[JsonObject], result: TransformResult
    ) -> Preview:
        table, index = result.table, result.source_index
        if table.num_rows > MAXIMUM_ENTRIES:
            raise BatchTooLargeError(item_count=table.num_rows, maximum_items=MAXIMUM_ENTRIES)
        errors = [
            Refused(error.index, error.field, error.code, error.message) for error in result.errors
        ]
        refused = await self._memory.check(org, table) if table.num_rows else ()
        # Memory counts entries, people count rows.
        errors += [replace(it, index=index[it.index]) for it in refused]
        out = {it.index for it in refused}
        kept = [position for position in range(table.num_rows) if position not in out]
        return Preview(
            rows=rows,
            entries=table.take(pa.array(kept, pa.int64())),
            source_indexes=[index[position] for position in kept],
            errors=sorted(errors, key=lambda error: error.index),
            unmapped_fields=result.unmapped_fields,
        )


async def _first_page(session: SourceSession, wanted: ReadRequest, clock: Clock) -> Page | None:
    """Return the first page that has rows; a job of the platform's own is waited for."""
    job: PlatformJob | None = None
    patience_end = clock.monotonic_seconds() + _PATIENCE_SECONDS
    while True:
        try:
            # Once there are rows the other pages stay unread.
            async with aclosing(session.read(wanted, job)) as answers:
                async for item in answers:
                    if isinstance(item, PlatformJob):
                        job = item
                    elif item.rows:
                        return item
        except NotReadyError as wait:
            if wait.quota or job is None:
                raise
            if clock.monotonic_seconds() + wait.seconds > patience_end:
                # Asking again would only begin another job.
                raise InvalidFieldsError.of(
                    "connection",
                    "its platform takes too long to prepare a sample; give rows instead",
                    rule="sample",
                ) from wait
            await clock.sleep(wait.seconds)
        else:
            return None


def _account(opened: OpenConnection, account_id: str) -> PlatformAccount:
    account = opened.account(account_id) if account_id else next(iter(opened.accounts), None)
    if account is None:
        there = ", ".join(it.account_id for it in opened.accounts) or "none; verify it first"
        raise InvalidFieldsError.of(
            "account_id", f"is no account of the connection; there are {there}", rule="account"
        )
    return account


def _context_of(source: PlatformSource) -> TransformContext:
    """What a run would say of the rows of any reading of the source."""
    can = source.capabilities
    return TransformContext(
        level=can.levels[0] if len(can.levels) == 1 else None,
        date_basis=can.date_bases[0] if len(can.date_bases) == 1 else None,
    )


def _with_account(
    context: TransformContext, account: PlatformAccount | None, account_id: str
) -> TransformContext:
    if account is None:
        return replace(context, account_id=account_id or None)
    return replace(
        context,
        account_id=account.account_id,
        account_name=context.account_name or account.display_name or None,
        currency_code=account.currency_code or None,
        time_zone=account.time_zone,
    )


def _evaluate(
    mapping: PlatformMapping, rows: Sequence[JsonObject], context: TransformContext
) -> TransformResult:
    try:
        return evaluate(mapping, rows, context)
    except TransformContextError as error:
        raise InvalidFieldsError.of(error.field, error.message, rule="transform_context") from error
