"""The rules of a batch of entries, each broken in its own way."""

import math
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_kit.core.errors import BatchTooLargeError
from liftos_mapping.entry_fields import ENTRY_SCHEMA, LEVELS
from liftos_mapping.entry_id import entry_ids
from liftos_memory.domain.entry_rules import (
    DETAILED_ERRORS,
    MAXIMUM_ROWS,
    BatchColumnsError,
    CheckedBatch,
    RowErrorCode,
    check_batch,
)

TODAY = date(2026, 11, 24)
PLATFORMS = frozenset({"meta", "google_ads", "klaviyo", "offline", "commerce"})
GOOD: dict[str, Any] = {
    "date": date(2026, 11, 1),
    "platform": "meta",
    "level": "CAMPAIGN",
    "account_id": "act_1",
    "campaign_id": "c1",
    "currency_code": "EUR",
    "spend_micros": 1_250_500_000,
    "impressions": 45_000,
}
CONTROL: dict[str, Any] = {
    "date": date(2026, 11, 1),
    "platform": "offline",
    "level": "CONTROL",
    "account_id": "world",
    "series_id": "rain",
    "value_micros": -3_000_000,
}


def check(*rows: dict[str, Any]) -> CheckedBatch:
    """Check rows as a batch of exactly the columns that they name."""
    names = [name for name in ENTRY_SCHEMA.names if any(name in row for row in rows)]
    schema = pa.schema([ENTRY_SCHEMA.field(name) for name in names])
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
    return check_batch(table, today=TODAY, known_platforms=PLATFORMS)


def check_columns(**columns: Any) -> CheckedBatch:
    """Check one good row with some of its columns replaced or added."""
    table = pa.table({name: pa.array([value]) for name, value in GOOD.items()})
    for name, column in columns.items():
        at = table.column_names.index(name) if name in table.column_names else None
        table = (
            table.append_column(name, column) if at is None else table.set_column(at, name, column)
        )
    return check_batch(table, today=TODAY, known_platforms=PLATFORMS)


def test_good_rows_come_out_in_the_schema() -> None:
    """Left-out columns are added, keys are never null, and nothing else changes."""
    checked = check(GOOD, CONTROL)
    assert checked.errors == ()
    assert checked.rows.schema == ENTRY_SCHEMA
    first, second = checked.rows.to_pylist()
    for name, value in GOOD.items():
        assert first[name] == value
    assert first["ad_id"] == first["breakdown_key"] == ""
    assert first["clicks"] is first["account_name"] is first["final"] is first["actions"] is None
    assert (first["date_basis"], second["date_basis"]) == ("INTERACTION", "EVENT")
    assert second["value_micros"] == -3_000_000
    assert list(checked.digests) == entry_ids(checked.rows)


def test_zero_has_one_form() -> None:
    """Equal numbers are written alike, so that a digest of them is the same."""
    checked = check({**GOOD, "search_impression_share": -0.0})
    assert checked.errors == ()
    (share,) = checked.rows["search_impression_share"].to_pylist()
    assert math.copysign(1, share) == 1


