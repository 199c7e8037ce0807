"""Sources over the wire: built-in ones, an org's own, and what rows become."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import asyncpg
import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct
from tests.e2e.ingestion.connecting import Caller, PickyPlatform, refusal, told

from liftos.ingestion.v1 import ingestion_service_pb2, source_pb2
from liftos.ingestion.v1 import ingestion_service_pb2 as pb
from liftos.ingestion.v1.ingestion_service_pb2_grpc import add_IngestionServiceServicer_to_server
from liftos.memory.v1.entry_pb2 import Entry, EntryLevel, Metrics
from liftos_client import Client
from liftos_client.errors import LiftosError
from liftos_ingestion.adapters.credential_vault import KeyringVault
from liftos_ingestion.adapters.inmemory_rate_governor import InMemoryRateGovernor
from liftos_ingestion.adapters.memory_checks import MemoryEntryChecks
from liftos_ingestion.adapters.postgres.connections import (
    PostgresConnectionOpener,
    PostgresConnections,
)
from liftos_ingestion.adapters.postgres.sources import PostgresSources
from liftos_ingestion.catalog_ports import NewSource, OwnSource, SourceKind
from liftos_ingestion.domain.failures import ErrorClass
from liftos_ingestion.servicer.connections import ConnectionsServicer
from liftos_ingestion.servicer.sources import SourcesServicer
from liftos_ingestion.source_ports import JsonObject, PlatformAccount
from liftos_ingestion.usecases.connections import ConnectionAdministration
from liftos_ingestion.usecases.previews import Previews
from liftos_ingestion.usecases.sources import Catalog, SourceAdministration
from liftos_kit import postgres
from liftos_kit.core.clock import SystemClock
from liftos_kit.core.errors import FieldViolation, InvalidFieldsError
from liftos_kit.core.paging import PageTokens
from liftos_kit.secrets.credentials import SecretPlaces
from liftos_kit.secrets.keyring import Keyring
from liftos_kit.servicer_parts import combine
from liftos_kit.testing.server import running_server
from liftos_mapping.language import compile_mapping
from liftos_mapping.mapping import PlatformMapping

_SERVICE = ingestion_service_pb2.DESCRIPTOR.services_by_name["IngestionService"]
_MAPPING: JsonObject = {"date_basis": "EVENT", "columns": {"date": "day", "clicks": "hits"}}


def check_source(
    kind: SourceKind, definition: JsonObject, mapping: JsonObject
) -> Sequence[FieldViolation]:
    """Ask for a place, and for a mapping with a date."""
    found = []
    if "url" not in definition:
        found.append(FieldViolation("definition.url", "is required", "required"))
    if "columns" not in mapping:
        found.append(FieldViolation("mapping.columns", "is required", "required"))
    return found


class OwnPlatform(PickyPlatform):
    """A source of an org's own, with one account."""

    accounts = (PlatformAccount("1", "Shop", "Europe/Berlin", "EUR"),)

    @property
    def raw_mapping(self) -> PlatformMapping:
        """As it is: nothing is grouped."""
        return self.mapping


def build_source(spec: NewSource) -> OwnSource:
    """Return a source that takes any credential."""
    if spec.definition.get("url") == "retired":
        raise InvalidFieldsError.of("definition.url", "is not taken any more", rule="url")
    return OwnPlatform(
        platform=spec.source,
        display_name=spec.display_name,
        settings_schema={"type": "object"},
        mapping=compile_mapping(spec.source, spec.mapping),
    )


@pytest.fixture
def platform() -> PickyPlatform:
    """The built-in platform."""
    return PickyPlatform()


