"""Whatever Klaviyo answers, a reading ends with rows or with a failure that has a class."""

import asyncio
import copy
from contextlib import suppress
from datetime import date

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.liftos_ingestion.test_klaviyo import (
    DAYS,
    PARIS,
    OpenGate,
    ScriptedKlaviyo,
    http_of,
    metric,
)

from liftos_ingestion.adapters.sources.klaviyo.session import KlaviyoSession
from liftos_ingestion.domain.failures import ReadingError
from liftos_ingestion.source_ports import JsonObject, Page, ReadRequest
from liftos_mapping.transform import TransformContext, transform

_GARBAGE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 2**70)
    | st.floats()
    | st.sampled_from(["", "C1", "M1", "\0", "2026-11-01", "2026-11-02T00:00:00+01:00"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "id", "type", "attributes", "links", "statistics", "opens"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


def _resource(kind: str, id_: str, attributes: JsonObject, **related: list[str]) -> JsonObject:
    relationships = {
        name.replace("_", "-"): {"data": [{"type": name, "id": other} for other in ids]}
        for name, ids in related.items()
    }
    return {"type": kind, "id": id_, "attributes": attributes, "relationships": relationships}


def _documents() -> dict[str, object]:
    """An account with a campaign and a flow, whole and well."""
    statistics = {"recipients": 5.0, "opens": 2.0, "conversion_value": 1.5}
    campaign = {"campaign_id": "C1", "campaign_message_id": "M1", "send_channel": "email"}
    flow = {"flow_id": "F1", "flow_message_id": "N1", "send_channel": "email"}
    series = {name: [value, value] for name, value in statistics.items()}
    sent = {"send_time": "2026-11-01T10:00:00+00:00", "send_strategy": "static"}
    action = {"definition": {"data": {"message": {"id": "N1", "name": "Step"}}}}
    # A metric that aggregates do not take, so that one document answers all of them.
    orders = _resource("mapped-metric", "revenue", {}, custom_metric=["SHOP"])
    return {
        "accounts": ScriptedKlaviyo().documents["accounts"],
        "mapped-metrics/revenue": {"data": orders},
        "metrics": ScriptedKlaviyo.listed(metric("MAIL", "Received Email")),
        "campaigns": ScriptedKlaviyo.listed(
            _resource("campaign", "C1", {"definition": {"name": "C"}}, campaign_messages=["M1"]),
            included=[
                _resource("campaign-message", "M1", {"definition": {"send_options": sent}}),
            ],
        ),
        "flows": ScriptedKlaviyo.listed(
            _resource("flow", "F1", {"name": "F", "status": "live"}, flow_actions=["A1"]),
            included=[_resource("flow-action", "A1", action)],
        ),
        "campaign-values-reports": ScriptedKlaviyo.report(
            {"groupings": campaign, "statistics": statistics}
        ),
        "flow-series-reports": ScriptedKlaviyo.report(
            {"groupings": flow, "statistics": series}, date_times=DAYS
        ),
        "metric-aggregates": ScriptedKlaviyo.aggregate(
            {"dimensions": ["N1", "F1"], "measurements": {"count": [1.0, 2.0]}}
        ),
    }


def _places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [path]
    if isinstance(value, dict):
        found += [it for name, inner in value.items() for it in _places(inner, (*path, name))]
    if isinstance(value, list):
        found += [it for at, inner in enumerate(value) for it in _places(inner, (*path, at))]
    return found


def _spoilt(document: object, path: tuple[str | int, ...], value: object) -> object:
    if not path:
        return value
    made = copy.deepcopy(document)
    inner = made
    for step in path[:-1]:
        inner = inner[step]  # type: ignore[index]
    inner[path[-1]] = value  # type: ignore[index]
    return made


async def _read(klaviyo: ScriptedKlaviyo, level: str, basis: str) -> int:
    request = ReadRequest(PARIS, level, basis, "", date(2026, 11, 1), date(2026, 11, 2))
    context = TransformContext(
        account_id="AbC123", currency_code="EUR", level=level, date_basis=basis
    )
    count = 0
    async with http_of(klaviyo) as http:
        session = KlaviyoSession(http, OpenGate(), conversion_metric_id="", granted_scopes=None)
        async for page in session.read(request, None):
            assert isinstance(page, Page)
            result = transform("klaviyo", page.rows, context)
            refused = {error.index for error in result.errors}
            assert refused | set(result.source_index) == set(range(len(page.rows)))
            count += len(page.rows)
    return count


_LANES = st.tuples(
    st.sampled_from(["CAMPAIGN", "FLOW", "MESSAGE"]), st.sampled_from(["SEND", "EVENT"])
)


@settings(max_examples=300)
@given(st.data(), _LANES, _GARBAGE)
def test_garbage_anywhere_ends_typed(
    data: st.DataObject, lane: tuple[str, str], garbage: object
) -> None:
    """One value of one answer is another; each row is stored or refused, or the reading fails."""
    documents = _documents()
    name = data.draw(st.sampled_from(sorted(documents)))
    path = data.draw(st.sampled_from(_places(documents[name])))
    documents[name] = _spoilt(documents[name], path, garbage)
    if documents[name] is None:
        return
    with suppress(ReadingError):
        asyncio.run(_read(ScriptedKlaviyo(**documents), *lane))


def test_whole_answers_have_rows() -> None:
    """What the garbage is put into is an account that can be read."""
    counts = {
        (level, basis): asyncio.run(_read(ScriptedKlaviyo(**_documents()), level, basis))
        for level in ("CAMPAIGN", "FLOW", "MESSAGE")
        for basis in ("SEND", "EVENT")
    }
    assert counts == {
        ("CAMPAIGN", "SEND"): 1,
        ("FLOW", "SEND"): 2,
        ("MESSAGE", "SEND"): 3,
        ("CAMPAIGN", "EVENT"): 0,
        ("FLOW", "EVENT"): 2,
        ("MESSAGE", "EVENT"): 2,
    }