BROKEN: list[tuple[dict[str, Any], str, RowErrorCode]] = [
    ({"date": None}, "date", RowErrorCode.REQUIRED),
    ({"date": date(1999, 12, 31)}, "date", RowErrorCode.DATE_OUT_OF_RANGE),
    ({"date": TODAY + timedelta(days=2)}, "date", RowErrorCode.DATE_OUT_OF_RANGE),
    ({"platform": None}, "platform", RowErrorCode.REQUIRED),
    ({"platform": "myspace"}, "platform", RowErrorCode.UNKNOWN_PLATFORM),
    ({"platform": "META"}, "platform", RowErrorCode.UNKNOWN_PLATFORM),
    ({"level": ""}, "level", RowErrorCode.REQUIRED),
    ({"level": "campaign"}, "level", RowErrorCode.UNKNOWN_LEVEL),
    ({"account_id": ""}, "account_id", RowErrorCode.REQUIRED),
    ({"campaign_id": None}, "campaign_id", RowErrorCode.REQUIRED),
    ({"ad_id": "a1"}, "ad_id", RowErrorCode.NOT_ALLOWED),
    ({"series_id": "s"}, "series_id", RowErrorCode.NOT_ALLOWED),
    ({"date_basis": "CLICK"}, "date_basis", RowErrorCode.UNKNOWN_DATE_BASIS),
    ({"currency_code": None}, "currency_code", RowErrorCode.REQUIRED),
    ({"currency_code": "eur"}, "currency_code", RowErrorCode.UNKNOWN_CURRENCY),
    ({"currency_code": "XXX"}, "currency_code", RowErrorCode.UNKNOWN_CURRENCY),
    ({"currency_code": "EURO"}, "currency_code", RowErrorCode.UNKNOWN_CURRENCY),
    ({"time_zone": "Mars/X"}, "time_zone", RowErrorCode.UNKNOWN_TIME_ZONE),
    ({"time_zone": "europe/berlin"}, "time_zone", RowErrorCode.UNKNOWN_TIME_ZONE),
    ({"time_zone": "../Europe/Berlin"}, "time_zone", RowErrorCode.UNKNOWN_TIME_ZONE),
    ({"time_zone": "GMT+1"}, "time_zone", RowErrorCode.UNKNOWN_TIME_ZONE),
    ({"spend_micros": -1}, "spend_micros", RowErrorCode.NEGATIVE),
    ({"revenue_micros": -1}, "revenue_micros", RowErrorCode.NEGATIVE),
    ({"clicks": -(2**63)}, "clicks", RowErrorCode.NEGATIVE),
    ({"reach": -1}, "reach", RowErrorCode.NEGATIVE),
    ({"frequency": float("nan")}, "frequency", RowErrorCode.NOT_FINITE),
    ({"frequency": float("inf")}, "frequency", RowErrorCode.NOT_FINITE),
    ({"frequency": 0.99}, "frequency", RowErrorCode.OUT_OF_RANGE),
    ({"search_impression_share": 1.01}, "search_impression_share", RowErrorCode.OUT_OF_RANGE),
    (
        {"search_rank_lost_impression_share": -0.1},
        "search_rank_lost_impression_share",
        RowErrorCode.OUT_OF_RANGE,
    ),
    ({"keyword_quality_score": 11.0}, "keyword_quality_score", RowErrorCode.OUT_OF_RANGE),
    ({"campaign_id": "c" * 257}, "campaign_id", RowErrorCode.TOO_LONG),
    ({"campaign_name": "n" * 1025}, "campaign_name", RowErrorCode.TOO_LONG),
    ({"campaign_id": "a\x1fb"}, "campaign_id", RowErrorCode.CONTROL_CHARACTER),
    ({"campaign_name": "a\x00"}, "campaign_name", RowErrorCode.CONTROL_CHARACTER),
    ({"campaign_name": "a\x7f"}, "campaign_name", RowErrorCode.CONTROL_CHARACTER),
    ({"campaign_name": "a\x85"}, "campaign_name", RowErrorCode.CONTROL_CHARACTER),
    ({"value_micros": 1}, "value_micros", RowErrorCode.NOT_ALLOWED),
    ({"spend_micros": None, "impressions": None}, "", RowErrorCode.EMPTY),
    ({"actions": [{"action_type": None}]}, "actions.action_type", RowErrorCode.REQUIRED),
    ({"actions": [None]}, "actions.action_type", RowErrorCode.REQUIRED),
    (
        {"actions": [{"action_type": "purchase", "count_micros": -1}]},
        "actions.count_micros",
        RowErrorCode.NEGATIVE,
    ),
    (
        {"actions": [{"action_type": "p", "window": "w" * 257}]},
        "actions.window",
        RowErrorCode.TOO_LONG,
    ),
    ({"actions": [{"action_type": "p\n"}]}, "actions.action_type", RowErrorCode.CONTROL_CHARACTER),
    ({"actions": [{"action_type": "p"}] * 201}, "actions", RowErrorCode.TOO_LONG),
]


@pytest.mark.parametrize(("change", "field", "code"), BROKEN)
def test_a_broken_rule_is_one_error(change: dict[str, Any], field: str, code: RowErrorCode) -> None:
    """Each rule names index, field and code; the good rows around it stand."""
    other = GOOD | {"campaign_id": "other"}
    checked = check(other, GOOD | change, CONTROL)
    assert [(error.index, error.field, error.code) for error in checked.errors] == [
        (1, field, code)
    ]
    assert checked.errors[0].message
    assert checked.rows.column("account_id").to_pylist() == ["act_1", "world"]
    assert len(checked.digests) == 2


