"""Causal exports through the server, on Postgres."""

import asyncio
import csv
import hashlib
import io
import json
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg
import grpc
import pandas as pd
import pyarrow as pa
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.struct_pb2 import Struct
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import csv as arrow_csv
from pyarrow import parquet
from tests.e2e.memory.export_rows import CURRENCY, FIRST_DAY, LAST_DAY, entry, shop
from tests.inprocess.kit.statuses import Refusal, refusal_of
from tests.unit.liftos_memory.exports.consumer_checks import problems

from liftos.common.v1 import marketing_pb2
from liftos.memory.v1 import artifact_pb2, calendar_pb2, entry_pb2, slice_pb2, source_pb2
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_client import AsyncUnifiedDataAPI, connect
from liftos_client.errors import DataInsufficientError, decode_error
from liftos_kit.structs import plain
from liftos_kit.testing.server import RunningServer, authorization
from liftos_local.testing import TestDatabase
from liftos_memory.domain.arrow_pieces import MAXIMUM_PIECE_BYTES

GOLDEN: Final = Path(__file__).parent / "golden_exports"
FORMATS: Final = ("long", "meridian", "pymc", "robyn")
VOLATILE: Final = ("as_of", "store_version", "made_with", "sha256")
"""What a sidecar says of the store and of libraries, which differ between runs."""


@dataclass(frozen=True)
class Exported:
    """A data set as it came over the wire."""

    arrow: bytes
    sidecar: dict[str, Any]

    @property
    def table(self) -> pa.Table:
        """Its rows."""
        with pa.ipc.open_stream(self.arrow) as reader:
            return reader.read_all()

    @property
    def frame(self) -> pd.DataFrame:
        """Its rows as a frame."""
        frame: pd.DataFrame = self.table.to_pandas(date_as_object=False)
        return frame


async def write(client: Any, org: str, entries: Iterable[entry_pb2.Entry], origin: str = "") -> str:
    """Write entries; return the last write token."""
    left = list(entries)
    token = ""
    for start in range(0, len(left), 500):
        batch = entry_pb2.EntryBatch(entries=left[start : start + 500])
        answer = await client.BatchUpsertEntries(
            pb.BatchUpsertEntriesRequest(parent=f"orgs/{org}", origin=origin, rows=batch)
        )
        assert not answer.item_errors, answer.item_errors
        token = answer.write_token
    return token


def request(org: str, **fields: Any) -> pb.ExportDatasetRequest:
    """Return a request for the whole shop by week."""
    return pb.ExportDatasetRequest(
        **{
            "parent": f"orgs/{org}",
            "date_range": marketing_pb2.DateRange(
                start_date=FIRST_DAY.isoformat(), end_date=LAST_DAY.isoformat()
            ),
            "format": pb.DATASET_FORMAT_PYMC,
            "kpi": "revenue",
            "granularity": pb.GRANULARITY_WEEK,
            "currency_code": CURRENCY,
            "on_gap": pb.GAP_POLICY_ZERO,
            **fields,
        }
    )


async def pieces(client: Any, asked: pb.ExportDatasetRequest) -> list[pb.ExportDatasetResponse]:
    """Return all answers."""
    return [piece async for piece in client.ExportDataset(asked)]


async def export(client: Any, org: str, **fields: Any) -> Exported:
    """Return a data set."""
    answers = await pieces(client, request(org, **fields))
    arrow = b"".join(answer.arrow for answer in answers)
    sidecar = plain(answers[-1].sidecar)
    assert hashlib.sha256(arrow).hexdigest() == sidecar["sha256"]
    assert max(len(answer.arrow) for answer in answers) <= MAXIMUM_PIECE_BYTES
    assert {answer.as_of.ToDatetime(UTC).isoformat() for answer in answers} == {sidecar["as_of"]}
    return Exported(arrow, sidecar)


async def refused(client: Any, org: str, **fields: Any) -> Refusal:
    """Return why a data set is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await pieces(client, request(org, **fields))
    return refusal_of(caught.value)


async def gaps_told(client: Any, org: str, **fields: Any) -> list[str]:
    """Return the gaps for which a data set is refused, in words."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await pieces(client, request(org, on_gap=pb.GAP_POLICY_FAIL, **fields))
    error = decode_error(caught.value)
    assert isinstance(error, DataInsufficientError)
    assert {violation.field for violation in error.field_violations} == {"on_gap"}
    return [violation.description for violation in error.field_violations]


