"""Knowledge: how objects are related, and what a search that goes along relations may tell.

An object that a query names is a beginning. One step leads to what it belongs to, to what belongs
to it, to objects that are called alike, and to those of its level and channel; a search goes two
steps. Each step halves the nearness, which begins with the share of the query's words that the
name or id has, words weighed by how few objects have them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from liftos_memory.domain.concepts import Dimension, Measure, measure
from liftos_memory.domain.corrections import name_words
from liftos_memory.domain.documents import (
    DocumentKind,
    ObjectKey,
    ObjectProfileFacts,
    document_id,
    own_id,
    own_name,
)
from liftos_memory.domain.lexical import lexical_terms

MAXIMUM_BEGINNINGS: Final = 20
"""Objects that a search begins at: those with the most of the query."""

MAXIMUM_RELATED: Final = 10_000
"""Objects that a step reaches at most, the nearest first."""


class Relation(Enum):
    """How one step leads from an object to the next."""

    ABOVE = "above"
    BELOW = "below"
    NAME = "called"
    CHANNEL = "channel"


@dataclass(frozen=True, slots=True)
class DescribedObject:
    """An object with what it is related by, and what is measured of it.

    Attributes:
        object_id: The id of its profile.
        key: The object.
        title: What people call it.
        name_key: Terms of its own name, joined; empty where it has none. Equal ones are alike.
        name_terms: Terms of its own name and id.
        name_words: Words of its own name, to which slips of a query are corrected.
        channel: Its channel; empty where unknown.
        parent_id: Id of what it belongs to; empty where it belongs to nothing.
        grandparent_id: Id of what that belongs to; empty likewise.
        measures: What is known of it by dimension.
    """

    object_id: str
    key: ObjectKey
    title: str
    name_key: str
    name_terms: tuple[str, ...]
    name_words: tuple[str, ...]
    channel: str
    parent_id: str
    grandparent_id: str
    measures: Mapping[Dimension, Measure]


@dataclass(frozen=True, slots=True)
class Step:
    """A step to an object: how it is related to the one before; the title is empty if unknown."""

    relation: Relation
    title: str


@dataclass(frozen=True, slots=True)
class Path:
    """How an object was reached.

    Attributes:
        beginning: Title of the object that the query names.
        steps: The way from there, none where it is that object itself. The last step leads to it.
    """

    beginning: str
    steps: tuple[Step, ...]


def described(facts: ObjectProfileFacts, *, title: str) -> DescribedObject:
    """Return an object with what it is related by and what is measured of it.

    Args:
        facts: What is known of it.
        title: That of its profile.
    """
    key = facts.key
    name = own_name(key, facts.names)
    name_terms = lexical_terms(name)
    above = [document_id(DocumentKind.PROFILE, each) for each in ancestors(key)]
    return DescribedObject(
        object_id=document_id(DocumentKind.PROFILE, key),
        key=key,
        title=title,
        name_key=" ".join(name_terms),
        name_terms=tuple(dict.fromkeys([*name_terms, *lexical_terms(own_id(key))])),
        name_words=name_words(name),
        channel=facts.channel,
        parent_id=above[0] if above else "",
        grandparent_id=above[1] if len(above) > 1 else "",
        measures=measure(facts),
    )


def ancestors(key: ObjectKey) -> list[ObjectKey]:
    """Return what an object belongs to, nearest first; levels whose id it lacks are passed by."""
    return [
        ObjectKey(
            platform=key.platform,
            level=level,
            **{name: getattr(key, name) for name in _IDS[level]},
        )
        for level in _ABOVE.get(key.level, ())
        if getattr(key, _IDS[level][-1])
    ]


def explain_path(path: Path) -> str:
    """Say how an object was reached, such as `below Meta campaign “Winter”, which is named`."""
    match path.steps:
        case ():
            return "the query names it"
        case (step,):
            return f"{_RELATED[step.relation]} {path.beginning}, which the query names"
        case (first, second):
            between = first.title or "an object without entries"
            return (
                f"{_RELATED[second.relation]} {between}, which is"
                f" {_RELATED[first.relation]} {path.beginning}, which the query names"
            )
        case _:
            raise ValueError(f"a path has at most two steps, not {len(path.steps)}")


_RELATED: Final[Mapping[Relation, str]] = {
    Relation.ABOVE: "above",
    Relation.BELOW: "below",
    Relation.NAME: "called like",
    Relation.CHANNEL: "in the channel of",
}
_ABOVE: Final[Mapping[str, tuple[str, ...]]] = {
    "CAMPAIGN": ("ACCOUNT",),
    "AD_GROUP": ("CAMPAIGN", "ACCOUNT"),
    "AD": ("AD_GROUP", "CAMPAIGN", "ACCOUNT"),
    "FLOW": ("ACCOUNT",),
    "MESSAGE": ("FLOW", "CAMPAIGN", "ACCOUNT"),
}
_IDS: Final[Mapping[str, tuple[str, ...]]] = {
    "ACCOUNT": ("account_id",),
    "CAMPAIGN": ("account_id", "campaign_id"),
    "AD_GROUP": ("account_id", "campaign_id", "ad_group_id"),
    "FLOW": ("account_id", "flow_id"),
}