def test_control_rows_carry_a_value_and_nothing_else() -> None:
    """Any other metric at level CONTROL is refused, even beside a value."""
    checked = check(
        CONTROL | {"clicks": 1},
        CONTROL | {"frequency": 1.0},
        CONTROL | {"value_micros": None},
        CONTROL | {"date": TODAY + timedelta(days=400)},
        CONTROL | {"date": TODAY + timedelta(days=401)},
    )
    assert [(error.index, error.field, error.code) for error in checked.errors] == [
        (0, "clicks", RowErrorCode.NOT_ALLOWED),
        (1, "frequency", RowErrorCode.NOT_ALLOWED),
        (2, "", RowErrorCode.EMPTY),
        (4, "date", RowErrorCode.DATE_OUT_OF_RANGE),
    ]


def test_a_row_reports_every_broken_rule_with_what_was_found() -> None:
    """A person can repair a row from its errors at once."""
    checked = check(GOOD | {"platform": "myspace", "spend_micros": -5, "ad_id": "x" * 90})
    messages = {error.field: error.message for error in checked.errors}
    assert messages["spend_micros"] == "spend_micros is -5; it must be 0 or more"
    assert messages["platform"] == (
        "platform is 'myspace'; known are commerce, google_ads, klaviyo, meta, offline;"
        " register a source to add one"
    )
    assert messages["ad_id"].startswith("ad_id is 'xxx")
    assert len(messages["ad_id"]) < 130
    assert checked.rows.num_rows == 0


def test_action_values_need_a_currency() -> None:
    """An action's value is money like any other."""
    row = {**GOOD, "spend_micros": None, "currency_code": None}
    actions = [{"action_type": "purchase", "value_micros": 1}]
    checked = check(row | {"actions": actions}, row | {"actions": [{"action_type": "purchase"}]})
    assert [(e.index, e.field, e.code) for e in checked.errors] == [
        (0, "currency_code", RowErrorCode.REQUIRED)
    ]


def test_the_first_good_row_of_a_key_stays() -> None:
    """A bad row never shadows a good one; later ones name the row that stands."""
    checked = check(
        GOOD | {"clicks": -1}, GOOD | {"clicks": 1}, GOOD | {"clicks": 2}, GOOD | {"clicks": 3}
    )
    assert [(error.index, error.code) for error in checked.errors] == [
        (0, RowErrorCode.NEGATIVE),
        (2, RowErrorCode.DUPLICATE),
        (3, RowErrorCode.DUPLICATE),
    ]
    assert "(date 2026-11-01, platform meta," in checked.errors[2].message
    assert checked.rows.column("clicks").to_pylist() == [1]
    assert list(checked.digests) == entry_ids(checked.rows)


@pytest.mark.parametrize(
    ("platform", "level", "ids", "basis"),
    [
        ("meta", "ACCOUNT", {}, "INTERACTION"),
        ("google_ads", "AD_GROUP", {"campaign_id": "1", "ad_group_id": "2"}, "INTERACTION"),
        ("meta", "AD", {"campaign_id": "1", "ad_id": "2"}, "INTERACTION"),
        ("klaviyo", "CAMPAIGN", {"campaign_id": "1"}, "SEND"),
        ("klaviyo", "ACCOUNT", {}, "SEND"),
        ("klaviyo", "FLOW", {"flow_id": "1"}, "SEND"),
        ("klaviyo", "MESSAGE", {"message_id": "1", "flow_id": "2"}, "SEND"),
        ("commerce", "OUTCOME", {}, "EVENT"),
        ("klaviyo", "OUTCOME", {}, "EVENT"),
    ],
)
def test_an_empty_date_basis_gets_its_default(
    platform: str, level: str, ids: dict[str, str], basis: str
) -> None:
    """The default follows level and platform, and so does the digest."""
    row = {"date": TODAY, "platform": platform, "level": level, "account_id": "1", "orders": 1}
    checked = check(row | ids, row | ids | {"account_id": "2", "date_basis": "CONVERSION"})
    assert checked.errors == ()
    assert checked.rows.column("date_basis").to_pylist() == [basis, "CONVERSION"]
    assert checked.digests[0] == entry_ids(checked.rows.slice(0, 1))[0]


