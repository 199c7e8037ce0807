"""Settings and sources of an org, against real Postgres."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from tests.e2e.memory.conftest import ClientFactory
from tests.inprocess.kit.statuses import Refusal, refusal_of

from liftos.memory.v1 import entry_pb2, source_pb2
from liftos.memory.v1 import memory_service_pb2 as pb


async def refused(call: Awaitable[object]) -> Refusal:
    """The error that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal_of(caught.value)


def update(org: str, *paths: str, **fields: Any) -> pb.UpdateOrgSettingsRequest:
    """A change of settings."""
    request = pb.UpdateOrgSettingsRequest(
        org_settings=source_pb2.OrgSettings(name=f"orgs/{org}/settings", **fields)
    )
    request.update_mask.paths.extend(paths)
    return request


async def settings_of(memory_client: ClientFactory, org: str) -> source_pb2.OrgSettings:
    """The settings of now."""
    request = pb.GetOrgSettingsRequest(name=f"orgs/{org}/settings")
    response = await memory_client(org, "reader").GetOrgSettings(request)
    settings: source_pb2.OrgSettings = response.org_settings
    return settings


async def test_settings_begin_with_defaults(memory_client: ClientFactory, org: str) -> None:
    """An org that stored nothing has settings all the same, and an etag to change them by."""
    settings = await settings_of(memory_client, org)
    assert settings.fiscal_start_month == 1
    assert settings.hemisphere == source_pb2.HEMISPHERE_NORTHERN
    assert settings.base_currency_code == "USD"
    assert list(settings.region_codes) == ["US"]
    assert settings.etag
    assert not settings.HasField("update_time")


async def test_the_settings_say_the_newest_write(memory_client: ClientFactory, org: str) -> None:
    """The token changes with each write, and never without one."""

    async def newest() -> str:
        request = pb.GetOrgSettingsRequest(name=f"orgs/{org}/settings")
        token: str = (await memory_client(org, "reader").GetOrgSettings(request)).write_token
        return token

    first = await newest()
    assert await newest() == first
    await memory_client(org, "admin").UpdateOrgSettings(update(org, fiscal_start_month=4))
    assert await newest() != first


async def test_an_update_changes_the_masked_fields_only(
    memory_client: ClientFactory, org: str
) -> None:
    """What the mask does not name stays; what it names and the message leaves unset is reset."""
    admin = memory_client(org, "admin")
    first = await settings_of(memory_client, org)
    changed = await admin.UpdateOrgSettings(
        update(
            org,
            fiscal_start_month=4,
            hemisphere=source_pb2.HEMISPHERE_SOUTHERN,
            base_currency_code="AUD",
            region_codes=["AU-NSW", "NZ"],
            etag=first.etag,
        )
    )
    assert changed.org_settings == await settings_of(memory_client, org)
    assert changed.org_settings.etag != first.etag
    reset = await admin.UpdateOrgSettings(
        update(org, "region_codes", "fiscal_start_month", fiscal_start_month=7)
    )
    settings = reset.org_settings
    assert settings.fiscal_start_month == 7
    assert list(settings.region_codes) == ["US"]
    assert settings.base_currency_code == "AUD"
    assert settings.hemisphere == source_pb2.HEMISPHERE_SOUTHERN


async def test_of_two_writers_one_must_read_again(memory_client: ClientFactory, org: str) -> None:
    """Of several updates with one etag exactly one lands, also where nothing was stored before."""
    admin = memory_client(org, "admin")
    for _ in range(2):
        etag = (await settings_of(memory_client, org)).etag
        results = await asyncio.gather(
            *(
                admin.UpdateOrgSettings(
                    update(org, "fiscal_start_month", fiscal_start_month=month, etag=etag)
                )
                for month in (2, 3, 4, 5)
            ),
            return_exceptions=True,
        )
        failures = [refusal_of(it) for it in results if isinstance(it, grpc.aio.AioRpcError)]
        assert [it.reason for it in failures] == ["ERROR_REASON_ETAG_MISMATCH"] * 3
        assert {it.code for it in failures} == {grpc.StatusCode.ABORTED}
        [landed] = [it for it in results if not isinstance(it, BaseException)]
        assert landed.org_settings == await settings_of(memory_client, org)


