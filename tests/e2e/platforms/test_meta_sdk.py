"""Meta's official SDK, unmodified, reads the simulated Graph API end to end."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from facebook_business.adobjects.adaccount import AdAccount
from facebook_business.adobjects.adreportrun import AdReportRun
from facebook_business.adobjects.adsinsights import AdsInsights
from facebook_business.adobjects.user import User
from facebook_business.api import FacebookAdsApi
from facebook_business.exceptions import FacebookBadObjectError, FacebookRequestError
from facebook_business.session import FacebookSession

from liftos_platforms.faults import Fault, FaultKind
from liftos_platforms.meta import MetaFace
from liftos_platforms.meta.queries import names
from liftos_platforms.testing import Platforms
from liftos_platforms.truth import EntityState, Level, Metric, Platform, Row

DAY = date(2026, 11, 2)
FIELDS = [
    "account_id", "account_name", "account_currency", "campaign_id", "campaign_name", "adset_id",
    "adset_name", "ad_id", "ad_name", "objective", "optimization_goal", "attribution_setting",
    "date_start", "date_stop", "spend", "impressions", "reach", "frequency", "clicks",
    "inline_link_clicks", "outbound_clicks", "unique_clicks", "actions", "action_values",
    "purchase_roas", "video_play_actions", "video_thruplay_watched_actions",
    "video_p25_watched_actions", "video_p50_watched_actions", "video_p75_watched_actions",
    "video_p100_watched_actions",
]  # fmt: skip
DELETED_TOO = [
    {
        "field": "ad.effective_status",
        "operator": "IN",
        "value": ["ACTIVE", "PAUSED", "ARCHIVED", "DELETED"],
    }
]


@pytest.fixture
def api(meta: Platforms) -> Iterator[FacebookAdsApi]:
    """The SDK's own client on the face, with `appsecret_proof` as it sends it."""
    face = meta.faces[Platform.META]
    assert isinstance(face, MetaFace)
    graph = type("Session", (FacebookSession,), {"GRAPH": meta.url(Platform.META)})
    session = graph(face.app_id, face.app_secret, meta.token(Platform.META), timeout=10)
    yield FacebookAdsApi(session)
    session.requests.close()


async def do(call: Callable[[], Any]) -> Any:
    """Run a call of the SDK, which blocks, beside the face."""
    return await asyncio.to_thread(call)


def parameters(level: str, day: date = DAY, **more: object) -> dict[str, object]:
    """Parameters of a report of one day."""
    return {
        "level": level,
        "time_range": {"since": day.isoformat(), "until": day.isoformat()},
        "time_increment": 1,
        "action_attribution_windows": ["1d_click", "7d_click", "28d_click", "1d_view", "1d_ev"],
        **more,
    }


def run_report(api: FacebookAdsApi, account_id: str, **more: Any) -> list[AdsInsights]:
    """Submit, poll until it has ended, and read all pages."""
    account = AdAccount(f"act_{account_id}", api=api)
    run = account.get_insights_async(
        fields=list(more.pop("fields", FIELDS)), params=parameters(**more)
    )
    for _ in range(10):
        run = run.api_get()
        if run[AdReportRun.Field.async_status] == "Job Completed":
            return list(run.get_insights(params={"limit": 7}))
    raise AssertionError(run)


def micros(text: str | None) -> int:
    """Micros of a decimal in major units."""
    return int(Decimal(text or 0) * 1_000_000)


def action(row: AdsInsights, field: str, name: str = "value") -> str | None:
    """A number of the purchase in a list of actions."""
    return next(
        (a.get(name) for a in row.get(field, []) if a["action_type"] == "omni_purchase"), None
    )


def assert_same(found: AdsInsights, true: Row) -> None:
    """Every number of a row is the truth's, to the micro."""
    metrics = true.metrics
    assert micros(found["spend"]) == metrics[Metric.SPEND_MICROS]
    assert int(found["impressions"]) == metrics[Metric.IMPRESSIONS]
    assert int(found["clicks"]) == metrics[Metric.CLICKS]
    assert int(found["reach"]) == metrics[Metric.REACH]
    assert int(found.get("inline_link_clicks", 0)) == metrics.get(Metric.LINK_CLICKS, 0)
    for field, stem in (("actions", "conversions"), ("action_values", "revenue")):
        assert micros(action(found, field)) == metrics.get(Metric(f"{stem}_micros"), 0)
        for window in ("1d_click", "7d_click", "28d_click", "1d_view", "1d_ev"):
            true_value = metrics.get(Metric(f"{stem}_{window}_micros"), 0)
            assert micros(action(found, field, window)) == true_value


