"""Trying dead letters again: stored rows through the mapping of now, into Memory.

A run of kind REPLAY works lane by lane as the lane's holder, so that nothing is read of a lane
meanwhile. Memory takes the same rows twice without harm and the ledger records them once, so a
worker may die anywhere.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import date
from typing import Final
from uuid import UUID

import pyarrow as pa
import structlog

from liftos_ingestion.connection_ports import ConnectionReader
from liftos_ingestion.dead_letter_ports import (
    CommittedDay,
    Letter,
    Replayed,
    ReplayLedger,
    TakenLetters,
    Wait,
)
from liftos_ingestion.domain.day_sums import DaySums, last_of_each, row_keys
from liftos_ingestion.domain.failures import ErrorClass, Failure, ReadingError
from liftos_ingestion.run_ports import EntryWriter, HoldLostError, WaitReason
from liftos_ingestion.source_ports import JsonObject, PlatformAccount, SourceCatalog
from liftos_kit.core.errors import (
    DomainError,
    InvalidFieldsError,
    NotFoundError,
    StoreUnavailableError,
)
from liftos_mapping.engine import TransformContext, evaluate
from liftos_mapping.entry_fields import ENTRY_SCHEMA
from liftos_mapping.errors import RowErrorCode, TransformContextError
from liftos_mapping.mapping import PlatformMapping

LEASE_SECONDS: Final = 60.0
_AT_ONCE: Final = 500
_WAIT_SECONDS: Final = 5.0
_OUTAGE_SECONDS: Final = 15.0

_Problem = tuple[str, str, str]
_SUPERSEDED: Final[_Problem] = (
    "date", "SUPERSEDED", "the day was read again since, and the newer answer stands"
)  # fmt: skip

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("liftos.ingestion")


async def replay_named(replaying: "Replaying", payload: bytes) -> None:
    """Go on with the run that a job names."""
    named = json.loads(payload)
    await replaying.replay(named["org"], UUID(named["run"]))


class Replaying:
    """Tries dead letters again.

    Args:
        ledger: What is still to be tried, and what became of it.
        connections: What is known of accounts now.
        catalog: Finds mappings.
        writer: Memory.
        executor: Where rows are mapped.
        worker: The name of this worker.
    """

    def __init__(
        self,
        *,
        ledger: ReplayLedger,
        connections: ConnectionReader,
        catalog: SourceCatalog,
        writer: EntryWriter,
        executor: Executor,
        worker: str,
    ) -> None:
        self._ledger = ledger
        self._connections = connections
        self._catalog = catalog
        self._writer = writer
        self._executor = executor
        self._worker = worker

    async def replay(self, org: str, run: UUID) -> None:
        """Try what a run still has to try and what nobody else holds; line the rest up."""
        replayed = await self._ledger.replayed(org, run)
        if replayed is None:
            return
        wait_seconds, wait = _WAIT_SECONDS, None
        try:
            mapping = (await self._catalog.source(org, replayed.platform)).mapping
            accounts = await self._accounts(org, replayed.connection)
            for lane in await self._ledger.lanes(org, run):
                while taken := await self._ledger.take(
                    run, lane, worker=self._worker, lease_seconds=LEASE_SECONDS, limit=_AT_ONCE
                ):
                    if not taken.letters:
                        await self._ledger.let_go(taken)
                        break
                    await self._try(taken, mapping, accounts.get(lane.account_id))
        except HoldLostError:
            _log.warning("replay_lost", run=run.hex)
        except (NotFoundError, InvalidFieldsError) as error:
            failure = Failure(ErrorClass.PERMANENT, f"The mapping is gone: {error.message}")
            await self._ledger.fail(org, run, failure)
            return
        except ReadingError as error:
            await self._ledger.fail(org, run, error.failure)
            return
        except (DomainError, TimeoutError) as error:
            _log.warning("replay_put_off", run=run.hex, error=str(error))
            away = isinstance(error, StoreUnavailableError | TimeoutError)
            wait_seconds = _OUTAGE_SECONDS
            wait = Wait(
                WaitReason.STORE if away else WaitReason.RETRY,
                str(error) or "A store did not answer in time.",
            )
        await self._ledger.move_on(org, run, delay_seconds=wait_seconds, wait=wait)

    async def _accounts(self, org: str, connection: str) -> Mapping[str, PlatformAccount]:
        """Return the accounts of a connection by their ids; none where it is gone."""
        try:
            stored = await self._connections.get(org, connection)
        except NotFoundError:
            return {}
        described = [account.described for account in stored.accounts]
        return {it.account_id: it for it in described if it is not None}

    async def _try(
        self, taken: TakenLetters, mapping: PlatformMapping, account: PlatformAccount | None
    ) -> None:
        try:
            mapped = await asyncio.get_running_loop().run_in_executor(
                self._executor, _map, mapping, taken.letters, account
            )
            days = await self._ledger.days(
                taken.lane, sorted(set(mapped.table["date"].to_pylist()))
            )
            chosen = _choose(mapped, taken.letters, days)
            upserted_count = 0
            if chosen.table.num_rows:
                written = await self._writer.upsert(
                    taken.lane, chosen.table, epoch=taken.epoch, origin=taken.run
                )
                upserted_count = written.upserted_count
                for refused in written.refused:
                    problem = refused.field, refused.code, refused.message
                    chosen.problems[chosen.letter_of[refused.index]].append(problem)
        except BaseException:
            await self._ledger.let_go(taken)
            raise
        problems_of = {
            letter.dead_letter: problems
            for letter, problems in zip(taken.letters, chosen.problems, strict=True)
        }
        overtaken = [
            letter
            for letter, problems in problems_of.items()
            if problems and all(problem == _SUPERSEDED for problem in problems)
        ]
        await self._ledger.record(
            taken,
            Replayed(
                taken_in=[letter for letter, problems in problems_of.items() if not problems],
                overtaken=overtaken,
                refused={
                    letter: problems
                    for letter, problems in problems_of.items()
                    if problems and letter not in overtaken
                },
                upserted_count=upserted_count,
                day_sums=_sums(chosen, taken.letters),
            ),
        )


@dataclass(slots=True)
class _Mapped:
    """Entries of dead letters.

    Attributes:
        table: The entries.
        letter_of: For each entry the position of its letter.
        problems: For each letter what is wrong with it.
    """

    table: pa.Table
    letter_of: Sequence[int]
    problems: Sequence[list[_Problem]]


def _map(
    mapping: PlatformMapping, letters: Sequence[Letter], account: PlatformAccount | None
) -> _Mapped:
    """Map letters as they were read; those of other money than then as the account is now."""
    mapped = _evaluated(mapping, letters, [letter.context for letter in letters])
    other_money = {
        position
        for position, problems in enumerate(mapped.problems)
        if any(code == RowErrorCode.CURRENCY_MISMATCH for _, code, _ in problems)
    }
    if account is None or not other_money:
        return mapped
    now = {"currency_code": account.currency_code, "time_zone": account.time_zone}
    contexts = [
        {**letter.context, **(now if position in other_money else {})}
        for position, letter in enumerate(letters)
    ]
    return _evaluated(mapping, letters, contexts)


def _evaluated(
    mapping: PlatformMapping, letters: Sequence[Letter], contexts: Sequence[JsonObject]
) -> _Mapped:
    """Map letters, those with the same context at once."""
    alike: dict[str, list[int]] = {}
    for position, given in enumerate(contexts):
        alike.setdefault(json.dumps(given, sort_keys=True), []).append(position)
    problems: list[list[_Problem]] = [[] for _ in letters]
    tables, letter_of = [ENTRY_SCHEMA.empty_table()], list[int]()
    for positions in alike.values():
        try:
            context = _context(contexts[positions[0]])
        except (TypeError, TransformContextError) as error:
            for position in positions:
                problems[position].append(("", "CONTEXT_INVALID", str(error)))
            continue
        result = evaluate(mapping, [letters[position].row for position in positions], context)
        tables.append(result.table)
        letter_of += [positions[index] for index in result.source_index]
        for it in result.errors:
            problems[positions[it.index]].append((it.field, it.code, it.message))
        fruitless = set(range(len(positions))) - set(result.source_index)
        for index in fruitless - {it.index for it in result.errors}:
            problems[positions[index]].append(("", "EMPTY", "the row has no day to take in"))
    return _Mapped(pa.concat_tables(tables), letter_of, problems)


def _context(stored: JsonObject) -> TransformContext:
    lists = {name: tuple(it) if isinstance(it, list) else it for name, it in stored.items()}
    return TransformContext(**lists)  # type: ignore[arg-type]


def _choose(
    mapped: _Mapped, letters: Sequence[Letter], days: Mapping[date, CommittedDay]
) -> _Mapped:
    """Return the entries that may be written, each once; others are problems of their letters."""
    kept: list[int] = []
    final: list[bool] = []
    once = last_of_each(row_keys(mapped.table))
    for row, day in enumerate(mapped.table["date"].to_pylist()):
        position = mapped.letter_of[row]
        committed = days.get(day)
        if committed is None:
            message = f"{day} was never read, so that the row alone would stand for the whole day"
            mapped.problems[position].append(("date", "DAY_NOT_READ", message))
        elif committed.commit_time > letters[position].read_time:
            mapped.problems[position].append(_SUPERSEDED)
        elif once[row]:
            kept.append(row)
            final.append(committed.final)
    table = mapped.table.take(pa.array(kept, pa.int64()))
    index = table.schema.get_field_index("final")
    table = table.set_column(index, table.schema.field(index), pa.array(final, pa.bool_()))
    return _Mapped(table, [mapped.letter_of[row] for row in kept], mapped.problems)


def _sums(written: _Mapped, letters: Sequence[Letter]) -> Mapping[date, Mapping[str, int]]:
    """Return what letters that were taken in add to the sums of their days."""
    fresh = [
        not written.problems[position] and not letters[position].counted
        for position in written.letter_of
    ]
    table = written.table.filter(pa.array(fresh, pa.bool_()))
    sums = DaySums()
    sums.add(table, row_keys(table))
    return sums.by_day()