def test_other_types_are_cast_where_nothing_is_lost() -> None:
    """Narrow integers, whole floats, midnights, dictionaries and large text are the same rows."""
    plain = check(GOOD | {"clicks": 7, "campaign_name": "n", "frequency": 2.0})
    cast = check_columns(
        date=pa.array([datetime(2026, 11, 1)], pa.timestamp("ns")),  # noqa: DTZ001
        campaign_id=pa.array(["c1"]).dictionary_encode(),
        account_id=pa.array(["act_1"], pa.large_string()),
        currency_code=pa.array(["EUR"], pa.string_view()),
        clicks=pa.array([7.0]),
        impressions=pa.array([45_000], pa.uint64()),
        spend_micros=pa.array([1_250_500_000], pa.int32()),
        frequency=pa.array([2], pa.int8()),
        campaign_name=pa.array(["n"]),
        account_name=pa.array([""]),
        orders=pa.nulls(1),
    )
    assert cast.errors == ()
    assert cast.rows.equals(plain.rows)
    assert cast.digests == plain.digests


@pytest.mark.parametrize(
    ("name", "column", "code"),
    [
        ("clicks", pa.array([1.5]), RowErrorCode.NOT_AN_INTEGER),
        ("clicks", pa.array([float("nan")]), RowErrorCode.NOT_AN_INTEGER),
        ("clicks", pa.array([float("-inf")]), RowErrorCode.NOT_AN_INTEGER),
        ("clicks", pa.array([1e300]), RowErrorCode.TOO_LARGE),
        ("spend_micros", pa.array([2**63], pa.uint64()), RowErrorCode.TOO_LARGE),
        ("date", pa.array([1], pa.timestamp("ms")), RowErrorCode.NOT_A_DAY),
        ("date", pa.array([2**62], pa.timestamp("s")), RowErrorCode.NOT_A_DAY),
        ("date", pa.array([2**31 - 1], pa.date32()), RowErrorCode.DATE_OUT_OF_RANGE),
        ("date", pa.array(["2026-02-29"]), RowErrorCode.NOT_A_DAY),
        ("date", pa.array(["20261101"]), RowErrorCode.NOT_A_DAY),
        ("date", pa.array(["2026-W01-1"]), RowErrorCode.NOT_A_DAY),
        ("date", pa.array([""]), RowErrorCode.REQUIRED),
        ("date", pa.array(["1999-12-31"]), RowErrorCode.DATE_OUT_OF_RANGE),
    ],
)
def test_values_that_do_not_fit_are_row_errors(
    name: str, column: pa.Array, code: RowErrorCode
) -> None:
    """A castable column with a value that does not fit costs that row, not the batch."""
    checked = check_columns(**{name: column})
    assert (name, code) in [(error.field, error.code) for error in checked.errors]
    assert RowErrorCode.EMPTY not in {error.code for error in checked.errors}
    assert checked.rows.num_rows == 0


def test_days_as_text_are_read() -> None:
    """Text dates are the same rows; a day that does not exist costs its own row only."""
    texts = pa.array(["2026-11-01", "2026-02-30", None])
    table = pa.table(
        {"date": texts, "platform": ["meta"] * 3, "level": ["ACCOUNT"] * 3}
        | {"account_id": ["1", "2", "3"], "clicks": [1] * 3}
    )
    checked = check_batch(table, today=TODAY, known_platforms=PLATFORMS)
    assert [(error.index, error.field, error.code) for error in checked.errors] == [
        (1, "date", RowErrorCode.NOT_A_DAY),
        (2, "date", RowErrorCode.REQUIRED),
    ]
    assert checked.rows.column("date").to_pylist() == [date(2026, 11, 1)]