@pytest.fixture
async def caller(
    pool: asyncpg.Pool, memory: Client, org: str, platform: PickyPlatform
) -> AsyncIterator[Caller]:
    """An administrator of the org, at a server with one built-in platform and a plug-in."""
    vault = KeyringVault(SecretPlaces(keyring=Keyring({"k1": os.urandom(32)})))
    opener = PostgresConnectionOpener(pool, vault)
    store = PostgresSources(pool)
    plugin = PickyPlatform(platform="weather", display_name="Weather")
    catalog = Catalog(
        {"meta": platform, "weather": plugin},
        plugins=["weather"],
        store=store,
        build=build_source,
    )
    checks = MemoryEntryChecks(lambda _: memory)
    governor = InMemoryRateGovernor()
    page_tokens = PageTokens(os.urandom(32))
    parts = [
        ConnectionsServicer(
            administration=ConnectionAdministration(
                store=PostgresConnections(pool),
                catalog=catalog,
                opener=opener,
                vault=vault,
                governor=governor,
            ),
            page_tokens=page_tokens,
        ),
        SourcesServicer(
            catalog=catalog,
            administration=SourceAdministration(catalog, store, check=check_source, memory=checks),
            previews=Previews(
                catalog=catalog,
                opener=opener,
                governor=governor,
                read_mapping=compile_mapping,
                memory=checks,
                executor=ThreadPoolExecutor(1),
                clock=SystemClock(),
            ),
            page_tokens=page_tokens,
        ),
    ]
    later = [it.name for it in _SERVICE.methods if not any(hasattr(p, it.name) for p in parts)]

    def register(server: grpc.aio.Server) -> None:
        add_IngestionServiceServicer_to_server(combine(_SERVICE, parts, later=later), server)

    async with (
        running_server(register, service_names=[_SERVICE.full_name]) as server,
        grpc.aio.insecure_channel(server.target) as channel,
    ):
        yield Caller(channel, org)


def struct(values: Mapping[str, Any]) -> Struct:
    """Return a JSON object."""
    message = Struct()
    message.update(dict(values))
    return message


async def upsert(
    caller: Caller,
    id_: str = "shop_orders",
    *,
    definition: Mapping[str, Any] | None = None,
    mapping: Mapping[str, Any] | None = None,
    **fields: Any,
) -> source_pb2.Source:
    """Register a source of the org's own."""
    given: dict[str, Any] = {
        "display_name": "Orders",
        "kind": source_pb2.SOURCE_KIND_FILES,
    } | fields
    request = pb.UpsertSourceRequest(
        source=source_pb2.Source(
            name=f"orgs/{caller.org}/sources/{id_}",
            definition=struct({"url": "s3://orders"} if definition is None else definition),
            mapping=struct(_MAPPING if mapping is None else mapping),
            **given,
        )
    )
    stored: source_pb2.Source = (await caller.call("UpsertSource", request)).source
    return stored


async def get(caller: Caller, id_: str) -> source_pb2.Source:
    """Read a source."""
    request = pb.GetSourceRequest(name=f"orgs/{caller.org}/sources/{id_}")
    found: source_pb2.Source = (await caller.call("GetSource", request)).source
    return found


async def preview(
    caller: Caller, id_: str, rows: Sequence[Mapping[str, Any]] = (), **fields: Any
) -> pb.PreviewMappingResponse:
    """Preview rows."""
    request = pb.PreviewMappingRequest(
        name=f"orgs/{caller.org}/sources/{id_}", rows=map(struct, rows), **fields
    )
    answer: pb.PreviewMappingResponse = await caller.call("PreviewMapping", request)
    return answer


async def test_a_source_of_the_orgs_own(caller: Caller, memory: Client) -> None:
    """It is registered here and in Memory, changed by its etag, and entries may carry it."""
    made = await upsert(caller)
    assert made == await get(caller, "shop_orders")
    assert (made.kind, made.built_in) == (source_pb2.SOURCE_KIND_FILES, False)
    assert MessageToDict(made.mapping) == _MAPPING
    assert made.capabilities.levels == [1, 2]
    assert MessageToDict(made.credential_schema)["required"] == ["access_token"]
    changed = await upsert(caller, display_name="All orders", etag=made.etag)
    assert (changed.display_name, changed.etag) == ("All orders", "2")
    with pytest.raises(LiftosError) as caught:
        await upsert(caller, etag=made.etag)
    assert caught.value.reason == "ETAG_MISMATCH"
    with pytest.raises(LiftosError, match="cannot be changed; it is FILES"):
        await upsert(caller, kind=source_pb2.SOURCE_KIND_HTTP)
    registered = {it.name.rpartition("/")[2] async for it in memory.memory.list_sources()}
    assert "shop_orders" in registered
    entry = Entry(
        date="2026-03-02",
        platform="shop_orders",
        level=EntryLevel.ENTRY_LEVEL_ACCOUNT,
        account_id="1",
        metrics=Metrics(clicks=1),
    )
    assert not (await memory.memory.batch_upsert_entries([entry])).item_errors