@pytest.mark.parametrize(
    ("level", "truth_level", "id_field", "dropped"),
    [
        ("account", Level.ACCOUNT, None, ("campaign", "adset", "ad_", "objective", "optim")),
        ("campaign", Level.CAMPAIGN, "campaign_id", ("adset", "ad_", "optim")),
        ("adset", Level.AD_GROUP, "adset_id", ("ad_",)),
        ("ad", Level.AD, "ad_id", ()),
    ],
)
@pytest.mark.parametrize("account_id", ["1001", "1003", "1004"])
async def test_a_report_is_the_truth_at_every_level(
    meta: Platforms,
    api: FacebookAdsApi,
    *,
    account_id: str,
    level: str,
    truth_level: Level,
    id_field: str | None,
    dropped: tuple[str, ...],
) -> None:
    """Rows of an asynchronous report, over several pages, are the truth's rows and no others."""
    fields = [field for field in FIELDS if not (dropped and field.startswith(dropped))]
    found = await do(lambda: run_report(api, account_id, level=level, fields=fields))
    true = meta.simulation.rows(Platform.META, account_id, level=truth_level, day=DAY)
    assert len(found) == len(true) > 0
    for row, expected in zip(found, true, strict=True):
        if id_field is not None:
            assert expected.entity is not None
            assert row[id_field] == expected.entity.entity_id
        assert row["date_start"] == row["date_stop"] == DAY.isoformat()
        assert row["account_id"] == account_id
        assert_same(row, expected)


async def test_deleted_ads_come_when_they_are_asked_for(
    meta: Platforms, api: FacebookAdsApi
) -> None:
    """By default an account's ads lack the archived and deleted; its campaigns have their spend."""
    day = date(2026, 10, 10)
    shown = await do(lambda: run_report(api, "1001", level="ad", day=day))
    every = await do(lambda: run_report(api, "1001", level="ad", day=day, filtering=DELETED_TOO))
    true = meta.simulation.rows(
        Platform.META, "1001", level=Level.AD, day=day, states=frozenset(EntityState)
    )
    assert len(shown) < len(every) == len(true)
    account = meta.simulation.rows(Platform.META, "1001", level=Level.ACCOUNT, day=day)
    assert sum(micros(row["spend"]) for row in every) == account[0].metrics[Metric.SPEND_MICROS]


async def test_a_synchronous_report_pages_through_days(
    meta: Platforms, api: FacebookAdsApi
) -> None:
    """A range is inclusive at both ends, and a page may end within a day."""
    days = [DAY + timedelta(days=step) for step in range(3)]
    found = await do(
        lambda: list(
            AdAccount("act_1002", api=api).get_insights(
                fields=["campaign_id", "spend"],
                params=parameters(
                    "campaign",
                    time_range={"since": str(days[0]), "until": str(days[-1])},
                    limit=5,
                ),
            )
        )
    )
    true = [
        (str(day), row.campaign_id, row.metrics[Metric.SPEND_MICROS])
        for day in days
        for row in meta.simulation.rows(Platform.META, "1002", level=Level.CAMPAIGN, day=day)
    ]
    assert [(r["date_start"], r["campaign_id"], micros(r["spend"])) for r in found] == true


@pytest.mark.parametrize("breakdowns", [["publisher_platform"], ["age", "gender"]])
async def test_a_breakdown_sums_to_the_row_that_it_splits(
    meta: Platforms, api: FacebookAdsApi, breakdowns: list[str]
) -> None:
    """Age and gender, or platforms, sum to the truth, also in yen."""
    found = await do(
        lambda: run_report(
            api, "1003", level="account", fields=["spend", "impressions"], breakdowns=breakdowns
        )
    )
    true = meta.simulation.rows(Platform.META, "1003", level=Level.ACCOUNT, day=DAY)[0]
    assert sum(micros(row["spend"]) for row in found) == true.metrics[Metric.SPEND_MICROS]
    assert sum(int(row["impressions"]) for row in found) == true.metrics[Metric.IMPRESSIONS]
    assert all(row[name] for row in found for name in breakdowns)


async def test_the_accounts_of_a_token(meta: Platforms, api: FacebookAdsApi) -> None:
    """Discovery lists all accounts, closed ones too, over pages."""
    found = await do(
        lambda: list(
            User("me", api=api).get_ad_accounts(
                fields=["account_id", "name", "currency", "timezone_name", "account_status"],
                params={"limit": 4},
            )
        )
    )
    assert [account["account_id"] for account in found] == [
        "1001", "1002", "1003", "1004", "1005", "1006",
    ]  # fmt: skip
    assert {a["account_id"]: a["account_status"] for a in found}["1006"] == 2
    assert {a["account_id"]: a["timezone_name"] for a in found}["1004"] == "Pacific/Tongatapu"


