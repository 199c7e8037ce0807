"""Google's messages as columns, and the queries that they answer."""

from datetime import date
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from hypothesis import strategies as st

from liftos_ingestion.adapters.sources.google_ads import messages
from liftos_ingestion.adapters.sources.google_ads.columns import column_readers, columns_of
from liftos_ingestion.adapters.sources.google_ads.queries import (
    DATE_BASES,
    LEVELS,
    OBJECT_LISTS,
    TREE,
    report,
)
from liftos_ingestion.adapters.sources.google_ads.tokens import OAuthClient
from liftos_ingestion.adapters.sources.google_ads.ways import KnownWays
from liftos_ingestion.source_ports import PlatformAccount, ReadRequest
from liftos_kit.secrets.secret import Secret
from liftos_mapping.engine import TransformContext, evaluate
from liftos_mapping.platforms import platform_mapping

ACCOUNT = PlatformAccount("1112223331", "Shop", "Europe/Paris", "EUR")


def _request(level: str = "AD", date_basis: str = "INTERACTION") -> ReadRequest:
    return ReadRequest(ACCOUNT, level, date_basis, "", date(2026, 10, 1), date(2026, 10, 7))


FIELDS = report(_request()).fields
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "customer.id": st.just(1112223331),
    "customer.currency_code": st.sampled_from(["", "EUR"]),
    "campaign.advertising_channel_type": st.sampled_from([0, 1, 2, 999]),
    "segments.date": st.sampled_from(["2026-10-01", "2026-10-02"]),
    "metrics.video_quartile_p100_rate": st.floats(0, 1),
}
OF_KIND = {
    "float": st.floats(0, 10**9),
    "int": st.integers(0, 2**62),
    "str": st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5),
}


def _kind(name: str) -> str:
    descriptor = messages.Row.DESCRIPTOR
    *parents, leaf = name.split(".")
    for part in parents:
        descriptor = descriptor.fields_by_name[part].message_type
    return type(descriptor.fields_by_name[leaf].default_value).__name__


@st.composite
def rows(draw: st.DrawFn) -> Any:
    """A row in which any of the fields that are asked for may be set."""
    row = messages.Row()
    for name in FIELDS:
        value = draw(st.none() | VALUES.get(name, OF_KIND[_kind(name)]))
        if value is not None:
            *parents, leaf = name.split(".")
            message = row
            for part in parents:
                message = getattr(message, part)
            setattr(message, leaf, value)
    return row


@settings(deadline=None)
@given(given_rows=st.lists(rows(), max_size=4))
def test_columns_become_the_entries_that_googles_own_json_becomes(given_rows: list[Any]) -> None:
    """What is unset stays unset, zeros stay zeros, and unknown numbers of enums are kept."""
    mapping = platform_mapping("google_ads")
    context = TransformContext(
        account_id="1112223331", level="AD", date_basis="INTERACTION", date="2026-10-03"
    )
    columns = columns_of([given_rows], column_readers(messages.Row.DESCRIPTOR, FIELDS))
    as_json = [MessageToDict(row, preserving_proto_field_name=True) for row in given_rows]
    of_columns = evaluate(mapping, columns, context)
    of_json = evaluate(mapping, as_json, context)
    assert of_columns.table.equals(of_json.table)
    assert of_columns.source_index == of_json.source_index
    assert {(it.index, it.field, it.code) for it in of_columns.errors} == {
        (it.index, it.field, it.code) for it in of_json.errors
    }


def test_rows_that_come_in_runs() -> None:
    """Columns go on where a run ends, in the order of the rows."""
    given_rows = []
    for clicks in range(1201):
        row = messages.Row()
        row.metrics.clicks = clicks
        given_rows.append(row)
    runs = [given_rows[:500], given_rows[500:1000], given_rows[1000:]]
    columns = columns_of(runs, column_readers(messages.Row.DESCRIPTOR, FIELDS))
    assert columns.values("metrics.clicks") == list(range(1201))
    assert list(columns.names) == ["metrics.clicks"]
    assert columns[1200] == {"metrics.clicks": 1200}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("date_basis", DATE_BASES)
def test_the_mapping_reads_all_that_is_asked_for(level: str, date_basis: str) -> None:
    """A field that nobody reads would cost bytes, and may add rows."""
    query = report(_request(level, date_basis))
    mapping = platform_mapping("google_ads").in_force(date_basis)
    assert set(query.fields) <= mapping.source_paths()
    assert "segments.date BETWEEN '2026-10-01' AND '2026-10-07'" in query.text
    assert "status" not in query.text, "removed objects have numbers too"
    column_readers(messages.Row.DESCRIPTOR, query.fields)


def test_fields_of_lists_exist() -> None:
    """Objects and customers are read by fields that Google has."""
    for query in (TREE, *(it.query for it in OBJECT_LISTS)):
        readers = column_readers(messages.Row.DESCRIPTOR, query.fields)
        assert [it.name for it in readers] == list(query.fields)
        assert "" not in query.fields


@pytest.mark.parametrize(
    ("client_id", "project"),
    [
        ("123456789012-abc.apps.googleusercontent.com", "123456789012"),
        ("abc.apps.googleusercontent.com", "abc.apps.googleusercontent.com"),
        ("web-1", "web-1"),
    ],
)
def test_the_project_of_a_client(client_id: str, project: str) -> None:
    """Limits are those of the Cloud project, whose number begins the client's id."""
    assert OAuthClient(client_id, Secret("s"), Secret("r")).project == project


def test_ways_are_those_of_a_credential() -> None:
    """What one credential reached says nothing of another; the newest way holds."""
    ways = KnownWays()
    ways.learn(Secret("one"), "1", "9")
    assert ways.get(Secret("one"), "1") == "9"
    assert ways.get(Secret("two"), "1") is None
    ways.learn(Secret("one"), "1", "")
    assert ways.get(Secret("one"), "1") == ""
    assert "one" not in repr(ways)