@pytest.mark.parametrize(
    ("name", "column", "words"),
    [
        ("spend", pa.array([1]), "'spend' is no column"),
        ("spend_micros", pa.array([1250.5]), "12.50 is 12500000"),
        ("conversions_micros", pa.array([23.0]), "send int64"),
        ("clicks", pa.array(["7"]), "has type string; send int64"),
        ("campaign_id", pa.array([23_847]), "has type int64; send string"),
        ("campaign_id", pa.array([b"1"]), "has type binary"),
        ("date", pa.array([20_261_101]), "send date32"),
        (
            "date",
            pa.array([datetime(2026, 11, 1, tzinfo=UTC)], pa.timestamp("us", tz="UTC")),
            "send date32",
        ),
        ("final", pa.array([1]), "send bool"),
        ("frequency", pa.array(["1"]), "send double"),
        ("actions", pa.array([["purchase"]]), "send list"),
        ("actions", pa.array([[{"action_type": "p", "number": 1}]]), "send list"),
        ("actions", pa.array([[{"action_type": "p", "count_micros": 1.0}]]), "send list"),
    ],
)
def test_wrong_columns_refuse_the_batch(name: str, column: pa.Array, words: str) -> None:
    """A column that is not of an entry, or not of its type, is no matter of single rows."""
    with pytest.raises(BatchColumnsError) as caught:
        check_columns(**{name: column})
    (violation,) = caught.value.violations
    assert violation.field == name
    assert words in violation.description


def test_every_column_problem_is_listed_at_once() -> None:
    """One answer is enough to repair a batch."""
    arrays = [pa.array(["meta"]), pa.array([1.0]), pa.array([1]), pa.array([1])]
    table = pa.Table.from_arrays(arrays, names=["platform", "spend_micros", "platform", "cost"])
    with pytest.raises(BatchColumnsError) as caught:
        check_batch(table, today=TODAY, known_platforms=PLATFORMS)
    assert [(violation.field, violation.rule) for violation in caught.value.violations] == [
        ("spend_micros", "column_type"),
        ("platform", "duplicate_column"),
        ("cost", "unknown_column"),
        ("date", "missing_column"),
        ("level", "missing_column"),
        ("account_id", "missing_column"),
    ]
    many = pa.table({f"c{number}": [1] for number in range(50)})
    with pytest.raises(BatchColumnsError, match="and 44 more"):
        check_batch(many, today=TODAY, known_platforms=PLATFORMS)


def test_damaged_text_refuses_the_batch() -> None:
    """Text that is not UTF-8 and offsets outside their buffer are found before use."""
    bad_text = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")]
    )
    with pytest.raises(BatchColumnsError, match="'campaign_name' is damaged"):
        check_columns(campaign_name=bad_text)
    bad_offsets = pa.Array.from_buffers(
        pa.string(),
        2,
        [None, pa.py_buffer(b"\0\0\0\0\xff\xff\xff\x7f\1\0\0\0"), pa.py_buffer(b"a")],
    )
    table = pa.table({"campaign_name": bad_offsets})
    with pytest.raises(BatchColumnsError, match="'campaign_name' is damaged"):
        check_batch(table, today=TODAY, known_platforms=PLATFORMS)


def test_too_many_rows_refuse_the_batch() -> None:
    """The limit of a batch is checked before anything else."""
    table = pa.table({"platform": pa.nulls(MAXIMUM_ROWS + 1)})
    with pytest.raises(BatchTooLargeError):
        check_batch(table, today=TODAY, known_platforms=PLATFORMS)


def test_an_empty_batch_is_fine() -> None:
    """No rows give no rows and no errors."""
    checked = check_batch(ENTRY_SCHEMA.empty_table(), today=TODAY, known_platforms=PLATFORMS)
    assert (checked.rows.num_rows, checked.digests, checked.errors) == (0, (), ())


def test_every_bad_row_is_reported_in_a_hopeless_batch() -> None:
    """The detail is bounded, the rows that are named are not."""
    count = 3 * DETAILED_ERRORS
    table = pa.table(
        {
            "date": pa.nulls(count, pa.date32()),
            "platform": [""] * count,
            "level": ["?"] * count,
            "account_id": ["a"] * count,
            "spend_micros": [-1] * count,
        }
    )
    checked = check_batch(table, today=TODAY, known_platforms=PLATFORMS)
    assert {error.index for error in checked.errors} == set(range(count))
    assert len(checked.errors) < 2 * count


