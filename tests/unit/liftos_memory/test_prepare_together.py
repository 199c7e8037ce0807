"""Batches that are checked as one: what comes out is what each alone would have given."""

from datetime import date, timedelta
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from liftos_mapping.entry_fields import ENTRY_SCHEMA
from liftos_memory.usecases.batches import prepare_batch, prepare_together

_TODAY = date(2026, 3, 10)
_PLATFORMS = frozenset({"meta", "klaviyo"})

_rows = st.fixed_dictionaries(
    {
        "date": st.integers(0, 40).map(lambda days: _TODAY - timedelta(days)),
        "platform": st.sampled_from(["meta", "meta", "meta", "klaviyo"]),
        "level": st.just("CAMPAIGN"),
        "account_id": st.sampled_from(["1", "2"]),
        "campaign_id": st.integers(1, 9_999).map(str),
        "impressions": st.none() | st.integers(0, 2_000),
        "clicks": st.integers(0, 2_000),
    },
    optional={
        "campaign_name": st.sampled_from(["", "Spring"]),
        "spend_micros": st.integers(0, 10**9),
        "currency_code": st.just("EUR"),
        "sent": st.integers(0, 500),
        "final": st.booleans(),
    },
)
_odd_rows = _rows.flatmap(
    lambda row: st.sampled_from(
        [
            row | {"breakdown_key": "device=phone", "spend_micros": 5, "currency_code": "EUR"},
            row | {"platform": "nowhere"},
            row | {"clicks": -1},
            row | {"campaign_id": "7", "date": _TODAY},
        ]
    )
)
_batches = st.lists(
    st.lists(st.one_of(_rows, _rows, _rows, _rows, _odd_rows), min_size=1, max_size=5),
    min_size=2,
    max_size=4,
)


def _batch(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    """Return rows with the columns that any of them has, as typed batches have them."""
    names = {name for row in rows for name in row}
    schema = pa.schema([field for field in ENTRY_SCHEMA if field.name in names])
    return pa.RecordBatch.from_pylist(rows, schema=schema)


@given(_batches)
def test_together_as_each_alone(batches: list[list[dict[str, Any]]]) -> None:
    """The rows are those of each batch alone; where they could not be, the answer is None."""
    tables = [_batch(rows) for rows in batches]
    alone = [prepare_batch(each, today=_TODAY, known_platforms=_PLATFORMS) for each in tables]
    together = prepare_together(tables, today=_TODAY, known_platforms=_PLATFORMS)
    rows = pa.concat_tables([each.rows for each in alone]).combine_chunks()
    keys = rows["entry_key"].to_pylist()
    if (
        any(each.errors for each in alone)
        or len(set(keys)) < len(keys)
        or any(rows["breakdown_key"].to_pylist())
    ):
        assert together is None
    else:
        assert together is not None
        assert together.errors == ()
        assert together.rows.combine_chunks().equals(rows)