async def test_campaigns_ad_sets_and_ads(meta: Platforms, api: FacebookAdsApi) -> None:
    """Edges list what lives, count it, and list what is deleted when it is asked for."""
    account = AdAccount("act_1001", api=api)

    def read() -> tuple[Any, Any, Any]:
        campaigns = account.get_campaigns(fields=["name", "effective_status"])
        ads = account.get_ads(fields=["name", "adset_id", "campaign_id"], params={"limit": 6})
        deleted = account.get_ads(params={"effective_status": ["DELETED"]})
        return (campaigns.total(), [c["name"] for c in campaigns]), list(ads), list(deleted)

    (count, campaign_names), ads, deleted = await do(read)
    assert count == len(campaign_names) == 4
    assert campaign_names[0].endswith("(renamed)")
    assert len(ads) == 22
    assert len(deleted) == 1


async def test_a_batch_asks_for_many_runs_at_once(meta: Platforms, api: FacebookAdsApi) -> None:
    """Items of a batch succeed and fail one by one."""
    answers: list[Any] = []
    failures: list[Any] = []

    def read() -> None:
        batch = api.new_batch()
        for account_id in ("1001", "1002", "999"):
            AdAccount(f"act_{account_id}", api=api).api_get(
                fields=["name"], batch=batch, success=answers.append, failure=failures.append
            )
        assert batch.execute() is None

    await do(read)
    assert [answer.json()["name"] for answer in answers] == ["Nordlicht DE", "Nordlicht US"]
    assert failures[0].error().api_error_code() == 100
    assert len(meta.simulation.journal.calls(endpoint="batch")) == 1


@pytest.mark.parametrize(
    ("kind", "code", "subcode", "status"),
    [
        (FaultKind.ACCOUNT_LIMITED, 17, 2446079, 400),
        (FaultKind.INSIGHTS_LIMITED, 80000, 2446079, 400),
        (FaultKind.APP_LIMITED, 4, 1504022, 403),
        (FaultKind.CALLS_LIMITED, 613, 1487742, 400),
        (FaultKind.TOO_MUCH_DATA, 1, None, 500),
        (FaultKind.DATA_LIMIT_EXCEEDED, 100, 1487534, 400),
        (FaultKind.TOKEN_EXPIRED, 190, 463, 401),
        (FaultKind.SERVER_ERROR, 2, None, 500),
    ],
)
async def test_the_sdk_reads_refusals(
    meta: Platforms,
    api: FacebookAdsApi,
    *,
    kind: FaultKind,
    code: int,
    subcode: int | None,
    status: int,
) -> None:
    """A refusal has code, subcode and usage headers where the SDK looks for them."""
    meta.simulation.faults.add(Fault(kind, Platform.META, amount=7))
    with pytest.raises(FacebookRequestError) as caught:
        await do(
            lambda: AdAccount("act_1001", api=api).get_insights(
                fields=["spend"], params=parameters("account")
            )
        )
    error = caught.value
    assert (error.api_error_code(), error.api_error_subcode()) == (code, subcode)
    assert error.http_status() == status
    assert "X-Business-Use-Case-Usage" in error.http_headers()
    if subcode == 2446079:
        assert (
            '"estimated_time_to_regain_access": 7'
            in (error.http_headers()["X-Business-Use-Case-Usage"])
        )
    assert meta.simulation.faults.unstruck() == ()


async def test_a_refused_run_tells_why(meta: Platforms, api: FacebookAdsApi) -> None:
    """A failed run carries its error on the run."""
    meta.simulation.faults.add(Fault(FaultKind.RUN_TOO_LARGE, Platform.META))
    run = await do(
        lambda: AdAccount("act_1001", api=api).get_insights_async(
            fields=["spend"], params=parameters("ad")
        )
    )
    for _ in range(2):
        run = await do(run.api_get)
    assert run[AdReportRun.Field.async_status] == "Job Failed"
    assert run[AdReportRun.Field.error_subcode] == 1504038


async def test_null_instead_of_rows_breaks_the_sdk(meta: Platforms, api: FacebookAdsApi) -> None:
    """The SDK chokes on `{"data": null}`, as it does in the wild."""
    meta.simulation.faults.add(Fault(FaultKind.DATA_IS_NULL, Platform.META))
    with pytest.raises(FacebookBadObjectError):
        await do(
            lambda: AdAccount("act_1001", api=api).get_insights(
                fields=["spend"], params=parameters("account")
            )
        )


def test_the_face_knows_every_name_of_the_sdk() -> None:
    """Fields, breakdowns and windows are those of the SDK's release, no more and no less."""
    for group, enum in (
        ("fields", AdsInsights.Field),
        ("breakdowns", AdsInsights.Breakdowns),
        ("action_breakdowns", AdsInsights.ActionBreakdowns),
        ("windows", AdsInsights.ActionAttributionWindows),
        ("date_presets", AdsInsights.DatePreset),
    ):
        published = {v for name, v in vars(enum).items() if not name.startswith("__")}
        assert names()[group] == published
