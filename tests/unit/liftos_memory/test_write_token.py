"""Write tokens: good for the org that was given them, and for nothing else."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from liftos_kit.core.errors import InvalidFieldsError
from liftos_memory.domain.write_token import decode_write_token, encode_write_token

_FIELD = "consistency.at_least_as_fresh"
_orgs = st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True)
_versions = st.integers(0, 2**63 - 1)


@given(org=_orgs, version=_versions)
def test_a_token_holds_its_version(org: str, version: int) -> None:
    """What is read is what was written, in letters that no header or URL minds."""
    token = encode_write_token(org, version)
    assert decode_write_token(org, token, field=_FIELD) == version
    assert token.isascii()
    assert token.replace("-", "").replace("_", "").isalnum()


@given(org=_orgs, other=_orgs, version=_versions)
def test_another_org_cannot_use_it(org: str, other: str, version: int) -> None:
    """The token names its org."""
    assume(org != other)
    with pytest.raises(InvalidFieldsError) as caught:
        decode_write_token(other, encode_write_token(org, version), field=_FIELD)
    assert [violation.field for violation in caught.value.violations] == [_FIELD]


@given(org=_orgs, text=st.text(max_size=40))
def test_any_other_text_is_refused(org: str, text: str) -> None:
    """Damaged, cut, or never a token: it is told by its field."""
    with pytest.raises(InvalidFieldsError):
        decode_write_token(org, text, field=_FIELD)
