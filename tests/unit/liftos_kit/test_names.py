"""Resource names are read and written in one way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_kit.core.errors import InvalidFieldsError
from liftos_kit.core.names import ORG, Pattern, is_org_id, org_of

ENTRY = Pattern("orgs/{org}/entries/{entry}")
ORGS = st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True)
IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._~:@-]{0,40}", fullmatch=True)


@given(ORGS, IDS)
def test_a_name_comes_back_as_its_ids(org: str, entry: str) -> None:
    """Writing and reading are each other's inverse."""
    name = ENTRY.format(org=org, entry=entry)
    assert ENTRY.parse(name) == {"org": org, "entry": entry}
    assert org_of(name) == org
    assert ENTRY.matches(name)


@given(st.text(max_size=40))
def test_other_texts_are_field_violations(text: str) -> None:
    """What is no name is the fault of the field that held it."""
    with pytest.raises(InvalidFieldsError) as caught:
        ENTRY.parse(text, field="entry.name")
    assert [each.field for each in caught.value.violations] == ["entry.name"]
    assert not ENTRY.matches(text)


@pytest.mark.parametrize(
    "name",
    [
        "orgs/acme/entries/",
        "orgs/Acme/entries/1",
        "orgs/acme/entries/1/2",
        "orgs/acme/entries/1\n",
        "/orgs/acme/entries/1",
        "orgs/acme/entries/..",
        "orgs/acmé/entries/1",
        f"orgs/{'a' * 64}/entries/1",
        f"orgs/acme/entries/{'a' * 256}",
    ],
)
def test_almost_names(name: str) -> None:
    """Near misses are misses."""
    with pytest.raises(InvalidFieldsError):
        ENTRY.parse(name)


@pytest.mark.parametrize("ids", [{"org": "acme"}, {"org": "acme", "entry": "a/b"}, {"x": "y"}])
def test_ids_that_make_no_name(ids: dict[str, str]) -> None:
    """A missing, unknown or impossible id is refused rather than written."""
    with pytest.raises(InvalidFieldsError):
        ENTRY.format(**ids)


def test_orgs() -> None:
    """An org id is lower case, at most 63 characters, and does not begin with a hyphen."""
    assert ORG.parse("orgs/acme") == {"org": "acme"}
    ids = ("acme", "a" * 63, "a" * 64, "-a", "A", "", "a\n")
    assert [is_org_id(each) for each in ids] == [True, True, False, False, False, False, False]
    for name in ("acme", "orgs/", "orgs/-", "orgs/acme2x_y/z"):
        with pytest.raises(InvalidFieldsError):
            org_of(name)
