"""Reports of Meta: what is asked for, how long is waited, and that cutting loses nothing."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.liftos_ingestion.test_meta_client import (
    NoWait,
    RecordingGate,
    Script,
    client_of,
    page,
)

from liftos_ingestion.adapters.sources.meta import MetaSource
from liftos_ingestion.adapters.sources.meta.client import ListPage
from liftos_ingestion.adapters.sources.meta.reports import (
    FINISH_SECONDS,
    STALE_SECONDS,
    START_SECONDS,
    VISIBLE_SECONDS,
    Condition,
    Part,
    Report,
    job_of,
    parts_of,
    report_form,
)
from liftos_ingestion.domain.failures import ErrorClass, NotReadyError, ReadingError
from liftos_ingestion.domain.windows import Days, clamp_to_retention
from liftos_ingestion.source_ports import PlatformAccount, PlatformJob, ReadRequest, query_hash
from liftos_platforms.meta.queries import months_before

ACCOUNT = PlatformAccount("1001", "Shop", "Europe/Berlin", "EUR")
REQUEST = ReadRequest(ACCOUNT, "AD", "INTERACTION", "", date(2026, 11, 2), date(2026, 11, 2))

SECTION_5 = (
    "account_id,account_name,account_currency,campaign_id,campaign_name,adset_id,adset_name,ad_id,"
    "ad_name,objective,optimization_goal,attribution_setting,date_start,date_stop,spend,"
    "impressions,reach,frequency,clicks,inline_link_clicks,outbound_clicks,unique_clicks,actions,"
    "action_values,purchase_roas,video_play_actions,video_thruplay_watched_actions,"
    "video_p25_watched_actions,video_p50_watched_actions,video_p75_watched_actions,"
    "video_p100_watched_actions"
)


class SetClock(NoWait):
    """A clock that a test sets.

    Attributes:
        moment: Now.
    """

    def __init__(self) -> None:
        super().__init__()
        self.moment = super().now()

    def now(self) -> datetime:
        """Return what was set."""
        return self.moment


def job_aged(seconds: float) -> tuple[PlatformJob, SetClock]:
    """A job that was made so long ago, and the clock that says so."""
    clock = SetClock()
    job = job_of([Part("6023", clock.moment.timestamp())])
    clock.moment += timedelta(seconds=seconds)
    return job, clock


async def steps(
    script: Script,
    job: PlatformJob | None,
    clock: SetClock,
    *,
    request: ReadRequest = REQUEST,
    gate: RecordingGate | None = None,
) -> tuple[list[ListPage | PlatformJob], Exception | None]:
    """What a report yields, and how it ends."""
    found: list[ListPage | PlatformJob] = []
    async with client_of(script, gate=gate) as client:
        try:
            async for item in Report(client, request, job, org="org", clock=clock).read():
                found.append(item)  # noqa: PERF401 - what came before an error counts
        except (NotReadyError, ReadingError) as error:
            return found, error
    return found, None


def run_is(status: str, percent: int = 0, **more: object) -> Script:
    """Every poll sees the run so."""
    body = {"id": "6023", "async_status": status, "async_percent_completion": percent, **more}
    return lambda _: httpx.Response(200, json=body)


TOO_LARGE = run_is("Job Failed", 60, error_code=2, error_subcode=1504038, error_message="large")


def test_the_whole_list_of_fields() -> None:
    """At the level of ads all fields are asked for, at the account none of what is below it."""
    assert report_form(REQUEST, Part())["fields"] == SECTION_5
    of_account = report_form(replace(REQUEST, level="ACCOUNT"), Part())["fields"].split(",")
    below = {"campaign", "adset", "ad", "objective", "optimization"}
    assert set(SECTION_5.split(",")) - set(of_account) == {
        name for name in SECTION_5.split(",") if name.split("_")[0] in below
    }
    for level in ("ACCOUNT", "CAMPAIGN"):
        assert "filtering" not in report_form(replace(REQUEST, level=level), Part())


def test_days_windows_and_states() -> None:
    """Both ends are included, a row is a day, and what is archived or deleted is asked for."""
    form = report_form(replace(REQUEST, end_date=date(2026, 11, 8)), Part())
    assert json.loads(form["time_range"]) == {"since": "2026-11-02", "until": "2026-11-08"}
    assert form["time_increment"] == "1"
    windows = ["1d_click", "7d_click", "28d_click", "1d_view", "1d_ev"]
    assert json.loads(form["action_attribution_windows"]) == windows
    (states,) = json.loads(form["filtering"])
    assert states["field"] == "ad.effective_status"
    assert {"ACTIVE", "PAUSED", "ARCHIVED", "DELETED"} <= set(states["value"])


async def test_the_question_is_all_that_the_rows_are_asked_with() -> None:
    """Runs of the same report are one question; what is cut asks otherwise."""
    cut = [Part(fields=("clicks",)), Part(fields=("spend",), is_unreadable=True)]
    async with client_of(run_is("Job Completed")) as client:
        whole, again, parts = [
            Report(client, REQUEST, job_of(of), org="org", clock=SetClock()).query_hash
            for of in ([Part("6023", 1.0)], [Part("6024", 2.0)], cut)
        ]
    account_id = REQUEST.account.account_id
    assert whole == again == query_hash(account_id, report_form(REQUEST, Part()))
    assert parts == query_hash(account_id, report_form(REQUEST, cut[0]))


async def test_a_report_is_kept_before_it_is_waited_for() -> None:
    """One call makes it; its id is given out at once, and then the reading ends."""
    gate, asked = RecordingGate(), list[httpx.Request]()

    def script(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"report_run_id": "6023"})

    (job,), end = await steps(script, None, SetClock(), gate=gate)
    assert isinstance(job, PlatformJob)
    assert job.job_id == "6023"
    assert isinstance(end, NotReadyError)
    assert not end.quota
    assert [(it.method, it.url.path) for it in asked] == [("POST", "/v26.0/act_1001/insights")]
    limits = ("app:614:percent", "account:1001:percent", "account:1001:jobs")
    assert gate.entered == [(limits, False)]


async def test_waits_grow_with_the_age_of_the_report() -> None:
    """From two seconds on it is asked again after half of its age, and each minute at least."""
    waits = []
    for age in (0, 10, 60, 3600):
        found, end = await steps(run_is("Job Running", 40), *job_aged(age))
        assert found == []
        assert isinstance(end, NotReadyError)
        waits.append(end.seconds)
    assert waits == [2, 5, 30, 60]


@pytest.mark.parametrize(
    ("status", "percent", "age", "ends"),
    [
        ("Job Not Started", 0, START_SECONDS - 1, False),
        ("Job Not Started", 0, START_SECONDS, True),
        ("Job Started", 0, START_SECONDS, False),
        ("Job Running", 100, FINISH_SECONDS - 1, False),
        ("Job Running", 100, FINISH_SECONDS, True),
        ("a word that nobody knows", 5, 60, False),
        ("Job Skipped", 0, 0, True),
    ],
)
async def test_reports_that_do_not_end(status: str, percent: int, age: float, ends: bool) -> None:
    """A report that is stuck, or that Meta skips, is forgotten and asked for in the next try."""
    found, end = await steps(run_is(status, percent), *job_aged(age))
    if not ends:
        assert isinstance(end, NotReadyError)
        return
    assert isinstance(end, ReadingError)
    assert end.failure.error_class is ErrorClass.TRANSIENT
    assert [it.job_id for it in found if isinstance(it, PlatformJob)] == [""]


@pytest.mark.parametrize(
    "error",
    [
        {"code": 100, "error_subcode": 33, "message": "does not exist"},
        {"code": 803, "message": "Some of the aliases you requested do not exist: 6023"},
    ],
)
async def test_a_report_that_is_not_there(error: Mapping[str, object]) -> None:
    """For a moment after its birth it is waited for; later it has been lost and is made again."""

    def script(_: httpx.Request) -> httpx.Response:
        return httpx.Response(400, json={"error": error})

    assert VISIBLE_SECONDS <= 10
    _, end = await steps(script, *job_aged(VISIBLE_SECONDS - 1))
    assert isinstance(end, NotReadyError)
    (forgotten,), end = await steps(script, *job_aged(VISIBLE_SECONDS))
    assert isinstance(forgotten, PlatformJob)
    assert forgotten.job_id == ""
    assert isinstance(end, ReadingError)
    assert end.failure.error_class is ErrorClass.TRANSIENT, "it is no missing permission"


async def test_an_old_report_is_made_again() -> None:
    """Its rows are those of another day; what was found out meanwhile would be lost."""
    calls: list[str] = []

    def script(request: httpx.Request) -> httpx.Response:
        calls.append(request.method)
        return httpx.Response(200, json={"report_run_id": "6024"})

    (job,), end = await steps(script, *job_aged(STALE_SECONDS))
    assert calls == ["POST"]
    assert isinstance(job, PlatformJob)
    assert job.job_id == "6024"
    assert isinstance(end, NotReadyError)


async def test_days_that_are_too_large_go_back_to_the_caller() -> None:
    """Several days are not cut here."""
    request = replace(REQUEST, end_date=REQUEST.end_date + timedelta(days=1))
    _, end = await steps(TOO_LARGE, *job_aged(60), request=request)
    assert isinstance(end, ReadingError)
    assert end.failure.error_class is ErrorClass.TOO_LARGE
    assert end.failure.platform_code == "2/1504038"


async def test_a_day_of_an_account_is_cut_by_fields() -> None:
    """Each half has the keys, and together they have every other field once."""
    request = replace(REQUEST, level="ACCOUNT")
    whole = report_form(request, Part())["fields"].split(",")
    (job,), end = await steps(TOO_LARGE, *job_aged(60), request=request)
    assert isinstance(end, NotReadyError)
    assert isinstance(job, PlatformJob)
    first, second = [report_form(request, it)["fields"].split(",") for it in parts_of(job)]
    keys = {"account_id", "date_start", "date_stop"}
    assert {*first} & {*second} == keys
    assert sorted([*first, *second]) == sorted([*whole, *keys])


async def test_where_nothing_can_be_read_the_report_fails_as_a_whole() -> None:
    """A later try asks for all of it again, and misses nothing in silence."""
    clock = SetClock()
    made = clock.moment.timestamp()
    parts = [
        Part("", made, fields=("clicks",), is_unreadable=True),
        Part("7", made, fields=("spend",)),
    ]
    (job,), end = await steps(
        TOO_LARGE, job_of(parts), clock, request=replace(REQUEST, level="ACCOUNT")
    )
    assert isinstance(end, ReadingError)
    assert end.failure.error_class is ErrorClass.TOO_LARGE
    assert isinstance(job, PlatformJob)
    assert parts_of(job) == [Part()]


async def test_fields_of_one_row_are_put_together() -> None:
    """Rows come whole, and say which field they lack."""
    clock = SetClock()
    made = clock.moment.timestamp()
    parts = [
        Part("1", made, fields=("clicks",)),
        Part("", made, fields=("actions",), is_unreadable=True),
        Part("2", made, fields=("spend",)),
    ]
    key = {"ad_id": "5", "date_start": "2026-11-02"}

    def script(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/1/insights"):
            return httpx.Response(200, json=page([{**key, "clicks": "3"}]))
        if request.url.path.endswith("/2/insights"):
            return httpx.Response(200, json=page([{**key, "spend": "1.5"}]))
        return httpx.Response(200, json={"async_status": "Job Completed"})

    (found,), end = await steps(script, job_of(parts), clock)
    assert end is None
    assert isinstance(found, ListPage)
    assert found.items == [{**key, "clicks": "3", "spend": "1.5"}]
    assert found.lacks == ("actions",)


async def test_only_the_part_that_ended_is_made_again() -> None:
    """Other parts keep their runs; rows come once all are done, and from all of them."""
    clock = SetClock()
    first, second = Part("1").halves("CAMPAIGN", ["a", "b"])
    made = clock.moment.timestamp()
    parts = [replace(first, run_id="1", start_time=made), replace(second, start_time=made)]
    posted: list[str] = []

    def script(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            posted.append(httpx.QueryParams(request.content.decode())["filtering"])
            return httpx.Response(200, json={"report_run_id": "2"})
        if request.url.path.endswith("/insights"):
            return httpx.Response(200, json=page([{"run": request.url.path}]))
        return httpx.Response(200, json={"async_status": "Job Completed"})

    (job_item,), end = await steps(script, job_of(parts), clock)
    assert isinstance(end, NotReadyError)
    assert isinstance(job_item, PlatformJob)
    assert job_item.job_id == "1,2"
    (filters,) = map(json.loads, posted)
    assert {"field": "campaign.id", "operator": "NOT_IN", "value": ["a"]} in filters
    pages, end = await steps(script, job_item, clock)
    assert end is None
    rows = [row for it in pages if isinstance(it, ListPage) for row in it.items]
    assert rows == [{"run": "/v26.0/1/insights"}, {"run": "/v26.0/2/insights"}]


_KEPT = ["run_id", "start_time", "conditions", "fields", "is_unreadable"]
_TEXTS = st.text(max_size=8)
_PARTS = st.builds(
    Part,
    run_id=_TEXTS,
    start_time=st.floats(0, 1e10),
    conditions=st.lists(
        st.builds(
            Condition,
            level=st.sampled_from(["CAMPAIGN", "AD_GROUP", "AD"]),
            ids=st.lists(_TEXTS, max_size=3).map(tuple),
            is_excluded=st.booleans(),
        ),
        max_size=3,
    ).map(tuple),
    fields=st.lists(_TEXTS, max_size=3).map(tuple),
    is_unreadable=st.booleans(),
)


@given(st.lists(_PARTS, min_size=1, max_size=4))
def test_what_is_kept_is_given_back(parts: list[Part]) -> None:
    """Through JSON and back a report is the same."""
    job = job_of(parts)
    state = json.loads(json.dumps(dict(job.state)))
    assert parts_of(PlatformJob(job.job_id, state)) == parts


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEPT), inner),
    )
)
def test_what_was_kept_otherwise_is_made_anew(state: object) -> None:
    """A job that cannot be read is a new report and no crash."""
    assert parts_of(PlatformJob("1", {"parts": state}))
    assert parts_of(None) == [Part()]


@given(st.lists(st.integers(0, 40), unique=True, min_size=1), st.data())
def test_cutting_loses_nothing(numbers: list[int], data: st.DataObject) -> None:
    """However often it is cut, each object is in exactly one part, known or not."""
    known = [str(it) for it in numbers]
    parts = [Part()]
    for _ in range(data.draw(st.integers(0, 6))):
        place = data.draw(st.integers(0, len(parts) - 1))
        members = [it for it in known if parts[place].may_have("CAMPAIGN", it)]
        if len(members) > 1:
            halves = parts[place].halves("CAMPAIGN", members)
            assert all(
                sum(half.may_have("CAMPAIGN", it) for it in members) < len(members)
                for half in halves
            )
            parts[place : place + 1] = halves
    for it in (*known, "unknown"):
        assert sum(part.may_have("CAMPAIGN", it) for part in parts) == 1


@given(st.dates(date(2020, 1, 1), date(2040, 1, 1)))
def test_days_within_the_retention_are_answered(today: date) -> None:
    """The oldest day that is asked for is one that Meta still has, in every month."""
    source = MetaSource("http://meta.test", version="v26.0", timeout_seconds=1.0)
    days = clamp_to_retention(
        Days(date(2000, 1, 1), today),
        today=today,
        retention_days=source.capabilities.retention_days,
    )
    assert days is not None
    assert days.start > months_before(today, 37)
    assert days.start < months_before(today, 36)


def test_what_the_source_can_do() -> None:
    """Four levels by the day of the interaction, restated for 28 days."""
    source = MetaSource(
        "http://meta.test",
        version="v26.0",
        version_end_date=date(2027, 7, 29),
        timeout_seconds=1.0,
    )
    can = source.capabilities
    assert can.levels == ("ACCOUNT", "CAMPAIGN", "AD_GROUP", "AD")
    assert can.date_bases == ("INTERACTION",)
    assert can.restatement_days == 28
    assert (can.api_version, can.api_version_end_date) == ("v26.0", date(2027, 7, 29))