def moment(exported: Exported) -> datetime:
    """Return the state of the store that a data set shows."""
    return datetime.fromisoformat(exported.sidecar["as_of"])


@pytest.fixture(scope="module")
async def shop_org(memory_client: Any) -> str:
    """An org with the shop, an event and settings."""
    org = "export-shop"
    client = memory_client(org)
    await write(client, org, shop())
    await client.UpsertCalendarEvent(
        pb.UpsertCalendarEventRequest(
            calendar_event=calendar_pb2.CalendarEvent(
                name=f"orgs/{org}/calendarEvents/sale",
                display_name="Spring sale",
                date_range=marketing_pb2.DateRange(start_date="2025-04-10", end_date="2025-04-15"),
            )
        )
    )
    await client.UpsertCalendarEvent(
        pb.UpsertCalendarEventRequest(
            calendar_event=calendar_pb2.CalendarEvent(
                name=f"orgs/{org}/calendarEvents/tags",
                display_name="New tags",
                date_range=marketing_pb2.DateRange(start_date="2025-05-01", end_date="2025-05-01"),
                structural_break=True,
            )
        )
    )
    await client.UpdateOrgSettings(
        pb.UpdateOrgSettingsRequest(
            org_settings=source_pb2.OrgSettings(
                name=f"orgs/{org}/settings", base_currency_code="EUR", region_codes=["DE"]
            )
        )
    )
    return org


