"""The chain of the ledger: any row that is changed, taken out or put in is found."""

import json
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_migration.domain.ledger import (
    BadLink,
    Decision,
    Head,
    Row,
    Step,
    StepState,
    canonical_json,
    chained,
    head_of,
    storable,
    verify_chain,
)
from liftos_migration.domain.states import MigrationState

MOMENT: Final = datetime(2026, 3, 1, 12, 30, 0, 123456, tzinfo=UTC)

JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def step(sequence: int) -> Step:
    """Return an attempt that is done."""
    return Step(
        sequence=sequence,
        phase=MigrationState.COPYING,
        title=f"copy public.t{sequence}",
        generation=1,
        attempt=1,
        state=StepState.DONE,
        epoch=3,
        snapshot="20260301",
        input={"rows": 5},
        output={"rows": 5, "tables": ["a", "b"], "seconds": 0.25},
        error="",
        start_time=MOMENT,
        end_time=MOMENT + timedelta(seconds=sequence),
    )


def decision(sequence: int) -> Decision:
    """Return a decision."""
    return Decision(
        sequence=sequence,
        action="pause",
        subject="ann@example.com",
        reason="too slow",
        state_before=MigrationState.COPYING,
        state_after=MigrationState.PAUSED,
        create_time=MOMENT,
        readings=({"kind": 1, "measured": 0.5},),
        inputs={"lag": 2},
    )


def chain(*rows: Row) -> tuple[list[Row], Head]:
    """Return rows as a chain, and its end."""
    linked: list[Row] = []
    head = Head()
    for row in rows:
        linked.append(chained(row, head))
        head = head_of(linked[-1])
    return linked, head


ROWS, HEAD = chain(step(1), decision(1), step(2), step(3), decision(2))


def test_a_chain_that_nobody_touched_holds() -> None:
    """Of any length, none included."""
    assert verify_chain(ROWS, HEAD) is None
    assert verify_chain([], Head()) is None


OTHERS: Final[dict[type, Callable[[Any], Any]]] = {
    MigrationState: lambda value: MigrationState(value % 20 + 1),
    StepState: lambda value: StepState(value % 5 + 1),
    bool: lambda value: not value,
    int: lambda value: value + 1,
    str: lambda value: value + "x",
    bytes: lambda value: bytes([value[0] ^ 1]) + value[1:],
    datetime: lambda value: value + timedelta(microseconds=1),
    dict: lambda value: {**value, "more": 1},
    tuple: lambda value: (*value, {}),
}
"""Another value of each type."""


@pytest.mark.parametrize("place", range(len(ROWS)))
def test_a_change_of_any_field_is_found_where_it_was_made(place: int) -> None:
    """Links and hashes included."""
    for field in fields(ROWS[place]):
        tampered = list(ROWS)
        value = getattr(ROWS[place], field.name)
        changed = OTHERS[type(value)](value)
        tampered[place] = replace(ROWS[place], **{field.name: changed})
        found = verify_chain(tampered, HEAD)
        assert found is not None, field.name
        assert found.link == place + 1, field.name


@pytest.mark.parametrize("place", range(len(ROWS)))
def test_a_row_that_is_changed_and_hashed_anew_breaks_the_link_after_it(place: int) -> None:
    """Or the end, which is kept elsewhere."""
    tampered = list(ROWS)
    before = Head() if place == 0 else head_of(ROWS[place - 1])
    tampered[place] = chained(_renamed(ROWS[place]), before)
    found = verify_chain(tampered, HEAD)
    assert found is not None
    assert found.link == min(place + 2, len(ROWS))


def _renamed(row: Row) -> Row:
    return replace(row, title="x") if isinstance(row, Step) else replace(row, reason="x")


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(lambda rows: rows[:-1], id="the last row is missing"),
        pytest.param(lambda rows: rows[1:], id="the first row is missing"),
        pytest.param(lambda rows: [*rows[:2], *rows[3:]], id="a row between is missing"),
        pytest.param(lambda rows: [rows[1], rows[0], *rows[2:]], id="two rows are swapped"),
        pytest.param(lambda rows: [*rows, chained(step(9), HEAD)], id="a row was added"),
        pytest.param(lambda rows: [*rows[:3], rows[2], *rows[3:]], id="a row is there twice"),
        pytest.param(lambda _: [], id="all are missing"),
    ],
)
def test_rows_that_are_missing_or_too_many_are_found(
    edit: Callable[[list[Row]], list[Row]],
) -> None:
    """Wherever they were."""
    assert isinstance(verify_chain(edit(list(ROWS)), HEAD), BadLink)


@given(JSON)
def test_what_is_storable_has_one_text_that_survives_a_store(value: object) -> None:
    """A store that reads and writes JSON changes nothing of the hash."""
    kept = storable(value)
    text = canonical_json(kept)
    assert canonical_json(json.loads(json.dumps(kept))) == text
    assert canonical_json(json.loads(text)) == text
    assert storable(kept) == kept
    assert b"\\u0000" not in text


def test_canonical_text_is_that_of_the_standard() -> None:
    """Keys by code unit of UTF-16, numbers as ECMAScript writes them, text unescaped."""
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 1e-27, -0.0, 10],
        "string": '\u20ac$\u000f\nA\'B"\\\\"/',
        "literals": [None, True, False],
        "\U0001f600": 1,
        "\ufb33": 2,
    }
    assert canonical_json(value).decode() == (
        '{"literals":[null,true,false],'
        '"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27,0,10],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/",'
        '"\U0001f600":1,"\ufb33":2}'
    )


def test_what_is_no_json_is_refused() -> None:
    """A mistake of ours, and not of the one whose data it is."""
    with pytest.raises(TypeError, match="datetime"):
        storable({"at": MOMENT})