_TEXTS = st.none() | st.sampled_from(["", "a", "é", "\x85", "\x1f"]) | st.text(max_size=4)
_COLUMN_VALUES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.string(): _TEXTS,
    pa.int64(): st.none() | st.integers(-2, 2) | st.integers(-(2**63), 2**63 - 1),
    pa.float64(): st.none() | st.floats(),
    pa.bool_(): st.none() | st.booleans(),
    pa.date32(): st.none() | st.dates(date(1999, 12, 30), date(2028, 1, 1)),
    ENTRY_SCHEMA.field("actions").type: st.none()
    | st.lists(
        st.none()
        | st.fixed_dictionaries(
            {
                "action_type": _TEXTS,
                "window": _TEXTS,
                "count_micros": st.none() | st.integers(-1, 1),
            }
        ),
        max_size=3,
    ),
}
_WORDS = {
    "platform": st.sampled_from(["meta", "klaviyo", "tv", ""]),
    "level": st.sampled_from([*LEVELS, "", "X"]),
    "date_basis": st.sampled_from(["", "SEND", "send"]),
    "currency_code": st.sampled_from(["EUR", "eur", None]),
    "account_id": st.sampled_from(["1", "2"]),
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """Tables whose columns have the right names and types and any values."""
    count = draw(st.integers(0, 6))
    optional = draw(st.sets(st.sampled_from(ENTRY_SCHEMA.names), max_size=8))
    names = sorted({"date", "platform", "level", "account_id"} | optional)
    columns = {}
    for name in names:
        type_ = ENTRY_SCHEMA.field(name).type
        values = _WORDS.get(name, _COLUMN_VALUES[type_])
        drawn = draw(st.lists(values, min_size=count, max_size=count))
        columns[name] = pa.array(drawn, type_)
    return pa.table(columns)


@given(tables())
def test_any_table_is_split_into_good_rows_and_errors(table: pa.Table) -> None:
    """No row is lost, no row is both good and bad, and checking again changes nothing."""
    checked = check_batch(table, today=TODAY, known_platforms=PLATFORMS)
    bad = {error.index for error in checked.errors}
    assert checked.rows.num_rows == table.num_rows - len(bad)
    assert len(checked.digests) == len(set(checked.digests)) == checked.rows.num_rows
    assert all(error.message and 0 <= error.index < table.num_rows for error in checked.errors)
    again = check_batch(checked.rows, today=TODAY, known_platforms=PLATFORMS)
    assert again.errors == ()
    assert again.rows.equals(checked.rows)
    assert again.digests == checked.digests


_ANY_COLUMN = st.one_of(
    st.lists(st.none() | st.integers(0, 2**64 - 1), max_size=3).map(
        lambda values: pa.array(values, pa.uint64())
    ),
    st.lists(st.none() | st.floats(), max_size=3).map(
        lambda values: pa.array(values, pa.float32())
    ),
    st.lists(st.none() | st.binary(max_size=3), max_size=3).map(
        lambda values: pa.array(values, pa.binary())
    ),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3).map(
        lambda values: pa.array(values, pa.timestamp("s"))
    ),
    st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3).map(
        lambda values: pa.array(values, pa.date32())
    ),
    st.lists(st.none() | st.text(max_size=2), max_size=3).map(
        lambda values: pa.array(values, pa.string()).dictionary_encode()
    ),
    st.lists(st.none() | st.decimals(-9, 9, places=2), max_size=3).map(
        lambda values: pa.array(values, pa.decimal128(5, 2))
    ),
    st.just(pa.array([[{"action_type": 1}]])),
    st.just(pa.nulls(2)),
)


@given(st.dictionaries(st.sampled_from([*ENTRY_SCHEMA.names, "other"]), _ANY_COLUMN, max_size=6))
def test_any_column_types_give_rows_or_a_typed_error(columns: dict[str, pa.Array]) -> None:
    """Whatever arrives, the answer is a checked batch or the list of column problems."""
    count = min((len(column) for column in columns.values()), default=0)
    text = pa.array(["meta"] * count, pa.string())
    table = pa.table(
        {"date": pa.array([TODAY] * count, pa.date32()), "platform": text}
        | {"level": text, "account_id": text}
        | {name: column.slice(0, count) for name, column in columns.items()}
    )
    try:
        checked = check_batch(table, today=TODAY, known_platforms=PLATFORMS)
    except BatchColumnsError as error:
        refused = error
    else:
        assert {error.index for error in checked.errors} == set(range(count))
        return
    assert refused.violations
    assert {violation.field for violation in refused.violations} <= set(table.column_names)
