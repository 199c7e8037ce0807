"""Google's messages as columns, and the queries that they answer."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import pytest
from google.protobuf import text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClassesForFiles
from hypothesis import given
from hypothesis import strategies as st

from liftos_ingestion.adapters.sources.google_ads import messages
from liftos_ingestion.adapters.sources.google_ads.columns import AnswerReader, answer_reader
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


@given(given_rows=st.lists(rows(), max_size=4))
def test_columns_become_the_entries_that_googles_own_json_becomes(given_rows: list[Any]) -> None:
    """What is unset stays unset, zeros stay zeros, and unknown numbers of enums are kept."""
    mapping = platform_mapping("google_ads")
    context = TransformContext(
        account_id="1112223331", level="AD", date_basis="INTERACTION", date="2026-10-03"
    )
    reader = _reader(FIELDS)
    columns = reader.columns(reader.parse(_answer(given_rows)).results)
    as_json = [MessageToDict(row, preserving_proto_field_name=True) for row in given_rows]
    of_columns = evaluate(mapping, columns, context)
    of_json = evaluate(mapping, as_json, context)
    assert of_columns.table.equals(of_json.table)
    assert of_columns.source_index == of_json.source_index
    assert {(it.index, it.field, it.code) for it in of_columns.errors} == {
        (it.index, it.field, it.code) for it in of_json.errors
    }


def test_rows_that_share_parts() -> None:
    """Each row has its own numbers and what it shares with others, in the order of the rows."""
    given_rows = []
    for number in range(100):
        row = messages.Row()
        row.ad_group_ad.ad.id = number % 7
        row.metrics.clicks = number
        given_rows.append(row)
    reader = _reader(FIELDS)
    columns = reader.columns(reader.parse(_answer(given_rows)).results)
    assert columns.values("metrics.clicks") == list(range(100))
    assert columns.values("ad_group_ad.ad.id") == [number % 7 for number in range(100)]
    assert set(columns.names) == {"metrics.clicks", "ad_group_ad.ad.id"}


@given(st.lists(rows(), min_size=1, max_size=3), st.data())
def test_an_answer_that_breaks_off_is_unreadable(
    given_rows: list[Any], data: st.DataObject
) -> None:
    """No row is made of a part of a message, unless the cut is between two of its fields."""
    message = _answer(given_rows)
    cut = message[: data.draw(st.integers(0, len(message)))]
    try:
        whole = [list(it.ListFields()) for it in messages.StreamResponse.FromString(cut).results]
    except DecodeError:
        whole = []
    reader = _reader(FIELDS)
    try:
        columns = reader.columns(reader.parse(cut).results)
    except DecodeError:
        assert not whole
    else:
        assert len(columns) == len(whole)


def test_a_repeated_field_is_refused() -> None:
    """A query that asks for one is wrong before anything is asked."""
    for name in ("campaign.excluded_parent_asset_field_types", "campaign.frequency_caps.cap"):
        with pytest.raises(ValueError, match="is repeated"):
            _reader((name,))


def test_fields_whose_names_run_together_stay_apart() -> None:
    """What is below `a.b` and what is below `a.b_c` are read each from its own message."""
    file = text_format.Parse(_CONFUSABLE, FileDescriptorProto())
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    classes: Mapping[str, Any] = GetMessageClassesForFiles([file.name], pool)
    answer = classes["confusable.Answer"]()
    row = answer.results.add()
    row.a.b.c.x, row.a.b_c.y = 1, 2
    reader = answer_reader(answer.DESCRIPTOR, ("a.b.c.x", "a.b_c.y"))
    columns = reader.columns(reader.parse(answer.SerializeToString()).results)
    assert (columns.values("a.b.c.x"), columns.values("a.b_c.y")) == ([1], [2])


_CONFUSABLE = """
    name: "confusable.proto" package: "confusable" syntax: "proto3"
    message_type { name: "Answer"
      field { name: "results" number: 1 type: TYPE_MESSAGE label: LABEL_REPEATED
        type_name: ".confusable.Row" }
      field { name: "request_id" number: 2 type: TYPE_STRING label: LABEL_OPTIONAL } }
    message_type { name: "Row" field { name: "a" number: 1 type: TYPE_MESSAGE
        label: LABEL_OPTIONAL type_name: ".confusable.A" } }
    message_type { name: "A"
      field { name: "b" number: 1 type: TYPE_MESSAGE label: LABEL_OPTIONAL
        type_name: ".confusable.B" }
      field { name: "b_c" number: 2 type: TYPE_MESSAGE label: LABEL_OPTIONAL
        type_name: ".confusable.BC" } }
    message_type { name: "B" field { name: "c" number: 1 type: TYPE_MESSAGE
        label: LABEL_OPTIONAL type_name: ".confusable.C" } }
    message_type { name: "C"
      field { name: "x" number: 1 type: TYPE_INT32 label: LABEL_OPTIONAL } }
    message_type { name: "BC"
      field { name: "y" number: 1 type: TYPE_INT32 label: LABEL_OPTIONAL } }
"""


def _reader(fields: tuple[str, ...]) -> AnswerReader:
    return answer_reader(messages.StreamResponse.DESCRIPTOR, fields)


def _answer(given_rows: list[Any]) -> bytes:
    answer = messages.StreamResponse(request_id="a")
    answer.results.extend(given_rows)
    return bytes(answer.SerializeToString())


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("date_basis", DATE_BASES)
def test_the_mapping_reads_all_that_is_asked_for(level: str, date_basis: str) -> None:
    """A field that nobody reads would cost bytes, and may add rows."""
    query = report(_request(level, date_basis))
    mapping = platform_mapping("google_ads").in_force(date_basis)
    assert set(query.fields) <= mapping.source_paths()
    assert "segments.date BETWEEN '2026-10-01' AND '2026-10-07'" in query.text
    assert "status" not in query.text, "removed objects have numbers too"
    _reader(query.fields)


def test_fields_of_lists_exist() -> None:
    """Objects and customers are read by fields that Google has."""
    for query in (TREE, *(it.query for it in OBJECT_LISTS)):
        read = [field.name for part in _reader(query.fields).parts for field in part.fields]
        assert sorted(read) == sorted(query.fields)
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


def test_a_project_is_shared_by_those_who_have_the_secret_of_its_client() -> None:
    """Its number alone, which every client id shows, is not enough."""
    client = OAuthClient("123456789012-abc", Secret("s"), Secret("r"))
    same = OAuthClient("123456789012-abc", Secret("s"), Secret("of another user"))
    other = OAuthClient("123456789012-abc", Secret("guessed"), Secret("r"))
    assert client.app("acme").counted_for == same.app("umbrella").counted_for
    assert client.app("acme").counted_for != other.app("acme").counted_for


def test_ways_are_those_of_a_credential() -> None:
    """What one credential reached says nothing of another; the newest way holds."""
    ways = KnownWays()
    ways.learn(Secret("one"), "1", "9")
    assert ways.get(Secret("one"), "1") == "9"
    assert ways.get(Secret("two"), "1") is None
    ways.learn(Secret("one"), "1", "")
    assert ways.get(Secret("one"), "1") == ""
    assert "one" not in repr(ways)
