"""Page tokens continue one list of one org, and nothing else."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_kit.core.errors import InvalidFieldsError, PageTokenError
from liftos_kit.core.paging import JsonValue, PageTokens, effective_page_size

TOKENS = PageTokens(b"a key of sixteen bytes or more")
DIGEST, OTHER_DIGEST = b"digest of a request", b"digest of another request"
JSON: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
    max_leaves=6,
)


@given(JSON)
def test_a_cursor_comes_back(cursor: JsonValue) -> None:
    """Any JSON value survives the way through the client."""
    token = TOKENS.encode(cursor, org="acme", request_digest=DIGEST)
    assert cursor == TOKENS.decode(token, org="acme", request_digest=DIGEST)


@given(JSON, st.data())
def test_a_changed_token_is_refused(cursor: JsonValue, data: st.DataObject) -> None:
    """No bit of a token can be changed without its being noticed."""
    token = TOKENS.encode(cursor, org="acme", request_digest=DIGEST)
    raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    place = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[place // 8] ^= 1 << place % 8
    changed = base64.urlsafe_b64encode(bytes(raw)).rstrip(b"=").decode()
    with pytest.raises(PageTokenError):
        TOKENS.decode(changed, org="acme", request_digest=DIGEST)


@given(st.text(min_size=1, max_size=80))
def test_any_other_text_is_refused(text: str) -> None:
    """What is no token at all is a page token error, not a fault."""
    with pytest.raises(PageTokenError):
        TOKENS.decode(text, org="acme", request_digest=DIGEST)


def test_a_token_is_bound_to_its_request_org_and_key() -> None:
    """Another filter, another org, another server's key: refused."""
    token = TOKENS.encode([1], org="acme", request_digest=DIGEST)
    other_key = PageTokens(b"another key of sixteen bytes")
    for tokens, org, digest in (
        (TOKENS, "acme", OTHER_DIGEST),
        (TOKENS, "other", DIGEST),
        (other_key, "acme", DIGEST),
    ):
        with pytest.raises(PageTokenError):
            tokens.decode(token, org=org, request_digest=digest)


def test_the_first_page_has_no_token() -> None:
    """An empty token is the start, and an overlong one is refused unread."""
    assert TOKENS.decode("", org="acme", request_digest=DIGEST) is None
    with pytest.raises(PageTokenError, match="too long"):
        TOKENS.decode("A" * 5_000, org="acme", request_digest=DIGEST)


def test_the_key_stays_secret_and_is_long_enough() -> None:
    """A key shows in no repr, and a short one is refused."""
    assert "sixteen" not in repr(TOKENS)
    with pytest.raises(ValueError, match="16 bytes"):
        PageTokens(b"short")


def test_page_sizes() -> None:
    """Zero is the default, more than the maximum is the maximum, less than zero is wrong."""
    sizes = [effective_page_size(size, default=50, maximum=1_000) for size in (0, 1, 5_000)]
    assert sizes == [50, 1, 1_000]
    with pytest.raises(InvalidFieldsError, match="page_size"):
        effective_page_size(-1, default=50, maximum=1_000)
