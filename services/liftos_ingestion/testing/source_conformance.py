"""The rules that every source keeps, as tests: subclass `SourceConformance` and say what to read.

    class TestAcmeAds(SourceConformance):
        @pytest.fixture
        def subject(self) -> Iterator[SourceUnderTest]:
            with FakePlatform(answer) as platform:
                yield SourceUnderTest(source=AcmeAds(platform.url), ...)

The tests are coroutines, so pytest-asyncio runs in its mode `auto`.
"""

import asyncio
import json
import re
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    aclosing,
    nullcontext,
)
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from liftos_ingestion.adapters.sources.plugins import source_problems
from liftos_ingestion.domain.failures import ErrorClass, NotReadyError, ReadingError
from liftos_ingestion.domain.json_schemas import schema_violations
from liftos_ingestion.domain.rate_limits import Limit, Observation
from liftos_ingestion.source_ports import (
    Credential,
    JsonObject,
    Page,
    PlatformAccount,
    PlatformJob,
    PlatformSource,
    ReadRequest,
)
from liftos_kit.secrets.secret import Secret
from liftos_mapping.engine import TransformContext, evaluate
from liftos_mapping.entry_fields import ENTRY_SCHEMA, NATURAL_KEY

MAXIMUM_PAGES: Final = 200
"""Pages of one reading of a test; a source that gives more goes round in circles."""

END_SECONDS: Final = 5.0
"""How long a reading may take to end once it is cancelled."""


class PlatformFault(StrEnum):
    """A way in which a platform fails."""

    UNAVAILABLE = "UNAVAILABLE"
    REJECTED = "REJECTED"
    LIMITED = "LIMITED"
    GARBLED = "GARBLED"
    TRUNCATED = "TRUNCATED"
    MOVED = "MOVED"
    SILENT = "SILENT"


_TRANSIENT: Final = frozenset({ErrorClass.TRANSIENT})
EXPECTED_CLASSES: Final[Mapping[PlatformFault, frozenset[ErrorClass]]] = {
    PlatformFault.UNAVAILABLE: _TRANSIENT,
    PlatformFault.REJECTED: frozenset({ErrorClass.CREDENTIALS}),
    PlatformFault.LIMITED: frozenset({ErrorClass.RATE_LIMITED, ErrorClass.QUOTA_EXHAUSTED}),
    PlatformFault.GARBLED: _TRANSIENT | {ErrorClass.INVALID_DATA},
    PlatformFault.TRUNCATED: _TRANSIENT | {ErrorClass.INVALID_DATA},
    PlatformFault.MOVED: _TRANSIENT | {ErrorClass.PERMANENT, ErrorClass.INVALID_DATA},
}
"""What a source may make of a fault; `SILENT` is for cancelling."""


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """A call that reached the platform."""

    method: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceUnderTest:
    """A source with a platform behind it.

    Attributes:
        source: The source.
        credential: Fields that the platform takes; none for a source without.
        settings: Of the connection.
        account_id: An account that has rows.
        start_date, end_date: Days that have rows.
        calls: Gives the calls that have reached the platform.
        broken: Lets the platform fail in one way.
        faults: The ways in which this platform can fail.
        reading_calls: Paths of calls that are no GET and only read, such as reports.
        rest: Called before each call, for a platform that limits calls by a clock of its own.
    """

    source: PlatformSource
    credential: Mapping[str, str]
    account_id: str
    start_date: date
    end_date: date
    calls: Callable[[], Sequence[RecordedCall]]
    broken: Callable[[PlatformFault], AbstractContextManager[None]]
    settings: JsonObject = field(default_factory=dict)
    faults: Collection[PlatformFault] = tuple(PlatformFault)
    reading_calls: Collection[str] = ()
    rest: Callable[[], None] = lambda: None

    def gate(self, room: int | None = None) -> "RecordingGate":
        """Return a gate with room for a number of calls; None is without end."""
        return RecordingGate(room, self.rest)

    def sealed(self, **changed: str) -> Credential:
        """Return the credential as sessions get it."""
        return Credential({k: Secret(v) for k, v in {**self.credential, **changed}.items()})

    async def account(self) -> PlatformAccount:
        """Return the account as the platform describes it."""
        async with self.source.open(self.sealed(), self.settings, self.gate()) as session:
            accounts = (await session.verify()).accounts
        return next(it for it in accounts if it.account_id == self.account_id)

    def requests(self, account: PlatformAccount) -> Iterator[ReadRequest]:
        """Yield a request for all days, for each level and date basis."""
        for level in self.source.capabilities.levels:
            for basis in self.source.capabilities.date_bases:
                yield ReadRequest(account, level, basis, "", self.start_date, self.end_date)


