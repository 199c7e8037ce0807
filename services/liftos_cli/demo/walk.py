"""What the demo does with a running stack: load, prove, search, look around."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Final
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc

from liftos.memory.v1.calendar_pb2 import CalendarDay
from liftos.memory.v1.document_pb2 import SearchHit
from liftos.memory.v1.memory_service_pb2 import MetricsRow, SearchDocumentsResponse
from liftos_cli.demo.causal_module import CausalModule
from liftos_cli.demo.channels import CURRENCY, MARKET_SOURCE, MARKET_SOURCE_NAME, REGIONS
from liftos_cli.demo.client_trace import SERVICE, record_trace
from liftos_cli.demo.daily_entries import (
    RoundedFile,
    document_count,
    entries_of,
    entry_table,
    round_file,
)
from liftos_cli.demo.data_set import DataSetProof, checks_of_data_set, export_and_compare
from liftos_cli.demo.for_modules import ForModules, checks_of_modules, look_for_modules
from liftos_cli.demo.index_progress import documents_written
from liftos_cli.demo.movements import Check, Movements, checks_of_movements, look_at_movements
from liftos_cli.demo.noticed import Noticed, checks_of_insights, look_for_insights
from liftos_cli.demo.platforms import PlatformRead
from liftos_cli.demo.proof import GROUP_BY, LEVELS, Comparison, compare
from liftos_cli.demo.stages import Advance, Stages
from liftos_cli.demo.weekly_file import read_weekly_file
from liftos_client.connection import Client
from liftos_client.errors import LiftosError
from liftos_client.memory import MemoryClient
from liftos_client.pages import Pages
from liftos_kit.spans import SpanRecord
from liftos_local.directory import DataDirectory
from liftos_local.plan import read_plan
from liftos_local.traces import wait_for_trace

ORIGIN: Final = "liftos-demo"
WORKER_METRICS: Final = "memory-worker-metrics"
TRACED_QUERY: Final = "how did the last week go"
HOLIDAY_WEEK: Final = (date(2018, 11, 19), date(2018, 11, 25))
HOLIDAYS: Final = {"2018-11-22": "Thanksgiving", "2018-11-23": "Black Friday"}
"""What the calendar has to say about the holiday week."""

_ROWS_PER_BATCH: Final = 4_000
_INDEXING_SECONDS: Final = 240.0
_POLL_SECONDS: Final = 0.25
_TRACE_SECONDS: Final = 15.0
_PAGE_ROWS: Final = 5_000
_SHOWN_HITS: Final = 3
_STORE: Final = "db.system.name"


@dataclass(frozen=True, slots=True)
class Question:
    """A search that the demo shows.

    Attributes:
        query: What is looked for.
        expected: A part of a title that has to be among the hits shown.
        mode: Which legs rank.
        kinds: Which documents.
        days: First and last day; empty for all.
        filter: Which objects.
    """

    query: str
    expected: str
    mode: str = "HYBRID"
    kinds: tuple[str, ...] = ()
    days: tuple[str, str] | tuple[()] = ()
    filter: str = ""


QUESTIONS: Final = (
    Question("holiday sale before Christmas", "“Holiday Sale”", kinds=("PROFILE",)),
    Question(
        "billboards in the Black Friday week",
        "“City Billboards”, week 47 of 2018",
        days=("2018-11-01", "2018-12-31"),
        filter='platform = "offline"',
    ),
    # Only by meaning: no word of it is in the name that it finds.
    Question(
        "mails to subscribers about presents",
        "“Christmas gift guide”",
        mode="NEURAL",
        kinds=("PROFILE",),
    ),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """A question and its hits, best first."""

    question: Question
    hits: tuple[SearchHit, ...]


@dataclass(frozen=True, slots=True)
class Trace:
    """What was recorded of one request.

    Attributes:
        trace_id: For `liftos trace`.
        spans: All of its spans.
    """

    trace_id: str
    spans: tuple[SpanRecord, ...]

    @property
    def parts(self) -> frozenset[str]:
        """The services and stores that took part."""
        stores = (span.attributes.get(_STORE) for span in self.spans)
        services = (span.service for span in self.spans)
        return frozenset(str(part) for part in (*services, *stores) if part is not None)


TRACE_PARTS: Final = frozenset(
    {SERVICE, "liftos-memory", "liftos-memory-worker", "postgresql", "redis", "milvus"}
)
"""What the trace has to show."""


@dataclass(slots=True)
class Findings:
    """What the demo found.

    Attributes:
        file: The rounded file.
        row_count: Entries that were written.
        last_day_row_count: Those of them that went in after the others, and were traced.
        document_count: Documents that search holds of them.
        comparison: The store against the file.
        answers: The searches.
        calendar: The holiday week.
        trace: The request that was followed.
        movements: Channels against each other and the year before.
        noticed: What stands out.
        data_set: An export for marketing mix models.
        for_modules: What modules build on.
        checks: All that had to hold.
        reads: What was read from the simulated platforms.
        causal: The Causal module; None before it was asked.
    """

    file: RoundedFile
    row_count: int
    last_day_row_count: int
    document_count: int
    comparison: Comparison
    answers: Sequence[Answer]
    calendar: Sequence[CalendarDay]
    trace: Trace
    movements: Movements
    noticed: Noticed
    data_set: DataSetProof
    for_modules: ForModules
    checks: list[Check] = field(default_factory=list)
    reads: Sequence[PlatformRead] = ()
    causal: CausalModule | None = None


async def walk(client: Client, data_dir: Path, stages: Stages) -> Findings:
    """Load the file into an organisation, prove it, and look around.

    Args:
        client: A client of a running Memory.
        data_dir: The data directory of its stack.
        stages: Shows progress.
    """
    memory = client.memory
    file = read_weekly_file()
    rounded = round_file(file)
    table = entry_table(rounded)
    last_day = max(table["date"].to_pylist())
    is_last = pc.equal(table["date"], pa.scalar(last_day, pa.date32()))
    bulk, day = table.filter(pc.invert(is_last)), table.filter(is_last)
    documents = document_count(table, rounded.weeks)

    await _choose(memory)
    # In a directory of an earlier demo the day that is to be added is there already.
    await memory.purge_entries(ORIGIN, force=True, filter=f'date = "{last_day}"')
    with stages.stage("Load", total=bulk.num_rows, unit="rows, all but the last day") as advance:
        refused, token = await _load(memory, bulk, advance)
    with stages.stage("Index", total=documents, unit="documents") as advance:
        await _await_index(memory, token, data_dir, documents, advance)
    with stages.stage("Add the last day and find it, traced"):
        trace_id, day_refused = await _add_day(memory, day, data_dir)
    with stages.stage("Compare every week with the file"):
        comparison = compare(rounded, await _weekly_sums(memory, rounded))
    with stages.stage("Search"):
        answers = [await _ask(memory, question) for question in QUESTIONS]
    with stages.stage("Compare November with that of the year before, twice"):
        movements = await look_at_movements(memory)
    with stages.stage("Look for insights, and run one again"):
        noticed = await look_for_insights(memory)
    with stages.stage("Export a data set for Robyn, twice"):
        data_set = await export_and_compare(memory, rounded)
    with stages.stage("Map rows of an own source, keep a note and an artifact, ask as modules do"):
        for_modules = await look_for_modules(client)
    with stages.stage("Read the calendar"):
        days = await memory.list_calendar_days(*HOLIDAY_WEEK).collect()
    with stages.stage("Read the trace"):
        trace = await asyncio.to_thread(_read_trace, data_dir, trace_id)
    findings = Findings(
        rounded,
        table.num_rows,
        day.num_rows,
        documents,
        comparison,
        answers,
        days,
        trace,
        movements,
        noticed,
        data_set,
        for_modules,
    )
    findings.checks = checks_of(findings, refused=refused + day_refused)
    return findings


async def _choose(memory: MemoryClient) -> None:
    """Say what the organisation is like, before there are entries."""
    settings = await memory.get_org_settings()
    settings.base_currency_code = CURRENCY
    settings.region_codes[:] = REGIONS
    await memory.update_org_settings(settings, update_mask=["base_currency_code", "region_codes"])
    await memory.upsert_source(MARKET_SOURCE, display_name=MARKET_SOURCE_NAME)


async def _load(memory: MemoryClient, table: pa.Table, advance: Advance) -> tuple[int, str]:
    """Write rows over an ingest stream; return how many were refused, and the write token."""
    async with memory.ingest(
        f"{ORIGIN}/{uuid4()}",
        origin=ORIGIN,
        on_progress=lambda result: advance(result.row_count),
    ) as stream:
        for start in range(0, table.num_rows, _ROWS_PER_BATCH):
            await stream.write(table.slice(start, _ROWS_PER_BATCH))
    return stream.result.refused_count, stream.result.write_token


async def _await_index(
    memory: MemoryClient, token: str, data_dir: Path, documents: int, advance: Advance
) -> None:
    """Wait until search covers a write, and show how far it is."""
    plan = read_plan(DataDirectory(data_dir))
    address = plan.address(WORKER_METRICS)
    search = memory.search_documents(
        QUESTIONS[0].query,
        page_size=1,
        at_least_as_fresh=token,
        timeout_seconds=_INDEXING_SECONDS,
    )
    covered = asyncio.create_task(_first_page(search))
    try:
        while not covered.done():
            written = await asyncio.to_thread(documents_written, address)
            if written is not None:
                advance(min(written, documents))
            await asyncio.wait([covered], timeout=_POLL_SECONDS)
        await covered
    finally:
        covered.cancel()
        with suppress(asyncio.CancelledError, LiftosError):
            await covered


async def _first_page(
    pages: Pages[SearchHit, SearchDocumentsResponse],
) -> SearchDocumentsResponse:
    async for page in pages.pages():
        return page
    raise AssertionError("a list has a first page")


async def _add_day(memory: MemoryClient, day: pa.Table, data_dir: Path) -> tuple[str, int]:
    """Write a day as typed rows and search what the worker makes of it, all in one trace.

    Returns:
        The trace's id, and how many rows were refused.
    """
    spans = DataDirectory(data_dir).spans
    search = partial(memory.search_documents, page_size=1, timeout_seconds=_INDEXING_SECONDS)
    with record_trace(spans, "add a day, then find it") as trace:
        with trace.call("BatchUpsertEntries"):
            written = await memory.batch_upsert_entries(
                entries_of(day), origin=ORIGIN, request_id=str(uuid4())
            )
        # Outside of the trace: how often the server looks until it is so far tells nothing. It is
        # another query, since the answer to the same one would come from the cache.
        await _first_page(search(QUESTIONS[0].query, at_least_as_fresh=written))
        with trace.call("SearchDocuments"):
            await _first_page(search(TRACED_QUERY, at_least_as_fresh=written))
    return trace.trace_id, len({error.index for error in written.item_errors})


async def _weekly_sums(memory: MemoryClient, file: RoundedFile) -> dict[str, list[MetricsRow]]:
    last = file.weeks[-1] + timedelta(days=6)
    return {
        level: await memory.query_metrics(
            file.weeks[0],
            last,
            level=level,
            granularity="WEEK",
            group_by=GROUP_BY,
            page_size=_PAGE_ROWS,
        ).collect()
        for level in LEVELS
    }


async def _ask(memory: MemoryClient, question: Question) -> Answer:
    start, end = question.days or (None, None)
    search = memory.search_documents(
        question.query,
        mode=question.mode,
        kinds=question.kinds,
        start_date=start,
        end_date=end,
        filter=question.filter,
        page_size=_SHOWN_HITS,
    )
    return Answer(question, tuple((await _first_page(search)).hits))


def _read_trace(data_dir: Path, trace_id: str) -> Trace:
    """Wait for the spans of all parts; the worker's come a moment after the search's answer."""
    deadline = time.monotonic() + _TRACE_SECONDS
    while True:
        trace = Trace(trace_id, tuple(wait_for_trace(data_dir, trace_id)))
        if trace.parts >= TRACE_PARTS or time.monotonic() >= deadline:
            return trace


def checks_of(findings: Findings, *, refused: int) -> list[Check]:
    """Return all that has to hold, and whether it does.

    Args:
        findings: What was found; its own checks are not looked at.
        refused: How many rows Memory refused.
    """
    comparison = findings.comparison
    streamed = findings.row_count - findings.last_day_row_count
    checks = [
        Check(
            "Memory took every row",
            refused == 0,
            f"{refused:,} refused of {findings.row_count:,}: {streamed:,} in the stream, and"
            f" {findings.last_day_row_count:,} of the last day after it",
        ),
        Check(
            "QueryMetrics by week equals the rounded file",
            not comparison.differences,
            f"{comparison.compared_count:,} values compared, "
            f"{len(comparison.differences):,} differences",
        ),
    ]
    for answer in findings.answers:
        titles = [hit.document.title for hit in answer.hits]
        checks.append(
            Check(
                f"searching for {answer.question.query!r} finds {answer.question.expected}",
                any(answer.question.expected in title for title in titles),
                ", ".join(titles) or "nothing",
            )
        )
    for day, holiday in HOLIDAYS.items():
        named = [
            name
            for each in findings.calendar
            if each.date == day
            for name in (*(holiday.name for holiday in each.holidays), *each.retail_events)
        ]
        checks.append(
            Check(
                f"the calendar knows {holiday} on {day}",
                any(holiday in name for name in named),
                ", ".join(dict.fromkeys(named)) or "nothing",
            )
        )
    checks += checks_of_movements(findings.movements)
    checks += checks_of_insights(findings.noticed)
    checks += checks_of_data_set(findings.data_set)
    checks += checks_of_modules(findings.for_modules)
    missing = TRACE_PARTS - findings.trace.parts
    checks.append(
        Check(
            "the trace goes through all parts",
            not missing,
            f"without {', '.join(sorted(missing))}" if missing else ", ".join(sorted(TRACE_PARTS)),
        )
    )
    return checks
