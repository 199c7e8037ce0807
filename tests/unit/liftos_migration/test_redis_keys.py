"""Keys of a Redis belong to one prefix, become one artifact each, and compare by all they hold."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from liftos_migration.domain.differences import EXPIRED, DifferenceKind
from liftos_migration.domain.redis_keys import (
    KeyValue,
    artifact_id,
    compare_keys,
    prefix_of,
    read_bytes,
    readable,
    written,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _key(name: bytes, content: bytes = b'"v"', expires: timedelta | None = None) -> KeyValue:
    return KeyValue(name, "string", content, None if expires is None else NOW + expires)


def test_a_key_belongs_to_the_longest_prefix_it_begins_with() -> None:
    """Or to its own first part."""
    known = (b"causal:", b"causal:lock:")
    assert prefix_of(b"causal:lock:1", known) == b"causal:lock:"
    assert prefix_of(b"causal:9", known) == b"causal:"
    assert prefix_of(b"shop:9", known) == b"shop:"
    assert prefix_of(b"session12", ()) == b"session"
    assert prefix_of(b"12", ()) == b"12"


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_different_keys_are_different_artifacts(one: bytes, other: bytes) -> None:
    """With ids that Memory takes."""
    assert (artifact_id(one) == artifact_id(other)) is (one == other)
    assert len(artifact_id(one)) <= 200
    assert read_bytes(readable(one)) == one


@given(st.lists(st.binary(max_size=3), max_size=4), st.lists(st.binary(max_size=3), max_size=4))
def test_different_values_are_written_otherwise(one: list[bytes], other: list[bytes]) -> None:
    """Bytes that are no text among them."""
    assert (written(one) == written(other)) is (one == other)


def test_copies_are_compared_by_type_value_and_expiry() -> None:
    """A second of expiry apart is equal; what is over need not be on the other side."""
    minute, second = timedelta(minutes=1), timedelta(seconds=1)
    source = [
        _key(b"same", expires=minute),
        _key(b"value"),
        _key(b"missing"),
        _key(b"over", expires=-second),
        _key(b"longer", expires=minute),
    ]
    target = [
        _key(b"same", expires=minute + second),
        _key(b"value", b'"w"'),
        _key(b"extra"),
        _key(b"gone", expires=timedelta()),
        _key(b"longer"),
    ]
    found, equal = compare_keys("p:", source, target, now=NOW, name_of={b"value": "artifacts/v"})
    assert equal == 1
    assert [(each.key, each.kind, each.cause) for each in found] == [
        ('{"key":"extra"}', DifferenceKind.EXTRA, ""),
        ('{"key":"longer"}', DifferenceKind.DIFFERENT, EXPIRED),
        ('{"key":"missing"}', DifferenceKind.MISSING, ""),
        ('{"key":"value"}', DifferenceKind.DIFFERENT, ""),
    ]
    assert found[3].target_record == "artifacts/v"
    assert [(each.field, each.source_value) for each in found[3].fields] == [("value", '"v"')]
