"""Digests of artifacts and notes, computed again from what the contract says."""

import hashlib
import math

from hypothesis import given
from hypothesis import strategies as st

from liftos_mapping.record_digests import (
    artifact_hash,
    canonical_json,
    note_hash,
    record_bucket,
    record_sha256,
)


def test_the_substance_of_a_record() -> None:
    """Canonical JSON, a NUL, and the content; where there is no body, nothing before the NUL."""
    canonical = '{"a":"ü","b":[1,2.5,1e+30]}'.encode()
    assert canonical_json({"b": [1.0, 2.5, 1e30], "a": "ü"}) == canonical
    assert record_sha256({"b": (1, 2.5, 1e30), "a": "ü"}, b"x") == (
        hashlib.sha256(canonical + b"\0x").digest()
    )
    assert record_sha256(None, b"x") == hashlib.sha256(b"\0x").digest()
    assert record_sha256({}, b"x") == hashlib.sha256(b"{}\0x").digest()


def test_the_hash_of_an_artifact() -> None:
    """The md5 of id, scope, kind, display name and sha256."""
    found = artifact_hash(
        "model:1", scope="causal", kind=1, display_name="Ü", body={"n": 1}, content=b"c"
    )
    sha256 = hashlib.sha256(b'{"n":1}\0c').hexdigest()
    assert found == hashlib.md5(f"model:1\x1fcausal\x1f1\x1fÜ\x1f{sha256}".encode()).digest()


def test_the_hash_of_a_note() -> None:
    """The md5 of id, scope, title, labels as PostgreSQL writes an array, and sha256."""
    labels = ["plain", "a b", 'q"uote\\', "null", "{x,y}", "t\tab", "ü"]
    found = note_hash("n", scope="s", title="T", labels=labels, attributes=None, text="täxt")
    written = '{plain,"a b","q\\"uote\\\\","null","{x,y}","t\tab",ü}'
    sha256 = hashlib.sha256("\0täxt".encode()).hexdigest()
    assert found == hashlib.md5(f"n\x1fs\x1fT\x1f{written}\x1f{sha256}".encode()).digest()


@given(number=st.floats(allow_nan=False, allow_infinity=False))
def test_equal_numbers_have_one_text(number: float) -> None:
    """A whole number is written without a fraction, and any number gives the same double again."""
    text = canonical_json({"n": number}).decode().removeprefix('{"n":').removesuffix("}")
    assert float(text) == number
    if number.is_integer() and math.fabs(number) < 2**53:
        assert text == str(int(number))


@given(record_id=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,20}", fullmatch=True))
def test_buckets(record_id: str) -> None:
    """The first four bytes of the md5 of the id, big endian."""
    number = int(hashlib.md5(record_id.encode()).hexdigest()[:8], 16)
    assert record_bucket(record_id, 17) == number % 17
