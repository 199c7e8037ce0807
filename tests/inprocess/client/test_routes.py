"""Calls about routes, alike for alerts and insights, with and without an event loop."""

from typing import Any

import pytest
from tests.inprocess.cli.recording_ingestion import RecordingService, serving
from tests.inprocess.client.fake_memory import unsigned_token

from liftos.ingestion.v1 import alert_pb2, ingestion_service_pb2
from liftos.memory.v1 import insight_pb2, memory_service_pb2
from liftos_client import connect, connect_sync
from liftos_client.errors import FieldInvalidError

_ALERTS = ("alert", ingestion_service_pb2, "IngestionService", alert_pb2.AlertRoute)
_INSIGHTS = ("insight", memory_service_pb2, "MemoryService", insight_pb2.InsightRoute)


@pytest.mark.parametrize(
    ("topic", "kind", "severity", "sent"),
    [
        (_ALERTS, "DATA_LATE", "warning", (alert_pb2.ALERT_KIND_DATA_LATE, 2)),
        (_INSIGHTS, "TREND", 12.5, (insight_pb2.INSIGHT_KIND_TREND, 12.5)),
    ],
    ids=["alerts", "insights"],
)
async def test_a_route_is_made_of_plain_values(
    topic: tuple[str, Any, str, Any], kind: str, severity: Any, sent: tuple[int, float]
) -> None:
    """Words become numbers, ids become names, and a word that there is not is refused here."""
    noun, messages, service, _ = topic
    server = RecordingService(messages.DESCRIPTOR.services_by_name[service])
    name = f"orgs/acme/{noun}Routes/people"
    with serving(server) as target:
        async with connect(target, token=unsigned_token(), ingestion_target=target) as client:
            calls = client.ingestion if noun == "alert" else client.memory
            create = getattr(calls, f"create_{noun}_route")
            given = {"display_name": "People", "target_url": "json://example.com"}
            await create("people", **given, kinds=[kind], minimum_severity=severity)
            made = getattr(server.seen[f"Create{noun.title()}Route"], f"{noun}_route")
            assert (made.name, [*made.kinds], made.minimum_severity) == (name, [sent[0]], sent[1])
            await create("people", **given)
            request = server.seen[f"Create{noun.title()}Route"]
            assert getattr(request, f"{noun}_route").minimum_severity == 0
            with pytest.raises(FieldInvalidError, match="kinds"):
                await create("people", **given, kinds=["nonsense"])
            with pytest.raises(FieldInvalidError, match="platforms"):
                await create("people", **given, platforms="meta")
            await getattr(calls, f"update_{noun}_route")(made, update_mask=["kinds"])
            request = server.seen[f"Update{noun.title()}Route"]
            assert (getattr(request, f"{noun}_route"), [*request.update_mask.paths]) == (
                made,
                ["kinds"],
            )


@pytest.mark.parametrize("topic", [_ALERTS, _INSIGHTS], ids=["alerts", "insights"])
def test_routes_are_listed_without_an_event_loop(topic: tuple[str, Any, str, Any]) -> None:
    """The methods are there for whoever looks them up, and lists are plain iterators."""
    noun, messages, service, route_type = topic
    server = RecordingService(messages.DESCRIPTOR.services_by_name[service])
    name = f"orgs/acme/{noun}Routes/people"
    server.answers[f"List{noun.title()}Routes"] = getattr(
        messages, f"List{noun.title()}RoutesResponse"
    )(**{f"{noun}_routes": [route_type(name=name)]})
    with (
        serving(server) as target,
        connect_sync(target, token=unsigned_token(), ingestion_target=target) as client,
    ):
        calls = client.ingestion if noun == "alert" else client.memory
        assert f"list_{noun}_routes" in dir(calls)
        assert [it.name for it in getattr(calls, f"list_{noun}_routes")()] == [name]
        getattr(calls, f"delete_{noun}_route")("people", etag="3")
        asked = server.seen[f"Delete{noun.title()}Route"]
        assert (asked.name, asked.etag) == (name, "3")
        assert asked.request_id