async def test_memory_maps_raw_rows_as_the_source_does(caller: Caller, memory: Client) -> None:
    """Each change of the mapping reaches Memory, and none that is refused here or there."""
    row = {"day": "2026-03-02", "hits": 5, "visits": 7}

    async def clicks() -> list[int]:
        answer = await memory.memory.transform_entries("shop_orders", [row], account_id="1")
        return [it.metrics.clicks for it in answer.entries]

    made = await upsert(caller)
    assert await clicks() == [5]
    visits = {"columns": {"date": "day", "clicks": "visits"}}
    changed = await upsert(caller, mapping=visits)
    assert await clicks() == [7]
    with pytest.raises(LiftosError) as caught:
        await upsert(caller, etag=made.etag)
    assert caught.value.reason == "ETAG_MISMATCH"
    with pytest.raises(LiftosError) as caught:
        await upsert(caller, mapping={"columns": {"date": "day", "colour": "hits"}})
    assert list(told(caught.value)) == ["source.mapping.columns.colour"], "a rule of Memory alone"
    await memory.memory.set_write_fence("*", epoch=1, closed=True)
    with pytest.raises(LiftosError) as caught:
        await upsert(caller)
    assert caught.value.reason == "FENCE_CLOSED"
    assert await get(caller, "shop_orders") == changed
    assert await clicks() == [7]


async def test_of_two_changes_at_once_the_last_one_holds_here_and_there(
    caller: Caller, memory: Client
) -> None:
    """Also where both make the source: Memory never has the mapping of the one that came first."""
    row = {"day": "2026-03-02", **{f"f{number}": number for number in range(6)}}
    for round_ in range(3):
        await asyncio.gather(
            *(
                upsert(
                    caller,
                    f"race_{round_}",
                    mapping={"columns": {"date": "day", "clicks": f"f{number}"}},
                )
                for number in range(6)
            )
        )
        kept = MessageToDict((await get(caller, f"race_{round_}")).mapping)["columns"]["clicks"]
        answer = await memory.memory.transform_entries(f"race_{round_}", [row], account_id="1")
        assert [f"f{it.metrics.clicks}" for it in answer.entries] == [kept]


async def test_what_a_source_may_not_be(caller: Caller) -> None:
    """Built-in ids, built-in kinds and broken definitions are refused, each rule by its field."""
    with pytest.raises(LiftosError) as caught:
        await upsert(caller, "meta")
    assert caught.value.reason == "RESOURCE_ALREADY_EXISTS"
    with pytest.raises(LiftosError) as caught:
        await upsert(caller, kind=source_pb2.SOURCE_KIND_PLUGIN)
    assert told(caught.value) == {"source.kind": "must be FILES or HTTP; others are built in"}
    with pytest.raises(LiftosError) as caught:
        await upsert(caller, definition={}, mapping={})
    assert told(caught.value) == {
        "source.definition.url": "is required",
        "source.mapping.columns": "is required",
    }
    with pytest.raises(LiftosError) as caught:
        await get(caller, "shop_orders")
    assert caught.value.reason == "RESOURCE_NOT_FOUND"
    assert (await upsert(caller, "commerce")).etag == "1", "Memory knows this one already"


