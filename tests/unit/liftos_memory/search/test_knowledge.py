"""Relations of objects, and how the ways along them are told."""

from datetime import date

import pytest

from liftos_memory.domain.concepts import Dimension
from liftos_memory.domain.documents import (
    DocumentKind,
    ObjectKey,
    ObjectNames,
    ObjectProfileFacts,
    document_id,
)
from liftos_memory.domain.knowledge import (
    Path,
    Relation,
    Step,
    ancestors,
    described,
    explain_path,
)

ACCOUNT = ObjectKey("meta", "ACCOUNT", "act")
CAMPAIGN = ObjectKey("meta", "CAMPAIGN", "act", "c")
AD_GROUP = ObjectKey("meta", "AD_GROUP", "act", "c", "g")
FLOW = ObjectKey("klaviyo", "FLOW", "act", flow_id="f")


@pytest.mark.parametrize(
    ("key", "above"),
    [
        (ACCOUNT, []),
        (CAMPAIGN, [ACCOUNT]),
        (ObjectKey("meta", "AD", "act", "c", "g", "a"), [AD_GROUP, CAMPAIGN, ACCOUNT]),
        (ObjectKey("meta", "AD", "act", "c", ad_id="a"), [CAMPAIGN, ACCOUNT]),
        (
            ObjectKey("klaviyo", "MESSAGE", "act", flow_id="f", message_id="m"),
            [FLOW, ObjectKey("klaviyo", "ACCOUNT", "act")],
        ),
        (ObjectKey("weather", "CONTROL", "", series_id="s"), []),
    ],
    ids=str,
)
def test_objects_belong_to_those_whose_ids_they_have(
    key: ObjectKey, above: list[ObjectKey]
) -> None:
    """Nearest first; levels that are left out are passed by."""
    assert ancestors(key) == above


def test_an_object_is_found_by_its_own_name_and_id() -> None:
    """Names of what it belongs to are theirs; names are alike by terms."""
    facts = ObjectProfileFacts(
        key=AD_GROUP,
        names=ObjectNames(campaign_name="Winter", ad_group_name="Snow_Boots 2026"),
        channel="PAID_SOCIAL",
        currency_code="",
        first_date=date(2026, 1, 1),
        last_date=date(2026, 1, 2),
        days_with_data=2,
        sums={},
        activity_by_month={},
    )
    found = described(facts, title="Snow boots")
    assert set(found.name_terms) >= {"snow", "boot", "2026", "g"}
    assert "winter" not in found.name_terms
    assert found.parent_id == document_id(DocumentKind.PROFILE, CAMPAIGN)
    assert found.grandparent_id == document_id(DocumentKind.PROFILE, ACCOUNT)
    assert found.title == "Snow boots"
    assert found.measures.keys() == {Dimension.RECENCY, Dimension.LONGEVITY}


def test_ways_are_told_from_their_end() -> None:
    """With what lies between, also where that has no entries of its own."""
    assert explain_path(Path("A", ())) == "the query names it"
    one = Path("A", (Step(Relation.BELOW, ""),))
    assert explain_path(one) == "below A, which the query names"
    two = Path("A", (Step(Relation.ABOVE, "B"), Step(Relation.CHANNEL, "")))
    assert explain_path(two) == "in the channel of B, which is above A, which the query names"
    unknown = Path("A", (Step(Relation.ABOVE, ""), Step(Relation.BELOW, "")))
    assert "below an object without entries, which is above A" in explain_path(unknown)
    with pytest.raises(ValueError, match="two steps"):
        explain_path(Path("A", one.steps * 3))