@pytest.mark.parametrize(
    ("fields", "paths", "violation"),
    [
        ({"region_codes": ["DE", "XX"]}, (), ("org_settings.region_codes[1]", "region")),
        ({"region_codes": ["DE-XX"]}, (), ("org_settings.region_codes[0]", "region")),
        ({"region_codes": ["de"]}, (), ("org_settings.region_codes[0]", "string.pattern")),
        ({"region_codes": ["DE", "DE"]}, (), ("org_settings.region_codes", "repeated.unique")),
        ({"base_currency_code": "XAU"}, (), ("org_settings.base_currency_code", "currency")),
        ({"base_currency_code": "usd"}, (), ("org_settings.base_currency_code", "string.pattern")),
        ({"fiscal_start_month": 13}, (), ("org_settings.fiscal_start_month", "int32.gte_lte")),
        ({"etag": "no hex"}, (), ("org_settings.etag", "etag")),
        ({}, ("etag",), ("update_mask", "mask")),
        ({}, ("colour",), ("update_mask", "field_mask")),
    ],
)
async def test_what_cannot_be_a_setting_is_refused(
    memory_client: ClientFactory,
    org: str,
    fields: dict[str, Any],
    paths: tuple[str, ...],
    violation: tuple[str, str],
) -> None:
    """The field at fault is named, and nothing is stored."""
    refusal = await refused(
        memory_client(org, "admin").UpdateOrgSettings(update(org, *paths, **fields))
    )
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.violations == (violation,)
    assert not (await settings_of(memory_client, org)).HasField("update_time")


async def test_the_base_currency_stays_while_there_are_rates(
    memory_client: ClientFactory, org: str
) -> None:
    """Stored rates would mean other money; all other settings still change."""
    admin = memory_client(org, "admin")
    rate = source_pb2.ExchangeRate(currency_code="EUR", date="2026-01-01", rate="1.08")
    await admin.UpsertExchangeRates(
        pb.UpsertExchangeRatesRequest(parent=f"orgs/{org}", exchange_rates=[rate])
    )
    refusal = await refused(
        admin.UpdateOrgSettings(update(org, "base_currency_code", base_currency_code="GBP"))
    )
    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refusal.reason == "ERROR_REASON_STATE_TRANSITION_INVALID"
    await admin.UpdateOrgSettings(update(org, "fiscal_start_month", fiscal_start_month=2))
    assert (await settings_of(memory_client, org)).base_currency_code == "USD"


async def test_settings_need_an_admin_of_the_org(memory_client: ClientFactory, org: str) -> None:
    """Writers may not change how everybody's data is read, and nobody another org's."""
    refusal = await refused(memory_client(org, "writer").UpdateOrgSettings(update(org)))
    assert refusal.reason == "ERROR_REASON_ROLE_INSUFFICIENT"
    foreign = await refused(memory_client("another", "admin").UpdateOrgSettings(update(org)))
    assert foreign.reason == "ERROR_REASON_ORG_MISMATCH"


async def test_a_closed_org_takes_no_settings(memory_client: ClientFactory, org: str) -> None:
    """The fence of the whole org holds for its settings, events and sources too."""
    admin = memory_client(org, "admin")
    fence = pb.SetWriteFenceRequest(parent=f"orgs/{org}", scope="*", epoch=3, closed=True)
    await admin.SetWriteFence(fence)
    refusal = await refused(admin.UpdateOrgSettings(update(org)))
    assert refusal.reason == "ERROR_REASON_FENCE_CLOSED"
    assert refusal.metadata == {"scope": "*", "epoch": "3"}


def source(org: str, name: str, **fields: Any) -> pb.UpsertSourceRequest:
    """A source to register."""
    fields.setdefault("display_name", name.title())
    return pb.UpsertSourceRequest(
        source=source_pb2.Source(name=f"orgs/{org}/sources/{name}", **fields)
    )