async def test_sources_are_listed_built_in_ones_first(caller: Caller) -> None:
    """Pages of any size hold each source once, in order, and filters reach both sorts."""
    for id_ in ("b", "a", "c"):
        await upsert(caller, id_, kind=source_pb2.SOURCE_KIND_HTTP)
    await upsert(caller, "d")

    async def ids(page_size: int, filter_: str = "") -> list[str]:
        found: list[str] = []
        token = ""
        while True:
            request = pb.ListSourcesRequest(
                parent=f"orgs/{caller.org}", page_size=page_size, page_token=token, filter=filter_
            )
            answer = await caller.call("ListSources", request)
            assert len(answer.sources) <= page_size
            found += [it.name.rpartition("/")[2] for it in answer.sources]
            token = answer.next_page_token
            if not token:
                return found

    for page_size in (1, 2, 3, 6, 7):
        assert await ids(page_size) == ["meta", "weather", "a", "b", "c", "d"]
    assert await ids(2, 'kind = "HTTP"') == ["a", "b", "c"]
    assert await ids(1, "built_in = true") == ["meta", "weather"]
    assert await ids(1, 'display_name:"Ord*" AND NOT kind = "HTTP"') == ["d"]
    assert await ids(1, 'kind = "PLUGIN" OR kind = "FILES"') == ["weather", "d"]
    plugin = await get(caller, "weather")
    assert (plugin.kind, plugin.built_in) == (source_pb2.SOURCE_KIND_PLUGIN, True)


async def test_no_page_of_sources_is_too_large_to_be_taken(
    caller: Caller, pool: asyncpg.Pool
) -> None:
    """Large definitions come in more pages; one that fills a page alone still comes."""
    sizes = {"a": 300, "b": 600_000, "c": 300_000, "d": 400_000, "e": 2_000_000, "f": 300}
    async with postgres.transaction(pool, org=caller.org) as connection:
        for id_, size in sizes.items():
            await connection.execute(
                "insert into sources (org, source, display_name, kind, definition, mapping)"
                " values ($1, $2, $2, 2, jsonb_build_object('x', repeat('y', $3)), '{}')",
                caller.org,
                id_,
                size,
            )
    found, token = list[list[str]](), ""
    while not found or token:
        answer = await caller.call(
            "ListSources",
            pb.ListSourcesRequest(
                parent=f"orgs/{caller.org}", page_token=token, filter="built_in = false"
            ),
        )
        token = answer.next_page_token
        found.append([it.name.rpartition("/")[2] for it in answer.sources])
    assert found == [["a", "b", "c"], ["d"], ["e"], ["f"]]


async def test_a_source_in_use_stays(caller: Caller) -> None:
    """Only a source that no connection uses is removed; built-in ones never are."""
    await upsert(caller)

    async def delete(id_: str, request_id: str = "", etag: str = "") -> None:
        request = pb.DeleteSourceRequest(
            name=f"orgs/{caller.org}/sources/{id_}",
            etag=etag,
            request_id=request_id or str(uuid4()),
        )
        await caller.call("DeleteSource", request)

    await caller.create(platform="shop_orders")
    with pytest.raises(LiftosError, match="used by the connection shop") as caught:
        await delete("shop_orders")
    assert caught.value.reason == "STATE_TRANSITION_INVALID"
    with pytest.raises(LiftosError, match="built in"):
        await delete("meta")
    remove = pb.DeleteConnectionRequest(name=caller.name(), request_id=str(uuid4()))
    await caller.call("DeleteConnection", remove)
    with pytest.raises(LiftosError) as caught:
        await delete("shop_orders", etag="7")
    assert caught.value.reason == "ETAG_MISMATCH"
    request_id = str(uuid4())
    await delete("shop_orders", request_id)
    await delete("shop_orders", request_id)
    with pytest.raises(LiftosError) as caught:
        await delete("shop_orders")
    assert caught.value.reason == "RESOURCE_NOT_FOUND"


async def test_a_definition_that_rules_have_left_behind_is_still_shown(
    caller: Caller, pool: asyncpg.Pool
) -> None:
    """What can no longer be used is listed without capabilities, so that it can be mended."""
    await upsert(caller)
    store = PostgresSources(pool)
    stored = await store.find(caller.org, "shop_orders")
    assert stored is not None
    async with store.write(caller.org) as write:
        await write.upsert(
            NewSource("shop_orders", "Orders", SourceKind.FILES, {"url": "retired"}, _MAPPING)
        )
    shown = await get(caller, "shop_orders")
    assert not shown.HasField("capabilities")
    with pytest.raises(LiftosError, match="not taken any more"):
        await caller.create(platform="shop_orders")


