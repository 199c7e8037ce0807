"""What is sealed opens for its owner, with its key, and for nobody else."""

import base64
import os
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from liftos_kit.redaction import redact_text
from liftos_kit.secrets.keyring import (
    Keyring,
    KeyringInvalidError,
    KeyUnknownError,
    SealBrokenError,
    Sealed,
    generate_key,
    parse_keyring,
    read_keyring,
)
from liftos_kit.secrets.secret import Secret

OWNER = "orgs/acme/connections/meta-1"
RING = Keyring({"new": bytes(range(32)), "old": bytes(32)})
OLD_RING = Keyring({"old": bytes(32)})

_fields = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1).map(Secret),
    max_size=5,
)
_names = st.from_regex(
    r"orgs/[a-z0-9-]{1,5}/(connections|alertRoutes)/[a-z0-9-]{1,5}", fullmatch=True
)


@given(_fields, _names)
def test_fields_come_back(fields: dict[str, Secret], name: str) -> None:
    """Any text, for the owner it was sealed for, and never twice as the same bytes."""
    sealed = RING.seal(fields, resource_name=name)
    assert RING.open(sealed, resource_name=name) == fields
    assert sealed.key_id == "new"
    assert RING.seal(fields, resource_name=name).ciphertext != sealed.ciphertext
    assert not [
        secret
        for secret in fields.values()
        if len(secret.reveal()) > 3 and secret.reveal().encode() in sealed.ciphertext
    ]


@given(_names, _names)
def test_sealed_secrets_cannot_be_moved(name: str, other: str) -> None:
    """Neither to another connection or kind of resource nor to another org."""
    assume(name != other)
    sealed = RING.seal({"token": Secret("correct horse")}, resource_name=name)
    with pytest.raises(SealBrokenError):
        RING.open(sealed, resource_name=other)


@given(st.data())
def test_every_changed_bit_is_found(data: st.DataObject) -> None:
    """A damaged or cut ciphertext gives an error that has nothing of the secret in it."""
    sealed = RING.seal({"token": Secret("correct horse")}, resource_name=OWNER)
    damaged = bytearray(sealed.ciphertext)
    at = data.draw(st.integers(0, len(damaged) - 1))
    damaged[at] ^= 1 << data.draw(st.integers(0, 7))
    cut = sealed.ciphertext[:at]
    for ciphertext in (bytes(damaged), cut):
        with pytest.raises(SealBrokenError) as caught:
            RING.open(Sealed("new", ciphertext), resource_name=OWNER)
        assert "correct" not in f"{caught.value!r}"
        assert "set the secret anew" in str(caught.value)


def test_a_key_answers_to_its_id() -> None:
    """The same ciphertext under the id of another key does not open."""
    sealed = RING.seal({"token": Secret("correct horse")}, resource_name=OWNER)
    with pytest.raises(SealBrokenError):
        RING.open(Sealed("old", sealed.ciphertext), resource_name=OWNER)
    renamed = Keyring({"other": bytes(range(32))})
    with pytest.raises(SealBrokenError):
        renamed.open(Sealed("other", sealed.ciphertext), resource_name=OWNER)


def test_keys_are_renewed() -> None:
    """Old seals open beside a new key, need rotation, and open without the old key after it."""
    fields = {"token": Secret("correct horse")}
    sealed = OLD_RING.seal(fields, resource_name=OWNER)
    assert RING.needs_rotation(sealed)
    assert not OLD_RING.needs_rotation(sealed)
    resealed = RING.reseal(sealed, resource_name=OWNER)
    assert not RING.needs_rotation(resealed)
    assert Keyring({"new": bytes(range(32))}).open(resealed, resource_name=OWNER) == fields
    with pytest.raises(KeyUnknownError, match=r"'new'.*add that key again") as caught:
        OLD_RING.open(resealed, resource_name=OWNER)
    assert (caught.value.key_id, caught.value.resource_name) == ("new", OWNER)


@given(
    st.lists(
        st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", fullmatch=True), min_size=1, unique=True
    )
)
def test_generated_keys_are_read(ids: list[str]) -> None:
    """In their order, whatever separates them."""
    keys = [generate_key(key_id).reveal() for key_id in ids]
    for text in (",".join(keys), ", ".join(keys), "\n".join(keys) + "\n"):
        assert parse_keyring(Secret(text)).key_ids == tuple(ids)
    assert parse_keyring(Secret(keys[0])).sealing_key_id == ids[0]


_KEY = base64.b64encode(bytes(range(32))).decode()
_SHORT = base64.b64encode(bytes(range(16))).decode()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (" , ", "there is no key"),
        (_KEY, "entry 1 has no colon"),
        (f"a:{_KEY},b:%%%", "the key of entry 2 is no base64"),
        (f"a:{_KEY},b:{_KEY[:-1]}", "the key of entry 2 is no base64"),
        (f"a:{_SHORT}", "'a' has 16 bytes"),
        ("a:", "'a' has 0 bytes"),
        (f"a:{_KEY},a:{_KEY}", "entry 2 has the id of an earlier one"),
        (f":{_KEY}", "an id is not"),
        (f"a b:{_KEY}", "entry 1 has no colon"),
        (f"{_KEY}:key1", "an id is not"),
        (f"{_KEY.rstrip('=')}:key1", "an id is not"),
    ],
)
def test_wrong_keys_are_told_without_the_key(text: str, said: str) -> None:
    """Each error names the entry and what would be right."""
    with pytest.raises(KeyringInvalidError, match=said) as caught:
        parse_keyring(Secret(text))
    assert _KEY[:8] not in f"{caught.value!r}"
    assert _SHORT[:8] not in f"{caught.value!r}"


def test_keys_never_show() -> None:
    """Not in the repr of a ring; a single key in a text is redacted."""
    key = generate_key("k1")
    ring = parse_keyring(Secret(f"{key.reveal()},k2:{_KEY}"))
    assert repr(ring) == "Keyring(k1, k2)"
    assert _KEY not in redact_text(f"got {_KEY}")
    sealed = ring.seal({"token": key}, resource_name=OWNER)
    assert repr(sealed) == "Sealed(key_id='k1')"


def test_keys_in_a_file(tmp_path: Path) -> None:
    """One a line; what is no such file says so."""
    path = tmp_path / "keys"
    path.write_text(f"{generate_key('k1').reveal()}\n{generate_key('k2').reveal()}\n")
    assert read_keyring(path).key_ids == ("k1", "k2")
    for content, said in ((b"\n", "is empty"), (os.urandom(70_000), "65536"), (b"\xff:\xff", "k")):
        path.write_bytes(content)
        with pytest.raises(KeyringInvalidError, match=said):
            read_keyring(path)
    with pytest.raises(KeyringInvalidError, match="No such file"):
        read_keyring(tmp_path / "none")