async def test_sources_are_listed_in_pages_built_in_ones_first(
    memory_client: ClientFactory, org: str
) -> None:
    """Every page size gives the same list, and none but the org's own sources."""
    admin = memory_client(org, "admin")
    for name in ("tiktok", "competitor", "weather"):
        await admin.UpsertSource(source(org, name))
    await memory_client("another", "admin").UpsertSource(source("another", "secret"))
    expected = ["meta", "google_ads", "klaviyo", "offline", "commerce", "dbt"]
    expected += ["competitor", "tiktok", "weather"]
    for page_size in (1, 2, 5, 6, 8, 100):
        names: list[str] = []
        token = ""
        while True:
            response = await admin.ListSources(
                pb.ListSourcesRequest(parent=f"orgs/{org}", page_size=page_size, page_token=token)
            )
            assert len(response.sources) <= page_size
            names += [it.name.rpartition("/")[2] for it in response.sources]
            built_in = [it.built_in for it in response.sources]
            assert built_in == sorted(built_in, reverse=True)
            token = response.next_page_token
            if not token:
                break
        assert names == expected, page_size


async def test_a_source_changes_its_name_and_keeps_its_creation(
    memory_client: ClientFactory, org: str
) -> None:
    """The id is the key; a mapping is kept as it came, until a change leaves it away."""
    admin = memory_client(org, "admin")
    first = (await admin.UpsertSource(source(org, "tiktok"))).source
    assert not first.HasField("mapping")
    mapping = {"columns": {"date": "day", "clicks": "hits"}}
    mapped = (await admin.UpsertSource(source(org, "tiktok", mapping=mapping))).source
    assert json_format.MessageToDict(mapped.mapping) == mapping
    assert (first.takes_raw_rows, mapped.takes_raw_rows) == (False, True)
    again = (await admin.UpsertSource(source(org, "tiktok", display_name="TT"))).source
    assert not again.HasField("mapping")
    assert again.display_name == "TT"
    assert again.create_time == first.create_time
    listed = await admin.ListSources(pb.ListSourcesRequest(parent=f"orgs/{org}"))
    assert listed.sources[-1] == again
    assert {each.name.rpartition("/")[2] for each in listed.sources if each.takes_raw_rows} == {
        "meta",
        "google_ads",
        "klaviyo",
        "dbt",
    }


async def test_entries_may_name_a_new_source_at_once(
    memory_client: ClientFactory, org: str
) -> None:
    """A platform that was refused a moment ago is taken once its source is there."""
    admin = memory_client(org, "admin")
    entry = entry_pb2.Entry(
        platform="radio",
        level=entry_pb2.ENTRY_LEVEL_ACCOUNT,
        account_id="1",
        date="2026-01-05",
        metrics=entry_pb2.Metrics(clicks=1),
    )
    request = pb.BatchUpsertEntriesRequest(
        parent=f"orgs/{org}", rows=entry_pb2.EntryBatch(entries=[entry])
    )
    response = await admin.BatchUpsertEntries(request)
    assert [it.rule for it in response.item_errors] == ["UNKNOWN_PLATFORM"]
    await admin.UpsertSource(source(org, "radio"))
    assert (await admin.BatchUpsertEntries(request)).upserted_count == 1


async def test_built_in_ids_and_broken_mappings_are_refused(
    memory_client: ClientFactory, org: str
) -> None:
    """A built-in source cannot be changed, and a mapping that breaks rules is not stored."""
    admin = memory_client(org, "admin")
    refusal = await refused(admin.UpsertSource(source(org, "meta")))
    assert refusal.code is grpc.StatusCode.ALREADY_EXISTS
    assert refusal.reason == "ERROR_REASON_RESOURCE_ALREADY_EXISTS"
    mapping = {"columns": [{"target": "clicks", "sources": ["hits"]}]}
    refusal = await refused(admin.UpsertSource(source(org, "own", mapping=mapping)))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.violations == (("source.mapping.columns", "mapping.object"),)
    listed = await admin.ListSources(pb.ListSourcesRequest(parent=f"orgs/{org}"))
    assert all(it.built_in for it in listed.sources)