async def test_rows_are_previewed(caller: Caller) -> None:
    """Entries come with their row, refused rows with the reason, whoever refuses them."""
    await upsert(caller)
    rows: list[dict[str, Any]] = [
        {"day": "2026-03-02", "hits": 5, "colour": "red"},
        {"day": "2026-03-02", "hits": "many"},
        {"day": "2026-03-03", "hits": 6},
        {"day": "2199-03-03", "hits": 7},
    ]
    answer = await preview(caller, "shop_orders", rows, account_id="1")
    assert [(it.date, it.metrics.clicks, it.platform) for it in answer.entries] == [
        ("2026-03-02", 5, "shop_orders"),
        ("2026-03-03", 6, "shop_orders"),
    ]
    assert list(answer.source_indexes) == [0, 2]
    assert [(it.index, it.rule) for it in answer.item_errors] == [
        (1, "NOT_A_NUMBER"),
        (3, "DATE_OUT_OF_RANGE"),
    ]
    assert all(it.message and it.code == 3 for it in answer.item_errors)
    assert answer.unmapped_fields == ["colour"]
    assert [MessageToDict(it) for it in answer.rows] == rows
    tried = await preview(
        caller,
        "shop_orders",
        rows[:1],
        account_id="1",
        mapping=struct({"columns": {"date": "day", "clicks": "hits", "campaign_id": "colour"}}),
    )
    assert [(it.campaign_id, it.metrics.clicks) for it in tried.entries] == [("red", 5)]
    with pytest.raises(LiftosError) as caught:
        await preview(caller, "shop_orders", rows, mapping=struct({"columns": {"color": "colour"}}))
    (field,) = told(caught.value)
    assert field == "mapping.columns.color"


async def test_a_preview_takes_a_sample(caller: Caller, platform: PickyPlatform) -> None:
    """Without rows the platform is asked through the connection, for the account and its money."""
    platform.rows = [
        {
            "account_id": "7",
            "campaign_id": str(number),
            "date_start": "2026-03-02",
            "date_stop": "2026-03-02",
            "spend": "1.50",
        }
        for number in range(150)
    ]
    await caller.create()
    answer = await preview(caller, "meta", connection=caller.name())
    assert len(answer.rows) == len(answer.entries) == 100
    entry = answer.entries[0]
    assert (entry.account_id, entry.metrics.currency_code, entry.time_zone) == (
        "7",
        "EUR",
        "Europe/Berlin",
    )
    assert entry.level == EntryLevel.ENTRY_LEVEL_CAMPAIGN
    assert entry.metrics.spend_micros == 1_500_000
    (request,) = platform.requests
    assert (request.end_date - request.start_date).days == 6
    today = datetime.now(ZoneInfo(request.account.time_zone)).date()
    assert request.end_date == today - timedelta(days=1), "as the account counts days"
    platform.rows = []
    refused: list[tuple[dict[str, Any], str]] = [
        ({"connection": caller.name()}, "has no rows"),
        ({"connection": caller.name(), "account_id": "99"}, "there are 7, 8"),
        ({"connection": caller.name("other")}, "is gone"),
        ({}, "must be given"),
    ]
    for fields, message in refused:
        with pytest.raises(LiftosError, match=message) as caught:
            await preview(caller, "meta", **fields)
        assert caught.value.reason == "FIELD_INVALID"
    with pytest.raises(LiftosError, match="is of meta"):
        await preview(caller, "weather", connection=caller.name())
    platform.failure = refusal(ErrorClass.CREDENTIALS)
    with pytest.raises(LiftosError) as caught:
        await preview(caller, "meta", connection=caller.name())
    assert caught.value.reason == "CREDENTIALS_REJECTED"
    with pytest.raises(LiftosError) as caught:
        await preview(caller, "meta", connection="orgs/globex/connections/shop")
    assert caught.value.reason == "ORG_MISMATCH"
