"""Enumerations of the domain are numbered as the contract numbers them, also in the database.

Most are numbered by their place, so that an order that changes would give what is stored another
meaning.
"""

from collections.abc import Sequence
from enum import Enum, IntEnum
from typing import Any

import pytest
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

from liftos.memory.v1 import (
    artifact_pb2,
    calendar_pb2,
    document_pb2,
    entry_pb2,
    insight_pb2,
    memory_service_pb2,
    slice_pb2,
    source_pb2,
)
from liftos_mapping.entry_fields import DATE_BASES, LEVELS
from liftos_memory.domain.calendar import Hemisphere, Season
from liftos_memory.domain.comparison_caveats import CaveatKind
from liftos_memory.domain.comparison_findings import DayKind
from liftos_memory.domain.dataset_request import DatasetFormat, GapPolicy
from liftos_memory.domain.documents import DocumentKind
from liftos_memory.domain.fusion import FusionMethod, SearchMode
from liftos_memory.domain.insights import (
    InsightDirection,
    InsightKind,
    InsightPattern,
    InsightRating,
    InsightState,
)
from liftos_memory.domain.known_items import QuestionKind
from liftos_memory.domain.quality import IssueSeverity, QualityPart
from liftos_memory.domain.records import ARTIFACT_KINDS, Collection
from liftos_memory.domain.slices import SliceState
from liftos_memory.replication_ports import ChangeKind

BY_PLACE: list[tuple[type[Enum], Any]] = [
    (CaveatKind, memory_service_pb2.ComparisonCaveatKind),
    (DatasetFormat, memory_service_pb2.DatasetFormat),
    (DayKind, memory_service_pb2.CalendarEffectKind),
    (DocumentKind, document_pb2.DocumentKind),
    (FusionMethod, document_pb2.FusionMethod),
    (GapPolicy, memory_service_pb2.GapPolicy),
    (Hemisphere, source_pb2.Hemisphere),
    (IssueSeverity, entry_pb2.IssueSeverity),
    (QualityPart, entry_pb2.QualityPart),
    (QuestionKind, memory_service_pb2.KnownItemKind),
    (SearchMode, document_pb2.SearchMode),
    (Season, calendar_pb2.Season),
]
BY_NUMBER: list[tuple[type[IntEnum], Any]] = [
    (ChangeKind, slice_pb2.ChangeKind),
    (Collection, memory_service_pb2.RecordCollection),
    (InsightDirection, insight_pb2.InsightDirection),
    (InsightKind, insight_pb2.InsightKind),
    (InsightPattern, insight_pb2.InsightPattern),
    (InsightRating, insight_pb2.InsightRating),
    (InsightState, insight_pb2.InsightState),
    (SliceState, slice_pb2.SliceState),
]
WORDS: list[tuple[Sequence[str], Any]] = [
    (LEVELS, entry_pb2.EntryLevel),
    (DATE_BASES, entry_pb2.DateBasis),
    (ARTIFACT_KINDS, artifact_pb2.ArtifactKind),
]


def _numbers(contract: EnumTypeWrapper) -> dict[str, int]:
    """Return the numbers of a contract's names, without the prefix that they share."""
    prefix = next(name for name, number in contract.items() if not number)
    prefix = prefix.removesuffix("UNSPECIFIED")
    return {name.removeprefix(prefix): number for name, number in contract.items() if number}


def _name(contract: EnumTypeWrapper) -> str:
    return contract.DESCRIPTOR.name


@pytest.mark.parametrize(
    ("own", "contract"), BY_PLACE, ids=[_name(contract) for _, contract in BY_PLACE]
)
def test_what_is_numbered_by_place_stands_in_the_contracts_order(
    own: type[Enum], contract: EnumTypeWrapper
) -> None:
    """The first member has number 1."""
    found = {member.name: place for place, member in enumerate(own, 1)}
    if own is SearchMode:
        # A mix of modes is none of its own.
        found["HYBRID"] = len(found) + 1
    assert found == _numbers(contract)


@pytest.mark.parametrize(
    ("own", "contract"), BY_NUMBER, ids=[_name(contract) for _, contract in BY_NUMBER]
)
def test_numbers_are_the_contracts(own: type[IntEnum], contract: EnumTypeWrapper) -> None:
    """Under the same names; 0 is what the contract leaves unspecified."""
    assert {member.name: int(member) for member in own if member} == _numbers(contract)


@pytest.mark.parametrize(
    ("words", "contract"), WORDS, ids=[_name(contract) for _, contract in WORDS]
)
def test_words_stand_in_the_contracts_order(
    words: Sequence[str], contract: EnumTypeWrapper
) -> None:
    """The first word has number 1."""
    assert {word: place for place, word in enumerate(words, 1)} == _numbers(contract)