@pytest.mark.parametrize("format_", FORMATS)
async def test_golden_data_sets(memory_client: Any, shop_org: str, format_: str) -> None:
    """The shop gives the files that are kept, and they pass the checks of their consumers."""
    exported = await export(
        memory_client(shop_org), shop_org, format=f"DATASET_FORMAT_{format_.upper()}"
    )
    assert problems(exported.frame, exported.sidecar) == []
    text = io.BytesIO()
    arrow_csv.write_csv(exported.table, text)
    told = {name: value for name, value in exported.sidecar.items() if name not in VOLATILE}
    sidecar = json.dumps(told, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    assert text.getvalue().decode() == (GOLDEN / f"{format_}.csv").read_text()
    assert sidecar == (GOLDEN / f"{format_}.json").read_text()


async def test_sums_are_those_of_query_metrics(memory_client: Any, org: str) -> None:
    """Also where money is converted by dated rates, to the last micro."""
    client = memory_client(org)
    await write(client, org, shop(days=56, currency="GBP"))
    await client.UpsertExchangeRates(
        pb.UpsertExchangeRatesRequest(
            parent=f"orgs/{org}",
            exchange_rates=[
                source_pb2.ExchangeRate(currency_code=code, date=day, rate=rate)
                for code, day, rate in (
                    ("GBP", "2025-01-01", "1.234567891234"),
                    ("GBP", "2025-03-19", "1.301"),
                    ("EUR", "2025-01-01", "1.0835"),
                    ("EUR", "2025-04-02", "1.11"),
                )
            ],
        )
    )
    days = marketing_pb2.DateRange(start_date=FIRST_DAY.isoformat(), end_date="2025-04-27")
    exported = await export(client, org, date_range=days)
    page = await client.QueryMetrics(
        pb.QueryMetricsRequest(
            parent=f"orgs/{org}",
            date_range=days,
            level=entry_pb2.ENTRY_LEVEL_CAMPAIGN,
            granularity=pb.GRANULARITY_WEEK,
            group_by=["platform", "channel"],
            currency_code=CURRENCY,
        )
    )
    columns = {
        (one["platform"], one["platform_channel"]): one["spend"]
        for one in exported.sidecar["channels"]
    }
    frame = exported.frame.set_index("date")
    compared = 0
    for row in page.rows:
        column = columns[row.group["platform"], row.group["channel"]]
        spend = frame.loc[pd.Timestamp(row.period_start_date), column]
        assert spend == row.metrics.spend_micros / 1_000_000
        compared += 1
    assert compared == 8 * 4
    refusal = await refused(client, org, date_range=days, currency_code="JPY")
    assert refusal.reason == "ERROR_REASON_RATE_MISSING"


_CHANGES: Final = st.lists(
    st.tuples(
        st.sampled_from(
            ("restate", "more", "purge", "event", "drop event", "rate", "settings", "slice")
        ),
        st.integers(0, 5),
    ),
    min_size=3,
    max_size=9,
)


async def _change(client: Any, org: str, what: str, number: int) -> None:
    """Do one of the things that could change a data set of before."""
    day = FIRST_DAY + timedelta(days=3 * number)
    match what:
        case "restate":
            changed = list(shop(day, 5))
            for one in changed:
                if one.metrics.HasField("spend_micros"):
                    one.metrics.spend_micros += 10_000 * (number + 1)
                if one.metrics.HasField("revenue_micros"):
                    one.metrics.revenue_micros += 1_000_000
            await write(client, org, changed, origin=f"run-{number % 2}")
        case "more":
            await write(
                client,
                org,
                [
                    entry(
                        day,
                        "meta",
                        "CAMPAIGN",
                        "act_1",
                        campaign_id=f"new-{number}",
                        channel=f"channel {number}",
                        currency_code=CURRENCY,
                        spend_micros=number * 1_000_000,
                        impressions=100,
                    )
                ],
                origin=f"run-{number % 2}",
            )
        case "purge":
            await client.PurgeEntries(
                pb.PurgeEntriesRequest(
                    parent=f"orgs/{org}",
                    origin=f"run-{number % 2}",
                    force=True,
                    request_id="6fd24f1e-7a0f-4ed5-9b76-0d2bb9a92e" + secrets.token_hex(1),
                )
            )
        case "event":
            await client.UpsertCalendarEvent(
                pb.UpsertCalendarEventRequest(
                    calendar_event=calendar_pb2.CalendarEvent(
                        name=f"orgs/{org}/calendarEvents/e{number % 2}",
                        display_name=f"Event {number}",
                        date_range=marketing_pb2.DateRange(
                            start_date=day.isoformat(), end_date=day.isoformat()
                        ),
                    )
                )
            )
        case "drop event":
            try:
                await client.DeleteCalendarEvent(
                    pb.DeleteCalendarEventRequest(name=f"orgs/{org}/calendarEvents/e{number % 2}")
                )
            except grpc.aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.NOT_FOUND  # noqa: PT017 - one of two
        case "rate":
            await client.UpsertExchangeRates(
                pb.UpsertExchangeRatesRequest(
                    parent=f"orgs/{org}",
                    exchange_rates=[
                        source_pb2.ExchangeRate(
                            currency_code=CURRENCY,
                            date=f"2025-01-0{number % 2 + 1}",
                            rate=f"1.0{number}",
                        )
                    ],
                )
            )
        case "settings":
            await client.UpdateOrgSettings(
                pb.UpdateOrgSettingsRequest(
                    org_settings=source_pb2.OrgSettings(
                        name=f"orgs/{org}/settings", region_codes=[("DE", "US", "GB")[number % 3]]
                    ),
                    update_mask=FieldMask(paths=["region_codes"]),
                )
            )
        case _:
            await commit_slice(client, org, day, day + timedelta(days=1), [])


async def commit_slice(
    client: Any, org: str, start: date, end: date, entries: list[entry_pb2.Entry]
) -> None:
    """Replace days of the account on Meta by what is given."""

    async def stream() -> Any:
        base: dict[str, Any] = {
            "parent": f"orgs/{org}",
            "stream_id": secrets.token_hex(4),
            "origin": "slice",
        }
        scope = slice_pb2.SliceScope(
            platform="meta",
            account_id="act_1",
            level=entry_pb2.ENTRY_LEVEL_CAMPAIGN,
            date_range=marketing_pb2.DateRange(
                start_date=start.isoformat(), end_date=end.isoformat()
            ),
        )
        yield pb.IngestEntriesRequest(**base, sequence=1, open_slice=pb.SliceOpening(scope=scope))
        if entries:
            rows = entry_pb2.EntryBatch(entries=entries)
            yield pb.IngestEntriesRequest(**base, sequence=2, rows=rows)
        yield pb.IngestEntriesRequest(
            **base, sequence=3 if entries else 2, commit_slice=pb.SliceCommit()
        )

    assert [answer async for answer in client.IngestEntries(stream())]


@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(changes=_CHANGES, format_=st.sampled_from(FORMATS))
async def test_the_same_moment_gives_the_same_bytes(
    memory_client: Any, changes: list[tuple[str, int]], format_: str
) -> None:
    """After restatements, purges, slices and changes of events, rates and settings alike."""
    org = f"org-{secrets.token_hex(4)}"
    client = memory_client(org)
    await write(client, org, shop(days=35), origin="run-0")
    await _change(client, org, "rate", 0)
    asked: dict[str, Any] = {
        "format": f"DATASET_FORMAT_{format_.upper()}",
        "date_range": marketing_pb2.DateRange(
            start_date=FIRST_DAY.isoformat(), end_date="2025-04-06"
        ),
        "granularity": pb.GRANULARITY_DAY,
        "currency_code": "USD",
    }
    shown: list[Exported | Refusal] = []
    moments: list[datetime] = []
    for what, number in changes:
        shown.append(await _tried(client, org, asked))
        moments.append(await _now(client, org))
        await _change(client, org, what, number)
    for before, as_of in zip(shown, moments, strict=True):
        again = await _tried(client, org, asked | {"as_of": as_of})
        if isinstance(before, Exported):
            assert isinstance(again, Exported), again
            assert again.arrow == before.arrow
            # Only the moment itself is another: that of the write, and one after it.
            assert again.sidecar | {"as_of": ""} == before.sidecar | {"as_of": ""}
            exact = await _tried(client, org, asked | {"as_of": moment(before)})
            assert exact == before
        else:
            assert (again.code, again.message) == (before.code, before.message)


async def _tried(client: Any, org: str, asked: dict[str, Any]) -> Any:
    try:
        return await export(client, org, **asked)
    except grpc.aio.AioRpcError as error:
        return refusal_of(error)


async def _now(client: Any, org: str) -> datetime:
    """Return a moment between two writes."""
    await asyncio.sleep(0.002)
    now = datetime.now(UTC)
    await asyncio.sleep(0.002)
    return now


async def test_moments_that_cannot_be_shown(
    memory_client: Any, org: str, database: TestDatabase
) -> None:
    """The future, the time before all data, and what is no longer kept."""
    client = memory_client(org)
    await write(client, org, shop(days=14))
    refusal = await refused(client, org, as_of=datetime.now(UTC) + timedelta(minutes=5))
    assert (refusal.code, refusal.violations[0][0]) == (grpc.StatusCode.INVALID_ARGUMENT, "as_of")
    before = datetime(2026, 1, 1, tzinfo=UTC)
    refusal = await refused(client, org, as_of=before)
    assert refusal.reason == "ERROR_REASON_DATA_INSUFFICIENT"
    assert "from the first write on" in refusal.message
    await write(client, org, shop(days=7, currency="USD"))
    admin = await asyncpg.connect(database.owner_url)
    try:
        await admin.execute("delete from memory.commits where org = $1 and version = 1", org)
    finally:
        await admin.close()
    refusal = await refused(client, org, as_of=before)
    assert refusal.violations[0][0] == "as_of"
    assert "before what is kept" in refusal.message


async def test_an_export_goes_on_after_each_piece(memory_client: Any, shop_org: str) -> None:
    """The rest is the same, also after a write; a token is good for its request alone."""
    client = memory_client(shop_org)
    asked = request(shop_org, format=pb.DATASET_FORMAT_LONG, granularity=pb.GRANULARITY_DAY)
    answers = await pieces(client, asked)
    await write(
        client, shop_org, [entry(FIRST_DAY, "offline", "CAMPAIGN", "o", campaign_id="1", clicks=1)]
    )
    for place, answer in enumerate(answers, 1):
        resumed = pb.ExportDatasetRequest()
        resumed.CopyFrom(asked)
        resumed.resume_token = answer.resume_token
        rest = await pieces(client, resumed)
        assert rest == answers[place:]
    for change in ({"kpi": "orders"}, {"resume_token": answers[0].resume_token + "x"}):
        fields = {"resume_token": answers[0].resume_token, **change}
        refusal = await refused(
            client,
            shop_org,
            format=pb.DATASET_FORMAT_LONG,
            granularity=pb.GRANULARITY_DAY,
            **fields,
        )
        assert refusal.violations[0][0] == "resume_token"


async def test_gaps_by_policy(memory_client: Any, org: str) -> None:
    """FAIL names them, TRIM cuts to what is complete, ZERO lists what it takes for 0."""
    client = memory_client(org)
    lost = {FIRST_DAY + timedelta(days=number) for number in (15, 16)}
    treatments = [
        one
        for one in shop(days=49)
        if one.platform in ("offline", "commerce") or date.fromisoformat(one.date) not in lost
    ]
    await write(client, org, treatments)
    asked: dict[str, Any] = {
        "date_range": marketing_pb2.DateRange(
            start_date=FIRST_DAY.isoformat(), end_date="2025-04-20"
        ),
        "filter": 'platform = "meta"',
    }
    assert await gaps_told(client, org, **asked) == [
        (
            "account act_1 of meta has neither CAMPAIGN entries nor a slice"
            " from 2025-03-18 to 2025-03-19"
        )
    ]
    trimmed = await export(client, org, on_gap=pb.GAP_POLICY_TRIM, **asked)
    assert trimmed.sidecar["start_date"] == "2025-03-24"
    assert [one["start_date"] for one in trimmed.sidecar["trimmed"]] == [
        "2025-03-03",
        "2025-03-10",
        "2025-03-17",
    ]
    filled = await export(client, org, granularity=pb.GRANULARITY_DAY, **asked)
    assert [(gap["start_date"], gap["end_date"]) for gap in filled.sidecar["gaps"]] == [
        ("2025-03-18", "2025-03-19")
    ]
    assert filled.sidecar["filled"]["meta_facebook spend_micros"] == 2
    for exported in (trimmed, filled):
        assert problems(exported.frame, exported.sidecar) == []


async def test_slices_say_that_nothing_happened(memory_client: Any, org: str) -> None:
    """An empty slice connects its days; after a purge it no longer does."""
    client = memory_client(org)
    outcomes = [one for one in shop(days=14) if one.level == entry_pb2.ENTRY_LEVEL_OUTCOME]
    await write(client, org, outcomes)
    first, last = FIRST_DAY, FIRST_DAY + timedelta(days=13)
    meta = [one for one in shop(days=4) if one.platform == "meta"]
    for one in meta:
        one.final = False
    await commit_slice(client, org, first, last, meta)
    asked: dict[str, Any] = {
        "date_range": marketing_pb2.DateRange(
            start_date=first.isoformat(), end_date=last.isoformat()
        ),
        "granularity": pb.GRANULARITY_DAY,
    }
    exported = await export(client, org, on_gap=pb.GAP_POLICY_FAIL, **asked)
    spend = exported.frame["meta_facebook_spend"]
    assert (spend[4:] == 0).all()
    assert (spend[1:4] > 0).all()
    told = f"{len(meta)} of {len(meta) + len(outcomes)} entries are not final: "
    assert any(caveat.startswith(told) for caveat in exported.sidecar["caveats"])
    await client.PurgeEntries(
        pb.PurgeEntriesRequest(
            parent=f"orgs/{org}",
            origin="slice",
            filter='campaign_id = "m-1" AND date = "2025-03-04"',
            force=True,
            request_id="6fd24f1e-7a0f-4ed5-9b76-0d2bb9a92e1c",
        )
    )
    # The other campaign still has an entry of that day.
    await export(client, org, on_gap=pb.GAP_POLICY_FAIL, **asked)
    await client.PurgeEntries(
        pb.PurgeEntriesRequest(
            parent=f"orgs/{org}",
            origin="slice",
            force=True,
            filter='date = "2025-03-04"',
            request_id="6fd24f1e-7a0f-4ed5-9b76-0d2bb9a92e1d",
        )
    )
    assert await gaps_told(client, org, **asked) == [
        "account act_1 of meta has neither CAMPAIGN entries nor a slice on 2025-03-04"
    ]


async def test_units_are_countries(memory_client: Any, org: str) -> None:
    """One row per country and step, with that country's holidays, also where nothing was done."""
    client = memory_client(org)
    entries = []
    for country in ("DE", "US"):
        for number in range(61):
            day = date(2025, 4, 1) + timedelta(days=number)
            entries += [
                entry(
                    day,
                    "meta",
                    "CAMPAIGN",
                    "act",
                    campaign_id="1",
                    breakdown_key=f"country={country}",
                    currency_code="EUR",
                    spend_micros=(number + 1) * 1_000_000,
                    impressions=100 + number,
                ),
                entry(
                    day,
                    "commerce",
                    "OUTCOME",
                    "shop",
                    breakdown_key=f"country={country}",
                    orders=number % 7 + (country == "US"),
                ),
            ]
    entries = [
        one
        for one in entries
        if not (
            one.breakdown_key == "country=US" and one.platform == "meta" and one.date < "2025-05"
        )
    ]
    # No orders are known of a third one.
    for one in [one for one in entries if one.breakdown_key == "country=DE" and one.campaign_id]:
        copy = entry_pb2.Entry()
        copy.CopyFrom(one)
        copy.breakdown_key = "country=FR"
        entries.append(copy)
    await write(client, org, entries)
    asked: dict[str, Any] = {
        "date_range": marketing_pb2.DateRange(start_date="2025-04-01", end_date="2025-05-31"),
        "granularity": pb.GRANULARITY_MONTH,
        "kpi": "orders",
        "unit": "country",
        "format": pb.DATASET_FORMAT_MERIDIAN,
        "on_gap": pb.GAP_POLICY_FAIL,
    }
    exported = await export(client, org, **asked)
    frame = exported.frame
    assert problems(frame, exported.sidecar) == []
    assert list(frame["geo"]) == ["DE", "DE", "US", "US"]
    # Good Friday and Easter Monday, Labour Day and Ascension; Memorial Day.
    assert list(frame["holidays"]) == [2, 2, 0, 1]
    assert frame["meta_spend"].tolist()[2] == 0
    assert exported.sidecar["units_left_out"] == {"FR": 61}
    counts = {name: one["entry_count"] for name, one in exported.sidecar["quality"].items()}
    assert counts == {"orders": 2 * 61, "meta_spend": 61 + 31, "meta_impressions": 61 + 31}
    assert any("population" in caveat for caveat in exported.sidecar["caveats"])
    national = await export(client, org, **asked | {"unit": ""})
    assert national.frame["orders"].sum() == frame["orders"].sum()
    refusal = await refused(client, org, **asked | {"unit": "region"})
    assert "by region alone" in refusal.message


async def test_what_platforms_claim_needs_a_word(memory_client: Any, shop_org: str) -> None:
    """An attributed outcome is refused, or carries its caveat."""
    client = memory_client(shop_org)
    refusal = await refused(client, shop_org, kpi="conversions")
    assert refusal.violations[0][0] == "kpi"
    exported = await export(
        client,
        shop_org,
        kpi="conversions",
        allow_attributed_kpi=True,
        filter='platform = "meta"',
        unit="account_id",
    )
    assert set(exported.frame["unit"]) == {"act_1"}
    assert exported.sidecar["kpi"]["attributed"]
    assert "platforms claim" in exported.sidecar["caveats"][0]


async def test_experiments_go_with_the_data_set(memory_client: Any, org: str) -> None:
    """Lift tests of its channels, as they were at its moment, and the reason where one is not."""
    client = memory_client(org)
    await write(client, org, shop())
    before = await export(client, org)
    assert before.sidecar["lift_tests"] == []
    channel = before.sidecar["channels"][0]
    row = {"channel": channel["channel"], "x": 100, "delta_x": 20, "delta_y": 60, "sigma": 5}
    body = Struct()
    body.update({"lift_tests": [row, row | {"channel": "radio"}]})
    await client.BatchUpsertArtifacts(
        pb.BatchUpsertArtifactsRequest(
            parent=f"orgs/{org}",
            artifacts=[
                artifact_pb2.Artifact(
                    name=f"orgs/{org}/artifacts/{name}",
                    kind=artifact_pb2.ARTIFACT_KIND_RESULT,
                    scope=scope,
                    body=body,
                )
                for name, scope in (("geo-test", "experiments"), ("other", "causal"))
            ],
        )
    )
    after = await export(client, org)
    named = {"channel": channel["spend"] or channel["exposure"]}
    assert after.sidecar["lift_tests"] == [row | named | {"artifact": "geo-test", "version": 1}]
    left_out = "Lift test 2 of artifact geo-test is left out: the data set has no channel 'radio'."
    assert left_out in after.sidecar["caveats"]
    assert after.arrow == before.arrow
    assert await export(client, org, as_of=moment(before)) == before
    assert "lift_tests" not in (await export(client, org, format="DATASET_FORMAT_LONG")).sidecar


async def test_large_data_sets_come_in_pieces(memory_client: Any, org: str) -> None:
    """Each piece keeps its limit, and together they are one stream."""
    client = memory_client(org)
    first = date(2024, 1, 1)
    entries = [
        entry(first, "meta", "CAMPAIGN", "act", campaign_id=f"{n}", channel=f"c{n}", clicks=n + 1)
        for n in range(40)
    ]
    entries.append(entry(first, "commerce", "OUTCOME", "shop", orders=1))
    await write(client, org, entries)
    exported = await export(
        client,
        org,
        format=pb.DATASET_FORMAT_LONG,
        kpi="orders",
        granularity=pb.GRANULARITY_DAY,
        date_range=marketing_pb2.DateRange(start_date="2024-01-01", end_date="2024-01-01"),
    )
    assert exported.table.num_rows == 40
    # The outcome is not made up for the other days.
    refusal = await refused(
        client,
        org,
        kpi="orders",
        date_range=marketing_pb2.DateRange(start_date="2024-01-01", end_date="2024-02-25"),
    )
    assert "no outcome is made up" in refusal.message


async def test_the_client_writes_what_consumers_read(
    memory_server: RunningServer, shop_org: str, tmp_path: Path
) -> None:
    """Parquet, sidecar, CSV and settings; what the files hold is what was sent."""
    token = authorization(shop_org, roles=("reader",))[0][1].removeprefix("Bearer ")
    async with connect(memory_server.target, token=token) as client:
        for format_ in FORMATS:
            folder = tmp_path / format_
            dataset = await client.memory.export_dataset_to(
                folder,
                FIRST_DAY,
                LAST_DAY,
                format=format_,
                kpi="revenue",
                granularity="week",
                on_gap="zero",
            )
            names = {file.name for file in folder.iterdir()}
            expected = {
                "long": {"long.parquet", "sidecar.json"},
                "meridian": {"meridian.parquet", "meridian.csv", "meridian.json", "sidecar.json"},
                "pymc": {"pymc.parquet", "pymc.yml", "sidecar.json"},
                "robyn": {
                    *("robyn.parquet", "robyn.csv", "robyn.json", "holidays.csv", "sidecar.json"),
                },
            }[format_]
            assert names == expected
            told = json.loads((folder / "sidecar.json").read_text())
            for name, digest in told["files"].items():
                assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
            assert parquet.read_table(folder / f"{format_}.parquet").equals(dataset.table)
            assert problems(dataset.frame, dataset.sidecar) == []
        with (tmp_path / "robyn" / "holidays.csv").open() as lines:
            holidays = list(csv.DictReader(lines))
        assert {
            "ds": "2025-05-01",
            "holiday": "Labor Day",
            "country": "DE",
            "year": "2025",
        } in holidays
        again = await client.memory.export_dataset(
            FIRST_DAY,
            LAST_DAY,
            format="robyn",
            kpi="revenue",
            granularity="week",
            on_gap="zero",
            as_of=dataset.sidecar["as_of"],
        )
        assert again == dataset
        by_the_door = await AsyncUnifiedDataAPI(client).export(
            FIRST_DAY, LAST_DAY, format="robyn", on_gap="zero", as_of=dataset.sidecar["as_of"]
        )
        assert by_the_door == dataset


async def test_the_example_in_python(
    memory_server: RunningServer,
    shop_org: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The page's code runs as it stands there."""
    page = Path(__file__).parents[3] / "docs" / "causal_export.md"
    (code,) = re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    token = authorization(shop_org, roles=("reader",))[0][1].removeprefix("Bearer ")
    monkeypatch.chdir(tmp_path)
    at_the_server = code.replace("localhost:8003", memory_server.target)
    await asyncio.to_thread(exec, at_the_server, {"token": token})
    assert (tmp_path / "for_pymc" / "sidecar.json").exists()
    assert "FEW_PERIODS" in capsys.readouterr().out