class RecordingGate:
    """Lets calls through, up to a number, and keeps what it was asked and told."""

    org = "conformance"
    run = ""

    def __init__(self, room: int | None, rest: Callable[[], None]) -> None:
        self._room = room
        self._rest = rest
        self.entered: Final[list[Sequence[Limit]]] = []
        self.observed: list[Observation] = []

    async def enter(self, limits: Sequence[Limit], *, is_poll: bool = False) -> None:
        """Let a call through where there is room."""
        del is_poll
        if self._room is not None and len(self.entered) >= self._room:
            raise NotReadyError("no room", seconds=60, quota=True)
        self._rest()
        self.entered.append(limits)

    async def observe(self, observations: Sequence[Observation]) -> None:
        """Keep what the platform said."""
        self.observed += observations

    def received(self, size_bytes: int) -> None:
        """Count nothing."""

    def in_hand(self, size_bytes: int) -> AbstractAsyncContextManager[None]:
        """Have room for everything."""
        del size_bytes
        return nullcontext()


class SourceConformance:
    """The rules. Each test says what it is that a source owes its callers."""

    @pytest.fixture
    def subject(self) -> Iterator[SourceUnderTest]:
        """What is tested; to be overridden."""
        raise NotImplementedError("override the fixture `subject` and yield a SourceUnderTest")

    async def test_it_says_what_it_is(self, subject: SourceUnderTest) -> None:
        """Platform, capabilities, schemas and mapping are complete and fit together."""
        assert source_problems(subject.source) == []
        for schema, value, name in (
            (subject.source.credential_schema, subject.credential, "credential"),
            (subject.source.settings_schema, subject.settings, "settings"),
        ):
            found = schema_violations(schema, value, field=name)
            assert not found, f"the {name} of the test does not fit its schema: {found}"

    async def test_accounts_can_be_planned_with(self, subject: SourceUnderTest) -> None:
        """Verifying names each account once, with a zone and a currency that exist."""
        async with subject.source.open(
            subject.sealed(), subject.settings, subject.gate()
        ) as session:
            accounts = (await session.verify()).accounts
            names = [it.account_id for it in accounts]
            assert subject.account_id in names, f"{subject.account_id} is not in {names}"
            assert len(names) == len(set(names)), "an account comes twice"
            for account in accounts:
                ZoneInfo(account.time_zone)
                code = account.currency_code
                assert re.fullmatch("[A-Z]{3}", code), f"{code!r} is no currency"
            account = accounts[names.index(subject.account_id)]
            async with aclosing(session.objects(account)) as listed:
                objects = [it async for it in listed]
        keys = [(it.level, it.object_id) for it in objects]
        assert len(keys) == len(set(keys)), "an object comes twice"
        levels = subject.source.capabilities.object_levels
        other = {it.level for it in objects} - set(levels)
        assert not other, f"objects of {sorted(other)}; object_levels says {levels}"

    async def test_rows_become_entries_of_what_was_asked(self, subject: SourceUnderTest) -> None:
        """Every row maps without an error, once, to the level and the days of its request."""
        account = await subject.account()
        count = 0
        for request in subject.requests(account):
            table = await read_entries(subject, request)
            count += table.num_rows
            days = set(table["date"].to_pylist())
            outside = [it for it in days if not request.start_date <= it <= request.end_date]
            assert not outside, f"rows of {outside} were not asked for"
            assert set(table["level"].to_pylist()) <= {request.level}, "rows of another level"
            keys = list(zip(*(table[name].to_pylist() for name in NATURAL_KEY), strict=True))
            assert len(keys) == len(set(keys)), f"two rows of {request.level} are one entry"
        assert count, "no level has a row on the days of the test"

    async def test_reading_can_be_repeated_and_cut(self, subject: SourceUnderTest) -> None:
        """The same request answers the same, and single days answer what they do together."""
        account = await subject.account()
        for request in subject.requests(account):
            whole = _sorted(await read_entries(subject, request))
            assert whole == _sorted(await read_entries(subject, request)), "not the same twice"
            days = [
                request.start_date + timedelta(days=n)
                for n in range((request.end_date - request.start_date).days + 1)
            ]
            parts = [
                await read_entries(
                    subject,
                    ReadRequest(account, request.level, request.date_basis, "", day, day),
                )
                for day in days
            ]
            assert _sorted(pa.concat_tables(parts)) == whole, "days alone are not days together"

    async def test_a_question_is_known_again(self, subject: SourceUnderTest) -> None:
        """What pages say of their question is the same each time, and another for other days."""
        account = await subject.account()
        for request in subject.requests(account):
            first, again = [
                {page.query_hash for page in await _read_pages(subject, request)} for _ in range(2)
            ]
            assert len(first) <= 1, "pages of one reading say different questions"
            assert first == again, "the same question has two digests"
            day = replace(request, end_date=request.start_date)
            if first - {""} and day != request:
                other = {page.query_hash for page in await _read_pages(subject, day)}
                assert first != other, "other days have the same digest"

    async def test_jobs_of_the_platform_are_taken_up_again(self, subject: SourceUnderTest) -> None:
        """A job that was given back is not started anew, and its state is JSON."""
        account = await subject.account()
        for request in subject.requests(account):
            job = await _first_job(subject, request)
            if job is None:
                continue
            kept = PlatformJob(job.job_id, json.loads(json.dumps(dict(job.state))))
            assert await _first_job(subject, request, kept) in (None, kept), "a second job"

    async def test_nothing_is_written_to_the_platform(self, subject: SourceUnderTest) -> None:
        """Only GET, and what else the test says that it only reads."""
        account = await subject.account()
        for request in subject.requests(account):
            await read_entries(subject, request)
        writes = [
            it
            for it in subject.calls()
            if it.method not in ("GET", "HEAD") and it.path not in subject.reading_calls
        ]
        assert not writes, f"these calls may write: {writes}"

    async def test_every_call_asks_for_leave(self, subject: SourceUnderTest) -> None:
        """Each call names the limits that it falls under, of its own org and platform."""
        account = await subject.account()
        for request in subject.requests(account):
            gate, before = subject.gate(), len(subject.calls())
            await read_entries(subject, request, gate)
            sent = len(subject.calls()) - before
            assert len(gate.entered) >= sent, f"{sent} calls, {len(gate.entered)} times leave"
            for limits in gate.entered:
                owners = {(it.key.org, it.key.platform) for it in limits}
                assert owners == {(gate.org, subject.source.platform)}, f"limits of {owners}"

    async def test_a_limit_stops_it_before_the_call(self, subject: SourceUnderTest) -> None:
        """Where there is no room nothing is sent, and the caller hears of it as it is."""
        account = await subject.account()
        for request in subject.requests(account):
            # The second time: a source may remember what it asked the first time.
            for _ in range(2):
                gate = subject.gate()
                await read_entries(subject, request, gate)
            for room in range(len(gate.entered)):
                before = len(subject.calls())
                with pytest.raises(NotReadyError):
                    await read_entries(subject, request, subject.gate(room))
                assert len(subject.calls()) - before <= room, "a call without leave"

    @pytest.mark.parametrize("fault", list(EXPECTED_CLASSES))
    async def test_faults_have_a_class_and_tell_no_secret(
        self,
        subject: SourceUnderTest,
        fault: PlatformFault,
        caplog: pytest.LogCaptureFixture,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """Whatever the platform does is a typed failure, fit to be shown."""
        account = await subject.account()
        if fault not in subject.faults:
            return
        request = next(subject.requests(account))
        with subject.broken(fault):
            try:
                await read_entries(subject, request)
            except (ReadingError, NotReadyError) as error:
                caught: ReadingError | NotReadyError = error
            else:
                raise AssertionError(f"{fault} was not noticed")
        if isinstance(caught, ReadingError):
            error_class = caught.failure.error_class
            assert error_class in EXPECTED_CLASSES[fault], f"{fault} is no {error_class}"
        else:
            assert fault is PlatformFault.LIMITED, f"{fault} is nothing to wait for"
        _require_silence(subject, caught, caplog.text, *capsys.readouterr())

    async def test_a_credential_that_is_wrong_is_told(self, subject: SourceUnderTest) -> None:
        """A missing field is a failure of class CREDENTIALS, before anything is sent."""
        required = subject.source.credential_schema.get("required", ())
        assert isinstance(required, list | tuple), "`required` of a JSON Schema is a list"
        for name in required:
            fields = {k: Secret(v) for k, v in subject.credential.items() if k != name}
            before = len(subject.calls())
            with pytest.raises(ReadingError) as caught:
                async with subject.source.open(
                    Credential(fields), subject.settings, subject.gate()
                ) as session:
                    await session.verify()
            assert caught.value.failure.error_class is ErrorClass.CREDENTIALS, f"without {name}"
            assert len(subject.calls()) == before, f"a call without {name}"
            _require_silence(subject, caught.value)

    async def test_cancelling_ends_it(self, subject: SourceUnderTest) -> None:
        """A reading ends soon after it is cancelled, whatever it waits for."""
        account = await subject.account()
        if PlatformFault.SILENT not in subject.faults:
            return
        request = next(subject.requests(account))
        with subject.broken(PlatformFault.SILENT):
            before = len(subject.calls())
            reading = asyncio.create_task(read_entries(subject, request))
            async with asyncio.timeout(30):
                # The platform may be another process, so there is nothing to wait on but its calls.
                while len(subject.calls()) == before:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            reading.cancel()
            done, _ = await asyncio.wait({reading}, timeout=END_SECONDS)
            assert done, f"not ended {END_SECONDS} s after it was cancelled"
            assert reading.cancelled(), "the cancellation was swallowed"


async def read_entries(
    subject: SourceUnderTest, request: ReadRequest, gate: RecordingGate | None = None
) -> pa.Table:
    """Return what the rows of a request become; a row error fails the test."""
    pages = await _read_pages(subject, request, gate)
    tables = [_entries(subject.source, page, request) for page in pages]
    return pa.concat_tables([ENTRY_SCHEMA.empty_table(), *tables])


async def _read_pages(
    subject: SourceUnderTest, request: ReadRequest, gate: RecordingGate | None = None
) -> Sequence[Page]:
    pages: list[Page] = []
    job: PlatformJob | None = None
    async with subject.source.open(
        subject.sealed(), subject.settings, gate or subject.gate()
    ) as session:
        for _ in range(100):
            try:
                async with aclosing(session.read(request, job)) as items:
                    async for item in items:
                        if isinstance(item, PlatformJob):
                            job = item
                        else:
                            pages.append(item)
                        assert len(pages) <= MAXIMUM_PAGES, "the pages do not end"
            except NotReadyError as wait:
                # A job that runs is asked for again; a limit is the test's own.
                if wait.quota:
                    raise
                pages = []
                await asyncio.sleep(0.01)
            else:
                return pages
    raise AssertionError("the platform's job does not end")


def _entries(source: PlatformSource, page: Page, request: ReadRequest) -> pa.Table:
    # As rows are kept that are refused.
    json.dumps(list(page.rows), default=str)
    account = request.account
    given = page.context
    context = TransformContext(
        date=given.date,
        date_times=given.date_times,
        conversion_actions=given.conversion_actions,
        attribution_key=given.attribution_key,
        account_id=account.account_id,
        account_name=given.account_name or account.display_name or None,
        currency_code=account.currency_code or None,
        time_zone=account.time_zone,
        level=request.level,
        date_basis=request.date_basis,
    )
    result = evaluate(source.mapping, page.rows, context)
    assert not result.errors, f"rows that give no entry: {result.errors[:3]}"
    return result.table


async def _first_job(
    subject: SourceUnderTest, request: ReadRequest, job: PlatformJob | None = None
) -> PlatformJob | None:
    """Return the first job that a reading starts, and leave it there."""
    async with subject.source.open(subject.sealed(), subject.settings, subject.gate()) as session:
        try:
            async with aclosing(session.read(request, job)) as items:
                async for item in items:
                    if isinstance(item, PlatformJob):
                        return item
        except NotReadyError:
            return None
    return None


def _sorted(table: pa.Table) -> pa.Table:
    keys = [(name, "ascending") for name in NATURAL_KEY]
    return table.sort_by(keys).combine_chunks()


def _require_silence(subject: SourceUnderTest, error: BaseException, *told: str) -> None:
    shown = "".join((*traceback.format_exception(error), repr(error), *told))
    for name, secret in subject.credential.items():
        # Short and common words would be found anywhere.
        if len(secret) >= 6:
            assert secret not in shown, f"the credential's {name} is told in an error or a log"
